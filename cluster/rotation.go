package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/transport"
)

// keyringTimeout bounds one step of a rotation on one node, which writes a file.
const keyringTimeout = 2 * time.Second

// GossipKey is a gossip key as far as it may be shown.
type GossipKey struct {
	// ID is the beginning of a hash of the key.
	ID string
	// Generation rises with each step of each rotation: by three from one key to the next.
	Generation uint64
	// Reached are the members that have it; Missed those that did not answer, and why. They
	// get it through the node port when they do.
	Reached []string
	Missed  map[string]string
}

// GossipKeys says which gossip keys each member has, by asking all of them. Errors are
// *Error. Safe for concurrent use.
func (n *Node) GossipKeys(ctx context.Context) ([]MemberKeys, error) {
	if !n.formed() {
		return nil, errorf(NotReady, "Node %s does not belong to a cluster yet.", n.options.ID)
	}
	own := n.keyringState()
	answers := n.probeMembers(ctx, 0)
	var list []MemberKeys
	for _, m := range n.members() {
		keys, a := MemberKeys{ID: string(m.ID)}, answers[string(m.Address)]
		state := a.reply.GetKeyring()
		if string(m.ID) == n.options.ID {
			state = own
		}
		keys.Answered = string(m.ID) == n.options.ID || a.reply != nil
		keys.Generation, keys.Key, keys.Other = state.GetGeneration(), state.GetPrimary(), state.GetOther()
		list = append(list, keys)
	}
	slices.SortFunc(list, func(a, b MemberKeys) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// MemberKeys are the gossip keys of one member, by their ids.
type MemberKeys struct {
	ID string
	// Answered is false if the member did not; what follows is then unknown.
	Answered bool
	// Key encrypts, and is empty if gossip is not encrypted. Other is accepted too, if not empty.
	Key, Other string
	Generation uint64
}

// RotateGossipKey has all members use a new gossip key and forget the old one, through
// whichever node leads. A rotation that was interrupted is carried on, with the key
// that it made. Errors are *Error: RotationIncomplete if a member that answers could not
// take a step; gossip goes on, and repeating is safe. The leader judges whether who asks may; its log tells of it, and of who
// asked. Safe for concurrent use.
func (n *Node) RotateGossipKey(ctx context.Context, who fsm.Principal) (GossipKey, error) {
	var reply *clusterpb.RotateKeyringReply
	err := n.onLeader(ctx,
		func() *Error {
			var fault *Error
			reply, fault = n.rotateFor(ctx, who)
			return fault
		},
		func(ctx context.Context, leader clusterpb.NodeClient) (*clusterpb.Fault, error) {
			var err error
			reply, err = leader.RotateKeyring(ctx, &clusterpb.RotateKeyringRequest{Principal: principalProto(who)})
			return reply.GetFault(), err
		})
	if err != nil {
		return GossipKey{}, err
	}
	key := GossipKey{ID: reply.Keyring.GetPrimary(), Generation: reply.Keyring.GetGeneration(), Reached: reply.Reached, Missed: map[string]string{}}
	for _, m := range reply.Missed {
		key.Missed[m.Node] = m.Reason
	}
	return key, nil
}

// keyringState describes the node's gossip keys; nil if gossip is not encrypted.
func (n *Node) keyringState() *clusterpb.KeyringState {
	if n.keyring == nil {
		return nil
	}
	return describeKeyring(n.keyring.current())
}

// rotateFor rotates on the leader, one rotation at a time.
func (n *Node) rotateFor(ctx context.Context, who fsm.Principal) (*clusterpb.RotateKeyringReply, *Error) {
	if err := n.mayAdminister(who); err != nil {
		return nil, err
	}
	if n.keyring == nil {
		return nil, errorf(GossipPlain, "Gossip of node %s is not encrypted, so it has no key to rotate.", n.options.ID)
	}
	n.rotating.Lock()
	defer n.rotating.Unlock()
	// A node that was deposed and does not know yet must not make a key of its own.
	if err := n.raft.VerifyLeader().Error(); err != nil {
		return nil, applyFault(err)
	}
	others, missed, fault := n.gatherKeyrings(ctx)
	if fault == nil {
		fault = n.checkMajority("gossip", others)
	}
	if fault != nil {
		return nil, fault
	}
	for step, done := n.keyring.current(), false; !done; done = step.Step == clusterpb.KeyringStep_KEYRING_STEP_UNSPECIFIED {
		step = nextKeyring(step)
		if fault := n.takeStep(ctx, step, others); fault != nil {
			n.log.Warn("rotation of the gossip key stopped", "generation", step.Generation, "reason", fault)
			return nil, fault
		}
	}
	reply := &clusterpb.RotateKeyringReply{Keyring: n.keyringState(), Reached: []string{n.options.ID}, Missed: missed}
	var late []string
	for _, m := range others {
		reply.Reached = append(reply.Reached, string(m.ID))
	}
	for _, m := range missed {
		late = append(late, m.Node)
	}
	slices.Sort(reply.Reached)
	n.log.Info("gossip key rotated", "key", reply.Keyring.Primary, "generation", reply.Keyring.Generation, "nodes", reply.Reached, "missed", late, "by", who.Actor())
	return reply, nil
}

// gatherKeyrings takes over the newest keys that any member has, and tells who answers. A
// build that knows no rotation would be left behind, so there is none then.
func (n *Node) gatherKeyrings(ctx context.Context) (others []raft.Server, missed []*clusterpb.MissedNode, fault *Error) {
	for _, r := range askMembers(ctx, n, func(ctx context.Context, node clusterpb.NodeClient) (*clusterpb.Keyring, error) {
		reply, err := node.GetKeyring(ctx, &clusterpb.GetKeyringRequest{})
		if fault := fromFault(reply.GetFault()); fault != nil {
			err = fault
		}
		return reply.GetKeyring(), err
	}) {
		if status.Code(r.err) == codes.Unimplemented {
			return nil, nil, errorf(Unsupported, "The build of node %s knows no rotation of gossip keys.", r.member.ID)
		}
		if r.err == nil {
			_, r.err = n.keyring.replace(r.reply, false)
		}
		if r.err != nil {
			missed = append(missed, &clusterpb.MissedNode{Node: string(r.member.ID), Reason: r.reason()})
			continue
		}
		others = append(others, r.member)
	}
	return others, missed, nil
}

// checkMajority refuses a rotation of a key that most voters would learn of later only.
func (n *Node) checkMajority(key string, others []raft.Server) *Error {
	voters := func(list []raft.Server) (count int) {
		for _, m := range list {
			if m.Suffrage == raft.Voter {
				count++
			}
		}
		return count
	}
	if answering, all := 1+voters(others), voters(n.members()); answering <= all/2 {
		return errorf(RotationIncomplete, "The %s key was not rotated: %d of %d voters answer.", key, answering, all)
	}
	return nil
}

// takeStep has this node and then the others take a step. Who answered before has to.
func (n *Node) takeStep(ctx context.Context, step *clusterpb.Keyring, others []raft.Server) *Error {
	switch done, err := n.keyring.replace(step, true); {
	case err != nil:
		return errorf(RotationIncomplete, "The gossip key was not rotated: node %s could not take generation %d: %v.", n.options.ID, step.Generation, err)
	case !done:
		return errorf(RotationIncomplete, "The gossip key was not rotated: another rotation has come to generation %d.", n.keyring.current().Generation)
	}
	var failed []string
	for _, r := range askMembers(ctx, n, func(ctx context.Context, node clusterpb.NodeClient) (*clusterpb.Keyring, error) {
		return nil, putKeyring(ctx, node, step)
	}) {
		if r.err != nil && slices.ContainsFunc(others, func(m raft.Server) bool { return m.ID == r.member.ID }) {
			failed = append(failed, fmt.Sprintf("%s (%s)", r.member.ID, r.reason()))
		}
	}
	if len(failed) > 0 {
		return errorf(RotationIncomplete, "The gossip key is rotated in part: %d of %d nodes have generation %d, not %s.",
			1+len(others)-len(failed), 1+len(others), step.Generation, strings.Join(failed, ", "))
	}
	return nil
}

func putKeyring(ctx context.Context, node clusterpb.NodeClient, step *clusterpb.Keyring) error {
	reply, err := node.PutKeyring(ctx, &clusterpb.PutKeyringRequest{Keyring: step})
	if fault := fromFault(reply.GetFault()); fault != nil {
		return fault
	}
	return err
}

// asked is what became of asking one member.
type asked[T any] struct {
	member raft.Server
	reply  T
	err    error
}

func (a asked[T]) reason() string { return status.Convert(a.err).Message() }

// askMembers asks all other members at once, each for up to keyringTimeout.
func askMembers[T any](ctx context.Context, n *Node, ask func(context.Context, clusterpb.NodeClient) (T, error)) []asked[T] {
	ctx, cancel := context.WithTimeout(ctx, keyringTimeout)
	defer cancel()
	members := slices.DeleteFunc(slices.Clone(n.members()), func(m raft.Server) bool { return string(m.ID) == n.options.ID })
	all := make([]asked[T], len(members))
	var done sync.WaitGroup
	for i, m := range members {
		all[i].member = m
		done.Go(func() {
			client, err := n.peers.at(string(m.Address))
			if err == nil {
				all[i].reply, err = ask(ctx, client)
			}
			all[i].err = err
		})
	}
	done.Wait()
	return all
}

// spreadKeyring has the leader bring members that missed a rotation up to date, and
// itself, if it is the one that did.
func (n *Node) spreadKeyring(ctx context.Context, answers map[string]probed) {
	if n.keyring == nil || !n.rotating.TryLock() {
		return
	}
	defer n.rotating.Unlock()
	ctx, cancel := context.WithTimeout(ctx, keyringTimeout)
	defer cancel()
	for address, a := range answers {
		own, theirs := n.keyringState(), a.reply.Keyring
		if theirs == nil || theirs.Generation == own.Generation && theirs.Primary == own.Primary && theirs.Other == own.Other {
			continue
		}
		client, err := n.peers.at(address)
		switch {
		case err != nil:
		case theirs.Generation > own.Generation:
			err = n.pullKeyring(ctx, client)
		default:
			err = putKeyring(ctx, client, n.keyring.current())
		}
		if err != nil {
			reason := status.Convert(err).Message()
			n.log.Log(n.refusals.news.level(a.reply.Node, reason), "gossip keys could not be brought in line", "node", a.reply.Node, "reason", reason)
			continue
		}
		n.log.Info("gossip keys brought in line", "node", a.reply.Node, "key", n.keyringState().Primary, "generation", n.keyringState().Generation)
	}
}

func (n *Node) pullKeyring(ctx context.Context, node clusterpb.NodeClient) error {
	reply, err := node.GetKeyring(ctx, &clusterpb.GetKeyringRequest{})
	if fault := fromFault(reply.GetFault()); fault != nil {
		return fault
	}
	if err == nil {
		_, err = n.keyring.replace(reply.Keyring, false)
	}
	return err
}

// GetKeyring implements clusterpb.NodeServer.
func (s *server) GetKeyring(ctx context.Context, _ *clusterpb.GetKeyringRequest) (*clusterpb.GetKeyringReply, error) {
	if fault := s.keyringFault(ctx); fault != nil {
		return &clusterpb.GetKeyringReply{Fault: fault.fault()}, nil
	}
	return &clusterpb.GetKeyringReply{Keyring: s.node.keyring.current()}, nil
}

// PutKeyring implements clusterpb.NodeServer.
func (s *server) PutKeyring(ctx context.Context, request *clusterpb.PutKeyringRequest) (*clusterpb.PutKeyringReply, error) {
	n := s.node
	fault := s.keyringFault(ctx)
	if fault == nil {
		caller, _ := transport.PeerNode(ctx)
		before := n.keyringState()
		done, err := n.keyring.replace(request.Keyring, caller == n.leader.leaderID())
		switch {
		case err != nil:
			fault = errorf(RotationIncomplete, "%v.", err)
		case !done:
			fault = errorf(RotationIncomplete, "Node %s has generation %d already; another rotation is going on.", n.options.ID, before.Generation)
		case before.Primary != gossipKeyID(request.Keyring.Primary):
			n.log.Info("gossip key changed", "key", gossipKeyID(request.Keyring.Primary), "generation", request.Keyring.Generation, "from", caller)
		}
	}
	return &clusterpb.PutKeyringReply{Fault: fault.fault()}, nil
}

// RotateKeyring implements clusterpb.NodeServer.
func (s *server) RotateKeyring(ctx context.Context, request *clusterpb.RotateKeyringRequest) (*clusterpb.RotateKeyringReply, error) {
	reply, fault := s.node.rotateFor(ctx, sentBy("", request.GetPrincipal()))
	if fault != nil {
		return &clusterpb.RotateKeyringReply{Fault: fault.fault()}, nil
	}
	return reply, nil
}

// memberFault keeps keys among members: a node that was removed has its certificate still.
func (s *server) memberFault(ctx context.Context) *Error {
	n := s.node
	caller, ok := transport.PeerNode(ctx)
	if !ok || !slices.ContainsFunc(n.members(), func(m raft.Server) bool { return string(m.ID) == caller }) {
		return errorf(MemberRefused, "Node %s is no member that node %s knows.", caller, n.options.ID)
	}
	return nil
}

func (s *server) keyringFault(ctx context.Context) *Error {
	if fault := s.memberFault(ctx); fault != nil {
		return fault
	}
	if n := s.node; n.keyring == nil {
		return errorf(GossipPlain, "Gossip of node %s is not encrypted.", n.options.ID)
	}
	return nil
}
