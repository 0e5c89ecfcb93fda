package sim

import (
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// errGone is what a process is told that has crashed, and only tidies up.
var errGone = errors.New("the process has crashed")

// disk is what stays of a node's Raft store when its process ends. It does what boltdb does: a write is one transaction, which is
// whole or not there after a crash, and is there once it was answered.
type disk struct {
	mu  sync.Mutex
	rng *rand.Rand

	logs        map[uint64]*raft.Log
	first, last uint64
	values      map[string][]byte

	// slow is how much longer each write takes, full and sick have each fail.
	slow       time.Duration
	full, sick bool
}

func newDisk(rng *rand.Rand) *disk {
	return &disk{rng: rng, logs: map[uint64]*raft.Log{}, values: map[string][]byte{}}
}

// open is a process's store; those of earlier processes have crashed or been closed.
func (d *disk) open() *store {
	return &store{disk: d, closed: make(gate)}
}

// gate is closed when something is over.
type gate chan struct{}

func (g gate) wait() { <-g }

// draw is a number below n.
func (d *disk) draw(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

// crash takes the disk away from the process. What it writes just now is on the disk, or is not.
func (d *disk) crash(s *store) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.gone = true
	for _, write := range s.writing {
		if d.rng.IntN(2) == 0 {
			write.now()
		}
	}
}

// set changes what is wrong with the disk.
func (d *disk) set(slow time.Duration, full, sick bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow, d.full, d.sick = slow, full, sick
}

// free is how many bytes the disk has left.
func (d *disk) free(string) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return 0, nil
	}
	return 1 << 30, nil
}

// store is a disk as one process has it; it is a cluster.Store.
type store struct {
	disk *disk
	gone bool
	// writing is what is being written just now.
	writing []*change
	closed  gate
}

// change is made once, by the write itself or by a crash in the midst of it.
type change struct {
	make func()
	done bool
}

func (c *change) now() {
	if !c.done {
		c.done = true
		c.make()
	}
}

// write has a change on disk after the time that a disk takes for it.
func (s *store) write(make func()) error {
	d := s.disk
	c := &change{make: make}
	d.mu.Lock()
	if s.gone {
		d.mu.Unlock()
		return errGone
	}
	s.writing = append(s.writing, c)
	wait := d.slow + 500*time.Microsecond + time.Duration(d.rng.Int64N(int64(time.Millisecond)))
	d.mu.Unlock()
	pause(wait)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.writing = slices.DeleteFunc(s.writing, func(other *change) bool { return other == c })
	switch {
	case s.gone:
		return errGone
	case d.full:
		return syscall.ENOSPC
	case d.sick:
		// After a failed fsync nobody knows what is on the disk.
		if d.rng.IntN(2) == 0 {
			c.now()
		}
		return syscall.EIO
	}
	c.now()
	return nil
}

func (s *store) FirstIndex() (uint64, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.first, nil
}

func (s *store) LastIndex() (uint64, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.last, nil
}

func (s *store) GetLog(index uint64, l *raft.Log) error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	kept, found := s.disk.logs[index]
	if !found {
		return raft.ErrLogNotFound
	}
	*l = *kept
	return nil
}

func (s *store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *store) StoreLogs(ls []*raft.Log) error {
	d := s.disk
	return s.write(func() {
		for _, l := range ls {
			kept := *l
			d.logs[l.Index] = &kept
		}
		d.measure()
	})
}

func (s *store) DeleteRange(from, to uint64) error {
	d := s.disk
	return s.write(func() {
		for i := from; i <= to; i++ {
			delete(d.logs, i)
		}
		d.measure()
	})
}

// measure finds out where the log begins and ends.
func (d *disk) measure() {
	d.first, d.last = 0, 0
	for i := range maps.Keys(d.logs) {
		d.last = max(d.last, i)
		if d.first == 0 || i < d.first {
			d.first = i
		}
	}
}

func (s *store) Set(key, value []byte) error {
	return s.write(func() { s.disk.values[string(key)] = append([]byte(nil), value...) })
}

func (s *store) Get(key []byte) ([]byte, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	value, found := s.disk.values[string(key)]
	if !found {
		return nil, raftboltdb.ErrKeyNotFound
	}
	return append([]byte(nil), value...), nil
}

func (s *store) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (s *store) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

// Stats has nothing to tell: those of boltdb are about its file.
func (s *store) Stats() bbolt.Stats { return bbolt.Stats{} }

func (s *store) Close() error {
	close(s.closed)
	return nil
}

// entry is an entry of the log, nil if it is not there.
func (d *disk) entry(index uint64) *raft.Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.logs[index]
}
