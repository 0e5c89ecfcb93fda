package fsm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
)

// Limits of a client's API token, unless others are asked for, and the highest that can be.
const (
	DefaultMaxLeases  = 10_000
	DefaultMaxTickets = 1_000
	MaxTokenLimit     = 1_000_000_000
)

// tokenHold counts the leases and tickets that were taken with an API token which has limits. Leases that linger and
// tickets that have an offer count.
type tokenHold struct{ leases, tickets uint64 }

// hold counts leases and tickets of an API token in or out; 0 is nobody's number.
func (t *tables) hold(token uint64, leases, tickets int64) {
	if token == 0 {
		return
	}
	h, _ := t.holds.Get(token)
	add(&h.leases, leases)
	add(&h.tickets, tickets)
	if h == (tokenHold{}) {
		t.holds.Delete(token)
		return
	}
	t.holds.Set(token, h)
}

// limited finds the API token of who asks, if it has limits; nil for anybody else. Rows name such tokens alone: a build that
// knows no limits meets none of them, and decides all others alike (ADR 26).
func (t *tables) limited(actor string) *Token {
	number, ok := strings.CutPrefix(actor, tokenActor)
	if !ok {
		return nil
	}
	id, _ := strconv.ParseUint(number, 10, 64)
	if x, ok := t.tokens.get(id); ok && x.limited() {
		return x
	}
	return nil
}

func (x *Token) limited() bool { return x.MaxLeases != 0 || x.MaxTickets != 0 }

// number is what rows keep of a token with limits, 0 for none.
func (x *Token) number() uint64 {
	if x == nil {
		return 0
	}
	return x.ID
}

// checkTokenLimits refuses limits that a role does not have, or that are none.
func checkTokenLimits(role Role, leases, tickets uint64) error {
	var errs []error
	for _, x := range []struct {
		field string
		n     uint64
	}{{"max_leases", leases}, {"max_tickets", tickets}} {
		switch {
		case x.n != 0 && role != OfClient:
			errs = append(errs, fmt.Errorf("%s: the role %s has none", x.field, role))
		case x.n > MaxTokenLimit:
			errs = append(errs, fmt.Errorf("%s: %d is more than %d", x.field, x.n, MaxTokenLimit))
		}
	}
	return errors.Join(errs...)
}

// leasesLeft refuses one lease more to a token that has as many as it may, but for those that make way.
func (t *tables) leasesLeft(x *Token, leaving uint64) *fsmpb.Refusal {
	if x == nil || x.MaxLeases == 0 {
		return nil
	}
	h, _ := t.holds.Get(x.ID)
	return limitRefusal(x, "leases", h.leases, leaving, x.MaxLeases)
}

// ticketsLeft is leasesLeft for tickets.
func (t *tables) ticketsLeft(x *Token, leaving uint64) *fsmpb.Refusal {
	if x == nil || x.MaxTickets == 0 {
		return nil
	}
	h, _ := t.holds.Get(x.ID)
	return limitRefusal(x, "tickets", h.tickets, leaving, x.MaxTickets)
}

func limitRefusal(x *Token, what string, held, leaving, most uint64) *fsmpb.Refusal {
	if held-leaving < most {
		return nil
	}
	return refuse(ClientLimitReached, "token", x.ID, "name", x.Name, "what", what, "held", held, "max", most)
}

// checkClientLimit holds a newcomer against the limit of his API token. A lingering lease of the same token makes way for what he asks.
func (r *request) checkClientLimit() *fsmpb.Refusal {
	if r.by == nil {
		return nil
	}
	leaving := uint64(0)
	if own := r.lingering(); own != nil && own.apiToken == r.by.ID {
		leaving = 1
	}
	return r.t.leasesLeft(r.by, leaving)
}

// forgetHolds makes leases and tickets nobody's that name API tokens of another cluster.
func (s *State) forgetHolds() {
	for _, l := range s.leases.rows.Values() {
		if l.apiToken != 0 {
			next := edit(l)
			next.apiToken = 0
			s.leases.set(&s.digest, l.ID, next)
			s.hold(l.apiToken, -1, 0)
		}
	}
	for _, x := range s.tickets.rows.Values() {
		if x.apiToken != 0 {
			next := edit(x)
			next.apiToken = 0
			s.tickets.set(&s.digest, x.ID, next)
			s.hold(x.apiToken, 0, -1)
		}
	}
}

// HeldBy is how many leases and tickets were taken with an API token and are there still; nothing is counted of tokens without limits.
func (v *View) HeldBy(token uint64) (leases, tickets uint64) {
	h, _ := v.holds.Get(token)
	return h.leases, h.tickets
}
