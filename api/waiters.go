package api

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

const (
	// watchAgain is how long after a failure the node is asked again.
	watchAgain = 100 * time.Millisecond
	// lookEvery is how long at least passes between two looks: a busy node has hundreds of views a
	// second, and to look at each for all who wait would take most of a processor.
	lookEvery = 20 * time.Millisecond
)

// waiters wakes requests that wait for a change of the node's own state. One goroutine
// looks at each new view for all of them, and runs only while somebody waits.
type waiters struct {
	mu  sync.Mutex
	all map[*waiter]struct{}
	// places are taken by whoever waits, until he leaves; principals and addresses count whose they are.
	places     int
	principals map[string]int
	addresses  map[netip.Prefix]int
	stop       context.CancelFunc
}

type waiter struct {
	met  func(*fsm.View) bool
	done chan struct{}
}

// join returns a channel that is closed once a further view of the node meets the condition; a problem if
// too many wait. Whoever joined looks at the present view, too, and leaves.
func (w *waiters) join(s *service, c *call, met func(*fsm.View) bool) (done <-chan struct{}, leave func(), p *problem) {
	giveBack, p := w.take(s, c)
	if p != nil {
		return nil, nil, p
	}
	me := &waiter{met: met, done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[*waiter]struct{})
	}
	w.all[me] = struct{}{}
	if w.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		w.stop = cancel
		go w.watch(ctx, s.Node)
	}
	return me.done, func() { w.leave(me); giveBack() }, nil
}

// take counts a request that takes long for as long as it does; a problem if too many do.
func (w *waiters) take(s *service, c *call) (giveBack func(), p *problem) {
	from := PrefixOf(c.RemoteAddr)
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.full(s, c.actor, from); p != nil {
		return nil, p
	}
	if w.principals == nil {
		w.principals, w.addresses = make(map[string]int), make(map[netip.Prefix]int)
	}
	w.places++
	w.principals[c.actor]++
	w.addresses[from]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.places--
		countDown(w.principals, c.actor)
		countDown(w.addresses, from)
	}, nil
}

// full refuses to wait where all, or one principal or address, do so as often as may be.
func (w *waiters) full(s *service, actor string, from netip.Prefix) *problem {
	var p *problem
	switch {
	case w.places >= s.MaxWaits:
		p = problemf(apiv1.CodeOverloaded, "%d requests wait on node %s, as many as may.", s.MaxWaits, s.Node.ID())
	case w.principals[actor] >= s.MaxWaitsEach:
		p = problemf(apiv1.CodeOverloaded, "%d requests of %s wait on node %s, as many as may.", s.MaxWaitsEach, actor, s.Node.ID())
	case w.addresses[from] >= s.MaxWaitsEach:
		p = problemf(apiv1.CodeOverloaded, "%d requests from address %s wait on node %s, as many as may.", s.MaxWaitsEach, from, s.Node.ID())
	default:
		return nil
	}
	s.Meter.Refused(refusedWait)
	p.next, p.retryAfter = "Ask another node, or without waiting.", time.Second
	return p
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

// countDown keeps no zeros, so that the map is as long as there are who wait.
func countDown[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
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
