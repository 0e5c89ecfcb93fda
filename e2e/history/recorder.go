package history

import (
	"math"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	// MostOperations bounds each part of a history: looking through it takes memory by its square.
	MostOperations = 20_000
	// MostOpen is how many outcomes of a part clients may leave unknown: each makes more orders possible.
	MostOpen = 8
)

// Recorder takes a history down. Safe for concurrent use.
type Recorder struct {
	setup Setup
	clock func() time.Duration

	mu    sync.Mutex
	turns int64
	calls []*Call
	done  int
	// begun and open count by whether operations are OfInstances.
	begun, open map[bool]int
}

// Call is an operation that was begun. What becomes of it is not known until one of its methods says so.
type Call struct {
	recorder *Recorder
	client   int
	in       Input
	out      Output
	// called and returned are turns of the recorder; began and ended are what its clock said then.
	called, returned int64
	began, ended     time.Duration
	dropped          bool
}

// New returns a recorder of operations on a setup. The clock is for whoever reads a history: what came after what, the order of calls of the recorder says.
func New(s Setup, clock func() time.Duration) *Recorder {
	return &Recorder{setup: s, clock: clock, begun: map[bool]int{}, open: map[bool]int{}}
}

// Setup is what the operations are about.
func (r *Recorder) Setup() *Setup { return &r.setup }

// Begin notes that a client, numbered from 0, asks. It is nil if the history is long enough: nothing may be asked then.
func (r *Recorder) Begin(client int, in Input) *Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun[in.Kind.OfInstances()] >= MostOperations {
		return nil
	}
	r.begun[in.Kind.OfInstances()]++
	r.turns++
	c := &Call{recorder: r, client: client, in: in, out: Output{Unknown: true}, called: r.turns, returned: math.MaxInt64, began: r.clock()}
	r.calls = append(r.calls, c)
	return c
}

// End notes the answer.
func (c *Call) End(out Output) {
	r := c.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns++
	r.done++
	c.out, c.returned, c.ended = out, r.turns, r.clock()
}

// Drop notes that surely nothing was done.
func (c *Call) Drop() {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	c.dropped = true
}

// Leave notes that the client asks no more, and does not know.
func (c *Call) Leave() {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	c.recorder.done++
	c.recorder.open[c.in.Kind.OfInstances()]++
}

// Spare reports whether the client may leave it at that: too many unknown outcomes could not be looked through.
func (c *Call) Spare() bool {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	return c.recorder.open[c.in.Kind.OfInstances()] < MostOpen
}

// Done is how many operations ended, and Open how many of them were left unknown.
func (r *Recorder) Done() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// Open is how many operations were left unknown.
func (r *Recorder) Open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[true] + r.open[false]
}

// part is one of the two parts of the history.
func (r *Recorder) part(instances bool) (list []porcupine.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		// A read of which nobody was told says nothing.
		if c.in.Kind.OfInstances() != instances || c.dropped || c.out.Unknown && c.in.Kind.Reads() {
			continue
		}
		list = append(list, porcupine.Operation{
			ClientId: c.client, Input: c.in, Output: c.out, Call: c.called, Return: c.returned, Metadata: span{c.began, c.ended},
		})
	}
	return list
}

// span is when an operation was under way, for whoever reads of it.
type span struct{ began, ended time.Duration }

// String leaves out an end that was not seen.
func (s span) String() string {
	if s.ended == 0 {
		return s.began.Round(time.Microsecond).String() + " to ?"
	}
	return s.began.Round(time.Microsecond).String() + " to " + s.ended.Round(time.Microsecond).String()
}
