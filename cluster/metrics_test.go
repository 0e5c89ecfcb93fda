package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/metrics"
	"github.com/licet/licet/node"
)

// rare are series of a cluster that is well which nothing feeds: what they tell of does not happen there.
var rare = []string{
	`licet_raft_timeouts_total{timeout="lease"}`, `licet_raft_restore_seconds`,
	`licet_raft_rpc_seconds{rpc="install_snapshot"}`, `licet_snapshot_faults_total`,
	`licet_gossip_health_score`, `licet_gossip_degraded_total`, `licet_gossip_degraded_total{what="probe"}`, `licet_gossip_degraded_total{what="timeout"}`,
	`licet_gossip_nodes{state="suspect"}`, `licet_gossip_nodes{state="dead"}`, `licet_gossip_nodes{state="left"}`,
	`licet_gossip_messages_total{message="suspect"}`, `licet_gossip_messages_total{message="dead"}`,
	`licet_http_requests_underway`, `licet_members{suffrage="nonvoter"}`, `licet_leader_contact_age_seconds`,
	// They may be 0 in a cluster that has just begun, or right after a write.
	`licet_peer_lag_entries`, `licet_clock_offset_seconds`, `licet_apply_lag_entries`, `licet_queue_commands`, `licet_trail_lag_rows`,
	`licet_boltdb_free_pages`, `licet_boltdb_free_bytes`, `licet_boltdb_pending_pages`, `licet_boltdb_open_reads`, `licet_boltdb_rebalance_seconds_total`, `licet_boltdb_freelist_bytes`,
	`licet_pool_seats_offered`, `licet_pool_seats_borrowed`, `licet_pool_series_omitted`, `licet_pool_wait_estimate_seconds`,
	`licet_pool_oldest_ticket_age_seconds`, `licet_pool_seats_free`, `licet_projects_open`,
	// No vendor key is revoked here.
	`licet_contracts_key_revoked`,
	// Nothing rotates here, and all are of one version.
	`licet_raft_verify_leader_total`,
	// Which node becomes a candidate first, and with a vote of whom, is chance.
	`licet_raft_timeouts_total{timeout="heartbeat"}`, `licet_boltdb_get_seconds`, `licet_raft_rpc_seconds{rpc="request_vote"}`,
}

// What a cluster that works exports is what docs/metrics.md lists, and each figure of it moves: a name of the libraries
// that is misspelt here, or that a newer version of theirs has changed, would stand at 0 for ever.
func TestMetricsOfACluster(t *testing.T) {
	if !metricsTag {
		t.Fatal("this test needs the build tag hashicorpmetrics, without which Raft and memberlist report to nobody: go test -tags=hashicorpmetrics, or make test")
	}
	list := sites(t, 3)
	measured := make([]*metrics.Metrics, len(list))
	var seeds []string
	for i, s := range list {
		measured[i] = metrics.New()
		address := freeAddress(t)
		seeds = append(seeds, address)
		s.options.Metrics, s.options.Gossip = measured[i], &cluster.Gossip{Listen: address, Advertise: address}
	}
	// All three report to the first one's metrics; each has its own for what it counts itself.
	if err := measured[0].TakeLibraries(); err != nil {
		t.Fatal(err)
	}
	for i, s := range list {
		s.options.Gossip.Seeds = seeds
		s.start()
		measured[i].Watch(node.Node{Node: s.node}.Sample)
	}
	for _, s := range list {
		s.ready()
	}
	leader := leaderOf(t, list)
	leader.putSeats()
	leader.putPool("design", 3600)
	for _, s := range list {
		s.propose(seat("design", s.options.ID))
		if _, _, err := s.node.Read(t.Context(), cluster.Read{}); err != nil {
			t.Fatal(err)
		}
	}
	leader.putPool("lab", 3600)
	first := leader.propose(seat("lab", "ann")).GetLease().GetLease().GetId()
	leader.propose(seat("lab", "bob"))
	leader.propose(checkIn(first))
	leader.propose(seat("lab", "cid"))
	if err := leader.node.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	measured[0].Began()
	measured[0].Served("GET /v1/status", 200, 1)
	measured[0].Refused("waits")
	eventually(t, "every figure moves", func() error { return missing(t, measured) })
	eventually(t, "one leads and all are ready", func() error {
		leaders, ready := 0.0, 0.0
		for _, m := range measured {
			leaders, ready = leaders+value(t, m, "licet_leader"), ready+value(t, m, "licet_ready")
		}
		if leaders != 1 || ready != 3 {
			return fmt.Errorf("%v lead, %v are ready", leaders, ready)
		}
		return nil
	})
}

// An offer is counted where and when it is decided: not on other nodes, and not when the log is applied again or a
// snapshot is restored.
func TestTicketWaitIsCountedOnce(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.options.Metrics, s.options.TrailingLogs = metrics.New(), 1
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	leader := leaderOf(t, list)
	leader.putSeats()
	leader.putPool("lab", 3600)
	first := leader.propose(seat("lab", "ann")).GetLease().GetLease().GetId()
	if o := leader.propose(seat("lab", "bob")); o.GetTicket() == nil {
		t.Fatalf("nobody waits: %v", o)
	}
	counted := func() (n float64) {
		for _, s := range list {
			n += value(t, s.options.Metrics, "licet_ticket_wait_seconds")
		}
		return n
	}
	if n := counted(); n != 0 {
		t.Fatalf("%v offers before there was one", n)
	}
	// A follower asks: it is the leader that decides.
	follower := another(list, leader)
	if o := follower.propose(checkIn(first)); o.Refusal != nil {
		t.Fatal(fsm.Detail(o.Refusal))
	}
	sameDigests(t, list)
	if n, there := counted(), value(t, leader.options.Metrics, "licet_ticket_wait_seconds"); n != 1 || there != 1 {
		t.Fatalf("%v offers were counted, %v of them on the leader", n, there)
	}
	if err := follower.node.Raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		s.stop()
		s.options.Metrics = metrics.New()
	}
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
		if _, _, err := s.node.Read(t.Context(), cluster.Read{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := counted(); n != 0 {
		t.Errorf("after a restart of all %v offers were counted anew", n)
	}
}

func checkIn(lease uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: lease, Holder: make([]byte, fsm.HolderSize)}}}
}

// missing says which families or series nothing has fed on any node.
func missing(t *testing.T, all []*metrics.Metrics) error {
	t.Helper()
	fed := map[string]bool{}
	known := map[string]metrics.Family{}
	for _, f := range metrics.Families() {
		known[f.Name] = f
	}
	for _, m := range all {
		for _, f := range gathered(t, m) {
			if !strings.HasPrefix(f.GetName(), "licet_") {
				continue
			}
			want, ok := known[f.GetName()]
			if !ok || want.Type != strings.ToLower(f.GetType().String()) || want.Help != f.GetHelp() {
				t.Fatalf("%s (%s, %q) is not as docs/metrics.md has it", f.GetName(), f.GetType(), f.GetHelp())
			}
			for _, x := range f.Metric {
				name := seriesName(f.GetName(), x)
				fed[name] = fed[name] || amount(x) != 0
				fed[f.GetName()] = fed[f.GetName()] || amount(x) != 0
			}
		}
	}
	var errs []error
	for name := range known {
		// Copies are measured where they are configured, see e2e.
		if _, there := fed[name]; !there && name != "licet_command_faults_total" && !strings.HasPrefix(name, "licet_audit_copy_") {
			errs = append(errs, fmt.Errorf("%s is not exported", name))
		}
	}
	for name, moved := range fed {
		family, _, _ := strings.Cut(name, "{")
		if !moved && !slices.Contains(rare, name) && !slices.Contains(rare, family) {
			errs = append(errs, fmt.Errorf("%s stands at 0", name))
		}
	}
	return errors.Join(errs...)
}

func gathered(t *testing.T, m *metrics.Metrics) []*dto.MetricFamily {
	t.Helper()
	all, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func value(t *testing.T, m *metrics.Metrics, name string) float64 {
	t.Helper()
	for _, f := range gathered(t, m) {
		if f.GetName() == name {
			return amount(f.Metric[0])
		}
	}
	t.Fatalf("%s is not there", name)
	return 0
}

func amount(x *dto.Metric) float64 {
	if h := x.GetHistogram(); h != nil {
		return float64(h.GetSampleCount())
	}
	return x.GetGauge().GetValue() + x.GetCounter().GetValue()
}

func seriesName(name string, x *dto.Metric) string {
	var labels []string
	for _, l := range x.Label {
		labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	if len(labels) == 0 {
		return name
	}
	return name + "{" + strings.Join(labels, ",") + "}"
}
