package cluster

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/licet/licet/cluster/clusterpb"
)

// Autopilot makes a non-voter a voter once it has been healthy for a while, and moves
// leadership to a better site. It removes nobody unless it is told to: automatic
// removal shrinks the quorum (hashicorp/consul #5922).
const (
	maxTrailing    = 1024
	autopilotEvery = time.Second
	// nodeReplica is the type of nodes that never vote.
	nodeReplica autopilot.NodeType = "replica"
	// byAutopilot is who changes members, or the leader, where nobody asked for it.
	byAutopilot = "autopilot"
)

// pilot is what autopilot asks about the cluster, from probes over the nodes' port.
type pilot struct {
	node *Node

	mu sync.Mutex
	// begun is when the node began to lead, by the steady clock.
	begun time.Time
	// heard has what each member said last.
	heard map[raft.ServerID]probed
}

var _ autopilot.ApplicationIntegration = (*pilot)(nil)

// begin forgets what was heard in an earlier term.
func (p *pilot) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.heard = p.node.clock.steady(), map[raft.ServerID]probed{}
}

func (p *pilot) note(answers map[string]probed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range answers {
		p.heard[raft.ServerID(a.reply.Node)] = a
	}
}

// said is what a member said last, nil if nothing, and how long it has been silent.
func (p *pilot) said(id raft.ServerID) (*clusterpb.ProbeReply, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.heard[id]
	if !ok {
		return nil, p.node.clock.since(p.begun)
	}
	return a.reply, p.node.clock.since(a.replied)
}

func (p *pilot) leading() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node.clock.since(p.begun)
}

func newAutopilot(n *Node, p *pilot) *autopilot.Autopilot {
	return autopilot.New(guardedRaft{n.raft, n}, p, autopilot.WithLogger(pilotLog{n.log}), autopilot.WithPromoter(&promoter{pilot: p}),
		autopilot.WithUpdateInterval(autopilotEvery), autopilot.WithReconcileInterval(autopilotEvery))
}

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (p *pilot) AutopilotConfig() *autopilot.Config {
	policy := p.node.policy.Load()
	return &autopilot.Config{
		CleanupDeadServers:      policy.RemoveDeadAfter > 0,
		MinQuorum:               policy.MinVoters,
		LastContactThreshold:    max(time.Second, p.node.options.HeartbeatTimeout),
		MaxTrailingLogs:         maxTrailing,
		ServerStabilizationTime: policy.Stabilisation,
	}
}

// NotifyState implements autopilot.ApplicationIntegration.
func (p *pilot) NotifyState(*autopilot.State) {}

// KnownServers implements autopilot.ApplicationIntegration: the members of the Raft configuration.
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	after := p.node.policy.Load().RemoveDeadAfter
	known := map[raft.ServerID]*autopilot.Server{}
	for _, m := range p.node.members() {
		self := string(m.ID) == p.node.options.ID
		reply, silent := p.said(m.ID)
		status, kind := autopilot.NodeAlive, autopilot.NodeVoter
		if after > 0 && silent > after && !self {
			status = autopilot.NodeFailed
		}
		if reply.GetNonvoter() && m.Suffrage != raft.Voter {
			kind = nodeReplica
		}
		known[m.ID] = &autopilot.Server{
			ID: m.ID, Name: string(m.ID), Address: m.Address, NodeStatus: status, NodeType: kind,
			RaftVersion: int(raft.ProtocolVersionMax), IsLeader: self,
		}
	}
	return known
}

// FetchServerStats implements autopilot.ApplicationIntegration. Members that
// don't answer have no stats, which makes them unhealthy.
func (p *pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	n := p.node
	stats := map[raft.ServerID]*autopilot.ServerStats{
		raft.ServerID(n.options.ID): {LastTerm: n.raft.CurrentTerm(), LastIndex: n.raft.LastIndex()},
	}
	answers := n.probeMembers(ctx, 0)
	p.note(answers)
	for _, a := range answers {
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

// RemoveFailedServer implements autopilot.ApplicationIntegration. What an operator
// may not remove, it does not remove either. The member is asked once more: a leader whose process
// was stopped for a while finds everybody silent.
func (p *pilot) RemoveFailedServer(s *autopilot.Server) {
	_, silent := p.said(s.ID)
	if p.node.answersAs(string(s.Address), string(s.ID)) {
		return
	}
	p.node.log.Warn("removing a member that is silent", "node", s.ID, "silent", silent.Round(time.Second))
	if err := p.node.removeHere(string(s.ID), byAutopilot); err != nil {
		p.node.log.Warn("the silent member was not removed", "node", s.ID, "reason", err)
	}
}

// promoter decides who votes and who should lead.
type promoter struct {
	autopilot.StablePromoter
	pilot *pilot
}

// GetNodeTypes implements autopilot.Promoter.
func (*promoter) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for id, server := range s.Servers {
		types[id] = server.Server.NodeType
	}
	return types
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter. Only who says that it may vote is
// promoted: whoever has not said anything yet may be a replica. Nor is a node that has not been told yet which cluster took it in: it has
// no signing key, and as a voter it would not get one any more.
func (p *promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	changes := p.StablePromoter.CalculatePromotionsAndDemotions(c, s)
	changes.Promotions = slices.DeleteFunc(changes.Promotions, func(id raft.ServerID) bool {
		reply, _ := p.pilot.said(id)
		return reply == nil || reply.Nonvoter || reply.Cluster == ""
	})
	changes.Leader = p.better(s)
	return changes
}

// better is the voter that should lead instead, "" if none. Nobody is preferred who has been healthy
// for a moment only, whose clock is off (D3), or who would itself send leadership elsewhere: so
// leadership does not go to and fro, not even where the nodes are configured differently.
func (p *promoter) better(s *autopilot.State) raft.ServerID {
	n, policy := p.pilot.node, p.pilot.node.policy.Load()
	order := policy.PreferredSites
	if len(order) == 0 || p.pilot.leading() < policy.PreferredAfter {
		return ""
	}
	best, found := preference(order, n.options.Site), raft.ServerID("")
	now := time.Now()
	for _, id := range slices.SortedFunc(maps.Keys(s.Servers), cmp.Compare[raft.ServerID]) {
		server := s.Servers[id]
		reply, _ := p.pilot.said(id)
		if server.State != autopilot.RaftVoter || !server.Health.IsStable(now, policy.PreferredAfter) || reply == nil {
			continue
		}
		at := preference(order, reply.Site)
		if at < best && slices.Equal(reply.PreferredSites, order) && n.clock.agrees(string(id)) {
			best, found = at, id
		}
	}
	return found
}

// guardedRaft lets autopilot promote only who is a non-voter now. Autopilot
// decides by a list that can be a second old: a node that left meanwhile would come
// back as a voter, with nobody behind it.
type guardedRaft struct {
	*raft.Raft
	node *Node
}

// pilotLog has for debugging what autopilot is about to do: what came of it the node says itself.
type pilotLog struct{ hclog.Logger }

// Info implements hclog.Logger.
func (l pilotLog) Info(message string, args ...any) { l.Debug(message, args...) }

var errNoNonvoter = errors.New("it is no non-voter of this cluster any more")

// AddVoter implements autopilot.Raft. It returns when the change is decided. The address is the present one.
func (g guardedRaft) AddVoter(id raft.ServerID, _ raft.ServerAddress, previous uint64, timeout time.Duration) raft.IndexFuture {
	g.node.changing.Lock()
	defer g.node.changing.Unlock()
	now := g.GetConfiguration()
	if err := now.Error(); err != nil {
		return failedFuture{err}
	}
	for _, m := range now.Configuration().Servers {
		if m.ID == id && m.Suffrage == raft.Nonvoter {
			change := g.Raft.AddVoter(id, m.Address, previous, timeout)
			// Until it is decided, nobody may remove the node. Whoever is given the future looks at the error.
			if err := change.Error(); err == nil {
				g.node.log.Info("member promoted to voter", "node", id, "by", byAutopilot)
			}
			return change
		}
	}
	return failedFuture{errNoNonvoter}
}

// LeadershipTransferToServer implements autopilot.Raft.
func (g guardedRaft) LeadershipTransferToServer(id raft.ServerID, address raft.ServerAddress) raft.Future {
	change := g.Raft.LeadershipTransferToServer(id, address)
	if err := change.Error(); err == nil {
		g.node.noteHandover(string(id), handover{byAutopilot, "its site is preferred"})
	}
	return change
}

// failedFuture is that of a change that was not even begun.
type failedFuture struct{ err error }

func (f failedFuture) Error() error { return f.err }
func (failedFuture) Index() uint64  { return 0 }
