package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Gossip is how nodes learn each other's addresses. It is a hint and never an
// authority: it adds, promotes and removes nobody.
type Gossip struct {
	// Listen and Advertise are ip:port, used for UDP and TCP.
	Listen, Advertise string
	// Seeds are gossip addresses of other nodes.
	Seeds []string
	// Key of 16, 24 or 32 bytes is the first one that encrypts gossip, see keyring; nil
	// leaves it plain.
	Key []byte
}

// gossipMeta is what a node tells about itself, at most memberlist.MetaMaxSize bytes.
type gossipMeta struct {
	Address string `json:"a"`
	Site    string `json:"s"`
}

// gossip runs memberlist. Safe for concurrent use.
type gossip struct {
	list  *memberlist.Memberlist
	alive *gossipNodes
	seeds []string
	log   hclog.Logger
}

// startGossip encrypts with keys, unless that is nil.
func startGossip(o Options, keys *keyring, log hclog.Logger) (*gossip, error) {
	meta, err := json.Marshal(gossipMeta{Address: o.Advertise, Site: o.Site})
	if err != nil {
		return nil, err
	}
	c := memberlist.DefaultLANConfig()
	c.Name = o.ID
	if c.BindAddr, c.BindPort, err = splitAddress(o.Gossip.Listen); err != nil {
		return nil, fmt.Errorf("gossip.listen: %w", err)
	}
	if c.AdvertiseAddr, c.AdvertisePort, err = splitAddress(o.Gossip.Advertise); err != nil {
		return nil, fmt.Errorf("gossip.advertise: %w", err)
	}
	if keys != nil {
		c.Keyring = keys.list
	}
	c.Delegate = gossipDelegate{meta}
	c.Conflict = gossipConflict{log}
	alive := &gossipNodes{nodes: map[string]gossipNode{}}
	c.Events = alive
	c.Logger = newGossipLog(log)
	list, err := memberlist.Create(c)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return &gossip{list: list, alive: alive, seeds: o.Gossip.Seeds, log: log}, nil
}

func splitAddress(address string) (string, int, error) {
	at, err := netip.ParseAddrPort(address)
	return at.Addr().String(), int(at.Port()), err
}

// join contacts the seeds that are not known yet.
func (g *gossip) join() {
	known := map[string]bool{}
	for _, n := range g.alive.list() {
		known[n.gossip] = true
	}
	var missing []string
	for _, seed := range g.seeds {
		if !known[seed] {
			missing = append(missing, seed)
		}
	}
	if len(missing) == 0 {
		return
	}
	if _, err := g.list.Join(missing); err != nil {
		g.log.Debug("no seed answers", "seeds", missing, "reason", err)
	}
}

// addresses are the node addresses of all that gossip knows to be alive, this one included.
func (g *gossip) addresses() []string {
	var list []string
	for _, n := range g.alive.list() {
		if n.address != "" {
			list = append(list, n.address)
		}
	}
	return list
}

// gossipNodes are the nodes that gossip knows to be alive, by id. They are
// copied when memberlist tells of them, because it changes those of its own list
// under the reader's hands. Safe for concurrent use.
type gossipNodes struct {
	mu    sync.Mutex
	nodes map[string]gossipNode
}

// gossipNode has a node's gossip address, and its node address as far as it told.
type gossipNode struct{ gossip, address string }

var _ memberlist.EventDelegate = (*gossipNodes)(nil)

// NotifyJoin implements memberlist.EventDelegate.
func (a *gossipNodes) NotifyJoin(n *memberlist.Node) {
	var meta gossipMeta
	// What can't be read tells nothing.
	_ = json.Unmarshal(n.Meta, &meta)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nodes[n.Name] = gossipNode{gossip: n.Address(), address: meta.Address}
}

// NotifyUpdate implements memberlist.EventDelegate.
func (a *gossipNodes) NotifyUpdate(n *memberlist.Node) { a.NotifyJoin(n) }

// NotifyLeave implements memberlist.EventDelegate.
func (a *gossipNodes) NotifyLeave(n *memberlist.Node) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.nodes, n.Name)
}

func (a *gossipNodes) list() []gossipNode {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.nodes))
}

func (g *gossip) stop() error {
	if err := g.list.Leave(time.Second); err != nil {
		g.log.Debug("the others were not told of the leave", "reason", err)
	}
	return g.list.Shutdown()
}

// gossipDelegate hands out the node's own description and has nothing to say otherwise.
type gossipDelegate struct{ meta []byte }

func (d gossipDelegate) NodeMeta(limit int) []byte {
	if len(d.meta) > limit {
		return nil
	}
	return d.meta
}
func (gossipDelegate) NotifyMsg([]byte)                {}
func (gossipDelegate) GetBroadcasts(int, int) [][]byte { return nil }
func (gossipDelegate) LocalState(bool) []byte          { return nil }
func (gossipDelegate) MergeRemoteState([]byte, bool)   {}

type gossipConflict struct{ log hclog.Logger }

// NotifyConflict implements memberlist.ConflictDelegate.
func (c gossipConflict) NotifyConflict(existing, other *memberlist.Node) {
	c.log.Error("two nodes use the same node id; stop one of them", "node", existing.Name, "address", existing.Address(), "other", other.Address())
}
