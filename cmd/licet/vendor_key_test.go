package main

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/licet/licet/fsm/signed"
)

// A statement is made offline, says what was asked for, and goes to the cluster as it is.
func TestVendorEndorse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"first", "next"} {
		if got := run(t, nil, "vendor", "keygen", "--dir", filepath.Join(dir, name)); got.code != exitOK {
			t.Fatal(got.err)
		}
	}
	key, next, out := filepath.Join(dir, "first", "vendor.key"), filepath.Join(dir, "next", "vendor.pub"), filepath.Join(dir, "statement")
	if got := run(t, nil, "vendor", "endorse", "--key", key, "--adds", next, "--name", "desk", "--revokes", "9f86d081884c7d65", "--cluster", "c1", "--days", "7", "--out", out); got.code != exitOK {
		t.Fatal(got.err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(filepath.Join(dir, "first", "vendor.pub"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signed.ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := signed.VerifyStatement(string(text), []ed25519.PublicKey{signer})
	if err != nil || s.Name != "desk" || s.Revokes != "9f86d081884c7d65" || s.Cluster != "c1" || !s.Expiry.Equal(s.Issued.AddDate(0, 0, 7)) || s.AddedKey() == nil {
		t.Errorf("%+v, %v", s, err)
	}
	f := newFake(t, 200, `{"added":{"id":"881c57196f63382c","pem":"p","state":"in_force","name":"desk"},"revoked":{"id":"9f86d081884c7d65","pem":"p","state":"revoked"}}`)
	got := run(t, at(f.Server), "vendor-key", "apply", out)
	if got.code != exitOK || !strings.Contains(got.out, "key 881c57196f63382c (desk) signs are taken") || !strings.Contains(got.out, "key 9f86d081884c7d65 signs is refused") {
		t.Errorf("%+v", got)
	}
	for _, wrong := range [][]string{
		{"vendor", "endorse", "--adds", next, "--name", "n"},
		{"vendor", "endorse", "--key", key},
		{"vendor", "endorse", "--key", key, "--adds", next},
		{"vendor", "endorse", "--key", key, "--adds", next, "--name", "n", "--days", "367"},
		{"vendor-key", "apply", next},
	} {
		if got := run(t, nil, wrong...); got.code != exitUsage {
			t.Errorf("%q: exit %d, %s", wrong, got.code, got.err)
		}
	}
}
