package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// Propose is ProposeFor for what the node itself wants.
func (n *Node) Propose(ctx context.Context, c *fsmpb.Command) (*fsmpb.Outcome, error) {
	return n.ProposeFor(ctx, n.self(), c)
}

// ProposeFor has a command of a principal decided by the cluster, whichever node leads, and
// returns what it came to. It tries again, with the same request id, while ctx
// lasts and the leader changes (rules E1, E2). The leader judges whether the principal may.
//
// Errors are *Error: OutcomeUnknown if the command may have been decided, any
// other code if it surely was not. Safe for concurrent use.
func (n *Node) ProposeFor(ctx context.Context, p fsm.Principal, c *fsmpb.Command) (*fsmpb.Outcome, error) {
	body, fault := n.decodeCommand(c)
	if fault != nil {
		return nil, fault
	}
	ctx, cancel := context.WithTimeout(ctx, n.options.RequestTimeout)
	defer cancel()
	began := time.Now()
	outcome, fault := n.attempts(ctx, p, c)
	n.metrics.Propose.Observe(time.Since(began).Seconds())
	n.count(body, outcome, fault)
	if fault != nil {
		return nil, fault
	}
	return outcome, nil
}

// attempts sends the command until its outcome is known, or surely not to be had.
func (n *Node) attempts(ctx context.Context, who fsm.Principal, c *fsmpb.Command) (*fsmpb.Outcome, *Error) {
	unknown := (*Error)(nil)
	for {
		changed := n.leader.changed()
		a := n.attempt(ctx, who, c)
		switch {
		case a.err == nil && fsm.Code(a.outcome.Refusal.GetCode()) != fsm.Superseded:
			return a.outcome, nil
		case a.err != nil && a.err.code == OutcomeUnknown:
			unknown = a.err
		case a.err != nil && a.err.code != notLeader:
			return nil, firstError(unknown, a.err)
		}
		if err := n.leader.wait(ctx, changed); err != nil {
			return nil, firstError(unknown, err)
		}
	}
}

// firstError prefers the news that an outcome is unknown: a later attempt that
// surely did nothing says nothing of the earlier one.
func firstError(unknown, err *Error) *Error {
	if unknown != nil {
		return unknown
	}
	return err
}

// attempt sends the command once, to the node that leads now.
func (n *Node) attempt(ctx context.Context, who fsm.Principal, c *fsmpb.Command) answer {
	if n.stopping.Load() {
		return answer{err: errorf(ShuttingDown, "Node %s is about to stop.", n.options.ID)}
	}
	deadline, _ := ctx.Deadline()
	p := newProposal(who, c, deadline)
	p.span = n.spanOf(ctx)
	if n.raft.State() == raft.Leader {
		if err := n.queue(p); err != nil {
			return answer{err: err}
		}
		return n.await(ctx, p)
	}
	if address := n.leader.address(); address == "" || address == n.options.Advertise {
		return answer{err: errorf(notLeader, "No leader is known.")}
	}
	if p.span != nil {
		return n.traceForward(ctx, p)
	}
	return n.handOn(ctx, p)
}

// handOn has a frame take a command to the leader.
func (n *Node) handOn(ctx context.Context, p *proposal) answer {
	if !n.forwards.offer(p) {
		return answer{err: errorf(Overloaded, "%d writes are waiting to be forwarded, as many as may.", n.options.Queue)}
	}
	return n.await(ctx, p)
}

// checkCommand keeps what replicas could not read out of the log.
func (n *Node) checkCommand(c *fsmpb.Command) *Error {
	_, err := n.decodeCommand(c)
	return err
}

func (n *Node) decodeCommand(c *fsmpb.Command) (*fsmpb.Body, *Error) {
	if len(c.GetBody()) > fsm.MaxBody {
		return nil, errorf(Unsupported, "A command of %d bytes is longer than %d.", len(c.GetBody()), fsm.MaxBody)
	}
	// Of a frame they would go into the entry, and every replica would stop at it.
	if unknown := c.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		return nil, errorf(Unsupported, "Node %s (version %s) does not understand the command: %d bytes of it are fields that it does not know.", n.options.ID, n.options.Version, len(unknown))
	}
	body, err := fsm.DecodeBody(c.GetBody())
	if err != nil {
		return nil, errorf(Unsupported, "Node %s (version %s) does not understand the command: %v.", n.options.ID, n.options.Version, err)
	}
	return body, nil
}

// forward is the batcher's flush on a follower: one batch is one frame to the leader.
func (n *Node) forward(batch []*proposal) {
	if batch = n.begin(batch, n.metrics.Frame); len(batch) == 0 {
		return
	}
	request := &clusterpb.ForwardRequest{Commands: make([]*clusterpb.Forwarded, len(batch))}
	var last time.Time
	for i, p := range batch {
		request.Commands[i] = &clusterpb.Forwarded{
			Command: p.command, TimeoutMs: time.Until(p.deadline).Milliseconds(), Traceparent: p.sent(len(batch)), Principal: principalProto(p.principal),
		}
		last = later(last, p.deadline)
	}
	// After a change of leader the commands go to the next one with the same request ids (rule E1).
	ctx, cancel := context.WithDeadline(n.leader.reign(), last)
	defer cancel()
	reply, err := n.sendForward(ctx, request)
	if err != nil {
		failAll(batch, err)
		return
	}
	for i, p := range batch {
		r := reply.Results[i]
		p.done <- answer{outcome: r.Outcome, err: fromFault(r.Fault)}
	}
}

func (n *Node) sendForward(ctx context.Context, request *clusterpb.ForwardRequest) (*clusterpb.ForwardReply, *Error) {
	address := n.leader.address()
	if address == "" {
		return nil, errorf(notLeader, "No leader is known.")
	}
	client, err := n.peers.at(address)
	if err != nil {
		return nil, errorf(notLeader, "The leader can't be reached: %v.", err)
	}
	began := time.Now()
	// gofail: var beforeForward struct{}
	reply, err := client.Forward(ctx, request)
	// gofail: var afterForward struct{}
	n.metrics.Forward.Observe(time.Since(began).Seconds())
	if err != nil {
		return nil, errorf(OutcomeUnknown, "The leader did not answer: %s.", status.Convert(err).Message())
	}
	if len(reply.Results) != len(request.Commands) {
		return nil, errorf(OutcomeUnknown, "The leader answered %d of %d commands.", len(reply.Results), len(request.Commands))
	}
	return reply, nil
}

// Forward implements clusterpb.NodeServer: it takes other nodes' commands into
// this leader's batches, and never sends them on.
func (s *server) Forward(ctx context.Context, request *clusterpb.ForwardRequest) (*clusterpb.ForwardReply, error) {
	if len(request.Commands) > s.node.options.Queue {
		return nil, status.Errorf(codes.InvalidArgument, "%d commands in one frame are more than %d", len(request.Commands), s.node.options.Queue)
	}
	// gofail: var forwardReceived struct{}
	now := time.Now()
	proposals := make([]*proposal, len(request.Commands))
	for i, f := range request.Commands {
		p := received(s.node, f, now)
		proposals[i] = p
		if err := s.node.accept(p); err != nil {
			p.done <- answer{err: err}
		}
	}
	reply := &clusterpb.ForwardReply{Results: make([]*clusterpb.ForwardResult, len(proposals))}
	for i, p := range proposals {
		a := s.node.await(ctx, p)
		reply.Results[i] = &clusterpb.ForwardResult{Outcome: a.outcome, Fault: a.err.fault()}
	}
	// gofail: var beforeForwardReply struct{}
	return reply, nil
}

// received is a command of a frame as the proposal that it is to become.
func received(n *Node, f *clusterpb.Forwarded, now time.Time) *proposal {
	p := newProposal(sentBy(f.GetCommand().GetActor(), f.GetPrincipal()), f.GetCommand(), now.Add(time.Duration(f.GetTimeoutMs())*time.Millisecond))
	p.span = n.spanFrom(f.GetTraceparent())
	return p
}

// accept queues a command that another node sent.
func (n *Node) accept(p *proposal) *Error {
	if p.command == nil {
		return errorf(Unsupported, "The frame has an empty command.")
	}
	if err := n.checkCommand(p.command); err != nil {
		return err
	}
	return n.queue(p)
}
