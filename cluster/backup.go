package cluster

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/backup"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

const (
	// restoreGap is how far a restored state is put behind the last entry: entries that Raft itself writes meanwhile come before it.
	restoreGap = 1024
)

// Backup writes a backup of a view, sealed with the cluster's key, and with the private half of that in it if withKey is set. It holds nothing up. Errors are *Error or w's own.
func (n *Node) Backup(w io.Writer, v *fsm.View, withKey bool) error {
	key, fault := n.signingKey(v)
	if fault != nil {
		return fault
	}
	return backup.Write(w, v, signed.BackupHeader{
		Node: n.options.ID, Version: n.options.Version, Created: n.clock.wall().UTC().Truncate(time.Second),
	}, key, withKey)
}

// Restore says which backup may go where.
type Restore struct {
	// Into is the id of the cluster whose contents are replaced.
	Into string
	// From is the id of the cluster that wrote the backup; empty if it is the same.
	From string
	// Actor and RequestID are for the audit trail.
	Actor, RequestID string
}

// Restored is what came of a restoration.
type Restored struct {
	signed.BackupHeader
	// Now is the state after it.
	Now *fsm.View
}

// Restore replaces the contents of the cluster by those of a backup, on the leader alone: see fsm.State.Succeed for what
// stays. It returns once a majority has the restored state. On an error nothing has changed, unless it is OutcomeUnknown.
// Errors are *Error or the reader's own.
func (n *Node) Restore(ctx context.Context, source io.Reader, r Restore) (*Restored, error) {
	if err := n.mustLead(); err != nil {
		return nil, err
	}
	if !n.restoring.TryLock() {
		return nil, errorf(Overloaded, "Another backup is being restored.")
	}
	defer n.restoring.Unlock()
	present := n.replica.view.Load()
	if r.Into != present.ClusterID() {
		return nil, errorf(WrongCluster, "This is cluster %s, not %s; nothing was changed.", present.ClusterID(), r.Into)
	}
	b, err := backup.Read(source)
	switch {
	case errors.Is(err, backup.ErrDamaged), errors.Is(err, backup.ErrNewer), errors.Is(err, fsm.ErrSnapshotVersion):
		return nil, errorf(BackupInvalid, "Nothing was changed: %v.", err)
	case err != nil:
		return nil, err
	case b.Cluster != r.Into && b.Cluster != r.From:
		return nil, errorf(WrongCluster, "The backup is of cluster %s, and this is cluster %s; nothing was changed.", b.Cluster, r.Into)
	case r.From != "" && r.From != b.Cluster:
		return nil, errorf(WrongCluster, "The backup is of cluster %s, not of %s; nothing was changed.", b.Cluster, r.From)
	}
	if b.Cluster == r.Into {
		if err := b.Verify(present.SigningKeys()); err != nil {
			return nil, errorf(BackupInvalid, "Nothing was changed: %v.", err)
		}
	}
	takes, fault := n.takeSigningKey(ctx, b, present)
	if fault != nil {
		return nil, fault
	}
	return n.replace(ctx, b, r, takes)
}

// takeSigningKey has the members keep the private key that a backup brings, if the cluster is to sign with it from now on: one that it
// knows already, it keeps as it is.
func (n *Node) takeSigningKey(ctx context.Context, b *backup.Backup, present *fsm.View) (ed25519.PublicKey, *Error) {
	if b.SigningKey == nil {
		return nil, nil
	}
	public := publicOf(b.SigningKey)
	for _, known := range slices.Concat(present.SigningKeys(), present.RetiredKeys()) {
		if public.Equal(known) {
			return nil, nil
		}
	}
	n.rotating.Lock()
	defer n.rotating.Unlock()
	_, _, fault := n.shareSigningKey(ctx, b.SigningKey)
	return public, fault
}

// mustLead refuses what only the leader can do.
func (n *Node) mustLead() *Error {
	if n.leadsTerm.Load() != 0 {
		return nil
	}
	return errorf(LeaderOnly, "Node %s does not lead; the leader is %q.", n.options.ID, n.leader.leaderID())
}

// replace puts a backup's contents into Raft as a snapshot. No entry may come between the state that it follows on and
// the restoration: the numbers and audit rows of such an entry would be given out twice. So stamping is held up, which all
// entries need, and Raft takes the snapshot only while this node still leads the same term.
func (n *Node) replace(ctx context.Context, b *backup.Backup, r Restore, takes ed25519.PublicKey) (*Restored, error) {
	n.stamping.Lock()
	defer n.stamping.Unlock()
	term := n.leadsTerm.Load()
	if err := n.mustLead(); err != nil {
		return nil, err
	}
	// Raft sends what is restored to the members as a snapshot of this build's version.
	if err := n.snapshotReadable(); err != nil {
		return nil, errorf(Unsupported, "Nothing was changed: %v.", err)
	}
	if err := n.raft.Barrier(n.options.RequestTimeout).Error(); err != nil {
		return nil, errorf(NoLeader, "Nothing was changed: this node could not confirm that it leads: %v.", err)
	}
	present := n.replica.view.Load()
	index := n.raft.LastIndex() + restoreGap
	err := b.State.Succeed(present, fsm.Restoration{
		Index: index + 1, Term: term, NowMs: n.clock.wall().UnixMilli(), Actor: r.Actor, RequestID: r.RequestID, SHA256: b.SHA256, SigningKey: takes,
	})
	if err != nil {
		return nil, errorf(BackupInvalid, "Nothing was changed: %v.", err)
	}
	now := b.State.View()
	file, size, err := n.spool(now)
	if err != nil {
		return nil, errorf(StorageFailed, "Nothing was changed: the snapshot could not be written: %v.", err)
	}
	defer func() { _ = file.Close() }() // it has no name any more
	if err := ctx.Err(); err != nil {
		return nil, errorf(Timeout, "The request ended before the cluster was changed; nothing was.")
	}
	guarded := &guardedReader{Reader: file, guard: func() error {
		if n.raft.State() != raft.Leader || n.raft.CurrentTerm() != term || n.raft.LastIndex() > index || n.replica.view.Load() != present {
			return errors.New("leadership was lost meanwhile")
		}
		return nil
	}}
	n.log.Warn("restoring a backup", "cluster", b.Cluster, "index", b.Index, "digest", b.Digest, "written_by", b.Node, "actor", r.Actor, "request_id", r.RequestID)
	err = n.raft.Restore(&raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Index: index, Size: size}, guarded, 0)
	switch {
	case err != nil && !guarded.passed:
		return nil, errorf(LeaderOnly, "Nothing was changed: %v.", err)
	case err != nil:
		return nil, errorf(OutcomeUnknown, "The backup may or may not have been restored: %v.", err)
	}
	n.log.Warn("backup restored", "index", now.Index(), "digest", now.Digest())
	return &Restored{BackupHeader: b.BackupHeader, Now: now}, nil
}

// spool writes a snapshot to a file without a name, as Raft wants to know its length beforehand.
func (n *Node) spool(v *fsm.View) (*os.File, int64, error) {
	file, err := os.CreateTemp(n.options.DataDir, "restore-*")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(file.Name())
	if err == nil {
		err = v.Snapshot(file)
	}
	var size int64
	if err == nil {
		size, err = file.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

// guardedReader asks once, before its first byte, whether it may be read. Raft reads while it leads and does nothing else, so that
// what holds then holds until the snapshot is in place.
type guardedReader struct {
	io.Reader
	guard  func() error
	passed bool
}

func (g *guardedReader) Read(p []byte) (int, error) {
	if !g.passed {
		if err := g.guard(); err != nil {
			return 0, fmt.Errorf("not restored: %w", err)
		}
		g.passed = true
	}
	return g.Reader.Read(p)
}
