package sim

import (
	"sync"
	"time"
)

// clock is a site's: it runs fast or slow, and its wall clock is off.
type clock struct {
	mu sync.Mutex
	// from is when the rate was last changed, and steady what the clock showed then.
	from, steady time.Time
	rate         float64
	off          time.Duration
}

func newClock(rate float64, off time.Duration) *clock {
	now := time.Now()
	return &clock{from: now, steady: now, rate: rate, off: off}
}

// Now implements cluster.Clock.
func (c *clock) Now() (wall, steady time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	steady = c.at(time.Now())
	return steady.Add(c.off).Round(0), steady
}

func (c *clock) at(now time.Time) time.Time {
	return c.steady.Add(time.Duration(float64(now.Sub(c.from)) * c.rate))
}

// jump moves the wall clock alone.
func (c *clock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += by
}

// run changes how fast the clock runs from now on.
func (c *clock) run(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.from, c.steady, c.rate = now, c.at(now), rate
}

// correct sets the wall clock right, as far as others have it.
func (c *clock) correct() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.off = now.Sub(c.at(now))
}
