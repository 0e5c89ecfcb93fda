package cluster_test

import (
	"slices"
	"testing"
)

// A follower's question proves to the leader that it still leads, if the two are a majority and the follower is in the leader's term.
func TestWhoHasToSpeakForALeader(t *testing.T) {
	for nodes, alone := range map[int]int{3: 1, 5: 2} {
		list := startAll(t, nodes)
		leader := leaderOf(t, list)
		follower := list[(slices.Index(list, leader)+1)%nodes]
		for _, c := range []struct {
			asking string
			agrees bool
			want   int
		}{
			{"", false, alone},
			{follower.options.ID, true, alone - 1},
			{follower.options.ID, false, alone},
			{leader.options.ID, true, alone},
			{"nobody", true, alone},
		} {
			if got := leader.node.Witnesses(c.asking, c.agrees); got != c.want {
				t.Errorf("of %d nodes, %d have to speak for the leader when %q asks, agreeing %t; want %d", nodes, got, c.asking, c.agrees, c.want)
			}
		}
	}
}

// Voters speak for the leader of their term, and not for one before.
func TestVotersConfirmTheirLeaderAlone(t *testing.T) {
	list := startAll(t, 3)
	leader := leaderOf(t, list)
	term := leader.node.Raft().CurrentTerm()
	eventually(t, "the followers are in the leader's term", func() error { return leader.node.Confirm(t.Context(), term) })
	if err := leader.node.Confirm(t.Context(), term-1); err == nil {
		t.Error("a leader of the term before is confirmed")
	}
	for _, s := range list {
		if s != leader {
			s.stop()
		}
	}
	if err := leader.node.Confirm(t.Context(), term); err == nil {
		t.Error("a leader is confirmed by nobody")
	}
}
