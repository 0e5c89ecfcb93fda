package main

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/licet/licet/config"
)

// apiCertificate is when the API's certificate ends, or one that stands with it in the file; zero for plain HTTP. The
// files were read when the API began to listen: what can't be read now says nothing new.
func apiCertificate(c config.HTTP) (ends time.Time) {
	if c.Cert == "" {
		return ends
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return ends
	}
	for _, der := range pair.Certificate {
		if x, err := x509.ParseCertificate(der); err == nil && (ends.IsZero() || x.NotAfter.Before(ends)) {
			ends = x.NotAfter
		}
	}
	return ends
}
