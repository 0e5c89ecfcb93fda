package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/api"
	"github.com/licet/licet/config"
	"github.com/licet/licet/metrics"
	"github.com/licet/licet/transport"
)

// TestCertificateOfTheAPIReloads: connections in use go on with what they began with, new
// ones get the new certificate, and a file that is broken changes nothing.
// manyConnections is more than a test has.
var manyConnections = api.Connections{Most: 1000, Each: 1000, Meter: metrics.New(), Log: hclog.NewNullLogger()}

func TestCertificateOfTheAPIReloads(t *testing.T) {
	t.Chdir(t.TempDir())
	authority, err := transport.NewAuthority("test", transport.Validity{For: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	install := func(id string, validity transport.Validity) {
		t.Helper()
		pair, err := authority.IssueNode(id, validity, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		write(t, "web.pem", string(pair.Certificate))
		write(t, "web-key.pem", string(pair.Key))
	}
	install("old", transport.Validity{For: time.Hour})
	log := hclog.NewNullLogger()
	listener, served, err := listenHTTP(t.Context(), config.HTTP{Listen: "127.0.0.1:0", Cert: "web.pem", Key: "web-key.pem"}, manyConnections, log)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Pair().Certificate)
	visitor := func() *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	// ask tells whose certificate serves, and from where the server was asked.
	ask := func(c *http.Client) (id, from string) {
		t.Helper()
		a, err := c.Get("https://" + listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.TLS.PeerCertificates[0].Subject.CommonName, string(text)
	}
	early := visitor()
	_, connection := ask(early)
	expect := func(id string) {
		t.Helper()
		if got, _ := ask(visitor()); got != id {
			t.Errorf("a new connection gets the certificate of %s, not of %s", got, id)
		}
		if got, from := ask(early); got != "old" || from != connection {
			t.Errorf("the old connection, of %s from %s, did not go on: %s from %s", "old", connection, got, from)
		}
	}
	expect("old")
	install("new", transport.Validity{For: time.Hour})
	if err := served.Reload(); err != nil {
		t.Fatal(err)
	}
	expect("new")
	for name, wreck := range map[string]func(){
		"expired":         func() { install("late", transport.Validity{From: time.Now().Add(-2 * time.Hour), For: time.Hour}) },
		"not valid yet":   func() { install("early", transport.Validity{From: time.Now().Add(time.Hour), For: time.Hour}) },
		"damaged":         func() { write(t, "web.pem", "-----BEGIN") },
		"another's key":   func() { install("other", transport.Validity{For: time.Hour}); write(t, "web-key.pem", "") },
		"no certificate":  func() { _ = os.Remove("web.pem") },
		"half way copied": func() { install("half", transport.Validity{For: time.Hour}); _ = os.Truncate("web.pem", 200) },
	} {
		wreck()
		if err := served.Reload(); err == nil || !strings.Contains(err.Error(), "http.cert") {
			t.Errorf("%s: %v", name, err)
		}
		expect("new")
	}
}

// TestAPIAsksClientsForCertificates, if it is told whose, with the program as client.
func TestAPIAsksClientsForCertificates(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"tls", "other"} {
		want(t, exitOK, "", "tls", "init", "--dir", dir, "--nodes", "lyon", "--clients", "desk", "--hosts", "127.0.0.1")
	}
	clients, err := os.ReadFile("tls/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "clients.pem", string(clients))
	listener, served, err := listenHTTP(t.Context(), config.HTTP{
		Listen: "127.0.0.1:0", Cert: "tls/lyon.pem", Key: "tls/lyon-key.pem", ClientCA: "clients.pem",
	}, manyConnections, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: stdlog.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, keysAnswer)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	ask := func(code int, dir string) {
		t.Helper()
		patience := "20s"
		if code == exitUnreachable {
			patience = "300ms" // a refused connection is tried again and again
		}
		environ := []string{"LICET_ENDPOINTS=https://" + listener.Addr().String(), "LICET_CA=tls/ca.pem", "LICET_TIMEOUT=" + patience}
		if dir != "" {
			environ = append(environ, "LICET_CLIENT_CERT="+dir+"/client-desk.pem", "LICET_CLIENT_KEY="+dir+"/client-desk-key.pem")
		}
		if got := run(t, environ, "keys"); got.code != code {
			t.Errorf("with the certificate of %q: exit %d instead of %d\n%s%s", dir, got.code, code, got.out, got.err)
		}
	}
	ask(exitOK, "tls")
	ask(exitUnreachable, "other")
	ask(exitUnreachable, "")
	ask(exitUsage, "nowhere")
	write(t, "clients.pem", "")
	if err := served.Reload(); err == nil || !strings.Contains(err.Error(), "http.client_ca: clients.pem holds no certificate") {
		t.Errorf("an empty file: %v", err)
	}
	ask(exitOK, "tls")
	others, err := os.ReadFile("other/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "clients.pem", string(others))
	if err := served.Reload(); err != nil {
		t.Fatal(err)
	}
	ask(exitOK, "other")
	ask(exitUnreachable, "tls")
}

// TestReloadsAreLogged: what could not be read is an error that says that the old stays.
func TestReloadsAreLogged(t *testing.T) {
	for _, test := range []struct {
		from fakeReload
		want string
	}{
		{fakeReload{fmt.Errorf("web.pem: broken"), time.Unix(0, 0)}, `[ERROR] not reloaded, what was in use stays in use: what=it reason="web.pem: broken"`},
		{fakeReload{nil, time.Unix(0, 0)}, "[INFO]  reloaded: what=it valid_until=1970-01-01T00:00:00Z"},
		{fakeReload{nil, time.Time{}}, ""},
	} {
		var out strings.Builder
		reload{"it", test.from}.run(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}))
		if got := strings.TrimSuffix(out.String(), "\n"); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestExpiryIsWarnedOf(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		left time.Duration
		want string
	}{
		{31 * 24 * time.Hour, ""},
		{30*24*time.Hour - time.Second, "[WARN]  expires soon: put a new one in its place and send SIGHUP: what=it valid_until=2026-11-30T23:59:59Z days=29"},
		{time.Second, "[WARN]  expires soon"},
		{0, "[ERROR] has expired"},
		{-time.Hour, "[ERROR] has expired: put a new one in its place and send SIGHUP: what=it valid_until=2026-10-31T23:00:00Z"},
	} {
		var out strings.Builder
		reload{"it", fakeReload{nil, now.Add(test.left)}}.warn(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}), now)
		if got := out.String(); !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s before: %q", test.left, got)
		}
	}
	var out strings.Builder
	reload{"it", fakeReload{}}.warn(hclog.New(&hclog.LoggerOptions{Output: &out}), now)
	if out.String() != "" {
		t.Errorf("no certificate: %q", out.String())
	}
}

type fakeReload struct {
	err   error
	until time.Time
}

func (f fakeReload) Reload() error       { return f.err }
func (f fakeReload) NotAfter() time.Time { return f.until }
