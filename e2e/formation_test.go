package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFormation: however nodes start, they form exactly one cluster.
func TestFormation(t *testing.T) {
	t.Parallel()
	t.Run("by gossip only", func(t *testing.T) {
		t.Parallel()
		c := startCluster(t, setup{gossipOnly: true})
		c.oneCluster()
	})
	t.Run("by a list only", func(t *testing.T) {
		t.Parallel()
		c := startCluster(t, setup{listOnly: true})
		c.oneCluster()
	})
	t.Run("at odd times", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, setup{})
		c.releasePorts()
		// The last one alone can't form, and says whom it waits for.
		c.Node("paris").Start()
		c.Node("paris").WaitLog(0, "waiting for")
		c.Node("lyon").Start()
		c.Node("lyon").WaitLog(0, "waiting for")
		// A node that stops and comes back before there is a cluster forgets nothing that matters.
		c.Node("paris").Stop()
		c.Node("bordeaux").Start()
		c.Node("bordeaux").WaitLog(0, "waiting for")
		c.Node("paris").Start()
		c.WaitReady()
		c.oneCluster()
	})
}

// TestFounderKilled: the node that founds dies in the middle of it, at each of
// the steps on its way, and once more when it comes back: there is one cluster in the end.
func TestFounderKilled(t *testing.T) {
	t.Parallel()
	promised := func(id string) func(*Cluster) bool {
		return func(c *Cluster) bool {
			text, _ := os.ReadFile(filepath.Join(c.Node(id).dataDir(), "identity.json"))
			return strings.Contains(string(text), `"founder"`)
		}
	}
	said := func(text string) func(*Cluster) bool {
		return func(c *Cluster) bool { return strings.Contains(c.Node("bordeaux").log(), text) }
	}
	for _, step := range []struct {
		name    string
		reached func(*Cluster) bool
	}{
		{"has promised itself", promised("bordeaux")},
		{"has one promise", promised("lyon")},
		{"has all promises", promised("paris")},
		{"founds", said("founding")},
		{"is elected", said("entering leader state")},
		{"leads", said("leading")},
	} {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, setup{})
			c.releasePorts()
			for _, n := range c.nodes {
				n.Start()
			}
			founder := c.Node("bordeaux")
			// All steps but the election follow each other within milliseconds.
			if err := pollEach(time.Millisecond, patience, func() error {
				if !step.reached(c) {
					return errors.New("not yet")
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			founder.Kill()
			founder.Start()
			eventually(t, "the founder is back", func() error {
				_, err := founder.probe.Health(t.Context())
				return err
			})
			founder.Kill()
			founder.Start()
			c.WaitReady()
			c.oneCluster()
		})
	}
}

// oneCluster: all nodes name the same cluster and have the same members and
// state, and nobody else leads.
func (c *Cluster) oneCluster() {
	c.t.Helper()
	c.Settled()
	id := ""
	for _, n := range c.nodes {
		s := n.mustStatus()
		if s.Cluster == "" || id != "" && s.Cluster != id {
			c.t.Errorf("%s belongs to cluster %q, others to %q", n.id, s.Cluster, id)
		}
		id = s.Cluster
		members, err := n.client.Members(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		if got := len(members.Value.Members); got != len(c.nodes) {
			c.t.Errorf("%s knows %d members, not %d", n.id, got, len(c.nodes))
		}
	}
}
