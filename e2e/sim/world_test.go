package sim

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

const (
	// maxSkew is how far a node's clock may be from the others'; maxDrift by how much, relative to 1, clocks run fast or slow.
	maxSkew  = 5 * time.Second
	maxDrift = 0.002
	// recovery is how soon a cluster has to serve again once nothing is wrong any more.
	recovery = 10 * time.Second
	// lastEvents is how many events before a violation are shown.
	lastEvents = 60
)

// vendor signs the contracts.
var vendor = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// world is a run: everything that there is, drawn from a seed.
type world struct {
	seed  uint64
	nodes int
	level hclog.Level
	dir   string
	// founders are the addresses of the first nodes, by which all find the cluster.
	founders  []string
	authority *transport.Authority
	network   *network
	witness   *witness
	chronicle *chronicle
	began     time.Time
	// ctx ends with the run.
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	sites []*site
	// events are the last ones, hash is of all.
	events []string
	hash   uint64
	// violation is the first thing that was wrong, empty if nothing was.
	violation string
	// broken are the kinds of disk faults that there were.
	broken bool
	counts map[string]int
	// finished: clients ask for nothing new.
	finished bool
	// lasted and draw are how long the run took in virtual time, and how many draws of the runtime.
	lasted time.Duration
	// faults is how many were drawn.
	faults int
	draw   uint64
}

// newWorld founds nothing yet.
func newWorld(seed uint64, dir string) (*world, error) {
	w := &world{seed: seed, dir: dir, level: hclog.Off, began: time.Now(), counts: map[string]int{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.network = newNetwork(w.draws("network"))
	w.witness = newWitness(w)
	w.chronicle = newChronicle(w)
	if *verbose {
		w.level = hclog.Info
	}
	w.nodes = 3 + 2*w.draws("nodes").IntN(2)
	var err error
	if w.authority, err = transport.NewAuthority("sim", transport.Validity{For: 1000 * time.Hour}); err != nil {
		return nil, err
	}
	if err := w.authority.Pair().Write(filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "ca-key.pem")); err != nil {
		return nil, err
	}
	for i := range w.nodes {
		w.founders = append(w.founders, fmt.Sprint("n", i))
	}
	for _, id := range w.founders {
		if _, err := w.add(id); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// add makes a site, which is not started.
func (w *world) add(id string) (*site, error) {
	s, err := w.newSite(id)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sites = append(w.sites, s)
	return s, nil
}

// members are the sites that are not retired.
func (w *world) members() []*site {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.sites), func(s *site) bool { return s.retired })
}

// leader is the site that leads, nil if none says so.
func (w *world) leader() *site {
	var best *site
	var term uint64
	for _, s := range w.members() {
		if n := s.node(); n != nil {
			if is := n.Status(); is.Role == cluster.Leader && is.Term >= term {
				best, term = s, is.Term
			}
		}
	}
	return best
}

// over reports whether the run has ended.
func (w *world) over() bool { return w.ctx.Err() != nil }

// note takes an event down.
func (w *world) note(format string, args ...any) {
	text := fmt.Sprintf("%12s  %s", time.Since(w.began).Round(time.Microsecond), strings.ReplaceAll(fmt.Sprintf(format, args...), w.dir, ""))
	sum := fnv.New64a()
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(sum, "%d %s", w.hash, text)
	w.hash = sum.Sum64()
	if *verbose {
		fmt.Println(text)
	}
	if w.events = append(w.events, text); len(w.events) > 2*lastEvents {
		w.events = append(w.events[:0], w.events[lastEvents:]...)
	}
}

// count counts what a run has seen.
func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// violate says what must not be. The first one ends the run.
func (w *world) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.note("VIOLATION: %s", text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.violation == "" {
		w.violation = text
		w.cancel()
	}
}

// diskFaults reports whether an error is of those that were injected into a disk.
func (w *world) diskFaults(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) || strings.Contains(err.Error(), "the disk did not"))
}

// contract is what all seats and instances are drawn from: few, so that clients get into each other's way.
func contract() (string, error) {
	c := &signed.Contract{
		ID: "c", Revision: 1, Customer: "ACME", Email: "licenses@acme.example",
		Start: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		Users: map[string]uint64{"primary": users},
		Products: map[string]signed.Product{
			"f": {Model: signed.Floating, Quantity: 6}, "g": {Model: signed.Floating, Quantity: 4}, "t": {Model: signed.Team, Quantity: 2},
		},
	}
	return c.Sign(vendor)
}

// users is what all instances share.
const users = 12
