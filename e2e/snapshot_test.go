package e2e

import (
	"fmt"
	"testing"
)

// TestFollowerCatchesUpBySnapshot: a follower is away for longer than the log
// reaches back, once dead and once frozen, and takes a snapshot.
func TestFollowerCatchesUpBySnapshot(t *testing.T) {
	t.Parallel()
	away := []struct {
		name       string
		away, back func(*Node)
	}{
		{"killed", (*Node).Kill, (*Node).Start},
		{"frozen", (*Node).Pause, (*Node).Resume},
	}
	c := startCluster(t, setup{set: snapshots})
	c.putContract("load", 1_000_000)
	for i, x := range away {
		t.Run(x.name, func(t *testing.T) {
			follower := c.Follower()
			before := follower.mustStatus()
			from := len(follower.log())
			x.away(follower)
			name := fmt.Sprintf("away%d", i)
			c.putContract(name, 1_000_000)
			l := c.startLoad(name, 4, true)
			// The others' logs then begin after what the follower has.
			eventually(t, "the others have left the follower behind", func() error {
				for _, n := range c.nodes {
					if n == follower {
						continue
					}
					s, err := n.status()
					if err != nil {
						return err
					}
					if need := before.Consensus.LastIndex + 10 + 40; s.Consensus.SnapshotIndex < need {
						return fmt.Errorf("%s has a snapshot at %d, not yet at %d", n.id, s.Consensus.SnapshotIndex, need)
					}
				}
				return nil
			})
			x.back(follower)
			follower.WaitLog(from, "Installed remote snapshot")
			entries := l.stop()
			c.WaitReady(follower)
			state := c.Settled()
			s := follower.mustStatus()
			if s.Consensus.SnapshotIndex <= before.Consensus.LastIndex {
				t.Errorf("snapshot index %d is not above %d, which the follower had before it was away", s.Consensus.SnapshotIndex, before.Consensus.LastIndex)
			}
			if state.Index < s.Consensus.SnapshotIndex {
				t.Errorf("state at %d is older than the snapshot at %d", state.Index, s.Consensus.SnapshotIndex)
			}
			l.check(entries)
		})
	}
	// What came with a snapshot outlives a restart too.
	c.Kill(c.nodes...)
	for _, n := range c.nodes {
		n.Start()
	}
	c.WaitReady()
	c.Settled()
}
