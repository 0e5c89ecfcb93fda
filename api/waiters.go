package api

import (
	"context"
	"sync"
	"time"

	"github.com/licet/licet/fsm"
)

const (
	// maxWaiters is how many requests of a node wait for a change of the state.
	maxWaiters = 1000
	// watchAgain is how long after a failure the node is asked again.
	watchAgain = 100 * time.Millisecond
	// lookEvery is how long at least passes between two looks: a busy node has hundreds of views a
	// second, and to look at each for all who wait would take most of a processor.
	lookEvery = 20 * time.Millisecond
)

// waiters wakes requests that wait for a change of the node's own state. One goroutine
// looks at each new view for all of them, and runs only while somebody waits.
type waiters struct {
	mu   sync.Mutex
	all  map[*waiter]struct{}
	stop context.CancelFunc
}

type waiter struct {
	met  func(*fsm.View) bool
	done chan struct{}
}

// join returns a channel that is closed once a further view of the node meets the condition; nil if
// too many wait. Whoever joined looks at the present view, too, and leaves.
func (w *waiters) join(n Node, met func(*fsm.View) bool) (done <-chan struct{}, leave func()) {
	me := &waiter{met: met, done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) >= maxWaiters {
		return nil, nil
	}
	if w.all == nil {
		w.all = make(map[*waiter]struct{})
	}
	w.all[me] = struct{}{}
	if w.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		w.stop = cancel
		go w.watch(ctx, n)
	}
	return me.done, func() { w.leave(me) }
}

func (w *waiters) leave(me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, me)
	if len(w.all) == 0 && w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// watch looks at one view after the other until ctx ends. Views that pass while it looks are skipped.
func (w *waiters) watch(ctx context.Context, n Node) {
	next := uint64(0)
	for ctx.Err() == nil {
		v, _, err := n.Read(ctx, Read{Stale: true, MinIndex: next})
		if err != nil {
			// Mostly, nothing was applied within the node's patience. A node that fails at once is asked again later.
			pause(ctx, watchAgain)
			continue
		}
		next = v.Index() + 1
		w.look(v)
		pause(ctx, lookEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (w *waiters) look(v *fsm.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for x := range w.all {
		if x.met(v) {
			delete(w.all, x)
			close(x.done)
		}
	}
}
