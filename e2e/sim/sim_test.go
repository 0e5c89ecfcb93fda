package sim

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
)

var (
	seedFlag = flag.Uint64("seed", 0, "run this seed alone, in this process")
	loadFlag = flag.String("load", "", "how much goes on in a run: busy, day or night; as a rule busy, and in a soak by the seed")
	spanFlag = flag.Duration("span", 0, "for how long, in virtual time, things go wrong in a run; as a rule by the load")
	keepFlag = flag.String("keep", "all", "have only these faults happen, by their numbers: 1,3,8")
	verbose  = flag.Bool("events", false, "print all events and the nodes' logs")
)

// TestSeed runs one seed in this process, in the directory that it is in.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("it takes -seed")
	}
	begun := time.Now()
	w := simulate(t, run{seed: *seedFlag, load: loads[*loadFlag], span: *spanFlag, keep: *keepFlag})
	w.chronicle.check()
	w.report(time.Since(begun))
	if w.violation != "" {
		t.Fail()
	}
}

// simulate runs a seed.
func simulate(t *testing.T, r run) (w *world) {
	cryptotest.SetGlobalRandom(t, r.seed)
	defer func() {
		// Raft answers nobody who asked it for another leader just before it was shut down: that goroutine stays.
		if p := recover(); p != nil && !strings.Contains(fmt.Sprint(p), "main bubble goroutine has exited") {
			panic(p)
		}
	}()
	dir := "nodes"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		seedRuntime(r.seed, true)
		defer seedRuntime(0, false)
		var err error
		if w, err = newWorld(r.seed, r.load, dir); err != nil {
			t.Fatal(err)
		}
		w.run(r)
	})
	return w
}

// inWorld plays a story in a cluster of which all is well, on sites that were made ready for it.
func inWorld(t *testing.T, ready func(s *site, i int), story func(*testing.T, *world, *client)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(1, loads["busy"], dir)
		if err != nil {
			t.Fatal(err)
		}
		defer w.end()
		for i, s := range w.members() {
			ready(s, i)
			s.start()
		}
		c := newClient(w, "operator")
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		story(t, w, c)
	})
}

// TestComebackUnseatsNobody: a follower that was cut off, and could elect nobody, comes back, and the leader still leads in the same term: nodes ask
// whether they would win before they stand (pre-vote; Ongaro's thesis, 9.6).
func TestComebackUnseatsNobody(t *testing.T) {
	inWorld(t, func(*site, int) {}, func(t *testing.T, w *world, _ *client) {
		leader := w.leader()
		term := leader.node().Status().Term
		list := w.members()
		away := list[0]
		if away == leader {
			away = list[1]
		}
		links := between([]*site{away}, list, true, true)
		w.network.setCut(true, links...)
		w.wait(5 * time.Second)
		w.network.setCut(false, links...)
		w.wait(5 * time.Second)
		if is := w.leader(); is != leader || is.node().Status().Term != term {
			t.Errorf("%s led in term %d; after a follower came back, %s leads in term %d", leader.id, term, is.id, is.node().Status().Term)
		}
	})
}

// TestElectionsExtendNoLease: leaders whose clocks are off, each by what is allowed, follow one another, and leases last by no more than the
// outages longer (rule D2). One second in fifty is for those and for clocks that run slowly.
func TestElectionsExtendNoLease(t *testing.T) {
	skew := func(s *site, i int) {
		s.clock.correct()
		s.clock.jump(time.Duration(i-1) * maxSkew * 2 / 5)
	}
	inWorld(t, skew, func(t *testing.T, w *world, c *client) {
		before, begun := w.leader().node().Status().View.Clock(), time.Now()
		terms := w.leader().node().Status().Term
		for range 60 {
			if s := w.leader(); s != nil {
				w.transfer(fault{}, s)
			}
			w.wait(time.Second)
		}
		if _, err := c.write(poolBody("p1", 1, false)); err != nil {
			t.Fatal(err)
		}
		is := w.leader().node().Status()
		lease, passed := time.Duration(is.View.Clock().LeaseMs()-before.LeaseMs())*time.Millisecond, time.Since(begun)
		if n := is.Term - terms; n < 30 {
			t.Errorf("there were %d elections: the test tests nothing", n)
		}
		if lease > passed || lease < passed-passed/50-time.Duration(is.Term-terms)*100*time.Millisecond {
			t.Errorf("in %s with %d elections the lease clock went on by %s", passed, is.Term-terms, lease)
		}
	})
}

// run plays everything: a cluster forms, things go wrong under load, and when nothing is wrong any more all is well again.
func (w *world) run(r run) {
	defer w.end()
	for _, s := range w.members() {
		s.start()
	}
	go w.witness.watch()
	if err := newClient(w, "operator").prepare(); err != nil {
		w.violate("the cluster does not begin: %v", err)
		return
	}
	clients := make(chan struct{})
	for i := range 6 {
		c := newClient(w, fmt.Sprint("c", i))
		go func() {
			c.run()
			clients <- struct{}{}
		}()
	}
	for i := range chroniclers {
		c := newChronicler(w.chronicle, i)
		go func() {
			c.run()
			clients <- struct{}{}
		}()
	}
	drawn := drawFaults(w.draws("faults"), r.span, r.load.apart)
	w.faults = len(drawn)
	w.plague(kept(drawn, r.keep))
	w.heal()
	w.settle()
	w.finish()
	for range 6 + chroniclers {
		<-clients
	}
	newChronicler(w.chronicle, chroniclers).last()
	w.agree()
}

// kept are the faults that a flag names.
func kept(list []fault, keep string) []fault {
	if keep == "all" {
		return list
	}
	wanted := map[int]bool{}
	for _, number := range strings.Split(keep, ",") {
		if n, err := strconv.Atoi(number); err == nil {
			wanted[n] = true
		}
	}
	return slices.DeleteFunc(list, func(f fault) bool { return !wanted[f.number] })
}

// heal ends whatever is wrong, but for nodes that are down: they are started.
func (w *world) heal() {
	w.note("nothing is wrong any more")
	for _, s := range w.members() {
		s.clock.correct()
		s.start()
	}
}

// settle sees that every member serves within the time that it may take.
func (w *world) settle() {
	end := time.Now().Add(recovery)
	c := newClient(w, "last")
	for _, s := range w.members() {
		var err error
		for ok := false; !ok && !w.over(); ok = err == nil {
			if time.Now().After(end) {
				w.violate("%s does not serve %s after nothing is wrong any more: %v", s.id, recovery, err)
				return
			}
			err = w.serves(s, c)
			if err != nil {
				w.wait(50 * time.Millisecond)
			}
			if slices.Index(w.members(), s) < 0 {
				err = nil // it was removed
			}
		}
	}
}

// serves has a site write and read.
func (w *world) serves(s *site, c *client) error {
	n := s.node()
	if n == nil {
		return errors.New("it is down")
	}
	body := &fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: &fsmpb.CreateInstance{Contract: "c", Name: "last"}}}
	return c.through(s, n, body)
}

// agree sees that all members come to the same state.
func (w *world) agree() {
	end := time.Now().Add(recovery)
	for !w.over() {
		err := w.witness.settled(w.members())
		if err == nil {
			return
		}
		if time.Now().After(end) {
			w.violate("%s after the last write: %v", recovery, err)
			return
		}
		w.wait(100 * time.Millisecond)
	}
}

// finish has the clients stop.
func (w *world) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.finished = true
}

// quiet reports whether clients are to stop.
func (w *world) quiet() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.finished
}

// end stops all nodes, so that every goroutine of the run ends.
func (w *world) end() {
	w.lasted = time.Since(w.began)
	w.cancel()
	for _, s := range w.sites {
		s.crash(true)
	}
	pause(time.Minute)
	synctest.Wait()
	w.draw = runtimeDraws()
}

// report prints what a run came to.
func (w *world) report(took time.Duration) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var counts []string
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		counts = append(counts, fmt.Sprintf("%s %d", what, w.counts[what]))
	}
	fmt.Printf("seed %d: %d nodes, %s of virtual time in %s, %d MB, of %d faults, trace %016x, %d draws: %s\n",
		w.seed, w.nodes, w.lasted.Round(time.Millisecond), took.Round(time.Millisecond), m.TotalAlloc>>20, w.faults, w.hash, w.draw, strings.Join(counts, ", "))
	if w.violation == "" {
		return
	}
	fmt.Fprintf(os.Stdout, "seed %d: VIOLATION: %s\n", w.seed, w.violation)
	for _, e := range w.events {
		fmt.Println(" ", e)
	}
}
