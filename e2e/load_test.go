package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// written is one write and what its writer was told of it.
type written struct {
	// id is the request id, name that of the instance: both are used once only.
	id, name string
	// serial is the instance's, if the write was acknowledged.
	serial uint64
	// err is what was told otherwise.
	err error
}

func (w written) acknowledged() bool { return w.err == nil }

// unknown: the writer was told that nobody knows (rule E2).
func (w written) unknown() bool { return client.CodeOf(w.err) == apiv1.CodeOutcomeUnknown }

// load is a stream of writes: each creates an instance of one account.
type load struct {
	c        *Cluster
	contract string
	cancel   context.CancelFunc
	writers  sync.WaitGroup
	// acknowledged counts while the load runs.
	acknowledged atomic.Int64

	mu      sync.Mutex
	entries []written
}

// startLoad starts writers, of which every second one asks its own node only and
// has little patience, so that it sees outcomes that are not known. With failover
// all of them go from node to node, as applications do.
func (c *Cluster) startLoad(contract string, writers int, failover bool) *load {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{c: c, contract: contract, cancel: cancel}
	c.t.Cleanup(func() { l.stop() })
	for i := range writers {
		// Those that sit at one node do so at one that is there from the beginning.
		endpoints := rotate(c.Endpoints(), i%c.setup.expect)
		o := client.Options{Endpoints: endpoints}
		if !failover && i%2 == 1 {
			o = client.Options{Endpoints: endpoints[:1], Timeout: 2 * time.Second}
		}
		cl := c.newClient(o)
		l.writers.Go(func() { l.write(ctx, cl, i) })
	}
	return l
}

func rotate(list []string, by int) []string {
	by %= len(list)
	return slices.Concat(list[by:], list[:by])
}

func (l *load) write(ctx context.Context, cl *client.Client, writer int) {
	for n := 0; ctx.Err() == nil; n++ {
		w := written{id: fmt.Sprintf("%s:%d:%d", l.contract, writer, n), name: fmt.Sprintf("w%d-%d", writer, n)}
		// Not ctx: a write under way at the end is waited for, so that its outcome is known.
		a, err := l.create(context.Background(), cl, w)
		if w.err = err; err == nil {
			w.serial = a.Value.Serial
			l.acknowledged.Add(1)
		}
		l.mu.Lock()
		l.entries = append(l.entries, w)
		l.mu.Unlock()
		l.c.rest(ctx)
	}
}

// rest is a pause between a client's requests, if there is to be one.
func (c *Cluster) rest(ctx context.Context) {
	if c.setup.rest == 0 {
		return
	}
	timer := time.NewTimer(c.setup.rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *load) create(ctx context.Context, cl *client.Client, w written) (*client.Answer[apiv1.Instance], error) {
	return cl.CreateInstance(client.WithRequestID(ctx, w.id), l.contract, w.name, apiv1.Quantities{"primary": 1})
}

// waitAcknowledged returns when so many more writes were acknowledged.
func (l *load) waitAcknowledged(more int64) {
	l.c.t.Helper()
	goal := l.acknowledged.Load() + more
	eventually(l.c.t, fmt.Sprintf("%d more writes are acknowledged", more), func() error {
		if now := l.acknowledged.Load(); now < goal {
			return fmt.Errorf("%d are missing", goal-now)
		}
		return nil
	})
}

// stop ends the stream and returns all writes, each with its answer.
func (l *load) stop() []written {
	l.cancel()
	l.writers.Wait()
	return l.entries
}

// check holds what the writers were told against what the cluster has.
func (l *load) check(entries []written) {
	t := l.c.t
	t.Helper()
	l.checkPresent(entries)
	l.repeatAll(entries)
	// By now every write is done, and none twice.
	instances := l.c.instances(l.contract)
	if len(instances) != len(entries) {
		t.Errorf("%d writes came to %d instances", len(entries), len(instances))
	}
	a, err := l.c.http.Contract(context.Background(), l.contract)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Value.Areas["primary"].Allocated; got != uint64(len(entries)) {
		t.Errorf("%d writes of one account each allocated %d", len(entries), got)
	}
}

// checkPresent: an acknowledged write is there, one that was told to have failed is not.
func (l *load) checkPresent(entries []written) {
	t := l.c.t
	t.Helper()
	byName := map[string]uint64{}
	for _, i := range l.c.instances(l.contract) {
		if _, twice := byName[i.Name]; twice {
			t.Errorf("instance %s is there twice", i.Name)
		}
		byName[i.Name] = i.Serial
	}
	acknowledged, unknown, failed := 0, 0, map[apiv1.Code]int{}
	for _, w := range entries {
		serial, there := byName[w.name]
		switch {
		case w.acknowledged():
			acknowledged++
			if serial != w.serial {
				t.Errorf("instance %s was acknowledged with serial number %d; the cluster has %d", w.name, w.serial, serial)
			}
		case w.unknown():
			unknown++
		default:
			failed[client.CodeOf(w.err)]++
			if there {
				t.Errorf("instance %s exists, though its writer was told: %v", w.name, w.err)
			}
		}
	}
	t.Logf("%d writes acknowledged, %d of unknown outcome, not done: %v", acknowledged, unknown, failed)
	if acknowledged == 0 {
		t.Error("no write was acknowledged, so nothing was tested")
	}
}

// repeatAll sends every request again (rule E1), through nodes by turns.
func (l *load) repeatAll(entries []written) {
	const workers = 16
	var all sync.WaitGroup
	work := make(chan written)
	for i := range workers {
		cl := l.c.newClient(client.Options{Endpoints: rotate(l.c.Endpoints(), i)})
		all.Go(func() {
			for w := range work {
				if err := l.repeat(cl, w); err != nil {
					l.c.t.Errorf("repeat of %s: %v", w.id, err)
				}
			}
		})
	}
	for _, w := range entries {
		work <- w
	}
	close(work)
	all.Wait()
}

func (l *load) repeat(cl *client.Client, w written) error {
	a, err := l.create(context.Background(), cl, w)
	switch {
	case err != nil:
		return err
	case w.acknowledged() && !a.Repeated:
		return errors.New("it was acknowledged before, and now done again")
	case w.acknowledged() && a.Value.Serial != w.serial:
		return fmt.Errorf("serial number %d was acknowledged before, now %d", w.serial, a.Value.Serial)
	case !w.acknowledged() && !w.unknown() && a.Repeated && a.Attempts == 1:
		return fmt.Errorf("it is recorded as done, though its writer was told: %w", w.err)
	}
	return nil
}

// instances are all instances of a contract, linearizable.
func (c *Cluster) instances(contract string) []apiv1.Instance {
	c.t.Helper()
	var list []apiv1.Instance
	for i, err := range c.http.AllInstances(context.Background(), contract) {
		if err != nil {
			c.t.Fatal(err)
		}
		list = append(list, i)
	}
	return list
}

// putContract signs a contract with the vendor's key and imports it.
func (c *Cluster) putContract(id string, users int) {
	c.t.Helper()
	document := c.sign(contractYAML(id, 1, users))
	if _, err := c.http.PutContract(context.Background(), document); err != nil {
		c.t.Fatal(err)
	}
}

func contractYAML(id string, revision, users int) string {
	return fmt.Sprintf("id: %s\nrevision: %d\ncustomer: ACME SARL\nemail: licenses@acme.example\n"+
		"start: 2026-01-01\nexpiry: 2099-12-31\ngrace_days: 14\nusers:\n  primary: %d\n", id, revision, users)
}

// sign has the binary sign a contract with the vendor's key.
func (c *Cluster) sign(yaml string) string {
	c.t.Helper()
	return mustRun(c.t, "vendor", "sign", c.write("contract.yaml", yaml), "--key", c.path("vendor.key"))
}
