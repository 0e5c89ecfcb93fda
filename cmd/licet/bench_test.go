package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/config"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/node"
	"github.com/licet/licet/transport"
)

// benchCallers are the numbers of callers that wait for one answer each.
var benchCallers = []int{1, 64, 256}

// BenchmarkWrites measures the way of a write, side by side on one disk: bare
// Raft with boltdb and an empty state machine, licet's propose in the leader's process, and
// licet over HTTP to the leader and to a follower. All have three nodes in this
// process; licet's create an instance with each write. What bare Raft and propose are given is made
// beforehand: for bare Raft one payload, for propose a command with a request id and a name of its own for each write.
func BenchmarkWrites(b *testing.B) {
	for _, callers := range benchCallers {
		b.Run(fmt.Sprintf("bare-raft/%d", callers), func(b *testing.B) {
			r := bareRaft(b)
			data := make([]byte, 120)
			load(b, callers, func(int) error { return r.Apply(data, time.Minute).Error() })
		})
		b.Run(fmt.Sprintf("in-process/%d", callers), func(b *testing.B) {
			leader := benchCluster(b).leader()
			commands := make([]*fsmpb.Command, b.N)
			for i := range commands {
				commands[i] = must(fsm.NewCommand(operator, ulid.Make().String(), createBody(i)))
			}
			load(b, callers, func(i int) error {
				o, err := leader.node.Propose(b.Context(), commands[i-1])
				if err == nil && o.Refusal != nil {
					err = errors.New(fsm.Detail(o.Refusal))
				}
				return err
			})
		})
		b.Run(fmt.Sprintf("http-leader/%d", callers), func(b *testing.B) {
			benchHTTP(b, callers, benchSites.leader)
		})
		b.Run(fmt.Sprintf("http-follower/%d", callers), func(b *testing.B) {
			benchHTTP(b, callers, benchSites.follower)
		})
	}
}

func benchHTTP(b *testing.B, callers int, which func(benchSites) *benchSite) {
	s := which(benchCluster(b))
	c, err := client.New(client.Options{
		Endpoints: []string{s.url}, Token: benchToken,
		HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}},
	})
	if err != nil {
		b.Fatal(err)
	}
	load(b, callers, func(i int) error {
		_, err := c.CreateInstance(b.Context(), "bench", fmt.Sprintf("i%d", i), apiv1.Quantities{"primary": 1})
		return err
	})
}

// load has callers share b.N calls and reports their rate and waits.
func load(b *testing.B, callers int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	waits := make([][]time.Duration, callers)
	var running sync.WaitGroup
	b.ResetTimer()
	for c := range callers {
		running.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				begun := time.Now()
				if err := do(int(i)); err != nil {
					b.Error(err)
					return
				}
				waits[c] = append(waits[c], time.Since(begun))
			}
		})
	}
	running.Wait()
	b.StopTimer()
	all := slices.Concat(waits...)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

func createBody(i int) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: &fsmpb.CreateInstance{
		Contract: "bench", Name: fmt.Sprintf("i%d", i), Allocation: []*fsmpb.Quantity{{Name: "primary", N: 1}},
	}}}
}

const benchToken = "a-token-for-benchmarks"

type benchSite struct {
	node *cluster.Node
	url  string
}

type benchSites []*benchSite

func (l benchSites) leader() *benchSite { return l.with(cluster.Leader) }

func (l benchSites) follower() *benchSite { return l.with(cluster.Follower) }

func (l benchSites) with(role cluster.Role) *benchSite {
	return l[slices.IndexFunc(l, func(s *benchSite) bool { return s.node.Status().Role == role })]
}

// benchCluster starts three nodes that serve a contract, with the default configuration.
func benchCluster(b *testing.B) benchSites {
	b.Helper()
	authority := must(transport.NewAuthority("bench", transport.Validity{For: time.Hour}))
	dir := b.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	check(b, authority.Pair().Write(ca, filepath.Join(dir, "ca-key.pem")))
	vendor := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	ports := make([]net.Listener, len(devSites))
	var peers []string
	for i := range ports {
		ports[i] = must(net.Listen("tcp", "127.0.0.1:0"))
		peers = append(peers, ports[i].Addr().String())
	}
	var list benchSites
	for i, id := range devSites {
		pair := must(authority.IssueNode(id, transport.Validity{For: time.Hour}))
		files := transport.Files{CA: ca, Certificate: filepath.Join(dir, id+".pem"), Key: filepath.Join(dir, id+"-key.pem")}
		check(b, pair.Write(files.Certificate, files.Key))
		list = append(list, startBenchSite(b, cluster.Options{
			ID: id, DataDir: filepath.Join(dir, id), Advertise: peers[i], Peers: peers, Expect: len(devSites),
			VendorKeys: []ed25519.PublicKey{vendor.Public().(ed25519.PublicKey)},
		}, files, ports[i]))
	}
	for _, s := range list {
		await(b, func() bool { return s.node.Ready() == nil })
	}
	contract := &signed.Contract{
		ID: "bench", Revision: 1, Customer: "bench", Email: "bench@example.org", Users: map[string]uint64{"primary": signed.MaxQuantity},
		Start: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	body := &fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: must(contract.Sign(vendor))}}}
	o := must(list[0].node.Propose(b.Context(), must(fsm.NewCommand(operator, ulid.Make().String(), body))))
	if o.Refusal != nil {
		b.Fatal(fsm.Detail(o.Refusal))
	}
	return list
}

func startBenchSite(b *testing.B, o cluster.Options, files transport.Files, listener net.Listener) *benchSite {
	b.Helper()
	d := config.Defaults()
	o.Certificates = must(transport.LoadCertificates(files))
	o.Port = transport.NewPort(listener, transport.Options{Certificates: o.Certificates})
	o.HeartbeatTimeout, o.ElectionTimeout = d.Raft.HeartbeatTimeout, d.Raft.ElectionTimeout
	o.SnapshotThreshold, o.SnapshotInterval, o.TrailingLogs = d.Raft.SnapshotThreshold, d.Raft.SnapshotInterval, d.Raft.TrailingLogs
	o.TrailFileBytes, o.TrailTotalBytes = int64(d.Audit.FileBytes), int64(d.Audit.TotalBytes)
	o.Queue, o.BatchCommands, o.BatchBytes = d.Limits.Queue, d.Limits.BatchCommands, int(d.Limits.BatchBytes)
	o.RequestTimeout, o.MaxClockSkew = d.Limits.RequestTimeout, d.Limits.MaxClockSkew
	o.Log = hclog.NewNullLogger()
	s := &benchSite{node: must(cluster.Start(o))}
	handler := must(api.New(api.Options{Node: node.Node{Node: s.node}, Tokens: []api.Token{api.NewToken(operator, benchToken)}}))
	web := must(net.Listen("tcp", "127.0.0.1:0"))
	s.url = "http://" + web.Addr().String()
	server := api.Server(handler, api.DefaultTimeouts(o.RequestTimeout), nil)
	go func() { _ = server.Serve(web) }()
	b.Cleanup(func() {
		check(b, server.Close())
		check(b, s.node.Stop(context.Background()))
	})
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// nothing is a state machine that does nothing.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                 { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error) { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error       { return r.Close() }
func (nothing) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (nothing) Release()                            {}

// bareRaft returns the leader of three nodes with Raft's own defaults, over plain TCP.
func bareRaft(b *testing.B) *raft.Raft {
	b.Helper()
	var members raft.Configuration
	carriers := make([]*raft.NetworkTransport, 3)
	for i := range carriers {
		carriers[i] = must(raft.NewTCPTransportWithConfig("127.0.0.1:0", nil,
			&raft.NetworkTransportConfig{MaxPool: 3, Timeout: time.Second, Logger: hclog.NewNullLogger()}))
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: carriers[i].LocalAddr()})
	}
	nodes := make([]*raft.Raft, len(carriers))
	for i, carrier := range carriers {
		store := must(raftboltdb.New(raftboltdb.Options{
			Path: filepath.Join(b.TempDir(), "raft.db"), BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
		}))
		c := raft.DefaultConfig()
		c.LocalID, c.Logger = members.Servers[i].ID, hclog.NewNullLogger()
		snapshots := raft.NewInmemSnapshotStore()
		check(b, raft.BootstrapCluster(c, store, store, snapshots, carrier, members))
		nodes[i] = must(raft.NewRaft(c, nothing{}, store, store, snapshots, carrier))
		b.Cleanup(func() {
			check(b, nodes[i].Shutdown().Error())
			check(b, carrier.Close())
			check(b, store.Close())
		})
	}
	var leader *raft.Raft
	await(b, func() bool {
		for _, r := range nodes {
			if r.State() == raft.Leader {
				leader = r
			}
		}
		return leader != nil
	})
	return leader
}

// await returns when a condition holds.
func await(b *testing.B, holds func() bool) {
	b.Helper()
	tick := time.NewTicker(devPoll)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-b.Context().Done():
			b.Fatal("the benchmark ended before the condition held")
		}
	}
}
