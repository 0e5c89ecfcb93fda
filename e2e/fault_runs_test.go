//go:build linux && faults

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

var (
	faultRuns  = flag.Int("runs", 5, "how many runs of real faults `N` TestFaultRuns makes")
	faultSeed  = flag.Uint64("run-seed", 0, "the `SEED` of the first of them, and each has the next one; 0 draws it")
	faultTime  = flag.Duration("run-for", 0, "begin no run after so `long`; 0 sets no bound")
	faultKinds = flag.String("run-kinds", "", "make plans of faults alone whose names match this `EXPRESSION`")
)

// serveWithin is how soon a cluster must serve at all its nodes once nothing is wrong any more.
const serveWithin = 10 * time.Second

// faultSites are nodes enough for a cluster of five and those that take a place in it.
var faultSites = []string{"bordeaux", "lyon", "paris", "quimper", "rennes", "sete", "tours", "vannes"}

// spareNodes are how many nodes of a run are in no cluster at first.
const spareNodes = 3

// TestFaultRuns: each run draws from its seed a cluster and faults that happen to it one after the other, or at once, while it is
// used through all nodes. When nothing is wrong any more it serves within ten seconds, and then all that clients were told is true.
func TestFaultRuns(t *testing.T) {
	with, err := failing()
	if err != nil {
		t.Fatal(err)
	}
	seed := *faultSeed
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	all := &faultTally{count: map[string]int{}, passes: passes{map[string]int{}, map[string]int{}}}
	began := time.Now()
	for i := range *faultRuns {
		if *faultTime > 0 && time.Since(began) > *faultTime {
			break
		}
		t.Run(fmt.Sprint(seed+uint64(i)), func(t *testing.T) { all.run(t, with, seed+uint64(i)) })
	}
	fmt.Print(all)
	if unseen := all.passes.unseen(); len(unseen) > 0 && len(all.took) >= 2*len(failpoints) {
		t.Errorf("failpoints that no run has come by: %s", strings.Join(unseen, ", "))
	}
}

// faultTally is what a number of runs came to.
type faultTally struct {
	count  map[string]int
	passes passes
	failed []uint64
	// took is how long each run took, served how soon clusters served again.
	took, served []time.Duration
	writes, ops  int
}

func (x *faultTally) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d runs of real faults, %d failed %v\n", len(x.took), len(x.failed), x.failed)
	if len(x.took) == 0 {
		return text.String()
	}
	median := func(list []time.Duration) (middle, most time.Duration) {
		if len(list) == 0 {
			return 0, 0
		}
		list = slices.Sorted(slices.Values(list))
		return list[len(list)/2].Round(time.Millisecond), list[len(list)-1].Round(time.Millisecond)
	}
	middle, most := median(x.took)
	fmt.Fprintf(&text, "a run: median %s, longest %s\n", middle, most)
	middle, most = median(x.served)
	fmt.Fprintf(&text, "all nodes served again: median %s, longest %s\n", middle, most)
	fmt.Fprintf(&text, "acknowledged writes %d, operations in histories %d\nfaults:\n", x.writes, x.ops)
	for _, kind := range slices.Sorted(maps.Keys(x.count)) {
		fmt.Fprintf(&text, "  %-22s %4d\n", kind, x.count[kind])
	}
	fmt.Fprintf(&text, "failpoints:\n%s", &x.passes)
	return text.String()
}

// faultPlan is what a run is to be, all of it drawn from its seed.
type faultPlan struct {
	founders int
	// disks are those of the founders, by turns of nodes; see faultDisks.
	disks   []string
	proxied bool
	// often has nodes take snapshots soon and keep little log.
	often  bool
	faults []plannedFault
}

type plannedFault struct {
	kind *faultKind
	// overlaps has it happen while the one before goes on.
	overlaps bool
	lasts    time.Duration
	// draw decides the rest when its time has come.
	draw *rand.Rand
	// point is a failpoint, if the fault is at one.
	point string
}

func (p *faultPlan) String() string {
	var all []string
	for _, f := range p.faults {
		text := f.kind.name
		if f.point != "" {
			text += " " + f.point
		}
		if f.overlaps {
			text = "+ " + text
		}
		all = append(all, fmt.Sprintf("%s (%s)", text, f.lasts.Round(time.Millisecond)))
	}
	return fmt.Sprintf("%d nodes, disks %v, proxies %v, snapshots soon %v: %s", p.founders, p.disks, p.proxied, p.often, strings.Join(all, ", "))
}

// drawPlan makes the plan of a seed.
func drawPlan(seed uint64) *faultPlan {
	draw := rand.New(rand.NewPCG(seed, 0))
	p := &faultPlan{founders: 3, proxied: draw.IntN(4) == 0, often: draw.IntN(4) > 0}
	if draw.IntN(4) == 0 {
		p.founders = 5
	}
	p.disks = make([]string, p.founders)
	// By turns, so that each is in a run of so many.
	points := slices.DeleteFunc(slices.Sorted(maps.Keys(failpoints)), func(name string) bool { return name == clockFailpoint })
	point := points[seed%uint64(len(points))]
	count := 2 + draw.IntN(4)
	wanted := regexp.MustCompile(*faultKinds)
	for _, i := range draw.Perm(len(faultTable)) {
		if kind := &faultTable[i]; len(p.faults) < count && wanted.MatchString(kind.name) && p.fits(kind, draw) {
			p.faults = append(p.faults, plannedFault{kind: kind})
		}
	}
	if kind := failpointKind(point); wanted.MatchString(kind.name) {
		p.faults = slices.Insert(p.faults, draw.IntN(len(p.faults)+1), plannedFault{kind: kind, point: point})
		p.often = p.often || kind.alone || slices.Contains(snapshotPoints, point)
	}
	for i := range p.faults {
		f := &p.faults[i]
		f.overlaps = i > 0 && draw.IntN(5) < 2 && !f.kind.alone && !p.faults[i-1].kind.alone
		f.lasts = 300*time.Millisecond + time.Duration(draw.IntN(2200))*time.Millisecond
		f.draw = rand.New(rand.NewPCG(seed, uint64(i+1)))
	}
	return p
}

// fits gives the plan the disks that a kind of fault needs, if it can have them.
func (p *faultPlan) fits(kind *faultKind, draw *rand.Rand) bool {
	replaced := 0
	for _, f := range p.faults {
		if f.kind.replaces {
			replaced++
		}
	}
	if kind.replaces && replaced == 2 {
		return false
	}
	p.proxied, p.often = p.proxied || kind.proxied, p.often || kind.often
	switch {
	case kind.disk == "", kind.disk == machineDisk:
		// Nodes that join later have that of the machine.
		return true
	case kind.everywhere:
		for _, disk := range p.disks {
			if disk != "" && disk != kind.disk {
				return false
			}
		}
		for i := range p.disks {
			p.disks[i] = kind.disk
		}
		return true
	case slices.Contains(p.disks, kind.disk):
		return true
	}
	var free []int
	for i, disk := range p.disks {
		if disk == "" {
			free = append(free, i)
		}
	}
	if len(free) == 0 {
		return false
	}
	p.disks[free[draw.IntN(len(free))]] = kind.disk
	return true
}

// faultRun is a cluster under faults.
type faultRun struct {
	*lab
	all   *faultTally
	plan  *faultPlan
	draw  *rand.Rand
	load  *load
	crowd *crowd
	told  *clientHistory
	// in are the members, spares the nodes that were never started.
	in, spares []*Node
	disks      map[*Node]string
	fuse       map[*Node]*fuseDisk
	// from is where in its log a node's last start is, lost has those whose data a fault took, hurt those to which something is done.
	from map[*Node]int
	lost map[*Node]bool
	hurt map[*Node]int
	// cuts are the packets that are lost at present, by fault.
	cuts   map[int][]loss
	active []func()
}

func (x *faultTally) run(t *testing.T, with *edition, seed uint64) {
	began := time.Now()
	plan := drawPlan(seed)
	t.Logf("seed %d: %s", seed, plan)
	defer func() {
		x.took = append(x.took, time.Since(began))
		if t.Failed() {
			x.failed = append(x.failed, seed)
			fmt.Printf("FAILED: seed %d: %s\n", seed, plan)
		}
	}()
	r := startFaultRun(t, with, plan, x)
	stop := r.watch()
	t.Cleanup(stop)
	for i := range plan.faults {
		r.inject(&plan.faults[i])
	}
	r.healAll()
	x.served = append(x.served, r.serves())
	stop()
	r.check()
	for _, n := range r.in {
		x.passes.gather(n)
	}
}

func startFaultRun(t *testing.T, with *edition, plan *faultPlan, all *faultTally) *faultRun {
	r := &faultRun{
		all: all, plan: plan, disks: map[*Node]string{}, fuse: map[*Node]*fuseDisk{}, from: map[*Node]int{}, lost: map[*Node]bool{}, hurt: map[*Node]int{}, cuts: map[int][]loss{},
	}
	s := setup{
		nodes: faultSites[:plan.founders+spareNodes], expect: plan.founders, edition: with, rest: 25 * time.Millisecond, patience: 30 * time.Second, forgiven: withoutOrders,
		env: []string{fmt.Sprintf("GOFAIL_HTTP=:%d", failpointPort), "GOFAIL_FAILPOINTS=" + passing()},
		set: map[string]string{},
	}
	if plan.often {
		maps.Copy(s.set, snapshots)
	}
	made := 0
	s.prepare = func(n *Node) {
		if made == 0 {
			// After the cluster's own end, and before its directory goes.
			t.Cleanup(func() { n.c.keepLogs() })
		}
		if made < plan.founders {
			r.disks[n] = plan.disks[made]
			switch plan.disks[made] {
			case smallDisk:
				onSmallDisk(n)
			case ownDisk:
				onOwnDisk(n)
			case orderedDisk:
				r.fuse[n] = onFuse(n)
			}
		}
		made++
	}
	r.lab = newLab(t, len(s.nodes))
	s.hosts = r.hosts
	c := newCluster(t, s)
	r.c = c
	if plan.proxied {
		for _, n := range c.nodes {
			behindProxy(n)
		}
		for _, n := range c.nodes {
			c.write(n.id+".yaml", n.config(nil))
		}
	}
	c.releasePorts()
	r.in, r.spares = slices.Clone(c.founders()), slices.Clone(c.nodes[plan.founders:])
	for _, n := range r.in {
		r.start(n)
	}
	c.WaitReady(r.in...)
	r.use()
	return r
}

// use has clients use the cluster.
func (r *faultRun) use() {
	c := r.c
	c.putContract("probe", 1_000_000)
	c.openBusy()
	r.load, r.crowd, r.told = c.startLoad("load", 4, false), c.startCrowd("busy", 3, 5), startHistory(c, 3)
	r.load.waitAcknowledged(20)
}

// withoutOrders is a log without the crashes that failpoints were ordered to make.
func withoutOrders(log string) string {
	if !strings.Contains(log, ordered) {
		return log
	}
	return strings.NewReplacer(ordered, "", "goroutine 1 [", "").Replace(log)
}

// keepLogs copies logs, configurations and what nodes said to where they outlive a test that failed.
func (c *Cluster) keepLogs() {
	if !c.t.Failed() {
		return
	}
	to := filepath.Join(os.TempDir(), "licet-"+strings.ReplaceAll(c.t.Name(), "/", "-"))
	err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o700))
	for _, n := range c.nodes {
		if text := n.log(); text != "" && err == nil {
			err = os.WriteFile(filepath.Join(to, n.id+".log"), []byte(text), 0o600)
		}
	}
	c.t.Logf("the nodes' logs are in %s (%v)", to, err)
}

// watch compares digests at equal indexes the whole time.
func (r *faultRun) watch() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, n := range r.c.nodes {
		all.Go(func() {
			for ctx.Err() == nil {
				once, done := context.WithTimeout(ctx, time.Second)
				a, err := n.probe.Status(once)
				done()
				if err == nil {
					err = r.c.compare(a.Value)
				}
				if errors.Is(err, errDiverged) {
					r.t.Error(err)
					return
				}
				pause(ctx, 50*time.Millisecond)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// pause returns after so long, or when ctx ends.
func pause(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lasts has things as they are for so long.
func (r *faultRun) lasts(long time.Duration) { pause(r.t.Context(), long) }

// say tells what is done, and when.
func (r *faultRun) say(format string, args ...any) {
	r.t.Helper()
	r.t.Logf("%s %s", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// inject makes a planned fault happen. What is to end before it has ended then.
func (r *faultRun) inject(f *plannedFault) {
	r.t.Helper()
	if !f.overlaps {
		r.healAll()
		r.lasts(time.Duration(f.draw.IntN(600)) * time.Millisecond)
	}
	r.draw = f.draw
	if f.kind.alone {
		r.ready(r.in...)
	}
	heal := f.kind.do(r, f)
	if heal == nil {
		r.say("%s: left out, there is no node for it", f.kind.name)
		return
	}
	r.all.count[f.kind.name]++
	r.active = append(r.active, heal)
	r.lasts(f.lasts)
}

// healAll ends what faults do, in the order in which they began, and starts nodes that have ended by themselves, as supervisors do.
func (r *faultRun) healAll() {
	r.t.Helper()
	for _, heal := range r.active {
		heal()
	}
	r.active = nil
	r.cureAll()
}

func (r *faultRun) cureAll() {
	r.t.Helper()
	for _, n := range slices.Clone(r.in) {
		r.cure(n)
	}
}

// cure does with a node that has ended what its log says.
func (r *faultRun) cure(n *Node) {
	r.t.Helper()
	if n.running() {
		return
	}
	said := n.log()[r.from[n]:]
	switch {
	case r.lost[n]:
		r.replace(n)
	case contains(said, "start the node again"), contains(said, ordered):
		r.start(n)
	default:
		r.t.Fatalf("%s has ended (exit code %d), which nothing that was done to it explains:\n%s", n.id, n.exitCode(), lastLines(said, 15))
	}
}

// ready returns when nodes serve. One that a fault ended only now is started again.
func (r *faultRun) ready(nodes ...*Node) {
	r.t.Helper()
	for _, n := range slices.Clone(nodes) {
		eventually(r.t, n.id+" is ready", func() error {
			r.cure(n)
			if !slices.Contains(r.in, n) {
				return nil // another one has its place
			}
			_, err := n.probe.Ready(context.Background())
			return err
		})
	}
}

// start starts a node.
func (r *faultRun) start(n *Node) {
	r.t.Helper()
	r.from[n] = len(n.log())
	n.Start()
}

// replace puts a fresh node in the place of one whose data are lost.
func (r *faultRun) replace(n *Node) {
	r.t.Helper()
	fresh := r.spare()
	if fresh == nil {
		r.t.Fatal("there is no node left to take a place")
	}
	r.say("%s takes the place of %s", fresh.id, n.id)
	r.c.replaceNode(n, fresh)
	r.leave(n)
}

// spare is a node that is in no cluster, and is a member soon; nil if there is none.
func (r *faultRun) spare() *Node {
	if len(r.spares) == 0 {
		return nil
	}
	n := r.spares[0]
	r.spares = r.spares[1:]
	r.in = append(r.in, n)
	return n
}

// leave takes a node off the members.
func (r *faultRun) leave(n *Node) {
	r.in = slices.DeleteFunc(r.in, func(m *Node) bool { return m == n })
}

// serves returns how long it takes until each node acknowledges a write and answers a linearizable read, and fails if that is too long.
func (r *faultRun) serves() time.Duration {
	r.t.Helper()
	began := time.Now()
	left := map[*Node]*client.Client{}
	for _, n := range r.in {
		left[n] = r.c.newClient(client.Options{Endpoints: []string{n.URL()}, Timeout: 2 * time.Second, Attempt: 2 * time.Second})
	}
	late := false
	for round := 0; len(left) > 0; round++ {
		r.cureAll()
		var mu sync.Mutex
		var all sync.WaitGroup
		why := map[string]error{}
		done := []*Node{}
		for n, cl := range left {
			all.Go(func() {
				_, err := cl.CreateInstance(context.Background(), "probe", fmt.Sprintf("%s-%d", n.id, round), apiv1.Quantities{"primary": 1})
				if err == nil {
					_, err = cl.Contract(context.Background(), "probe")
				}
				mu.Lock()
				defer mu.Unlock()
				if why[n.id] = err; err == nil {
					done = append(done, n)
				}
			})
		}
		all.Wait()
		for _, n := range done {
			delete(left, n)
		}
		took := time.Since(began)
		if len(left) > 0 && took > serveWithin && !late {
			late = true
			r.t.Errorf("%s after nothing was wrong any more, not all nodes serve: %v", took.Round(time.Millisecond), why)
		}
		if took > patience {
			r.t.Fatalf("and after %s they do not either: %v", took.Round(time.Millisecond), why)
		}
		if len(left) > 0 {
			r.lasts(50 * time.Millisecond)
		}
	}
	took := time.Since(began)
	r.say("all nodes serve after %s", took.Round(time.Millisecond))
	if late {
		r.t.Errorf("they did after %s", took.Round(time.Millisecond))
	}
	return took
}

// check holds what clients were told against what the cluster has, nodes against each other, and their audit trails.
func (r *faultRun) check() {
	r.t.Helper()
	r.told.check()
	r.crowd.stop()
	r.crowd.all.Wait()
	if r.crowd.most > r.crowd.size {
		r.t.Errorf("%d seats of %d were out at once", r.crowd.most, r.crowd.size)
	}
	entries := r.load.stop()
	r.load.check(entries)
	r.c.Settled()
	r.trailAgrees()
	r.all.writes += int(r.load.acknowledged.Load())
	r.all.ops += r.told.recorder.Done()
}

// trailAgrees verifies the audit trail in the files of all members, and against what each of them says.
func (r *faultRun) trailAgrees() {
	r.t.Helper()
	args := []string{"audit", "verify", "--server"}
	var endpoints []string
	for _, n := range r.in {
		args = append(args, "--dir", n.dataDir())
		endpoints = append(endpoints, n.URL())
	}
	env := []string{"LICET_ENDPOINTS=" + strings.Join(endpoints, ","), "LICET_TOKEN_FILE=" + r.c.path("token")}
	const damage = 3
	eventually(r.t, "the audit trail is whole", func() error {
		code, out, errs := runLicet(r.t, env, args...)
		if code == damage {
			r.t.Fatalf("the audit trail is damaged:\n%s%s", out, errs)
		}
		if code != 0 || !contains(out, "whole") {
			return fmt.Errorf("exit code %d: %s%s", code, out, errs)
		}
		return nil
	})
}

// leader is the node that leads, as far as one says so at once; nil if none does.
func (r *faultRun) leader() (leader *Node) {
	term := uint64(0)
	for _, n := range r.in {
		if !n.running() {
			continue
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), 300*time.Millisecond)
		a, err := n.probe.Status(ctx)
		cancel()
		if err == nil && a.Value.Role == apiv1.RoleLeader && a.Value.State.Term >= term {
			leader, term = n, a.Value.State.Term
		}
	}
	return leader
}

// target is a node to do something to: in half of all cases the leader, if it is one of those that have such a disk and to which
// nothing is done yet.
func (r *faultRun) target(disk string) *Node {
	var list []*Node
	for _, n := range r.in {
		if n.running() && r.hurt[n] == 0 && (disk == "" || r.disks[n] == disk || disk == machineDisk && r.disks[n] == "") {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	n := list[r.draw.IntN(len(list))]
	if r.draw.IntN(2) == 0 {
		leader := r.leader()
		switch {
		case slices.Contains(list, leader):
			n = leader
		case disk != "":
			// There is no other one with that disk, so it is made the leader.
			r.lead(n)
		}
	}
	return n
}

// lead has a node be made the leader, if that is possible.
func (r *faultRun) lead(n *Node) {
	r.t.Helper()
	_, err := r.c.newClient(client.Options{Endpoints: r.c.Endpoints(), Timeout: 3 * time.Second}).TransferLeadership(r.t.Context(), n.id)
	r.say("%s is to lead (%v)", n.id, err)
}

// harm notes that something is done to a node, until the function is called that it returns.
func (r *faultRun) harm(n *Node) (over func()) {
	r.hurt[n]++
	return func() { r.hurt[n]-- }
}

// cut has packets be lost until the function is called that it returns.
func (r *faultRun) cut(all ...loss) (over func()) {
	number := len(r.cuts)
	for r.cuts[number] != nil {
		number++
	}
	r.cuts[number] = all
	apply := func() { r.lose(slices.Concat(slices.Collect(maps.Values(r.cuts))...)...) }
	apply()
	return func() {
		delete(r.cuts, number)
		apply()
	}
}
