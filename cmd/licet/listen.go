package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/config"
)

// listenHTTP opens the API's port, with TLS if there is a certificate.
func listenHTTP(ctx context.Context, c config.HTTP, log hclog.Logger) (net.Listener, *served, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen.String())
	if err != nil {
		return nil, nil, fmt.Errorf("http.listen: %w", err)
	}
	s := &served{cert: c.Cert, key: c.Key}
	if c.Cert == "" {
		if c.Insecure {
			log.Warn("the API speaks plain HTTP: whoever sees the traffic can read tokens and license keys", "listen", c.Listen)
		}
		return listener, s, nil
	}
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("http.cert, http.key: %w", err), listener.Close())
	}
	s.pair.Store(&pair)
	if err := inValidity(&pair); err != nil {
		// Clients will refuse it, but the others still need this node.
		log.Error("certificate of the API", "reason", err)
	}
	return tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.pair.Load(), nil },
	}), s, nil
}

// served is the API's certificate, none if it speaks plain HTTP. Connections in use go on
// with what they began with. Safe for concurrent use.
type served struct {
	cert, key string
	pair      atomic.Pointer[tls.Certificate]
}

// Reload reads the files again. On error what was there stays in use.
func (s *served) Reload() error {
	if s.cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err == nil {
		err = inValidity(&pair)
	}
	if err != nil {
		return fmt.Errorf("http.cert, http.key: %w", err)
	}
	s.pair.Store(&pair)
	return nil
}

// NotAfter is when the certificate expires; zero if there is none.
func (s *served) NotAfter() time.Time {
	if pair := s.pair.Load(); pair != nil {
		return pair.Leaf.NotAfter
	}
	return time.Time{}
}

func inValidity(pair *tls.Certificate) error {
	now, leaf := time.Now(), pair.Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate is valid from %s to %s only",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
