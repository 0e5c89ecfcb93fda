package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/cluster/clusterpb"
)

// ErrNotMember is wrapped by the errors of a node that was removed from its cluster or has left it, be it
// that it runs or that it is started again. To come back it needs an empty data directory and a new id.
var ErrNotMember = errors.New("no member of its cluster any more")

// compareClocksEvery is how often a node that does not lead compares clocks, so that its operator
// learns of a wrong one before the node is elected (rule D3).
const compareClocksEvery = 5 * time.Second

// watchMembership follows what becomes of this node in its cluster: that it was removed,
// that it answers at another address than the others think, and that its clock is off.
func (n *Node) watchMembership() {
	var compared time.Time
	warned := false
	for pause(n.ctx, time.Second) {
		if n.gossip != nil {
			n.gossip.join()
		}
		if err := n.peers.keep(n.memberPeers()); err != nil {
			n.log.Debug("closing connections", "reason", err)
		}
		n.findLeaderAPI()
		if n.removed.Load() {
			continue
		}
		switch {
		case n.leader.address() != "":
			n.reached.Store(nil)
			n.joinAgain()
		case n.wasRemoved():
			return
		default:
			n.joinAgain()
		}
		n.followAddress()
		if own, _ := n.server(n.options.ID); n.options.Nonvoter && own.Suffrage == raft.Voter && own.ID != "" && !warned {
			n.log.Warn("this node is a voter and stays one; to make it a replica, let it leave and join under a new node id")
			warned = true
		}
		if n.leadsTerm.Load() == 0 && n.clock.since(compared) >= compareClocksEvery {
			n.checkClock(n.probeMembers(n.ctx, 0))
			compared = n.clock.steady()
		}
	}
}

// joinAgain is for a node whose leader died while it took the node in, and had sent it entries already: it has a log and is bound to no cluster. If
// the others had not decided it, nobody knows of the node, and it would wait for a leader for ever; if they had, it is a member that lacks
// the cluster's id and signing key.
func (n *Node) joinAgain() {
	if cluster, _ := n.identity.cluster(); cluster != "" {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, probeTimeout)
	answers := n.peers.probe(ctx, n.known(), n.probeRequest())
	cancel()
	if _, formed, conflict := n.sort(answers); formed != nil && conflict == "" {
		n.log.Info("joining again, as the leader that took this node in has not answered", "state", n.join(n.ctx, *formed))
	}
}

// wasRemoved asks whether the cluster goes on without this node, and ends it if so. A removed node gets no
// entries any more, the one that removes it included, so it asks when it misses a leader. A
// leader's word counts, whose members are decided and whose term is not older than what this node has seen.
func (n *Node) wasRemoved() bool {
	replies := n.probeLeader()
	n.noteReach(replies)
	for _, r := range replies {
		if r.Leads && !r.Member && r.LastTerm >= n.raft.CurrentTerm() {
			if err := n.identity.leave(); err != nil {
				n.log.Error("the data directory could not be marked", "reason", err)
			}
			n.fail(fmt.Errorf("node %s was removed from the cluster, says its leader %s; to come back, wipe %s and join under a new node id: %w",
				n.options.ID, r.Node, n.options.DataDir, ErrNotMember))
			return true
		}
	}
	return false
}

// reach is how many voters a node without a leader can ask, itself included, of all.
type reach struct{ voters, reached int }

func (n *Node) noteReach(replies []*clusterpb.ProbeReply) {
	now := new(reach)
	for _, m := range n.members() {
		if m.Suffrage != raft.Voter {
			continue
		}
		now.voters++
		answers := func(r *clusterpb.ProbeReply) bool { return r.Node == string(m.ID) }
		if string(m.ID) == n.options.ID || slices.ContainsFunc(replies, answers) {
			now.reached++
		}
	}
	n.reached.Store(now)
}

// leaderless says that no leader is known, and whether a majority is within reach.
func (n *Node) leaderless() *Error {
	r := n.reached.Load()
	if r == nil {
		return errorf(NoLeader, "Node %s knows no leader.", n.options.ID)
	}
	return errorf(NoLeader, "Node %s knows no leader. It reaches %d of %d voters, and %d are needed to elect one.", n.options.ID, r.reached, r.voters, r.voters/2+1)
}

// probeLeader asks every address at which a node of this cluster was ever known, and then the leaders that they name.
func (n *Node) probeLeader() []*clusterpb.ProbeReply {
	cluster, _ := n.identity.cluster()
	asked := n.known()
	for _, m := range n.members() {
		asked = append(asked, string(m.Address))
	}
	var replies []*clusterpb.ProbeReply
	for range 2 {
		slices.Sort(asked)
		asked = slices.DeleteFunc(slices.Compact(asked), func(a string) bool { return a == n.options.Advertise })
		ctx, cancel := context.WithTimeout(n.ctx, probeTimeout)
		answers := n.peers.probe(ctx, asked, n.probeRequest())
		cancel()
		var further []string
		for _, a := range answers {
			if a.reply.Cluster != cluster || !a.reply.Formed || a.reply.Node == n.options.ID {
				continue
			}
			replies = append(replies, a.reply)
			if leader := a.reply.LeaderAddress; leader != "" && !slices.Contains(asked, leader) {
				further = append(further, leader)
			}
		}
		asked = further
	}
	return replies
}

// followAddress tells the leader where this node answers now, if that is not where its members look for it.
func (n *Node) followAddress() {
	own, member := n.server(n.options.ID)
	if !member || string(own.Address) == n.options.Advertise {
		return
	}
	cluster, _ := n.identity.cluster()
	request := &clusterpb.JoinRequest{Node: n.options.ID, Address: n.options.Advertise, Cluster: cluster}
	var leader string
	if n.leadsTerm.Load() == 0 {
		for _, r := range n.probeLeader() {
			if r.Leads {
				leader = r.Address
			}
		}
		if leader == "" {
			return
		}
	}
	fault := n.announce(leader, request)
	if fault != nil && fault.code != notLeader {
		n.log.Warn("the cluster does not take this node's new address", "address", n.options.Advertise, "old", own.Address, "reason", fault)
	}
}

// announce has a leader's members changed; "" is this node itself.
func (n *Node) announce(leader string, request *clusterpb.JoinRequest) *Error {
	if leader == "" {
		return n.move(request)
	}
	ctx, cancel := context.WithTimeout(n.ctx, memberTimeout)
	defer cancel()
	return call(ctx, n.peers, leader, func(ctx context.Context, c clusterpb.NodeClient) (*clusterpb.Fault, error) {
		reply, err := c.Join(ctx, request)
		return reply.GetFault(), err
	})
}

// move gives a member another address, on the leader. Whoever asks has the member's certificate and data;
// two nodes with one id must not run, so the old address must not answer as it.
func (n *Node) move(request *clusterpb.JoinRequest) *Error {
	if n.raft.State() != raft.Leader {
		return errorf(notLeader, "Node %s does not lead.", n.options.ID)
	}
	if own, _ := n.identity.cluster(); own != request.Cluster {
		return errorf(MemberRefused, "Node %s has data of cluster %s; this is %s.", request.Node, request.Cluster, own)
	}
	if m, _ := n.server(request.Node); request.Node != n.options.ID && n.answersAs(string(m.Address), request.Node) {
		return errorf(MemberRefused, "Node %s still answers at %s; stop it there.", request.Node, m.Address)
	}
	n.changing.Lock()
	defer n.changing.Unlock()
	m, member := n.server(request.Node)
	if !member {
		return errorf(MemberNotFound, "No member has the id %q.", request.Node)
	}
	if err := n.checkAddress(request); err != nil {
		return err
	}
	change := n.raft.AddVoter
	if m.Suffrage != raft.Voter {
		change = n.raft.AddNonvoter
	}
	id, address := raftServer(request.Node, request.Address)
	if err := change(id, address, 0, memberTimeout).Error(); err != nil {
		return applyFault(err)
	}
	n.log.Info("member moved", "node", id, "address", address, "old", m.Address, "by", nodeItself(request.Node))
	return nil
}

// checkAddress refuses an address that is another member's.
func (n *Node) checkAddress(request *clusterpb.JoinRequest) *Error {
	for _, m := range n.members() {
		if string(m.Address) == request.Address && string(m.ID) != request.Node {
			return errorf(MemberRefused, "The address %s is that of member %s.", request.Address, m.ID)
		}
	}
	return nil
}

// answersAs reports whether a node answers at an address.
func (n *Node) answersAs(address, id string) bool {
	ctx, cancel := context.WithTimeout(n.ctx, probeTimeout)
	defer cancel()
	answers := n.peers.probe(ctx, []string{address}, n.probeRequest())
	return answers[address].reply.GetNode() == id
}

// server is a member by its id.
func (n *Node) server(id string) (raft.Server, bool) {
	for _, m := range n.members() {
		if string(m.ID) == id {
			return m, true
		}
	}
	return raft.Server{}, false
}

func (n *Node) memberPeers() map[peer]bool {
	peers := map[peer]bool{}
	for _, m := range n.members() {
		peers[peer{string(m.Address), string(m.ID)}] = true
	}
	return peers
}
