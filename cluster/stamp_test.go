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

// D2: whatever a leader's wall clock does, no lease has less time by it: not one from before, and not one that was given
// while it was behind.
func TestD2NoStepOfTheWallClockTakesTimeFromALease(t *testing.T) {
	for _, steps := range [][]time.Duration{
		{0, 0},
		{300 * time.Millisecond, 0},
		{-560 * time.Millisecond, 0},
		{-560 * time.Millisecond, 0, -560 * time.Millisecond, 0},
		{300 * time.Millisecond, -300 * time.Millisecond, 300 * time.Millisecond},
		{500 * time.Millisecond, 900 * time.Millisecond, 0, 900 * time.Millisecond},
	} {
		source := new(movedClock)
		c := newClock(source, 5*time.Second)
		var wall, lease int64
		stamp := func() int64 {
			ms, jumped, fault := c.stamp()
			if fault != nil {
				t.Fatal(fault)
			}
			if wall != 0 {
				passed := max(0, ms-wall)
				lease += passed - min(jumped, passed) // as the state machine does
			}
			wall = max(wall, ms)
			return lease
		}
		begun := stamp()
		given := []int64{begun}
		for i, ahead := range steps {
			source.passed += time.Second
			source.ahead = ahead
			now := stamp()
			for at, then := range given {
				if most := int64(i+1-at) * 1000; now-then > most {
					t.Errorf("steps to %v: a lease of second %d has had %d ms of at most %d by second %d", steps, at, now-then, most, i+1)
				}
			}
			given = append(given, now)
		}
	}
}
