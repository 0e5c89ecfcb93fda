package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/licet/licet/cluster"
)

func (s *site) failed() error {
	s.t.Helper()
	select {
	case err := <-s.node.Failed():
		return err
	case <-time.After(20 * time.Second):
		s.t.Fatalf("%s goes on", s.options.ID)
	}
	return nil
}

// A leader whose disk fails ends, the others go on without a loss, and a wiped node under a new id heals the cluster.
func TestLeaderWithABrokenDiskEnds(t *testing.T) {
	four := sites(t, 4)
	list, spare := four[:3], four[3]
	for _, s := range four {
		s.options.Expect, s.options.Peers = 3, four[0].options.Peers[:3]
	}
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	list[0].propose(putContract(t, 30))
	list[0].propose(createInstance("before", 1))
	leader := leaderOf(t, list)
	if err := leader.node.CloseStore(); err != nil {
		t.Fatal(err)
	}
	var rest []*site
	for _, s := range list {
		if s != leader {
			rest = append(rest, s)
		}
	}
	// The write through another node finds the disk broken; what is acknowledged then is there.
	rest[0].propose(createInstance("after", 1))
	if err := leader.failed(); err == nil {
		t.Error("the leader does not say why it ends")
	}
	// Its stop reports the database that is closed already.
	_ = leader.node.Stop(t.Context())
	leader.node = nil
	if names := rest[1].names(); !slices.Equal(names, []string{"before", "after"}) {
		t.Errorf("the others have %q", names)
	}
	if err := rest[0].node.Remove(t.Context(), leader.options.ID, byOperator); err != nil {
		t.Fatal(err)
	}
	spare.options.Peers = []string{rest[0].options.Advertise}
	spare.start()
	spare.ready()
	all := append(rest, spare)
	eventually(t, "the new node votes", func() error {
		if !spare.node.Status().Voter {
			return errors.New("not yet")
		}
		return nil
	})
	spare.propose(createInstance("healed", 1))
	sameDigests(t, all)
}

// Whatever is truncated or flipped in a data directory, a node that starts on it says so and does not serve.
func TestDamagedDirectoryIsNotServed(t *testing.T) {
	s := sites(t, 1)[0]
	s.options.SnapshotThreshold, s.options.SnapshotInterval, s.options.TrailingLogs = 20, 50*time.Millisecond, 1
	s.start()
	s.ready()
	s.propose(putContract(t, 1_000_000))
	for n := 0; s.node.Status().SnapshotIndex < 20; n++ {
		s.propose(createInstance(fmt.Sprintf("instance-%d", n), 1))
	}
	s.propose(createInstance("the-last-one", 1))
	want := s.node.Status().View.Digest()
	s.stop()

	damage := func(name, path string, alter func([]byte) []byte) {
		t.Helper()
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, alter(slices.Clone(whole)))
		node, err := s.open()
		if err == nil {
			s.node = node
			err = s.failed()
			if ready := s.node.Ready(); ready == nil && s.node.Status().View.Digest() != want {
				t.Errorf("%s: another state is served", name)
			}
			_ = s.node.Stop(t.Context())
			s.node = nil
		}
		if err == nil {
			t.Errorf("%s: no reason is told", name)
		}
		t.Logf("%s: %v", name, err)
		write(t, path, whole)
	}
	half := func(text []byte) []byte { return text[:len(text)/2] }
	db := filepath.Join(s.options.DataDir, "raft.db")
	// The file grows by doubling: its last half may be pages that were never used.
	used := pagesInUse(t, db)
	damage("a truncated database", db, func(text []byte) []byte { return text[:used/2] })
	damage("a flipped bit in an entry", db, func(text []byte) []byte {
		for i := range text {
			if i+12 < len(text) && string(text[i:i+12]) == "the-last-one" {
				text[i] ^= 1
			}
		}
		return text
	})
	damage("a database of zeros", db, func(text []byte) []byte { return make([]byte, len(text)) })
	snapshots := newest(t, filepath.Join(s.options.DataDir, "snapshots"))
	state := filepath.Join(snapshots, "state.bin")
	damage("a truncated snapshot", state, half)
	damage("a flipped bit in a snapshot", state, func(text []byte) []byte { text[len(text)/3] ^= 4; return text })
	damage("a damaged identity", filepath.Join(s.options.DataDir, "identity.json"), half)

	s.start()
	s.ready()
	if names := s.names(); len(names) == 0 || names[len(names)-1] != "the-last-one" {
		t.Errorf("afterwards the node has the instances %q", names)
	}
}

// pagesInUse is how much of a database's file its pages take, in bytes.
func pagesInUse(t *testing.T, path string) (n int64) {
	t.Helper()
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.View(func(tx *bbolt.Tx) error { n = tx.Size(); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newest is the newest snapshot's directory.
func newest(t *testing.T, dir string) (path string) {
	t.Helper()
	var at fs.FileInfo
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if at == nil || info.ModTime().After(at.ModTime()) {
			at, path = info, filepath.Join(dir, e.Name())
		}
	}
	return path
}

// A leader gives its office away before its disk is full, once.
func TestLeaderWithAFullDiskGivesItsOfficeAway(t *testing.T) {
	list := sites(t, 3)
	full := make([]func(bool), 3)
	for i, s := range list {
		free := make(chan uint64, 1)
		free <- 1 << 40
		full[i] = func(is bool) {
			<-free
			free <- map[bool]uint64{true: 1 << 20, false: 1 << 40}[is]
		}
		s.options.FreeSpace = func(string) (uint64, error) {
			n := <-free
			free <- n
			return n, nil
		}
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	leader := leaderOf(t, list)
	full[slices.Index(list, leader)](true)
	eventually(t, "another leader", func() error {
		for _, s := range list {
			if s != leader && s.node.Status().Role == cluster.Leader {
				return nil
			}
		}
		return errors.New("none yet")
	})
	leader.propose(putContract(t, 1))
	sameDigests(t, list)
}

// hanging is a disk that does not answer until it is let go.
type hanging struct{ entered, goes chan struct{} }

func (h hanging) Read([]byte) (int, error) {
	close(h.entered)
	<-h.goes
	return 0, errors.New("the disk is gone")
}

// A node stops in bounded time although Raft hangs in the midst of something.
func TestStopOfALeaderThatHangs(t *testing.T) {
	list := startAll(t, 3)
	leader := leaderOf(t, list)
	h := hanging{make(chan struct{}), make(chan struct{})}
	restored := make(chan error, 1)
	go func() {
		restored <- leader.node.Raft().Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: 1, Size: 1}, h, 0)
	}()
	<-h.entered
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	node := leader.node
	leader.node = nil
	go func() { stopped <- node.Stop(ctx) }()
	select {
	case err := <-stopped:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not stop")
	}
	close(h.goes)
	if err := <-restored; err == nil {
		t.Error("restored")
	}
}

// memoryStore is a store in memory.
type memoryStore struct{ *raft.InmemStore }

func (memoryStore) Stats() bbolt.Stats { return bbolt.Stats{} }
func (memoryStore) Close() error       { return nil }

// fullStore is a store on a disk that has become full while the node was down.
type fullStore struct{ memoryStore }

func (fullStore) SetUint64([]byte, uint64) error { return syscall.ENOSPC }

// TestStartOnAFullDisk: Raft panics where it can't write at its start, as it does on damage. Nobody is to wipe a directory that is sound.
func TestStartOnAFullDisk(t *testing.T) {
	s := sites(t, 1)[0]
	s.options.OpenStore = func() (cluster.Store, error) { return fullStore{memoryStore{raft.NewInmemStore()}}, nil }
	_, err := s.open()
	if !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "wipe") || !strings.Contains(err.Error(), "make room") {
		t.Errorf("a start on a full disk: %v", err)
	}
}
