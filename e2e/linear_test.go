package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// linearUsers is what all instances of the history's contract draw on: few, so
// that they get into each other's way.
const linearUsers = 12

// TestLinearizable: clients of all nodes create, resize, remove and read instances of
// one contract while leaders are killed. There is one order of all that in
// which every answer is right, and which keeps to what came after what.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", linearUsers)
	h := &history{c: c, began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	t.Cleanup(func() { cancel(); clients.Wait() })
	for i := range 4 {
		o := client.Options{Endpoints: rotate(c.Endpoints(), i), Attempt: time.Second, Timeout: 3 * time.Second}
		if i > 0 {
			// These sit at one node each and give up soon, so that some never learn of an outcome.
			o = client.Options{Endpoints: o.Endpoints[:1], Timeout: 700 * time.Millisecond}
		}
		cl := c.newClient(o)
		clients.Go(func() { h.run(ctx, cl, i) })
	}
	const kills = 3
	for range kills {
		h.waitDone(150)
		leader := c.Leader()
		leader.Kill()
		h.waitDone(50)
		leader.Start()
		c.WaitReady(leader)
	}
	h.waitDone(100)
	cancel()
	clients.Wait()
	h.readAll(c.http)
	c.Settled()
	t.Logf("%d operations, %d of them of unknown outcome", len(h.operations), h.open.Load())
	result, info := porcupine.CheckOperationsVerbose(linearModel(), h.operations, patience)
	if result != porcupine.Ok {
		shown := filepath.Join(os.TempDir(), "licet-linearizability.html")
		t.Errorf("the history is not linearizable (%s); see %s (%v)", result, shown, porcupine.VisualizePath(linearModel(), info, shown))
	}
}

// question is an operation's input.
type question struct {
	kind   string
	serial uint64
	name   string
	n      uint64
}

// answered is an operation's output: a code, or the numbers of a success.
type answered struct {
	code   apiv1.Code
	serial uint64
	n      uint64
}

// instanceNow is an instance in the model; slots beyond the last one are empty.
type instanceNow struct {
	serial uint64
	name   string
	n      uint64
}

// linearState is comparable, as the checker compares states very often. With at least
// one account each there are never more instances than users.
type linearState struct {
	last uint64
	live [linearUsers]instanceNow
}

func (s linearState) total() (sum uint64) {
	for _, i := range s.live {
		sum += i.n
	}
	return sum
}

func (s linearState) find(serial uint64) int {
	return slices.IndexFunc(s.live[:], func(i instanceNow) bool { return i.serial == serial })
}

// missing is how a serial number without an instance is answered.
func (s linearState) missing(serial uint64) answered {
	if serial <= s.last {
		return answered{code: apiv1.CodeInstanceRemoved}
	}
	return answered{code: apiv1.CodeInstanceNotFound}
}

// step is what licet is to do, without any of its distribution (rules I1 to I3).
func (s linearState) step(q question) (linearState, answered) {
	at := s.find(q.serial)
	switch q.kind {
	case "total":
		return s, answered{n: s.total()}
	case "create":
		free := linearUsers - s.total()
		switch {
		case slices.ContainsFunc(s.live[:], func(i instanceNow) bool { return i.name == q.name }):
			return s, answered{code: apiv1.CodeInstanceExists}
		case q.n > free:
			return s, answered{code: apiv1.CodeContractExhausted, n: free}
		}
		s.last++
		s.live[s.find(0)] = instanceNow{s.last, q.name, q.n}
		slices.SortFunc(s.live[:], func(a, b instanceNow) int { return int(b.serial) - int(a.serial) })
		return s, answered{serial: s.last, n: q.n}
	}
	if at < 0 {
		return s, s.missing(q.serial)
	}
	now := s.live[at]
	switch q.kind {
	case "read":
	case "resize":
		if free := linearUsers - (s.total() - now.n); q.n > now.n && q.n > free {
			return s, answered{code: apiv1.CodeContractExhausted, n: free}
		}
		now.n = q.n
		s.live[at] = now
	case "remove":
		s.live[at] = instanceNow{}
		slices.SortFunc(s.live[:], func(a, b instanceNow) int { return int(b.serial) - int(a.serial) })
	}
	return s, answered{serial: now.serial, n: now.n}
}

func linearModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return linearState{} },
		Step: func(state, input, output any) (bool, any) {
			next, right := state.(linearState).step(input.(question))
			// What is not known may come to anything; if it was never done, it fits in after all others.
			got := output.(answered)
			return got == right || got.code == apiv1.CodeOutcomeUnknown, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

// history gathers what clients saw. Safe for concurrent use.
type history struct {
	c     *Cluster
	began time.Time
	// done counts operations, open those whose outcome stays unknown, newest is the highest serial number seen.
	done, open atomic.Int64
	newest     atomic.Uint64

	mu         sync.Mutex
	operations []porcupine.Operation
}

// mostOpen bounds the operations that stay unknown: each doubles the checker's work.
const mostOpen = 5

func (h *history) run(ctx context.Context, cl *client.Client, who int) {
	for n := 0; ctx.Err() == nil; n++ {
		h.operate(cl, who, fmt.Sprintf("linear:%d:%d", who, n), h.choose())
	}
}

func (h *history) choose() question {
	newest := h.newest.Load()
	serial := 1 + newest - min(newest, rand.Uint64N(8))
	switch x := rand.IntN(100); {
	case x < 40:
		return question{kind: "create", name: string(rune('a' + rand.IntN(8))), n: 1 + rand.Uint64N(4)}
	case x < 55:
		return question{kind: "resize", serial: serial, n: 1 + rand.Uint64N(6)}
	case x < 75:
		return question{kind: "remove", serial: serial}
	case x < 90:
		return question{kind: "read", serial: serial}
	default:
		return question{kind: "total"}
	}
}

// operate asks until the outcome is known, except for a few times, and records it.
func (h *history) operate(cl *client.Client, who int, id string, q question) {
	call := time.Since(h.began).Nanoseconds()
	// Once an outcome was unknown, a later attempt that did nothing says nothing of the earlier one.
	doubt := false
	for {
		got, err := put(cl, id, q)
		back := time.Since(h.began).Nanoseconds()
		switch {
		case err == nil:
		case got.code == apiv1.CodeOutcomeUnknown && h.leaveOpen():
			back = math.MaxInt64
		case got.code == apiv1.CodeOutcomeUnknown, doubt:
			doubt = true
			continue
		default:
			// Nothing was done; were that not true, the rest of the history would not fit.
			return
		}
		h.done.Add(1)
		h.mu.Lock()
		h.operations = append(h.operations, porcupine.Operation{ClientId: who, Input: q, Call: call, Output: got, Return: back})
		h.mu.Unlock()
		if got.serial > h.newest.Load() {
			h.newest.Store(got.serial)
		}
		return
	}
}

// leaveOpen decides whether an unknown outcome is left at that.
func (h *history) leaveOpen() bool {
	return rand.IntN(2) == 0 && h.open.Load() < mostOpen && h.open.Add(1) <= mostOpen
}

// put asks once. The error is nil if the outcome is known.
func put(cl *client.Client, id string, q question) (answered, error) {
	ctx := client.WithRequestID(context.Background(), id)
	var instance *client.Answer[apiv1.Instance]
	var err error
	switch q.kind {
	case "create":
		instance, err = cl.CreateInstance(ctx, "load", q.name, apiv1.Quantities{"primary": q.n})
	case "resize":
		instance, err = cl.ResizeInstance(ctx, q.serial, apiv1.Quantities{"primary": q.n})
	case "remove":
		instance, err = cl.RemoveInstance(ctx, q.serial)
	case "read":
		instance, err = cl.Instance(ctx, q.serial)
	case "total":
		a, err := cl.Contract(ctx, "load")
		if err != nil {
			return answered{code: client.CodeOf(err)}, err
		}
		return answered{n: a.Value.Areas["primary"].Allocated}, nil
	}
	if err == nil {
		return answered{serial: instance.Value.Serial, n: instance.Value.Areas["primary"].Allocation}, nil
	}
	got := answered{code: client.CodeOf(err)}
	switch got.code {
	case apiv1.CodeContractExhausted:
		got.n = factOf(err, "free")
		return got, nil
	case apiv1.CodeInstanceExists, apiv1.CodeInstanceRemoved, apiv1.CodeInstanceNotFound:
		return got, nil
	}
	return got, err
}

// factOf is a number behind a refusal.
func factOf(err error, name string) uint64 {
	var e *client.Error
	if !errors.As(err, &e) {
		return 0
	}
	n, _ := e.Facts[name].Int()
	return uint64(n)
}

// readAll ends the history with a look at everything.
func (h *history) readAll(cl *client.Client) {
	h.operate(cl, 9, "", question{kind: "total"})
	for serial := range h.newest.Load() + 1 {
		h.operate(cl, 9, "", question{kind: "read", serial: serial + 1})
	}
}

// waitDone returns when so many more operations are done.
func (h *history) waitDone(more int64) {
	h.c.t.Helper()
	goal := h.done.Load() + more
	eventually(h.c.t, strconv.FormatInt(more, 10)+" more operations are done", func() error {
		if now := h.done.Load(); now < goal {
			return fmt.Errorf("%d are missing", goal-now)
		}
		return nil
	})
}
