package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

const (
	// createKind is the number of a kind that an older node is made not to know.
	createKind = 5
	// newField is a field that it is made not to know.
	newField = "licet.fsm.v1.Settings.usage_limit"
)

// TestUpgradeGate: what a voter could not read is proposed by nobody, also while that voter, or
// who heard of it, is down; and the refusal names the voter.
func TestUpgradeGate(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 1000))
	leader := leaderOf(t, list)
	old, other := followersOf(list, leader)[0], followersOf(list, leader)[1]
	everybody := []*site{leader, old, other}
	old.node.Announce([]int32{createKind}, []string{newField}, fsm.SnapshotVersion-1)

	gated := func(t *testing.T, through ...*site) {
		t.Helper()
		for _, s := range through {
			eventually(t, "a kind is held back through "+s.options.ID, func() error {
				// A dry run asks this node's own memory, a proposal the leader's.
				if _, err := s.node.DryRun(t.Context(), command(t, createInstance("dry", 1))); codeOf(err) != cluster.Unsupported {
					return errors.New("a dry run came to " + fmt.Sprint(err))
				}
				return wantUnsupported(s, createInstance("held-back-"+s.options.ID, 1), old.options.ID, "0.0.1-old", "Body.create_instance")
			})
			if err := wantUnsupported(s, putSettings(200_000), old.options.ID, "Settings.usage_limit"); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("kinds and fields", func(t *testing.T) {
		gated(t, everybody...)
		before := leaderOf(t, list).node.Status().LastIndex
		gated(t, everybody...)
		if after := leaderOf(t, list).node.Status().LastIndex; after != before {
			t.Errorf("the log grew from %d to %d", before, after)
		}
	})
	t.Run("what all know passes", func(t *testing.T) {
		for _, s := range everybody {
			if o := s.propose(putSettings(0)); o.Refusal != nil {
				t.Errorf("%s: %v", s.options.ID, fsm.Detail(o.Refusal))
			}
		}
	})
	t.Run("within a bulk", func(t *testing.T) {
		bulk := &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: []*fsmpb.Body{createInstance("bulk", 1)}}}}
		if err := wantUnsupported(leader, bulk, old.options.ID, "Body.create_instance"); err != nil {
			t.Error(err)
		}
	})
	t.Run("snapshots", func(t *testing.T) {
		err := leader.node.Raft().Snapshot().Error()
		if err == nil || !strings.Contains(err.Error(), old.options.ID) {
			t.Errorf("a snapshot that %s could not read: %v", old.options.ID, err)
		}
	})
	t.Run("while it is down", func(t *testing.T) {
		old.stop()
		gated(t, leader, other)
		if err := leader.node.Transfer(t.Context(), other.options.ID, byOperator); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another leader", func() error {
			if other.node.Status().Role != cluster.Leader {
				return fmt.Errorf("%s does not lead", other.options.ID)
			}
			return nil
		})
		gated(t, leader, other)
	})
	t.Run("after the others were started again", func(t *testing.T) {
		leader.stop()
		other.stop()
		leader.start()
		other.start()
		leader.ready()
		other.ready()
		gated(t, leader, other)
	})
	t.Run("until it is upgraded", func(t *testing.T) {
		old.start()
		old.ready()
		for _, s := range everybody {
			eventually(t, "a kind that all know passes through "+s.options.ID, func() error {
				_, err := s.node.Propose(t.Context(), command(t, createInstance("now-"+s.options.ID, 1)))
				return err
			})
		}
		if o := old.propose(putSettings(200_000)); o.Refusal != nil {
			t.Error(fsm.Detail(o.Refusal))
		}
		if err := leaderOf(t, everybody).node.Raft().Snapshot().Error(); err != nil {
			t.Error(err)
		}
		sameDigests(t, everybody)
	})
}

// TestNonvoterHoldsNothingBack: only voters count; a node that can't vote stops by itself at what it does not know.
func TestNonvoterHoldsNothingBack(t *testing.T) {
	list := startAll(t, 1)
	list[0].propose(putContract(t, 1000))
	if err := list[0].node.Raft().AddNonvoter("quimper", "127.0.0.1:1", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	list[0].node.Hear("quimper", []int32{createKind})
	if o := list[0].propose(createInstance("a", 1)); o.Refusal != nil {
		t.Error(fsm.Detail(o.Refusal))
	}
}

func followersOf(list []*site, leader *site) []*site {
	var others []*site
	for _, s := range list {
		if s != leader {
			others = append(others, s)
		}
	}
	return others
}

func putSettings(usageLimit uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_PutSettings{PutSettings: &fsmpb.PutSettings{Settings: &fsmpb.Settings{
		RequestTtlSeconds: 3600, RequestLimit: 250_000, UsageLimit: usageLimit,
	}}}}
}

func command(t testing.TB, body *fsmpb.Body) *fsmpb.Command {
	t.Helper()
	c, err := fsm.NewCommand("operator", t.Name()+fmt.Sprint(body), body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantUnsupported proposes what must be refused, with certain words.
func wantUnsupported(s *site, body *fsmpb.Body, words ...string) error {
	c, err := fsm.NewCommand("operator", fmt.Sprintf("%s-%x", s.options.ID, len(body.String())), body)
	if err != nil {
		return err
	}
	_, err = s.node.Propose(context.Background(), c)
	if codeOf(err) != cluster.Unsupported {
		return errors.New(s.options.ID + ": the command came to " + fmt.Sprint(err))
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			return fmt.Errorf("%q is not in %q", w, err.Error())
		}
	}
	return nil
}
