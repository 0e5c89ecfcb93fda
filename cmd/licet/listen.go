package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/api"
	"github.com/licet/licet/config"
)

// listenHTTP opens the API's port, with TLS if there is a certificate. What is beyond the bounds costs no handshake.
func listenHTTP(ctx context.Context, c config.HTTP, bounds api.Connections, log hclog.Logger) (net.Listener, *served, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen.String())
	if err != nil {
		return nil, nil, fmt.Errorf("http.listen: %w", err)
	}
	listener = bounds.Listen(listener)
	s := &served{files: c}
	if c.Cert == "" {
		if c.Insecure {
			log.Warn("the API speaks plain HTTP: whoever sees the traffic can read tokens and license keys", "listen", c.Listen)
		}
		return listener, s, nil
	}
	config, until, err := s.read()
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	// If it has expired clients will refuse it, but the others still need this node.
	s.current.Store(&serving{config, until})
	return tls.NewListener(listener, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load().config, nil },
	}), s, nil
}

// served is the API's certificate and whose clients it believes, nothing if it speaks plain
// HTTP. Connections in use go on with what they began with. Safe for concurrent use.
type served struct {
	files   config.HTTP
	current atomic.Pointer[serving]
}

// serving never changes once made.
type serving struct {
	config *tls.Config
	until  time.Time
}

// Reload reads the files again. On error what was there stays in use.
func (s *served) Reload() error {
	if s.files.Cert == "" {
		return nil
	}
	config, until, err := s.read()
	if err != nil {
		return err
	}
	now, leaf := time.Now(), config.Certificates[0].Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("http.cert: the certificate is valid from %s to %s only",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	s.current.Store(&serving{config, until})
	return nil
}

// NotAfter is when the certificate expires; zero if there is none.
func (s *served) NotAfter() time.Time {
	if current := s.current.Load(); current != nil {
		return current.until
	}
	return time.Time{}
}

func (s *served) read() (*tls.Config, time.Time, error) {
	pair, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("http.cert, http.key: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if file := s.files.ClientCA; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("http.client_ca: %w", err)
		}
		c.ClientCAs = x509.NewCertPool()
		if !c.ClientCAs.AppendCertsFromPEM(text) {
			return nil, time.Time{}, fmt.Errorf("http.client_ca: %s holds no certificate in PEM", file)
		}
		// A resumed session would outlive the certificate that it was begun with.
		c.ClientAuth, c.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, true
	}
	return c, pair.Leaf.NotAfter, nil
}
