package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// Files of a data directory.
const (
	lockFile     = "LOCK"
	identityFile = "identity.json"
	signingFile  = "signing.key"
	// raftFile and snapshotDir are Raft's own.
	raftFile    = "raft.db"
	snapshotDir = "snapshots"
)

// identity says whose data directory it is. It is guarded by a lock on the
// directory for as long as the node runs. Safe for concurrent use.
type identity struct {
	dir  string
	lock *flock.Flock

	mu      sync.Mutex
	is      identityDocument
	signing signingKeys
}

// identityDocument is what identity.json holds.
type identityDocument struct {
	Node string `json:"node"`
	// Directory is the inode of the lock file: a copied directory has another.
	Directory uint64 `json:"directory"`
	// Cluster is empty until the node is promised to a cluster or joins one.
	Cluster string `json:"cluster,omitempty"`
	// Founder is the node to which this one is promised.
	Founder string `json:"founder,omitempty"`
	// Left is set when the node left or was removed.
	Left bool `json:"left,omitempty"`
	// Dropped are the members that a recovery left behind.
	Dropped []string `json:"dropped,omitempty"`
	// Members are those of the last configuration that this node knew to be decided, at MembersIndex.
	Members      []string `json:"members,omitempty"`
	MembersIndex uint64   `json:"members_index,omitempty"`
	// Removed are ids of those who were members and are none any more.
	Removed []string `json:"removed,omitempty"`
}

// openIdentity locks the directory and checks that it is this node's.
func openIdentity(dir, node string) (*identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if !held {
		return nil, fmt.Errorf("data directory %s is in use by another process; each node needs its own", dir)
	}
	i := &identity{dir: dir, lock: lock}
	if err := i.load(node); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return i, nil
}

func (i *identity) load(node string) error {
	inode, err := inodeOf(i.lock.Path())
	if err != nil {
		return err
	}
	path := filepath.Join(i.dir, identityFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := i.create(node, inode); err != nil {
			return err
		}
		// Whoever founds with a lost cluster's key has put it here.
		return i.loadSigningKeys()
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &i.is); err != nil {
		return fmt.Errorf("%s is damaged: %w; wipe the data directory and join again under a new node id", path, err)
	}
	switch {
	case i.is.Node != node:
		return fmt.Errorf("data directory %s belongs to node %q, not to %q; correct node.id or node.data_dir", i.dir, i.is.Node, node)
	case i.is.Directory != inode:
		return fmt.Errorf("data directory %s is a copy of another one; two nodes with one past would break the cluster. "+
			"Start the original, or wipe this copy and join under a new node id", i.dir)
	case i.is.Left:
		return fmt.Errorf("node %q left its cluster or was removed from it; to come back, wipe %s and join under a new node id: %w", node, i.dir, ErrNotMember)
	}
	return i.loadSigningKeys()
}

// create refuses a directory in which Raft has left data whose owner is not known any more.
func (i *identity) create(node string, inode uint64) error {
	if _, err := os.Stat(filepath.Join(i.dir, raftFile)); err == nil {
		return fmt.Errorf("data directory %s has a log but no %s; it is not whole, restore it or wipe it", i.dir, identityFile)
	}
	i.is = identityDocument{Node: node, Directory: inode}
	return i.save()
}

func (i *identity) save() error {
	text, err := json.MarshalIndent(i.is, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(i.dir, identityFile), append(text, '\n'), 0o600)
}

// cluster is the cluster that the node belongs or is promised to, and to whom it is promised.
func (i *identity) cluster() (id, founder string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.is.Cluster, i.is.Founder
}

// bind ties the directory to a cluster, on disk before it returns.
func (i *identity) bind(cluster, founder string, signing signingKeys) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.writeSigningKeys(signing); err != nil {
		return err
	}
	i.is.Cluster, i.is.Founder = cluster, founder
	return i.save()
}

// release undoes bind for a cluster that was never formed.
func (i *identity) release(cluster string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.is.Cluster != cluster {
		return nil
	}
	i.is.Cluster, i.is.Founder, i.signing = "", "", signingKeys{}
	return i.save()
}

// leave marks the directory as that of a node that is no member any more.
func (i *identity) leave() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.is.Left = true
	return i.save()
}

func (i *identity) close() error { return i.lock.Close() }

func inodeOf(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return inode(info)
}
