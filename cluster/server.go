package cluster

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

// server answers other nodes. Its port admits nobody without a node's certificate.
type server struct {
	clusterpb.UnimplementedNodeServer
	node *Node
}

// Probe implements clusterpb.NodeServer.
func (s *server) Probe(ctx context.Context, request *clusterpb.ProbeRequest) (*clusterpb.ProbeReply, error) {
	n := s.node
	view := n.replica.view.Load()
	cluster, _ := n.identity.cluster()
	own := n.vocabulary.own.Load()
	reply := &clusterpb.ProbeReply{
		Node: n.options.ID, Site: n.options.Site, Address: n.options.Advertise, HttpAddress: n.options.HTTPAdvertise, Version: own.Version,
		Cluster: cluster, Formed: n.formed(), Expect: uint32(n.options.Expect), //nolint:gosec // G115: it was held to its bounds when it was read
		WallMs: n.clock.wall().UnixMilli(), ContactMs: -1,
		LastTerm: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex(), AppliedIndex: view.Index(), Digest: view.Digest().String(),
		Kinds: own.Kinds, Words: own.Words, SnapshotVersion: own.Snapshot, LeaderAddress: n.leader.address(), Keyring: n.keyringState(),
		SigningKeys: n.identity.signingKeys().ids(),
	}
	before := request.BeforeTerm
	if before == 0 {
		before = 1<<64 - 1
	}
	if heard := n.contact.lastBefore(before); !heard.IsZero() {
		reply.ContactMs = max(0, n.clock.since(heard).Milliseconds())
	}
	members, decided := n.configuration()
	for _, m := range members {
		reply.Member = reply.Member || string(m.ID) == request.Node
	}
	if caller, ok := transport.PeerNode(ctx); ok {
		n.progress.note(caller, request.AppliedIndex, members)
		reply.SeenIndex = n.progress.of(caller)
	}
	reply.Leads = decided && n.leadsTerm.Load() != 0
	reply.Nonvoter, reply.PreferredSites = n.options.Nonvoter, n.policy.Load().PreferredSites
	return reply, nil
}

// Promise implements clusterpb.NodeServer. A node without data promises itself to
// one founder at a time, on disk; so no two founders can both gather all they need.
func (s *server) Promise(ctx context.Context, request *clusterpb.PromiseRequest) (*clusterpb.PromiseReply, error) {
	n := s.node
	n.forming.Lock()
	defer n.forming.Unlock()
	if caller, ok := transport.PeerNode(ctx); !ok || caller != request.Founder {
		return &clusterpb.PromiseReply{Reason: fmt.Sprintf("node %s asks in the name of %s", caller, request.Founder)}, nil
	}
	cluster, founder := n.identity.cluster()
	switch {
	case n.formed():
		return &clusterpb.PromiseReply{Reason: fmt.Sprintf("node %s has data of cluster %s", n.options.ID, cluster)}, nil
	case founder != "" && founder != request.Founder:
		return &clusterpb.PromiseReply{Reason: fmt.Sprintf("node %s is promised to %s", n.options.ID, founder)}, nil
	case request.Release:
		return &clusterpb.PromiseReply{}, n.identity.release(request.Cluster)
	}
	key, err := signed.ParsePrivateKey(request.SigningKey)
	if err != nil {
		return nil, err
	}
	keys, err := newSigningKeys(key, nil)
	if err != nil {
		return nil, err
	}
	if err := n.identity.bind(request.Cluster, request.Founder, keys); err != nil {
		n.fail(fmt.Errorf("the node's identity can't be written: %w", err))
		return nil, err
	}
	return &clusterpb.PromiseReply{Promised: true}, nil
}

// Join implements clusterpb.NodeServer. The certificate says who asks.
func (s *server) Join(ctx context.Context, request *clusterpb.JoinRequest) (*clusterpb.JoinReply, error) {
	if caller, ok := transport.PeerNode(ctx); !ok || caller != request.Node {
		return &clusterpb.JoinReply{Fault: errorf(MemberRefused, "Node %s asks in the name of %s.", caller, request.Node).fault()}, nil
	}
	return s.node.admit(request)
}

// Remove implements clusterpb.NodeServer.
func (s *server) Remove(_ context.Context, request *clusterpb.RemoveRequest) (*clusterpb.RemoveReply, error) {
	return &clusterpb.RemoveReply{Fault: s.node.removeFor(sentBy(request.GetActor(), request.GetPrincipal()), request.Node).fault()}, nil
}

// Transfer implements clusterpb.NodeServer.
func (s *server) Transfer(_ context.Context, request *clusterpb.TransferRequest) (*clusterpb.TransferReply, error) {
	return &clusterpb.TransferReply{Fault: s.node.transferFor(sentBy(request.GetActor(), request.GetPrincipal()), request.Node).fault()}, nil
}

// formed reports whether the node has a log or a snapshot of a cluster.
func (n *Node) formed() bool { return n.raft.LastIndex() > 0 }

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return key.Public().(ed25519.PublicKey)
}

func raftServer(id, address string) (raft.ServerID, raft.ServerAddress) {
	return raft.ServerID(id), raft.ServerAddress(address)
}
