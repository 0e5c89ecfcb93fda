package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leaderTick bounds how long a wait for a leader sleeps through a change that
// raft did not announce, such as a known leader that is only now ready to serve.
const leaderTick = 50 * time.Millisecond

// leaderWatch follows who leads. Safe for concurrent use.
type leaderWatch struct {
	raft *raft.Raft
	// patience is how long after the last leader one is waited for: longer than an
	// election takes, and short enough that a cut-off node answers quickly.
	patience time.Duration
	// another is called when there is another leader than the last one.
	another func()

	mu      sync.Mutex
	current string
	id      string
	last    string    // the last leader that was known
	since   time.Time // since when there is no leader; zero while there is one
	change  chan struct{}
	// present ends when the leader changes; end ends it.
	present context.Context
	end     context.CancelFunc
}

// newLeaderWatch returns a watch whose reigns all end with ctx.
func newLeaderWatch(ctx context.Context, r *raft.Raft, patience time.Duration, another func()) *leaderWatch {
	w := &leaderWatch{raft: r, patience: patience, another: another, since: time.Now(), change: make(chan struct{})}
	w.present, w.end = context.WithCancel(ctx)
	return w
}

// follow keeps the watch up to date until ctx ends.
func (w *leaderWatch) follow(ctx context.Context) {
	events := make(chan raft.Observation, 16)
	observer := raft.NewObserver(events, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	w.raft.RegisterObserver(observer)
	defer w.raft.DeregisterObserver(observer)
	for {
		// The events only wake: a dropped one is made good by reading afresh.
		w.refresh(ctx)
		select {
		case <-events:
		case <-ctx.Done():
			return
		}
	}
}

func (w *leaderWatch) refresh(ctx context.Context) {
	address, id := w.raft.LeaderWithID()
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(address) == w.current && string(id) == w.id {
		return
	}
	w.current, w.id = string(address), string(id)
	if w.id != "" && w.id != w.last {
		w.last = w.id
		w.another()
	}
	w.since = time.Time{}
	if w.current == "" {
		w.since = time.Now()
	}
	w.end()
	w.present, w.end = context.WithCancel(ctx)
	w.wakeLocked()
}

// wake tells the waiters that the leader can now do what it could not before.
func (w *leaderWatch) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeLocked()
}

func (w *leaderWatch) wakeLocked() {
	close(w.change)
	w.change = make(chan struct{})
}

// address is the leader's, empty if none is known.
func (w *leaderWatch) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// reign is a context for asking the leader something: it ends when the leader
// changes. One that is cut off may never answer, and its successor can be asked.
func (w *leaderWatch) reign() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.present
}

func (w *leaderWatch) leaderID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id
}

// changed returns a channel that is closed at the next change.
func (w *leaderWatch) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

// wait returns when it is worth another attempt, or why it is not: ctx has ended,
// or there has been no leader for longer than an election takes.
func (w *leaderWatch) wait(ctx context.Context, changed <-chan struct{}) *Error {
	w.mu.Lock()
	since := w.since
	w.mu.Unlock()
	if gone := time.Since(since); !since.IsZero() && gone > w.patience {
		return errorf(NoLeader, "This node has known no leader for %s: it is cut off from the majority, or there is none.",
			gone.Round(100*time.Millisecond))
	}
	tick := time.NewTimer(leaderTick)
	defer tick.Stop()
	select {
	case <-changed:
	case <-tick.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return errorf(NoLeader, "No leader was found in time; nothing was done.")
	}
	return nil
}
