package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// scrape reads a node's metrics with a token.
func (n *Node) scrape(secret string) (status int, text string) {
	n.c.t.Helper()
	request, err := http.NewRequestWithContext(n.c.t.Context(), http.MethodGet, n.URL()+"/metrics", nil)
	if err != nil {
		n.c.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// What an operator watches a cluster by: metrics with a token of their own, a doctor that examines nodes that run and
// that don't, and logs that tell one event once.
func TestWatching(t *testing.T) {
	c := newCluster(t, setup{set: map[string]string{"auth.metrics_token_file": "scrape"}})
	const secret = "only-for-metrics-0123456789"
	c.write("scrape", secret+"\n")
	doctor := func(n *Node, args ...string) (int, string) {
		code, out, errs := runLicet(t, nil, append([]string{"doctor", "--config", c.path(n.id + ".yaml")}, args...)...)
		return code, out + errs
	}
	wants := func(what, text string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is not in\n%s", what, part, text)
			}
		}
	}
	first := c.nodes[0]
	c.releasePorts()
	code, out := doctor(first)
	if code != 0 {
		t.Errorf("before the first start: exit code %d", code)
	}
	wants("before the first start", out, "ok    data", "holds no node's data yet", "warn  peers", "does not answer yet", "warn  cluster       there is none yet", "is free: the node does not run")

	for _, n := range c.nodes {
		n.Start()
	}
	c.WaitReady(c.nodes...)
	leader := c.Leader()
	if status, text := leader.scrape(secret); status != 200 {
		t.Errorf("scrape: status %d: %s", status, text)
	} else {
		wants("metrics", text, "\nlicet_ready 1\n", "\nlicet_raft_apply_total ", "\nlicet_gossip_health_score ", "\nprocess_open_fds ", "\ngo_goroutines ", `licet_certificate_expiry_timestamp_seconds{certificate="node"}`)
	}
	if status, _ := leader.scrape("something-else-altogether"); status != 401 {
		t.Errorf("a foreign token: status %d", status)
	}
	// Members are well once each has heard of the leader since it leads.
	eventually(t, "a cluster that is well", func() error {
		if code, out = doctor(first); code != 0 || !strings.Contains(out, " 0 warnings, 0 failed") {
			return fmt.Errorf("exit code %d:\n%s", code, out)
		}
		return nil
	})
	wants("a cluster that is well", out, "ok    config", "ok    certificates", "ok    disk", "ok    space", fmt.Sprintf("node %s runs", first.id), "ok    quorum        3 voters are well; 1 may fail", "ok    versions", "ok    clocks")

	// The leader reaches one member less; that member's own machine says what is to be done.
	victim := c.Follower()
	victim.Kill()
	leader.WaitLog(0, "a member is out of reach: node="+leader.id+" member="+victim.id)
	_, out = doctor(victim)
	wants("a node that is down", out, "is free: the node does not run", "has the data of node "+victim.id, "warn  members       member "+victim.id, "2 of 3 voters are well: if one more fails")

	// Nobody is left to write with: the last one says so once, however often it tries to be elected.
	last := c.Node(otherThan(c, leader, victim))
	from := len(last.log())
	leader.Kill()
	last.WaitLog(from, "no leader is known")
	c.waitRounds(last)
	said := last.log()[from:]
	for _, line := range []string{"no leader is known", "Election timeout reached", "entering candidate state"} {
		if n := strings.Count(said, line); n > 1 {
			t.Errorf("%q was logged %d times:\n%s", line, n, said)
		}
	}
	code, out = doctor(last)
	if code != 1 {
		t.Errorf("without a leader: exit code %d", code)
	}
	wants("without a leader", out, "fail  cluster", "no leader is known", "fail  peers         "+loopback(leader.port), "next: Start the node", "checks failed.")
	leader.Start()
	victim.Start()
	c.WaitReady(c.nodes...)
	last.WaitLog(from, "there is a leader")
	for _, n := range c.nodes {
		if strings.Contains(n.log(), secret) {
			t.Errorf("the log of %s has the token for metrics", n.id)
		}
	}
}

// waitRounds returns once a node without a majority has held several rounds for votes, as its metrics count them.
func (c *Cluster) waitRounds(n *Node) {
	c.t.Helper()
	eventually(c.t, n.id+" holds rounds for votes", func() error {
		_, text := n.scrape(token)
		rounds := 0.0
		for _, line := range strings.Split(text, "\n") {
			if rest, ok := strings.CutPrefix(line, `licet_raft_election_seconds_count{step="pre_vote"} `); ok {
				_, _ = fmt.Sscan(rest, &rounds)
			}
		}
		if rounds < 4 {
			return fmt.Errorf("%v so far", rounds)
		}
		return nil
	})
}

func otherThan(c *Cluster, these ...*Node) string {
	for _, n := range c.nodes {
		known := false
		for _, x := range these {
			known = known || x == n
		}
		if !known {
			return n.id
		}
	}
	return ""
}
