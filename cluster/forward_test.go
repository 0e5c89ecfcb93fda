package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/fsm"
)

// E1: what was sent to a leader that does not answer goes to the next one.
func TestForwardedWriteOutlivesALeaderThatHangs(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	old := leaderOf(t, list)
	follower := list[0]
	if follower == old {
		follower = list[1]
	}
	t.Cleanup(old.node.Hold())
	before := old.node.Status().LastIndex
	propose := func() { _, _ = proposeInstance(context.Background(), old, ulid.Make().String()) }
	go propose()
	eventually(t, "the first write takes the leader's only slot", func() error {
		if old.node.Status().LastIndex == before {
			return fmt.Errorf("the log ends at %d", before)
		}
		return nil
	})
	go propose()
	waiting(t, old, 1)
	answered := make(chan error, 1)
	go func() {
		o, err := proposeInstance(context.Background(), follower, "lyon")
		if err == nil && o != "" {
			err = fmt.Errorf("refused: %s", o)
		}
		answered <- err
	}()
	waiting(t, old, 2)
	if err := old.node.Transfer(t.Context(), follower.options.ID, byOperator); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("a write whose leader hangs while another one leads: %v (%s)", err, codeOf(err))
	}
}

func proposeInstance(ctx context.Context, s *site, name string) (refusal string, err error) {
	c, err := fsm.NewCommand("operator", ulid.Make().String(), createInstance(name, 1))
	if err != nil {
		return "", err
	}
	o, err := s.node.Propose(ctx, c)
	return o.GetRefusal().GetCode(), err
}

// waiting waits until so many writes wait at a node.
func waiting(t *testing.T, s *site, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d writes wait", n), func() error {
		if got := s.node.Status().Waiting; got != n {
			return fmt.Errorf("%d wait", got)
		}
		return nil
	})
}
