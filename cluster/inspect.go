package cluster

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/licet/licet/fsm"
)

// Errors of Inspect and Recover. They are wrapped with what was found.
var (
	// ErrNoData says that a directory is not that of a node.
	ErrNoData = errors.New("it is no data directory of a node")
	// ErrInUse says that a running node has the directory.
	ErrInUse = errors.New("a running node uses it; stop the node first")
)

// Inspection is what the data directory of a node that does not run holds.
type Inspection struct {
	// Node is whose directory it is; Cluster is empty if it never belonged to one. Left is set if the node left it.
	Node, Cluster string
	Left          bool
	// Term is the last that the node heard of; it voted for VotedFor in VotedTerm.
	Term, VotedTerm uint64
	VotedFor        string
	Snapshots       []SnapshotFile
	// FirstIndex and LastIndex are those of the log; both are 0 if it is empty.
	FirstIndex, LastIndex uint64
	// Members are those of the newest configuration in snapshots and log.
	Members []InspectedMember
	// View is the state after the whole log. Its last entries need not have been committed: a node that
	// comes back may have to take them back.
	View *fsm.View
	// Entries are the last ones of the log.
	Entries []InspectedEntry
}

// SnapshotFile is a snapshot on disk. Fault is empty if it is whole.
type SnapshotFile struct {
	ID          string
	Index, Term uint64
	Bytes       int64
	Fault       string

	configuration raft.Configuration
}

// InspectedMember is a member in a configuration.
type InspectedMember struct {
	ID, Address string
	Voter       bool
}

func inspectMembers(c raft.Configuration) (list []InspectedMember) {
	for _, m := range c.Servers {
		list = append(list, InspectedMember{ID: string(m.ID), Address: string(m.Address), Voter: m.Suffrage == raft.Voter})
	}
	return list
}

// InspectedEntry is an entry of the log.
type InspectedEntry struct {
	Index, Term uint64
	// Type is what Raft calls the entry, such as LogCommand.
	Type string
	// Stamp is the leader's wall clock; zero if it is not a command.
	Stamp    time.Time
	Commands []InspectedCommand
}

// InspectedCommand is a command in an entry.
type InspectedCommand struct{ Kind, Actor, RequestID string }

// Inspect reads the data directory of a node that does not run, with its last entries, and changes nothing in it.
func Inspect(dir string, entries int) (i *Inspection, err error) {
	defer func() {
		if p := recover(); p != nil {
			i, err = nil, fmt.Errorf("%s is damaged: %v", dir, p)
		}
	}()
	lock := filepath.Join(dir, lockFile)
	if _, err := os.Stat(lock); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrNoData, err)
	}
	held := flock.New(lock)
	if free, err := held.TryRLock(); err != nil || !free {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrInUse), err)
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	i = new(Inspection)
	if err := i.readIdentity(dir); err != nil {
		return nil, err
	}
	if i.Snapshots, err = snapshotFiles(dir); err != nil {
		return nil, err
	}
	s, err := openReadOnly(filepath.Join(dir, raftFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return i, errors.Join(i.readVotes(s), i.readLog(dir, s, entries))
}

func (i *Inspection) readIdentity(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err != nil {
		return err
	}
	var is identityDocument
	if err := json.Unmarshal(text, &is); err != nil {
		return fmt.Errorf("%s is damaged: %w", identityFile, err)
	}
	i.Node, i.Cluster, i.Left = is.Node, is.Cluster, is.Left
	return nil
}

func openReadOnly(path string) (*raftboltdb.BoltStore, error) {
	if err := checkLength(path); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: path, BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: time.Second}, MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return s, nil
}

func (i *Inspection) readVotes(s *raftboltdb.BoltStore) error {
	known := func(err error) error {
		if errors.Is(err, raftboltdb.ErrKeyNotFound) {
			return nil
		}
		return err
	}
	var errs [3]error
	var candidate []byte
	i.Term, errs[0] = s.GetUint64([]byte(currentTerm))
	i.VotedTerm, errs[1] = s.GetUint64([]byte(lastVoteTerm))
	candidate, errs[2] = s.Get([]byte("LastVoteCand"))
	i.VotedFor = string(candidate)
	return errors.Join(known(errs[0]), known(errs[1]), known(errs[2]))
}

// readLog makes the state from the newest whole snapshot and the log, as the node would.
func (i *Inspection) readLog(dir string, s raft.LogStore, entries int) error {
	var errs [2]error
	i.FirstIndex, errs[0] = s.FirstIndex()
	i.LastIndex, errs[1] = s.LastIndex()
	state, from, err := i.restored(dir)
	if err := errors.Join(errs[0], errs[1], err); err != nil {
		return err
	}
	listed := i.LastIndex - min(i.LastIndex, uint64(max(entries, 0)))
	for index := max(min(from, listed)+1, i.FirstIndex); index <= i.LastIndex; index++ {
		l := new(raft.Log)
		err := s.GetLog(index, l)
		if err == nil {
			err = checkEntry(index, l)
		}
		if errors.Is(err, raft.ErrLogNotFound) && index <= from {
			continue
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		if index > from {
			if l.Type == raft.LogCommand {
				if _, err := state.Apply(l.Index, l.Term, l.Data); err != nil {
					return err
				}
			}
			if l.Type == raft.LogConfiguration {
				i.Members = inspectMembers(raft.DecodeConfiguration(l.Data))
			}
		}
		if index > listed {
			i.Entries = append(i.Entries, inspectEntry(l))
		}
	}
	i.View = state.View()
	return nil
}

func (i *Inspection) restored(dir string) (*fsm.State, uint64, error) {
	for _, f := range i.Snapshots {
		if f.Fault != "" {
			continue
		}
		file, err := os.Open(filepath.Join(dir, snapshotDir, f.ID, "state.bin"))
		if err != nil {
			return nil, 0, err
		}
		state, err := fsm.Restore(file)
		_ = file.Close() // it was only read
		i.Members = inspectMembers(f.configuration)
		return state, f.Index, err
	}
	if len(i.Snapshots) > 0 {
		return nil, 0, fmt.Errorf("none of the snapshots is whole: %s: %s", i.Snapshots[0].ID, i.Snapshots[0].Fault)
	}
	return fsm.New(), 0, nil
}

func inspectEntry(l *raft.Log) InspectedEntry {
	x := InspectedEntry{Index: l.Index, Term: l.Term, Type: l.Type.String()}
	if l.Type != raft.LogCommand {
		return x
	}
	e, err := fsm.DecodeEntry(l.Data)
	if err != nil {
		x.Type += " (" + err.Error() + ")"
		return x
	}
	x.Stamp = time.UnixMilli(e.WallMs).UTC()
	for _, c := range e.Commands {
		x.Commands = append(x.Commands, InspectedCommand{Kind: fsm.CommandName(c), Actor: c.Actor, RequestID: c.RequestId})
	}
	return x
}

// snapshotFiles lists the snapshots in a data directory, the newest first, and sees whether they are whole.
// Raft's own store would write into the directory.
func snapshotFiles(dir string) ([]SnapshotFile, error) {
	base := filepath.Join(dir, snapshotDir)
	entries, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []SnapshotFile
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		f := SnapshotFile{ID: e.Name()}
		// The name says which snapshot it is even if nothing else does.
		_, _ = fmt.Sscanf(f.ID, "%d-%d-", &f.Term, &f.Index)
		if err := f.check(filepath.Join(base, f.ID)); err != nil {
			f.Fault = err.Error()
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b SnapshotFile) int {
		return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID))
	})
	return list, nil
}

func (f *SnapshotFile) check(path string) error {
	text, err := os.ReadFile(filepath.Join(path, "meta.json"))
	if err != nil {
		return err
	}
	var meta struct {
		raft.SnapshotMeta
		CRC []byte
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return fmt.Errorf("meta.json: %w", err)
	}
	f.Index, f.Term, f.configuration = meta.Index, meta.Term, meta.Configuration
	file, err := os.Open(filepath.Join(path, "state.bin"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	if f.Bytes, err = io.Copy(sum, file); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), meta.CRC) {
		return errors.New("its checksum does not fit")
	}
	return nil
}
