package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestProofOfAnotherTerm: a proof of leadership in a term that was not opened here
// says nothing of what is applied. A node that lost its office and was elected again
// may have missed what was acknowledged in between.
func TestProofOfAnotherTerm(t *testing.T) {
	r, _ := loneRaft(t)
	n := &Node{options: Options{ID: loneID}, raft: r, logs: raft.NewInmemStore(), replica: newReplica(time.Now, func(error) {})}
	n.directory.Store(r)
	term := r.CurrentTerm()
	for opened, served := range map[uint64]bool{0: false, term - 1: false, term: true} {
		n.leadsTerm.Store(opened)
		_, err := n.leaderIndex(t.Context(), "", 0)
		if served != (err == nil) || err != nil && err.code != notLeader {
			t.Errorf("with term %d opened and term %d proved: %v", opened, term, err)
		}
	}
}
