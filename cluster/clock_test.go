package cluster_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// wrongClock is a wall clock that tests set.
type wrongClock struct{ ahead atomic.Int64 }

func (c *wrongClock) Now() (wall, steady time.Time) {
	now := time.Now()
	return now.Add(time.Duration(c.ahead.Load())).Round(0), now
}

// near fails unless the state's clock is that of the majority.
func near(t *testing.T, s *site) {
	t.Helper()
	if off := time.Since(s.node.Status().View.Clock().Wall()).Abs(); off > time.Minute {
		t.Fatalf("the state's clock on %s is off by %s", s.options.ID, off)
	}
}

// D3: a node whose clock is far from the others' does not lead.
func TestD3NodeWithAWrongClockDoesNotLead(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			list := sites(t, 3)
			wrong := new(wrongClock)
			wrong.ahead.Store(int64(ahead))
			list[0].options.Clock = wrong // Bordeaux founds the cluster and is elected first.
			for _, s := range list {
				s.start()
			}
			oneCluster(t, list)
			for _, s := range list {
				s.propose(putContract(t, 30))
				near(t, s)
			}
			if leader := leaderOf(t, list); leader == list[0] {
				t.Fatal("the node with the wrong clock leads and writes")
			}
		})
	}
}

// D3: a jump of the leader's clock never reaches the state.
func TestD3LeadersClockJumps(t *testing.T) {
	list := sites(t, 3)
	clocks := map[*site]*wrongClock{}
	for _, s := range list {
		clocks[s] = new(wrongClock)
		s.options.Clock = clocks[s]
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 30))
	jumped := leaderOf(t, list)
	clocks[jumped].ahead.Store(int64(24 * time.Hour))
	// The very next write already finds the clock out; the cluster moves on to another leader.
	eventually(t, "another node leads", func() error {
		c, err := fsm.NewCommand("operator", ulid.Make().String(), createInstance("x", 0))
		if err != nil {
			return err
		}
		if _, err := jumped.node.Propose(t.Context(), c); err != nil && codeOf(err) != cluster.ClockSkew && codeOf(err) != cluster.NoLeader {
			t.Fatalf("a write to the leader whose clock jumped: %v", err)
		}
		near(t, jumped)
		if s := jumped.node.Status(); s.Role == cluster.Leader {
			return fmt.Errorf("it still leads: %w", s.Fault)
		}
		return nil
	})
	for _, s := range list {
		s.propose(createInstance("after-"+s.options.ID, 1))
		near(t, s)
	}
}

// D2: the lease clock stands still while there is no leader, and no longer.
func TestD2LeaseClockStandsStillDuringAnOutage(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	before := leaderOf(t, list).node.Status().View.Clock()
	earliest := time.Now()
	for _, s := range list {
		s.stop()
	}
	down := time.Now()
	for _, s := range list {
		s.start()
	}
	up := time.Now()
	list[0].ready()
	list[0].propose(putContract(t, 30))
	latest := time.Now()
	view, _, err := list[0].node.Read(t.Context(), cluster.Read{})
	if err != nil {
		t.Fatal(err)
	}
	paused := time.Duration(view.Clock().PauseMs-before.PauseMs) * time.Millisecond
	// What all nodes remember after a restart is up to contactSaveEvery old.
	if least, most := up.Sub(down), latest.Sub(earliest)+6*time.Second; paused < least || paused > most {
		t.Errorf("the lease clock stood still for %s; there was no leader for %s at least, %s at most", paused, least, most)
	}
	if view.Clock().LeaseMs() < before.LeaseMs() {
		t.Errorf("the lease clock went back from %d to %d", before.LeaseMs(), view.Clock().LeaseMs())
	}
}

// D2: handing leadership over costs a lease next to nothing.
func TestD2HandingOverIsNoOutage(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	sameDigests(t, list)
	old := leaderOf(t, list)
	before := old.node.Status().View.Clock()
	begun := time.Now()
	if err := old.node.Transfer(t.Context(), "", byOperator); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		s.propose(createInstance(s.options.ID, 1))
	}
	took := time.Since(begun)
	paused := time.Duration(list[0].node.Status().View.Clock().PauseMs-before.PauseMs) * time.Millisecond
	if paused > took+200*time.Millisecond {
		t.Errorf("the lease clock stood still for %s, although the change took %s in all", paused, took)
	}
}

// D4, C5: an idle cluster writes nothing until something is due, then ends it.
func TestD4ExpiryIsTheOnlyWriteOfAnIdleCluster(t *testing.T) {
	list := startAll(t, 3)
	c := &signed.Contract{
		ID: "short", Revision: 1, Customer: "ACME", Email: "a@example.org", Users: map[string]uint64{"primary": 30},
		Start: time.Unix(0, 0).UTC(), Expiry: time.Now().Add(3 * time.Second).UTC().Truncate(time.Second),
	}
	document, err := c.Sign(vendor)
	if err != nil {
		t.Fatal(err)
	}
	o := list[0].propose(&fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}})
	if o.Refusal != nil {
		t.Fatal(o.Refusal)
	}
	for _, s := range list {
		eventually(t, "the contract has ended on "+s.options.ID, func() error {
			status := s.node.Status()
			got, _ := status.View.Contract("short")
			if !got.Contract.Ended {
				return fmt.Errorf("it is in force at index %d", status.View.Index())
			}
			if status.View.Index() != o.Index+1 {
				t.Fatalf("%d writes since the contract came, instead of one", status.View.Index()-o.Index)
			}
			if late := status.View.Clock().Wall().Sub(c.Ends()); late < 0 || late > time.Second {
				t.Fatalf("it ended %s after its time", late)
			}
			return nil
		})
	}
	sameDigests(t, list)
}

// D2, D3: a clock that is wrong by less than is noticed costs no lease any time: neither where a leader's
// clock steps ahead, nor where the next leader's clock is ahead of the last one's.
func TestD2SmallJumpsCostNoLeaseTime(t *testing.T) {
	const step = 3 * time.Second
	list := sites(t, 3)
	clocks := map[*site]*wrongClock{}
	for _, s := range list {
		clocks[s] = new(wrongClock)
		s.options.Clock, s.options.MaxClockSkew = clocks[s], 5*time.Second
		s.start()
	}
	oneCluster(t, list)
	// From before the entry whose stamp is compared with later ones.
	began := time.Now()
	list[0].propose(putContract(t, 30))
	sameDigests(t, list)
	before := leaderOf(t, list).node.Status().View.Clock()
	check := func(after string) {
		t.Helper()
		list[0].propose(createInstance(after, 0))
		sameDigests(t, list)
		clock := list[0].node.Status().View.Clock()
		passed := time.Since(began)
		if lease := time.Duration(clock.LeaseMs()-before.LeaseMs()) * time.Millisecond; lease > passed+50*time.Millisecond {
			t.Errorf("after %s the lease clock went on by %s in %s", after, lease, passed)
		}
	}

	check("nothing")
	old := leaderOf(t, list)
	for _, s := range list {
		if s != old {
			clocks[s].ahead.Store(int64(step))
		}
	}
	if err := old.node.Transfer(t.Context(), "", byOperator); err != nil {
		t.Fatal(err)
	}
	check("a-leader-ahead")
	clocks[old].ahead.Store(int64(step))
	clocks[leaderOf(t, list)].ahead.Store(int64(step + 2*time.Second))
	check("a-step-ahead")
	if wall := list[0].node.Status().View.Clock().Wall(); time.Until(wall) < step {
		t.Fatal("no clock was ahead: the test tests nothing")
	}
}
