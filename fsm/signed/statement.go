package signed

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// StatementKind starts every statement about vendor keys.
const StatementKind = "licet-vendor-v1"

// MaxStatementDays is how many days of 24 hours a statement is good for at most.
const MaxStatementDays = 366

// Statement is what a vendor says of its keys, signed by one of them (rule C2). One that adds and revokes puts the new
// key in the place of the old one.
type Statement struct {
	// Cluster is the id of the only cluster for which it is meant; empty: any.
	Cluster string `json:"cluster,omitempty"`
	// Adds is the public key that is added, in hex; empty if none is. Name is what it is called.
	Adds string `json:"adds,omitempty"`
	Name string `json:"name,omitempty"`
	// Revokes is the id of the key that is revoked; empty if none is.
	Revokes string `json:"revokes,omitempty"`
	// Issued and Expiry are when it was made and until when a cluster takes it, UTC, whole seconds.
	Issued time.Time `json:"issued"`
	Expiry time.Time `json:"expiry"`
}

// Sign returns the statement as a document. It refuses what Validate refuses.
func (s *Statement) Sign(vendor ed25519.PrivateKey) (string, error) {
	return sign(StatementKind, vendor, s)
}

// VerifyStatement returns what a statement says, and the id of the vendor key that signed it. It does not look at a
// clock: compare Expiry with the time. Errors wrap ErrMalformed, ErrUnknownKey or ErrSignature.
func VerifyStatement(document string, vendors []ed25519.PublicKey) (*Statement, string, error) {
	s := new(Statement)
	keyID, err := verify(StatementKind, document, vendors, s)
	if err != nil {
		return nil, "", err
	}
	return s, keyID, nil
}

// AddedKey is the public key that Adds spells; nil if none is added.
func (s *Statement) AddedKey() ed25519.PublicKey {
	if s.Adds == "" {
		return nil
	}
	key, err := hex.DecodeString(s.Adds)
	if err != nil {
		return nil
	}
	return key
}

// Validate says everything that is wrong with the statement, by field.
func (s *Statement) Validate() error {
	errs := []error{checkTime("issued", s.Issued), checkTime("expiry", s.Expiry)}
	if s.Cluster != "" {
		errs = append(errs, CheckName("cluster", s.Cluster))
	}
	switch {
	case s.Adds == "" && s.Revokes == "":
		errs = append(errs, errors.New("adds, revokes: the statement says nothing"))
	case s.Adds != "":
		errs = append(errs, checkSum("adds", s.Adds), CheckName("name", s.Name))
	case s.Name != "":
		errs = append(errs, errors.New("name: no key is added that it could be the name of"))
	}
	if s.Revokes != "" {
		errs = append(errs, CheckKeyID("revokes", s.Revokes))
		if key := s.AddedKey(); key != nil && KeyID(key) == s.Revokes {
			errs = append(errs, errors.New("adds, revokes: both are the same key"))
		}
	}
	if most := s.Issued.AddDate(0, 0, MaxStatementDays); !s.Issued.Before(s.Expiry) || most.Before(s.Expiry) {
		errs = append(errs, fmt.Errorf("expiry: it is not within %d days after issued", MaxStatementDays))
	}
	return errors.Join(errs...)
}

// CheckKeyID refuses what is not the id of a key. Errors begin with the field's name.
func CheckKeyID(field, id string) error {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != keyIDBytes || hex.EncodeToString(raw) != id {
		return fmt.Errorf("%s: %.40q is not 16 digits of hex in lower case", field, id)
	}
	return nil
}
