package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/cluster/clusterpb"
)

// errTurnedBack says that a data directory lacks entries that the node is known to have had.
var errTurnedBack = errors.New("the data directory was turned back in time")

// progress remembers how far each other member had applied the log when it last said so. What a node has
// applied is on its disk (rule E3), so one that starts with less has forgotten what it confirmed: an older copy of its
// directory was put in place, or its disk lost what it had called written. With its vote an acknowledged write
// could be lost. It is kept in memory alone: nodes that are all down at once remember nothing. Safe
// for concurrent use.
type progress struct {
	mu      sync.Mutex
	applied map[string]uint64
}

// note takes what a node says of itself, and forgets who is no member any more.
func (p *progress) note(node string, applied uint64, members []raft.Server) {
	is := func(id string) bool {
		return slices.ContainsFunc(members, func(m raft.Server) bool { return string(m.ID) == id })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.applied {
		if !is(id) {
			delete(p.applied, id)
		}
	}
	if is(node) {
		if p.applied == nil {
			p.applied = map[string]uint64{}
		}
		p.applied[node] = max(p.applied[node], applied)
	}
}

// of is the furthest that a node is known to have come; 0 if nothing is known of it.
func (p *progress) of(node string) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied[node]
}

// refuseOlderData asks the others, before this node votes or confirms anything, whether it had come further than its data
// say. It returns errTurnedBack if so, and nil if nobody answers in time.
func (n *Node) refuseOlderData() error {
	last, err := n.store.LastIndex()
	if err != nil {
		return err
	}
	addresses := slices.Clone(n.options.Peers)
	list, err := n.snapshots.List()
	if err != nil {
		return err
	}
	if len(list) > 0 {
		last = max(last, list[0].Index)
		for _, m := range list[0].Configuration.Servers {
			addresses = append(addresses, string(m.Address))
		}
	}
	if last == 0 {
		return nil
	}
	slices.Sort(addresses)
	addresses = slices.DeleteFunc(slices.Compact(addresses), func(a string) bool { return a == n.options.Advertise })
	cluster, _ := n.identity.cluster()
	ctx, cancel := context.WithTimeout(n.ctx, probeTimeout)
	defer cancel()
	for _, a := range n.peers.probe(ctx, addresses, &clusterpb.ProbeRequest{Node: n.options.ID}) {
		if seen := a.reply.SeenIndex; a.reply.Cluster == cluster && seen > last {
			return fmt.Errorf("%w: %s ends with entry %d, and node %s saw this node at entry %d. An older copy was put in its place, or its disk lost what it had "+
				"called written; wipe it and join again under a new node id", errTurnedBack, n.options.DataDir, last, a.reply.Node, seen)
		}
	}
	return nil
}

// probeRequest asks a node how it is, and says how far this one is.
func (n *Node) probeRequest() *clusterpb.ProbeRequest {
	return &clusterpb.ProbeRequest{Node: n.options.ID, AppliedIndex: n.replica.view.Load().Index()}
}
