// Package signed holds licet's signed documents: contracts, which a vendor
// signs, and license keys, which a cluster signs. It parses, signs and verifies
// them with nothing but a public key, so that an application can do so offline.
//
// A document is one line of ASCII in four parts joined by dots:
//
//	KIND.KEYID.PAYLOAD.SIGNATURE
//
// KIND names what it is and the format's version, KEYID the signing key,
// PAYLOAD is base64url (RFC 4648 section 5, no padding) of canonical JSON, and
// SIGNATURE is base64url of the Ed25519 signature (RFC 8032) of everything
// before its dot. The algorithm is fixed by KIND; nothing in a document chooses it.
//
// All functions are safe for concurrent use.
package signed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxDocument is the longest document that is parsed, in bytes.
const MaxDocument = 256 << 10

// Errors of Verify functions. They are wrapped with what was found.
var (
	// ErrMalformed says that the text is not a document of the wanted kind.
	ErrMalformed = errors.New("malformed document")
	// ErrUnknownKey says that none of the given public keys has the document's key id.
	ErrUnknownKey = errors.New("signed by an unknown key")
	// ErrSignature says that the signature does not fit the document.
	ErrSignature = errors.New("signature does not fit")
)

var encoding = base64.RawURLEncoding.Strict()

// keyIDBytes is how much of a hash the id of a key has.
const keyIDBytes = 8

// KeyID names a public key in documents: the first 8 bytes of its SHA-256, in hex.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:keyIDBytes])
}

// payload is what a document can carry.
type payload interface {
	// Validate says what is wrong with the content, if anything.
	Validate() error
}

// Payload returns the payload's text, as the document spells it: documents with
// the same payload say the same, whichever key signed them.
func Payload(document string) string {
	parts := strings.Split(strings.TrimSpace(document), ".")
	if len(parts) != 4 {
		return ""
	}
	return parts[2]
}

func sign(kind string, key ed25519.PrivateKey, content payload) (string, error) {
	if err := content.Validate(); err != nil {
		return "", err
	}
	text, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	head := kind + "." + KeyID(key.Public().(ed25519.PublicKey)) + "." + encoding.EncodeToString(text)
	if len(head) > MaxDocument-ed25519.SignatureSize*2 {
		return "", fmt.Errorf("the document would be longer than %d bytes", MaxDocument)
	}
	return head + "." + encoding.EncodeToString(ed25519.Sign(key, []byte(head))), nil
}

// verify checks the signature before it looks at the payload, so that only
// signed bytes ever reach the JSON decoder.
func verify(kind, document string, keys []ed25519.PublicKey, into payload) (keyID string, err error) {
	if len(document) > MaxDocument {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxDocument)
	}
	document = strings.TrimSpace(document)
	if strings.ContainsAny(document, "\r\n") {
		// base64 skips line breaks, so the same document would have many spellings.
		return "", fmt.Errorf("%w: more than one line", ErrMalformed)
	}
	parts := strings.Split(document, ".")
	if len(parts) != 4 {
		return "", fmt.Errorf("%w: %d parts instead of 4", ErrMalformed, len(parts))
	}
	if parts[0] != kind {
		return "", fmt.Errorf("%w: it starts with %.40q instead of %q", ErrMalformed, parts[0], kind)
	}
	signature, err := encoding.DecodeString(parts[3])
	if err != nil || len(signature) != ed25519.SignatureSize {
		return "", fmt.Errorf("%w: the last part is no Ed25519 signature", ErrMalformed)
	}
	key, err := find(keys, parts[1])
	if err != nil {
		return "", err
	}
	head := strings.Join(parts[:3], ".")
	if !ed25519.Verify(key, []byte(head), signature) {
		return "", fmt.Errorf("%w (key %s)", ErrSignature, parts[1])
	}
	text, err := encoding.DecodeString(parts[2])
	if err != nil {
		return "", fmt.Errorf("%w: the payload is not base64url", ErrMalformed)
	}
	return parts[1], decode(text, into)
}

// decode takes canonical JSON only: what would be written differently from
// what was read (unknown or repeated fields, other spellings, spaces) is refused,
// so that every build and every language reads the same content.
func decode(text []byte, into payload) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := into.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := json.Marshal(into)
	if err != nil || !bytes.Equal(text, again) {
		return fmt.Errorf("%w: the payload is not canonical JSON", ErrMalformed)
	}
	return nil
}

func find(keys []ed25519.PublicKey, id string) (ed25519.PublicKey, error) {
	known := make([]string, 0, len(keys))
	for _, key := range keys {
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("a public key has %d bytes instead of %d", len(key), ed25519.PublicKeySize)
		}
		if KeyID(key) == id {
			return key, nil
		}
		known = append(known, KeyID(key))
	}
	return nil, fmt.Errorf("%w %.40q (known: %s)", ErrUnknownKey, id, strings.Join(known, ", "))
}
