package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// logCache is how many recent entries are kept in memory for followers that are a little behind: as many as Raft sends at
// once. An entry has up to Options.BatchBytes, so that more would take hundreds of megabytes; what is older is read from disk.
const logCache = 64

// storeFile is the database in the data directory.
const storeFile = "raft.db"

// deleteAtOnce is how many entries one transaction of the store deletes.
const deleteAtOnce = 256

// store is Raft's log and votes on disk. Any error of the disk ends the node:
// Raft itself goes on after one, and a follower whose append failed can stay
// parked for ever behind heartbeats that hide it (hashicorp/raft #612).
type store struct {
	bolt *raftboltdb.BoltStore
	fail func(error)
}

var (
	_ raft.LogStore    = store{}
	_ raft.StableStore = store{}
)

// openStore opens the database. bbolt can panic on a file that lost power in
// the middle of a write; that is an error here.
func openStore(dir string, fail func(error)) (s store, err error) {
	path := filepath.Join(dir, storeFile)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s is damaged (%v); wipe the data directory and join again under a new node id", path, p)
		}
	}()
	if err := checkLength(path); err != nil {
		return store{}, fmt.Errorf("%s is damaged: %w; wipe the data directory and join again under a new node id", path, err)
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
		return store{}, fmt.Errorf("open %s: %w", path, err)
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
	pageSize := uint64(os.Getpagesize())
	for page := range uint64(2) {
		meta := make([]byte, header+length)
		if _, err := f.ReadAt(meta, int64(page*pageSize)); err != nil {
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
	if size := uint64(info.Size()); size < need {
		return fmt.Errorf("it has %d bytes of %d", size, need)
	}
	return nil
}

func (s store) watch(what string, err error) error {
	if err == nil || errors.Is(err, raft.ErrLogNotFound) || errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return err
	}
	s.fail(fmt.Errorf("the Raft store failed to %s: %w", what, err))
	return err
}

func (s store) FirstIndex() (uint64, error) {
	n, err := s.bolt.FirstIndex()
	return n, s.watch("read its first index", err)
}

func (s store) LastIndex() (uint64, error) {
	n, err := s.bolt.LastIndex()
	return n, s.watch("read its last index", err)
}

func (s store) GetLog(index uint64, l *raft.Log) error {
	return s.watch("read an entry", s.bolt.GetLog(index, l))
}

func (s store) StoreLog(l *raft.Log) error {
	return s.watch("write an entry", s.bolt.StoreLog(l))
}

func (s store) StoreLogs(ls []*raft.Log) error {
	return s.watch("write entries", s.bolt.StoreLogs(ls))
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
		if err := s.watch("delete entries", s.bolt.DeleteRange(part[0], part[1])); err != nil {
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
	return s.watch("write a vote", s.bolt.Set(key, value))
}

func (s store) Get(key []byte) ([]byte, error) {
	value, err := s.bolt.Get(key)
	return value, s.watch("read a vote", err)
}

func (s store) SetUint64(key []byte, value uint64) error {
	return s.watch("write a term", s.bolt.SetUint64(key, value))
}

func (s store) GetUint64(key []byte) (uint64, error) {
	value, err := s.bolt.GetUint64(key)
	return value, s.watch("read a term", err)
}
