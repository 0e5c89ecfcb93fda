package client

import (
	"sync"
	"time"
)

// clock is how much time has passed since some moment of its own. Unlike Go's monotonic clock on most systems
// it runs on while the machine sleeps, as the cluster's does: a seat must not last longer for a laptop that was closed.
type clock func() time.Duration

func newClock() clock {
	if _, ok := bootTime(); ok {
		return func() time.Duration {
			now, _ := bootTime()
			return now
		}
	}
	begin := time.Now()
	return guarded(func() time.Duration { return time.Since(begin) }, func() time.Time { return time.Now().Round(0) })
}

// guarded makes a clock out of two that can't be relied on: a steady one that may stand still while the machine sleeps,
// and the wall clock, which may be set. It goes on by whichever went further since the last look, so that it is
// never late. A wall clock that is set forward makes it early.
func guarded(steady func() time.Duration, wall func() time.Time) clock {
	var mu sync.Mutex
	var total time.Duration
	lastSteady, lastWall := steady(), wall()
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		nowSteady, nowWall := steady(), wall()
		total += max(nowSteady-lastSteady, nowWall.Sub(lastWall))
		lastSteady, lastWall = nowSteady, nowWall
		return total
	}
}
