package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// proposal is a command on its way and the one who waits for it.
type proposal struct {
	command *fsmpb.Command
	// principal is who asks; the leader judges whether he may.
	principal fsm.Principal
	deadline  time.Time
	// queued is when the proposal came.
	queued time.Time
	// span is that of whoever asked, or of the way here; nil if nobody traces the command.
	span trace.Span
	// done takes the answer; it has room, so that nobody waits for a waiter who left.
	done chan answer
}

// answer is an outcome, or why there is none.
type answer struct {
	outcome *fsmpb.Outcome
	err     *Error
}

func newProposal(p fsm.Principal, c *fsmpb.Command, deadline time.Time) *proposal {
	return &proposal{principal: p, command: c, deadline: deadline, queued: time.Now(), done: make(chan answer, 1)}
}

func (p *proposal) size() int {
	return len(p.command.Body) + len(p.command.Actor) + len(p.command.RequestId) + 16
}

func failAll(batch []*proposal, err *Error) {
	for _, p := range batch {
		p.done <- answer{err: err}
	}
}

// propose is the batcher's flush on the leader: one batch becomes one Raft
// entry, and its outcomes fan out.
func (n *Node) propose(batch []*proposal) {
	n.traceWait(batch)
	batch = n.dropUnreadable(n.begin(batch, n.metrics.Entry))
	if len(batch) == 0 {
		return
	}
	commands := make([]*fsmpb.Command, len(batch))
	for i, p := range batch {
		commands[i] = p.command
	}
	told := n.traceEntry(batch)
	outcomes, err := n.commit(n.leadsTerm.Load(), commands, 0, told)
	told.end(err)
	if err != nil {
		failAll(batch, err)
		return
	}
	for i, p := range batch {
		p.done <- answer{outcome: outcomes[i]}
	}
}

// begin takes a batch out of its queue and notes its size.
func (n *Node) begin(batch []*proposal, size interface{ Observe(float64) }) []*proposal {
	batch = dropLate(batch)
	if len(batch) == 0 {
		return nil
	}
	now := time.Now()
	for _, p := range batch {
		n.metrics.QueueWait.Observe(now.Sub(p.queued).Seconds())
	}
	size.Observe(float64(len(batch)))
	return batch
}

// dropLate answers those whose callers have gone before anything was done for them.
func dropLate(batch []*proposal) []*proposal {
	now := time.Now()
	kept := batch[:0]
	for _, p := range batch {
		if p.deadline.Before(now) {
			p.done <- answer{err: errorf(Timeout, "The command waited in the queue until its time ran out; nothing was done.")}
		} else {
			kept = append(kept, p)
		}
	}
	return kept
}

// commit stamps an entry for a term that this node leads (0: none), has Raft
// replicate it and returns what it came to. It returns once the entry is on disk on a majority and applied here (rule E3), or
// when that can't be known any more (rule E2). Traces of its commands are told what became of it.
func (n *Node) commit(term uint64, commands []*fsmpb.Command, pauseMs int64, told *entryTrace) ([]*fsmpb.Outcome, *Error) {
	if term == 0 {
		return nil, errorf(notLeader, "This node does not lead.")
	}
	future, fault := n.apply(term, commands, pauseMs)
	if fault != nil {
		return nil, fault
	}
	began := time.Now()
	if err := future.Error(); err != nil {
		return nil, applyFault(err)
	}
	// gofail: var afterCommit struct{}
	n.metrics.Commit.Observe(time.Since(began).Seconds())
	done, err := appliedOf(future)
	if err != nil {
		return nil, errorf(OutcomeUnknown, "This node failed while it applied the entry: %v", err)
	}
	told.applied(future.Index(), term, done)
	// Here and not where entries are applied: every node does so, and again after a restart.
	for _, ms := range done.waits {
		n.metrics.TicketWait.Observe(float64(ms) / 1000)
	}
	return done.outcomes, nil
}

// apply stamps an entry and hands it to Raft. Entries must land in the order of their stamps: a jump of
// the clock is told by the first entry after it, and no entry before it may carry the jump's time. The lock
// is held while encoding, which holds up the leader's own few commands alone: of batches one is under way.
func (n *Node) apply(term uint64, commands []*fsmpb.Command, pauseMs int64) (raft.ApplyFuture, *Error) {
	n.stamping.Lock()
	defer n.stamping.Unlock()
	stamp, jumped, fault := n.clock.stamp()
	if fault != nil {
		return nil, fault
	}
	data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: term, WallMs: stamp, PauseMs: pauseMs + jumped, Commands: commands})
	if err != nil {
		return nil, errorf(Unsupported, "The entry can't be encoded: %v", err)
	}
	n.metrics.EntryBytes.Observe(float64(len(data)))
	// gofail: var beforePropose struct{}
	return n.raft.Apply(data, n.options.RequestTimeout), nil
}

// applyFault tells apart what surely was not done and what may have been.
func applyFault(err error) *Error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return errorf(notLeader, "This node does not lead any more.")
	default:
		return errorf(OutcomeUnknown, "The outcome is not known: %v.", err)
	}
}

// queue hands a command to the leader's batcher, if its principal may have it decided. It never forwards.
func (n *Node) queue(p *proposal) *Error {
	if fault := n.clock.suspect(); fault != nil && n.raft.State() == raft.Leader {
		return fault
	}
	if n.leadsTerm.Load() == 0 || n.stopping.Load() {
		return errorf(notLeader, "Node %s does not lead.", n.options.ID)
	}
	if fault := n.judge(p); fault != nil {
		return fault
	}
	if !n.proposals.offer(p) {
		return errorf(Overloaded, "%d writes are waiting, as many as may.", n.options.Queue)
	}
	return nil
}

// await returns the answer, or that it is not known.
func (n *Node) await(ctx context.Context, p *proposal) answer {
	select {
	case a := <-p.done:
		return a
	case <-ctx.Done():
		return answer{err: errorf(OutcomeUnknown, "No outcome came in time.")}
	case <-n.stopped:
		return answer{err: errorf(OutcomeUnknown, "Node %s stopped before the outcome was known.", n.options.ID)}
	}
}
