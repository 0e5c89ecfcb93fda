package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/licet/licet/fsm"
)

var nodeFamilies = []Family{
	{"licet_build_info", gauge, []string{"version", "go_version"}, "", "Always 1; the labels say what runs."},
	{"licet_ready", gauge, nil, "", "1 if the node can serve now, as /readyz says, else 0."},
	{"licet_leader", gauge, nil, "", "1 if this node leads and has opened its term, else 0."},
	{"licet_leader_known", gauge, nil, "", "1 if this node knows a leader, else 0."},
	{"licet_voter", gauge, nil, "", "1 if this node counts for majorities, else 0."},
	{"licet_leader_contact_age_seconds", gauge, nil, "seconds", "How long ago this node last heard of a leader; 0 on the leader."},
	{"licet_members", gauge, []string{"suffrage"}, "", "Members of the cluster as this node knows them: voter, nonvoter."},
	{"licet_peer_reachable", gauge, []string{"peer"}, "", "Leader only: 1 if the member answered the last probe, else 0."},
	{"licet_peer_lag_entries", gauge, []string{"peer"}, "entries", "Leader only: by how many entries the log of a member that answers is behind."},
	{"licet_clock_offset_seconds", gauge, []string{"peer"}, "seconds", "Leader only: how far the clock of a member that answers is ahead of the leader's."},
	{"licet_clock_believed", gauge, nil, "", "0 if the node stamps nothing because the others' clocks contradict its own, else 1."},
	{"licet_clock_limit_seconds", gauge, nil, "seconds", "limits.max_clock_skew: beyond it a clock is not believed."},
	{"licet_raft_term", gauge, nil, "", "Raft's term."},
	{"licet_raft_last_index", gauge, nil, "", "The last entry in this node's log."},
	{"licet_raft_commit_index", gauge, nil, "", "The last entry that this node knows to be committed."},
	{"licet_raft_snapshot_index", gauge, nil, "", "The last entry in the newest snapshot on disk; 0 without one."},
	{"licet_applied_index", gauge, nil, "", "The last entry in this node's state."},
	{"licet_apply_lag_entries", gauge, nil, "entries", "Committed entries that are not in the state. Raft's own entries count until the next write: a few in an idle cluster are nothing."},
	{"licet_snapshot_timestamp_seconds", gauge, nil, "seconds since 1970", "When the newest snapshot on disk was begun; 0 without one."},
	{"licet_snapshot_bytes", gauge, nil, "bytes", "Size of the newest snapshot on disk; 0 without one."},
	{"licet_queue_commands", gauge, []string{"queue"}, "", "What waits on this node: writes for the leader's own batches (proposals), writes to be forwarded (forwards), reads that wait for a proof (reads)."},
	{"licet_queue_limit", gauge, nil, "", "limits.queue: how many may wait in each queue."},
	{"licet_disk_free_bytes", gauge, nil, "bytes", "Space of the data directory's file system that the node may still use."},
	{"licet_disk_size_bytes", gauge, nil, "bytes", "Size of that file system."},
	{"licet_boltdb_file_bytes", gauge, nil, "bytes", "Size of raft.db. It never shrinks; what is free in it is used again."},
	{"licet_boltdb_free_bytes", gauge, nil, "bytes", "Free pages in raft.db."},
	{"licet_boltdb_free_pages", gauge, nil, "", "Free pages in raft.db, those that a reader still holds not counted."},
	{"licet_boltdb_pending_pages", gauge, nil, "", "Pages that are free once readers have ended."},
	{"licet_boltdb_freelist_bytes", gauge, nil, "bytes", "Size of the list of free pages."},
	{"licet_boltdb_open_reads", gauge, nil, "", "Read transactions that are open."},
	{"licet_boltdb_writes_total", counter, nil, "", "Writes to raft.db."},
	{"licet_boltdb_write_seconds_total", counter, nil, "seconds", "Time spent writing raft.db to disk."},
	{"licet_boltdb_spill_seconds_total", counter, nil, "seconds", "Time spent laying out pages for it."},
	{"licet_boltdb_rebalance_seconds_total", counter, nil, "seconds", "Time spent merging pages."},
	{"licet_trail_last_row", gauge, nil, "", "The last row of the audit trail in this node's files."},
	{"licet_trail_lag_rows", gauge, nil, "rows", "Rows in the state that are not in the files yet."},
	{"licet_audit_copy_lag_rows", gauge, []string{"target"}, "rows", "Rows in the state that a running copy of the audit trail has not sent yet; target is file or syslog, as far as they are configured."},
	{"licet_audit_copy_failing", gauge, []string{"target"}, "", "1 if a running copy has failed and not recovered yet, else 0."},
	{"licet_audit_copy_lost_rows_total", counter, []string{"target"}, "rows", "Rows that were no longer in this node's files when a running copy came to them, since the start."},
	{"licet_certificate_expiry_timestamp_seconds", gauge, []string{"certificate"}, "seconds since 1970", "When a certificate in use ends, with those that it chains to: node (between nodes), http (the API, if it speaks https)."},
	{"licet_audit_rows", gauge, nil, "", "Rows of the audit trail in the state."},
	{"licet_request_ids", gauge, nil, "", "Request ids whose outcome the state remembers."},
	{"licet_writes_decided_total", counter, nil, "", "Writes decided since the cluster was formed, the same on all nodes."},
}

// Sample is what a scrape reads of a node. Reading it must neither wait nor hold anybody up.
type Sample struct {
	Version                                string
	Ready, Leads, LeaderKnown, Voter       bool
	ContactAge                             time.Duration
	Voters, Nonvoters                      int
	Peers                                  []Peer
	ClockBelieved                          bool
	ClockLimit                             time.Duration
	Term, LastIndex, CommitIndex           uint64
	Snapshot                               Snapshot
	Proposals, Forwards, Reads, QueueLimit int
	DiskFree, DiskSize                     uint64
	Store                                  Store
	TrailLast                              uint64
	// Copies are the running copies of the audit trail, by target.
	Copies       map[string]Copy
	Certificates map[string]time.Time
	// View is the node's state; all that is told of seats is read from it.
	View *fsm.View
}

// Peer is another member as the leader saw it last; Lag and Offset are of one that answered.
type Peer struct {
	ID        string
	Reachable bool
	Lag       uint64
	// Offset is how far its clock is ahead of the leader's.
	Offset time.Duration
}

// Copy is how far a running copy of the audit trail has come.
type Copy struct {
	Sent, Lost uint64
	Failing    bool
}

// Snapshot is the newest one on disk; the zero value if there is none.
type Snapshot struct {
	Index uint64
	Taken time.Time
	Bytes int64
}

// Store is what bbolt tells of raft.db.
type Store struct {
	FileBytes                                         int64
	FreePages, PendingPages, FreeBytes, FreelistBytes int
	OpenReads                                         int
	Writes                                            int64
	WriteTime, SpillTime, RebalanceTime               time.Duration
}

// nodeCollector reads a node at each scrape.
type nodeCollector struct {
	descs map[string]*prometheus.Desc
	read  func() Sample
}

var _ prometheus.Collector = (*nodeCollector)(nil)

// Watch has scrapes read a node. It is called once.
func (m *Metrics) Watch(read func() Sample) {
	m.registry.MustRegister(&nodeCollector{descs: descs(append(append([]Family(nil), nodeFamilies...), seatFamilies...)), read: read})
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(out chan<- prometheus.Metric) {
	s, e := c.read(), emitter{c.descs, out}
	e.gauge("licet_build_info", 1, s.Version, runtime.Version())
	e.standing(&s)
	e.consensus(&s)
	e.storage(&s)
	if s.View != nil {
		last, _, _ := s.View.Chain()
		e.gauge("licet_trail_lag_rows", number(last-min(last, s.TrailLast)))
		for target, c := range s.Copies {
			e.gauge("licet_audit_copy_lag_rows", number(last-min(last, c.Sent)), target)
			e.gauge("licet_audit_copy_failing", whether(c.Failing), target)
			e.counter("licet_audit_copy_lost_rows_total", number(c.Lost), target)
		}
		e.gauge("licet_audit_rows", number(s.View.Writes()))
		e.gauge("licet_request_ids", number(s.View.Requests()))
		e.counter("licet_writes_decided_total", number(last))
		e.seats(s.View)
	}
}

type emitter struct {
	descs map[string]*prometheus.Desc
	out   chan<- prometheus.Metric
}

func (e emitter) gauge(name string, value float64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(e.descs[name], prometheus.GaugeValue, value, labels...)
}

func (e emitter) counter(name string, value float64, labels ...string) {
	e.out <- prometheus.MustNewConstMetric(e.descs[name], prometheus.CounterValue, value, labels...)
}

func (e emitter) standing(s *Sample) {
	e.gauge("licet_ready", whether(s.Ready))
	e.gauge("licet_leader", whether(s.Leads))
	e.gauge("licet_leader_known", whether(s.LeaderKnown))
	e.gauge("licet_voter", whether(s.Voter))
	e.gauge("licet_leader_contact_age_seconds", s.ContactAge.Seconds())
	e.gauge("licet_members", number(s.Voters), "voter")
	e.gauge("licet_members", number(s.Nonvoters), "nonvoter")
	for _, p := range s.Peers {
		e.gauge("licet_peer_reachable", whether(p.Reachable), p.ID)
		if p.Reachable {
			e.gauge("licet_peer_lag_entries", number(p.Lag), p.ID)
			e.gauge("licet_clock_offset_seconds", p.Offset.Seconds(), p.ID)
		}
	}
	e.gauge("licet_clock_believed", whether(s.ClockBelieved))
	e.gauge("licet_clock_limit_seconds", s.ClockLimit.Seconds())
	e.gauge("licet_queue_commands", number(s.Proposals), "proposals")
	e.gauge("licet_queue_commands", number(s.Forwards), "forwards")
	e.gauge("licet_queue_commands", number(s.Reads), "reads")
	e.gauge("licet_queue_limit", number(s.QueueLimit))
}

func (e emitter) consensus(s *Sample) {
	applied := uint64(0)
	if s.View != nil {
		applied = s.View.Index()
	}
	e.gauge("licet_raft_term", number(s.Term))
	e.gauge("licet_raft_last_index", number(s.LastIndex))
	e.gauge("licet_raft_commit_index", number(s.CommitIndex))
	e.gauge("licet_raft_snapshot_index", number(s.Snapshot.Index))
	e.gauge("licet_applied_index", number(applied))
	e.gauge("licet_apply_lag_entries", number(s.CommitIndex-min(s.CommitIndex, applied)))
	taken := 0.0
	if !s.Snapshot.Taken.IsZero() {
		taken = number(s.Snapshot.Taken.UnixMilli()) / 1000
	}
	e.gauge("licet_snapshot_timestamp_seconds", taken)
	e.gauge("licet_snapshot_bytes", number(s.Snapshot.Bytes))
}

func (e emitter) storage(s *Sample) {
	e.gauge("licet_disk_free_bytes", number(s.DiskFree))
	e.gauge("licet_disk_size_bytes", number(s.DiskSize))
	e.gauge("licet_boltdb_file_bytes", number(s.Store.FileBytes))
	e.gauge("licet_boltdb_free_bytes", number(s.Store.FreeBytes))
	e.gauge("licet_boltdb_free_pages", number(s.Store.FreePages))
	e.gauge("licet_boltdb_pending_pages", number(s.Store.PendingPages))
	e.gauge("licet_boltdb_freelist_bytes", number(s.Store.FreelistBytes))
	e.gauge("licet_boltdb_open_reads", number(s.Store.OpenReads))
	e.counter("licet_boltdb_writes_total", number(s.Store.Writes))
	e.counter("licet_boltdb_write_seconds_total", s.Store.WriteTime.Seconds())
	e.counter("licet_boltdb_spill_seconds_total", s.Store.SpillTime.Seconds())
	e.counter("licet_boltdb_rebalance_seconds_total", s.Store.RebalanceTime.Seconds())
	e.gauge("licet_trail_last_row", number(s.TrailLast))
	for name, ends := range s.Certificates {
		e.gauge("licet_certificate_expiry_timestamp_seconds", number(ends.Unix()), name)
	}
}
