package cluster

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
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
		"to write entries": func() error { return s.StoreLog(&raft.Log{Index: 2, Term: 1}) },
		"write entries":    func() error { return s.StoreLogs([]*raft.Log{{Index: 2, Term: 1}}) },
		"first index":      func() error { return s.DeleteRange(1, 1) },
		"write a vote":     func() error { return s.Set([]byte("a"), []byte("b")) },
		"write a term":     func() error { return s.SetUint64([]byte("a"), 1) },
		"read an entry":    func() error { return s.GetLog(1, new(raft.Log)) },
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

// What a snapshot made needless goes in parts, what Raft takes back from the end at once.
func TestDeletions(t *testing.T) {
	const n = deleteAtOnce
	for _, c := range []struct {
		name                  string
		from, to, first, last uint64
		want                  [][2]uint64
	}{
		{"few", 1, 10, 1, 20, [][2]uint64{{1, 10}}},
		{"a part", 1, n, 1, 2 * n, [][2]uint64{{1, n}}},
		{"one more", 1, n + 1, 1, 2 * n, [][2]uint64{{1, n}, {n + 1, n + 1}}},
		{"three parts", 5, 2*n + 10, 5, 5 * n, [][2]uint64{{5, n + 4}, {n + 5, 2*n + 4}, {2*n + 5, 2*n + 10}}},
		{"the end", 5, 3 * n, 1, 3 * n, [][2]uint64{{5, 3 * n}}},
		{"the middle", 5, 2 * n, 1, 3 * n, [][2]uint64{{5, 2 * n}}},
		{"all", 1, 3 * n, 1, 3 * n, [][2]uint64{{1, 3 * n}}},
	} {
		if got := deletions(c.from, c.to, c.first, c.last); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v instead of %v", c.name, got, c.want)
		}
	}
}

func TestDeleteRange(t *testing.T) {
	s, err := openStore(t.TempDir(), func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.bolt.Close()
	var logs []*raft.Log
	for i := range uint64(1000) {
		logs = append(logs, &raft.Log{Index: i + 1, Term: 1})
	}
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, first, last uint64 }{{1, 700, 701, 1000}, {951, 1000, 701, 950}, {701, 950, 0, 0}} {
		if err := s.DeleteRange(c.from, c.to); err != nil {
			t.Fatal(err)
		}
		first, _ := s.FirstIndex()
		last, _ := s.LastIndex()
		if first != c.first || last != c.last {
			t.Errorf("after %d to %d the log has %d to %d, instead of %d to %d", c.from, c.to, first, last, c.first, c.last)
		}
		for i := c.from; i <= c.to; i++ {
			if err := s.GetLog(i, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
				t.Fatalf("entry %d is there: %v", i, err)
			}
		}
	}
}

// counted counts what is done to a file.
type counted struct {
	*os.File
	synced int
}

func (c *counted) Sync() error {
	c.synced++
	return c.File.Sync()
}

// A snapshot reaches the disk as it is written, and is whole.
func TestSnapshotIsWrittenSteadily(t *testing.T) {
	dir := t.TempDir()
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, 1, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	sink, err := store.Create(raft.SnapshotVersionMax, 7, 1, raft.Configuration{}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSteadySink(sink, filepath.Join(dir, "snapshots"))
	if err != nil {
		t.Fatal(err)
	}
	file := &counted{File: s.file.(*os.File)}
	s.file = file
	want := bytes.Repeat([]byte("0123456789abcdef"), 5*steadyBytes/32)
	for part := range slices.Chunk(want, 4096) {
		if n, err := s.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := errors.Join(s.release(), sink.Close()); err != nil {
		t.Fatal(err)
	}
	if file.synced != 2 {
		t.Errorf("%d bytes were synced %d times", len(want), file.synced)
	}
	_, source, err := store.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	if got, err := io.ReadAll(source); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes instead of %d, or others: %v", len(got), len(want), err)
	}
}
