package cluster_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// TestReadsNeverGoBack: a follower applies what is committed while the leader's state machine lags behind, and answers a read with it. Whoever
// reads then, at whichever node, sees no less.
func TestReadsNeverGoBack(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	sameDigests(t, list)
	leader := leaderOf(t, list)
	follower := list[0]
	if follower == leader {
		follower = list[1]
	}
	release := leader.node.Hold()
	defer func() { release() }()
	// The first entry is what the held leader is busy with; it has not seen the second one.
	for _, name := range []string{"first", "second"} {
		command, err := fsm.NewCommand("operator", ulid.Make().String(), createInstance(name, 1))
		if err != nil {
			t.Fatal(err)
		}
		status := leader.node.Status()
		data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: status.Term, WallMs: time.Now().UnixMilli(), Commands: []*fsmpb.Command{command}})
		if err != nil {
			t.Fatal(err)
		}
		leader.node.Raft().Apply(data, time.Second)
	}
	instances := func(v *fsm.View) int { return len(v.Instances("themis", 0, 10)) }
	eventually(t, "the follower has applied both", func() error {
		if n := instances(follower.node.Status().View); n != 2 {
			return fmt.Errorf("it has %d", n)
		}
		return nil
	})
	view, _, err := follower.node.Read(t.Context(), cluster.Read{})
	if err != nil || instances(view) != 2 {
		t.Fatalf("the follower's read sees %d instances (%v), of 2 that it has", instances(view), err)
	}
	later := make(chan error, 1)
	go func() {
		view, _, err := leader.node.Read(t.Context(), cluster.Read{})
		if err == nil && instances(view) != 2 {
			err = fmt.Errorf("a read after one that saw 2 instances sees %d", instances(view))
		}
		later <- err
	}()
	select {
	case err := <-later:
		t.Errorf("the leader answered before it had applied what was read: %v", err)
		return
	case <-time.After(100 * time.Millisecond): // it waits, as it must
	}
	release()
	release = func() {}
	if err := <-later; err != nil {
		t.Error(err)
	}
}
