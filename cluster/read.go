package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/transport"
)

// Read says how new a view has to be.
type Read struct {
	// Stale takes the node's own state as it is.
	Stale bool
	// MinIndex waits until the node has applied that index.
	MinIndex uint64
}

// Read returns an immutable view, and how old its data may be: zero unless Stale.
//
// A linearizable read holds every write that was acknowledged anywhere before
// it began. The leader proves with a majority that it still leads, and this node
// waits until it has applied what the leader had (ReadIndex: Raft dissertation,
// section 6.4). Reads that arrive during one such proof share the next.
//
// Errors are *Error: NoLeader, IndexTimeout, Timeout, Overloaded, ShuttingDown.
// Safe for concurrent use.
func (n *Node) Read(ctx context.Context, r Read) (*fsm.View, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, n.options.RequestTimeout)
	defer cancel()
	if !r.Stale {
		index, err := n.readIndex(ctx)
		if err != nil {
			return nil, 0, err
		}
		// gofail: var beforeReadWaits struct{}
		r.MinIndex = max(r.MinIndex, index)
	}
	view, err := n.replica.wait(ctx, r.MinIndex)
	if err != nil {
		return nil, 0, err
	}
	if r.Stale {
		return view, n.age(view), nil
	}
	return view, 0, nil
}

// age is how long ago the node last heard of a leader.
func (n *Node) age(v *fsm.View) time.Duration {
	if n.leadsTerm.Load() != 0 {
		return 0
	}
	if heard := n.raft.LastContact(); !heard.IsZero() {
		return time.Since(heard)
	}
	if v.Clock().WallMs == 0 {
		return time.Since(n.started)
	}
	return max(0, n.clock.wall().Sub(v.Clock().Wall()))
}

type reader struct {
	ctx  context.Context
	done chan readAnswer
}

type readAnswer struct {
	index uint64
	err   *Error
}

// readIndex asks for a proof, and again while the leader changes and ctx lasts.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	for {
		changed := n.leader.changed()
		r := &reader{ctx: ctx, done: make(chan readAnswer, 1)}
		if !n.readers.offer(r) {
			return 0, errorf(Overloaded, "%d reads are waiting, as many as may.", n.options.Queue)
		}
		select {
		case a := <-r.done:
			if a.err == nil {
				return a.index, nil
			}
			if a.err.code != notLeader {
				return 0, a.err
			}
		case <-ctx.Done():
			return 0, errorf(Timeout, "The leader did not confirm itself in time.")
		case <-n.stopped:
			return 0, errorf(ShuttingDown, "Node %s stopped.", n.options.ID)
		}
		if err := n.leader.wait(ctx, changed); err != nil {
			return 0, err
		}
	}
}

// prove is the batcher's flush for reads: one proof for all who wait.
func (n *Node) prove(batch []*reader) {
	var last time.Time
	for _, r := range batch {
		deadline, _ := r.ctx.Deadline()
		last = later(last, deadline)
	}
	ctx, cancel := context.WithDeadline(n.leader.reign(), last)
	defer cancel()
	began := time.Now()
	index, err := n.confirmedIndex(ctx)
	n.metrics.ReadIndex.Observe(time.Since(began).Seconds())
	for _, r := range batch {
		r.done <- readAnswer{index, err}
	}
}

func (n *Node) confirmedIndex(ctx context.Context) (uint64, *Error) {
	if n.leadsTerm.Load() != 0 {
		return n.leaderIndex(ctx, "", 0)
	}
	address := n.leader.address()
	if address == "" || address == n.options.Advertise {
		return 0, errorf(notLeader, "No leader is known.")
	}
	client, err := n.peers.at(address)
	if err != nil {
		return 0, errorf(notLeader, "The leader can't be reached: %v.", err)
	}
	reply, err := client.ReadIndex(ctx, &clusterpb.ReadIndexRequest{Term: n.raft.CurrentTerm()})
	if err != nil {
		// A read can always be asked again.
		return 0, errorf(notLeader, "The leader did not answer: %s.", status.Convert(err).Message())
	}
	return reply.Index, fromFault(reply.Fault)
}

// leaderIndex returns what this leader knew to be committed when it began to prove that it
// leads. Every acknowledged write of its term was committed before it was
// acknowledged, and every earlier one before the term was opened (lead). A node that asks
// says in which term it was then.
func (n *Node) leaderIndex(ctx context.Context, asking string, at uint64) (uint64, *Error) {
	term := n.leadsTerm.Load()
	index := n.committed()
	// gofail: var beforeProof struct{}
	if err := n.confirm(ctx, term, asking, at); err != nil {
		return 0, err
	}
	// gofail: var afterProof struct{}

	// The term of the proof must be the one that was opened: a node that lost its office
	// and was elected again may not have applied what was acknowledged in between.
	if term == 0 || n.raft.CurrentTerm() != term || n.leadsTerm.Load() != term {
		return 0, errorf(notLeader, "This node does not lead.")
	}
	return index, nil
}

// committed is the last entry with commands that is committed. Other nodes may have applied it before this leader has, and answered reads with
// it: a read that comes later must not see less. Raft's own entries are passed over, as no state reaches their index.
func (n *Node) committed() uint64 {
	applied := n.replica.view.Load().Index()
	for index := n.raft.CommitIndex(); index > applied; index-- {
		var entry raft.Log
		if err := n.logs.GetLog(index, &entry); err == nil && entry.Type == raft.LogCommand {
			return index
		}
	}
	return applied
}

// ReadIndex implements clusterpb.NodeServer.
func (s *server) ReadIndex(ctx context.Context, request *clusterpb.ReadIndexRequest) (*clusterpb.ReadIndexReply, error) {
	asking, _ := transport.PeerNode(ctx)
	index, err := s.node.leaderIndex(ctx, asking, request.Term)
	return &clusterpb.ReadIndexReply{Index: index, Fault: err.fault()}, nil
}
