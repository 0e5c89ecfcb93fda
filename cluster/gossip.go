package cluster

import (
	"encoding/json"
	"fmt"
	"net/netip"
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
	// Key of 16, 24 or 32 bytes encrypts gossip; nil leaves it plain.
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
	seeds []string
	log   hclog.Logger
}

func startGossip(o Options, log hclog.Logger) (*gossip, error) {
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
	c.SecretKey = o.Gossip.Key
	c.Delegate = gossipDelegate{meta}
	c.Conflict = gossipConflict{log}
	c.Logger = log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true})
	list, err := memberlist.Create(c)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	return &gossip{list: list, seeds: o.Gossip.Seeds, log: log}, nil
}

func splitAddress(address string) (string, int, error) {
	at, err := netip.ParseAddrPort(address)
	return at.Addr().String(), int(at.Port()), err
}

// join contacts the seeds that are not known yet.
func (g *gossip) join() {
	known := map[string]bool{}
	for _, m := range g.list.Members() {
		known[m.Address()] = true
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
	for _, m := range g.list.Members() {
		var meta gossipMeta
		if json.Unmarshal(m.Meta, &meta) == nil && meta.Address != "" {
			list = append(list, meta.Address)
		}
	}
	return list
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
