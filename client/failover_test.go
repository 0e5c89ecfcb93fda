package client_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

const instance = `{"serial":7,"contract":"themis","name":"lyon","state":"active","areas":{},"key_revision":1,"expiry":"2036-01-01T00:00:00Z","grace_days":0,"ends":"2036-01-01T00:00:00Z","created":"2026-01-01T00:00:00Z"}`

// outcome is what a call came to, for tables.
type outcome struct {
	// code is empty for a success.
	code apiv1.Code
	// hosts were asked, in this order.
	hosts string
	// least and most bound how long it took.
	least, most time.Duration
}

// calls are what the tables call.
var calls = map[string]func(context.Context, *client.Client) (client.Meta, error){
	"write": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.CreateInstance(ctx, "themis", "lyon", apiv1.Quantities{"primary": 10})
		return meta(a), err
	},
	"read": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.Instance(ctx, 7)
		return meta(a), err
	},
	"dry run": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.CreateInstance(client.WithDryRun(ctx), "themis", "lyon", apiv1.Quantities{"primary": 10})
		return meta(a), err
	},
	"removal": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.RemoveMember(ctx, "lyon")
		return meta(a), err
	},
	"transfer": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.TransferLeadership(ctx, "lyon")
		return meta(a), err
	},
	"leave": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.Leave(ctx)
		return meta(a), err
	},
	"status": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.Status(ctx)
		return meta(a), err
	},
	"ready": func(ctx context.Context, c *client.Client) (client.Meta, error) {
		a, err := c.Ready(ctx)
		return meta(a), err
	},
}

func meta[T any](a *client.Answer[T]) client.Meta {
	if a == nil {
		return client.Meta{}
	}
	return a.Meta
}

var failovers = []struct {
	name, call string
	script     map[string][]step
	want       outcome
}{
	{
		"a node that is not there", "write",
		map[string][]step{"b:1": {fine(instance)}},
		outcome{hosts: "b:1"},
	},
	{
		"no leader here, one there", "write",
		map[string][]step{"a:1": {problem(503, "no_leader", "Retry-After", "1")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"Retry-After of all", "write",
		map[string][]step{
			"a:1": {problem(503, "no_leader", "Retry-After", "1"), fine(instance)}, "b:1": {problem(503, "overloaded", "Retry-After", "3"), fine(instance)}, "c:1": {problem(503, "clock_skew", "Retry-After", "5")},
		},
		outcome{hosts: "a:1 b:1 c:1 a:1", least: time.Second, most: 1200 * time.Millisecond},
	},
	{
		"one node's limit, and another's", "write",
		map[string][]step{"a:1": {problem(429, "rate_limited", "Retry-After", "7")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"limits of all nodes", "write",
		map[string][]step{
			"a:1": {problem(429, "rate_limited", "Retry-After", "2"), fine(instance)}, "b:1": {problem(429, "rate_limited", "Retry-After", "5")}, "c:1": {problem(429, "rate_limited", "Retry-After", "5")},
		},
		outcome{hosts: "a:1 b:1 c:1 a:1", least: 2 * time.Second, most: 3 * time.Second},
	},
	{
		"limits beyond the end", "write",
		map[string][]step{"a:1": {problem(429, "rate_limited", "Retry-After", "60")}, "b:1": {problem(429, "rate_limited", "Retry-After", "60")}, "c:1": {problem(429, "rate_limited", "Retry-After", "60")}},
		outcome{code: "rate_limited", hosts: "a:1 b:1 c:1"},
	},
	{
		"in doubt, then limits", "write",
		map[string][]step{"a:1": {broken, problem(429, "rate_limited", "Retry-After", "60")}, "b:1": {problem(429, "rate_limited", "Retry-After", "60")}, "c:1": {refused}},
		outcome{code: "outcome_unknown", most: 10 * time.Second},
	},
	{
		"Retry-After beyond the end", "write",
		map[string][]step{"a:1": {problem(503, "overloaded", "Retry-After", "60")}, "b:1": {problem(503, "overloaded", "Retry-After", "60")}, "c:1": {problem(503, "overloaded", "Retry-After", "60")}},
		outcome{code: "overloaded", hosts: "a:1 b:1 c:1"},
	},
	{
		"E1 E2 a broken connection", "write",
		map[string][]step{"a:1": {broken}, "b:1": {fine(instance, "Licet-Repeated", "true")}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"E2 an answer that breaks off", "write",
		map[string][]step{"a:1": {half}, "b:1": {fine(instance, "Licet-Repeated", "true")}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"E2 unknown outcome, known elsewhere", "write",
		map[string][]step{"a:1": {problem(504, "outcome_unknown")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"E2 a node that hangs", "write",
		map[string][]step{"a:1": {hang}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1", least: 2 * time.Second, most: 2 * time.Second},
	},
	{
		"E2 broken, then refused with the same id", "write",
		map[string][]step{"a:1": {broken}, "b:1": {problem(409, "contract_exhausted")}},
		outcome{code: "contract_exhausted", hosts: "a:1 b:1"},
	},
	{
		"E2 broken, then no leader to the end", "write",
		map[string][]step{"a:1": {broken, problem(503, "no_leader", "Retry-After", "60")}, "b:1": {problem(503, "no_leader", "Retry-After", "60")}, "c:1": {refused}},
		outcome{code: "outcome_unknown", hosts: "a:1 b:1 a:1", least: 1, most: 10 * time.Second},
	},
	{
		"E2 broken, then a refusal that is not of the id", "write",
		map[string][]step{"a:1": {broken}, "b:1": {problem(401, "unauthorized", "Idempotency-Key", "")}},
		outcome{code: "outcome_unknown", hosts: "a:1 b:1"},
	},
	{
		"E2 a success that is no JSON", "write",
		map[string][]step{"a:1": {fine("{")}, "b:1": {problem(400, "bad_request", "Idempotency-Key", "")}},
		outcome{code: "outcome_unknown", hosts: "a:1 b:1"},
	},
	{
		"a refusal is final", "write",
		map[string][]step{"a:1": {problem(409, "contract_exhausted")}, "b:1": {fine(instance)}},
		outcome{code: "contract_exhausted", hosts: "a:1"},
	},
	{
		"a bad request is final", "write",
		map[string][]step{"a:1": {problem(400, "bad_request")}, "b:1": {fine(instance)}},
		outcome{code: "bad_request", hosts: "a:1"},
	},
	{
		"unsupported is final", "write",
		map[string][]step{"a:1": {problem(501, "unsupported")}, "b:1": {fine(instance)}},
		outcome{code: "unsupported", hosts: "a:1"},
	},
	{
		"a newer node's 5xx", "write",
		map[string][]step{"a:1": {problem(507, "strange_storage")}},
		outcome{code: "outcome_unknown", hosts: "a:1"},
	},
	{
		"time ran out before anything was done", "write",
		map[string][]step{"a:1": {problem(504, "timeout")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"a proxy's page", "write",
		map[string][]step{"a:1": {answer(502, "text/html", "<h1>")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"a redirect is not followed", "write",
		map[string][]step{"a:1": {answer(307, "text/html", "", "Location", "http://b:1/v1/instances")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"another server altogether", "write",
		map[string][]step{"a:1": {answer(404, "text/plain", "nothing")}, "b:1": {answer(404, "application/json", `{"code":"x"}`)}, "c:1": {answer(403, "text/html", "")}},
		outcome{code: "bad_answer", hosts: "a:1 b:1 c:1"},
	},
	{
		"a problem without bounds", "read",
		map[string][]step{"a:1": {answer(409, "application/problem+json", `{"code":"x","detail":"`+strings.Repeat("y", 70<<10)+`"}`)}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"the node fails", "read",
		map[string][]step{"a:1": {problem(500, "internal")}, "b:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"a read is repeated", "read",
		map[string][]step{"a:1": {broken}, "b:1": {hang}, "c:1": {fine(instance)}},
		outcome{hosts: "a:1 b:1 c:1", least: 2 * time.Second, most: 2 * time.Second},
	},
	{
		"a read that nobody answers", "read",
		map[string][]step{},
		outcome{code: "unreachable", least: 5 * time.Second, most: 10 * time.Second},
	},
	{
		"a dry run changes nothing", "dry run",
		map[string][]step{"a:1": {broken}, "b:1": {problem(503, "no_leader", "Retry-After", "60")}, "c:1": {problem(503, "no_leader", "Retry-After", "60")}},
		outcome{code: "no_leader", least: 5 * time.Second, most: 10 * time.Second},
	},
	{
		"a removal that broke and was done", "removal",
		map[string][]step{"a:1": {broken}, "b:1": {problem(404, "member_not_found")}},
		outcome{hosts: "a:1 b:1"},
	},
	{
		"a removal of nobody", "removal",
		map[string][]step{"a:1": {problem(404, "member_not_found")}},
		outcome{code: "member_not_found", hosts: "a:1"},
	},
	{
		"a transfer is not repeated blindly", "transfer",
		map[string][]step{"a:1": {broken}, "b:1": {fine("{}")}},
		outcome{code: "outcome_unknown", hosts: "a:1"},
	},
	{
		"a transfer that did not begin", "transfer",
		map[string][]step{"b:1": {problem(503, "no_leader", "Retry-After", "1")}, "c:1": {answer(204, "", "")}},
		outcome{hosts: "b:1 c:1"},
	},
	{
		"leaving with many endpoints", "leave",
		map[string][]step{"a:1": {fine("{}")}},
		outcome{code: "bad_request"},
	},
	{
		"status asks each once", "status",
		map[string][]step{"b:1": {problem(503, "not_ready", "Retry-After", "1")}, "c:1": {broken}},
		outcome{code: "not_ready", hosts: "b:1 c:1"},
	},
	{
		"ready asks each once", "ready",
		map[string][]step{"a:1": {problem(503, "not_ready", "Retry-After", "1")}, "b:1": {fine(`{"status":"ok"}`)}},
		outcome{hosts: "a:1 b:1"},
	},
}

func TestFailover(t *testing.T) {
	for _, tt := range failovers {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, tt.script)
				c := n.client(t, client.Options{Timeout: 10 * time.Second, Attempt: 2 * time.Second}, "a:1", "b:1", "c:1")
				began := time.Now()
				m, err := calls[tt.call](t.Context(), c)
				took := time.Since(began)
				if got := client.CodeOf(err); got != tt.want.code || (err == nil) != (tt.want.code == "") {
					t.Errorf("code %q (%v), want %q", got, err, tt.want.code)
				}
				if got := strings.Join(n.hosts(), " "); tt.want.hosts != "" && got != tt.want.hosts {
					t.Errorf("asked %s, want %s", got, tt.want.hosts)
				}
				if took < tt.want.least || took > max(tt.want.most, 500*time.Millisecond) {
					t.Errorf("took %s, want %s to %s", took, tt.want.least, tt.want.most)
				}
				if err == nil && m.Attempts < len(n.seen()) {
					t.Errorf("%d attempts for %d requests", m.Attempts, len(n.seen()))
				}
				checkKeys(t, n, tt.call, err)
			})
		})
	}
}

// checkKeys holds that all attempts of a write have the same id, which its error names (E1, E2).
func checkKeys(t *testing.T, n *network, call string, err error) {
	t.Helper()
	keyed := call == "write" || call == "dry run"
	for _, c := range n.seen() {
		if (c.key != "") != keyed || c.key != n.seen()[0].key || c.body != n.seen()[0].body {
			t.Errorf("request id %q with body %s; the first had %q with %s", c.key, c.body, n.seen()[0].key, n.seen()[0].body)
		}
		if call == "dry run" != strings.Contains(c.uri, "dry_run=true") {
			t.Errorf("%s: %s", call, c.uri)
		}
	}
	if err == nil || len(n.seen()) == 0 {
		return
	}
	if e := asError(t, err); keyed && (e.RequestID != n.seen()[0].key || e.Meta.RequestID != e.RequestID) {
		t.Errorf("the error names request id %q, sent was %q", e.RequestID, n.seen()[0].key)
	}
}

func TestTheLastEndpointThatWorkedComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"b:1": {fine(instance)}, "c:1": {fine(instance)}})
		c := n.client(t, client.Options{}, "a:1", "b:1", "c:1")
		for range 3 {
			if _, err := c.Instance(t.Context(), 7); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"b:1", "b:1", "b:1"}; !slices.Equal(n.hosts(), want) || n.dials != 2 {
			t.Errorf("asked %v with %d dials, want %v with 2", n.hosts(), n.dials, want)
		}
	})
}

// Every endpoint is asked again and again, but ever more rarely, and never
// before its own Retry-After.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {problem(503, "overloaded")}, "b:1": {problem(503, "overloaded", "Retry-After", "4")}})
		c := n.client(t, client.Options{Timeout: 20 * time.Second}, "a:1", "b:1")
		_, err := c.Instance(t.Context(), 7)
		if client.CodeOf(err) != apiv1.CodeOverloaded {
			t.Fatal(err)
		}
		last := map[string]time.Duration{}
		count := map[string]int{}
		for _, call := range n.seen() {
			gap := call.after - last[call.host]
			least := 25 * time.Millisecond
			if call.host == "b:1" {
				least = 4 * time.Second
			}
			if count[call.host] > 0 && gap < least {
				t.Errorf("%s asked again after %s", call.host, gap)
			}
			last[call.host] = call.after
			count[call.host]++
		}
		if count["a:1"] < 12 || count["a:1"] > 30 || count["b:1"] < 4 || count["b:1"] > 5 {
			t.Errorf("asked %v times", count)
		}
	})
}

func TestCancel(t *testing.T) {
	for call, want := range map[string]apiv1.Code{"write": "outcome_unknown", "read": "unreachable"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(t, map[string][]step{"a:1": {hang}})
				c := n.client(t, client.Options{}, "a:1")
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				_, err := calls[call](ctx, c)
				if client.CodeOf(err) != want || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
					t.Errorf("%v (%v) after %s, want %s at the deadline", err, client.CodeOf(err), time.Since(began), want)
				}
				if ms := n.seen()[0].header.Get("Licet-Timeout-Ms"); ms != "900" {
					t.Errorf("Licet-Timeout-Ms %s, want a tenth less than the deadline", ms)
				}
			})
		})
	}
}

// One pinned endpoint is never left for another.
func TestAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {fine("{}")}, "b:1": {answer(204, "", "")}, "c:1": {broken}})
		c := n.client(t, client.Options{}, "a:1")
		b, err := c.At("http://b:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		lost, err := c.At("http://c:1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lost.Leave(t.Context()); client.CodeOf(err) != apiv1.CodeOutcomeUnknown {
			t.Errorf("%v, want outcome_unknown", err)
		}
		if want := []string{"b:1", "c:1"}; !slices.Equal(n.hosts(), want) {
			t.Errorf("asked %v, want %v", n.hosts(), want)
		}
	})
}

// A connection serves all requests, whatever the answers.
func TestConnectionsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {
			fine(instance), problem(409, "contract_exhausted"), answer(404, "text/html", strings.Repeat("x", 4000)), answer(204, "", ""), fine(instance),
		}})
		c := n.client(t, client.Options{}, "a:1")
		for range 8 {
			_, _ = c.CreateInstance(t.Context(), "themis", "lyon", nil)
		}
		if n.dials != 1 || len(n.seen()) != 8 {
			t.Errorf("%d connections for %d requests", n.dials, len(n.seen()))
		}
	})
}
