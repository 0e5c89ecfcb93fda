package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A closed loop asks when it has the answer: a stall of one second is the wait of who was asked then, and of nobody else.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := load{Callers: 1, For: 10 * time.Second}.run(t.Context(), stallsOnce(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if s.P99 != 10*time.Millisecond || s.Longest != time.Second {
			t.Errorf("p99 %s and longest %s, want 10ms and 1s", s.P99, s.Longest)
		}
		if want := 1 + 900; s.Done != want {
			t.Errorf("%d done, want %d", s.Done, want)
		}
	})
}

// At a fixed rate who should have asked during a stall has waited as well.
func TestFixedRateCountsWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := load{Callers: 1, Rate: 50, For: 10 * time.Second}.run(t.Context(), stallsOnce(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if s.Done != 500 {
			t.Errorf("%d done, want 500", s.Done)
		}
		// 50 a second with one caller who takes 10 ms each: half of a stall's backlog is worked off in another second.
		if s.P99 < 900*time.Millisecond {
			t.Errorf("p99 is %s; of 500 operations 100 waited for a stall of a second and what it left", s.P99)
		}
		if s.P50 != 10*time.Millisecond {
			t.Errorf("p50 is %s, want 10ms", s.P50)
		}
	})
}

// stallsOnce takes 10 ms each time, but the first.
func stallsOnce(stall time.Duration) operation {
	var asked atomic.Int64
	return func(context.Context, int, int) error {
		if asked.Add(1) == 1 {
			time.Sleep(stall)
		} else {
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	}
}

func TestMostOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := load{Callers: 4, For: time.Hour, Most: 10}.run(t.Context(), stallsOnce(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if s.Done != 10 {
			t.Errorf("%d done, want 10", s.Done)
		}
	})
}

// An operation that fails makes no sample: a rate of failures is not one.
func TestFailedOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		_, err := load{Callers: 4, For: time.Hour}.run(t.Context(), func(_ context.Context, _, n int) error {
			time.Sleep(time.Millisecond)
			if n == 100 {
				return broken
			}
			return nil
		})
		if !errors.Is(err, broken) {
			t.Errorf("error %v, want %v", err, broken)
		}
	})
}

func TestSummary(t *testing.T) {
	var waits []time.Duration
	for i := 1000; i > 0; i-- {
		waits = append(waits, time.Duration(i)*time.Millisecond)
	}
	s := summarise(waits, 2*time.Second)
	if s.rate() != 500 || s.P50 != 501*time.Millisecond || s.P99 != 991*time.Millisecond || s.P999 != time.Second || s.Longest != time.Second {
		t.Errorf("got %+v", s)
	}
}

func TestMedian(t *testing.T) {
	list := []sample{{Done: 9}, {Done: 1}, {Done: 5}, {Done: 7}}
	if got := median(list, func(s sample) float64 { return float64(s.Done) }); got != 5 {
		t.Errorf("median %v, want 5", got)
	}
}
