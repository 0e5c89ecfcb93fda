package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/licet/licet/fsm"
)

// fault is something that goes wrong at a time, drawn before the run begins: so a run can be repeated with fewer of them.
type fault struct {
	number int
	at     time.Duration
	lasts  time.Duration
	kind   string
	// pick and other choose sites, of those that there are at the time; leader: it is the one that leads.
	pick, other int
	leader      bool
	// by is how much, from 0 to 1.
	by float64
}

func (f fault) String() string {
	return fmt.Sprintf("fault %d: %s for %s", f.number, f.kind, f.lasts.Round(time.Millisecond))
}

// inject are the kinds of faults.
var inject = map[string]func(*world, fault, *site){
	"cut":         (*world).cutOff,
	"cut-in":      (*world).cutOff,
	"cut-out":     (*world).cutOff,
	"cut-pair":    (*world).cutPair,
	"split":       (*world).split,
	"flap":        (*world).flap,
	"reset":       func(w *world, _ fault, s *site) { w.network.reset(s.id, "") },
	"slow-net":    (*world).slowNet,
	"kill":        (*world).crash,
	"power":       (*world).crash,
	"kill-all":    (*world).crashAll,
	"power-all":   (*world).crashAll,
	"stop":        (*world).restart,
	"slow-disk":   (*world).slowDisk,
	"full-disk":   (*world).badDisk,
	"sick-disk":   (*world).badDisk,
	"stall-cut":   (*world).stallCut,
	"step-clock":  (*world).stepClock,
	"wrong-clock": (*world).stepClock,
	"drift":       (*world).drift,
	"transfer":    (*world).transfer,
	"add":         (*world).addMember,
	"remove":      (*world).removeMember,
}

// drawFaults draws what goes wrong within a span, apart times further apart than where most goes wrong.
func drawFaults(rng *rand.Rand, span time.Duration, apart int) []fault {
	var kinds []string
	for kind := range inject {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	var list []fault
	for at := time.Duration(0); ; {
		at += time.Duration(apart * (int(200*time.Millisecond) + rng.IntN(int(4*time.Second))))
		f := fault{
			number: len(list), at: at, lasts: 200*time.Millisecond + time.Duration(rng.Int64N(int64(5*time.Second))),
			kind: kinds[rng.IntN(len(kinds))], pick: rng.IntN(100), other: rng.IntN(100), leader: rng.IntN(3) == 0, by: rng.Float64(),
		}
		if at > span {
			return list
		}
		list = append(list, f)
	}
}

// plague has faults happen, each at its time, and returns when all of them are over.
func (w *world) plague(list []fault) {
	begun := time.Now()
	over := make(chan struct{})
	for _, f := range list {
		go func() {
			defer func() { over <- struct{}{} }()
			if sleep(w.ctx, time.Until(begun.Add(f.at))) != nil {
				return
			}
			s := w.chosen(f)
			w.note("%s at %s", f, s.id)
			w.count(f.kind)
			inject[f.kind](w, f, s)
			w.note("fault %d is over", f.number)
		}()
	}
	for range list {
		<-over
	}
}

func (w *world) chosen(f fault) *site {
	if f.leader {
		if s := w.leader(); s != nil {
			return s
		}
	}
	list := w.members()
	return list[f.pick%len(list)]
}

// wait lasts as long as a fault does.
func (w *world) wait(d time.Duration) { _ = sleep(w.ctx, d) }

// between are the links between two sets of sites; in and out as seen from the first.
func between(some, others []*site, in, out bool) (list []link) {
	for _, a := range some {
		for _, b := range others {
			if a == b {
				continue
			}
			if in {
				list = append(list, link{b.id, a.id})
			}
			if out {
				list = append(list, link{a.id, b.id})
			}
		}
	}
	return list
}

func (w *world) cutOff(f fault, s *site) {
	links := between([]*site{s}, w.members(), f.kind != "cut-out", f.kind != "cut-in")
	w.network.setCut(true, links...)
	w.wait(f.lasts)
	w.network.setCut(false, links...)
}

func (w *world) cutPair(f fault, s *site) {
	list := w.members()
	links := between([]*site{s}, []*site{list[f.other%len(list)]}, true, f.by < 0.7)
	w.network.setCut(true, links...)
	w.wait(f.lasts)
	w.network.setCut(false, links...)
}

// split parts the sites into two.
func (w *world) split(f fault, _ *site) {
	list := w.members()
	at := 1 + f.other%max(1, len(list)-1)
	list = append(slices.Clone(list[f.pick%len(list):]), list[:f.pick%len(list)]...)
	links := between(list[:at], list[at:], true, true)
	w.network.setCut(true, links...)
	w.wait(f.lasts)
	w.network.setCut(false, links...)
}

func (w *world) flap(f fault, s *site) {
	links := between([]*site{s}, w.members(), true, true)
	for range 5 {
		w.network.setCut(true, links...)
		w.wait(f.lasts / 10)
		w.network.setCut(false, links...)
		w.wait(f.lasts / 10)
	}
}

func (w *world) slowNet(f fault, s *site) {
	w.network.setSlow(s.id, time.Duration(f.by*float64(200*time.Millisecond)))
	w.wait(f.lasts)
	w.network.setSlow(s.id, 0)
}

func (w *world) crash(f fault, s *site) {
	s.crash(f.kind == "power")
	w.wait(f.lasts)
	s.start()
}

func (w *world) crashAll(f fault, _ *site) {
	list := w.members()
	for _, s := range list {
		s.crash(f.kind == "power-all")
	}
	w.wait(f.lasts)
	for _, s := range list {
		s.start()
	}
}

func (w *world) restart(f fault, s *site) {
	s.stop()
	w.wait(f.lasts / 4)
	s.start()
}

func (w *world) slowDisk(f fault, s *site) {
	s.disk.set(time.Duration(f.by*float64(500*time.Millisecond)), false, false)
	w.wait(f.lasts)
	s.disk.set(0, false, false)
}

func (w *world) badDisk(f fault, s *site) {
	w.mu.Lock()
	w.broken = true
	w.mu.Unlock()
	s.disk.set(0, f.kind == "full-disk", f.kind == "sick-disk")
	w.wait(f.lasts)
	s.disk.set(0, false, false)
}

// stallCut has the disk stall first and cuts the links then: a leader does not notice that it leads no more.
func (w *world) stallCut(f fault, s *site) {
	links := between([]*site{s}, w.members(), true, true)
	s.disk.set(f.lasts, false, false)
	w.wait(200 * time.Millisecond)
	w.network.setCut(true, links...)
	w.wait(f.lasts)
	s.disk.set(0, false, false)
	w.wait(f.lasts / 8)
	w.network.setCut(false, links...)
}

// stepClock moves a wall clock: by less than is noticed, or by hours. It is set right at last.
func (w *world) stepClock(f fault, s *site) {
	by := time.Duration((f.by*2 - 1) * float64(maxSkew) * 0.4)
	if f.kind == "wrong-clock" {
		by = time.Duration((f.by*2 - 1) * float64(10*time.Hour))
	}
	s.clock.jump(by)
	w.wait(f.lasts)
	s.clock.jump(-by)
}

func (w *world) drift(f fault, s *site) { s.clock.run(1 + (f.by*2-1)*maxDrift) }

// theOperator is who has the token of a node's configuration.
var theOperator = fsm.Principal{Kind: fsm.ByFile, ID: "operator", Role: fsm.Root}

func (w *world) transfer(_ fault, s *site) {
	n := s.node()
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	w.note("%s asks for another leader: %v", s.id, n.Transfer(ctx, "", theOperator))
}

// mostSites bounds how many members join in a run.
const mostSites = 9

func (w *world) addMember(f fault, _ *site) {
	w.mu.Lock()
	n := len(w.sites)
	w.mu.Unlock()
	if n >= mostSites {
		return
	}
	s, err := w.add(fmt.Sprint("n", n))
	if err != nil {
		w.violate("a new site: %v", err)
		return
	}
	s.start()
}

func (w *world) removeMember(f fault, s *site) {
	list := w.members()
	n := list[f.other%len(list)].node()
	if len(list) <= 3 || n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	w.note("%s is to be removed: %v", s.id, n.Remove(ctx, s.id, theOperator))
}
