package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// A million leases take minutes to make, so that every other run has a few.
var (
	million = flag.Int("leases", 2000, "how many live leases TestManyLeases measures nodes with, in thousands")
	quiet   = flag.Duration("quiet", 2*time.Second, "for how long TestManyLeases leaves the cluster alone")
)

const (
	// bulk is the leases of a pool, and of a request.
	bulk = 1000
	// monthTTL is for leases of which none ends while they are measured.
	monthTTL = 30 * 24 * 3600
	// shortTTL is the shortest there is, offerTTL how long its seat is held for who waited.
	shortTTL, offerTTL = 10, 60
)

// TestManyLeases measures nodes that hold many live leases, with the default configuration: memory, what they write when
// nobody asks for anything, how soon a lease that ended is reclaimed, how long writers wait during a snapshot, and a
// restart. With few leases it is a test of the same, whose figures say little. `make million` has it print the figures.
func TestManyLeases(t *testing.T) {
	s := setup{}
	if *million < 100_000 {
		s.set = map[string]string{"raft.snapshot_threshold": "200", "raft.snapshot_interval": "1s"}
	}
	c := startCluster(t, s)
	c.figureMemory("empty")
	held := c.checkOutMany(*million)
	c.Settled()
	c.figureMemory("loaded")
	c.idle(*quiet)
	c.figureMemory("idle")
	c.reclaim(*million / 100)
	c.stall(held)
	c.figureMemory("written")
	c.restart()
	c.figureMemory("restarted")
}

// figure prints one.
func (c *Cluster) figure(name, format string, args ...any) {
	c.t.Helper()
	c.t.Logf("%-10s %s", name, fmt.Sprintf(format, args...))
}

var rssLine = regexp.MustCompile(`(VmRSS|RssAnon|RssFile):\s+(\d+) kB`)

// figureMemory prints what the nodes have in memory: RssAnon is the program's own, RssFile mostly Raft's log, which bbolt
// maps and the kernel takes back when it likes.
func (c *Cluster) figureMemory(when string) {
	c.t.Helper()
	for _, n := range c.nodes {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
		if err != nil {
			c.figure("memory", "not measured: %v", err)
			return
		}
		kib := map[string]int{}
		for _, m := range rssLine.FindAllStringSubmatch(string(status), -1) {
			kib[m[1]], _ = strconv.Atoi(m[2])
		}
		c.figure("memory", "%-9s %-9s resident %4d MiB: %4d of its own, %4d of mapped files; %4d B a lease; %3.0f s of processor time", when, n.id,
			kib["VmRSS"]>>10, kib["RssAnon"]>>10, kib["RssFile"]>>10, kib["VmRSS"]*1024 / *million, n.processorTime().Seconds())
	}
}

// processorTime is how much a node's process has used. On a busy machine it says more than the time that passed.
func (n *Node) processorTime() time.Duration {
	n.c.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The fields after the name, which may hold anything: utime and stime are the 14th and 15th of all, in hundredths of a second.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// checkOutMany makes live leases through all nodes, a thousand a pool, and returns some.
func (c *Cluster) checkOutMany(n int) (some []apiv1.Lease) {
	c.t.Helper()
	begun := time.Now()
	document := c.sign(contractYAML("many", 1, 1) + "products:\n  cad: {model: floating, quantity: 1000000000}\n")
	if _, err := c.http.PutContract(c.t.Context(), strings.TrimSpace(document)); err != nil {
		c.t.Fatal(err)
	}
	var mu sync.Mutex
	c.share(n/bulk, 4, func(cl *client.Client, i int) error {
		pool := fmt.Sprintf("pool-%05d", i)
		if err := servePool(cl, apiv1.PoolDefinition{Name: pool, Size: bulk, TTLMax: monthTTL}); err != nil {
			return err
		}
		leases, err := checkOutBulk(cl, pool, i*bulk)
		mu.Lock()
		defer mu.Unlock()
		if len(some) < 10*bulk {
			some = append(some, leases...)
		}
		return err
	})
	took := time.Since(begun)
	c.figure("load", "%d leases in %d pools in %s: %.0f a second, in bulks of %d", n, n/bulk, took.Round(time.Second), float64(n)/took.Seconds(), bulk)
	return some
}

// servePool creates a pool of the contract and activates it.
func servePool(cl *client.Client, d apiv1.PoolDefinition) error {
	d.Contract, d.Products = "many", map[string]apiv1.PoolProduct{"cad": {}}
	ctx := context.Background()
	if _, err := cl.CreatePool(ctx, d); err != nil {
		return err
	}
	_, err := cl.ActivatePool(ctx, d.Name)
	return err
}

// checkOutBulk takes all seats of a pool, each for a user of its own.
func checkOutBulk(cl *client.Client, pool string, from int) (leases []apiv1.Lease, err error) {
	items := make([]apiv1.BulkItem, bulk)
	for i := range items {
		items[i].Checkout = &apiv1.Checkout{
			Pool: pool, Product: "cad", User: fmt.Sprintf("user-%07d@acme.example", from+i), Client: fmt.Sprintf("ws-%07d", from+i),
			TTL: uint32(monthTTL - (from+i)%3600),
		}
	}
	a, err := cl.Bulk(context.Background(), items)
	if err != nil {
		return nil, err
	}
	for _, r := range a.Value.Results {
		if r.Lease == nil {
			return nil, fmt.Errorf("pool %s: %+v", pool, r.Problem)
		}
		leases = append(leases, *r.Lease)
	}
	return leases, nil
}

// share has workers, each with a node of its own first, do n things.
func (c *Cluster) share(n, workers int, do func(cl *client.Client, i int) error) {
	c.t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		cl := c.newClient(client.Options{Endpoints: rotate(c.Endpoints(), w)})
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(cl, i); err != nil {
					c.t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// idle (D4): a cluster whose leases are all far from their ends writes nothing, on no node.
func (c *Cluster) idle(within time.Duration) {
	c.t.Helper()
	for {
		before := c.indexes()
		c.pass(within)
		after := c.indexes()
		if before.term != after.term {
			// A new leader opens its term with an entry, and that is all right.
			c.t.Logf("there was an election while nobody asked for anything; once more")
			continue
		}
		if before != after {
			c.t.Errorf("the log went from %+v to %+v although nothing was due or asked for", before, after)
		}
		c.figure("idle", "no entry was written in %s; the log of every node ends at %d", within, after.last)
		return
	}
}

// pass lets time go by: there is nothing to wait for.
func (c *Cluster) pass(d time.Duration) {
	ctx, cancel := context.WithTimeout(c.t.Context(), d)
	defer cancel()
	<-ctx.Done()
}

// indexes are where all logs end, and states are.
type indexes struct{ term, last, applied, state uint64 }

func (c *Cluster) indexes() (all indexes) {
	c.t.Helper()
	c.Settled()
	for i, n := range c.nodes {
		s := n.mustStatus()
		own := indexes{s.Consensus.Term, s.Consensus.LastIndex, s.Consensus.AppliedIndex, s.State.Index}
		if i > 0 && own != all {
			c.t.Errorf("%s is at %+v, %s at %+v", n.id, own, c.nodes[0].id, all)
		}
		all = own
	}
	return all
}

// reclaim (K2, Q2): lets leases among the many end, and sees how late their seats are offered to who waits for them.
func (c *Cluster) reclaim(times int) {
	c.t.Helper()
	times = min(max(times, 20), 100)
	var mu sync.Mutex
	var decided, seen []time.Duration
	c.share(times, times, func(cl *client.Client, i int) error {
		pool := fmt.Sprintf("short-%05d", i)
		if err := servePool(cl, apiv1.PoolDefinition{Name: pool, Size: 1, TTLMin: shortTTL, OfferTTL: offerTTL, QueueLimit: 1}); err != nil {
			return err
		}
		// They don't all end at once.
		c.pass(time.Duration(i) * 73 * time.Millisecond)
		a, b, err := reclaimOne(cl, pool)
		mu.Lock()
		defer mu.Unlock()
		decided, seen = append(decided, a), append(seen, b)
		return err
	})
	c.figure("reclaim", "%d leases ended: the seat was offered to the next %s after, and the next was told %s after", times, spread(decided), spread(seen))
	if worst := slices.Max(decided); worst > time.Second && times == 100 {
		c.t.Errorf("a seat was offered only %s after its lease had ended; 1 s is promised", worst)
	}
}

// reclaimOne returns how long after the end of a silent lease the state offered its seat, and how long after it the client was told.
func reclaimOne(cl *client.Client, pool string) (decided, told time.Duration, err error) {
	ctx := context.Background()
	ask := apiv1.Checkout{Pool: pool, Product: "cad", User: "silent", Client: "ws", TTL: shortTTL}
	first, err := cl.Checkout(ctx, ask)
	if err != nil {
		return 0, 0, err
	}
	ask.User, ask.Queue = "next", true
	second, err := cl.Checkout(ctx, ask)
	if err != nil {
		return 0, 0, err
	}
	if second.Value.Ticket == nil {
		return 0, 0, fmt.Errorf("pool %s has a second seat", pool)
	}
	offer, err := cl.WaitTicket(ctx, second.Value.Ticket.ID, client.MaxWait)
	if err != nil {
		return 0, 0, err
	}
	told = time.Since(first.Value.Lease.Ends)
	if offer.Value.State != apiv1.TicketStateOffered {
		return 0, 0, fmt.Errorf("pool %s: no seat was offered within %s", pool, client.MaxWait)
	}
	// An offer lasts from when it was made.
	return offer.Value.Ends.Add(-offerTTL * time.Second).Sub(first.Value.Lease.Ends), told, nil
}

// spread is the median, and the most.
func spread(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("%s (median) to %s", all[len(all)/2].Round(100*time.Microsecond), all[len(all)-1].Round(100*time.Microsecond))
}

// span is the time from a write to its answer, or that of a node's work.
type span struct{ from, to time.Time }

func (s span) length() time.Duration { return s.to.Sub(s.from) }

// stall renews leases until every node has taken a snapshot, and sees how long writers waited meanwhile.
func (c *Cluster) stall(held []apiv1.Lease) {
	c.t.Helper()
	var goal []uint64
	for _, n := range c.nodes {
		goal = append(goal, n.mustStatus().Consensus.SnapshotIndex+1)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	renewals := c.startRenewals(ctx, held, 8)
	if err := poll(10*time.Minute, func() error {
		for i, n := range c.nodes {
			if s, err := n.status(); err != nil || s.Consensus.SnapshotIndex < goal[i] {
				return errors.Join(err, fmt.Errorf("%s has taken no snapshot", n.id))
			}
		}
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.nodes {
		n.WaitLog(0, "snapshot complete up to")
	}
	cancel()
	during, beside := c.besideSnapshots(renewals())
	c.figure("stall", "%s", waits("while a node took a snapshot", during))
	c.figure("stall", "%s", waits("the rest of the time", beside))
}

// startRenewals has writers renew leases one at a time until ctx ends; the returned function then has all waits.
func (c *Cluster) startRenewals(ctx context.Context, held []apiv1.Lease, writers int) func() []span {
	var all sync.WaitGroup
	lists := make([][]span, writers)
	for w := range writers {
		cl := c.newClient(client.Options{Endpoints: rotate(c.Endpoints(), w)})
		all.Go(func() {
			for i := w; ctx.Err() == nil; i += writers {
				l, from := held[i%len(held)], time.Now()
				if _, err := cl.Renew(context.Background(), l.ID, l.Handle, 0); err != nil {
					c.t.Errorf("lease %d: %v", l.ID, err)
					return
				}
				lists[w] = append(lists[w], span{from, time.Now()})
			}
		})
	}
	return func() []span {
		all.Wait()
		return slices.Concat(lists...)
	}
}

// logged returns when a node was at something, between lines of its log that hold these texts.
func (n *Node) logged(begin, end string) (all []span) {
	n.c.t.Helper()
	var from time.Time
	for line := range strings.Lines(n.log()) {
		if !strings.Contains(line, begin) && !strings.Contains(line, end) {
			continue
		}
		stamp, _, _ := strings.Cut(line, " ")
		at, err := time.Parse("2006-01-02T15:04:05.000Z0700", stamp)
		if err != nil {
			n.c.t.Fatalf("a line of the log: %v", err)
		}
		if strings.Contains(line, begin) {
			from = at
		} else {
			all = append(all, span{from, at})
		}
	}
	return all
}

// besideSnapshots parts writes into those under way while a node took a snapshot, and others.
func (c *Cluster) besideSnapshots(all []span) (during, beside []time.Duration) {
	c.t.Helper()
	var taken []span
	for _, n := range c.nodes {
		for _, s := range n.logged("starting snapshot up to", "snapshot complete up to") {
			taken = append(taken, s)
			c.figure("snapshot", "%s took one in %s", n.id, s.length())
		}
	}
	for _, w := range all {
		if slices.ContainsFunc(taken, func(s span) bool { return w.from.Before(s.to) && s.from.Before(w.to) }) {
			during = append(during, w.length())
		} else {
			beside = append(beside, w.length())
		}
	}
	return during, beside
}

func waits(when string, all []time.Duration) string {
	if len(all) == 0 {
		return "no writes " + when
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return fmt.Sprintf("%s: %d writes waited %.1f ms (median), %.1f ms (99 of 100), %.1f ms (longest)",
		when, len(all), ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1]))
}

// restart kills a follower and sees how long it takes until it serves again.
func (c *Cluster) restart() {
	c.t.Helper()
	n := c.Follower()
	n.Kill()
	begun := time.Now()
	n.Start()
	c.WaitReady(n)
	ready := time.Since(begun)
	c.Settled()
	for _, s := range n.logged("starting restore from snapshot", "restored from snapshot") {
		c.figure("restore", "%s restored its snapshot in %s", n.id, s.length())
	}
	c.figure("restart", "%s was ready %s after its start, and had what all others have %s after it; it took %s of processor time", n.id,
		ready.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond), n.processorTime())
}
