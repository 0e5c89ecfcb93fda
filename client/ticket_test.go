package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// queued is a Hold that waits, and what it was told.
type queued struct {
	told   []string
	seat   chan *client.Seat
	err    error
	cancel context.CancelFunc
}

func (o *office) queue(t *testing.T, c *client.Client) *queued {
	t.Helper()
	o.set(func() { o.full = true })
	ctx, cancel := context.WithCancel(t.Context())
	q := &queued{seat: make(chan *client.Seat, 1), cancel: cancel}
	ask := askAnn
	ask.Queue = true
	go func() {
		s, err := c.Hold(ctx, ask, func(x apiv1.Ticket) {
			o.set(func() {
				q.told = append(q.told, fmt.Sprintf("%d %s %d %d%s", x.ID, x.State, x.Position, x.EstimatedWait, x.Handle))
			})
		})
		q.err = err
		q.seat <- s
	}()
	t.Cleanup(func() {
		cancel()
		// It is at its end, whatever the test has seen of it.
		synctest.Wait()
	})
	return q
}

// had waits for the seat.
func (q *queued) had(t *testing.T) *client.Seat {
	t.Helper()
	select {
	case s := <-q.seat:
		if q.err != nil {
			t.Fatal(q.err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	case <-time.After(10 * time.Minute):
		t.Fatal("no seat")
		return nil
	}
}

// Q1 to Q3: who waits knows its position, keeps its ticket without asking more often than it must, and claims the offer.
func TestHoldWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		q := o.queue(t, c)
		began := time.Now()
		pass(65 * time.Second)
		o.set(func() { o.ahead = 1 })
		pass(time.Second)
		o.set(func() { o.ahead = 0 })
		pass(time.Second)
		o.set(func() { o.offer = true })
		offered := time.Now()
		s := q.had(t)
		if d := time.Since(offered); d > time.Second {
			t.Errorf("the offer was claimed after %s", d)
		}
		told := slices.Compact(slices.Clone(q.told))
		want := []string{"1 waiting 3 80", "1 waiting 2 40", "1 waiting 1 0", "1 offered 0 0"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		last := began
		for _, at := range append(o.kept, time.Now()) {
			if gap := at.Sub(last); gap > 15*time.Second {
				t.Errorf("not kept for %s, of 30 s", gap)
			}
			last = at
		}
		if n := len(o.kept); n < 5 || n > 8 {
			t.Errorf("kept %d times in 67 s, want one each 10 s", n)
		}
		pass(time.Minute)
		mustHeld(t, s, "a minute later")
	})
}

// E2: a claim whose outcome is unknown is repeated with the same request id, and the seat counts from its first sending.
func TestHoldRepeatsUnknownClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(120 * time.Second)
		c, _ := o.open(t)
		q := o.queue(t, c)
		pass(time.Second)
		o.set(func() {
			o.offer = true
			o.weather = func(w http.ResponseWriter, r *http.Request) bool {
				claims := strings.HasSuffix(r.URL.Path, "/claim")
				if claims {
					o.decide(r)
					broken(w, r)
				}
				return claims
			}
		})
		pass(40 * time.Second)
		o.set(func() { o.weather = nil })
		s := q.had(t)
		if len(o.claims) != 1 || o.lease != 1 || s.Lease().Handle != "secret" {
			t.Errorf("claims %v, lease %d", o.claims, o.lease)
		}
		o.set(func() { o.weather = hanging })
		if left := o.ends.Sub(mustLose(t, s, 3*time.Minute)); left < 12*time.Second {
			t.Errorf("lost %s before its end, want 12 s", left)
		}
	})
}

// Q4: outages are waited out. Who lost its ticket in one, or all the cluster forgot it, queues anew.
func TestHoldWaitsOutOutages(t *testing.T) {
	for name, weather := range map[string]func(http.ResponseWriter, *http.Request) bool{"hanging up": dead, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(30 * time.Second)
				c, _ := o.open(t)
				q := o.queue(t, c)
				pass(5 * time.Second)
				o.set(func() { o.weather = weather })
				pass(10 * time.Minute)
				o.set(func() { o.weather, o.ahead = nil, -1 })
				pass(time.Minute)
				if n := get(o, func() uint64 { return o.ticket }); n != 2 {
					t.Fatalf("ticket %d, want the second", n)
				}
				o.set(func() { o.offer = true })
				q.had(t)
				if !slices.Contains(q.told, "2 waiting 3 80") || o.left != 0 && o.left != 1 {
					t.Errorf("told %q, left %d times", q.told, o.left)
				}
			})
		})
	}
}

// Nodes that hang cost nobody the place in the queue, though the ticket lasts but 10 s.
func TestTicketOutlivesNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		o.ticketTTL = 10
		c, _ := o.open(t)
		q := o.queue(t, c)
		for i := range 12 {
			o.set(func() { o.weather = only(hanging, hosts[i%3], hosts[(i+1)%3]) })
			pass(50 * time.Second)
		}
		o.set(func() { o.offer = true })
		q.had(t)
		for i := range len(o.kept) - 1 {
			if gap := o.kept[i+1].Sub(o.kept[i]); gap > 7*time.Second {
				t.Errorf("not kept for %s, of 10 s", gap)
			}
		}
	})
}

// P6: an offer that was withdrawn is waited for again, with another claim.
func TestHoldOutlivesAWithdrawnOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		q := o.queue(t, c)
		pass(time.Second)
		o.set(func() {
			o.offer = true
			o.weather = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/claim") {
					o.set(func() { o.offer, o.weather = false, nil })
				}
				return false
			}
		})
		pass(30 * time.Second)
		o.set(func() { o.offer = true })
		q.had(t)
		if o.ticket != 1 || len(o.claims) != 1 {
			t.Errorf("ticket %d, claims %v", o.ticket, o.claims)
		}
	})
}

// Who waits no more leaves the queue, quickly, and says why.
func TestHoldLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		q := o.queue(t, c)
		pass(15 * time.Second)
		q.cancel()
		<-q.seat
		if !errors.Is(q.err, context.Canceled) || o.left != 1 {
			t.Errorf("%v, left %d times", q.err, o.left)
		}
		q = o.queue(t, c)
		pass(15 * time.Second)
		o.set(func() { o.weather = hanging })
		q.cancel()
		began := time.Now()
		<-q.seat
		if !errors.Is(q.err, context.Canceled) || time.Since(began) > 3*time.Second {
			t.Errorf("%v after %s", q.err, time.Since(began))
		}
	})
}

// Q5: a ticket that is held on another client is not waited for.
func TestAwaitNeedsTheHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		_, err := c.Await(t.Context(), apiv1.Ticket{ID: 7, User: "ann", Client: "elsewhere"})
		if e := asError(t, err); e.Code != apiv1.CodeNotTicketHolder || e.Detail != "Ticket 7 of ann is held on client elsewhere." {
			t.Errorf("%v", err)
		}
	})
}
