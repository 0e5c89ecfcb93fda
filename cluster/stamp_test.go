package cluster

import (
	"testing"
	"time"
)

// movedClock is a clock that a test moves: what was passed by, and how far the wall clock is ahead of that.
type movedClock struct{ passed, ahead time.Duration }

func (c *movedClock) Now() (wall, steady time.Time) {
	steady = time.Unix(1_700_000_000, 0).Add(c.passed)
	return steady.Add(c.ahead), steady
}

// D2: whatever a leader's wall clock does, by less than is noticed, leases have the time that passes: neither more, nor less but for what it takes
// stamps to come near to a wall clock that is behind.
func TestD2StampsRunEvenly(t *testing.T) {
	for _, steps := range [][]time.Duration{
		{0, 0},
		{300 * time.Millisecond, 0},
		{-560 * time.Millisecond, 0},
		{-560 * time.Millisecond, 0, -560 * time.Millisecond, 0},
		{300 * time.Millisecond, -300 * time.Millisecond, 300 * time.Millisecond},
		{500 * time.Millisecond, 900 * time.Millisecond, 0, 900 * time.Millisecond},
		{time.Second, 2 * time.Second, 1500 * time.Millisecond, 100 * time.Microsecond, -time.Second},
	} {
		source := new(movedClock)
		c := newClock(source, 5*time.Second)
		state := stamped{t: t}
		state.take(c)
		for i, ahead := range steps {
			source.passed += time.Second
			source.ahead = ahead
			state.take(c)
			passed := int64(i+1) * 1000
			if state.lease > passed+1 || state.lease < passed-passed/slew-2 {
				t.Errorf("steps to %v: after %d ms leases have had %d ms", steps, passed, state.lease)
			}
		}
	}
}

// D2: leaders whose clocks differ by what is allowed follow each other, and leases have the time that passes.
func TestD2TermsRunEvenly(t *testing.T) {
	sources := []*movedClock{{ahead: 4 * time.Second}, {}, {ahead: time.Second}}
	var clocks []*clock
	for _, s := range sources {
		clocks = append(clocks, newClock(s, 5*time.Second))
	}
	state := stamped{t: t}
	var passed int64
	var applied time.Time
	for term := range 30 {
		c := clocks[term%3]
		if term > 0 {
			c.begin(state.wall, applied)
		}
		for range 10 {
			state.take(c)
			applied = c.steady()
			for _, s := range sources {
				s.passed += 200 * time.Millisecond
			}
			passed += 200
			if ms := state.wall - sources[0].wall().UnixMilli(); ms > 0 {
				t.Fatalf("the state's clock is %d ms ahead of every node's", ms)
			}
		}
	}
	state.take(clocks[0])
	if state.lease > passed+30 || state.lease < passed-passed/slew-60 {
		t.Errorf("after %d ms leases have had %d ms", passed, state.lease)
	}
}

// In the end stamps are the wall clock's, after hours that it was behind for seconds.
func TestStampsComeNearToTheWallClock(t *testing.T) {
	source := &movedClock{ahead: 2 * time.Second}
	c := newClock(source, 5*time.Second)
	state := stamped{t: t}
	state.take(c)
	source.ahead = 0
	for range 2 * slew {
		source.passed += time.Second
		state.take(c)
	}
	if off := state.wall - source.wall().UnixMilli(); off > 1 {
		t.Errorf("stamps are still %d ms ahead", off)
	}
	// What is beyond belief is not carried on.
	c.begin(source.wall().Add(time.Hour).UnixMilli(), c.steady())
	if ms, jumped, fault := c.stamp(); fault != nil || jumped != 0 || ms != source.wall().Add(5*time.Second).UnixMilli() {
		t.Errorf("after an entry of the far future: %d, %d, %v", ms, jumped, fault)
	}
	c.begin(source.wall().Add(-time.Hour).UnixMilli(), c.steady())
	if ms, jumped, fault := c.stamp(); fault != nil || jumped != 5000 || ms != source.wall().UnixMilli() {
		t.Errorf("after an entry of long ago: %d, %d, %v", ms, jumped, fault)
	}
}

func (c *movedClock) wall() time.Time {
	wall, _ := c.Now()
	return wall
}

// stamped does with stamps what the state machine does: its wall clock, and the time that leases have had.
type stamped struct {
	t           *testing.T
	wall, lease int64
}

func (s *stamped) take(c *clock) {
	s.t.Helper()
	ms, jumped, fault := c.stamp()
	if fault != nil {
		s.t.Fatal(fault)
	}
	if s.wall != 0 {
		passed := max(0, ms-s.wall)
		s.lease += passed - min(jumped, passed)
	}
	s.wall = max(s.wall, ms)
}
