package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// office is a cluster with one seat, as its nodes show it: it ends leases by its own clock, remembers outcomes by
// request id, and has a queue of one place. Its nodes are those of a network.
type office struct {
	mu  sync.Mutex
	ttl time.Duration
	// lease is the last one that was given out, ends when it ends; zero if it has ended.
	lease uint64
	ends  time.Time
	// outcomes are the answers by request id; renewals and returns are the request ids in their order.
	outcomes           map[string]func(http.ResponseWriter, *http.Request)
	renewals, returned []string
	// ticket is the last one that was given out; ahead is how many are before it, -1 if it has gone.
	ticket    uint64
	ticketTTL uint32
	ahead     int
	offer     bool
	kept      []time.Time
	claims    []string
	left      int
	// full: there are no seats. weather, if set, is asked before each request and says whether it was dealt with.
	full    bool
	weather func(http.ResponseWriter, *http.Request) bool
}

func newOffice(ttl time.Duration) *office {
	return &office{ttl: ttl, ticketTTL: 30, outcomes: map[string]func(http.ResponseWriter, *http.Request){}}
}

func (o *office) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	weather := o.weather
	o.mu.Unlock()
	if weather != nil && weather(w, r) {
		return
	}
	o.decide(r)(w, r)
}

// decide carries a request out, once at most, and returns its answer.
func (o *office) decide(r *http.Request) step {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	if known := o.outcomes[key]; known != nil {
		return known
	}
	answer := o.answer(r)
	if key != "" {
		o.outcomes[key] = answer
	}
	return answer
}

func (o *office) answer(r *http.Request) step {
	key, parts := r.Header.Get("Idempotency-Key"), strings.Split(r.URL.Path, "/")
	switch verb := parts[len(parts)-1]; {
	case verb == "checkouts" && o.full:
		o.ticket++
		o.ahead, o.offer = 2, false
		return created(apiv1.CheckoutDone{Ticket: o.shown("ticket-secret")})
	case verb == "checkouts", verb == "claim" && o.offer:
		if verb == "claim" {
			o.claims = append(o.claims, key)
			o.offer, o.ahead = false, -1
		}
		o.lease++
		o.ends = time.Now().Add(o.ttl)
		return created(apiv1.CheckoutDone{Lease: &apiv1.Lease{ID: o.lease, Pool: "design", Product: "cad", User: "ann", TTL: uint32(o.ttl / time.Second), Handle: "secret"}})
	case verb == "claim":
		return problem(409, "not_offered")
	case verb == "renew":
		o.renewals = append(o.renewals, key)
		if !time.Now().Before(o.ends) {
			return problem(410, "lease_ended")
		}
		o.ends = time.Now().Add(o.ttl)
		return created(apiv1.Renewed{Lease: o.lease, TTL: uint32(o.ttl / time.Second)})
	case verb == "return":
		o.returned = append(o.returned, key)
		o.ends = time.Time{}
		return created(apiv1.LeaseEnded{Lease: o.lease})
	case verb == "leave":
		o.left++
		o.ahead = -1
		return created(apiv1.TicketLeft{Ticket: o.ticket})
	case verb == "design":
		return created(apiv1.Pool{Definition: apiv1.PoolDefinition{Name: "design", TicketTTL: o.ticketTTL}})
	case parts[2] == "tickets" && o.ahead < 0:
		return problem(410, "ticket_gone")
	case verb == "keep":
		o.kept = append(o.kept, time.Now())
		return created(o.shown(""))
	case parts[2] == "tickets":
		return o.poll(r)
	}
	return problem(404, "route_not_found")
}

// poll is a long poll: it answers once the ticket has moved, or when its time is up.
func (o *office) poll(r *http.Request) step {
	before, wait := *o.shown(""), r.URL.Query().Get("wait")
	return func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(wait + "s")
		for until := time.Now().Add(d); time.Now().Before(until) && r.Context().Err() == nil; pass(100 * time.Millisecond) {
			o.mu.Lock()
			moved := o.ahead < 0 || *o.shown("") != before
			o.mu.Unlock()
			if moved {
				break
			}
		}
		o.mu.Lock()
		answer := problem(410, "ticket_gone")
		if o.ahead >= 0 {
			answer = created(o.shown(""))
		}
		o.mu.Unlock()
		answer(w, r)
	}
}

func (o *office) shown(handle string) *apiv1.Ticket {
	t := &apiv1.Ticket{ID: o.ticket, Pool: "design", Product: "cad", User: "ann", Client: "ws", Handle: handle, State: apiv1.TicketStateWaiting}
	t.Ahead, t.Position, t.EstimatedWait = uint64(max(o.ahead, 0)), uint64(max(o.ahead, 0)+1), uint64(40*max(o.ahead, 0))
	if o.offer {
		t.State, t.Ahead, t.Position, t.EstimatedWait = apiv1.TicketStateOffered, 0, 0, 0
	}
	return t
}

func created(value any) step {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return fine(string(text))
}

// set changes the office under its lock.
func (o *office) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// get reads from it, once all that can happen now has happened.
func get[T any](o *office, what func() T) T {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return what()
}

// hosts are the office's nodes.
var hosts = []string{"a:1", "b:1", "c:1"}

// open makes a client of the office's three nodes. Its clock can be put forward as if the machine had slept.
func (o *office) open(t *testing.T) (c *client.Client, slept *atomic.Int64) {
	t.Helper()
	script := map[string][]step{}
	for _, host := range hosts {
		script[host] = []step{o.serve}
	}
	n := newNetwork(t, script)
	c = n.client(t, client.Options{Timeout: client.DefaultTimeout, Attempt: client.DefaultAttempt}, hosts...)
	begin, slept := time.Now(), new(atomic.Int64)
	c.SetClock(func() time.Duration { return time.Since(begin) + time.Duration(slept.Load()) })
	return c, slept
}

var askAnn = apiv1.Checkout{Pool: "design", Product: "cad", User: "ann", Client: "ws"}

func (o *office) hold(t *testing.T, c *client.Client) *client.Seat {
	t.Helper()
	s, err := c.Hold(t.Context(), askAnn)
	if err != nil {
		t.Fatal(err)
	}
	// What the test leaves open would keep the bubble from ending.
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// pass has time pass in a bubble of testing/synctest, where nobody waits for it.
func pass(d time.Duration) { <-time.After(d) }

// distinct counts different words.
func distinct(words []string) int {
	return len(slices.Compact(slices.Sorted(slices.Values(words))))
}

func mustHeld(t *testing.T, s *client.Seat, when string) {
	t.Helper()
	synctest.Wait()
	select {
	case <-s.Lost():
		t.Fatalf("%s: %v", when, s.Err())
	default:
		if s.Err() != nil {
			t.Fatalf("%s: %v", when, s.Err())
		}
	}
}

// mustLose waits until the seat is lost and returns when.
func mustLose(t *testing.T, s *client.Seat, within time.Duration) time.Time {
	t.Helper()
	select {
	case <-s.Lost():
		return time.Now()
	case <-time.After(within):
		t.Fatalf("still held after %s", within)
		return time.Time{}
	}
}

func dead(w http.ResponseWriter, r *http.Request) bool {
	broken(w, r)
	return true
}

func hanging(w http.ResponseWriter, r *http.Request) bool {
	hang(w, r)
	return true
}

// only plays a weather for some nodes.
func only(bad func(http.ResponseWriter, *http.Request) bool, hosts ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return slices.Contains(hosts, fmt.Sprint(w.Header().Get("Licet-Node"))) && bad(w, r)
	}
}
