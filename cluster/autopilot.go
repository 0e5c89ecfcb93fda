package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// Autopilot makes a non-voter a voter once it has been healthy for a while. It
// removes nobody: automatic removal shrinks the quorum (hashicorp/consul #5922).
const (
	stabilisation  = 3 * time.Second
	maxTrailing    = 1024
	autopilotEvery = time.Second
)

// pilot is what autopilot asks about the cluster, from probes over the nodes' port.
type pilot struct{ node *Node }

var _ autopilot.ApplicationIntegration = pilot{}

func newAutopilot(n *Node) *autopilot.Autopilot {
	return autopilot.New(guardedRaft{n.raft, &n.changing}, pilot{n}, autopilot.WithLogger(n.log),
		autopilot.WithUpdateInterval(autopilotEvery), autopilot.WithReconcileInterval(autopilotEvery))
}

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (p pilot) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		LastContactThreshold:    max(time.Second, p.node.options.HeartbeatTimeout),
		MaxTrailingLogs:         maxTrailing,
		ServerStabilizationTime: stabilisation,
	}
}

// NotifyState implements autopilot.ApplicationIntegration.
func (p pilot) NotifyState(*autopilot.State) {}

// KnownServers implements autopilot.ApplicationIntegration: the members of the Raft configuration.
func (p pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	known := map[raft.ServerID]*autopilot.Server{}
	for _, m := range p.node.members() {
		known[m.ID] = &autopilot.Server{
			ID: m.ID, Name: string(m.ID), Address: m.Address, NodeStatus: autopilot.NodeAlive,
			RaftVersion: int(raft.ProtocolVersionMax), IsLeader: string(m.ID) == p.node.options.ID,
		}
	}
	return known
}

// FetchServerStats implements autopilot.ApplicationIntegration. Members that
// don't answer have no stats, which makes them unhealthy.
func (p pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	n := p.node
	stats := map[raft.ServerID]*autopilot.ServerStats{
		raft.ServerID(n.options.ID): {LastTerm: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex()},
	}
	for _, a := range n.probeMembers(ctx, 0) {
		id := raft.ServerID(a.reply.Node)
		if _, ok := servers[id]; !ok || a.reply.ContactMs < 0 {
			continue
		}
		stats[id] = &autopilot.ServerStats{
			LastContact: time.Duration(a.reply.ContactMs) * time.Millisecond,
			LastTerm:    a.reply.LastTerm, LastIndex: a.reply.LastIndex,
		}
	}
	return stats
}

// RemoveFailedServer implements autopilot.ApplicationIntegration; it is never asked to.
func (p pilot) RemoveFailedServer(*autopilot.Server) {}

// guardedRaft lets autopilot promote only who is a non-voter now. Autopilot
// decides by a list that can be a second old: a node that left meanwhile would come
// back as a voter, with nobody behind it.
type guardedRaft struct {
	*raft.Raft
	// changing is held by whoever removes a member.
	changing *sync.Mutex
}

var errNoNonvoter = errors.New("it is no non-voter of this cluster any more")

// AddVoter implements autopilot.Raft. It returns when the change is decided.
func (g guardedRaft) AddVoter(id raft.ServerID, address raft.ServerAddress, previous uint64, timeout time.Duration) raft.IndexFuture {
	g.changing.Lock()
	defer g.changing.Unlock()
	now := g.GetConfiguration()
	if err := now.Error(); err != nil {
		return failedFuture{err}
	}
	for _, m := range now.Configuration().Servers {
		if m.ID == id && m.Suffrage == raft.Nonvoter {
			change := g.Raft.AddVoter(id, address, previous, timeout)
			// Until it is decided, nobody may remove the node. Whoever is given the future looks at the error.
			_ = change.Error()
			return change
		}
	}
	return failedFuture{errNoNonvoter}
}

// failedFuture is that of a change that was not even begun.
type failedFuture struct{ err error }

func (f failedFuture) Error() error { return f.err }
func (failedFuture) Index() uint64  { return 0 }
