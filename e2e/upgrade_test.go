//go:build upgrade

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"strings"
	"testing"
)

// older is the program of an earlier commit; `make upgrade` builds it.
var older = flag.String("older", "", "the `PROGRAM` of an earlier commit to upgrade from and to roll back to")

// TestRollingUpgradeAndRollback: three nodes of an earlier build are upgraded one by one, and rolled back one by one, while
// applications write through all of them and seats, a borrow, a project, an offer and a queue are open. Every acknowledged write
// is there, each was done once, and the nodes have the same digest at each index, whichever build computed it.
func TestRollingUpgradeAndRollback(t *testing.T) {
	if *older == "" {
		t.Fatal("there is no earlier build: run `make upgrade`, or give -older")
	}
	before, now := editionAt(t, *older), editionAt(t, program)
	if before.version == now.version {
		t.Fatalf("both builds call themselves %s, so none could be told from the other", now.version)
	}
	c := seatsClusterOf(t, setup{edition: before, set: snapshots})
	c.putContract("load", 1_000_000)
	open, busy, writes := c.openDesk(), c.startCrowd("busy", 3, 3), c.startLoad("load", 4, true)
	for _, step := range []struct {
		name string
		to   *edition
	}{{"upgrade", now}, {"rollback", before}, {"second upgrade", now}} {
		// The leader comes last, as a careful operator does it.
		leader := c.Leader()
		for i, n := range append(c.others(leader), leader) {
			writes.waitAcknowledged(60)
			busy.waitGranted(t, 5)
			n.Stop()
			n.use(step.to)
			n.Start()
			c.WaitReady(n)
			if got := n.mustStatus().Version; got != step.to.version {
				t.Fatalf("%s: %s runs version %s instead of %s", step.name, n.id, got, step.to.version)
			}
			if i == 0 {
				// Of two builds, and the leader dies.
				writes.waitAcknowledged(60)
				dead := c.Leader()
				dead.Kill()
				writes.waitAcknowledged(60)
				dead.Start()
				c.WaitReady(dead)
			}
		}
		c.snapshotsGoOn(writes)
		open.check("the " + step.name)
	}
	busy.end(t)
	entries := writes.stop()
	for _, w := range entries {
		if w.err != nil {
			t.Errorf("write %s: %v", w.id, w.err)
		}
	}
	writes.check(entries)
	open.goOn()
	c.Settled()
	c.trailWhole()
}

// editionAt asks a program what it is.
func editionAt(t *testing.T, path string) *edition {
	t.Helper()
	b := &edition{path: path, keys: map[string]bool{}}
	var about struct{ Version string }
	if err := json.Unmarshal([]byte(mustRunBy(t, path, "version", "-o", "json")), &about); err != nil || about.Version == "" {
		t.Fatalf("%s does not tell its version: %v", path, err)
	}
	b.version = about.Version
	section := ""
	for line := range strings.Lines(mustRunBy(t, path, "config", "example")) {
		key, _, ok := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case !ok || strings.HasPrefix(key, "#"):
		case strings.HasPrefix(line, " "):
			b.keys[section+"."+key] = true
		default:
			section = key
		}
	}
	for _, key := range []string{"node.id", "tls.ca", "raft.snapshot_threshold"} {
		if !b.keys[key] {
			t.Fatalf("the example configuration of %s has no %s", path, key)
		}
	}
	return b
}

// use has a node that is down run another build from now on.
func (n *Node) use(b *edition) {
	n.edition = b
	n.c.write(n.id+".yaml", n.config(nil))
}

func (c *Cluster) others(leader *Node) []*Node {
	var list []*Node
	for _, n := range c.nodes {
		if n != leader {
			list = append(list, n)
		}
	}
	return list
}

// snapshotsGoOn waits until each node has written another snapshot.
func (c *Cluster) snapshotsGoOn(writes *load) {
	c.t.Helper()
	for _, n := range c.nodes {
		before := n.mustStatus().Consensus.SnapshotIndex
		eventually(c.t, n.id+" writes a snapshot", func() error {
			s, err := n.status()
			if err == nil && s.Consensus.SnapshotIndex <= before {
				err = errors.New("it has not yet")
			}
			return err
		})
	}
	writes.waitAcknowledged(1)
}

// trailWhole verifies the audit trail that both builds wrote.
func (c *Cluster) trailWhole() {
	c.t.Helper()
	args := []string{"audit", "verify"}
	for _, n := range c.nodes {
		args = append(args, "--dir", n.dataDir())
	}
	if out := mustRun(c.t, args...); !strings.Contains(out, "whole") {
		c.t.Errorf("the audit trail is not whole: %s", out)
	}
}
