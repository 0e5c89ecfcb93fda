package client

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/licet/licet/fsm/signed"
)

// Why a Verifier does not trust the clock.
var (
	// ErrClockTurnedBack says that the clock shows an earlier time than it, or a genuine document, has shown before.
	ErrClockTurnedBack = errors.New("the clock was turned back")
	// ErrMarkUnreadable says that the mark can't be read or is damaged. It is never begun anew silently.
	ErrMarkUnreadable = errors.New("the mark of the clock can't be read")
	// ErrMarkNotKept says that the mark could not be stored.
	ErrMarkNotKept = errors.New("the mark of the clock can't be stored")
)

const (
	// DefaultTolerance is how far a clock may go back, to be set right by its machine, before it counts as turned back.
	DefaultTolerance = 5 * time.Minute
	// markStep is how far the time must have come before the mark is stored again.
	markStep = time.Minute
)

// Verifier verifies license keys and borrow tokens in an application, offline, for one user on one device, by a clock that can't be turned
// back unnoticed. Keys and Mark are required, and for borrows User and Client. Safe for concurrent use; it must not be copied or changed once used.
//
// It keeps the latest time that it has seen in the application's own store. Times come from the clock and from the borrows that it verifies: nobody can
// have a token before it was issued. A document is judged at the later of the clock and the mark.
//
// What it can't stop: whoever can write to the store can put an older mark back, or remove it, and turn the clock back as well. The application
// decides how hard that is. It also can't tell a clock that is wrong by itself from one that was turned back: if the clock was once far ahead, the
// mark is, too; Trust sets it right.
type Verifier struct {
	// Keys are the cluster's public signing keys (ParsePublicKeys).
	Keys []ed25519.PublicKey
	// User is who uses the application, Client the host or device as it was given at the checkout. A borrow of another is refused (rule K4).
	User, Client string
	// Mark keeps the latest time that was seen.
	Mark ClockMark
	// Tolerance is how far the clock may go back; 0 means DefaultTolerance.
	Tolerance time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu sync.Mutex
	// latest is the latest time that was seen, stored what of it was stored; both are zero before the mark was loaded.
	latest, stored time.Time
	loaded         bool
}

// VerifyBorrow says what a borrow token grants this user on this device now. A genuine token is returned also where it does not hold,
// with an error that wraps each of ErrBorrowEnded, ErrOtherUser, ErrOtherClient, ErrClockTurnedBack, ErrMarkUnreadable and ErrMarkNotKept
// that applies. Other errors come without and wrap signed.ErrMalformed, signed.ErrUnknownKey or signed.ErrSignature, or say which field is missing.
// What it can't know is whether the borrow was returned early or revoked.
func (v *Verifier) VerifyBorrow(token string) (*signed.Borrow, error) {
	if err := errors.Join(v.complete(), v.bound()); err != nil {
		return nil, err
	}
	b, err := signed.VerifyBorrow(strings.TrimSpace(token), v.Keys)
	if err != nil {
		return nil, err
	}
	now, clock := v.observe(b.Issued)
	return b, errors.Join(borrowFaults(b, v.User, v.Client, now), clock)
}

// VerifyLicenseKey says what a license key grants now, and in which phase it is. A genuine key is returned also with an error that wraps each
// of ErrLicenseEnded, ErrClockTurnedBack, ErrMarkUnreadable and ErrMarkNotKept that applies. Other errors come without and wrap signed.ErrMalformed,
// signed.ErrUnknownKey or signed.ErrSignature, or say which field is missing. What it can't know is whether a newer key is in force.
func (v *Verifier) VerifyLicenseKey(key string) (*signed.LicenseKey, Phase, error) {
	if err := v.complete(); err != nil {
		return nil, PhaseEnded, err
	}
	k, err := signed.VerifyLicenseKey(strings.TrimSpace(key), v.Keys)
	if err != nil {
		return nil, PhaseEnded, err
	}
	now, clock := v.observe(time.Time{})
	return k, PhaseOf(k, now), errors.Join(licenseFault(k, now), clock)
}

// Trust sets the mark to a time that the application has from somebody it believes, such as the cluster, also if that is earlier or the
// mark can't be read: the way back for a clock that was once ahead, and for a mark that was damaged.
func (v *Verifier) Trust(now time.Time) error {
	if err := v.complete(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.latest, v.stored, v.loaded = now, time.Time{}, true
	return v.store()
}

func (v *Verifier) complete() error {
	switch {
	case len(v.Keys) == 0:
		return errors.New("verifier: Keys is missing")
	case v.Mark == nil:
		return errors.New("verifier: Mark is missing")
	case v.Tolerance < 0:
		return fmt.Errorf("verifier: Tolerance is negative, %s", v.Tolerance)
	}
	return nil
}

// bound refuses to say of a borrow that it holds, but not for whom and where.
func (v *Verifier) bound() error {
	switch {
	case v.User == "":
		return errors.New("verifier: User is missing, whose borrow it is to be")
	case v.Client == "":
		return errors.New("verifier: Client is missing, where the borrow is to be used")
	}
	return nil
}

// observe returns the time by which to judge, and what is wrong with the clock. The mark rises to the clock and to a time that a document proves.
func (v *Verifier) observe(proved time.Time) (time.Time, error) {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	tolerance := v.Tolerance
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := now()
	if err := v.load(); err != nil {
		return at, err
	}
	if proved.After(v.latest) {
		v.latest = proved
	}
	var turned error
	if back := v.latest.Sub(at); back > tolerance {
		turned = fmt.Errorf("%w: it shows %s, %s before %s, which has been", ErrClockTurnedBack,
			at.UTC().Format(time.RFC3339), back.Round(time.Second), v.latest.UTC().Format(time.RFC3339))
	}
	if at.After(v.latest) {
		v.latest = at
	}
	return v.latest, errors.Join(turned, v.store())
}

func (v *Verifier) load() error {
	if v.loaded {
		return nil
	}
	mark, err := v.Mark.Load()
	if err == nil && mark != nil {
		v.latest, err = decodeMark(mark)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMarkUnreadable, err)
	}
	v.stored, v.loaded = v.latest, true
	return nil
}

func (v *Verifier) store() error {
	if !v.stored.IsZero() && v.latest.Sub(v.stored) < markStep {
		return nil
	}
	if err := v.Mark.Store(encodeMark(v.latest)); err != nil {
		return fmt.Errorf("%w: %w", ErrMarkNotKept, err)
	}
	v.stored = v.latest
	return nil
}
