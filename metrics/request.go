package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var requestFamilies = []Family{
	{"licet_http_request_seconds", histogram, []string{"route", "class"}, "seconds", "Time of a request over HTTP, by route and class of its status. Requests for unknown paths have the route _other."},
	{"licet_http_requests_underway", gauge, nil, "", "Requests over HTTP that are being answered."},
	{"licet_refused_total", counter, []string{"kind"}, "", "What this node's limits refused: requests of kind rate_principal, rate_address and rate_unknown (429), requests that would wait (waits), connections (connections, connections_of_address)."},
	{"licet_commands_total", counter, []string{"kind", "outcome"}, "", "Commands that this node was asked for and that were decided. The outcome is ok, queued, or the code of the refusal: denials are those of kind checkout that are neither ok nor queued. Each item of a bulk counts; repeats of a request do not."},
	{"licet_command_faults_total", counter, []string{"code"}, "", "Commands that this node was asked for and gave up, by code; outcome_unknown may have been decided."},
	{"licet_propose_seconds", histogram, nil, "seconds", "Time from a command's arrival at this node to its outcome, all attempts included."},
	{"licet_forward_seconds", histogram, nil, "seconds", "Time of one frame of commands from this node to the leader and back."},
	{"licet_commit_seconds", histogram, nil, "seconds", "Time of one entry on the leader, from its stamp until it is on disk on a majority and applied."},
	{"licet_apply_seconds", histogram, nil, "seconds", "Time to apply one entry to this node's state."},
	{"licet_queue_wait_seconds", histogram, nil, "seconds", "Time a command waited on this node for its batch."},
	{"licet_batch_commands", histogram, []string{"path"}, "commands", "Commands of one batch: of an entry (path commit) or of a frame to the leader (path forward)."},
	{"licet_batch_bytes", histogram, nil, "bytes", "Size of one entry that this node proposed."},
	{"licet_read_index_seconds", histogram, nil, "seconds", "Time of one proof for linearizable reads: by the leader itself, or as asked of it."},
	{"licet_ticket_wait_seconds", histogram, nil, "seconds", "How long a ticket had waited when it got an offer, by the state's clock. Each offer counts once in the cluster, on the leader that decided it; one whose leader was lost meanwhile does not."},
	{"licet_snapshot_seconds", histogram, nil, "seconds", "Time to write a snapshot of the state."},
	{"licet_snapshot_faults_total", counter, nil, "", "Snapshots that could not be written."},
	{"licet_leader_changes_total", counter, nil, "", "How often this node learnt who leads: at its start, at each change, and after each time without a leader."},
}

// Requests are the instruments on the way of writes and reads. They take no lock that is held for long, and allocate nothing.
type Requests struct {
	// Times in seconds.
	Propose, Forward, Commit, Apply, QueueWait, ReadIndex, Snapshot, TicketWait prometheus.Observer
	// Entry and Frame are numbers of commands, EntryBytes is a size.
	Entry, Frame, EntryBytes prometheus.Observer
	// SnapshotFaults and LeaderChanges count.
	SnapshotFaults, LeaderChanges prometheus.Counter

	http     *prometheus.HistogramVec
	underway prometheus.Gauge
	commands *prometheus.CounterVec
	faults   *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

func newRequests(registry *prometheus.Registry) Requests {
	m := maker{requestFamilies, registry}
	batches := m.histograms("licet_batch_commands", sizes)
	return Requests{
		Propose: m.histogram("licet_propose_seconds", seconds), Forward: m.histogram("licet_forward_seconds", seconds),
		Commit: m.histogram("licet_commit_seconds", seconds), Apply: m.histogram("licet_apply_seconds", seconds),
		QueueWait: m.histogram("licet_queue_wait_seconds", seconds), ReadIndex: m.histogram("licet_read_index_seconds", seconds),
		Snapshot: m.histogram("licet_snapshot_seconds", slow), TicketWait: m.histogram("licet_ticket_wait_seconds", waits),
		Entry: batches.WithLabelValues("commit"), Frame: batches.WithLabelValues("forward"), EntryBytes: m.histogram("licet_batch_bytes", byteSizes),
		SnapshotFaults: m.counter("licet_snapshot_faults_total"), LeaderChanges: m.counter("licet_leader_changes_total"),
		http: m.histograms("licet_http_request_seconds", seconds), underway: m.gauge("licet_http_requests_underway"),
		commands: m.counters("licet_commands_total"), faults: m.counters("licet_command_faults_total"), refused: m.counters("licet_refused_total"),
	}
}

// Decided counts a command of a kind and its outcome: ok, queued or the code of a refusal.
func (r *Requests) Decided(kind, outcome string) { r.commands.WithLabelValues(kind, outcome).Inc() }

// GaveUp counts a command without an outcome.
func (r *Requests) GaveUp(code string) { r.faults.WithLabelValues(code).Inc() }

// Began counts a request over HTTP that is under way until it was Served.
func (r *Requests) Began() { r.underway.Inc() }

// Refused counts what a limit refused, by its kind.
func (r *Requests) Refused(kind string) { r.refused.WithLabelValues(kind).Inc() }

var classes = [6]string{"other", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Served notes an exchange over HTTP. The route is that of the document, such as "POST /v1/checkouts", empty for an
// unknown path; a status of 0 is one whose client had gone.
func (r *Requests) Served(route string, status int, took time.Duration) {
	if route == "" {
		route = other
	}
	class := 0
	if status >= 100 && status < 600 {
		class = status / 100
	}
	r.underway.Dec()
	r.http.WithLabelValues(route, classes[class]).Observe(took.Seconds())
}

func number[N ~int | ~int64 | ~uint64](n N) float64 { return float64(n) }

func whether(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
