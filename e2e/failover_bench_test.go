package e2e

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// defaultTiming takes back what tests set for slow machines.
var defaultTiming = map[string]string{"raft.heartbeat_timeout": "500ms", "raft.election_timeout": "500ms"}

// wanTiming is the profile for far sites of docs/operations.md.
var wanTiming = map[string]string{"raft.heartbeat_timeout": "2s", "raft.election_timeout": "2s"}

// BenchmarkFailover measures the time from kill -9 of the leader to the first write that a surviving node
// acknowledges, with the default timing. An operation is one death.
func BenchmarkFailover(b *testing.B) {
	c := startCluster(b, setup{set: defaultTiming})
	c.putContract("load", 1_000_000)
	var took []time.Duration
	for i := range b.N {
		leader := c.Leader()
		survivors := c.newClient(client.Options{Endpoints: others(c, leader)})
		// A follower that is still catching up would be measured, too.
		c.Settled()
		begin := time.Now()
		leader.Kill()
		if _, err := survivors.CreateInstance(context.Background(), "load", fmt.Sprint("after-", i), apiv1.Quantities{"primary": 1}); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
		leader.Start()
		c.WaitReady(leader)
	}
	report(b, took)
}

func others(c *Cluster, but *Node) (list []string) {
	for _, n := range c.nodes {
		if n != but {
			list = append(list, n.URL())
		}
	}
	return list
}

// report shows the median and the longest.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(took[len(took)/2]), "median-ms")
	b.ReportMetric(ms(took[len(took)-1]), "longest-ms")
}

// roundTrip is between far sites.
const roundTrip = 40 * time.Millisecond

// BenchmarkFarSites measures what a user waits for with 40 ms of round trip between all nodes and the timing for far sites,
// at the leader's site and at a follower's: checkouts one after the other, and of 16 users at a time, and linearizable
// reads. An operation is one answer.
func BenchmarkFarSites(b *testing.B) {
	c := farCluster(b)
	leader := c.Leader()
	for name, node := range map[string]*Node{"leader": leader, "follower": c.Follower()} {
		b.Run(name+"/checkout", func(b *testing.B) { report(b, farCheckouts(b, node, name, b.N)) })
		b.Run(name+"/checkout-of-16", func(b *testing.B) {
			all := make([][]time.Duration, 16)
			var users sync.WaitGroup
			for user := range all {
				users.Go(func() { all[user] = farCheckouts(b, node, fmt.Sprint(name, user), b.N) })
			}
			users.Wait()
			report(b, slices.Concat(all...))
		})
		b.Run(name+"/read", func(b *testing.B) {
			var took []time.Duration
			for range b.N {
				begin := time.Now()
				if _, err := node.client.Pool(context.Background(), "far"); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			report(b, took)
		})
	}
	if now := c.Leader(); now != leader {
		b.Fatalf("%s led, and now %s: the timing does not suit such links", leader.id, now.id)
	}
}

// farCheckouts are how long n checkouts took, each of which is returned.
func farCheckouts(b *testing.B, at *Node, user string, n int) (took []time.Duration) {
	for i := range n {
		ask := apiv1.Checkout{Pool: "far", Product: "cad", User: fmt.Sprint(user, "-", i), Client: "ws"}
		begin := time.Now()
		a, err := at.client.Checkout(context.Background(), ask)
		if err != nil {
			b.Error(err)
			return took
		}
		took = append(took, time.Since(begin))
		if _, err := at.client.Return(context.Background(), a.Value.Lease.ID, a.Value.Lease.Handle); err != nil {
			b.Error(err)
			return took
		}
	}
	return took
}

// farCluster has a proxy before every node that holds each byte up for half a round trip, in both directions.
func farCluster(b *testing.B) *Cluster {
	b.Helper()
	var proxies []*toxiproxy.Proxy
	// Before the cluster's own cleanup, and so after it: its end needs the links.
	b.Cleanup(func() {
		for _, p := range proxies {
			p.Stop()
		}
	})
	c := newCluster(b, setup{set: wanTiming, listOnly: true})
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.New(io.Discard))
	var addresses []string
	for _, n := range c.nodes {
		proxy := toxiproxy.NewProxy(server, n.id, "127.0.0.1:0", n.at(n.port))
		if err := proxy.Start(); err != nil {
			b.Fatal(err)
		}
		proxies = append(proxies, proxy)
		for _, stream := range []string{"upstream", "downstream"} {
			late := fmt.Sprintf(`{"type": "latency", "name": %q, "stream": %q, "attributes": {"latency": %d}}`, stream, stream, (roundTrip / 2).Milliseconds())
			if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(late)); err != nil {
				b.Fatal(err)
			}
		}
		addresses = append(addresses, proxy.Listen)
	}
	c.releasePorts()
	for i, n := range c.nodes {
		c.write(n.id+".yaml", n.config(map[string]string{"node.advertise": addresses[i], "cluster.peers": yamlList(addresses)}))
		n.Start()
	}
	c.WaitReady()
	document := c.sign(contractYAML("far", 1, 1) + "products:\n  cad: {model: floating, quantity: 100}\n")
	_, err := c.http.PutContract(context.Background(), strings.TrimSpace(document))
	if err == nil {
		_, err = c.http.CreatePool(context.Background(), apiv1.PoolDefinition{Name: "far", Contract: "far", Size: 100, Products: map[string]apiv1.PoolProduct{"cad": {}}})
	}
	if err == nil {
		_, err = c.http.ActivatePool(context.Background(), "far")
	}
	if err != nil {
		b.Fatal(err)
	}
	return c
}
