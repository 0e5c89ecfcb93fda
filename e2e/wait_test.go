package e2e

import (
	"context"
	"testing"
	"time"
)

const (
	// patience is how long a test waits for what must happen at last. It is no
	// measure of speed: the machine may be slow and busy.
	patience = 90 * time.Second
	// pollEvery is the pause between two looks.
	pollEvery = 20 * time.Millisecond
)

// eventually looks again and again until check has no complaint.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	if err := poll(patience, check); err != nil {
		t.Fatalf("%s: still not so after %s: %v", what, patience, err)
	}
}

// poll returns the last complaint once the time is up.
func poll(within time.Duration, check func() error) error {
	return pollEach(pollEvery, within, check)
}

func pollEach(every, within time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
