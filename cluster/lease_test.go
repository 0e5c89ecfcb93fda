package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// seat asks for the one seat of a pool, to queue where there is none.
func seat(pool, user string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: &fsmpb.Checkout{
		Pool: pool, Product: "cad", User: user, Client: "ws", Queue: true, Holder: make([]byte, fsm.HolderSize),
	}}}
}

// putPool serves a pool of one seat whose leases have the given TTL.
func (s *site) putPool(name string, ttl uint32) {
	s.t.Helper()
	for _, body := range []*fsmpb.Body{
		{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Create: true, Pool: &fsmpb.Pool{
			Name: name, Contract: "seats", Size: 1, QueueLimit: 1, TtlMin: fsm.MinTTL, TtlDefault: ttl, Products: []*fsmpb.PoolProduct{{Name: "cad"}},
		}}}},
		{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: name, Active: true}}},
	} {
		if o := s.propose(body); o.Refusal != nil {
			s.t.Fatal(fsm.Detail(o.Refusal))
		}
	}
}

// putSeats imports a contract with many seats.
func (s *site) putSeats() {
	s.t.Helper()
	c := &signed.Contract{
		ID: "seats", Revision: 1, Customer: "ACME", Email: "a@example.org", Products: map[string]signed.Product{"cad": {Model: signed.Floating, Quantity: 1000}},
		Start: time.Unix(0, 0).UTC(), Expiry: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	document, err := c.Sign(vendor)
	if err != nil {
		s.t.Fatal(err)
	}
	if o := s.propose(&fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}}); o.Refusal != nil {
		s.t.Fatal(fsm.Detail(o.Refusal))
	}
}

// D4, K2: with leases out, an idle cluster writes nothing until one of them is due. Its one entry then reclaims that lease
// and offers the seat to who waits, within a second on the state's own clock.
func TestD4LeasesAreQuietUntilOneIsDue(t *testing.T) {
	list := startAll(t, 3)
	leader := leaderOf(t, list)
	leader.putSeats()
	for i := range 20 {
		pool := fmt.Sprint("quiet-", i)
		leader.putPool(pool, 3600)
		leader.propose(seat(pool, "ann"))
	}
	// An election writes an entry of its own: what is shown is shown of one term.
	for round := range 10 {
		if leaderOf(t, list).ending(fmt.Sprint("due-", round), list) {
			sameDigests(t, list)
			return
		}
		t.Logf("round %d: another node was elected", round)
	}
	t.Fatal("no leader lasted as long as the shortest lease")
}

// ending has a lease end while another user waits, and looks at all nodes meanwhile; false if there was an election.
func (s *site) ending(pool string, list []*site) bool {
	s.t.Helper()
	s.putPool(pool, fsm.MinTTL)
	granted := s.propose(seat(pool, "ann"))
	asked := s.propose(seat(pool, "bob"))
	silent := granted.GetLease()
	ticket := asked.GetTicket().GetTicket().GetId()
	if silent == nil || ticket == 0 {
		s.t.Fatalf("the seat of the pool came to %v and %v", silent, asked)
	}
	if granted.Term != asked.Term {
		// The lease lasts longer by the time without a leader (D2).
		return false
	}
	for _, x := range list {
		elected := false
		eventually(s.t, "the lease has been reclaimed on "+x.options.ID, func() error {
			view := x.node.Status().View
			if elected = view.Term() != asked.Term; elected {
				return nil
			}
			return x.reclaimed(view, silent, ticket, asked.Index)
		})
		if elected {
			return false
		}
	}
	return true
}

// reclaimed says that a node's lease is still there, and ends the test if it goes otherwise than it should.
func (s *site) reclaimed(view *fsm.View, silent *fsmpb.LeaseStatus, ticket, quiet uint64) error {
	s.t.Helper()
	if _, ended := view.Lease(silent.Lease.Id); ended == nil {
		if view.Index() > quiet {
			s.t.Fatalf("%s wrote entry %d before anything was due", s.options.ID, view.Index())
		}
		return fmt.Errorf("it is there at index %d", view.Index())
	}
	if view.Index() != quiet+1 {
		s.t.Fatalf("%s took %d entries to end a lease, instead of one", s.options.ID, view.Index()-quiet)
	}
	if late := view.Clock().WallMs - silent.EndsMs; late < 0 || late > 1000 {
		s.t.Fatalf("%s ended the lease %d ms after its end", s.options.ID, late)
	}
	if x, gone := view.Ticket(ticket); gone != nil || !x.Ticket.Offered {
		s.t.Fatalf("the seat is not offered to who waits: %v %v", x, gone)
	}
	return nil
}
