package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// logCache is how many recent entries are kept in memory for followers that are a little behind: as many as Raft sends at
// once. An entry has up to Options.BatchBytes, so that more would take hundreds of megabytes; what is older is read from disk.
const logCache = 64

// diskPatience is how long an operation of the store may take. It is far above what a busy disk needs, and what hangs longer
// holds up every write of the cluster.
const diskPatience = 15 * time.Second

// sumVersion begins the checksum of an entry.
const sumVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// deleteAtOnce is how many entries one transaction of the store deletes.
const deleteAtOnce = 256

// store is Raft's log and votes on disk. Any error of the disk ends the node:
// Raft itself goes on after one, and a follower whose append failed can stay
// parked for ever behind heartbeats that hide it (hashicorp/raft #612).
type store struct {
	bolt Store
	fail func(error)
}

// Store keeps Raft's log and votes on disk: what it has answered for survives a loss of power. For what it does not have its errors
// are raft.ErrLogNotFound and raftboltdb.ErrKeyNotFound; any other one ends the node.
type Store interface {
	raft.LogStore
	raft.StableStore
	Stats() bbolt.Stats
	Close() error
}

var (
	_ raft.LogStore    = store{}
	_ raft.StableStore = store{}
)

// openStore opens the database. bbolt can panic on a file that lost power in
// the middle of a write; that is an error here.
func openStore(dir string, fail func(error)) (s store, err error) {
	path := filepath.Join(dir, raftFile)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %w (%v); %s", path, errDamaged, p, remedy(errDamaged))
		}
	}()
	if err := checkLength(path); err != nil {
		return store{}, fmt.Errorf("%s: %w: %w; %s", path, errDamaged, err, remedy(errDamaged))
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return store{}, fmt.Errorf("open %s: %w; %s", path, err, remedy(err))
	}
	return store{bolt: bolt, fail: fail}, nil
}

// checkLength refuses a truncated database. bbolt maps the file into memory, and
// reading beyond its end then kills the process without a word.
//
// The two meta pages, of which the newer one counts, have in bbolt's file format a
// page header of 16 bytes, then magic, version and page size as uint32, and from
// bytes 40 and 48 on the number of pages in use and the transaction as uint64.
func checkLength(path string) error {
	const magic, header, length = 0xED0CDAED, 16, 64
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var newest, need uint64
	pageSize := uint64(os.Getpagesize()) //nolint:gosec // G115: sizes of files and disks are below 2^63
	for page := range uint64(2) {
		meta := make([]byte, header+length)
		if _, err := f.ReadAt(meta, int64(page*pageSize)); err != nil { //nolint:gosec // G115: sizes of files and disks are below 2^63
			continue
		}
		if meta = meta[header:]; binary.NativeEndian.Uint32(meta) != magic {
			continue
		}
		pageSize = uint64(binary.NativeEndian.Uint32(meta[8:]))
		if tx := binary.NativeEndian.Uint64(meta[48:]); tx >= newest {
			newest, need = tx, binary.NativeEndian.Uint64(meta[40:])*pageSize
		}
	}
	if size := uint64(info.Size()); size < need { //nolint:gosec // G115: sizes of files and disks are below 2^63
		return fmt.Errorf("it has %d bytes of %d", size, need)
	}
	return nil
}

// do runs an operation of the database. An error, a panic on a damaged page, and a disk that does not answer all end the node: one
// that hangs keeps its leadership otherwise, as heartbeats need no disk (hashicorp/raft #503).
func (s store) do(what string, operation func() error) (err error) {
	hung := time.AfterFunc(diskPatience, func() {
		s.fail(fmt.Errorf("the disk did not %s within %s; see to the disk, then start the node again", what, diskPatience))
	})
	defer func() {
		hung.Stop()
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
		if err != nil && !errors.Is(err, raft.ErrLogNotFound) && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
			s.fail(fmt.Errorf("the Raft store failed to %s: %w; %s", what, err, remedy(err)))
		}
	}()
	return operation()
}

func (s store) FirstIndex() (n uint64, err error) {
	err = s.do("read its first index", func() (err error) { n, err = s.bolt.FirstIndex(); return err })
	return n, err
}

func (s store) LastIndex() (n uint64, err error) {
	err = s.do("read its last index", func() (err error) { n, err = s.bolt.LastIndex(); return err })
	return n, err
}

func (s store) GetLog(index uint64, l *raft.Log) error {
	return s.do("read an entry", func() error {
		if err := s.bolt.GetLog(index, l); err != nil {
			return err
		}
		return checkEntry(index, l)
	})
}

func (s store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s store) StoreLogs(ls []*raft.Log) error {
	summed := make([]*raft.Log, len(ls))
	for i, l := range ls {
		summed[i] = withSum(l)
	}
	// gofail: var beforeStore struct{}
	err := s.do("write entries", func() error {
		// gofail: var storeFails string
		// return errors.New(storeFails)
		return s.bolt.StoreLogs(summed)
	})
	// gofail: var afterStore struct{}
	return err
}

// withSum is a copy of an entry with its checksum, for which Raft has a field that it stores and sends with the entry: bbolt
// has checksums for its meta pages only, and a flipped bit in an entry could be a different command.
func withSum(l *raft.Log) *raft.Log {
	c := *l
	c.Extensions = entrySum(l)
	return &c
}

// entrySum covers all that matters of an entry.
func entrySum(l *raft.Log) []byte {
	var head [17]byte
	binary.BigEndian.PutUint64(head[:], l.Index)
	binary.BigEndian.PutUint64(head[8:], l.Term)
	head[16] = byte(l.Type)
	sum := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, l.Data)
	return binary.BigEndian.AppendUint32([]byte{sumVersion}, sum)
}

// checkEntry refuses an entry that is not the one that was written. Entries of builds before checksums have none.
func checkEntry(index uint64, l *raft.Log) error {
	if l.Index != index || len(l.Extensions) > 0 && !bytes.Equal(l.Extensions, entrySum(l)) {
		return fmt.Errorf("%w: entry %d is not the one that was written", errDamaged, index)
	}
	return nil
}

// DeleteRange deletes what a snapshot made needless in parts: appends wait for a part, not for all, which takes a
// tenth of a second and more.
func (s store) DeleteRange(from, to uint64) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil {
		return err
	}
	for _, part := range deletions(from, to, first, last) {
		// gofail: var beforeDelete struct{}
		if err := s.do("delete entries", func() error { return s.bolt.DeleteRange(part[0], part[1]) }); err != nil {
			return err
		}
	}
	return nil
}

// deletions are the parts in which a range of a log is deleted, each of them first and last entry. Entries that Raft takes
// back from the log's end go all at once: a node that died in the midst of it would come back with a gap in its log.
func deletions(from, to, first, last uint64) (parts [][2]uint64) {
	if from <= first && to < last {
		for ; from+deleteAtOnce <= to; from += deleteAtOnce {
			parts = append(parts, [2]uint64{from, from + deleteAtOnce - 1})
		}
	}
	return append(parts, [2]uint64{from, to})
}

func (s store) Set(key, value []byte) error {
	// gofail: var beforeVote struct{}
	err := s.do("write a vote", func() error { return s.bolt.Set(key, value) })
	// gofail: var afterVote struct{}
	return err
}

func (s store) Get(key []byte) (value []byte, err error) {
	err = s.do("read a vote", func() (err error) { value, err = s.bolt.Get(key); return err })
	return value, err
}

func (s store) SetUint64(key []byte, value uint64) error {
	// gofail: var beforeTerm struct{}
	err := s.do("write a term", func() error { return s.bolt.SetUint64(key, value) })
	// gofail: var afterTerm struct{}
	return err
}

func (s store) GetUint64(key []byte) (value uint64, err error) {
	err = s.do("read a term", func() (err error) { value, err = s.bolt.GetUint64(key); return err })
	return value, err
}

// raftStore is the store as Raft has it. Where Raft can't go on without the disk it panics, while the node is about to stop for the
// same reason: the goroutine of Raft that asked ends instead, so that the reason is the last that is said.
type raftStore struct {
	store
	// running is set once goroutines of Raft ask, and not that which starts it.
	running *atomic.Bool
}

func (s raftStore) end(err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && s.running.Load() {
		runtime.Goexit()
	}
	return err
}

func (s raftStore) GetLog(index uint64, l *raft.Log) error { return s.end(s.store.GetLog(index, l)) }

func (s raftStore) SetUint64(key []byte, value uint64) error {
	return s.end(s.store.SetUint64(key, value))
}
