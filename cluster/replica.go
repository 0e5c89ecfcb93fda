package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/metrics"
)

// replica is the state machine under Raft. Raft's goroutine is the only one that
// steps the state; everybody else reads the view that is published after
// each entry.
type replica struct {
	state *fsm.State
	view  atomic.Pointer[fsm.View]
	// steady reads the steady clock, applied is when the last entry was applied by it.
	steady  func() time.Time
	applied atomic.Pointer[time.Time]
	// fail ends the node: a replica that can't apply an entry must not go on.
	fail   func(error)
	failed error
	// trail keeps the audit trail; nil in tests that need none.
	trail *keeper
	// snapshots is the directory where Raft writes them; empty in tests that need none.
	snapshots string
	// metrics are nil in tests that need none.
	metrics *metrics.Metrics
	// readable says why a snapshot of this build could not be read by some member; nil in tests that need none.
	readable func() error
	// members is told of each configuration that was decided; nil in tests that need none.
	members func(index uint64, servers []raft.Server)

	mu      sync.Mutex
	waiters map[chan struct{}]uint64
}

var _ raft.ConfigurationStore = (*replica)(nil)

func newReplica(steady func() time.Time, fail func(error)) *replica {
	r := &replica{state: fsm.New(), steady: steady, fail: fail, waiters: map[chan struct{}]uint64{}}
	r.view.Store(r.state.View())
	return r
}

// applied is what an entry came to, and when it was applied here.
type applied struct {
	outcomes     []*fsmpb.Outcome
	began, ended time.Time
	// waits are how long tickets had waited that got an offer, in milliseconds.
	waits []int64
}

// Apply implements raft.FSM. It returns *applied, or an error if the replica has failed.
func (r *replica) Apply(l *raft.Log) any {
	if r.failed != nil {
		return r.failed
	}
	// gofail: var beforeApply struct{}
	began := time.Now()
	outcomes, err := r.state.Apply(l.Index, l.Term, l.Data)
	if err != nil {
		r.failed = err
		r.fail(err)
		return err
	}
	if err := r.publish(); err != nil {
		r.failed = err
		return err
	}
	// gofail: var afterApply struct{}
	ended := time.Now()
	if r.metrics != nil {
		r.metrics.Apply.Observe(ended.Sub(began).Seconds())
	}
	return &applied{outcomes, began, ended, slices.Clone(r.state.Waits())}
}

// StoreConfiguration implements raft.ConfigurationStore.
func (r *replica) StoreConfiguration(index uint64, configuration raft.Configuration) {
	if r.members != nil {
		r.members(index, configuration.Servers)
	}
}

// lastApplied is the stamp of the last entry, in milliseconds, and when it was applied here; zero if none was.
func (r *replica) lastApplied() (stampMs int64, at time.Time) {
	if now := r.applied.Load(); now != nil {
		at = *now
	}
	return r.view.Load().Clock().WallMs, at
}

// publish shows the present state to readers. The rows of the audit trail are handed over before, so that
// readers find in the files what the view has forgotten.
func (r *replica) publish() error {
	now := r.steady()
	r.applied.Store(&now)
	view := r.state.View()
	if r.trail != nil {
		if err := r.trail.keep(view); err != nil {
			return err
		}
	}
	r.view.Store(view)
	r.mu.Lock()
	defer r.mu.Unlock()
	for done, index := range r.waiters {
		if index <= view.Index() {
			delete(r.waiters, done)
			close(done)
		}
	}
	return nil
}

// wait returns once the view has reached index.
func (r *replica) wait(ctx context.Context, index uint64) (*fsm.View, error) {
	if v := r.view.Load(); v.Index() >= index {
		return v, nil
	}
	done := make(chan struct{})
	r.mu.Lock()
	r.waiters[done] = index
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.waiters, done)
		r.mu.Unlock()
	}()
	// The index may have been reached before the waiter was there to be told.
	if v := r.view.Load(); v.Index() >= index {
		return v, nil
	}
	select {
	case <-done:
		return r.view.Load(), nil
	case <-ctx.Done():
		return nil, errorf(IndexTimeout, "This node is at index %d; index %d was not reached in time.", r.view.Load().Index(), index)
	}
}

// Snapshot implements raft.FSM: it only points at the present view.
func (r *replica) Snapshot() (raft.FSMSnapshot, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	// gofail: var snapshotBegun struct{}
	if r.readable != nil {
		if err := r.readable(); err != nil {
			return nil, err
		}
	}
	return snapshot{r.view.Load(), r.trail, r.snapshots, r.metrics}, nil
}

// Restore implements raft.FSM. The new state is built beside the present one
// and takes its place only when it is whole.
func (r *replica) Restore(source io.ReadCloser) error {
	// gofail: var beforeRestore struct{}
	state, err := fsm.Restore(source)
	if err != nil {
		return fmt.Errorf("the snapshot is refused and the state kept: %w", err)
	}
	// gofail: var restoreFails string
	// return errors.New(restoreFails)
	r.state = state
	// gofail: var afterRestore struct{}
	return r.publish()
}

type snapshot struct {
	view    *fsm.View
	trail   *keeper
	dir     string
	metrics *metrics.Metrics
}

// Persist implements raft.FSMSnapshot. A replay of the log begins with the snapshot, so that rows
// from before it could not be written again: they must be on disk first.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	began := time.Now()
	err := s.write(sink)
	switch {
	case s.metrics == nil:
	case err != nil:
		s.metrics.SnapshotFaults.Inc()
	default:
		s.metrics.Snapshot.Observe(time.Since(began).Seconds())
	}
	return err
}

func (s snapshot) write(sink raft.SnapshotSink) error {
	if s.trail != nil {
		if err := s.trail.settle(s.view); err != nil {
			return errors.Join(err, sink.Cancel())
		}
	}
	// gofail: var snapshotFails string
	// return errors.Join(errors.New(snapshotFails), sink.Cancel())
	steady, err := newSteadySink(sink, s.dir)
	if err == nil {
		err = errors.Join(s.view.Snapshot(steady), steady.release())
	}
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	// gofail: var snapshotWritten struct{}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s snapshot) Release() {}

// appliedOf reads what Apply returned through a future.
func appliedOf(f raft.ApplyFuture) (*applied, error) {
	switch response := f.Response().(type) {
	case *applied:
		return response, nil
	case error:
		return nil, response
	default:
		return nil, fmt.Errorf("the state machine answered %T", response)
	}
}
