package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// errDivergent says why a node can't take a leader's snapshot before it was started again.
var errDivergent = errors.New("the log had entries that no majority ever had, and the leader's snapshot ends among them; they are gone now: start the node again")

// settleLog has the log agree with snapshots from now on, and with the newest one there is.
func (n *Node) settleLog(logs raft.LogStore) error {
	n.snapshots.settle = func(index, term uint64) error {
		// A leader's own log is right. When it restores a backup, a gap in it keeps the others from going on without that.
		if r := n.directory.Load(); r != nil && r.State() == raft.Leader {
			return nil
		}
		cut, err := settle(logs, index, term)
		if err == nil && cut {
			err = errDivergent
		}
		if err != nil {
			n.fail(err)
		}
		return err
	}
	list, err := n.snapshots.List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, err = settle(logs, list[0].Index, list[0].Term)
	return err
}

// settle removes entries that are not those which a snapshot, up to an index and its term, was made of. Raft's paper wants
// that of whoever takes a leader's snapshot (figure 13, InstallSnapshot, 6 and 7), and hashicorp/raft v1.7.3 leaves them.
// It then refuses what follows on the snapshot, so that the leader sends that again, for ever (#697); and a node that leads
// later would send them to others.
//
// Raft remembers where the log ends: if it ended at or beyond the snapshot, which is what cut says, a Raft that runs goes on wrongly.
func settle(logs raft.LogStore, index, term uint64) (cut bool, err error) {
	first, err := logs.FirstIndex()
	last, err2 := logs.LastIndex()
	if err = errors.Join(err, err2); err != nil || last == 0 || first > index {
		return false, err
	}
	var entry raft.Log
	to := min(last, index)
	switch err := logs.GetLog(index, &entry); {
	case errors.Is(err, raft.ErrLogNotFound):
		// The log ends before, or has a gap here, which such a snapshot left: what comes after follows on it.
	case err != nil:
		return false, err
	case entry.Term == term:
		return false, nil
	default:
		to = last
	}
	if err := logs.DeleteRange(first, to); err != nil {
		return false, fmt.Errorf("drop entries %d to %d: %w", first, to, err)
	}
	return last >= index, nil
}
