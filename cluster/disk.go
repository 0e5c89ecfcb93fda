package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// spaceEvery is how often the free space is looked at.
	spaceEvery = time.Second
	// minSpace is how much must be free: enough for some minutes of writes and a snapshot of a middling state.
	minSpace = 64 << 20
)

// errDamaged says that what is on the disk is not what was written.
var errDamaged = errors.New("it is damaged")

// remedy says what to do after an error of the disk.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk is full: make room, then start the node again"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return "the data directory can't be written: see to the disk and its mount, then start the node again"
	}
	return "wipe the data directory and join again under a new node id, on a disk that is sound"
}

// snapshotStore ends the node when snapshots can't be written or are damaged. Raft itself only logs it: a leader would go on
// sending a follower what it can't read, and a log that is never cut fills the disk.
type snapshotStore struct {
	*raft.FileSnapshotStore
	fail func(error)
	// settle is told of each snapshot once it is on disk.
	settle func(index, term uint64) error
}

func (s snapshotStore) watch(what string, err error) error {
	// One that is gone gave way to newer ones meanwhile.
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fail(fmt.Errorf("a snapshot could not be %s: %w; %s", what, err, remedy(err)))
	}
	return err
}

// Create implements raft.SnapshotStore.
func (s snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, c raft.Configuration, at uint64, t raft.Transport) (raft.SnapshotSink, error) {
	// gofail: var beforeSnapshotFile struct{}
	sink, err := s.FileSnapshotStore.Create(version, index, term, c, at, t)
	if err != nil {
		return nil, s.watch("created", err)
	}
	return watchedSink{sink, s, index, term}, nil
}

// Open implements raft.SnapshotStore.
func (s snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, source, err := s.FileSnapshotStore.Open(id)
	return meta, source, s.watch("read", err)
}

type watchedSink struct {
	raft.SnapshotSink
	store       snapshotStore
	index, term uint64
}

func (s watchedSink) Write(b []byte) (int, error) {
	n, err := s.SnapshotSink.Write(b)
	return n, s.store.watch("written", err)
}

func (s watchedSink) Close() error {
	// gofail: var beforeSnapshotDurable struct{}
	if err := s.store.watch("written", s.SnapshotSink.Close()); err != nil {
		return err
	}
	// gofail: var afterSnapshotDurable struct{}
	return s.store.settle(s.index, s.term)
}

// watchSpace gives leadership away while little space is left, before the disk is full and the node ends: once, so that nodes which
// all have little do not hand it round.
func (n *Node) watchSpace() {
	low, gave := false, false
	for pause(n.ctx, spaceEvery) {
		free, err := n.options.FreeSpace(n.options.DataDir)
		switch {
		case err != nil:
			n.log.Debug("the free space is not known", "reason", err)
			continue
		case free < minSpace && !low:
			n.log.Error("the disk is almost full: make room, or the node will end", "free_bytes", free, "directory", filepath.Clean(n.options.DataDir))
		case free >= minSpace && low:
			n.log.Info("there is room on the disk again", "free_bytes", free)
		}
		low = free < minSpace
		if gave = gave && low; gave || !low || n.raft.State() != raft.Leader {
			continue
		}
		gave = true
		if err := n.transferHere("", handover{nodeItself(n.options.ID), "its disk is almost full"}); err != nil {
			n.log.Warn("leadership could not be given away", "reason", err)
		}
	}
}
