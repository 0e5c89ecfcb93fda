package metrics

import (
	"sync"

	hashicorp "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

var raftFamilies = []Family{
	{"licet_raft_apply_total", counter, nil, "", "Entries that this node handed to Raft as leader."},
	{"licet_raft_barriers_total", counter, nil, "", "Barriers that this node asked Raft for."},
	{"licet_raft_verify_leader_total", counter, nil, "", "Proofs of leadership that this node asked Raft for: before gossip keys rotate, and for reads while voters of earlier versions are there."},
	{"licet_raft_state_changes_total", counter, []string{"state"}, "", "How often this node became follower, candidate or leader."},
	{"licet_raft_timeouts_total", counter, []string{"timeout"}, "", "How often this node missed the leader (heartbeat), or the majority as leader (lease)."},
	{"licet_raft_commit_seconds", histogram, nil, "seconds", "Time from an entry's dispatch by the leader until it is on a majority."},
	{"licet_raft_dispatch_seconds", histogram, nil, "seconds", "Time the leader takes to write entries to its own disk."},
	{"licet_raft_fsm_enqueue_seconds", histogram, nil, "seconds", "Time committed entries wait until the state machine takes them."},
	{"licet_raft_leader_contact_seconds", histogram, nil, "seconds", "Leader: how long ago followers answered, when the lease was checked."},
	{"licet_raft_election_seconds", histogram, []string{"step"}, "seconds", "Time of a candidate's round for votes: pre_vote or vote."},
	{"licet_raft_rpc_seconds", histogram, []string{"rpc"}, "seconds", "Time to serve another node's message: append_entries, heartbeat, request_vote, install_snapshot."},
	{"licet_raft_store_seconds", histogram, nil, "seconds", "Time a follower takes to write a leader's entries to its disk."},
	{"licet_raft_replication_seconds", histogram, []string{"rpc", "peer"}, "seconds", "Leader: time of a message to a peer and back: append_entries, heartbeat, install_snapshot."},
	{"licet_raft_replicated_entries_total", counter, []string{"peer"}, "", "Leader: entries sent to a peer."},
	{"licet_raft_snapshot_seconds", histogram, []string{"step"}, "seconds", "Time of the steps of a snapshot in Raft: create, persist, compact (deletes the log behind it), take (all of it)."},
	{"licet_raft_restore_seconds", histogram, nil, "seconds", "Time to restore the state from a snapshot."},
	{"licet_boltdb_get_seconds", histogram, nil, "seconds", "Time to read an entry of the log from disk."},
	{"licet_boltdb_store_seconds", histogram, nil, "seconds", "Time of a transaction that writes entries of the log, its sync to disk included."},
	{"licet_boltdb_batch_bytes", histogram, nil, "bytes", "Size of the entries of one such transaction."},
	{"licet_gossip_health_score", gauge, nil, "", "Gossip's opinion of this node's own health: 0 is good, more means that it answers late."},
	{"licet_gossip_nodes", gauge, []string{"state"}, "", "Nodes that gossip knows, by state."},
	{"licet_gossip_probe_seconds", histogram, nil, "seconds", "Time of a probe of another node by gossip."},
	{"licet_gossip_round_seconds", histogram, nil, "seconds", "Time of a round of gossip."},
	{"licet_gossip_push_pull_seconds", histogram, nil, "seconds", "Time of a full exchange with another node."},
	{"licet_gossip_degraded_total", counter, []string{"what"}, "", "Probes, and time-outs of suspicion, that were lengthened because this node is slow itself."},
	{"licet_gossip_messages_total", counter, []string{"message"}, "", "News of nodes: alive, suspect, dead."},
	{"licet_gossip_connections_total", counter, []string{"direction"}, "", "TCP connections of gossip: in, out."},
	{"licet_gossip_bytes_total", counter, []string{"protocol", "direction"}, "bytes", "Bytes of gossip by protocol and direction; TCP in is not counted."},
}

// millis is what go-metrics measures times in.
const millis = 1e-3

// signal is what becomes of a value that Raft, its store or memberlist reports under one of their own names.
type signal struct {
	family string
	// values are those of the family's labels; the last one is the reported label's if label is set.
	values []string
	label  string
	scale  float64
	slow   bool
}

// signals are those that are kept, by the names that the libraries give them. The others say what these or the
// instruments of Requests say, too.
var signals = map[string]signal{
	"raft.apply":                           {family: "licet_raft_apply_total"},
	"raft.barrier":                         {family: "licet_raft_barriers_total"},
	"raft.verify_leader":                   {family: "licet_raft_verify_leader_total"},
	"raft.state.follower":                  {family: "licet_raft_state_changes_total", values: []string{"follower"}},
	"raft.state.candidate":                 {family: "licet_raft_state_changes_total", values: []string{"candidate"}},
	"raft.state.leader":                    {family: "licet_raft_state_changes_total", values: []string{"leader"}},
	"raft.transition.heartbeat_timeout":    {family: "licet_raft_timeouts_total", values: []string{"heartbeat"}},
	"raft.transition.leader_lease_timeout": {family: "licet_raft_timeouts_total", values: []string{"lease"}},
	"raft.commitTime":                      {family: "licet_raft_commit_seconds", scale: millis},
	"raft.leader.dispatchLog":              {family: "licet_raft_dispatch_seconds", scale: millis},
	"raft.fsm.enqueue":                     {family: "licet_raft_fsm_enqueue_seconds", scale: millis},
	"raft.leader.lastContact":              {family: "licet_raft_leader_contact_seconds", scale: millis},
	"raft.candidate.preElectSelf":          {family: "licet_raft_election_seconds", values: []string{"pre_vote"}, scale: millis},
	"raft.candidate.electSelf":             {family: "licet_raft_election_seconds", values: []string{"vote"}, scale: millis},
	"raft.rpc.appendEntries":               {family: "licet_raft_rpc_seconds", values: []string{"append_entries"}, scale: millis},
	"raft.rpc.processHeartbeat":            {family: "licet_raft_rpc_seconds", values: []string{"heartbeat"}, scale: millis},
	"raft.rpc.requestVote":                 {family: "licet_raft_rpc_seconds", values: []string{"request_vote"}, scale: millis},
	"raft.rpc.installSnapshot":             {family: "licet_raft_rpc_seconds", values: []string{"install_snapshot"}, scale: millis},
	"raft.rpc.appendEntries.storeLogs":     {family: "licet_raft_store_seconds", scale: millis},
	"raft.replication.appendEntries.rpc":   {family: "licet_raft_replication_seconds", values: []string{"append_entries"}, label: "peer_id", scale: millis},
	"raft.replication.heartbeat":           {family: "licet_raft_replication_seconds", values: []string{"heartbeat"}, label: "peer_id", scale: millis},
	"raft.replication.installSnapshot":     {family: "licet_raft_replication_seconds", values: []string{"install_snapshot"}, label: "peer_id", scale: millis},
	"raft.replication.appendEntries.logs":  {family: "licet_raft_replicated_entries_total", label: "peer_id"},
	"raft.snapshot.create":                 {family: "licet_raft_snapshot_seconds", values: []string{"create"}, scale: millis, slow: true},
	"raft.snapshot.persist":                {family: "licet_raft_snapshot_seconds", values: []string{"persist"}, scale: millis, slow: true},
	"raft.compactLogs":                     {family: "licet_raft_snapshot_seconds", values: []string{"compact"}, scale: millis, slow: true},
	"raft.snapshot.takeSnapshot":           {family: "licet_raft_snapshot_seconds", values: []string{"take"}, scale: millis, slow: true},
	"raft.fsm.restore":                     {family: "licet_raft_restore_seconds", scale: millis, slow: true},
	"raft.boltdb.getLog":                   {family: "licet_boltdb_get_seconds", scale: millis},
	"raft.boltdb.storeLogs":                {family: "licet_boltdb_store_seconds", scale: millis},
	"raft.boltdb.logBatchSize":             {family: "licet_boltdb_batch_bytes"},
	"memberlist.health.score":              {family: "licet_gossip_health_score"},
	"memberlist.node.instances":            {family: "licet_gossip_nodes", label: "node_state"},
	"memberlist.probeNode":                 {family: "licet_gossip_probe_seconds", scale: millis},
	"memberlist.gossip":                    {family: "licet_gossip_round_seconds", scale: millis},
	"memberlist.pushPullNode":              {family: "licet_gossip_push_pull_seconds", scale: millis},
	"memberlist.degraded.probe":            {family: "licet_gossip_degraded_total", values: []string{"probe"}},
	"memberlist.degraded.timeout":          {family: "licet_gossip_degraded_total", values: []string{"timeout"}},
	"memberlist.msg.alive":                 {family: "licet_gossip_messages_total", values: []string{"alive"}},
	"memberlist.msg.suspect":               {family: "licet_gossip_messages_total", values: []string{"suspect"}},
	"memberlist.msg.dead":                  {family: "licet_gossip_messages_total", values: []string{"dead"}},
	"memberlist.tcp.accept":                {family: "licet_gossip_connections_total", values: []string{"in"}},
	"memberlist.tcp.connect":               {family: "licet_gossip_connections_total", values: []string{"out"}},
	"memberlist.tcp.sent":                  {family: "licet_gossip_bytes_total", values: []string{"tcp", "out"}},
	"memberlist.udp.sent":                  {family: "licet_gossip_bytes_total", values: []string{"udp", "out"}},
	"memberlist.udp.received":              {family: "licet_gossip_bytes_total", values: []string{"udp", "in"}},
}

// maxPeers bounds the values of one reported label, those of members that are gone included; further ones share other.
const maxPeers = 32

// Sink takes what Raft, its store and memberlist report to hashicorp/go-metrics. What it does not know it drops, so that
// names stay as they are documented whatever the libraries report. Safe for concurrent use.
type Sink struct{ inputs map[string]*input }

var _ hashicorp.MetricSink = (*Sink)(nil)

// input feeds the instruments of one signal.
type input struct {
	signal
	make func(values ...string) func(float64)
	// single feeds a signal without a label of its own.
	single func(float64)

	mu     sync.RWMutex
	labels map[string]func(float64)
}

func newSink(registry *prometheus.Registry) *Sink {
	m := maker{raftFamilies, registry}
	made := map[string]func(values ...string) func(float64){}
	s := &Sink{inputs: make(map[string]*input, len(signals))}
	for key, x := range signals {
		if x.scale == 0 {
			x.scale = 1
		}
		if made[x.family] == nil {
			made[x.family] = m.feed(x)
		}
		in := &input{signal: x, make: made[x.family], labels: map[string]func(float64){}}
		if x.label == "" {
			in.single = in.make(x.values...)
		}
		s.inputs[key] = in
	}
	return s
}

// feed returns what makes the instruments of a signal's family.
func (m maker) feed(x signal) func(values ...string) func(float64) {
	switch family(m.list, x.family).Type {
	case counter:
		all := m.counters(x.family)
		return func(values ...string) func(float64) { return all.WithLabelValues(values...).Add }
	case gauge:
		all := m.gauges(x.family)
		return func(values ...string) func(float64) { return all.WithLabelValues(values...).Set }
	}
	buckets := seconds
	switch {
	case x.slow:
		buckets = slow
	case x.scale != millis:
		buckets = byteSizes
	}
	all := m.histograms(x.family, buckets)
	return func(values ...string) func(float64) { return all.WithLabelValues(values...).Observe }
}

func (s *Sink) take(key []string, value float32, labels []hashicorp.Label) {
	name := make([]byte, 0, 64)
	for i, part := range key {
		if i > 0 {
			name = append(name, '.')
		}
		name = append(name, part...)
	}
	in := s.inputs[string(name)]
	if in == nil {
		return
	}
	feed := in.single
	if feed == nil {
		for _, l := range labels {
			if l.Name == in.label {
				feed = in.labelled(l.Value)
			}
		}
	}
	// A counter that was given less than nothing would panic.
	if feed != nil && value >= 0 {
		feed(float64(value) * in.scale)
	}
}

func (in *input) labelled(value string) func(float64) {
	in.mu.RLock()
	feed := in.labels[value]
	in.mu.RUnlock()
	if feed != nil {
		return feed
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.labels) >= maxPeers {
		value = other
	}
	if in.labels[value] == nil {
		in.labels[value] = in.make(append(append([]string(nil), in.values...), value)...)
	}
	return in.labels[value]
}

// SetGauge implements hashicorp.MetricSink.
func (s *Sink) SetGauge(key []string, value float32) { s.take(key, value, nil) }

// SetGaugeWithLabels implements hashicorp.MetricSink.
func (s *Sink) SetGaugeWithLabels(key []string, value float32, labels []hashicorp.Label) {
	s.take(key, value, labels)
}

// EmitKey implements hashicorp.MetricSink.
func (s *Sink) EmitKey([]string, float32) {}

// IncrCounter implements hashicorp.MetricSink.
func (s *Sink) IncrCounter(key []string, value float32) { s.take(key, value, nil) }

// IncrCounterWithLabels implements hashicorp.MetricSink.
func (s *Sink) IncrCounterWithLabels(key []string, value float32, labels []hashicorp.Label) {
	s.take(key, value, labels)
}

// AddSample implements hashicorp.MetricSink.
func (s *Sink) AddSample(key []string, value float32) { s.take(key, value, nil) }

// AddSampleWithLabels implements hashicorp.MetricSink.
func (s *Sink) AddSampleWithLabels(key []string, value float32, labels []hashicorp.Label) {
	s.take(key, value, labels)
}
