package transport

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestForeignAuthorityCanSignARequest: one that copies what a request asks for makes a
// certificate that nodes take.
func TestForeignAuthorityCanSignARequest(t *testing.T) {
	authority := newAuthority(t)
	pair, err := NewRequest(Identity{Role: RoleNode, Name: "lyon", Site: "east"}, "lyon.example", "127.0.0.1")
	must(t, err)
	block, _ := pem.Decode(pair.Certificate)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	must(t, err)
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		Subject: request.Subject, ExtraExtensions: request.Extensions,
	}, authority.certificate, request.PublicKey, authority.key)
	must(t, err)
	pair.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	if got := leaf(t, pair).ExtKeyUsage; !slices.Equal(got, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usages %v", got)
	}
	certificates := load(t, authority, pair)
	if got := certificates.Identity(); got != (Identity{Role: RoleNode, Name: "lyon", Site: "east"}) {
		t.Errorf("got %v", got)
	}
	got, err := Examine(certificates.files)
	must(t, err)
	if !slices.Equal(got.Hosts, []string{"lyon.example", "127.0.0.1"}) || got.Identity != certificates.Identity() || !got.NotAfter.Equal(certificates.NotAfter()) {
		t.Errorf("got %+v", got)
	}
}

func TestSignTakesWhatTheOperatorSays(t *testing.T) {
	authority := newAuthority(t)
	lyon := Identity{Role: RoleNode, Name: "lyon", Site: ""}
	asked, err := NewRequest(lyon, "lyon.example")
	must(t, err)
	text, err := authority.Sign(asked.Certificate, lyon, hour)
	must(t, err)
	certificates := load(t, authority, Pair{Certificate: text, Key: asked.Key})
	if certificates.Identity() != lyon || certificates.current.Load().own.Leaf.IsCA {
		t.Errorf("got %v", certificates.Identity())
	}
	damaged := slices.Clone(asked.Certificate)
	block, _ := pem.Decode(damaged)
	block.Bytes[len(block.Bytes)-5] ^= 1
	for _, test := range []struct {
		name     string
		request  []byte
		identity Identity
		validity Validity
		want     string
	}{
		{"another node", asked.Certificate, Identity{Role: RoleNode, Name: "paris", Site: ""}, hour, "the request is for"},
		{"another role", asked.Certificate, Identity{Role: RoleClient, Name: "lyon", Site: ""}, hour, "the request is for"},
		{"another site", asked.Certificate, Identity{Role: RoleNode, Name: "lyon", Site: "east"}, hour, "the request is for"},
		{"a certificate", text, lyon, hour, "no certificate request"},
		{"nothing", nil, lyon, hour, "no certificate request"},
		{"a request of another key", pem.EncodeToMemory(block), lyon, hour, ""},
		{"no time", asked.Certificate, lyon, Validity{}, "validity must be positive"},
	} {
		if _, err := authority.Sign(test.request, test.identity, test.validity); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v", test.name, err)
		}
	}
	if _, err := NewRequest(Identity{Role: RoleNode, Name: "Lyon", Site: ""}); err == nil {
		t.Error("a bad name passes")
	}
}

func TestExamine(t *testing.T) {
	authority := newAuthority(t)
	for _, test := range certificateCases(t, authority) {
		files := install(t, t.TempDir(), authority.Pair().Certificate, test.pair)
		_, err := Examine(files)
		if test.want == nil || errors.Is(test.want, ErrWrongRole) {
			must(t, err) // a client's certificate is good for a client
			continue
		}
		wantRefusal(t, err, test.want, leaf(t, test.pair))
		if !strings.Contains(err.Error(), files.Certificate) {
			t.Errorf("%s: %v does not name the file", test.name, err)
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		half := custom(t, authority, hour, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} }, "licet:node:lyon")
		if _, err := Examine(install(t, t.TempDir(), authority.Pair().Certificate, half)); !errors.Is(err, ErrUsage) {
			t.Errorf("usage %d alone: got %v", usage, err)
		}
	}
	files := install(t, t.TempDir(), authority.Pair().Certificate, node(t, authority, "lyon"))
	must(t, os.WriteFile(files.Key, node(t, authority, "lyon").Key, 0o600))
	if _, err := Examine(files); err == nil || !strings.Contains(err.Error(), filepath.Base(files.Key)) {
		t.Errorf("another key: %v", err)
	}
	files.Key = ""
	if _, err := Examine(files); err != nil {
		t.Errorf("without a key: %v", err)
	}
}
