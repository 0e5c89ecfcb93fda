package client

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/licet/licet/fsm/signed"
)

// Why a genuine borrow token does not hold here and now (rule K4).
var (
	// ErrBorrowEnded says that its time is over.
	ErrBorrowEnded = errors.New("borrow ended")
	// ErrOtherUser says that it is another user's.
	ErrOtherUser = errors.New("borrowed by another user")
	// ErrOtherClient says that it is for another host or device.
	ErrOtherClient = errors.New("borrowed for another client")
)

// VerifyBorrow says what a borrow token grants at a time, offline: with nothing but the cluster's public
// signing keys, one or more as PEM (see Client.Keys). It is for tools that look at tokens: user and client
// may be empty, which means that they make no difference, and the time is believed. Applications use a Verifier. What
// it can't know is whether the borrow was returned early or revoked.
//
// A genuine token is returned also where it does not hold, with an error that wraps
// ErrBorrowEnded, ErrOtherUser and ErrOtherClient, each that applies. Other errors come without
// and wrap signed.ErrMalformed, signed.ErrUnknownKey or signed.ErrSignature, or say what is wrong with the PEM.
func VerifyBorrow(token string, publicKeyPEM []byte, user, client string, now time.Time) (*signed.Borrow, error) {
	keys, err := ParsePublicKeys(publicKeyPEM)
	if err != nil {
		return nil, err
	}
	b, err := signed.VerifyBorrow(strings.TrimSpace(token), keys)
	if err != nil {
		return nil, err
	}
	return b, borrowFaults(b, user, client, now)
}

// borrowFaults says why a genuine borrow does not hold.
func borrowFaults(b *signed.Borrow, user, client string, now time.Time) error {
	var errs []error
	if user != "" && lower(user) != b.User {
		errs = append(errs, fmt.Errorf("%w: %s", ErrOtherUser, b.User))
	}
	if client != "" && client != b.Client {
		errs = append(errs, fmt.Errorf("%w: %s", ErrOtherClient, b.Client))
	}
	if !now.Before(b.Expiry) {
		errs = append(errs, fmt.Errorf("%w at %s", ErrBorrowEnded, b.Expiry.Format(time.RFC3339)))
	}
	return errors.Join(errs...)
}

// lower is how a cluster writes users: only ASCII letters have a case there.
func lower(user string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, user)
}
