package fsm

import (
	"testing"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// What TestSeatModel found, each as the shortest story of it.

func keepBody(ticket uint64, holder []byte) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: ticket, Holder: holder}}}
}

func claimBody(ticket uint64, holder []byte) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: ticket, Holder: holder}}}
}

func checkInBody(lease uint64, holder []byte) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: lease, Holder: holder}}}
}

// smallReplica has contract acme with five seats of f and active pools.
func smallReplica(t tb, pools ...*fsmpb.Pool) *replica {
	r := newReplica(t)
	r.revise(1, 5, testEpoch.AddDate(1, 0, 0))
	for _, p := range pools {
		p.Contract, p.QueueLimit, p.Products = "acme", 10, []*fsmpb.PoolProduct{{Name: "f"}}
		r.must(poolBody(p, true))
		r.must(activatePoolBody(p.Name, true))
	}
	return r
}

func (r *replica) revise(revision, quantity uint64, expiry time.Time) {
	r.t.Helper()
	c := testContract("acme", revision, nil)
	c.Expiry, c.Products = expiry, map[string]signed.Product{"f": {Model: signed.Floating, Quantity: quantity}}
	r.must(contractBody(mustSign(r.t, c, vendorKey)))
}

// take checks out as a user with a handle of the user's own.
func (r *replica) take(pool string, user byte, count uint64) *fsmpb.Outcome {
	r.t.Helper()
	return r.must(checkoutBody(&fsmpb.Checkout{Pool: pool, Product: "f", User: string('a' + rune(user)), Client: "h", Count: count, Queue: true, Holder: holder(user)}))
}

func (r *replica) offered(ticket uint64, want bool) {
	r.t.Helper()
	x, refusal := r.s.View().Ticket(ticket)
	if refusal != nil || x.Ticket.Offered != want {
		r.t.Fatalf("ticket %d is offered: %t (%v), instead of %t", ticket, x.GetTicket().GetOffered(), refusal, want)
	}
}

// Q3: a ticket whose end has come is gone, applied or not: it gets no offer and no new life.
func TestTicketOverIsNotRevived(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 1})
	lease := r.take("p", 1, 1).GetLease().Lease.Id
	ticket := r.take("p", 2, 1).GetTicket().Ticket.Id
	r.now = r.now.Add(DefaultTicketTTL * time.Second)
	r.refused(TicketGone, keepBody(ticket, holder(2)))
	again := r.take("p", 2, 1).GetTicket().Ticket.Id
	if again == ticket {
		t.Fatalf("ticket %d was gone and is there again", ticket)
	}
	r.now = r.now.Add(DefaultTicketTTL * time.Second)
	r.must(checkInBody(lease, holder(1)))
	r.refused(TicketGone, claimBody(again, holder(2)))
	r.must(expireBody())
	r.refused(TicketGone, claimBody(again, holder(2)))
	checkRestored(t, r.s)
}

// Q2, P6: an offer whose end has come is not turned back into a waiting ticket.
func TestOfferOverIsNotRevived(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 1})
	lease := r.take("p", 1, 1).GetLease().Lease.Id
	ticket := r.take("p", 2, 1).GetTicket().Ticket.Id
	r.must(checkInBody(lease, holder(1)))
	r.offered(ticket, true)
	r.now = r.now.Add(DefaultOfferTTL * time.Second)
	r.must(activatePoolBody("p", false))
	r.refused(TicketGone, keepBody(ticket, holder(2)))
	checkRestored(t, r.s)
}

// Q2: what one pool returns of a contract's quantity is offered to who waits for it in another, also where neither is shared.
func TestReturnedSeatIsOfferedInOtherPools(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 2}, &fsmpb.Pool{Name: "q", Size: 2})
	lease := r.take("p", 1, 2).GetLease().Lease.Id
	r.take("q", 2, 1)
	r.revise(2, 3, testEpoch.AddDate(1, 0, 0))
	ticket := r.take("q", 3, 1).GetTicket().Ticket.Id
	r.must(checkInBody(lease, holder(1)))
	r.offered(ticket, true)
	checkRestored(t, r.s)
}

// Q1, Q2: of the tickets in the pools of a contract, the first that came has the offer.
func TestFirstComeAcrossSharedPools(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 5, Shared: true}, &fsmpb.Pool{Name: "q", Size: 5, Shared: true})
	lease := r.take("p", 1, 5).GetLease().Lease.Id
	first := r.take("q", 2, 3).GetTicket().Ticket.Id
	second := r.take("p", 3, 3).GetTicket().Ticket.Id
	r.must(checkInBody(lease, holder(1)))
	r.offered(first, true)
	r.offered(second, false)
	checkRestored(t, r.s)
}

// Q2, P3: what the end of a pool frees of a contract's quantity is offered in others.
func TestEndedPoolFreesSeatsForOthers(t *testing.T) {
	until := testEpoch.Add(time.Second)
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 5, Shared: true, ValidUntilMs: until.UnixMilli()}, &fsmpb.Pool{Name: "q", Size: 5, Shared: true})
	r.take("p", 1, 5)
	ticket := r.take("q", 2, 1).GetTicket().Ticket.Id
	r.now = until
	r.must(expireBody())
	r.offered(ticket, true)
	checkRestored(t, r.s)
}

// Q2: an offer's seats are held, also when the pool could not give so many any more; a ticket that waits for them is hopeless.
func TestOfferOutlivesShrink(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 5, Shared: true}, &fsmpb.Pool{Name: "q", Size: 2, Shared: true})
	lease := r.take("p", 1, 5).GetLease().Lease.Id
	offer, hopeless := r.take("p", 2, 4).GetTicket().Ticket.Id, r.take("p", 3, 4).GetTicket().Ticket.Id
	r.must(checkInBody(lease, holder(1)))
	q := clone(r.s.View().Pools("", "p", 1)[0].Pool.Pool)
	q.Shared = false
	r.must(poolBody(q, false))
	r.refused(TicketGone, claimBody(hopeless, holder(3)))
	r.must(claimBody(offer, holder(2)))
	checkRestored(t, r.s)
}

// Q1, K3: when its linger is over a seat is for those who wait, also if the end has not been applied.
func TestLingerOverGivesNoPrecedence(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 1, Linger: 20})
	lease := r.take("p", 1, 1).GetLease().Lease.Id
	r.take("p", 2, 1)
	r.must(checkInBody(lease, holder(1)))
	r.now = r.now.Add(20 * time.Second)
	if r.take("p", 1, 1).GetTicket() == nil {
		t.Fatal("who came back too late had the seat before those who wait")
	}
	checkRestored(t, r.s)
}

// The hour in which an offer is withdrawn counts the offer's seats.
func TestWithdrawnOfferIsCounted(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "p", Size: 1, OfferTtl: 7200})
	lease := r.take("p", 1, 1).GetLease().Lease.Id
	r.take("p", 2, 1)
	r.must(checkInBody(lease, holder(1)))
	r.now = r.now.Add(time.Hour)
	r.must(activatePoolBody("p", false))
	hour := r.now.UnixMilli() / hourMs
	if rows := r.s.View().Usage("p", "f", hour, hour+1, 1); len(rows) != 1 || rows[0].HighWater != 1 {
		t.Fatalf("the hour's usage is %v instead of 1 seat", rows)
	}
}

// E1, K7: a dry run of a request that was done before tells its outcome, also where the pool is gone since.
func TestDryRunOfRepeatedPoolThatIsGone(t *testing.T) {
	r := newReplica(t)
	r.revise(1, 5, testEpoch.AddDate(1, 0, 0))
	body := poolBody(&fsmpb.Pool{Name: "p", Contract: "acme", Size: 2, Products: []*fsmpb.PoolProduct{{Name: "f"}}}, true)
	r.send("create", body)
	r.must(&fsmpb.Body{Kind: &fsmpb.Body_DeletePool{DeletePool: &fsmpb.DeletePool{Pool: "p"}}})
	o, err := r.s.View().DryRun(mustCommand(t, "create", body), r.now.UnixMilli())
	if err != nil || !o.Repeated || o.GetPool().GetPool().GetPool().GetName() != "p" {
		t.Errorf("%v, %v", o, err)
	}
}

// Q2: seats beyond what a pool is promised, because it was made smaller since, are other pools' once they are free.
func TestSeatsBeyondAPromiseAreOffered(t *testing.T) {
	p := &fsmpb.Pool{Name: "p", Size: 5}
	r := smallReplica(t, p)
	for user := range byte(5) {
		r.take("p", user, 1)
	}
	less := clone(p)
	less.Size = 1
	r.must(poolBody(less, false))
	r.must(poolBody(&fsmpb.Pool{Name: "s", Contract: "acme", Size: 5, Shared: true, QueueLimit: 10, Products: []*fsmpb.PoolProduct{{Name: "f"}}}, true))
	r.must(activatePoolBody("s", true))
	r.take("s", 9, 1)
	r.offered(1, false)
	r.must(checkInBody(1, holder(0)))
	r.offered(1, true)
}

// Q2: the last seat that a shared pool has of what another pool was promised since is that pool's once it is free.
func TestSeatsOfASharedPoolAreOffered(t *testing.T) {
	r := smallReplica(t, &fsmpb.Pool{Name: "s", Size: 5, Shared: true})
	r.take("s", 0, 1)
	r.must(poolBody(&fsmpb.Pool{Name: "p", Contract: "acme", Size: 5, QueueLimit: 10, Products: []*fsmpb.PoolProduct{{Name: "f"}}}, true))
	r.must(activatePoolBody("p", true))
	r.take("p", 1, 4)
	r.take("p", 2, 1)
	r.offered(1, false)
	r.must(checkInBody(1, holder(0)))
	r.offered(1, true)
}
