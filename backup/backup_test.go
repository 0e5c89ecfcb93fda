package backup

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"testing"
	"testing/iotest"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

var header = signed.BackupHeader{Node: "lyon", Version: "test", Created: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}

// view is a state with a few contracts, large enough for more than one chunk if many are wanted.
func view(t testing.TB, contracts int) *fsm.View {
	t.Helper()
	s := fsm.New()
	var commands []*fsmpb.Command
	add := func(id string, body *fsmpb.Body) {
		c, err := fsm.NewCommand("operator", id, body)
		if err != nil {
			t.Fatal(err)
		}
		commands = append(commands, c)
	}
	add("", &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
		ClusterId: "test-cluster", VendorKeys: [][]byte{public(testKey(1))}, SigningKey: public(testKey(2)),
	}}})
	for i := range contracts {
		c := &signed.Contract{
			ID: "c" + time.Duration(i).String(), Revision: 1, Customer: "ACME", Email: "it@acme.example", Users: map[string]uint64{"primary": 1},
			Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		}
		document, err := c.Sign(testKey(1))
		if err != nil {
			t.Fatal(err)
		}
		add("r"+c.ID, &fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}})
	}
	data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 3, WallMs: 1_780_000_000_000, Commands: commands})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(7, 3, data); err != nil {
		t.Fatal(err)
	}
	return s.View()
}

func write(t testing.TB, v *fsm.View, key ed25519.PrivateKey) []byte {
	t.Helper()
	return written(t, v, key, false)
}

func written(t testing.TB, v *fsm.View, key ed25519.PrivateKey, withKey bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, v, header, key, withKey); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestBackupIsTheStateThatWasWritten(t *testing.T) {
	for _, n := range []int{0, 1000} {
		v := view(t, n)
		text := write(t, v, testKey(2))
		if n > 0 && len(text) < chunk {
			t.Fatalf("%d contracts take %d bytes, which is one chunk", n, len(text))
		}
		b, err := Read(iotest.HalfReader(bytes.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		if b.State.View().Digest() != v.Digest() || b.Index != 7 || b.Term != 3 || b.Cluster != "test-cluster" || b.Node != "lyon" || b.Bytes != uint64(len(text)) {
			t.Errorf("%+v", b)
		}
		if err := b.Verify([]ed25519.PublicKey{public(testKey(2))}); err != nil {
			t.Error(err)
		}
		if err := b.Verify([]ed25519.PublicKey{public(testKey(3))}); !errors.Is(err, ErrSeal) {
			t.Errorf("a stranger's key: %v", err)
		}
	}
}

// Each bit of a backup counts, and so does each byte that is missing or too much: nothing of it is there to be restored. 3 turns one version
// into the other.
func TestDamagedBackupsAreRefused(t *testing.T) {
	for _, withKey := range []bool{false, true} {
		whole := written(t, view(t, 2), testKey(2), withKey)
		if b, err := Read(bytes.NewReader(whole)); err != nil || (b.SigningKey != nil) != withKey {
			t.Fatalf("whole, with the key: %v: %v", withKey, err)
		}
		for n := range whole {
			if b, err := Read(bytes.NewReader(whole[:n])); b != nil || !errors.Is(err, ErrDamaged) {
				t.Fatalf("with the key: %v: %d of %d bytes: %v", withKey, n, len(whole), err)
			}
			for _, bits := range []byte{1, 3, 0x20, 0x80, 0xff} {
				flipped := bytes.Clone(whole)
				flipped[n] ^= bits
				if b, err := Read(bytes.NewReader(flipped)); b != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) && !errors.Is(err, fsm.ErrSnapshotVersion) {
					t.Fatalf("with the key: %v: byte %d of %d changed by %x: %v", withKey, n, len(whole), bits, err)
				}
			}
		}
	}
	whole := write(t, view(t, 2), testKey(2))
	if _, err := Read(bytes.NewReader(append(bytes.Clone(whole), 0))); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte too much: %v", err)
	}
	newer := bytes.Clone(whole)
	binary.BigEndian.PutUint32(newer[len(magic):], Version+1)
	if _, err := Read(bytes.NewReader(newer)); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer version: %v", err)
	}
	broken := errors.New("the disk is gone")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrDamaged) {
		t.Errorf("a disk that fails: %v", err)
	}
}

// A key that is not the cluster's seals nothing.
func TestForgedSealIsRefused(t *testing.T) {
	if _, err := Read(bytes.NewReader(write(t, view(t, 2), testKey(3)))); !errors.Is(err, ErrDamaged) {
		t.Errorf("read: %v", err)
	}
}

func TestWriteErrorsAreTold(t *testing.T) {
	broken := errors.New("the disk is full")
	if err := Write(failing{broken}, view(t, 1), header, testKey(2), false); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
