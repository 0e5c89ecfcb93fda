package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

// memberTimeout bounds a change of the members or of the leadership.
const memberTimeout = 10 * time.Second

// Member is one node of the cluster, as the node that was asked sees it.
type Member struct {
	ID, Address, HTTPAddress, Site, Version string
	// Voter counts for majorities; a node that has just joined does not yet.
	Voter bool
	// Replica is a node that never is to vote (Options.Nonvoter).
	Replica bool
	Leader  bool
	// Reachable is false if the member did not answer; what follows is then unknown.
	Reachable bool
	// LastIndex is the last entry of its log, AppliedIndex and Digest are of its state.
	LastIndex, AppliedIndex uint64
	Digest                  string
	// Contact is how long ago it last heard of a leader; negative if it never did.
	Contact time.Duration
	// ClockDifference is how far its clock is ahead of the asked node's.
	ClockDifference time.Duration
}

// Members lists the members, asking each how it is. Errors are *Error. Safe for
// concurrent use.
func (n *Node) Members(ctx context.Context) ([]Member, error) {
	if !n.formed() {
		return nil, errorf(NotReady, "Node %s does not belong to a cluster yet.", n.options.ID)
	}
	servers := n.members()
	addresses := make([]string, len(servers))
	for i, m := range servers {
		addresses[i] = string(m.Address)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	answers := n.peers.probe(ctx, addresses, n.probeRequest())
	leader := n.leader.leaderID()
	list := make([]Member, len(servers))
	for i, m := range servers {
		list[i] = Member{ID: string(m.ID), Address: string(m.Address), Voter: m.Suffrage == raft.Voter, Leader: string(m.ID) == leader}
		if a, ok := answers[string(m.Address)]; ok {
			list[i].Reachable, list[i].Replica = true, a.reply.Nonvoter
			list[i].HTTPAddress, list[i].Site, list[i].Version = a.reply.HttpAddress, a.reply.Site, a.reply.Version
			list[i].LastIndex, list[i].AppliedIndex, list[i].Digest = a.reply.LastIndex, a.reply.AppliedIndex, a.reply.Digest
			list[i].Contact = time.Duration(a.reply.ContactMs) * time.Millisecond
			list[i].ClockDifference = a.difference(n.clock)
		}
	}
	return list, nil
}

// Remove takes a member out of the cluster, through whichever node leads. It is refused if the
// voters that are well would be no majority any more. The leader judges whether who asks may; its log tells of it, and of who
// asked. Errors are *Error. Safe for concurrent use.
func (n *Node) Remove(ctx context.Context, id string, who fsm.Principal) error {
	return n.onLeader(ctx, func() *Error { return n.removeFor(who, id) },
		func(ctx context.Context, leader clusterpb.NodeClient) (*clusterpb.Fault, error) {
			reply, err := leader.Remove(ctx, &clusterpb.RemoveRequest{Node: id, Actor: who.Actor(), Principal: principalProto(who)})
			return reply.GetFault(), err
		})
}

// Transfer hands leadership to a voter, or to the best that is there if id is empty: of the most preferred
// site (Policy), then the most up to date. The leader judges whether who asks may; its log tells of it, and of who asked.
// Errors are *Error. Safe for concurrent use.
func (n *Node) Transfer(ctx context.Context, id string, who fsm.Principal) error {
	return n.onLeader(ctx, func() *Error { return n.transferFor(who, id) },
		func(ctx context.Context, leader clusterpb.NodeClient) (*clusterpb.Fault, error) {
			reply, err := leader.Transfer(ctx, &clusterpb.TransferRequest{Node: id, Actor: who.Actor(), Principal: principalProto(who)})
			return reply.GetFault(), err
		})
}

// Leave takes this node out of the cluster and marks its data as such, so that
// it can't come back by mistake. The caller stops the node then. The leader judges whether who asks may; its log tells of it,
// and of who asked. Errors are *Error.
func (n *Node) Leave(ctx context.Context, who fsm.Principal) error {
	if len(n.members()) < 2 {
		return errorf(MemberRefused, "Node %s is the last member; a cluster without members is lost. Stop the node instead.", n.options.ID)
	}
	if n.raft.State() == raft.Leader {
		if err := n.mayAdminister(who); err != nil {
			return err
		}
		if err := n.transferHere("", handover{who.Actor(), "it leaves"}); err != nil {
			return err
		}
	}
	if err := n.Remove(ctx, n.options.ID, who); err != nil {
		return err
	}
	n.removed.Store(true)
	if err := n.identity.leave(); err != nil {
		return fmt.Errorf("node %s left, but its data directory could not be marked: %w", n.options.ID, err)
	}
	return nil
}

// onLeader does something on the leader, which may be this node or one hop away.
func (n *Node) onLeader(ctx context.Context, here func() *Error,
	there func(context.Context, clusterpb.NodeClient) (*clusterpb.Fault, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	for {
		changed := n.leader.changed()
		fault := errorf(notLeader, "No leader is known.")
		if n.raft.State() == raft.Leader {
			fault = here()
		} else if address := n.leader.address(); address != "" {
			fault = call(ctx, n.peers, address, there)
		}
		if fault == nil {
			return nil
		}
		if fault.code != notLeader {
			return fault
		}
		if err := n.leader.wait(ctx, changed); err != nil {
			return err
		}
	}
}

func call(ctx context.Context, p *peers, address string,
	there func(context.Context, clusterpb.NodeClient) (*clusterpb.Fault, error),
) *Error {
	client, err := p.at(address)
	if err != nil {
		return errorf(notLeader, "The leader can't be reached: %v.", err)
	}
	fault, err := there(ctx, client)
	if err != nil {
		return errorf(OutcomeUnknown, "The leader did not answer: %s.", status.Convert(err).Message())
	}
	return fromFault(fault)
}

// admit adds a node as a non-voter; autopilot makes it a voter once it has caught up.
func (n *Node) admit(request *clusterpb.JoinRequest) (*clusterpb.JoinReply, error) {
	refuse := func(e *Error) (*clusterpb.JoinReply, error) { return &clusterpb.JoinReply{Fault: e.fault()}, nil }
	if n.raft.State() != raft.Leader {
		return refuse(errorf(notLeader, "Node %s does not lead.", n.options.ID))
	}
	if err := n.checkFormer(request.Node); err != nil {
		return refuse(err)
	}
	if request.Cluster != "" {
		return refuse(n.move(request))
	}
	v := n.replica.view.Load()
	signing, fault := n.signingKey(v)
	if fault != nil {
		return refuse(fault)
	}
	if err := n.checkJoinToken(request); err != nil {
		n.log.Warn("a node was refused", "node", request.Node, "address", request.Address, "reason", err)
		return refuse(err)
	}
	for _, m := range n.members() {
		if string(m.ID) == request.Node && string(m.Address) != request.Address {
			return refuse(errorf(MemberRefused, "Node id %s belongs to a member at %s.", request.Node, m.Address))
		}
		if string(m.ID) == request.Node && m.Suffrage == raft.Voter {
			return refuse(errorf(MemberRefused, "Node id %s belongs to a voter that had data; a node that lost it joins under a new id.", request.Node))
		}
	}
	if err := n.checkAddress(request); err != nil {
		return refuse(err)
	}
	key, err := signed.EncodePrivateKey(signing)
	if err != nil {
		return nil, err
	}
	id, address := raftServer(request.Node, request.Address)
	// gofail: var beforeAdmission struct{}
	if err := n.raft.AddNonvoter(id, address, 0, memberTimeout).Error(); err != nil {
		return refuse(applyFault(err))
	}
	// gofail: var afterAdmission struct{}
	n.log.Info("node admitted as non-voter", "node", request.Node, "address", request.Address, "by", nodeItself(request.Node))
	return &clusterpb.JoinReply{Cluster: v.ClusterID(), SigningKey: key, Derivation: n.identity.signingKeys().derives[:]}, nil
}

// checkFormer refuses the id of a node that was a member: it may have given votes that it does not know of any more.
func (n *Node) checkFormer(node string) *Error {
	switch {
	case n.identity.dropped(node):
		return errorf(MemberRefused, "Node id %s was left behind when the cluster was recovered; join under a new id.", node)
	case n.identity.barred(node):
		return errorf(MemberRefused, "Node id %s was a member's that was removed; join under a new id.", node)
	}
	return nil
}

// removeFor is removeHere for a principal.
func (n *Node) removeFor(who fsm.Principal, id string) *Error {
	if err := n.mayAdminister(who); err != nil {
		return err
	}
	return n.removeHere(id, who.Actor())
}

// removeHere removes a member on the leader. A leader does not remove itself: it
// hands leadership over first, so that somebody is there to answer.
func (n *Node) removeHere(id, by string) *Error {
	if n.raft.State() != raft.Leader {
		return errorf(notLeader, "Node %s does not lead.", n.options.ID)
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	m, found := n.server(id)
	switch {
	case !found:
		return errorf(MemberNotFound, "No member has the id %q.", id)
	case id == n.options.ID:
		return errorf(MemberRefused, "Node %s leads; `licet cluster transfer` first, or let it leave.", id)
	}
	if m.Suffrage == raft.Voter {
		if err := n.checkQuorumWithout(id); err != nil {
			return err
		}
	}
	if err := n.raft.RemoveServer(raft.ServerID(id), 0, memberTimeout).Error(); err != nil {
		return applyFault(err)
	}
	n.log.Info("member removed", "node", id, "voter", m.Suffrage == raft.Voter, "by", by)
	return nil
}

// checkQuorumWithout refuses a removal after which the voters that follow this leader would be no
// majority of all: it could not even be decided, and nothing could after it. After an election they
// are given a moment to learn who leads.
func (n *Node) checkQuorumWithout(id string) *Error {
	const looks = 10
	for look := 1; ; look++ {
		voters, well := n.votersBut(id)
		need := voters/2 + 1
		if well >= need {
			return nil
		}
		if look == looks || !pause(n.ctx, n.options.HeartbeatTimeout/looks) {
			return errorf(MemberRefused, "Without %s there are %d voters, of which %d are well and %d are needed; bring another one up first.", id, voters, well, need)
		}
	}
}

// votersBut counts the voters without one, and those of them that follow this leader.
func (n *Node) votersBut(id string) (voters, well int) {
	answers := n.probeMembers(n.ctx, 0)
	for _, m := range n.members() {
		if m.Suffrage != raft.Voter || string(m.ID) == id {
			continue
		}
		voters++
		a, ok := answers[string(m.Address)]
		if string(m.ID) == n.options.ID || ok && a.reply.LeaderAddress == n.options.Advertise {
			well++
		}
	}
	return voters, well
}

// handover is who wants leadership moved, and why.
type handover struct{ by, reason string }

// transferFor is transferHere for a principal.
func (n *Node) transferFor(who fsm.Principal, id string) *Error {
	if err := n.mayAdminister(who); err != nil {
		return err
	}
	return n.transferHere(id, handover{who.Actor(), "asked for"})
}

func (n *Node) transferHere(id string, why handover) *Error {
	if n.raft.State() != raft.Leader {
		return errorf(notLeader, "Node %s does not lead.", n.options.ID)
	}
	if id == n.options.ID {
		return nil
	}
	to := id
	var err error
	target, fault := n.voter(id)
	switch {
	case id != "" && fault != nil:
		return fault
	case id != "":
		err = n.raft.LeadershipTransferToServer(target.ID, target.Address).Error()
	default:
		to, err = n.handToBest()
	}
	if err != nil {
		return errorf(MemberRefused, "Leadership could not be handed over: %v.", err)
	}
	n.noteHandover(to, why)
	return nil
}

// noteHandover tells in the former leader's log where its office went.
func (n *Node) noteHandover(to string, why handover) {
	if to == "" {
		to = "whoever has most of the log"
	}
	n.log.Info("leadership handed over", "to", to, "by", why.by, "reason", why.reason)
}

// nodeItself is who asks for something where no principal does: a node, by what it is told to do by itself.
func nodeItself(id string) string { return "node " + id }

// handToBest gives leadership to the successor, and where none is known or it fails, to whom Raft thinks best, which
// may be a node that is down while nobody writes. It returns whom it gave it to, "" if Raft chose.
func (n *Node) handToBest() (to string, err error) {
	if s, ok := n.successor(); ok {
		if err := n.raft.LeadershipTransferToServer(s.ID, s.Address).Error(); err == nil {
			return string(s.ID), nil
		}
	}
	return "", n.raft.LeadershipTransfer().Error()
}

// successor is the voter that is there, with a right clock, at the most preferred site, and of those the one with most of the log.
func (n *Node) successor() (best raft.Server, found bool) {
	order := n.policy.Load().PreferredSites
	var place int
	var last uint64
	for _, m := range n.members() {
		reply, silent := n.pilot.said(m.ID)
		if m.Suffrage != raft.Voter || string(m.ID) == n.options.ID || reply == nil || silent > 3*autopilotEvery || !n.clock.agrees(string(m.ID)) {
			continue
		}
		at := preference(order, reply.Site)
		if !found || at < place || at == place && reply.LastIndex > last {
			best, place, last, found = m, at, reply.LastIndex, true
		}
	}
	return best, found
}

func (n *Node) voter(id string) (raft.Server, *Error) {
	m, member := n.server(id)
	switch {
	case !member:
		return m, errorf(MemberNotFound, "No member has the id %q.", id)
	case m.Suffrage != raft.Voter:
		return m, errorf(MemberRefused, "Node %s is no voter.", id)
	}
	return m, nil
}
