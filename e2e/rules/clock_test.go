package rules_test

import (
	"sync"
	"time"

	"github.com/licet/licet/e2e/rules"
)

// driven is a clock that moves only when a script moves it. All nodes of a cluster share it.
type driven struct {
	mu           sync.Mutex
	wall, steady time.Time
}

func newDriven() *driven { return &driven{wall: rules.Epoch, steady: rules.Epoch} }

// Now implements cluster.Clock.
func (c *driven) Now() (wall, steady time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall, c.steady
}

// set moves the clock. Forward is time that passes; back is a wall clock that somebody sets, which takes no
// time back.
func (c *driven) set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed := to.Sub(c.wall); passed > 0 {
		c.steady = c.steady.Add(passed)
	}
	c.wall = to
}

func (c *driven) now() time.Time {
	wall, _ := c.Now()
	return wall
}
