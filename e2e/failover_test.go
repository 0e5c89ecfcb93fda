package e2e

import (
	"testing"
)

// TestLeaderKilled (E1, E2, E3): the leader is killed three times under writes
// over all nodes. What was acknowledged is there, what was told to have failed is not, and
// every request, sent again, turns out to be done once.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 6, false)
	const kills = 3
	for range kills {
		l.waitAcknowledged(100)
		leader := c.Leader()
		leader.Kill()
		// The others elect one of them, and writes go on without the third.
		l.waitAcknowledged(100)
		leader.Start()
		c.WaitReady(leader)
	}
	l.waitAcknowledged(100)
	l.check(l.stop())
	c.Settled()
}

// TestLeaderStopped (E2): a leader that is stopped as operators do hands its
// office over. Clients that know all nodes see no error at all.
func TestLeaderStopped(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 6, true)
	for range 2 {
		l.waitAcknowledged(100)
		leader := c.Leader()
		leader.Stop()
		l.waitAcknowledged(100)
		leader.Start()
		c.WaitReady(leader)
	}
	l.waitAcknowledged(100)
	entries := l.stop()
	for _, w := range entries {
		if w.err != nil {
			t.Errorf("write %s: %v", w.id, w.err)
		}
	}
	l.check(entries)
	c.Settled()
}

// TestAllKilled (E3): all nodes die at once, with writes under way, and are
// started again: everything that was acknowledged is there.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 6, false)
	for range 2 {
		l.waitAcknowledged(150)
		c.Kill(c.nodes...)
		for _, n := range c.nodes {
			n.Start()
		}
		c.WaitReady()
	}
	l.waitAcknowledged(100)
	l.check(l.stop())
	c.Settled()
}
