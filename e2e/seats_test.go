package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// held is all that is open in a pool, as a client sees it.
type held struct {
	leases   []apiv1.Lease
	tickets  []apiv1.Ticket
	projects []apiv1.Project
}

// open reads what a pool has out, through any node.
func (c *Cluster) open(pool string) held {
	c.t.Helper()
	ctx := context.Background()
	leases, err := c.http.Leases(ctx, client.LeasePage{Pool: pool, Limit: 1000})
	if err != nil {
		c.t.Fatal(err)
	}
	tickets, err := c.http.Tickets(ctx, pool, 0, 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	projects, err := c.http.Projects(ctx, pool, "", 1000)
	if err != nil {
		c.t.Fatal(err)
	}
	return held{leases.Value.Leases, tickets.Value.Tickets, projects.Value.Projects}
}

// String leaves out the ends, which outages make later.
func (h held) String() string {
	var all []string
	for _, l := range h.leases {
		all = append(all, fmt.Sprintf("lease %d of %s on %s, %d of %s, borrowed %v, in %q", l.ID, l.User, l.Client, l.Count, l.Product, l.Borrow, l.Project))
	}
	for _, x := range h.tickets {
		all = append(all, fmt.Sprintf("ticket %d of %s, %s, %d ahead", x.ID, x.User, x.State, x.Ahead))
	}
	for _, p := range h.projects {
		all = append(all, fmt.Sprintf("project %s with %s, %d connections", p.Project, p.Product, p.Connections))
	}
	return strings.Join(all, "\n")
}

// notSooner sees that nobody lost time (rule D2).
func (h held) notSooner(t testing.TB, before held) {
	t.Helper()
	for i, l := range h.leases {
		if l.Ends.Before(before.leases[i].Ends) {
			t.Errorf("lease %d ends at %s, and was to end at %s", l.ID, l.Ends, before.leases[i].Ends)
		}
	}
	for i, x := range h.tickets {
		if x.Ends.Before(before.tickets[i].Ends) {
			t.Errorf("ticket %d ends at %s, and was to end at %s", x.ID, x.Ends, before.tickets[i].Ends)
		}
	}
}

// crowd checks out and returns seats of a pool over all nodes, and watches that no
// seat is out twice: who counts has been granted one and has not begun to return it.
type crowd struct {
	stop            context.CancelFunc
	all             sync.WaitGroup
	granted         atomic.Int64
	out, most, size int64
	mu              sync.Mutex
}

func (c *Cluster) startCrowd(pool string, size int64, users int) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	w := &crowd{stop: cancel, size: size}
	c.t.Cleanup(func() { w.stop(); w.all.Wait() })
	for i := range users {
		cl := c.newClient(client.Options{Endpoints: rotate(c.Endpoints(), i)})
		w.all.Go(func() {
			for ctx.Err() == nil {
				// Not ctx: what is under way at the end is waited for.
				w.turn(cl, apiv1.Checkout{Pool: pool, Product: "cad", User: fmt.Sprint("crowd-", i), Client: "ws"})
				c.rest(ctx)
			}
		})
	}
	return w
}

func (w *crowd) turn(cl *client.Client, ask apiv1.Checkout) {
	ctx := context.Background()
	a, err := cl.Checkout(ctx, ask)
	if err == nil {
		w.count(1)
		w.granted.Add(1)
		// Something to do while the seat is out.
		_, err = cl.Renew(ctx, a.Value.Lease.ID, a.Value.Lease.Handle, 0)
		w.count(-1)
	}
	if err == nil {
		_, err = cl.Return(ctx, a.Value.Lease.ID, a.Value.Lease.Handle)
	}
	if err != nil && client.CodeOf(err) != apiv1.CodePoolFull {
		w.tidy(cl, ask)
	}
}

// tidy ends what a user may have without knowing (rule E2), so that others go on.
func (w *crowd) tidy(cl *client.Client, ask apiv1.Checkout) {
	a, err := cl.Leases(context.Background(), client.LeasePage{Pool: ask.Pool, User: ask.User})
	if err != nil {
		return
	}
	for _, l := range a.Value.Leases {
		// What fails here is tried again after the next turn that fails.
		_, _ = cl.Revoke(context.Background(), l.ID, "left behind")
	}
}

func (w *crowd) count(by int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out += by
	w.most = max(w.most, w.out)
}

// end stops the crowd, and fails if a seat was out twice.
func (w *crowd) end(t *testing.T) {
	t.Helper()
	w.stop()
	w.all.Wait()
	if w.most > w.size {
		t.Errorf("%d seats of %d were out at once", w.most, w.size)
	}
}

func (w *crowd) waitGranted(t *testing.T, more int64) {
	t.Helper()
	want := w.granted.Load() + more
	eventually(t, "checkouts are granted", func() error {
		if got := w.granted.Load(); got < want {
			return fmt.Errorf("%d instead of %d", got, want)
		}
		return nil
	})
}

// seatsCluster serves two pools: desk, of four seats, and busy, of three.
func seatsCluster(t *testing.T) *Cluster {
	t.Helper()
	return seatsClusterOf(t, setup{})
}

func seatsClusterOf(t *testing.T, s setup) *Cluster {
	t.Helper()
	c := startCluster(t, s)
	ctx := t.Context()
	contract := c.sign(contractYAML("seats", 1, 1) + "products:\n  cad: {model: floating, quantity: 10}\n  team: {model: team, quantity: 9}\n")
	if _, err := c.http.PutContract(ctx, strings.TrimSpace(contract)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []apiv1.PoolDefinition{
		{Name: "desk", Contract: "seats", Size: 4, Products: map[string]apiv1.PoolProduct{"cad": {MaxCheckoutDays: 7}, "team": {}}, QueueLimit: 50, TTLDefault: 3600, TicketTTL: 3600, OfferTTL: 3600},
		{Name: "busy", Contract: "seats", Size: 3, Products: map[string]apiv1.PoolProduct{"cad": {}}, TTLDefault: 3600},
	} {
		if _, err := c.http.CreatePool(ctx, d); err != nil {
			t.Fatal(err)
		}
		if _, err := c.http.ActivatePool(ctx, d.Name); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestSeatsOutliveLeaders (D2, K2, K4, Q4, T1): the leader is killed while leases, a borrow, a project, an offer and
// tickets are open. All of it is there afterwards, in the same order and no sooner over, and goes on
// with the same handles; no seat is out twice meanwhile.
func TestSeatsOutliveLeaders(t *testing.T) {
	t.Parallel()
	c := seatsCluster(t)
	desk := c.openDesk()
	busy := c.startCrowd("busy", 3, 6)
	for range 2 {
		busy.waitGranted(t, 20)
		leader := c.Leader()
		leader.Kill()
		busy.waitGranted(t, 20)
		desk.check("the leader's death")
		leader.Start()
		c.WaitReady(leader)
	}
	busy.end(t)
	desk.goOn()
	c.Settled()
}

// desk is what was opened in the pool of that name, and by whom.
type desk struct {
	c                *Cluster
	before           held
	ann, eve, borrow *apiv1.Lease
	tickets          []apiv1.Ticket
}

// openDesk opens leases, a borrow, a project, an offer and tickets.
func (c *Cluster) openDesk() desk {
	t := c.t
	t.Helper()
	ctx := context.Background()
	take := func(user string, more func(*apiv1.Checkout)) apiv1.CheckoutDone {
		t.Helper()
		ask := apiv1.Checkout{Pool: "desk", Product: "cad", User: user, Client: "ws-" + user}
		more(&ask)
		a, err := c.http.Checkout(ctx, ask)
		if err != nil {
			t.Fatal(err)
		}
		return a.Value
	}
	plain, queue := func(*apiv1.Checkout) {}, func(ask *apiv1.Checkout) { ask.Queue = true }
	ann, bob := take("ann", plain).Lease, take("bob", plain).Lease
	borrow := take("cid", func(ask *apiv1.Checkout) { ask.BorrowDays = 3 }).Lease
	team := func(ask *apiv1.Checkout) { ask.Product, ask.Project = "team", "bridge" }
	take("dan", team)
	eve := take("eve", team).Lease
	var tickets []apiv1.Ticket
	for i := range 6 {
		tickets = append(tickets, *take(fmt.Sprint("waits-", i), queue).Ticket)
	}
	if _, err := c.http.Return(ctx, bob.ID, bob.Handle); err != nil {
		t.Fatal(err)
	}
	before := c.open("desk")
	if len(before.leases) != 4 || len(before.tickets) != 6 || before.tickets[0].State != apiv1.TicketStateOffered || len(before.projects) != 1 {
		t.Fatalf("open:\n%s", before)
	}
	return desk{c, before, ann, eve, borrow, tickets}
}

// check sees that all of it is there, in the same order and no sooner over.
func (d desk) check(since string) {
	d.c.t.Helper()
	after := d.c.open("desk")
	if after.String() != d.before.String() {
		d.c.t.Fatalf("open after %s:\n%s\nbefore:\n%s", since, after, d.before)
	}
	after.notSooner(d.c.t, d.before)
}

// goOn uses what was open, each with the handle of before: in the order of the queue.
func (d desk) goOn() {
	c, before, ann, eve, borrow, tickets := d.c, d.before, d.ann, d.eve, d.borrow, d.tickets
	c.t.Helper()
	ctx := context.Background()
	if _, err := c.http.Renew(ctx, ann.ID, ann.Handle, 0); err != nil {
		c.t.Errorf("renewing: %v", err)
	}
	if _, err := c.http.Return(ctx, eve.ID, eve.Handle); err != nil {
		c.t.Errorf("disconnecting: %v", err)
	}
	if _, err := c.http.ReturnBorrow(ctx, borrow.Token); err != nil {
		c.t.Errorf("returning the borrow: %v", err)
	}
	last := before.leases[len(before.leases)-1].ID
	for i, x := range tickets {
		if i > 1 {
			// The seat of the one before passes on.
			if _, err := c.http.Revoke(ctx, last, "the next"); err != nil {
				c.t.Fatalf("revoking lease %d: %v", last, err)
			}
		}
		a, err := c.http.WaitTicket(ctx, x.ID, 5*time.Second)
		if err != nil || a.Value.State != apiv1.TicketStateOffered {
			c.t.Fatalf("ticket %d: %+v, %v", x.ID, a, err)
		}
		done, err := c.http.ClaimOffer(ctx, x.ID, x.Handle)
		if err != nil {
			c.t.Fatalf("claiming ticket %d: %v", x.ID, err)
		}
		// K6: fences only grow.
		if done.Value.Lease.ID <= last {
			c.t.Errorf("lease %d comes after lease %d", done.Value.Lease.ID, last)
		}
		last = done.Value.Lease.ID
	}
}
