package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// TestMembers: a fourth node joins as a non-voter, becomes a voter, and leaves; a
// voter is removed by another node.
func TestMembers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{nodes: []string{"bordeaux", "lyon", "paris", "quimper"}, expect: 3})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 3, true)
	l.waitAcknowledged(20)

	fourth := c.Node("quimper")
	fourth.Start()
	asNonvoter := false
	eventually(t, "quimper is a voter", func() error {
		m, err := c.member("quimper")
		switch {
		case err != nil:
			return err
		case !m.Voter:
			asNonvoter = true
			return errors.New("it is none yet")
		}
		return nil
	})
	if !asNonvoter {
		t.Error("quimper was a voter from the start, before it had caught up")
	}

	// It leaves at once, before the leader's next look at how its members are.
	if out := c.on(fourth, "cluster", "leave"); !strings.Contains(out, "left the cluster") {
		t.Errorf("licet cluster leave said %q", out)
	}
	eventually(t, "quimper has ended by itself", fourth.endedOrNot)
	if code := fourth.exitCode(); code != 0 {
		t.Errorf("after leaving, the exit code is %d instead of 0", code)
	}
	if _, err := c.member("quimper"); !errors.Is(err, errNoMember) {
		t.Errorf("quimper is still a member: %v", err)
	}
	c.refusedStart(fourth.id+".yaml", "left its cluster")
	l.waitAcknowledged(20)

	// A follower that others remove notices, says so and ends.
	removed := c.Follower()
	from := len(removed.log())
	c.on(c.Leader(), "cluster", "remove", removed.id)
	eventually(t, removed.id+" has ended by itself", removed.endedOrNot)
	if code := removed.exitCode(); code != 8 {
		t.Errorf("after being removed, the exit code is %d instead of 8", code)
	}
	if !contains(removed.log()[from:], "was removed from the cluster") {
		t.Error("the log does not say why the node ended")
	}
	c.refusedStart(removed.id+".yaml", "left its cluster")
	l.check(l.stop())
	c.Settled()
	// Nobody who is gone has come back, not even by a decision that was taken before.
	members, err := c.http.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(members.Value.Members) != 2 {
		t.Errorf("2 nodes are left, and the members are %+v", members.Value.Members)
	}
}

var errNoMember = errors.New("no such member")

// member is a node as the cluster's leader sees it.
func (c *Cluster) member(id string) (apiv1.Member, error) {
	a, err := c.http.Members(c.t.Context())
	if err != nil {
		return apiv1.Member{}, err
	}
	for _, m := range a.Value.Members {
		if m.ID == id {
			return m, nil
		}
	}
	return apiv1.Member{}, fmt.Errorf("%s: %w", id, errNoMember)
}

// on runs the binary against one node and returns its output.
func (c *Cluster) on(n *Node, args ...string) string {
	c.t.Helper()
	code, out, errs := runLicet(c.t, []string{"LICET_ENDPOINTS=" + n.URL(), "LICET_TOKEN_FILE=" + c.path("token")}, args...)
	if code != 0 {
		c.t.Fatalf("licet %s on %s: exit code %d\n%s%s", strings.Join(args, " "), n.id, code, out, errs)
	}
	return out
}

// refusedStart starts a configuration that must not start, and wants the reason named.
func (c *Cluster) refusedStart(config string, reasons ...string) {
	c.t.Helper()
	text := c.failedStart(config)
	for _, reason := range reasons {
		if !contains(text, reason) {
			c.t.Errorf("the refusal to start %s does not say %q:\n%s", config, reason, text)
		}
	}
}

// failedStart returns what a server wrote that ended by itself with an error.
func (c *Cluster) failedStart(config string) string {
	c.t.Helper()
	code, out, errs := runLicet(c.t, nil, "server", "--config", c.path(config))
	if code != 1 && code != 2 && code != 8 {
		c.t.Errorf("a server that must not start ended with exit code %d", code)
	}
	return out + errs
}

func contains(text, part string) bool { return strings.Contains(text, part) }
