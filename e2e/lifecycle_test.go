package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// longPolls are requests that wait for tickets at one node.
type longPolls struct {
	waiting sync.WaitGroup
	// asked counts the requests that were sent.
	asked atomic.Int64
	mu    sync.Mutex
	// answers are statuses, and what went wrong without one.
	answers map[int]int
	broken  []error
}

// startLongPolls has n requests wait at a node until a ticket moves. It returns when all have been sent.
func startLongPolls(at *Node, ticket uint64, n int) *longPolls {
	p := &longPolls{answers: map[int]int{}}
	sent := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { p.asked.Add(1) }}
	for range n {
		p.waiting.Go(func() {
			status, err := p.wait(httptrace.WithClientTrace(context.Background(), sent), fmt.Sprintf("%s/v1/tickets/%d?wait=60", at.URL(), ticket))
			p.mu.Lock()
			defer p.mu.Unlock()
			if err != nil {
				p.broken = append(p.broken, err)
				return
			}
			p.answers[status]++
		})
	}
	eventually(at.c.t, "all requests are sent", func() error {
		if sent := p.asked.Load(); sent < int64(n) {
			return fmt.Errorf("%d of %d are", sent, n)
		}
		return nil
	})
	return p
}

func (p *longPolls) wait(ctx context.Context, url string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, "GET", url, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := raw.Do(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// TestGracefulStop: the leader is told to stop while requests wait for tickets and others write. It ends soon, answers
// who waits, hands leadership over, and no write is lost.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	c := seatsCluster(t)
	c.putContract("load", 1_000_000)
	var ticket uint64
	for i := range 5 {
		a, err := c.http.Checkout(t.Context(), apiv1.Checkout{Pool: "desk", Product: "cad", User: fmt.Sprint("u", i), Client: "ws", Queue: true})
		if err != nil {
			t.Fatal(err)
		}
		if a.Value.Ticket != nil {
			ticket = a.Value.Ticket.ID
		}
	}
	leader := c.Leader()
	polls := startLongPolls(leader, ticket, 50)
	l := c.startLoad("load", 6, true)
	l.waitAcknowledged(50)
	began := time.Now()
	leader.Stop()
	took := time.Since(began)
	polls.waiting.Wait()
	// Waiting requests alone would have kept it for a minute, had they not been ended.
	if took > 15*time.Second {
		t.Errorf("the stop took %s", took)
	}
	for status, n := range polls.answers {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("%d of those who waited were answered %d", n, status)
		}
	}
	if len(polls.broken) > 0 || polls.answers[http.StatusOK] == 0 {
		t.Errorf("of 50 who waited, these were answered: %v; not answered: %v", polls.answers, polls.broken)
	}
	next := c.Leader()
	if contains(leader.log(), "without having handed leadership over") {
		t.Error("the leader kept its office to the end")
	}
	if contains(leader.log(), "requests under way were cut off") {
		t.Error("requests were cut off")
	}
	l.waitAcknowledged(20)
	t.Logf("the stop took %s; after it %s leads; who waited was answered %v", took.Round(time.Millisecond), next.id, polls.answers)
	leader.Start()
	c.WaitReady()
	l.check(l.stop())
}

// TestReload: SIGHUP takes over what can change, names what needs a restart, and keeps everything if
// the new configuration has a fault. The node serves all the while.
func TestReload(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 1_000_000)
	n := c.Follower()
	l := c.startLoad("load", 2, true)
	reload := func(config string, says ...string) {
		t.Helper()
		c.write(n.id+".yaml", config)
		from := len(n.log())
		n.must(syscall.SIGHUP)
		for _, text := range says {
			n.WaitLog(from, text)
		}
	}
	small := map[string]string{"limits.body_bytes": "1KiB", "log.level": "debug", "raft.heartbeat_timeout": "900ms"}
	reload(n.config(small), "configuration changed", "limits.body_bytes, log.level", "but not before a restart", "keys=raft.heartbeat_timeout")
	large := `{"contract": "load", "name": "` + strings.Repeat("x", 1200) + `", "allocation": {}}`
	if r := mustAsk(t, "POST", n.URL()+"/v1/instances", large); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body above the new limit is answered %s", r)
	}
	// The request of before stands in the log now.
	n.WaitLog(0, "[DEBUG]")
	from := len(n.log())
	reload("node:\n  id: Paris!\n", "not reloaded, what was in use stays in use", "what=configuration")
	if contains(n.log()[from:], "configuration changed") {
		t.Error("a faulty configuration was taken over")
	}
	if r := mustAsk(t, "POST", n.URL()+"/v1/instances", large); r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("after a faulty configuration, a body above the limit is answered %s", r)
	}
	reload(n.config(nil), "configuration changed", "limits.body_bytes, log.level")
	if r := mustAsk(t, "POST", n.URL()+"/v1/instances", large); r.status == http.StatusRequestEntityTooLarge {
		t.Errorf("a body below the old limit is answered %s", r)
	}
	for _, other := range c.nodes {
		c.write(other.id+".yaml", other.config(map[string]string{"cluster.preferred_sites": "[" + n.id + "]", "autopilot.preferred_after": "1s"}))
		other.must(syscall.SIGHUP)
	}
	eventually(t, n.id+", which is preferred now, leads", func() error {
		leader, err := c.leaderNow()
		if err == nil && leader != n {
			err = fmt.Errorf("%s leads", leader.id)
		}
		return err
	})
	l.waitAcknowledged(20)
	l.check(l.stop())
}

// TestReplace: a node is killed for good, and one command puts another in its place, which needs a join token. The old one,
// which was down while it was removed, comes back and finds out. A repeat changes nothing.
func TestReplace(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{
		nodes: []string{"bordeaux", "lyon", "paris", "quimper"}, expect: 3, set: map[string]string{"cluster.require_join_token": "true"},
	})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 3, true)
	old, fresh, asked := c.Leader(), c.Node("quimper"), c.Follower()
	old.Kill()
	eventually(t, "another node leads", func() error {
		s, err := asked.status()
		if err == nil && (s.Leader == old.id || s.Leader == "") {
			err = fmt.Errorf("the leader is %q", s.Leader)
		}
		return err
	})

	fresh.Start()
	fresh.WaitLog(0, "has no join token, and this cluster requires one")
	fresh.Kill()
	out := c.on(asked, "cluster", "join-token", fresh.id, "--ttl", "5m", "--out", c.path("join"))
	if !contains(out, "lets quimper join until") {
		t.Errorf("join-token said %q", out)
	}
	c.write(fresh.id+".yaml", fresh.config(map[string]string{"cluster.join_token_file": "join"}))
	replaced := make(chan string, 1)
	go func() {
		code, out, errs := runLicet(t, []string{"LICET_ENDPOINTS=" + asked.URL(), "LICET_TOKEN_FILE=" + c.path("token")}, "cluster", "replace", old.id, fresh.id)
		replaced <- fmt.Sprintf("%d %s%s", code, out, errs)
	}()
	fresh.Start()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case said := <-replaced:
		if !strings.HasPrefix(said, "0 quimper is in the place of "+old.id) {
			t.Fatalf("replace said %s", said)
		}
	case <-ctx.Done():
		t.Fatal("replace does not end")
	}
	if m, err := c.member(fresh.id); err != nil || !m.Voter {
		t.Errorf("the new member is %+v (%v)", m, err)
	}
	if out := c.on(asked, "cluster", "replace", old.id, fresh.id); !contains(out, "is in the place of") {
		t.Errorf("a repeat said %q", out)
	}

	from := len(old.log())
	old.Start()
	eventually(t, old.id+" has ended by itself", old.endedOrNot)
	if code := old.exitCode(); code != 8 {
		t.Errorf("the removed node ended with exit code %d instead of 8", code)
	}
	if !contains(old.log()[from:], "was removed from the cluster, says its leader") {
		t.Error("the log does not say why the node ended")
	}
	if code, _, errs := runLicet(t, nil, "server", "--config", c.path(old.id+".yaml")); code != 8 || !contains(errs, "next: Don't start it again.") {
		t.Errorf("started once more, it ended with exit code %d:\n%s", code, errs)
	}
	l.waitAcknowledged(20)
	l.check(l.stop())
	if contains(fresh.log(), "licet-join-v1.") {
		t.Error("the log has a join token")
	}
}
