package transport

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds waits for what must happen; nothing waits for it to pass.
const patience = 20 * time.Second

var hour = Validity{For: time.Hour}

func newAuthority(t *testing.T) *Authority {
	t.Helper()
	authority, err := NewAuthority("test authority", Validity{For: 24 * time.Hour})
	must(t, err)
	return authority
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func closeAtEnd(t *testing.T, closer interface{ Close() error }) {
	t.Helper()
	t.Cleanup(func() { _ = closer.Close() })
}

func node(t *testing.T, authority *Authority, id string) Pair {
	t.Helper()
	pair, err := authority.IssueNode(id, hour, "127.0.0.1", "localhost")
	must(t, err)
	return pair
}

// custom issues what IssueNode would not.
func custom(t *testing.T, authority *Authority, validity Validity, edit func(*x509.Certificate), uris ...string) Pair {
	t.Helper()
	template := &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	template.Subject.CommonName = "custom"
	for _, text := range uris {
		uri, err := url.Parse(text)
		must(t, err)
		template.URIs = append(template.URIs, uri)
	}
	if edit != nil {
		edit(template)
	}
	pair, err := authority.certify(template, validity)
	must(t, err)
	return pair
}

func leaf(t *testing.T, pair Pair) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(pair.Certificate)
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	return certificate
}

// install writes, over what may be there, the files of a node.
func install(t *testing.T, directory string, ca []byte, pair Pair) Files {
	t.Helper()
	files := Files{
		CA:          filepath.Join(directory, "ca.pem"),
		Certificate: filepath.Join(directory, "node.pem"),
		Key:         filepath.Join(directory, "node-key.pem"),
	}
	must(t, os.WriteFile(files.CA, ca, 0o600))
	must(t, os.WriteFile(files.Certificate, pair.Certificate, 0o600))
	must(t, os.WriteFile(files.Key, pair.Key, 0o600))
	return files
}

func load(t *testing.T, authority *Authority, pair Pair) *Certificates {
	t.Helper()
	certificates, err := LoadCertificates(install(t, t.TempDir(), authority.Pair().Certificate, pair))
	must(t, err)
	return certificates
}

func nodeCertificates(t *testing.T, authority *Authority, id string) *Certificates {
	t.Helper()
	return load(t, authority, node(t, authority, id))
}

type rejection struct {
	remote net.Addr
	err    error
}

// openPort opens a port whose rejections can be waited for.
func openPort(t *testing.T, certificates *Certificates, edit func(*Options)) (*Port, <-chan rejection) {
	t.Helper()
	rejections := make(chan rejection, 256)
	options := Options{
		Certificates: certificates,
		Rejected:     func(remote net.Addr, err error) { rejections <- rejection{remote, err} },
	}
	if edit != nil {
		edit(&options)
	}
	port, err := Listen(t.Context(), "127.0.0.1:0", options)
	must(t, err)
	closeAtEnd(t, port)
	return port, rejections
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("waited %s for %s", patience, what)
		panic("unreachable")
	}
}

// stranger is a TLS client or server under no rule of this package.
func stranger(t *testing.T, pair *Pair, protocols ...string) *tls.Config {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
	if pair != nil {
		certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
		must(t, err)
		config.Certificates = []tls.Certificate{certificate}
	}
	return config
}

func echo(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	must(t, from.SetDeadline(deadline))
	must(t, to.SetDeadline(deadline))
	_, err := from.Write([]byte(text))
	must(t, err)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
	must(t, from.SetDeadline(time.Time{}))
	must(t, to.SetDeadline(time.Time{}))
}
