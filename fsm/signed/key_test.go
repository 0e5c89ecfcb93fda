package signed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func pemOf(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestKeyRoundTrip(t *testing.T) {
	private, err := EncodePrivateKey(vendor)
	if err != nil {
		t.Fatal(err)
	}
	public, err := EncodePublicKey(publicKeys(vendor)[0])
	if err != nil {
		t.Fatal(err)
	}
	// openssl pkey -in key.pem -pubout gives the same text for this key.
	const want = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=\n-----END PUBLIC KEY-----\n"
	if string(public) != want {
		t.Errorf("the public key is\n%s instead of\n%s", public, want)
	}
	for _, around := range []string{"", "\n", "a comment\n"} {
		gotPrivate, err := ParsePrivateKey([]byte(around + string(private) + around))
		if err != nil || !gotPrivate.Equal(vendor) {
			t.Errorf("private key: %v", err)
		}
		gotPublic, err := ParsePublicKey([]byte(around + string(public) + around))
		if err != nil || !gotPublic.Equal(publicKeys(vendor)[0]) {
			t.Errorf("public key: %v", err)
		}
	}
}

func TestRefusedKeys(t *testing.T) {
	private, err := EncodePrivateKey(vendor)
	if err != nil {
		t.Fatal(err)
	}
	public, err := EncodePublicKey(publicKeys(vendor)[0])
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherPrivate, err := x509.MarshalPKCS8PrivateKey(other)
	p256Private := pemOf(t, privateBlock, otherPrivate, err)
	otherPublic, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
	p256Public := pemOf(t, publicBlock, otherPublic, err)
	for name, text := range map[string][]byte{
		"nothing":        nil,
		"no PEM":         []byte("hello"),
		"P-256 private":  p256Private,
		"P-256 public":   p256Public,
		"cut short":      private[:len(private)/2],
		"garbage inside": pemOf(t, privateBlock, []byte("garbage"), nil),
		"garbage public": pemOf(t, publicBlock, []byte("garbage"), nil),
		"two public":     bytes.Repeat(public, 2),
		"two private":    bytes.Repeat(private, 2),
		"certificate":    pemOf(t, "CERTIFICATE", []byte("x"), nil),
	} {
		if key, err := ParsePublicKey(text); err == nil || key != nil {
			t.Errorf("%s is read as a public key", name)
		}
		if key, err := ParsePrivateKey(text); err == nil || key != nil {
			t.Errorf("%s is read as a private key", name)
		}
	}
	if key, err := ParsePublicKey(private); err == nil || key != nil || strings.Contains(err.Error(), "MC4") {
		t.Errorf("a private key is read as a public one, or shown: %v", err)
	}
	if _, err := ParsePrivateKey(public); err == nil {
		t.Error("a public key is read as a private one")
	}
}
