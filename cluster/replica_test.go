package cluster_test

import (
	"errors"
	"testing"
	"time"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
)

func TestUnknownCommandStopsEveryReplicaLoudly(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	leader := leaderOf(t, list)
	sameDigests(t, list)
	before := list[0].node.Status().View
	// Field 15 of an entry, which no build knows yet.
	if err := leader.node.Raft().Apply([]byte{0x08, 0x01, 0x78, 0x01}, time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		select {
		case err := <-s.node.Failed():
			if !errors.Is(err, fsm.ErrUnknown) {
				t.Errorf("%s: %v", s.options.ID, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s goes on", s.options.ID)
		}
		if now := s.node.Status().View; now.Index() != before.Index() || now.Digest() != before.Digest() {
			t.Errorf("%s: the state changed", s.options.ID)
		}
	}
}

func TestCommandThatReplicasCouldNotReadIsNotWritten(t *testing.T) {
	list := startAll(t, 3)
	before := list[0].node.Status().LastIndex
	c, err := fsm.NewCommand("operator", "a", createInstance("x", 1))
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{
		"empty":        nil,
		"garbage":      {0xff, 0xff, 0xff},
		"unknown kind": {0xf2, 0x7f, 0x00},
		"too long":     make([]byte, fsm.MaxBody+1),
	} {
		c.Body = body
		for _, s := range list {
			if _, err := s.node.Propose(t.Context(), c); codeOf(err) != cluster.Unsupported {
				t.Errorf("%s through %s: %v", name, s.options.ID, err)
			}
		}
	}
	c, err = fsm.NewCommand("operator", "b", createInstance("x", 1))
	if err != nil {
		t.Fatal(err)
	}
	c.ProtoReflect().SetUnknown([]byte{0x60, 0x12})
	for _, s := range list {
		if _, err := s.node.Propose(t.Context(), c); codeOf(err) != cluster.Unsupported {
			t.Errorf("an unknown field through %s: %v", s.options.ID, err)
		}
	}
	if after := leaderOf(t, list).node.Status().LastIndex; after != before {
		t.Errorf("the log grew from %d to %d", before, after)
	}
}
