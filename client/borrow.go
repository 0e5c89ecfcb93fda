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

// borrowFaults says why a genuine borrow does not hold.
func borrowFaults(b *signed.Borrow, user, client string, now time.Time) error {
	var errs []error
	if lower(user) != b.User {
		errs = append(errs, fmt.Errorf("%w: %s", ErrOtherUser, b.User))
	}
	if client != b.Client {
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
