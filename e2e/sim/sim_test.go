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
	spanFlag = flag.Duration("span", 60*time.Second, "for how long, in virtual time, things go wrong in a run")
	keepFlag = flag.String("keep", "all", "have only these faults happen, by their numbers: 1,3,8")
	verbose  = flag.Bool("events", false, "print all events and the nodes' logs")
)

// TestSeed runs one seed in this process, in the directory that it is in.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("it takes -seed")
	}
	begun := time.Now()
	w := simulate(t, *seedFlag, *spanFlag, *keepFlag)
	w.chronicle.check()
	w.report(time.Since(begun))
	if w.violation != "" {
		t.Fail()
	}
}

// simulate runs a seed.
func simulate(t *testing.T, seed uint64, span time.Duration, keep string) (w *world) {
	cryptotest.SetGlobalRandom(t, seed)
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
		seedRuntime(seed, true)
		defer seedRuntime(0, false)
		var err error
		if w, err = newWorld(seed, dir); err != nil {
			t.Fatal(err)
		}
		w.run(span, keep)
	})
	return w
}

// run plays everything: a cluster forms, things go wrong under load, and when nothing is wrong any more all is well again.
func (w *world) run(span time.Duration, keep string) {
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
	drawn := drawFaults(w.draws("faults"), span)
	w.faults = len(drawn)
	w.plague(kept(drawn, keep))
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
