package cluster_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster"
)

// leftBehind has a leader append entries that nobody else gets: it loses both followers while it writes. It returns where the
// log of the others ends, and where its own does. Only the others run afterwards.
func leftBehind(t *testing.T, list []*site) (old *site, rest []*site, common, tail uint64) {
	t.Helper()
	for range 10 {
		for _, s := range list {
			if s.node == nil {
				s.start()
			}
		}
		for _, s := range list {
			s.ready()
		}
		old, rest = leaderOf(t, list), nil
		for _, s := range list {
			if s != old {
				rest = append(rest, s)
			}
		}
		common, tail = cutOff(old, rest)
		if tail >= common+60 {
			old.stop()
			for _, s := range rest {
				s.start()
			}
			for _, s := range rest {
				s.ready()
			}
			return old, rest, common, tail
		}
	}
	t.Fatal("the leader's log never got longer than the others'")
	return nil, nil, 0, 0
}

// cutOff stops the followers while the leader writes entries that mean nothing.
func cutOff(old *site, rest []*site) (common, tail uint64) {
	raft := old.node.Raft()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It ends when the leader finds that it is none any more.
		for old.node.Status().Role == cluster.Leader {
			for range 64 {
				raft.Barrier(time.Second)
			}
		}
	}()
	for _, s := range rest {
		common = max(common, s.node.Raft().LastIndex())
		s.stop()
	}
	<-ended
	return max(common, raft.CommitIndex()), raft.LastIndex()
}

// A leader that was cut off has entries that no majority has, and comes back when the others have cut their logs behind a
// snapshot (hashicorp/raft #697). If that ends among these entries, the node drops them and ends once, and goes on when it
// is started again; if it ends behind them, they are dropped on the way. In neither case the snapshot is sent again and again.
func TestDivergentLogMeetsASnapshot(t *testing.T) {
	for name, beyond := range map[string]bool{"tail reaches beyond the snapshot": true, "tail ends before the snapshot": false} {
		t.Run(name, func(t *testing.T) {
			log := new(lines)
			four := sites(t, 4)
			list, spare := four[:3], four[3]
			for _, s := range four {
				s.options.Expect, s.options.Peers = 3, four[0].options.Peers[:3]
				s.options.HeartbeatTimeout, s.options.ElectionTimeout, s.options.TrailingLogs = time.Second, time.Second, 1
			}
			old, rest, common, tail := leftBehind(t, list)
			leader := leaderOf(t, rest)
			leader.propose(putContract(t, 1_000_000))
			for n := 0; n < 5 || !beyond && leader.node.Raft().LastIndex() < tail+5; n++ {
				leader.propose(createInstance(fmt.Sprint("meanwhile-", n), 1))
			}
			if err := leader.node.Raft().Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
			at := leader.node.Status().SnapshotIndex
			if first, err := leader.node.FirstIndex(); err != nil || first <= common+1 || at <= tail != beyond {
				t.Fatalf("the log begins at %d (%v), the snapshot ends at %d, where logs had %d in common and the tail ends at %d", first, err, at, common, tail)
			}
			old.options.Log = hclog.New(&hclog.LoggerOptions{Name: old.options.ID, Level: hclog.Info, Output: log, IndependentLevels: true})
			old.start()
			leader.propose(createInstance("afterwards", 1))
			if beyond {
				if err := old.failed(); !strings.Contains(err.Error(), "entries that no majority ever had") || !strings.Contains(err.Error(), "start the node again") {
					t.Errorf("the node ends for another reason: %v", err)
				}
				old.stop()
				old.start()
			}
			old.ready()
			old.propose(createInstance("by-the-old-one", 1))
			sameDigests(t, list)
			if first, err := old.node.FirstIndex(); err != nil || first <= at {
				t.Errorf("the log begins at %d (%v), within the snapshot that ends at %d", first, err, at)
			}
			if n := len(log.with("copied to local snapshot")); n < 1 || n > 2 {
				t.Errorf("the snapshot was sent %d times", n)
			}

			// Whatever else a node may be stuck in: wiped, it comes back under another id.
			old.stop()
			leader = leaderOf(t, rest)
			if err := leader.node.Remove(t.Context(), old.options.ID, byOperator); err != nil {
				t.Fatal(err)
			}
			spare.options.Peers = []string{leader.options.Advertise}
			spare.start()
			spare.ready()
			eventually(t, "the new node votes", func() error {
				if !spare.node.Status().Voter {
					return errors.New("not yet")
				}
				return nil
			})
			spare.propose(createInstance("by-the-new-one", 1))
			sameDigests(t, append(rest, spare))
		})
	}
}
