package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"github.com/licet/licet/cluster/clusterpb"
)

// TestPromotionOfWhoIsGone: autopilot decides by what it saw up to a second ago. A
// node that was removed meanwhile does not come back as a voter.
func TestPromotionOfWhoIsGone(t *testing.T) {
	r, address := loneRaft(t)
	if err := r.AddNonvoter("quimper", "nowhere", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	if err := r.RemoveServer("quimper", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	g := guardedRaft{r, &Node{log: hclog.NewNullLogger()}}
	for _, id := range []raft.ServerID{"quimper", loneID} {
		if err := g.AddVoter(id, "nowhere", 0, 0).Error(); !errors.Is(err, errNoNonvoter) {
			t.Errorf("the promotion of %s: %v", id, err)
		}
	}
	if left := r.GetConfiguration().Configuration().Servers; len(left) != 1 || left[0].Address != address {
		t.Errorf("the members are %v", left)
	}
}

const loneID = "bordeaux"

// loneRaft is Raft in memory that leads a cluster of itself.
func loneRaft(t *testing.T) (*raft.Raft, raft.ServerAddress) {
	t.Helper()
	c := raft.DefaultConfig()
	c.LocalID = loneID
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	c.Logger = hclog.NewNullLogger()
	address, carrier := raft.NewInmemTransport("")
	store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	r, err := raft.NewRaft(c, newReplica(time.Now, func(error) {}), store, store, snapshots, carrier)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	})
	if err := r.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: c.LocalID, Address: address}}}).Error(); err != nil {
		t.Fatal(err)
	}
	<-r.LeaderCh()
	return r, address
}

// TestPreferredSite: who is preferred, and that leadership does not go to and fro.
func TestPreferredSite(t *testing.T) {
	order := []string{"paris", "lyon"}
	now := time.Now()
	long := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		theirs  []string
		since   time.Time
		healthy bool
		state   autopilot.RaftState
		off     time.Duration
		led     time.Time
		order   []string
		want    raft.ServerID
	}{
		"a better site":                {healthy: true, want: "paris"},
		"no order":                     {healthy: true, order: []string{}},
		"nobody is better":             {healthy: true, order: []string{"bordeaux", "paris"}},
		"it has been well for moments": {healthy: true, since: now.Add(-time.Second)},
		"it is ill":                    {},
		"it does not vote":             {healthy: true, state: autopilot.RaftNonVoter},
		"its clock is off":             {healthy: true, off: time.Hour},
		"this node leads for moments":  {healthy: true, led: now.Add(-time.Second)},
		"it has another order":         {healthy: true, theirs: []string{"bordeaux", "paris"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.order == nil {
				c.order = order
			}
			if c.led.IsZero() {
				c.led = long
			}
			if c.since.IsZero() {
				c.since = long
			}
			if c.state == "" {
				c.state = autopilot.RaftVoter
			}
			if c.theirs == nil {
				c.theirs = c.order
			}
			n := &Node{options: Options{ID: "bordeaux", Site: "bordeaux"}, clock: newClock(systemClock{}, time.Second)}
			n.SetPolicy(Policy{PreferredSites: c.order, PreferredAfter: time.Minute})
			if _, fault := n.clock.compare(map[string]time.Duration{"paris": c.off, "lyon": 0}); fault != nil {
				t.Fatal(fault)
			}
			paris := &clusterpb.ProbeReply{Site: "paris", PreferredSites: c.theirs}
			lyon := &clusterpb.ProbeReply{Site: "lyon", PreferredSites: c.order}
			p := promoter{pilot: &pilot{node: n, begun: c.led, heard: map[raft.ServerID]probed{"paris": {reply: paris}, "lyon": {reply: lyon}}}}
			server := func(id raft.ServerID, healthy bool, since time.Time, state autopilot.RaftState) *autopilot.ServerState {
				return &autopilot.ServerState{Server: autopilot.Server{ID: id}, State: state, Health: autopilot.ServerHealth{Healthy: healthy, StableSince: since}}
			}
			got := p.better(&autopilot.State{Servers: map[raft.ServerID]*autopilot.ServerState{
				"bordeaux": server("bordeaux", true, long, autopilot.RaftLeader),
				"lyon":     server("lyon", false, long, autopilot.RaftVoter),
				"paris":    server("paris", c.healthy, c.since, c.state),
			}})
			if got != c.want {
				t.Errorf("leadership should go to %q, not to %q", c.want, got)
			}
		})
	}
}
