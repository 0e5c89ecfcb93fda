//go:build linux && faults

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// underFaults is a cluster with hosts of its own that is used the whole time: instances are created, and
// seats are taken and returned, through all nodes; all that some clients are told of others is checked for an order.
type underFaults struct {
	*lab
	load    *load
	crowd   *crowd
	history *clientHistory
	// before is what the nodes had open before they were used.
	before map[*Node]holding
}

// openBusy makes contract "load", and of it the pool "busy" with three seats.
func (c *Cluster) openBusy() {
	t := c.t
	t.Helper()
	document := c.sign(contractYAML("load", 1, 1_000_000) + "products:\n  cad: {model: floating, quantity: 3}\n")
	_, err := c.http.PutContract(t.Context(), document)
	if err == nil {
		_, err = c.http.CreatePool(t.Context(), apiv1.PoolDefinition{Name: "busy", Contract: "load", Size: 3, Products: map[string]apiv1.PoolProduct{"cad": {}}, TTLDefault: 3600})
	}
	if err == nil {
		_, err = c.http.ActivatePool(t.Context(), "busy")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func startUnderFaults(t *testing.T, s setup) *underFaults {
	t.Helper()
	l, c := startLabCluster(t, s)
	c.openBusy()
	u := &underFaults{lab: l}
	c.Settled()
	var err error
	if u.before, err = c.holdings(); err != nil {
		t.Fatal(err)
	}
	u.load, u.crowd, u.history = c.startLoad("load", 6, false), c.startCrowd("busy", 3, 6), startHistory(c, 3)
	u.goesOn()
	return u
}

// goesOn returns when writes are acknowledged and seats granted, which takes no longer than an election and a few tries.
func (u *underFaults) goesOn() {
	u.t.Helper()
	u.load.waitAcknowledged(50)
	want := u.crowd.granted.Load() + 10
	eventually(u.t, "seats are granted", func() error {
		if got := u.crowd.granted.Load(); got < want {
			return fmt.Errorf("%d instead of %d", got, want)
		}
		return nil
	})
}

// end heals the network and holds what clients were told against what the cluster has.
func (u *underFaults) end() {
	u.t.Helper()
	u.heal()
	u.c.WaitReady()
	u.goesOn()
	u.crowd.stop()
	u.crowd.all.Wait()
	if u.crowd.most > u.crowd.size {
		u.t.Errorf("%d seats of %d were out at once", u.crowd.most, u.crowd.size)
	}
	u.load.check(u.load.stop())
	u.history.check()
	u.c.Settled()
	u.accounted()
}

// spare is how much more than before its first use a node may have open: connections that are pooled, and what serves them.
var spare = holding{files: 16, goroutines: 40}

// accounted sees that no file, connection or goroutine is left of what was cut.
func (u *underFaults) accounted() {
	u.t.Helper()
	for _, cl := range u.c.clients {
		cl.Close()
	}
	raw.CloseIdleConnections()
	eventually(u.t, "files, connections and goroutines are given back", func() error {
		now, err := u.c.holdings()
		for n, open := range now {
			before, known := u.before[n]
			if known && (open.files > before.files+spare.files || open.goroutines > before.goroutines+spare.goroutines) {
				err = errors.Join(err, fmt.Errorf("%s has %+v, and had %+v before", n.id, open, before))
			}
		}
		return err
	})
	now, err := u.c.holdings()
	if err != nil {
		u.t.Fatal(err)
	}
	for _, n := range u.c.nodes {
		u.t.Logf("%s has %+v, and had %+v before", n.id, now[n], u.before[n])
	}
}

// refuses returns when a node that is cut off says so: it is not ready, answers what it has with its age, and
// refuses the rest within a second.
func (u *underFaults) refuses(n *Node) {
	u.t.Helper()
	eventually(u.t, n.id+" says that it is not ready", func() error {
		if r := mustAsk(u.t, "GET", n.URL()+"/readyz", ""); r.status != http.StatusServiceUnavailable {
			return fmt.Errorf("/readyz answers %s", r)
		}
		return nil
	})
	stale, err := n.client.Contract(u.t.Context(), "load", client.Stale())
	if err != nil || stale.Value.ID != "load" {
		u.t.Errorf("a stale read at %s: %+v, %v", n.id, stale, err)
	}
	for what, request := range map[string][3]string{
		"a linearizable read": {"GET", "/v1/contracts/load", ""},
		"a write":             {"POST", "/v1/instances", `{"contract": "nowhere", "name": "cut-off", "allocation": {"primary": 1}}`},
	} {
		eventually(u.t, what+" is refused within a second", func() error {
			if r := mustAsk(u.t, request[0], n.URL()+request[1], request[2]); r.code() != apiv1.CodeNoLeader || r.took > time.Second {
				return fmt.Errorf("after %s it was answered %s", r.took, r)
			}
			return nil
		})
	}
}

// TestFaultSiteCutOff: a site loses its links to both others, first a follower's and then the leader's. The others go on;
// the one that is cut off does not lie; afterwards all have one state.
func TestFaultSiteCutOff(t *testing.T) {
	u := startUnderFaults(t, setup{})
	for _, which := range []func() *Node{u.c.Follower, u.c.Leader} {
		n := which()
		u.lose(u.isolated(n, allTraffic)...)
		u.refuses(n)
		u.goesOn()
		u.heal()
		u.c.WaitReady(n)
		u.goesOn()
	}
	u.end()
}

// TestFaultOneDirection: what a leader sends is lost, then what it is sent. Packets of the other direction arrive, which
// is what heartbeats look like that nobody answers.
func TestFaultOneDirection(t *testing.T) {
	u := startUnderFaults(t, setup{})
	for _, of := range []func(leader, other *Node) loss{
		func(leader, other *Node) loss { return loss{from: leader, to: other} },
		func(leader, other *Node) loss { return loss{from: other, to: leader} },
	} {
		leader := u.c.Leader()
		var all []loss
		for _, n := range u.c.nodes {
			if n != leader {
				all = append(all, of(leader, n))
			}
		}
		u.lose(all...)
		u.refuses(leader)
		u.goesOn()
		u.heal()
		u.c.WaitReady(leader)
		u.goesOn()
	}
	u.end()
}

// TestFaultOneLink: the link between the leader and one follower is cut. Two sites still reach each other whatever
// happens, so that writes go on through them.
func TestFaultOneLink(t *testing.T) {
	u := startUnderFaults(t, setup{})
	leader, other := u.c.Leader(), u.c.Follower()
	u.lose(both(leader, other, allTraffic)...)
	u.goesOn()
	u.goesOn()
	u.end()
}

// TestFaultGossipCut: gossip is lost between all sites, and nothing else. It is a hint: nobody is removed, nobody
// else leads, writes go on. Then the reverse: a site gossips, and its node port is cut off.
func TestFaultGossipCut(t *testing.T) {
	u := startUnderFaults(t, setup{})
	leader := u.c.Leader()
	before := leader.mustStatus()
	var all []loss
	for _, n := range u.c.nodes {
		all = append(all, u.isolated(n, gossipTraffic)...)
	}
	u.lose(all...)
	// Long enough for memberlist to call a member dead, by its own log.
	for _, n := range u.c.nodes {
		n.WaitLog(0, "has failed")
	}
	u.goesOn()
	after := leader.mustStatus()
	if after.State.Term != before.State.Term || after.Leader != before.Leader {
		t.Errorf("term %d of %s became %d of %s without gossip", before.State.Term, before.Leader, after.State.Term, after.Leader)
	}
	u.members(len(u.c.nodes))
	u.heal()
	follower := u.c.Follower()
	u.lose(u.isolated(follower, nodeTraffic)...)
	u.refuses(follower)
	u.goesOn()
	u.members(len(u.c.nodes))
	u.end()
}

// members sees that all voters are still there, says the leader.
func (u *underFaults) members(want int) {
	u.t.Helper()
	a, err := u.c.http.Members(u.t.Context())
	if err != nil {
		u.t.Fatal(err)
	}
	voters := 0
	for _, m := range a.Value.Members {
		if m.Voter {
			voters++
		}
	}
	if voters != want {
		u.t.Errorf("%d voters instead of %d: %+v", voters, want, a.Value.Members)
	}
}

// TestFaultFlapping: the leader's links are cut and healed as soon as another leads, again and again.
func TestFaultFlapping(t *testing.T) {
	u := startUnderFaults(t, setup{})
	for range 5 {
		leader := u.c.Leader()
		u.lose(u.isolated(leader, allTraffic)...)
		eventually(t, "another leads", func() error { return u.led(leader) })
		u.heal()
	}
	u.end()
}

// led complains unless a node other than the given one leads.
func (u *underFaults) led(but *Node) error {
	for _, n := range u.c.nodes {
		if n == but {
			continue
		}
		s, err := n.status()
		if err != nil {
			return err
		}
		if s.Role == apiv1.RoleLeader && s.Ready {
			return nil
		}
	}
	return errors.New("none does")
}

// TestFaultPausedLeader: a leader stands still for longer than an election takes, with reads and writes already in its
// sockets. When it goes on, it answers none of them out of what it knew, and loses nothing that was acknowledged meanwhile.
func TestFaultPausedLeader(t *testing.T) {
	u := startUnderFaults(t, setup{})
	ctx := t.Context()
	a, err := u.c.http.CreateInstance(ctx, "load", "paused", apiv1.Quantities{"primary": 1})
	if err != nil {
		t.Fatal(err)
	}
	serial := a.Value.Serial
	for round := uint64(2); round < 5; round++ {
		old := u.c.Leader()
		old.Pause()
		var reads sync.WaitGroup
		read := func(got chan<- uint64) {
			if x, err := old.client.Instance(context.Background(), serial); err == nil {
				got <- x.Value.Areas["primary"].Allocation
			}
		}
		early, got := make(chan uint64, 16), make(chan uint64, 64)
		for range cap(early) {
			reads.Go(func() { read(early) })
		}
		others := u.c.newClient(client.Options{Endpoints: endpointsBut(u.c, old)})
		eventually(t, "another leads", func() error { return u.ledBut(old) })
		if _, err := others.ResizeInstance(ctx, serial, apiv1.Quantities{"primary": round}); err != nil {
			t.Fatal(err)
		}
		// Asked while it still stands, and once it goes on.
		for range 14 {
			reads.Go(func() { read(got) })
		}
		old.Resume()
		for range 50 {
			read(got)
		}
		reads.Wait()
		close(early)
		close(got)
		// The write was under way when these were asked, and they may be from before it.
		for allocation := range early {
			if allocation != round && allocation != round-1 {
				t.Errorf("round %d: the old leader answered %d to who asked after %d was acknowledged", round, allocation, round-1)
			}
		}
		n := 0
		for allocation := range got {
			n++
			if allocation != round {
				t.Errorf("round %d: the old leader answered %d after %d was acknowledged", round, allocation, round)
			}
		}
		if n == 0 {
			t.Error("no read was answered, so nothing was tested")
		}
		u.c.WaitReady(old)
		u.goesOn()
	}
	entry := slices.IndexFunc(u.c.instances("load"), func(i apiv1.Instance) bool { return i.Serial == serial })
	if entry < 0 {
		t.Error("the instance is gone")
	}
	if _, err := u.c.http.RemoveInstance(ctx, serial); err != nil {
		t.Error(err)
	}
	u.end()
}

// ledBut is led, with a node that does not answer at all.
func (u *underFaults) ledBut(old *Node) error { return u.led(old) }

func endpointsBut(c *Cluster, but *Node) (list []string) {
	for _, n := range c.nodes {
		if n != but {
			list = append(list, n.URL())
		}
	}
	return list
}
