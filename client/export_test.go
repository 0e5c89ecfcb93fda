package client

import "time"

// SetClock replaces the clock that seats are counted on.
func (c *Client) SetClock(now func() time.Duration) { c.clock = now }

// Guarded makes a clock of two, and NewClock is the machine's.
var (
	Guarded  = guarded
	NewClock = newClock
)
