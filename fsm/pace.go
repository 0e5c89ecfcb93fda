package fsm

import "github.com/licet/licet/fsm/fsmpb"

// paceWeight is how many intervals the mean of a pace is about.
const paceWeight = 8

// Pace is how fast a pool's queue moves, immutable (rule Q3). It is kept by offers alone, so that to
// check out and return costs nothing for it.
type Pace struct {
	// Pool is the pool's number.
	Pool uint64
	// SinceMs is on the lease clock: the last offer, or when somebody began to wait where nobody did.
	SinceMs int64
	// MeanMs is the moving mean of the intervals between offers, of which there were Offers.
	MeanMs int64
	Offers uint64
	hashed
}

func (x *Pace) message(*encoder) (recordKind, message) {
	return 45, &fsmpb.PaceRecord{Pool: x.Pool, SinceMs: x.SinceMs, MeanMs: x.MeanMs, Offers: x.Offers}
}

func paceFromProto(r *fsmpb.PaceRecord) *Pace {
	return &Pace{Pool: r.Pool, SinceMs: r.SinceMs, MeanMs: r.MeanMs, Offers: r.Offers}
}

// beginPace is for the first who waits where nobody did: the time before counts for no interval.
func (s *State) beginPace(p *Pool) {
	next := &Pace{Pool: p.ID}
	if old, ok := s.paces.get(p.ID); ok {
		next = edit(old)
	}
	next.SinceMs = s.clock.LeaseMs()
	s.paces.set(&s.digest, p.ID, next)
}

// notePace ends an interval with an offer.
func (s *State) notePace(p *Pool) {
	now := s.clock.LeaseMs()
	next := &Pace{Pool: p.ID, SinceMs: now}
	if old, ok := s.paces.get(p.ID); ok {
		next = edit(old)
	}
	if interval := now - next.SinceMs; next.Offers == 0 {
		next.MeanMs = interval
	} else {
		next.MeanMs += (interval - next.MeanMs) / paceWeight
	}
	next.SinceMs = now
	next.Offers++
	s.paces.set(&s.digest, p.ID, next)
}

// wait estimates how long a ticket with so many ahead will wait for its offer, in milliseconds; 0 if
// the pool has made no offer yet. A queue that has stood still for longer than its mean is as slow as that.
func (t *tables) wait(pool, ahead uint64) int64 {
	x, ok := t.paces.get(pool)
	if !ok || x.Offers == 0 {
		return 0
	}
	return int64(ahead+1) * max(x.MeanMs, t.clock.LeaseMs()-x.SinceMs, 1) //nolint:gosec // G115: a number of rows, entries or terms, which never comes near 2^63
}
