package fsm

import "time"

// Clock is the state's time: the wall clock, and how long it has gone on
// without a leader in all. The lease clock is their difference (rule D2).
type Clock struct {
	// WallMs is the wall clock, milliseconds since 1970-01-01 UTC. It never goes back.
	WallMs int64
	// PauseMs is the sum of all times without a leader.
	PauseMs int64
}

// Wall is the time that dates are compared with.
func (c Clock) Wall() time.Time { return time.UnixMilli(c.WallMs).UTC() }

// LeaseMs is the lease clock. It advances with the wall clock, stands
// still while there is no leader and never goes back.
func (c Clock) LeaseMs() int64 { return c.WallMs - c.PauseMs }

// tick moves the clock to a leader's stamp, of which the last pause
// milliseconds or less had no leader. A stamp from before is the present.
func (c Clock) tick(stampMs, pauseMs int64) Clock {
	wall := max(c.WallMs, stampMs)
	if c.WallMs == 0 {
		return Clock{WallMs: wall}
	}
	pause := min(max(pauseMs, 0), wall-c.WallMs)
	return Clock{WallMs: wall, PauseMs: c.PauseMs + pause}
}
