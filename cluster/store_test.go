package cluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// A store that fails ends the node, whatever raft makes of the error.
func TestStoreErrorsEndTheNode(t *testing.T) {
	var failed error
	s, err := openStore(t.TempDir(), func(err error) { failed = err })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLog(&raft.Log{Index: 1, Term: 1}); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if err := s.GetLog(7, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) || failed != nil {
		t.Fatalf("an entry that is not there: %v, %v", err, failed)
	}
	if _, err := s.Get([]byte("nothing")); err == nil || failed != nil {
		t.Fatalf("a key that is not there: %v, %v", err, failed)
	}
	if err := s.bolt.Close(); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"write an entry": func() error { return s.StoreLog(&raft.Log{Index: 2, Term: 1}) },
		"write entries":  func() error { return s.StoreLogs([]*raft.Log{{Index: 2, Term: 1}}) },
		"delete entries": func() error { return s.DeleteRange(1, 1) },
		"write a vote":   func() error { return s.Set([]byte("a"), []byte("b")) },
		"write a term":   func() error { return s.SetUint64([]byte("a"), 1) },
		"read an entry":  func() error { return s.GetLog(1, new(raft.Log)) },
	} {
		failed = nil
		if err := do(); err == nil || failed == nil || !strings.Contains(failed.Error(), name) {
			t.Errorf("%s: %v, the node was told %v", name, err, failed)
		}
	}
}

func TestDamagedStoreIsAnError(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.bolt.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "raft.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"no database": []byte("hello"),
		"truncated":   whole[:len(whole)/2],
		"zeroed":      make([]byte, len(whole)),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := openStore(dir, func(error) {}); err == nil {
			t.Errorf("%s: opened", name)
			if err := s.bolt.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A snapshot that is not whole leaves the state as it was.
func TestReplicaKeepsItsStateWhenASnapshotIsDamaged(t *testing.T) {
	r := newReplica(time.Now, func(err error) { t.Error(err) })
	data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 1, WallMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err, bad := r.Apply(&raft.Log{Index: 7, Term: 1, Data: data}).(error); bad {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := r.view.Load().Snapshot(&whole); err != nil {
		t.Fatal(err)
	}
	before := r.view.Load().Digest()
	for _, n := range []int{0, 3, whole.Len() / 2, whole.Len() - 1} {
		if err := r.Restore(io.NopCloser(bytes.NewReader(whole.Bytes()[:n]))); !errors.Is(err, fsm.ErrSnapshotDamaged) {
			t.Errorf("%d of %d bytes: %v", n, whole.Len(), err)
		}
		if v := r.view.Load(); v.Index() != 7 || v.Digest() != before {
			t.Errorf("%d of %d bytes: the state changed", n, whole.Len())
		}
	}
	if err := r.Restore(io.NopCloser(&whole)); err != nil || r.view.Load().Digest() != before {
		t.Errorf("the whole snapshot: %v", err)
	}
}
