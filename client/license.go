package client

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/licet/licet/fsm/signed"
)

// ErrLicenseEnded says that a license key is genuine, but past its expiry and grace (rule C5).
var ErrLicenseEnded = errors.New("license ended")

// Phase is where a license stands in its life (rule C5).
type Phase string

// The phases, in their order.
const (
	// PhaseValid: before its expiry.
	PhaseValid Phase = "valid"
	// PhaseGrace: expired, but everything still works.
	PhaseGrace Phase = "in grace"
	// PhaseEnded: nothing works any more.
	PhaseEnded Phase = "ended"
)

// PhaseOf says where a license stands at a time.
func PhaseOf(k *signed.LicenseKey, now time.Time) Phase {
	switch {
	case now.Before(k.Expiry):
		return PhaseValid
	case now.Before(k.Ends()):
		return PhaseGrace
	default:
		return PhaseEnded
	}
}

// VerifyLicenseKey says what a license key grants, offline: with nothing but
// the cluster's public signing keys, one or more as PEM (see Client.Keys). What
// it can't know is whether the key is stale, that is, whether a newer revision is in force.
//
// A key that ended is returned together with an error that wraps ErrLicenseEnded.
// Other errors come without a key and wrap signed.ErrMalformed,
// signed.ErrUnknownKey or signed.ErrSignature, or say what is wrong with the PEM.
// PhaseOf tells a key in grace from one before its expiry. The time is believed; applications use a Verifier.
func VerifyLicenseKey(key string, publicKeyPEM []byte, now time.Time) (*signed.LicenseKey, error) {
	keys, err := ParsePublicKeys(publicKeyPEM)
	if err != nil {
		return nil, err
	}
	k, err := signed.VerifyLicenseKey(key, keys)
	if err != nil {
		return nil, err
	}
	return k, licenseFault(k, now)
}

func licenseFault(k *signed.LicenseKey, now time.Time) error {
	if PhaseOf(k, now) == PhaseEnded {
		return fmt.Errorf("%w at %s, %d days after its expiry", ErrLicenseEnded, k.Ends().Format(time.RFC3339), k.GraceDays)
	}
	return nil
}

// ParsePublicKeys reads a cluster's public signing keys: one or more blocks of PEM, as Client.Keys returns them.
func ParsePublicKeys(text []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		key, err := signed.ParsePublicKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		keys, text = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("public key: no PEM block \"PUBLIC KEY\" found")
	}
	return keys, nil
}
