package client

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the time since the machine was started, that in which it slept included.
func bootTime() (time.Duration, bool) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, false
	}
	return time.Duration(now.Nano()), true
}
