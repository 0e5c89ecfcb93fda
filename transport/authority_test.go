package transport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIssuedCertificates(t *testing.T) {
	authority := newAuthority(t)
	from := time.Now().Truncate(time.Second).Add(time.Hour)
	validity := Validity{From: from, For: time.Hour}
	pair, err := authority.IssueNode("lyon", validity, "lyon.example", "10.0.0.7", "::1")
	must(t, err)
	certificate := leaf(t, pair)
	if !slices.Equal(certificate.DNSNames, []string{"lyon.example"}) || len(certificate.IPAddresses) != 2 ||
		!certificate.IPAddresses[0].Equal(net.IPv4(10, 0, 0, 7)) {
		t.Errorf("hosts %v %v", certificate.DNSNames, certificate.IPAddresses)
	}
	if identity, err := IdentityOf(certificate); err != nil || identity.String() != "licet:node:lyon" {
		t.Errorf("identity %v, %v", identity, err)
	}
	if !certificate.NotBefore.Equal(from.Add(-5*time.Minute)) || !certificate.NotAfter.Equal(from.Add(time.Hour)) {
		t.Errorf("valid from %s to %s", certificate.NotBefore, certificate.NotAfter)
	}
	if certificate.IsCA || certificate.KeyUsage != x509.KeyUsageDigitalSignature || len(certificate.ExtKeyUsage) != 2 {
		t.Errorf("CA %t, usage %v %v", certificate.IsCA, certificate.KeyUsage, certificate.ExtKeyUsage)
	}

	client, err := authority.IssueClient("desk", validity)
	must(t, err)
	certificate = leaf(t, client)
	if identity, err := IdentityOf(certificate); err != nil || identity.String() != "licet:client:desk" {
		t.Errorf("identity %v, %v", identity, err)
	}
	if !slices.Equal(certificate.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
		t.Errorf("usage %v", certificate.ExtKeyUsage)
	}
	if leaf(t, pair).SerialNumber.Cmp(certificate.SerialNumber) == 0 || certificate.SerialNumber.BitLen() < 64 {
		t.Errorf("serial number %v", certificate.SerialNumber)
	}
}

func TestAuthorityIssuesNoAuthorities(t *testing.T) {
	certificate := newAuthority(t).certificate
	if !certificate.IsCA || certificate.MaxPathLen != 0 || !certificate.MaxPathLenZero {
		t.Errorf("CA %t, path length %d", certificate.IsCA, certificate.MaxPathLen)
	}
}

func TestIssuingRefuses(t *testing.T) {
	authority := newAuthority(t)
	end := authority.certificate.NotAfter
	for _, test := range []struct {
		name     string
		id       string
		validity Validity
		hosts    []string
		want     string
	}{
		{"empty id", "", hour, nil, `name ""`},
		{"bad id", "Lyon", hour, nil, `"Lyon"`},
		{"id with a role in it", "lyon:client:x", hour, nil, "lyon:client:x"},
		{"no validity", "lyon", Validity{}, nil, errNotPositive.Error()},
		{"negative validity", "lyon", Validity{For: -time.Hour}, nil, errNotPositive.Error()},
		{"after the authority's end", "lyon", Validity{From: end.Add(time.Second), For: time.Hour}, nil, errBeyond.Error()},
		{"host with port", "lyon", hour, []string{"lyon:7101"}, "lyon:7101"},
		{"empty host", "lyon", hour, []string{"a", ""}, `host ""`},
		{"host with a space", "lyon", hour, []string{"a b"}, "a b"},
		{"host too long", "lyon", hour, []string{strings.Repeat("a.", 127) + "a"}, "host"},
	} {
		if _, err := authority.IssueNode(test.id, test.validity, test.hosts...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := authority.IssueClient("Desk", hour); err == nil {
		t.Error("client with a bad name issued")
	}
	if _, err := NewAuthority("", hour); err == nil {
		t.Error("authority without a name made")
	}
	if _, err := NewAuthority("a", Validity{}); err == nil {
		t.Error("authority without validity made")
	}
}

func TestCertificateEndsWithItsAuthority(t *testing.T) {
	authority := newAuthority(t)
	pair, err := authority.IssueNode("lyon", Validity{For: 1000 * time.Hour})
	must(t, err)
	if got, want := leaf(t, pair).NotAfter, authority.certificate.NotAfter; !got.Equal(want) {
		t.Errorf("ends %s, want %s", got, want)
	}
}

func TestLoadedAuthorityIssuesTheSame(t *testing.T) {
	authority, directory := newAuthority(t), t.TempDir()
	certificate, key := filepath.Join(directory, "ca.pem"), filepath.Join(directory, "ca-key.pem")
	must(t, authority.Pair().Write(certificate, key))
	loaded, err := LoadAuthority(certificate, key)
	must(t, err)
	if !bytes.Equal(loaded.Pair().Certificate, authority.Pair().Certificate) || !bytes.Equal(loaded.Pair().Key, authority.Pair().Key) {
		t.Error("another authority was loaded")
	}
	load(t, authority, node(t, loaded, "lyon"))

	pair := node(t, authority, "lyon")
	must(t, pair.Write(filepath.Join(directory, "n.pem"), filepath.Join(directory, "n-key.pem")))
	_, err = LoadAuthority(filepath.Join(directory, "n.pem"), filepath.Join(directory, "n-key.pem"))
	if !errors.Is(err, errNotAuthority) || !strings.Contains(err.Error(), "n.pem") {
		t.Errorf("node loaded as authority: %v", err)
	}
	if _, err = LoadAuthority(certificate, filepath.Join(directory, "n-key.pem")); err == nil || !strings.Contains(err.Error(), "n-key.pem") {
		t.Errorf("another's key: %v", err)
	}
	if _, err = LoadAuthority(filepath.Join(directory, "none"), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestWriteKeepsTheKeyToItsOwner(t *testing.T) {
	directory := t.TempDir()
	certificate, key := filepath.Join(directory, "n.pem"), filepath.Join(directory, "n-key.pem")
	pair := node(t, newAuthority(t), "lyon")
	must(t, pair.Write(certificate, key))
	for file, want := range map[string]fs.FileMode{certificate: 0o644, key: 0o600} {
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", file, info.Mode(), want)
		}
	}
	wantFiles(t, directory, "n-key.pem", "n.pem")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, pair); got != "certificate and key" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestWriteOverwritesNothing(t *testing.T) {
	pair := node(t, newAuthority(t), "lyon")
	for _, existing := range []string{"n.pem", "n-key.pem"} {
		t.Run(existing, func(t *testing.T) {
			directory := t.TempDir()
			file := filepath.Join(directory, existing)
			must(t, os.WriteFile(file, []byte("precious"), 0o600))
			err := pair.Write(filepath.Join(directory, "n.pem"), filepath.Join(directory, "n-key.pem"))
			if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), file) {
				t.Errorf("got %v", err)
			}
			if content, err := os.ReadFile(file); err != nil || string(content) != "precious" {
				t.Errorf("file now holds %q, %v", content, err)
			}
			wantFiles(t, directory, existing)
		})
	}
	if err := pair.Write("/nowhere/n.pem", "/nowhere/n-key.pem"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func wantFiles(t *testing.T, directory string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(directory)
	must(t, err)
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("directory holds %q, want %q", got, want)
	}
}
