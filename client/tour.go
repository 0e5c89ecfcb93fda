package client

import (
	"math/rand/v2"
	"time"
)

// Bounds of the wait before an endpoint is asked again, unless it names one itself.
const (
	leastWait = 50 * time.Millisecond
	mostWait  = 2 * time.Second
)

// tour decides which endpoint a call asks next. An endpoint that failed is not
// asked again before its own time; until then it is the others' turn.
type tour struct {
	stops []stop
	// turn is the index of the stop that comes next.
	turn int
}

type stop struct {
	endpoint string
	// open is when it may be asked; zero means at once.
	open   time.Time
	failed int
	// out: it is of no use.
	out bool
}

func newTour(endpoints []string, first int) *tour {
	t := &tour{stops: make([]stop, len(endpoints)), turn: first % len(endpoints)}
	for i, endpoint := range endpoints {
		t.stops[i].endpoint = endpoint
	}
	return t
}

// next is the stop that opens first, in the order of turns among those that
// are open by now; nil if none is of use.
func (t *tour) next(now time.Time) (s *stop, wait time.Duration) {
	at := 0
	for i := range t.stops {
		n := (t.turn + i) % len(t.stops)
		candidate := &t.stops[n]
		left := max(0, candidate.open.Sub(now))
		if !candidate.out && (s == nil || left < wait) {
			s, wait, at = candidate, left, n
		}
	}
	t.turn = (at + 1) % len(t.stops)
	return s, wait
}

// index tells which endpoint a stop is.
func (t *tour) index(s *stop) int32 {
	for i := range t.stops {
		if &t.stops[i] == s {
			return int32(i)
		}
	}
	return 0
}

// failure closes a stop for as long as its node asked, or ever longer. The
// random part keeps the clients of a node that comes back from coming at once.
func (s *stop) failure(now time.Time, after time.Duration) {
	wait := backOff(s.failed)
	s.failed++
	if after > 0 {
		wait = after + jitter(after/8)
	}
	s.open = now.Add(wait)
}

// backOff is how long to wait after so many failures before the last one.
func backOff(failed int) time.Duration {
	wait := min(mostWait, leastWait<<min(failed, 10))
	return wait/2 + jitter(wait/2)
}

func jitter(most time.Duration) time.Duration {
	return rand.N(max(most, 1)) //nolint:gosec // G404: nobody gains by guessing how long a client waits
}
