package trail_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/licet/licet/trail"
)

// tlsReceiver takes messages over TLS (RFC 5425). The certificate is for 127.0.0.1 and example.com; its authority is returned, too.
func tlsReceiver(t *testing.T) (*receiver, *x509.CertPool) {
	t.Helper()
	// It lends its certificate.
	lender := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(lender.Close)
	authority := x509.NewCertPool()
	authority.AddCert(lender.Certificate())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return receiveFrom(t, tls.NewListener(l, &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}), true), authority
}

func copyOverTLS(t *testing.T, dir, host string, authority *x509.CertPool) *copying {
	t.Helper()
	return startCopying(t, dir, "syslog", &trail.Syslog{
		URL: &url.URL{Scheme: "tls", Host: host}, Node: "lyon", TLS: &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12},
	})
}

// Rows come over TLS as they do over TCP, and go on after a restart.
func TestCopyOverTLS(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	r, authority := tlsReceiver(t)
	write(t, o, h.writes(9))
	c := copyOverTLS(t, o.Dir, r.Addr().String(), authority)
	until(t, "10 rows", r.has(t, 10))
	// A stop that the receiver sees to its end needs no repetition.
	c.end()
	write(t, o, h.writes(5))
	copyOverTLS(t, o.Dir, r.Addr().String(), authority)
	until(t, "15 rows", r.has(t, 15))
	lines, all := r.rows(t)
	if copyOf(t, save(t, lines), 1, 15); all != 15 || strings.Contains(c.said(), "failed") {
		t.Errorf("%d messages; %s", all, c.said())
	}
}

// A receiver that can't prove who it is gets no row.
func TestCopyOverTLSToAStranger(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	write(t, o, h.writes(9))
	r, authority := tlsReceiver(t)
	_, port, err := net.SplitHostPort(r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what, host string
		authority  *x509.CertPool
		fault      string
	}{
		{"an authority that is not believed", r.Addr().String(), x509.NewCertPool(), "unknown authority"},
		{"the authorities of the system", r.Addr().String(), nil, "x509: "},
		{"another name", net.JoinHostPort("localhost", port), authority, "not localhost"},
	} {
		c := copyOverTLS(t, o.Dir, x.host, x.authority)
		until(t, x.what+" is told", func() bool { return c.Copied().Failing })
		c.end()
		if _, all := r.rows(t); all != 0 || !strings.Contains(c.said(), x.fault) {
			t.Errorf("%s: %d messages, %s", x.what, all, c.said())
		}
	}
}

// A receiver that speaks no TLS sees nothing of a row.
func TestCopyOverTLSNeverGoesInTheClear(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	write(t, o, h.writes(9))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen bytes.Buffer
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 this is another service\r\n"))
			text, _ := io.ReadAll(conn)
			mu.Lock()
			seen.Write(text)
			mu.Unlock()
			_ = conn.Close()
		}
	})
	c := copyOverTLS(t, o.Dir, l.Addr().String(), nil)
	until(t, "the failure is told", func() bool { return c.Copied().Failing })
	c.end()
	_ = l.Close()
	readers.Wait()
	if seen.Len() == 0 || bytes.Contains(seen.Bytes(), []byte("seq")) || bytes.Contains(seen.Bytes(), []byte("audit")) {
		t.Errorf("%q", seen.Bytes())
	}
}
