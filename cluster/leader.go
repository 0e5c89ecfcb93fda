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
	// tell is told of each other leader, and for how long there was none before; of none, the id is empty.
	tell func(id string, without time.Duration)

	mu      sync.Mutex
	current string
	id      string
	since   time.Time // since when there is no leader; zero while there is one
	change  chan struct{}
	// present ends when the leader changes; end ends it.
	present context.Context
	end     context.CancelFunc
}

// newLeaderWatch returns a watch whose reigns all end with ctx.
func newLeaderWatch(ctx context.Context, r *raft.Raft, patience time.Duration, tell func(string, time.Duration)) *leaderWatch {
	w := &leaderWatch{raft: r, patience: patience, tell: tell, since: time.Now(), change: make(chan struct{})}
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
	if id, without, other := w.update(ctx); other {
		w.tell(id, without)
	}
}

// update reads who leads; other reports that it is another than before, or nobody any more.
func (w *leaderWatch) update(ctx context.Context) (leader string, without time.Duration, other bool) {
	address, id := w.raft.LeaderWithID()
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(address) == w.current && string(id) == w.id {
		return "", 0, false
	}
	without, other = w.without(), string(id) != w.id
	w.current, w.id = string(address), string(id)
	w.since = time.Time{}
	if w.current == "" {
		w.since = time.Now()
	}
	w.end()
	w.present, w.end = context.WithCancel(ctx)
	w.wakeLocked()
	return w.id, without, other
}

// without is for how long there has been no leader. The caller holds the lock.
func (w *leaderWatch) without() time.Duration {
	if w.since.IsZero() {
		return 0
	}
	return time.Since(w.since)
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
