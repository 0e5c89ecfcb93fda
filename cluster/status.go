package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/fsm"
)

// Role is what a node does in Raft.
type Role string

// The roles.
const (
	Leader    Role = "leader"
	Follower  Role = "follower"
	Candidate Role = "candidate"
	Stopped   Role = "stopped"
)

var roles = map[raft.RaftState]Role{raft.Leader: Leader, raft.Follower: Follower, raft.Candidate: Candidate, raft.Shutdown: Stopped}

// Status is what a node knows of itself.
type Status struct {
	ID, Site, Version string
	Address           string
	HTTPAddress       string
	Started           time.Time
	Role              Role
	// Voter is false for a node that has not caught up yet, and for one without a cluster.
	Voter bool
	// Leader is the leader's id, LeaderHTTP its API; empty if not known.
	Leader, LeaderHTTP string
	// Term, and the last indexes that Raft has, knows to be committed, and has in a snapshot.
	Term, LastIndex, CommitIndex, SnapshotIndex uint64
	// Age is how long ago the node last heard of a leader.
	Age time.Duration
	// Waiting is how many writes wait, of at most QueueLimit.
	Waiting, QueueLimit int
	// Replica: the node never is to vote.
	Replica bool
	// Clock is how the node's clock compares with the others'.
	Clock ClockStatus
	// View is the node's state.
	View *fsm.View
	// Fault says why the node can't serve, nil if it can.
	Fault error
}

// Status returns at once and asks nobody. Safe for concurrent use.
func (n *Node) Status() Status {
	o, view := n.options, n.replica.view.Load()
	s := Status{
		ID: o.ID, Site: o.Site, Version: o.Version, Address: o.Advertise, HTTPAddress: o.HTTPAdvertise, Started: n.started,
		Role: roles[n.raft.State()], Leader: n.leader.leaderID(),
		Term: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex(), CommitIndex: n.raft.CommitIndex(), SnapshotIndex: n.newestSnapshot().Index,
		Age: n.age(view), Waiting: len(n.proposals.queue) + len(n.forwards.queue), QueueLimit: o.Queue,
		View: view, Fault: n.Ready(), Replica: o.Nonvoter, Clock: n.clock.compared(),
	}
	if api := n.leads.Load(); api != nil && api.id == s.Leader {
		s.LeaderHTTP = api.http
	}
	for _, m := range n.members() {
		s.Voter = s.Voter || m.Suffrage == raft.Voter && string(m.ID) == o.ID
	}
	// Only the leader stamps; a follower with a wrong clock serves all the same.
	if s.Fault == nil && s.Role == Leader && s.Clock.Fault != nil {
		s.Fault = s.Clock.Fault
	}
	return s
}

// leaderAPI is where a leader serves its API.
type leaderAPI struct{ id, http string }

// findLeaderAPI asks a new leader where its API is.
func (n *Node) findLeaderAPI() {
	id, address := n.leader.leaderID(), n.leader.address()
	if known := n.leads.Load(); id == "" || known != nil && known.id == id {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, probeTimeout)
	defer cancel()
	answers := n.peers.probe(ctx, []string{address}, n.probeRequest())
	for _, a := range answers {
		n.leads.Store(&leaderAPI{id: a.reply.Node, http: a.reply.HttpAddress})
	}
}
