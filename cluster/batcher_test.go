package cluster

import (
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// collector is a batcher's flush that tests hold up.
type collector struct {
	mu      sync.Mutex
	batches [][]int
	begun   chan struct{}
	goOn    chan struct{}
}

func newCollector() *collector {
	return &collector{begun: make(chan struct{}, 100), goOn: make(chan struct{}, 100)}
}

func (c *collector) flush(batch []int) {
	c.mu.Lock()
	c.batches = append(c.batches, slices.Clone(batch))
	c.mu.Unlock()
	c.begun <- struct{}{}
	<-c.goOn
}

func TestBatcher(t *testing.T) {
	one := func(int) int { return 1 }
	for name, c := range map[string]struct {
		most, bytes int
		size        func(int) int
		want        [][]int
	}{
		"what arrives meanwhile goes together": {10, 100, one, [][]int{{0}, {1, 2, 3, 4, 5}}},
		"bounded by count":                     {2, 100, one, [][]int{{0}, {1, 2}, {3, 4}, {5}}},
		"bounded by bytes":                     {10, 6, func(i int) int { return i }, [][]int{{0}, {1, 2, 3}, {4}, {5}}},
		"a large one goes alone":               {10, 3, func(i int) int { return i * i }, [][]int{{0}, {1}, {2}, {3}, {4}, {5}}},
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			got := newCollector()
			b := newBatcher(10, 1, time.Hour, c.most, c.bytes, c.size, got.flush)
			b.offer(0)
			<-got.begun // The first is under way alone: nothing waits at an idle batcher.
			for i := 1; i <= 5; i++ {
				if !b.offer(i) {
					t.Fatalf("item %d was refused", i)
				}
			}
			got.goOn <- struct{}{}
			for range len(c.want) - 1 {
				<-got.begun
				got.goOn <- struct{}{}
			}
			b.close()
			if !slices.EqualFunc(got.batches, c.want, slices.Equal) {
				t.Errorf("batches %v, want %v", got.batches, c.want)
			}
		})
	}
}

func TestBatcherRefusesAtOnceWhatIsBeyondItsQueue(t *testing.T) {
	defer goleak.VerifyNone(t)
	got := newCollector()
	b := newBatcher(3, 1, time.Hour, 10, 100, func(int) int { return 1 }, got.flush)
	b.offer(0)
	<-got.begun
	for i := range 3 {
		if !b.offer(i) {
			t.Fatalf("item %d was refused", i)
		}
	}
	if b.offer(9) {
		t.Error("the fourth of three was taken")
	}
	got.goOn <- struct{}{}
	<-got.begun
	if !b.offer(9) {
		t.Error("nothing is taken although there is room again")
	}
	got.goOn <- struct{}{}
	got.goOn <- struct{}{}
	b.close()
}

// Where all batches take long nobody waits for the round trip of those before, and what is under way has a bound all
// the same. One quick batch, and they wait for each other again.
func TestBatcherDoesNotWaitWhereTheWayIsLong(t *testing.T) {
	defer goleak.VerifyNone(t)
	got := newCollector()
	b := newBatcher(10, 1, time.Nanosecond, 10, 100, func(int) int { return 1 }, got.flush)
	for range farAfter {
		b.offer(0)
		<-got.begun
		if len(b.slots) != 1 {
			t.Error("the next one would not wait, although it is not known yet that the way is long")
		}
		got.goOn <- struct{}{}
	}
	for range batchesUnderway {
		b.offer(0)
		<-got.begun // although none is done
	}
	b.offer(0)
	if len(b.underway) != cap(b.underway) || len(got.begun) != 0 {
		t.Error("more are under way than may be")
	}
	got.goOn <- struct{}{}
	<-got.begun
	for range batchesUnderway {
		got.goOn <- struct{}{}
	}
	b.close()
}

// One batch that was quick shows that those before were slow for another reason.
func TestQuickBatchShowsThatTheWayIsShort(t *testing.T) {
	defer goleak.VerifyNone(t)
	done := make(chan struct{})
	b := newBatcher(10, 1, time.Hour, 10, 100, func(int) int { return 1 }, func([]int) { done <- struct{}{} })
	b.slow.Store(farAfter)
	b.offer(0)
	<-done
	b.close()
	if n := b.slow.Load(); n != 0 {
		t.Errorf("%d slow batches are remembered", n)
	}
}
