package cluster

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm/signed"
)

// formEvery is the pause between two attempts to form or join a cluster.
const formEvery = 250 * time.Millisecond

// form brings a node without data into a cluster: into the one that its peers
// belong to, or into a new one when as many as expected are there and none has data. It
// returns when the node has a log.
//
// The lowest node id founds. It needs a promise, kept on disk, from each of the
// others, so that nodes that see different peers can't found two clusters; a
// node with data promises nothing, so that no founder starts afresh beside a
// surviving minority (hashicorp/raft #122).
func (n *Node) form(ctx context.Context) {
	for said := ""; !n.formed(); {
		state := n.formOnce(ctx)
		if state != said && state != "" {
			n.log.Info("forming", "state", state)
			said = state
		}
		if !pause(ctx, formEvery) {
			return
		}
	}
}

// formOnce makes one attempt and says where it stands.
func (n *Node) formOnce(ctx context.Context) string {
	if n.gossip != nil {
		n.gossip.join()
	}
	addresses := n.known()
	probing, cancel := context.WithTimeout(ctx, probeTimeout)
	answers := n.peers.probe(probing, addresses, n.probeRequest())
	cancel()
	fresh, formed, conflict := n.sort(answers)
	switch {
	case conflict != "":
		return conflict
	case formed != nil:
		return n.join(ctx, *formed)
	case n.options.Nonvoter:
		return "waiting for a cluster to join; a node that never votes founds none"
	}
	if len(answers) < len(addresses) {
		// A peer that is silent may belong to a cluster.
		return fmt.Sprintf("%d of %d peers answer; waiting for %s", len(answers), len(addresses), strings.Join(silent(addresses, answers), ", "))
	}
	if len(fresh)+1 < n.options.Expect {
		return fmt.Sprintf("%d of %d expected nodes are there", len(fresh)+1, n.options.Expect)
	}
	return n.foundIfLowest(ctx, fresh)
}

// sort tells nodes without data from one that belongs to a cluster, and says
// what keeps this node from going with either.
func (n *Node) sort(answers map[string]probed) (fresh []*clusterpb.ProbeReply, formed *probed, conflict string) {
	for _, address := range slices.Sorted(maps.Keys(answers)) {
		a := answers[address]
		switch r := a.reply; {
		case r.Node == n.options.ID && r.Address == n.options.Advertise:
			// This node itself, by another name of its address.
		case r.Node == n.options.ID:
			return nil, nil, fmt.Sprintf("node id %s is also used by the node at %s; ids must differ", r.Node, address)
		case r.Formed && formed != nil && formed.reply.Cluster != r.Cluster:
			return nil, nil, fmt.Sprintf("%s belongs to cluster %s and %s to %s; name peers of one cluster only",
				formed.reply.Node, formed.reply.Cluster, r.Node, r.Cluster)
		case r.Formed:
			formed = &a
		case r.Nonvoter:
			// It waits for a cluster, and is none of those that form it.
		case int(r.Expect) != n.options.Expect:
			conflict = fmt.Sprintf("%s expects %d nodes, this one %d; they must agree", r.Node, r.Expect, n.options.Expect)
		default:
			fresh = append(fresh, r)
		}
	}
	if formed != nil {
		conflict = ""
	}
	return fresh, formed, conflict
}

// known are the node addresses of all peers, from the configuration and from gossip.
func (n *Node) known() []string {
	list := slices.Clone(n.options.Peers)
	if n.gossip != nil {
		list = append(list, n.gossip.addresses()...)
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(a string) bool { return a == n.options.Advertise })
}

// silent are the addresses that did not answer. Refusals tells of those that never will.
func silent(addresses []string, answers map[string]probed) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { _, answered := answers[a]; return answered })
}

// foundIfLowest founds if this node's id is the lowest of those that found together.
func (n *Node) foundIfLowest(ctx context.Context, fresh []*clusterpb.ProbeReply) string {
	slices.SortFunc(fresh, func(a, b *clusterpb.ProbeReply) int { return strings.Compare(a.Node, b.Node) })
	others := fresh[:n.options.Expect-1]
	if len(others) > 0 && others[0].Node < n.options.ID {
		return "waiting for " + others[0].Node + " to found the cluster"
	}
	if err := n.found(ctx, others); err != nil {
		return "the cluster can't be founded yet: " + err.Error()
	}
	return ""
}

// found gathers the promises and bootstraps Raft on this node; the others take
// the log from it.
func (n *Node) found(ctx context.Context, others []*clusterpb.ProbeReply) error {
	n.forming.Lock()
	defer n.forming.Unlock()
	cluster, founder := n.identity.cluster()
	signing := n.identity.signingKeys()
	switch {
	case len(n.options.VendorKeys) == 0:
		return errors.New("cluster.vendor_keys is empty, so that no contract could ever be accepted")
	case founder != "" && founder != n.options.ID:
		return fmt.Errorf("this node is promised to %s", founder)
	case founder == "" || signing.private == nil:
		var err error
		if cluster, signing, err = newCluster(signing); err != nil {
			return err
		}
		if err := n.identity.bind(cluster, n.options.ID, signing); err != nil {
			return err
		}
	}
	for _, other := range others {
		if err := n.gather(ctx, other, cluster, signing); err != nil {
			n.release(ctx, others, cluster)
			return err
		}
	}
	id, address := raftServer(n.options.ID, n.options.Advertise)
	servers := []raft.Server{{ID: id, Address: address}}
	for _, other := range others {
		id, address := raftServer(other.Node, other.Address)
		servers = append(servers, raft.Server{ID: id, Address: address})
	}
	n.log.Info("founding", "cluster", cluster, "nodes", len(servers))
	return n.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error()
}

// resumeFounding clears what a founder left that died between the two writes of
// Raft's bootstrap, the term and the first entry: Raft would call that term data
// of an old cluster and refuse to bootstrap for ever. Nobody but the founder can have
// begun that term, and a vote in it says that it went on.
func (n *Node) resumeFounding() error {
	if _, founder := n.identity.cluster(); founder != n.options.ID {
		return nil
	}
	voted, err := n.storedTerm(lastVoteTerm)
	if err != nil {
		return err
	}
	last, err := n.store.LastIndex()
	if err != nil {
		return err
	}
	list, err := n.snapshots.List()
	if err != nil {
		return err
	}
	term, err := n.storedTerm(currentTerm)
	if err != nil || term != 1 || voted != 0 || last != 0 || len(list) != 0 {
		return err
	}
	n.log.Info("founding was interrupted and begins again")
	return n.store.SetUint64([]byte(currentTerm), 0)
}

// currentTerm and lastVoteTerm are where Raft stores its terms.
const (
	currentTerm  = "CurrentTerm"
	lastVoteTerm = "LastVoteTerm"
)

// storedTerm is 0 if none is stored.
func (n *Node) storedTerm(key string) (uint64, error) {
	term, err := n.store.GetUint64([]byte(key))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, nil
	}
	return term, err
}

// newCluster makes an identity. A key that was put into the founder's directory is taken: a cluster that is to have the contents of a
// lost one may have its signing key, too.
func newCluster(given signingKeys) (id string, signing signingKeys, err error) {
	var key ed25519.PrivateKey
	if have := given.private; have != nil {
		key = have[len(have)-1]
	} else if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return "", signing, err
	}
	if signing, err = newSigningKeys(key, nil); err != nil {
		return "", signing, err
	}
	made, err := ulid.New(ulid.Now(), rand.Reader)
	return made.String(), signing, err
}

func (n *Node) gather(ctx context.Context, other *clusterpb.ProbeReply, cluster string, signing signingKeys) error {
	key, err := signed.EncodePrivateKey(signing.private[0])
	if err != nil {
		return err
	}
	client, err := n.peers.at(other.Address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	reply, err := client.Promise(ctx, &clusterpb.PromiseRequest{Cluster: cluster, Founder: n.options.ID, SigningKey: key})
	if err != nil {
		return fmt.Errorf("node %s did not promise itself: %w", other.Node, err)
	}
	if !reply.Promised {
		return fmt.Errorf("%s", reply.Reason)
	}
	return nil
}

// release takes back what was promised for a cluster that was not founded. A
// promise that can't be taken back now stays for this founder's next attempt.
func (n *Node) release(ctx context.Context, others []*clusterpb.ProbeReply, cluster string) {
	if err := n.identity.release(cluster); err != nil {
		n.log.Error("the promise could not be taken back", "reason", err)
		return
	}
	for _, other := range others {
		client, err := n.peers.at(other.Address)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		if _, err := client.Promise(ctx, &clusterpb.PromiseRequest{Cluster: cluster, Founder: n.options.ID, Release: true}); err != nil {
			n.log.Debug("a promise was not taken back", "node", other.Node, "reason", err)
		}
		cancel()
	}
}

// join asks a cluster to take this node in.
func (n *Node) join(ctx context.Context, a probed) string {
	cluster, founder := n.identity.cluster()
	if cluster == a.reply.Cluster && cluster != "" {
		if founder == n.options.ID {
			return fmt.Sprintf("cluster %s has gone on without this founder's data; wipe its data directory and join under a new node id", cluster)
		}
		return "waiting for the log of cluster " + cluster
	}
	if cluster != "" {
		return fmt.Sprintf("this node is promised to cluster %s, but %s belongs to %s; wipe its data directory to join that one", cluster, a.reply.Node, a.reply.Cluster)
	}
	if a.reply.LeaderAddress == "" {
		return fmt.Sprintf("cluster %s has no leader now", a.reply.Cluster)
	}
	ctx, cancel := context.WithTimeout(ctx, memberTimeout)
	defer cancel()
	client, err := n.peers.at(a.reply.LeaderAddress)
	if err != nil {
		return err.Error()
	}
	reply, err := client.Join(ctx, &clusterpb.JoinRequest{Node: n.options.ID, Address: n.options.Advertise, Token: n.options.JoinToken})
	if err != nil {
		return "joining: " + err.Error()
	}
	if fault := fromFault(reply.Fault); fault != nil {
		if fault.code == notLeader {
			return "looking for the leader of cluster " + a.reply.Cluster
		}
		return "joining: " + fault.Error() + " " + fault.Next()
	}
	key, err := signed.ParsePrivateKey(reply.SigningKey)
	if err != nil {
		return "joining: " + err.Error()
	}
	keys, err := newSigningKeys(key, reply.Derivation)
	if err != nil {
		return "joining: " + err.Error()
	}
	if err := n.identity.bind(reply.Cluster, "", keys); err != nil {
		n.fail(fmt.Errorf("the node's identity can't be written: %w", err))
		return ""
	}
	return "joined cluster " + reply.Cluster
}
