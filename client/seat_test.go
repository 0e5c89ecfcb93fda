package client_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// K2, K3: a seat renews itself, each time in good time, until it is closed.
func TestSeatRenewsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		s := o.hold(t, c)
		for range 600 {
			pass(time.Second)
			if left := get(o, func() time.Duration { return time.Until(o.ends) }); left < 18*time.Second {
				t.Fatalf("%s left of 30 s", left)
			}
		}
		mustHeld(t, s, "after ten minutes")
		if n := get(o, func() int { return distinct(o.renewals) }); n < 58 || n > 72 {
			t.Errorf("%d renewals in 600 s, want one each 10 s at most a little sooner", n)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil || !errors.Is(s.Err(), client.ErrReturned) || s.Context().Err() == nil {
			t.Errorf("closed: %v, %v", err, s.Err())
		}
		renewals := len(o.renewals)
		pass(time.Hour)
		if get(o, func() int { return len(o.renewals) }) != renewals || len(o.returned) != 1 {
			t.Errorf("after its return it was renewed, or returned again: %v", o.returned)
		}
	})
}

// The holder knows a tenth of the TTL before the cluster may give the seat away, whenever the network goes, and however.
func TestSeatIsLostInTime(t *testing.T) {
	for name, weather := range map[string]func(http.ResponseWriter, *http.Request) bool{"hangs up": dead, "hangs": hanging} {
		for gone := time.Duration(0); gone < 12*time.Second; gone += 777 * time.Millisecond {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(10 * time.Second)
				c, _ := o.open(t)
				s := o.hold(t, c)
				pass(gone)
				o.set(func() { o.weather = weather })
				left := o.ends.Sub(mustLose(t, s, 10*time.Second))
				if left < time.Second || left > 1100*time.Millisecond {
					t.Errorf("the network %s after %s: the seat is lost %s before its end, want 1 s", name, gone, left)
				}
				if !errors.Is(s.Err(), client.ErrLost) || !strings.Contains(s.Err().Error(), "was not renewed in time: ") || client.CodeOf(s.Err()) == "" {
					t.Errorf("%v", s.Err())
				}
				before := time.Now()
				if err := s.Close(); err != nil || time.Since(before) > time.Second {
					t.Errorf("closing what is lost: %v after %s", err, time.Since(before))
				}
			})
		}
	}
}

// The TTL counts from the moment the renewal was sent: an answer that comes late makes nothing longer.
func TestSeatCountsFromSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		s := o.hold(t, c)
		o.set(func() {
			o.weather = func(w http.ResponseWriter, r *http.Request) bool {
				answer := o.decide(r)
				pass(4 * time.Second)
				answer(w, r)
				return true
			}
		})
		for get(o, func() int { return len(o.renewals) }) < 3 {
			pass(100 * time.Millisecond)
		}
		pass(5 * time.Second)
		o.set(func() { o.weather = hanging })
		if left := o.ends.Sub(mustLose(t, s, 30*time.Second)); left < 3*time.Second {
			t.Errorf("lost %s before its end, want 3 s", left)
		}
	})
}

// A machine that slept for longer than the TTL has lost its seats, though for its timers no time has passed.
func TestSeatIsLostAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, slept := o.open(t)
		s := o.hold(t, c)
		pass(3 * time.Second)
		synctest.Wait()
		slept.Add(int64(15 * time.Second))
		pass(1100 * time.Millisecond)
		mustHeld(t, s, "after a nap")
		if n := get(o, func() int { return len(o.renewals) }); n != 1 {
			t.Errorf("%d renewals right after a nap, want 1", n)
		}
		slept.Add(int64(time.Hour))
		woke := time.Now()
		if late := mustLose(t, s, time.Minute).Sub(woke); late > time.Second {
			t.Errorf("lost %s after waking", late)
		}
	})
}

// E2: a renewal whose outcome is unknown is repeated with the same request id until it is known, and counts from its first sending.
func TestSeatRepeatsUnknownRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(120 * time.Second)
		c, _ := o.open(t)
		s := o.hold(t, c)
		var keys []string
		o.set(func() {
			o.weather = func(w http.ResponseWriter, r *http.Request) bool {
				o.decide(r)
				o.set(func() { keys = append(keys, r.Header.Get("Idempotency-Key")) })
				broken(w, r)
				return true
			}
		})
		pass(90 * time.Second)
		o.set(func() { o.weather = nil })
		pass(5 * time.Second)
		mustHeld(t, s, "after fifty seconds without an answer")
		o.set(func() {
			if len(keys) < 10 || distinct(keys) != 1 || distinct(o.renewals) != 2 {
				t.Errorf("%d attempts with %d request ids, then %d renewals were carried out", len(keys), distinct(keys), distinct(o.renewals))
			}
		})
		// The repetition told of a renewal of long ago, so a new one followed at once.
		if left := time.Until(o.ends); left < 110*time.Second {
			t.Errorf("%s left", left)
		}
	})
}

// K2: a lease that has ended is lost at the next renewal, and with the cluster's own words.
func TestSeatThatEndedIsLost(t *testing.T) {
	for _, code := range []string{"lease_ended", "lease_not_found", "not_holder"} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(30 * time.Second)
			c, _ := o.open(t)
			s := o.hold(t, c)
			o.set(func() {
				o.weather = func(w http.ResponseWriter, r *http.Request) bool {
					problem(410, code)(w, r)
					return true
				}
			})
			mustLose(t, s, 10*time.Second)
			if !errors.Is(s.Err(), client.ErrLost) || client.CodeOf(s.Err()) != apiv1.Code(code) || !errors.Is(context.Cause(s.Context()), client.ErrLost) {
				t.Errorf("%v", s.Err())
			}
			if err := s.Close(); err != nil || len(o.returned) > 0 {
				t.Errorf("closing: %v, returned %v", err, o.returned)
			}
		})
	}
}

// A refusal that is not about the lease may be mended by somebody: the renewal is asked for again, under another id.
func TestSeatOutlivesARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(60 * time.Second)
		c, _ := o.open(t)
		s := o.hold(t, c)
		var keys []string
		o.set(func() {
			o.weather = func(w http.ResponseWriter, r *http.Request) bool {
				o.set(func() { keys = append(keys, r.Header.Get("Idempotency-Key")) })
				problem(401, "unauthorized")(w, r)
				return true
			}
		})
		pass(40 * time.Second)
		mustHeld(t, s, "while its token is refused")
		o.set(func() { o.weather = nil })
		pass(60 * time.Second)
		mustHeld(t, s, "after its token is good again")
		if len(keys) < 5 || distinct(keys) != len(keys) || len(keys) > 40 {
			t.Errorf("%d attempts with %d request ids", len(keys), distinct(keys))
		}
		o.set(func() {
			o.weather = func(w http.ResponseWriter, r *http.Request) bool {
				problem(401, "unauthorized")(w, r)
				return true
			}
		})
		mustLose(t, s, time.Minute)
		if client.CodeOf(s.Err()) != apiv1.CodeUnauthorized {
			t.Errorf("%v", s.Err())
		}
	})
}

// Any node may be down, or hang, without the holder noticing.
func TestSeatOutlivesNodes(t *testing.T) {
	for name, bad := range map[string]func(http.ResponseWriter, *http.Request) bool{"down": dead, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOffice(10 * time.Second)
				c, _ := o.open(t)
				s := o.hold(t, c)
				for i := range 12 {
					o.set(func() { o.weather = only(bad, hosts[i%3], hosts[(i+1)%3]) })
					pass(20 * time.Second)
					mustHeld(t, s, "with two nodes of three "+name)
				}
				if err := s.Close(); err != nil || len(o.returned) != 1 {
					t.Errorf("%v, %v", err, o.returned)
				}
			})
		})
	}
}

// T1: a connection to a project, or any seat, ends with its context, also if nobody closes it.
func TestSeatEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		ask := askAnn
		ask.Project = "bridge"
		s, err := c.Hold(client.WithRequestID(ctx, "mine"), ask)
		if err != nil {
			t.Fatal(err)
		}
		pass(25 * time.Second)
		why := errors.New("the document was closed")
		cancel(why)
		if n := get(o, func() int { return len(o.returned) }); n != 1 {
			t.Fatalf("%d returns", n)
		}
		if err := s.Close(); err != nil || !errors.Is(s.Err(), why) || len(o.returned) != 1 || o.outcomes["mine"] == nil || distinct(o.renewals) != 2 {
			t.Errorf("%v, %v, returned %v, renewed %v", err, s.Err(), o.returned, o.renewals)
		}
	})
}

// Close tells if it does not know, and does not wait without end.
func TestSeatIsClosedWithoutANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(300 * time.Second)
		c, _ := o.open(t)
		s := o.hold(t, c)
		o.set(func() { o.weather = hanging })
		// A renewal is under way, which Close does not wait for.
		pass(101 * time.Second)
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := s.Close(); client.CodeOf(err) != apiv1.CodeOutcomeUnknown || time.Since(began) > client.DefaultTimeout {
					t.Errorf("%v after %s", err, time.Since(began))
				}
			})
		}
		all.Wait()
	})
}

func TestHoldRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(30 * time.Second)
		c, _ := o.open(t)
		borrow := askAnn
		borrow.BorrowDays = 3
		if _, err := c.Hold(t.Context(), borrow); client.CodeOf(err) != apiv1.CodeBadRequest {
			t.Errorf("a borrow: %v", err)
		}
		if _, err := c.Hold(client.WithDryRun(t.Context()), askAnn); client.CodeOf(err) != apiv1.CodeBadRequest {
			t.Errorf("a dry run: %v", err)
		}
		o.weather = func(w http.ResponseWriter, r *http.Request) bool {
			fine(`{}`)(w, r)
			return true
		}
		if _, err := c.Hold(t.Context(), askAnn); client.CodeOf(err) != client.CodeBadAnswer {
			t.Errorf("an answer without a lease: %v", err)
		}
		o.weather = func(w http.ResponseWriter, r *http.Request) bool {
			problem(409, "pool_full")(w, r)
			return true
		}
		if _, err := c.Hold(t.Context(), askAnn); client.CodeOf(err) != apiv1.CodePoolFull {
			t.Errorf("a denial: %v", err)
		}
	})
}

func TestClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, set := time.Now(), time.Duration(0)
		steady := func() time.Duration { return time.Since(begin) }
		now := client.Guarded(steady, func() time.Time { return time.Now().Add(set) })
		for _, tt := range []struct {
			name           string
			sleep, set, by time.Duration
		}{
			{"both go on", time.Minute, 0, time.Minute},
			{"the machine slept", time.Minute, time.Hour, time.Hour + time.Minute},
			{"the wall clock was set back", time.Minute, -2 * time.Hour, time.Minute},
			{"and goes on from there", time.Minute, 0, time.Minute},
		} {
			before := now()
			set += tt.set
			pass(tt.sleep)
			if got := now() - before; got != tt.by {
				t.Errorf("%s: %s passed, want %s", tt.name, got, tt.by)
			}
		}
	})
	// The machine's own goes on by itself.
	own := client.NewClock()
	for first := own(); own() == first; {
		runtime.Gosched()
	}
}
