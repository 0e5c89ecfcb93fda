package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// operation does one thing and returns when its outcome is known. Its caller's number is from 0; n is from 0 too, and no
// two operations of a load have the same.
type operation func(ctx context.Context, caller, n int) error

// load is how operations are asked for.
type load struct {
	// Callers wait for one answer each.
	Callers int `json:"callers"`
	// Rate is how many operations a second are begun, whatever becomes of those before; 0 has each caller begin the next
	// when it has the answer to the last (a closed loop). At a fixed rate a wait is counted from when the operation should
	// have begun, so that a system that stalls can't hide who would have waited meanwhile (coordinated omission).
	Rate float64 `json:"rate"`
	// For is how long operations are begun, Most how many; 0 is as many as there is time for.
	For  time.Duration `json:"for"`
	Most int           `json:"most"`
}

// sample is what came of a load.
type sample struct {
	Done    int           `json:"done"`
	Elapsed time.Duration `json:"elapsed"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	P999    time.Duration `json:"p999"`
	Longest time.Duration `json:"longest"`
	// Processor is the time that all processes of the system took, Written the bytes that they gave to the disk.
	Processor time.Duration `json:"processor"`
	Written   int64         `json:"written"`
	// Callers is the processor time of who asked, if that is another process; 0 if it is within Processor.
	Callers time.Duration `json:"callers"`
}

// rate is in operations a second.
func (s sample) rate() float64 { return float64(s.Done) / s.Elapsed.Seconds() }

// run asks as the load says. The first operation that fails ends it.
func (l load) run(ctx context.Context, do operation) (sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	waits := make([][]time.Duration, l.Callers)
	begun := time.Now()
	var callers sync.WaitGroup
	for c := range l.Callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1) - 1)
				due, more := l.due(ctx, begun, n)
				if !more {
					return
				}
				if err := do(ctx, c, n); err != nil {
					cancel(fmt.Errorf("operation %d: %w", n, err))
					return
				}
				waits[c] = append(waits[c], time.Since(due))
			}
		})
	}
	callers.Wait()
	if err := context.Cause(ctx); err != nil {
		return sample{}, err
	}
	return summarise(slices.Concat(waits...), time.Since(begun)), nil
}

// due waits until operation n is to begin and says when that was, or that there are no more.
func (l load) due(ctx context.Context, begun time.Time, n int) (time.Time, bool) {
	if l.Most > 0 && n >= l.Most {
		return time.Time{}, false
	}
	if l.Rate == 0 {
		now := time.Now()
		return now, now.Sub(begun) < l.For
	}
	after := time.Duration(float64(n) / l.Rate * float64(time.Second))
	if after >= l.For {
		return time.Time{}, false
	}
	due := begun.Add(after)
	if wait := time.Until(due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return time.Time{}, false
		}
	}
	return due, true
}

func summarise(waits []time.Duration, elapsed time.Duration) sample {
	s := sample{Done: len(waits), Elapsed: elapsed}
	if len(waits) == 0 {
		return s
	}
	slices.Sort(waits)
	at := func(of, in int) time.Duration { return waits[len(waits)*of/in] }
	s.P50, s.P99, s.P999, s.Longest = at(1, 2), at(99, 100), at(999, 1000), waits[len(waits)-1]
	return s
}
