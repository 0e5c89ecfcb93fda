package client_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

// memory is an application's own store.
type memory struct {
	mark      []byte
	load, put error
	stores    int
}

func (m *memory) Load() ([]byte, error) { return m.mark, m.load }

func (m *memory) Store(mark []byte) error {
	if m.put == nil {
		m.mark = bytes.Clone(mark)
		m.stores++
	}
	return m.put
}

var (
	appKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{4}, ed25519.SeedSize))
	issued = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

func borrowToken(t testing.TB) string {
	t.Helper()
	token, err := (&signed.Borrow{
		Cluster: "c", Lease: 7, Pool: "field", Product: "cad", User: "ann@acme.example", Client: "ws-1", Count: 1, Issued: issued, Expiry: issued.AddDate(0, 0, 3),
	}).Sign(appKey)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func appVerifier(mark client.ClockMark, now *time.Time) *client.Verifier {
	return &client.Verifier{
		Keys: []ed25519.PublicKey{appKey.Public().(ed25519.PublicKey)}, User: "Ann@acme.example", Client: "ws-1", Mark: mark,
		Now: func() time.Time { return *now },
	}
}

// K4: a clock that is turned back is noticed, in the same run and after a restart, and gains nothing within the tolerance.
func TestVerifierNoticesATurnedBackClock(t *testing.T) {
	token, mark, now := borrowToken(t), client.FileMark(filepath.Join(t.TempDir(), "mark")), issued.Add(time.Hour)
	v := appVerifier(mark, &now)
	if b, err := v.VerifyBorrow(token); err != nil || b.Lease != 7 {
		t.Fatal(b, err)
	}
	now = issued.AddDate(0, 0, 4)
	if _, err := v.VerifyBorrow(token); !errors.Is(err, client.ErrBorrowEnded) || errors.Is(err, client.ErrClockTurnedBack) {
		t.Error(err)
	}
	now = issued.Add(2 * time.Hour)
	for _, v := range []*client.Verifier{v, appVerifier(mark, &now)} {
		b, err := v.VerifyBorrow(token)
		if b == nil || !errors.Is(err, client.ErrClockTurnedBack) || !errors.Is(err, client.ErrBorrowEnded) || !strings.Contains(err.Error(), "94h0m0s before 2026-06-05T12:00:00Z") {
			t.Errorf("%+v %v", b, err)
		}
	}
	// Within the tolerance the clock is not refused, but the time that has been counts.
	at := issued.AddDate(0, 0, 3)
	soft := &memory{}
	v = appVerifier(soft, &at)
	if _, err := v.VerifyBorrow(token); !errors.Is(err, client.ErrBorrowEnded) {
		t.Error(err)
	}
	at = at.Add(-client.DefaultTolerance)
	if _, err := v.VerifyBorrow(token); !errors.Is(err, client.ErrBorrowEnded) || errors.Is(err, client.ErrClockTurnedBack) {
		t.Error(err)
	}
	at = at.Add(-time.Second)
	if _, err := v.VerifyBorrow(token); !errors.Is(err, client.ErrClockTurnedBack) {
		t.Error(err)
	}
	// The cluster's time sets it right.
	if err := v.Trust(at); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*client.Verifier{v, appVerifier(soft, &at)} {
		if _, err := v.VerifyBorrow(token); err != nil {
			t.Error(err)
		}
	}
}

// Nobody has a token before it was issued.
func TestVerifierBelievesTheTimeOfADocument(t *testing.T) {
	mark, now := &memory{}, issued.AddDate(0, 0, -1)
	v := appVerifier(mark, &now)
	if _, err := v.VerifyBorrow(borrowToken(t)); !errors.Is(err, client.ErrClockTurnedBack) {
		t.Error(err)
	}
	// And that is remembered without it.
	key, err := (&signed.LicenseKey{Cluster: "c", Serial: 7, Contract: "a", Revision: 1, Expiry: issued.AddDate(1, 0, 0), GraceDays: 3, Allocation: map[string]uint64{"primary": 1}}).Sign(appKey)
	if err != nil {
		t.Fatal(err)
	}
	k, phase, err := appVerifier(mark, &now).VerifyLicenseKey(key + "\n")
	if k == nil || phase != client.PhaseValid || !errors.Is(err, client.ErrClockTurnedBack) {
		t.Error(k, phase, err)
	}
	for _, tt := range []struct {
		at    time.Time
		phase client.Phase
		ended bool
	}{{issued, client.PhaseValid, false}, {issued.AddDate(1, 0, 1), client.PhaseGrace, false}, {issued.AddDate(1, 0, 3), client.PhaseEnded, true}} {
		now = tt.at
		if k, phase, err := v.VerifyLicenseKey(key); k.Serial != 7 || phase != tt.phase || errors.Is(err, client.ErrLicenseEnded) != tt.ended || (err != nil) != tt.ended {
			t.Error(tt.at, phase, err)
		}
	}
	if _, _, err := v.VerifyLicenseKey(borrowToken(t)); !errors.Is(err, signed.ErrMalformed) {
		t.Error(err)
	}
}

// A mark that is damaged or can't be read is said, and never begun anew; one that can't be stored is said, too.
func TestVerifierNeverForgetsTheMarkSilently(t *testing.T) {
	now := issued.Add(time.Hour)
	good := &memory{}
	if _, err := appVerifier(good, &now).VerifyBorrow(borrowToken(t)); err != nil || good.stores != 1 {
		t.Fatal(err, good.stores)
	}
	for i := range good.mark {
		damaged := bytes.Clone(good.mark)
		damaged[i] ^= 1
		for _, mark := range [][]byte{damaged, good.mark[:i]} {
			m := &memory{mark: mark}
			if b, err := appVerifier(m, &now).VerifyBorrow(borrowToken(t)); b == nil || !errors.Is(err, client.ErrMarkUnreadable) || m.stores != 0 {
				t.Fatalf("%q: %v", mark, err)
			}
		}
	}
	lost := errors.New("no such key in the registry")
	if _, err := appVerifier(&memory{load: lost}, &now).VerifyBorrow(borrowToken(t)); !errors.Is(err, client.ErrMarkUnreadable) || !errors.Is(err, lost) {
		t.Error(err)
	}
	if _, err := appVerifier(&memory{put: lost}, &now).VerifyBorrow(borrowToken(t)); !errors.Is(err, client.ErrMarkNotKept) || !errors.Is(err, lost) {
		t.Error(err)
	}
	// A file that is empty is none that was never there.
	path := filepath.Join(t.TempDir(), "mark")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v := appVerifier(client.FileMark(path), &now)
	if _, err := v.VerifyBorrow(borrowToken(t)); !errors.Is(err, client.ErrMarkUnreadable) {
		t.Error(err)
	}
	if err := v.Trust(now); err != nil {
		t.Fatal(err)
	}
	if _, err := v.VerifyBorrow(borrowToken(t)); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Error("files are left over", entries, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// K4: another user's, another device's, and nobody's.
func TestVerifierBindsToUserAndDevice(t *testing.T) {
	now := issued.Add(time.Hour)
	for _, tt := range []struct {
		change func(*client.Verifier)
		want   error
		say    string
	}{
		{func(v *client.Verifier) { v.User = "bob@acme.example" }, client.ErrOtherUser, ""},
		{func(v *client.Verifier) { v.Client = "WS-1" }, client.ErrOtherClient, ""},
		{func(v *client.Verifier) { v.User = "" }, nil, "User is missing"},
		{func(v *client.Verifier) { v.Client = "" }, nil, "Client is missing"},
		{func(v *client.Verifier) { v.Mark = nil }, nil, "Mark is missing"},
		{func(v *client.Verifier) { v.Keys = nil }, nil, "Keys is missing"},
		{func(v *client.Verifier) { v.Tolerance = -1 }, nil, "Tolerance"},
	} {
		v := appVerifier(&memory{}, &now)
		tt.change(v)
		b, err := v.VerifyBorrow(borrowToken(t))
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || (b == nil) != (tt.want == nil) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%v %v", b, err)
		}
	}
}

// The store is written once a minute at most, whoever asks and how often.
func TestVerifierIsSharedAndSparing(t *testing.T) {
	mark, now := &memory{}, issued.Add(time.Hour)
	v := appVerifier(mark, &now)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if _, err := v.VerifyBorrow(borrowToken(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if mark.stores != 1 {
		t.Errorf("stored %d times", mark.stores)
	}
	now = now.Add(time.Minute)
	if _, err := v.VerifyBorrow(borrowToken(t)); err != nil || mark.stores != 2 {
		t.Error(err, mark.stores)
	}
}

// A mark is read as it was written, or not at all.
func FuzzMark(f *testing.F) {
	good := &memory{}
	now := issued
	if _, err := appVerifier(good, &now).VerifyBorrow(borrowToken(f)); err != nil {
		f.Fatal(err)
	}
	f.Add(good.mark)
	f.Add([]byte("licet-mark-v1 2026-06-01T12:00:00+02:00 00000000\n"))
	f.Fuzz(func(t *testing.T, mark []byte) {
		m := &memory{mark: append([]byte{}, mark...)}
		at := time.Unix(0, 0)
		v := appVerifier(m, &at)
		if _, err := v.VerifyBorrow(borrowToken(t)); errors.Is(err, client.ErrMarkUnreadable) && m.stores != 0 {
			t.Error("a mark that can't be read was replaced")
		}
	})
}

// An application verifies a borrow: its mark is where the application keeps its own things.
func ExampleVerifier() {
	dir, err := os.MkdirTemp("", "app")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	v := &client.Verifier{
		Keys: []ed25519.PublicKey{appKey.Public().(ed25519.PublicKey)}, User: "ann@acme.example", Client: "ws-1",
		Mark: client.FileMark(filepath.Join(dir, "clock")),
		Now:  func() time.Time { return issued.Add(48 * time.Hour) }, // for the example; otherwise the clock of the machine
	}
	token, err := (&signed.Borrow{
		Cluster: "c", Lease: 7, Pool: "field", Product: "cad", User: "ann@acme.example", Client: "ws-1", Count: 1, Issued: issued, Expiry: issued.AddDate(0, 0, 3),
	}).Sign(appKey)
	if err != nil {
		panic(err)
	}
	b, err := v.VerifyBorrow(token)
	fmt.Println(b.Product, b.Expiry.Format(time.DateOnly), err)
	v.Now = func() time.Time { return issued }
	_, err = v.VerifyBorrow(token)
	fmt.Println(errors.Is(err, client.ErrClockTurnedBack))
	// Output:
	// cad 2026-06-04 <nil>
	// true
}
