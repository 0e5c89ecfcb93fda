package signed

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Key files are PEM: PKIX "PUBLIC KEY" (RFC 8410) and PKCS #8 "PRIVATE KEY", as
// openssl reads and writes them.
const (
	publicBlock  = "PUBLIC KEY"
	privateBlock = "PRIVATE KEY"
)

// EncodePublicKey returns the key as PEM.
func EncodePublicKey(key ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), nil
}

// EncodePrivateKey returns the key as PEM.
func EncodePrivateKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), nil
}

// ParsePublicKey reads the one Ed25519 public key of a PEM text.
func ParsePublicKey(text []byte) (ed25519.PublicKey, error) {
	der, err := block(text, publicBlock)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	if public, ok := key.(ed25519.PublicKey); ok {
		return public, nil
	}
	return nil, fmt.Errorf("the public key is %T, not Ed25519", key)
}

// ParsePrivateKey reads the one Ed25519 private key of a PEM text. Its errors
// hold nothing of the text.
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) {
	der, err := block(text, privateBlock)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the private key is not PKCS #8")
	}
	if private, ok := key.(ed25519.PrivateKey); ok {
		return private, nil
	}
	return nil, fmt.Errorf("the private key is %T, not Ed25519", key)
}

func block(text []byte, kind string) ([]byte, error) {
	b, rest := pem.Decode(text)
	switch {
	case b == nil:
		return nil, fmt.Errorf("no PEM block %q found", kind)
	case b.Type != kind:
		return nil, fmt.Errorf("a PEM block %.40q found instead of %q", b.Type, kind)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("more than one PEM block found")
	}
	return b.Bytes, nil
}
