package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// SigningKeyRotation is what came of a rotation of the cluster's signing key.
type SigningKeyRotation struct {
	// ID is the new key's.
	ID string
	// Reached are the members that have its private half; Missed those that did not answer, and why. They get it through
	// the node port when they do.
	Reached []string
	Missed  map[string]string
}

// RotateSigningKey has the cluster sign with a new key, through whichever node leads; what was signed stays good. The leader judges whether
// the principal may. After one that was interrupted, a further one is as good.
//
// Errors are *Error: RotationIncomplete if a member that answers could not take the key, SigningKeyLimitReached if there are as
// many as may; the cluster goes on with the former one, and repeating is safe. Safe for concurrent use.
func (n *Node) RotateSigningKey(ctx context.Context, p fsm.Principal, requestID string) (SigningKeyRotation, error) {
	var reply *clusterpb.RotateSigningKeyReply
	err := n.onLeader(ctx,
		func() *Error {
			var fault *Error
			reply, fault = n.rotateSigningHere(ctx, p, requestID)
			return fault
		},
		func(ctx context.Context, leader clusterpb.NodeClient) (*clusterpb.Fault, error) {
			var err error
			reply, err = leader.RotateSigningKey(ctx, &clusterpb.RotateSigningKeyRequest{Principal: principalProto(p), RequestId: requestID})
			return reply.GetFault(), err
		})
	if err != nil {
		return SigningKeyRotation{}, err
	}
	r := SigningKeyRotation{ID: reply.Key, Reached: reply.Reached, Missed: map[string]string{}}
	for _, m := range reply.Missed {
		r.Missed[m.Node] = m.Reason
	}
	return r, nil
}

// SigningKeyHolder is a member and the private halves that it has.
type SigningKeyHolder struct {
	ID string
	// Answered is false if the member did not; what it has is then unknown.
	Answered bool
	// Keys are the ids of the keys.
	Keys []string
}

// SigningKeyHolders says which member has the private half of which signing key, by asking all of them, sorted by id. Errors
// are *Error. Safe for concurrent use.
func (n *Node) SigningKeyHolders(ctx context.Context) ([]SigningKeyHolder, error) {
	if !n.formed() {
		return nil, errorf(NotReady, "Node %s does not belong to a cluster yet.", n.options.ID)
	}
	answers := n.probeMembers(ctx, 0)
	var list []SigningKeyHolder
	for _, m := range n.members() {
		holder := SigningKeyHolder{ID: string(m.ID)}
		if a, ok := answers[string(m.Address)]; ok {
			holder.Answered, holder.Keys = true, a.reply.SigningKeys
		}
		if holder.ID == n.options.ID {
			holder.Answered, holder.Keys = true, n.identity.signingKeys().ids()
		}
		list = append(list, holder)
	}
	slices.SortFunc(list, func(a, b SigningKeyHolder) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// rotateSigningHere rotates on the leader, one rotation at a time. The members have the private half on disk before the state names the
// public one; a leader that ends in between leaves a key that nothing was signed with, and the next rotation makes another.
func (n *Node) rotateSigningHere(ctx context.Context, who fsm.Principal, requestID string) (*clusterpb.RotateSigningKeyReply, *Error) {
	n.rotating.Lock()
	defer n.rotating.Unlock()
	term := n.leadsTerm.Load()
	if term == 0 {
		return nil, errorf(notLeader, "Node %s does not lead.", n.options.ID)
	}
	// A node that was deposed and does not know yet must not hand out keys.
	if err := n.raft.VerifyLeader().Error(); err != nil {
		return nil, applyFault(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, errorf(StorageFailed, "No key could be made: %v.", err)
	}
	command, fault := n.signingKeyCommand(key, who, requestID)
	if fault != nil {
		return nil, fault
	}
	reached, missed, fault := n.shareSigningKey(ctx, key)
	if fault != nil {
		n.log.Warn("rotation of the signing key stopped", "key", signed.KeyID(publicOf(key)), "reason", fault)
		return nil, fault
	}
	outcomes, fault := n.commit(term, []*fsmpb.Command{command}, 0, nil)
	if fault != nil {
		return nil, fault
	}
	if r := outcomes[0].Refusal; r != nil {
		return nil, refusedHere(r)
	}
	reply := &clusterpb.RotateSigningKeyReply{Key: signed.KeyID(publicOf(key)), Reached: reached, Missed: missed}
	n.log.Info("signing key rotated", "key", reply.Key, "nodes", reached, "missed", len(missed), "by", who.Actor())
	return reply, nil
}

// signingKeyCommand makes the command that names a key, and sees that it may be decided and would be granted.
func (n *Node) signingKeyCommand(key ed25519.PrivateKey, who fsm.Principal, requestID string) (*fsmpb.Command, *Error) {
	body := &fsmpb.Body{Kind: &fsmpb.Body_AddSigningKey{AddSigningKey: &fsmpb.AddSigningKey{Key: publicOf(key)}}}
	if fault := n.gate().refuse(body); fault != nil {
		return nil, fault
	}
	command, err := fsm.NewCommand(who.Actor(), requestID, body)
	if err != nil {
		return nil, errorf(Unsupported, "%v", err)
	}
	if fault := n.judge(&proposal{principal: who, command: command}); fault != nil {
		return nil, fault
	}
	o, err := n.replica.view.Load().DryRun(command, n.clock.wall().UnixMilli())
	if err != nil {
		return nil, errorf(Unsupported, "%v", err)
	}
	if o.Refusal != nil {
		return nil, refusedHere(o.Refusal)
	}
	return command, nil
}

// refusedHere is a refusal of the state as an answer of a node.
func refusedHere(r *fsmpb.Refusal) *Error {
	if fsm.Code(r.Code) == fsm.SigningKeyLimitReached {
		return errorf(SigningKeyLimitReached, "%s", fsm.Detail(r))
	}
	return errorf(RotationIncomplete, "The signing key was not rotated: %s", fsm.Detail(r))
}

// shareSigningKey has this node and all others that answer keep a private key: a majority of the voters, or it is refused.
func (n *Node) shareSigningKey(ctx context.Context, key ed25519.PrivateKey) (reached []string, missed []*clusterpb.MissedNode, fault *Error) {
	if err := n.identity.keepSigningKey(key, n.replica.view.Load()); err != nil {
		return nil, nil, errorf(RotationIncomplete, "The signing key was not rotated: node %s could not keep it: %v.", n.options.ID, err)
	}
	text, err := signed.EncodePrivateKey(key)
	if err != nil {
		return nil, nil, errorf(StorageFailed, "%v.", err)
	}
	var others []raft.Server
	var failed []string
	reached = []string{n.options.ID}
	for _, r := range askMembers(ctx, n, func(ctx context.Context, node clusterpb.NodeClient) (struct{}, error) {
		return struct{}{}, putSigningKey(ctx, node, text)
	}) {
		switch _, refused := r.err.(*Error); { //nolint:errorlint // It is not wrapped.
		case status.Code(r.err) == codes.Unimplemented:
			return nil, nil, errorf(Unsupported, "The build of node %s knows no rotation of signing keys.", r.member.ID)
		case refused:
			failed = append(failed, fmt.Sprintf("%s (%s)", r.member.ID, r.reason()))
		case r.err != nil:
			missed = append(missed, &clusterpb.MissedNode{Node: string(r.member.ID), Reason: r.reason()})
		default:
			others, reached = append(others, r.member), append(reached, string(r.member.ID))
		}
	}
	if len(failed) > 0 {
		return nil, nil, errorf(RotationIncomplete, "The signing key was not rotated: it could not be kept by %s.", strings.Join(failed, ", "))
	}
	slices.Sort(reached)
	return reached, missed, n.checkMajority("signing", others)
}

func putSigningKey(ctx context.Context, node clusterpb.NodeClient, key []byte) error {
	reply, err := node.PutSigningKey(ctx, &clusterpb.PutSigningKeyRequest{SigningKey: key})
	if fault := fromFault(reply.GetFault()); fault != nil {
		return fault
	}
	return err
}

// spreadSigningKey has the leader give members the current key that they missed, or get it from one that has it, if it is the leader
// that did.
func (n *Node) spreadSigningKey(ctx context.Context, answers map[string]probed) {
	v := n.replica.view.Load()
	if len(v.SigningKeys()) == 0 || !n.rotating.TryLock() {
		return
	}
	defer n.rotating.Unlock()
	ctx, cancel := context.WithTimeout(ctx, keyringTimeout)
	defer cancel()
	current := v.SigningKeys()[0]
	id, own := signed.KeyID(current), n.identity.signingKeys().of(current)
	for address, a := range answers {
		has := slices.Contains(a.reply.SigningKeys, id)
		// Builds that know no rotation name no keys.
		if len(a.reply.SigningKeys) == 0 || has == (own != nil) {
			continue
		}
		client, err := n.peers.at(address)
		if err == nil {
			err = n.bringInLine(ctx, client, own, id, v)
		}
		if err != nil {
			reason := status.Convert(err).Message()
			n.log.Log(n.refusals.news.level(a.reply.Node, reason), "signing keys could not be brought in line", "node", a.reply.Node, "reason", reason)
			continue
		}
		own = n.identity.signingKeys().of(current)
		n.log.Info("signing keys brought in line", "node", a.reply.Node, "key", id)
	}
}

// bringInLine gives a member this node's key; without one, it gets the member's.
func (n *Node) bringInLine(ctx context.Context, node clusterpb.NodeClient, own ed25519.PrivateKey, id string, v *fsm.View) error {
	if own != nil {
		text, err := signed.EncodePrivateKey(own)
		if err != nil {
			return err
		}
		return putSigningKey(ctx, node, text)
	}
	reply, err := node.GetSigningKey(ctx, &clusterpb.GetSigningKeyRequest{Key: id})
	if fault := fromFault(reply.GetFault()); fault != nil {
		return fault
	}
	if err != nil {
		return err
	}
	key, err := signed.ParsePrivateKey(reply.SigningKey)
	if err != nil {
		return err
	}
	return n.identity.keepSigningKey(key, v)
}

// watchSigningKeys forgets private keys that the cluster does not sign with any more.
func (n *Node) watchSigningKeys() {
	for pause(n.ctx, guardEvery) {
		forgotten, err := n.identity.forgetFormerKeys(n.replica.view.Load())
		if err != nil {
			n.fail(fmt.Errorf("the data directory can't be written: %w; %s", err, remedy(err)))
			return
		}
		if len(forgotten) > 0 {
			n.log.Info("former signing keys forgotten", "keys", forgotten)
		}
	}
}

// GetSigningKey implements clusterpb.NodeServer.
func (s *server) GetSigningKey(ctx context.Context, request *clusterpb.GetSigningKeyRequest) (*clusterpb.GetSigningKeyReply, error) {
	if fault := s.memberFault(ctx); fault != nil {
		return &clusterpb.GetSigningKeyReply{Fault: fault.fault()}, nil
	}
	for _, key := range s.node.identity.signingKeys().private {
		if signed.KeyID(publicOf(key)) == request.Key {
			text, err := signed.EncodePrivateKey(key)
			return &clusterpb.GetSigningKeyReply{SigningKey: text}, err
		}
	}
	fault := errorf(NotReady, "Node %s does not have signing key %.40q.", s.node.options.ID, request.Key)
	return &clusterpb.GetSigningKeyReply{Fault: fault.fault()}, nil
}

// PutSigningKey implements clusterpb.NodeServer.
func (s *server) PutSigningKey(ctx context.Context, request *clusterpb.PutSigningKeyRequest) (*clusterpb.PutSigningKeyReply, error) {
	n := s.node
	fault := s.memberFault(ctx)
	if fault == nil {
		key, err := signed.ParsePrivateKey(request.SigningKey)
		if err == nil {
			err = n.identity.keepSigningKey(key, n.replica.view.Load())
		}
		if err != nil {
			fault = errorf(RotationIncomplete, "%v.", err)
		}
	}
	return &clusterpb.PutSigningKeyReply{Fault: fault.fault()}, nil
}

// RotateSigningKey implements clusterpb.NodeServer.
func (s *server) RotateSigningKey(ctx context.Context, request *clusterpb.RotateSigningKeyRequest) (*clusterpb.RotateSigningKeyReply, error) {
	reply, fault := s.node.rotateSigningHere(ctx, principalFrom(request.Principal), request.RequestId)
	if fault != nil {
		return &clusterpb.RotateSigningKeyReply{Fault: fault.fault()}, nil
	}
	return reply, nil
}
