package metrics

import (
	"slices"
	"strings"
	"testing"
	"time"

	hashicorp "github.com/hashicorp/go-metrics"
)

// What a request costs for being measured is known: no allocation, on the way of writes as of reads.
func TestMeasuringAllocatesNothing(t *testing.T) {
	m := New()
	commit, sample := []string{"raft", "commitTime"}, []string{"raft", "replication", "heartbeat"}
	labels := []hashicorp.Label{{Name: "peer_id", Value: "lyon"}}
	for what, measure := range map[string]func(){
		"a request over HTTP": func() { m.Began(); m.Served("POST /v1/checkouts", 201, time.Millisecond) },
		"a refused request":   func() { m.Refused("rate_address") },
		"a command":           func() { m.Decided("checkout", "ok"); m.Propose.Observe(.001) },
		"a fault":             func() { m.GaveUp("overloaded") },
		"a batch":             func() { m.Entry.Observe(3); m.EntryBytes.Observe(900); m.QueueWait.Observe(.1) },
		"Raft's own":          func() { m.Sink.AddSample(commit, 1.5) },
		"Raft's with a label": func() { m.Sink.AddSampleWithLabels(sample, 1.5, labels) },
		"what is dropped":     func() { m.Sink.AddSample(labelled, 1) },
	} {
		if n := testing.AllocsPerRun(100, measure); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

var labelled = []string{"raft", "of", "the", "future"}

// The libraries' values come out under licet's names and units; what is not in the table, and peers beyond the
// bound, make no series of their own.
func TestSink(t *testing.T) {
	m := New()
	m.Sink.AddSample([]string{"raft", "commitTime"}, 250)
	m.Sink.IncrCounter([]string{"raft", "apply"}, 2)
	m.Sink.SetGauge([]string{"memberlist", "health", "score"}, 3)
	m.Sink.AddSample([]string{"raft", "of", "the", "future"}, 1)
	m.Sink.IncrCounter([]string{"raft", "apply"}, -1)
	for i := range 3 * maxPeers {
		m.Sink.IncrCounterWithLabels([]string{"raft", "replication", "appendEntries", "logs"}, 1, []hashicorp.Label{{Name: "peer_id", Value: string(rune('a' + i))}})
	}
	text := textOf(t, m)
	for _, want := range []string{
		"licet_raft_commit_seconds_sum 0.25\n", "licet_raft_commit_seconds_count 1\n", "licet_raft_apply_total 2\n", "licet_gossip_health_score 3\n",
		`licet_raft_replicated_entries_total{peer="a"} 1` + "\n", `licet_raft_replicated_entries_total{peer="_other"} 64` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if n := strings.Count(text, "licet_raft_replicated_entries_total{"); n != maxPeers+1 {
		t.Errorf("%d peers", n)
	}
	if strings.Contains(text, "future") {
		t.Error("a name that is in no table came through")
	}
}

func TestServed(t *testing.T) {
	m := New()
	m.Began()
	m.Began()
	m.Served("", 404, time.Millisecond)
	text := textOf(t, m)
	for _, want := range []string{"licet_http_requests_underway 1\n", `licet_http_request_seconds_count{class="4xx",route="_other"} 1` + "\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, status := range []int{0, -1, 99, 600, 1 << 40} {
		m.Served("GET /v1/status", status, 0)
	}
	if !strings.Contains(textOf(t, m), `licet_http_request_seconds_count{class="other",route="GET /v1/status"} 5`) {
		t.Error("a status that is none")
	}
}

func textOf(t testing.TB, m *Metrics) string {
	t.Helper()
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// linesOf are those of a text that begin with a name.
func linesOf(text, name string) (lines []string) {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, name) {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

// What measuring costs a write: all that is noted on its way on the leader, HTTP included.
func BenchmarkMeasuring(b *testing.B) {
	m := New()
	commit := []string{"raft", "commitTime"}
	b.ReportAllocs()
	for b.Loop() {
		m.Began()
		m.QueueWait.Observe(.0001)
		m.Entry.Observe(16)
		m.EntryBytes.Observe(4000)
		m.Sink.AddSample(commit, 1)
		m.Apply.Observe(.0001)
		m.Commit.Observe(.001)
		m.Decided("checkout", "ok")
		m.Propose.Observe(.001)
		m.Served("POST /v1/checkouts", 201, time.Millisecond)
	}
}
