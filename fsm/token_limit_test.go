package fsm

import (
	"fmt"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
)

// limitRun has commands of several actors decided on one pool.
type limitRun struct {
	t tb
	s *State
	n int
}

func newLimitRun(t tb) *limitRun {
	m := newSeatRun(t, map[string]string{})
	return &limitRun{t: t, s: m.s}
}

func (r *limitRun) as(actor string, body *fsmpb.Body) *fsmpb.Outcome {
	r.n++
	c, err := NewCommand(actor, fmt.Sprint("limit", r.n), body)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.s.Step(c, body)
}

func seatFor(user string, queue bool) *fsmpb.Body {
	return checkoutBody(&fsmpb.Checkout{Pool: "p0", Product: "g", User: user, Client: "h1", Count: 1, Holder: holder(1), Queue: queue})
}

// The numbers of a refusal, and what counts: a bulk's items, each for who sent it; a claimed offer, for who claims.
func TestClientLimits(t *testing.T) {
	r := newLimitRun(t)
	first := r.as("token-1", seatFor("a", false)).GetLease()
	if first.GetLease().GetApiToken() != 1 {
		t.Fatalf("%v", first)
	}
	refused := r.as("token-1", seatFor("b", true))
	if refused.Refusal.GetCode() != string(ClientLimitReached) || Detail(refused.Refusal) != "API token 1 (limited1) has 1 leases, 1 are the most." {
		t.Fatalf("%v: %s", refused, Detail(refused.Refusal))
	}
	bulk := r.as("token-1", &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: []*fsmpb.Body{seatFor("b", false), checkInBody(first.Lease.Id, holder(1)), seatFor("b", false)}}}})
	list := bulk.GetBulk().GetOutcomes()
	if list[0].Refusal.GetCode() != string(ClientLimitReached) || list[2].Refusal.GetCode() != string(ClientLimitReached) {
		// The seat lingers, and counts until then.
		t.Errorf("%v", list)
	}
	for _, x := range []struct {
		actor string
		want  Code
	}{{"token-1", ClientLimitReached}, {"token-2", ""}, {"ann", ""}} {
		conditions, err := r.s.View().Explain(seatFor("b", false).GetCheckout(), x.actor, testEpoch.UnixMilli())
		if err != nil || conditions[11].Name != "client_limit" || conditions[11].Refusal.GetCode() != string(x.want) {
			t.Errorf("%s: %v, %v", x.actor, conditions, err)
		}
	}
	// Nothing is counted of who has no limits.
	r.as("token-4", seatFor("c", false))
	if leases, tickets := r.s.View().HeldBy(4); leases+tickets != 0 || r.s.holds.Len() != 1 {
		t.Errorf("%d, %d of token 4, %d tokens are counted", leases, tickets, r.s.holds.Len())
	}
	r.as("ann", seatFor("d", false))
	waits := r.as("token-3", seatFor("e", true)).GetTicket()
	r.as("token-3", seatFor("f", true))
	if full := r.as("token-3", seatFor("h", true)); full.Refusal.GetCode() != string(ClientLimitReached) {
		t.Errorf("a third ticket: %v", full)
	}
	if leases, tickets := r.s.View().HeldBy(3); leases != 0 || tickets != 2 || waits.GetTicket().GetApiToken() != 3 {
		t.Errorf("%d leases, %d tickets: %v", leases, tickets, waits)
	}
	checkDigest(t, r.s)
}

// A seat that lingers makes way for what its own user asks for with the same token, and for nothing else.
func TestLingeringLeaseMakesWay(t *testing.T) {
	r := newLimitRun(t)
	first := r.as("token-1", seatFor("a", false)).GetLease()
	r.as("token-1", checkInBody(first.Lease.Id, holder(1)))
	if o := r.as("token-1", seatFor("b", false)); o.Refusal.GetCode() != string(ClientLimitReached) {
		t.Errorf("another user: %v", o)
	}
	if o := r.as("token-1", seatFor("a", false)); o.Refusal != nil {
		t.Errorf("the same user: %v", o)
	}
	if leases, _ := r.s.View().HeldBy(1); leases != 1 {
		t.Errorf("%d leases", leases)
	}
}

// A claimed offer counts for whoever claims it, and is held against his limit.
func TestClaimsAreLimited(t *testing.T) {
	r := newLimitRun(t)
	var last uint64
	for _, user := range []string{"a", "b", "c"} {
		last = r.as("ann", seatFor(user, false)).GetLease().GetLease().GetId()
	}
	ticket := r.as("token-1", seatFor("w", true)).GetTicket().GetTicket().GetId()
	elsewhere := checkoutBody(&fsmpb.Checkout{Pool: "p3", Product: "f", User: "w", Client: "h1", Count: 1, Holder: holder(1)})
	if o := r.as("token-1", elsewhere); o.Refusal != nil || ticket == 0 {
		t.Fatalf("ticket %d, %v", ticket, o)
	}
	r.as("ann", &fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: last}}})
	claim := &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: ticket, Holder: holder(1)}}}
	if o := r.as("token-1", claim); o.Refusal.GetCode() != string(ClientLimitReached) {
		t.Errorf("%v", o)
	}
	if o := r.as("token-2", claim); o.GetLease().GetLease().GetApiToken() != 2 {
		t.Errorf("%v", o)
	}
	if wrong := wrongHolds(r.s); wrong != "" {
		t.Error(wrong)
	}
}

// A backup of another cluster names tokens that are not those of the same numbers here.
func TestLimitsOfARestoredBackup(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		r := newLimitRun(t)
		r.as("token-2", seatFor("a", false))
		present := r.s.View()
		if foreign {
			present = newLimitRun(t).s.View()
			other := edit(present.meta)
			other.ClusterID = "another"
			s := present.Fork()
			s.setMeta(other)
			present = s.View()
		}
		s := present.Fork()
		s.counters.lastToken = 5
		s.setToken(&Token{ID: 5, Name: "op", Role: Operator})
		if err := r.s.Succeed(s.View(), Restoration{Index: 100, Term: 1, NowMs: testEpoch.UnixMilli(), Actor: "ann", RequestID: "r"}); err != nil {
			t.Fatal(err)
		}
		leases, _ := r.s.View().HeldBy(2)
		if want := map[bool]uint64{false: 1, true: 0}[foreign]; leases != want {
			t.Errorf("foreign %v: %d leases of token 2", foreign, leases)
		}
		if wrong := wrongHolds(r.s); wrong != "" {
			t.Error(wrong)
		}
		checkRestored(t, r.s)
	}
}

// Limits are a client's, and bounded.
func TestTokenLimitsThatAreNone(t *testing.T) {
	r := newTokenRun(t)
	for _, x := range []struct {
		role            Role
		leases, tickets uint64
	}{{Operator, 1, 0}, {Auditor, 0, 1}, {OfClient, MaxTokenLimit + 1, 0}, {OfClient, 0, MaxTokenLimit + 1}} {
		body := tokenBody("x", x.role, nil)
		body.GetCreateToken().MaxLeases, body.GetCreateToken().MaxTickets = x.leases, x.tickets
		if o := r.do(body); o.Refusal.GetCode() != string(Invalid) {
			t.Errorf("%v: %v", x, o)
		}
	}
}
