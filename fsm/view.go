package fsm

import (
	"sync"

	"github.com/licet/licet/fsm/fsmpb"
)

// View is a state as of one log index. It is immutable and safe for concurrent
// use; readers and snapshots work on it while the state goes on.
type View struct {
	tables
	fork sync.Mutex
}

// Index is the Raft index of the last entry in the view, Term that entry's term.
func (v *View) Index() uint64 { return v.index }

// Term is the Raft term of the last entry in the view.
func (v *View) Term() uint64 { return v.term }

// Clock is the state's time as of the last entry.
func (v *View) Clock() Clock { return v.clock }

// ClusterID is empty until the cluster is initialised.
func (v *View) ClusterID() string { return v.meta.ClusterID }

// Settings are the replicated settings.
func (v *View) Settings() Settings { return v.meta.Settings }

// DryRun tells what a command would come to at a wall time of nowMs, changing nothing (rule K7).
func (v *View) DryRun(c *fsmpb.Command, nowMs int64) (*fsmpb.Outcome, error) {
	body, err := DecodeBody(c.Body)
	if err != nil {
		return nil, err
	}
	s := v.Fork()
	s.clock = s.clock.tick(nowMs, 0)
	o := s.Step(c, body)
	// A recorded outcome stays as it was; its pool may be gone by now.
	if changed := o.GetPool(); changed != nil && !changed.Deleted && !o.Repeated {
		p, _ := s.pools.get(changed.Pool.Pool.Name)
		s.findBarred(p, changed)
	}
	return o, nil
}

// Fork returns a state that goes on from the view and shares nothing that changes.
func (v *View) Fork() *State {
	// Copying marks the copied trees as shared, which is a write to them.
	v.fork.Lock()
	defer v.fork.Unlock()
	return &State{tables: v.tables.copy()}
}
