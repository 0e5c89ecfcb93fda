package cluster

import (
	"maps"
	"sync"
	"time"
)

// Clock tells a node the time. Raft's own timers do not use it.
type Clock interface {
	// Now reads two clocks at once: the wall clock, and one that runs evenly whatever is done to the
	// wall clock. The steady one has no meaning but in differences.
	Now() (wall, steady time.Time)
}

// ClockStatus is how a node's clock compares with the others' (rule D3).
type ClockStatus struct {
	// Others has by how much each other node's clock was ahead of this one's when they were last
	// compared; nil if they were not yet. Nodes that did not answer in time are not in it.
	Others map[string]time.Duration
	// Age is how long ago that was.
	Age time.Duration
	// Limit is how far apart they may be.
	Limit time.Duration
	// Fault is an *Error that says why the node's clock is not believed, nil if it is.
	Fault error
}

// Worst is the node whose clock differs most, and by how much it is ahead; "" if none was compared.
func (s ClockStatus) Worst() (node string, ahead time.Duration) {
	for id, d := range s.Others {
		if node == "" || d.Abs() > ahead.Abs() || d.Abs() == ahead.Abs() && id < node {
			node, ahead = id, d
		}
	}
	return node, ahead
}

// systemClock is the machine's: the steady time is that with the monotonic reading.
type systemClock struct{}

func (systemClock) Now() (wall, steady time.Time) {
	now := time.Now()
	// gofail: var clockOffset int
	// return now.Round(0).Add(time.Duration(clockOffset) * time.Millisecond), now
	return now.Round(0), now
}

// clock stamps entries while the node's wall clock can be believed (rule D3). It
// is believed as long as it agrees with the clocks of the other nodes, and in
// between two comparisons as long as it runs as fast as the steady clock.
//
// Safe for concurrent use.
type clock struct {
	Clock

	mu      sync.Mutex
	most    time.Duration
	others  map[string]time.Duration // by how much each was ahead at the last comparison
	checked time.Time                // steady
	at      time.Time                // wall at that moment
	fault   *Error

	// even is what entries are stamped by: it showed this at evenAt of the steady clock.
	even, evenAt time.Time
}

// slew is how many seconds it takes to come one nearer to a wall clock that is behind, as adjtime(3) has it.
const slew = 2000

func newClock(source Clock, most time.Duration) *clock {
	c := &clock{Clock: source, most: most}
	c.mark()
	c.even, c.evenAt = c.Now()
	return c
}

// begin starts a term: stamps go on from the last entry's, of lastMs, which was applied here at a reading of the steady clock, and from which time
// has passed evenly since, whoever stamped it. A node that has just replayed its log has seen too little pass; believed clocks are
// no further apart than their limit.
func (c *clock) begin(lastMs int64, applied time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.even, c.evenAt = c.Now()
	if lastMs != 0 {
		passed := c.evenAt.Sub(applied)
		c.even = c.near(c.even, time.UnixMilli(lastMs).Add(passed))
	}
}

// near is a time, or what is nearest to it of what the wall clock may be off by. The clock is locked.
func (c *clock) near(wall, t time.Time) time.Time {
	switch ahead := t.Sub(wall); {
	case ahead > c.most:
		return wall.Add(c.most)
	case ahead < -c.most:
		return wall.Add(-c.most)
	}
	return t
}

func (c *clock) setLimit(most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = most
}

// agrees reports whether a node's clock was near enough when they were last compared.
func (c *clock) agrees(node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, known := c.others[node]
	return known && d.Abs() <= c.most
}

// compared is what the last comparison came to.
func (c *clock) compared() ClockStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ClockStatus{Limit: c.most, Others: maps.Clone(c.others)}
	if c.fault != nil {
		s.Fault = c.fault
	}
	if s.Others != nil {
		_, steady := c.Now()
		s.Age = steady.Sub(c.checked)
	}
	return s
}

func (c *clock) mark() { c.at, c.checked = c.Now() }

// wall reads the wall clock.
func (c *clock) wall() time.Time {
	wall, _ := c.Now()
	return wall
}

// steady reads the steady clock.
func (c *clock) steady() time.Time {
	_, steady := c.Now()
	return steady
}

// since is how much time has passed since a reading of the steady clock, or since a wall clock's that
// an earlier process left.
func (c *clock) since(t time.Time) time.Duration { return c.steady().Sub(t) }

// stamp returns the time to stamp an entry with, in milliseconds, or why the wall clock is not believed. That is the wall clock; while that is
// behind what earlier stamps said, its own or another leader's, stamps run on nearly evenly until it has caught up, as leases would
// last longer if time stood still (rule D2). Jumped is how far the wall clock is ahead: time that no lease has had.
func (c *clock) stamp() (ms, jumped int64, fault *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		return 0, 0, c.fault
	}
	now, steady := c.Now()
	if jump := now.Sub(c.at.Add(steady.Sub(c.checked))); jump.Abs() > c.most {
		return 0, 0, errorf(ClockSkew, "This node's clock jumped by %s, more than %s; it writes nothing until other nodes confirm its time.",
			jump.Round(time.Millisecond), c.most)
	}
	even := c.evenly(now, steady)
	if lead := now.Sub(even); lead > time.Millisecond {
		jumped = lead.Milliseconds()
		even = even.Add(time.Duration(jumped) * time.Millisecond)
	}
	c.even, c.evenAt = even, steady
	return later(now, even).UnixMilli(), jumped, nil
}

// next is the time in milliseconds that a stamp would say now.
func (c *clock) next() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, steady := c.Now()
	return later(now, c.evenly(now, steady)).UnixMilli()
}

// evenly is what stamps come to if nothing jumps: nearer to a wall clock that is behind. The clock is locked.
func (c *clock) evenly(now, steady time.Time) time.Time {
	passed := steady.Sub(c.evenAt)
	even := c.even.Add(passed)
	if even.After(now) {
		even = c.near(now, later(now, even.Add(-passed/slew)))
	}
	return even
}

// compare takes the differences of other nodes' clocks from this one's, and keeps the map. A
// clock with which at least as many nodes disagree as agree, itself included, is not
// believed. Nodes that could not be asked don't count.
func (c *clock) compare(differences map[string]time.Duration) (disagree int, fault *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var worst time.Duration
	var which string
	for node, d := range differences {
		if d.Abs() > c.most {
			disagree++
			if d.Abs() > worst.Abs() {
				worst, which = d, node
			}
		}
	}
	agree := 1 + len(differences) - disagree
	c.fault = nil
	c.others = differences
	if disagree >= agree {
		c.fault = errorf(ClockSkew, "This node's clock differs from that of %d of %d nodes asked, most from %s: by %s; %s is allowed.",
			disagree, len(differences), which, worst.Round(time.Millisecond), c.most)
	}
	c.mark()
	return disagree, c.fault
}

// suspect reports the present fault, if any.
func (c *clock) suspect() *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}
