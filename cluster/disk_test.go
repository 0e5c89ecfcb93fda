package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// faultyDatabase does what a broken disk makes of the database.
type faultyDatabase struct {
	Store
	do func() error
}

func (f faultyDatabase) StoreLogs([]*raft.Log) error { return f.do() }

// A disk that does not answer ends the node, one that is slow does not.
func TestHungDiskEndsTheNode(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		ends  bool
	}{{diskPatience - time.Second, false}, {diskPatience + time.Second, true}, {time.Hour, true}} {
		synctest.Test(t, func(t *testing.T) {
			var failed error
			s := store{bolt: faultyDatabase{do: func() error { <-time.After(c.takes); return nil }}, fail: func(err error) { failed = err }}
			go func() { _ = s.StoreLogs([]*raft.Log{{Index: 1}}) }()
			<-time.After(diskPatience + time.Millisecond)
			synctest.Wait()
			if (failed != nil) != c.ends || c.ends && !strings.Contains(failed.Error(), "the disk did not write entries within 15s") {
				t.Errorf("a disk that takes %s: the node was told %v", c.takes, failed)
			}
			<-time.After(2 * c.takes)
		})
	}
}

// What is wrong with the disk and what to do stand in one line.
func TestDiskFaultsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		do   func() error
		want string
	}{
		{func() error { return &os.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC} }, "no space left on device; the disk is full: make room"},
		{func() error { return syscall.EROFS }, "read-only file system; the data directory can't be written"},
		{func() error { return &os.PathError{Op: "fsync", Path: "raft.db", Err: syscall.EIO} }, "input/output error; wipe the data directory and join again under a new node id"},
		{func() error { panic("page 7: invalid page type") }, "it is damaged: page 7: invalid page type; wipe the data directory"},
	} {
		var failed error
		s := store{bolt: faultyDatabase{do: c.do}, fail: func(err error) { failed = err }}
		if err := s.StoreLog(&raft.Log{Index: 1}); err == nil || failed == nil || !strings.Contains(failed.Error(), c.want) || strings.Contains(failed.Error(), "\n") {
			t.Errorf("%v: the node was told %v instead of %q", err, failed, c.want)
		}
	}
}

// A flipped bit in an entry must not become another command.
func TestDamagedEntryIsNoticed(t *testing.T) {
	dir := t.TempDir()
	var failed error
	open := func() store {
		s, err := openStore(dir, func(err error) { failed = err })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	payload := []byte("give bordeaux ten seats")
	if err := s.StoreLogs([]*raft.Log{{Index: 1, Term: 3, Data: payload}, {Index: 2, Term: 3, Data: []byte("sound")}}); err != nil {
		t.Fatal(err)
	}
	// An entry of a build before checksums.
	if err := s.bolt.StoreLog(&raft.Log{Index: 3, Term: 3, Data: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	if err := s.bolt.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, raftFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(text, payload) == 0 {
		t.Fatal("the entry is not in the file")
	}
	// A page that was copied on write may hold it, too.
	if err := os.WriteFile(path, bytes.ReplaceAll(text, payload, []byte("give bordeaux two seats")), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.bolt.Close()
	for index := uint64(2); index <= 3; index++ {
		if err := s.GetLog(index, new(raft.Log)); err != nil || failed != nil {
			t.Errorf("entry %d: %v, %v", index, err, failed)
		}
	}
	if err := s.GetLog(1, new(raft.Log)); !errors.Is(err, errDamaged) || failed == nil {
		t.Errorf("the altered entry: %v, the node was told %v", err, failed)
	}
}

// A snapshot that can't be written, or read again, ends the node; one that gave way to newer ones does not.
func TestSnapshotFaultsEndTheNode(t *testing.T) {
	dir := t.TempDir()
	files, err := raft.NewFileSnapshotStoreWithLogger(dir, 1, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	s := snapshotStore{files, func(err error) { failed = err }, func(uint64, uint64) error { return nil }}
	sink, err := s.Create(raft.SnapshotVersionMax, 7, 1, raft.Configuration{}, 0, nil)
	if err == nil {
		_, err = sink.Write([]byte("contents"))
	}
	if err := errors.Join(err, sink.Close()); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	if _, _, err := s.Open("1-6-0"); err == nil || failed != nil {
		t.Errorf("one that is not there: %v, %v", err, failed)
	}
	state := filepath.Join(dir, snapshotDir, sink.ID(), "state.bin")
	if err := os.WriteFile(state, []byte("continents"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Open(sink.ID()); err == nil || failed == nil {
		t.Errorf("a damaged one: %v, the node was told %v", err, failed)
	}
	failed = nil
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(raft.SnapshotVersionMax, 8, 1, raft.Configuration{}, 0, nil); err == nil || failed == nil {
		t.Errorf("one that can't be written: %v, the node was told %v", err, failed)
	}
}
