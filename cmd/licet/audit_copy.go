package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/config"
	"github.com/licet/licet/trail"
)

// copyStop bounds how long a stop waits for copies: what they write to may hang.
const copyStop = 5 * time.Second

// startCopies begins the running copies of the audit trail that the configuration names, by target. stop has them copy what is left
// and waits for them, some seconds at most.
func startCopies(ctx context.Context, c config.Config, log hclog.Logger) (copies map[string]*trail.Copier, stop func(), err error) {
	copies = make(map[string]*trail.Copier)
	if c.Audit.CopyFile != "" {
		copies["file"] = newCopier(c, "file", c.Audit.CopyFile, &trail.CopyFile{Path: c.Audit.CopyFile, Node: c.Node.ID}, log)
	}
	if c.Audit.CopySyslog != "" {
		receiver, err := newSyslog(c)
		if err != nil {
			return nil, nil, err
		}
		copies["syslog"] = newCopier(c, "syslog", c.Audit.CopySyslog, receiver, log)
	}
	// Not ctx: the node writes its last rows after it has ended.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for _, each := range copies {
		running.Go(func() { each.Run(ctx) })
	}
	return copies, func() {
		cancel()
		done := make(chan struct{})
		go func() { running.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(copyStop):
			log.Warn("the copies of the audit trail were left behind; they go on at the next start")
		}
	}, nil
}

func newCopier(c config.Config, name, to string, target trail.Target, log hclog.Logger) *trail.Copier {
	return &trail.Copier{
		Dir: trail.Directory(c.Node.DataDir), Name: name, Target: target,
		Failed: func(err error) {
			log.Warn("the audit trail can't be copied; its rows wait in this node's files, and are sent when it can", "to", to, "reason", fmt.Sprintf("%.*s", maxReason, err.Error()))
		},
		Recovered: func() { log.Info("the audit trail is copied again", "to", to) },
		Lost: func(from, to uint64) {
			log.Error("rows of the audit trail were no longer in this node's files when they were to be copied; other nodes may have them", "target", name, "from", from, "to", to)
		},
	}
}

func newSyslog(c config.Config) (*trail.Syslog, error) {
	to, err := url.Parse(c.Audit.CopySyslog)
	if err != nil {
		return nil, fmt.Errorf("audit.copy_syslog: %w", err)
	}
	s := &trail.Syslog{URL: to, Node: c.Node.ID}
	if file := c.Audit.CopySyslogCA; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("audit.copy_syslog_ca: %w", err)
		}
		s.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !s.TLS.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("audit.copy_syslog_ca: %s holds no certificate in PEM", file)
		}
	}
	return s, nil
}
