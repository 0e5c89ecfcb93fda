package cluster

import (
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// steadyBytes is how much of a snapshot is forced to disk at a time.
const steadyBytes = 1 << 20

// steadySink writes a snapshot to disk as it comes. Raft's sink leaves that to its end: hundreds of megabytes at
// once, behind which every entry of the log then waits for its turn on the same disk.
type steadySink struct {
	sink raft.SnapshotSink
	// file is what the sink writes, opened once more; nil if there is no directory.
	file    syncer
	pending int
}

type syncer interface {
	Sync() error
	Close() error
}

// newSteadySink knows the directory of a raft.FileSnapshotStore, and what the store calls its files.
func newSteadySink(sink raft.SnapshotSink, dir string) (*steadySink, error) {
	if dir == "" {
		return &steadySink{sink: sink}, nil
	}
	// To be synced, a file must be open for writing on some systems.
	file, err := os.OpenFile(filepath.Join(dir, sink.ID()+".tmp", "state.bin"), os.O_WRONLY, 0)
	return &steadySink{sink: sink, file: file}, err
}

func (s *steadySink) Write(b []byte) (int, error) {
	n, err := s.sink.Write(b)
	s.pending += n
	if err == nil && s.pending >= steadyBytes && s.file != nil {
		s.pending = 0
		err = s.file.Sync()
	}
	return n, err
}

// release closes the second handle, not the sink.
func (s *steadySink) release() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
