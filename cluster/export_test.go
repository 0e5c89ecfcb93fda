package cluster

import (
	"context"
	"crypto/ed25519"
	"maps"
	"slices"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/licet/licet/cluster/clusterpb"
)

// Raft lets tests write what no node would.
func (n *Node) Raft() *raft.Raft { return n.raft }

// Entry is an entry of the node's log.
func (n *Node) Entry(index uint64) (*raft.Log, error) {
	l := new(raft.Log)
	return l, n.store.GetLog(index, l)
}

// Belongs is the id of the cluster that the node knows to have taken it in.
func (n *Node) Belongs() string {
	cluster, _ := n.identity.cluster()
	return cluster
}

// FirstIndex is where the node's log begins.
func (n *Node) FirstIndex() (uint64, error) { return n.store.FirstIndex() }

// Hold keeps entries from being applied until release is called: the node still
// leads, but decides nothing.
func (n *Node) Hold() (release func()) {
	n.replica.mu.Lock()
	return n.replica.mu.Unlock
}

// Move asks this node as a member does that says it has moved.
func (n *Node) Move(id, address, cluster string) error {
	if err := n.move(&clusterpb.JoinRequest{Node: id, Address: address, Cluster: cluster}); err != nil {
		return err
	}
	return nil
}

// Successor is the id of the node that this leader would hand over to, "" if it would leave that to Raft.
func (n *Node) Successor() string {
	s, _ := n.successor()
	return string(s.ID)
}

// GossipSees has the ids of the nodes that gossip knows to be alive, sorted.
func (n *Node) GossipSees() []string {
	n.gossip.alive.mu.Lock()
	defer n.gossip.alive.mu.Unlock()
	return slices.Sorted(maps.Keys(n.gossip.alive.nodes))
}

// GossipKey is the key that the node encrypts gossip with.
func (n *Node) GossipKey() []byte { return n.keyring.list.GetPrimaryKey() }

// RotateGossipKeyAlone has the node take a key that no other has, as if they had missed a rotation.
func (n *Node) RotateGossipKeyAlone() error {
	for range 3 {
		if _, err := n.keyring.replace(nextKeyring(n.keyring.current()), true); err != nil {
			return err
		}
	}
	return nil
}

// CloseStore takes Raft's database away: each operation of it fails from then on.
func (n *Node) CloseStore() error { return n.store.bolt.Close() }

// RemoveSilent has the leader remove a member that autopilot takes for dead.
func (n *Node) RemoveSilent(id string) {
	m, _ := n.server(id)
	n.pilot.RemoveFailedServer(&autopilot.Server{ID: m.ID, Address: m.Address})
}

// Announce has the node say, until it is started again, that it knows neither these kinds of
// commands nor these words, and reads snapshots up to a version.
func (n *Node) Announce(without []int32, words []string, snapshot uint32) {
	own := announcement{Version: "0.0.1-old", Snapshot: snapshot}
	for _, w := range ownWords {
		if w.kind != 0 && !slices.Contains(without, w.kind) {
			own.Kinds = append(own.Kinds, w.kind)
		}
		if !slices.Contains(words, w.name) {
			own.Words = append(own.Words, w.hash)
		}
	}
	own = own.compared()
	n.vocabulary.own.Store(&own)
}

// Hear has the node believe that a member knows all but these kinds.
func (n *Node) Hear(id string, without []int32) {
	a := announcement{Version: "0.0.1-old", Snapshot: foundingSnapshot}
	for _, w := range ownWords {
		if w.kind != 0 && !slices.Contains(without, w.kind) {
			a.Kinds = append(a.Kinds, w.kind)
		}
	}
	if err := n.vocabulary.hear(id, a, func(string) bool { return true }); err != nil {
		panic(err)
	}
}

// Seen is the furthest that this node knows another's state to have been.
func (n *Node) Seen(id string) uint64 { return n.progress.of(id) }

// Witnesses is how many voters this leader would have to ask before it answers a node that is, or is not, in its term.
func (n *Node) Witnesses(asking string, agrees bool) int {
	missing, _ := n.witnesses(asking, agrees)
	return missing
}

// Confirm has a leader prove that nobody leads after a term.
func (n *Node) Confirm(ctx context.Context, term uint64) error {
	if err := n.confirm(ctx, term, "", 0); err != nil {
		return err
	}
	return nil
}

// SentBy and PrincipalProto are how nodes tell each other who asks.
var (
	SentBy         = sentBy
	PrincipalProto = principalProto
)

// ShareSigningKey has the members keep a new signing key, as a leader does that ends before the state names it.
func (n *Node) ShareSigningKey(ctx context.Context, key ed25519.PrivateKey) error {
	if _, _, fault := n.shareSigningKey(ctx, key); fault != nil {
		return fault
	}
	return nil
}

// SigningKeys has the ids of the private keys that the node has.
func (n *Node) SigningKeys() []string { return n.identity.signingKeys().ids() }

// KnowsAll reports whether the node has heard of every voter what it reads, and each reads all.
func (n *Node) KnowsAll() bool { return n.gate() == nil }
