package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// Vitals are what an operator watches on a node, beside its Status.
type Vitals struct {
	// Leads is true once the node serves as the leader of its term.
	Leads bool
	// Voters and Nonvoters are how many members the node knows.
	Voters, Nonvoters int
	// Peers are the other members as the leader saw them last; nil on others.
	Peers []Peer
	// ClockFault says why the node's clock is not believed, nil if it is; ClockLimit is how far it may be off.
	ClockFault error
	ClockLimit time.Duration
	// Proposals, Forwards and Reads wait, of at most Status.QueueLimit each.
	Proposals, Forwards, Reads int
	Snapshot                   SnapshotOnDisk
	Disk                       Disk
	// Store and StoreBytes are of raft.db.
	Store      bbolt.Stats
	StoreBytes int64
	// TrailLast is the last row of the audit trail in the node's files.
	TrailLast uint64
	// CertificateEnds is when the certificate between nodes ends, or one that it chains to.
	CertificateEnds time.Time
}

// Peer is a member as the leader saw it at its last comparison of clocks.
type Peer struct {
	ID        string
	Reachable bool
	// Lag is by how many entries its log is behind, Offset how far its clock is ahead; both are of one that answered.
	Lag    uint64
	Offset time.Duration
}

// SnapshotOnDisk is the newest one; the zero value if there is none.
type SnapshotOnDisk struct {
	Index uint64
	Taken time.Time
	Bytes int64
}

// Vitals returns at once and asks nobody. What can't be read of the disk is zero. Safe for concurrent use.
func (n *Node) Vitals() Vitals {
	v := Vitals{
		Leads: n.leadsTerm.Load() != 0, ClockLimit: n.options.MaxClockSkew,
		Proposals: len(n.proposals.queue), Forwards: len(n.forwards.queue), Reads: len(n.readers.queue),
		Snapshot: n.newestSnapshot(), Store: n.store.bolt.Stats(), TrailLast: n.keeper.last(),
		CertificateEnds: n.options.Certificates.NotAfter(),
	}
	if seen := n.seen.Load(); seen != nil {
		v.Peers = *seen
	}
	if fault := n.clock.suspect(); fault != nil {
		v.ClockFault = fault
	}
	for _, m := range n.members() {
		if m.Suffrage == raft.Voter {
			v.Voters++
		} else {
			v.Nonvoters++
		}
	}
	if disk, err := DiskOf(n.options.DataDir); err == nil {
		v.Disk = disk
	}
	if info, err := os.Stat(filepath.Join(n.options.DataDir, raftFile)); err == nil {
		v.StoreBytes = info.Size()
	}
	return v
}

func (n *Node) newestSnapshot() SnapshotOnDisk {
	list, err := n.snapshots.List()
	if err != nil || len(list) == 0 {
		return SnapshotOnDisk{}
	}
	newest := SnapshotOnDisk{Index: list[0].Index, Bytes: list[0].Size}
	// Raft names a snapshot after term, index and the milliseconds of its beginning.
	if i := strings.LastIndexByte(list[0].ID, '-'); i >= 0 {
		if ms, err := strconv.ParseInt(list[0].ID[i+1:], 10, 64); err == nil {
			newest.Taken = time.UnixMilli(ms)
		}
	}
	return newest
}

// noteSeen keeps what the leader's last probe showed of the other members.
func (n *Node) noteSeen(answers map[string]probed) {
	own := n.raft.LastIndex()
	var seen []Peer
	for _, m := range n.members() {
		if string(m.ID) == n.options.ID {
			continue
		}
		p := Peer{ID: string(m.ID)}
		if a, ok := answers[string(m.Address)]; ok {
			p.Reachable, p.Offset = true, a.difference(n.clock)
			p.Lag = own - min(own, a.reply.LastIndex)
		}
		seen = append(seen, p)
	}
	if before := n.seen.Swap(&seen); before != nil {
		n.tellPeers(*before, seen)
	} else {
		n.tellPeers(nil, seen)
	}
}

// tellPeers logs which members have gone out of reach, and which are back.
func (n *Node) tellPeers(before, now []Peer) {
	gone := map[string]bool{}
	for _, p := range before {
		gone[p.ID] = !p.Reachable
	}
	for _, p := range now {
		switch {
		case !p.Reachable && !gone[p.ID]:
			n.log.Warn("a member is out of reach", "member", p.ID)
		case p.Reachable && gone[p.ID]:
			n.log.Info("a member answers again", "member", p.ID)
		}
	}
}

// tellLeader logs and counts a change of the leader.
func (n *Node) tellLeader(id string, without time.Duration) {
	if id == "" {
		n.log.Warn("no leader is known, so that nothing can be written")
		return
	}
	n.log.Info("there is a leader", "leader", id, "without", without.Round(time.Millisecond))
	if n.metrics != nil {
		n.metrics.LeaderChanges.Inc()
	}
}

// last is the last row in the files.
func (k *keeper) last() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.written
}

// Disk is the space of a file system, in bytes. Free is what a process without privileges may still use.
type Disk struct{ Free, Size uint64 }

// DiskOf returns the space where a directory is, or will be made.
func DiskOf(dir string) (Disk, error) {
	for {
		disk, err := statfs(dir)
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return disk, err
		}
		dir = parent
	}
}
