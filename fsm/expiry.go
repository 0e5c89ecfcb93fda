package fsm

import (
	"github.com/licet/licet/fsm/fsmpb"
)

// expireLimit is how many ends of each sort one command applies, so that no command takes long: dated ones, what pools
// that are over still have, and ends on the lease clock.
const expireLimit = 1000

// deadlineKind says what ends at a deadline.
type deadlineKind uint8

const (
	contractEnds deadlineKind = iota
	poolEnds
	borrowEnds
)

// deadline is a moment on the wall clock at which something ends.
type deadline struct {
	ms   int64
	kind deadlineKind
	// name is the contract's or pool's, id the lease's.
	name string
	id   uint64
}

func (a deadline) less(b deadline) bool {
	if a.ms != b.ms {
		return a.ms < b.ms
	}
	if a.kind != b.kind {
		return a.kind < b.kind
	}
	if a.name != b.name {
		return a.name < b.name
	}
	return a.id < b.id
}

func contractDeadline(c *Contract) deadline {
	return deadline{ms: c.endsMs(), kind: contractEnds, name: c.Doc.ID}
}

func poolDeadline(p *Pool) deadline {
	return deadline{ms: p.ValidUntilMs, kind: poolEnds, name: p.Name}
}

func borrowDeadline(l *Lease) deadline {
	return deadline{ms: l.EndsMs, kind: borrowEnds, id: l.ID}
}

// leaseDeadline is a moment on the lease clock at which a lease, an offer or a ticket ends. There is one for each:
// two words are kept, not three.
type leaseDeadline struct {
	ms int64
	// what is the id, doubled, and one more for a ticket.
	what uint64
}

func (l *Lease) deadline() leaseDeadline { return leaseDeadline{l.EndsMs, l.ID << 1} }

func (t *Ticket) deadline() leaseDeadline { return leaseDeadline{t.EndsMs, t.ID<<1 | 1} }

func (a leaseDeadline) id() uint64 { return a.what >> 1 }

func (a leaseDeadline) ticket() bool { return a.what&1 == 1 }

func (a leaseDeadline) less(b leaseDeadline) bool {
	if a.ms != b.ms {
		return a.ms < b.ms
	}
	return a.what < b.what
}

// expire ends what is due by the state's own clocks, whatever the proposer saw (rule D4).
func (s *State) expire() *fsmpb.Expired {
	done := new(fsmpb.Expired)
	s.sweepAccounts()
	s.dropOldStagings()
	for n := 0; n < expireLimit; n++ {
		next, ok := s.due.keys.Min()
		if !ok || next.ms > s.clock.WallMs {
			break
		}
		s.due.keys.PopMin()
		s.endDated(next, done)
	}
	for left := expireLimit; left > 0; {
		name, _, ok := s.ending.Min()
		if !ok {
			break
		}
		p, _ := s.pools.get(name)
		before := len(done.Leases) + len(done.Offers) + len(done.Tickets)
		s.drain(p, done, left)
		left -= len(done.Leases) + len(done.Offers) + len(done.Tickets) - before
	}
	for n := 0; n < expireLimit; n++ {
		next, ok := s.leaseDue.keys.Min()
		if !ok || next.ms > s.clock.LeaseMs() {
			break
		}
		s.endLeased(next, done)
	}
	due, ok := s.nextDue()
	done.More = ok && due <= s.clock.WallMs
	return done
}

// endDated ends what ends on the wall clock.
func (s *State) endDated(next deadline, done *fsmpb.Expired) {
	switch next.kind {
	case contractEnds:
		old, _ := s.contracts.get(next.name)
		c := edit(old)
		c.Ended = true
		s.contracts.set(&s.digest, next.name, c)
		for _, p := range s.contractPools(next.name) {
			s.markEnding(p)
		}
		done.Contracts++
	case poolEnds:
		old, _ := s.pools.get(next.name)
		p := edit(old)
		p.Ended = true
		s.setPool(p)
		s.markEnding(p)
		done.Pools++
	case borrowEnds:
		l, _ := s.leases.get(next.id)
		s.endLease(l)
		done.Leases = append(done.Leases, next.id)
	}
}

// endLeased ends what ends on the lease clock: a silent lease is reclaimed (rule K2), an offer
// passes to the next (rule Q2), a ticket nobody asks for is dropped (rule Q3).
func (s *State) endLeased(next leaseDeadline, done *fsmpb.Expired) {
	if !next.ticket() {
		l, _ := s.leases.get(next.id())
		s.endLease(l)
		done.Leases = append(done.Leases, next.id())
		return
	}
	t, _ := s.tickets.get(next.id())
	p := s.poolNumbered(t.pool)
	s.dropTicket(p, t)
	if t.Offered {
		done.Offers = append(done.Offers, next.id())
	} else {
		done.Tickets = append(done.Tickets, next.id())
	}
}

// markEnding notes whether a pool that is over still has something to end (rules C5, P3).
func (t *tables) markEnding(p *Pool) {
	c, _ := t.contracts.get(p.Contract)
	over := p.Ended || c.Ended
	if p.Deleting || over && (t.hasLeases(p) || t.hasTickets(p)) {
		t.ending.Set(p.Name, struct{}{})
	} else {
		t.ending.Delete(p.Name)
	}
}

// unmarkEnding is for what has just lost a lease or ticket.
func (t *tables) unmarkEnding(p *Pool) {
	if t.ending.Len() > 0 {
		t.markEnding(p)
	}
}

// nextDue is the wall time at which the next thing ends.
func (t *tables) nextDue() (ms int64, ok bool) {
	if t.ending.Len() > 0 || t.orphans.Len() > 0 {
		return t.clock.WallMs, true
	}
	next, ok := t.due.keys.Min()
	ms = next.ms
	if staged, some := t.stagingsDue(); some && (!ok || staged < ms) {
		ms, ok = staged, true
	}
	if lease, some := t.leaseDue.keys.Min(); some && (!ok || lease.ms+t.clock.PauseMs < ms) {
		// The lease clock stands still without a leader, so that this is the earliest it can be.
		ms, ok = lease.ms+t.clock.PauseMs, true
	}
	return ms, ok
}

// NextDue returns when the next end is due, in milliseconds of the wall clock
// since 1970-01-01 UTC; false if nothing will ever end.
func (v *View) NextDue() (ms int64, ok bool) { return v.nextDue() }
