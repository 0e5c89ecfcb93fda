//go:build !linux

package client

import "time"

// bootTime: there is no such clock that this package knows how to read.
func bootTime() (time.Duration, bool) { return 0, false }
