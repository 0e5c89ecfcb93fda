package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// FillWaiters has so many wait, for nothing. Who is the actor and address of each.
func FillWaiters(h http.Handler, n int, who func(i int) (actor, remote string)) (leave func()) {
	s := h.(*Handler).service
	var all []func()
	for i := range n {
		actor, remote := who(i)
		_, out, full := s.waiters.join(s, &call{Request: &http.Request{RemoteAddr: remote}, actor: actor}, func(*fsm.View) bool { return false })
		if full != nil {
			panic(full)
		}
		all = append(all, out)
	}
	return func() {
		for _, out := range all {
			out()
		}
	}
}

// Routes are all served operations as "METHOD path".
func Routes() []string {
	var list []string
	for _, rt := range routes {
		list = append(list, rt.method+" "+rt.path)
	}
	return list
}

// KnownCodes are all codes that have a status.
func KnownCodes() []string {
	var list []string
	for code := range statuses {
		list = append(list, string(code))
	}
	return list
}

// StatusOf is a code's status.
func StatusOf(code apiv1.Code) int { return statuses[code] }

// MaxRated is how many addresses are remembered.
const MaxRated = maxRated

// Rated is how many are.
func Rated(h http.Handler) int { return h.(*Handler).service.limits.Load().addresses.all.Len() }

// AllocationsOfLimits is what it costs to find a request within its limits.
func AllocationsOfLimits(remote, actor string) float64 {
	many := Rate{1_000_000, 1_000_000}
	l := newLimits(Rates{many, many, many})
	return testing.AllocsPerRun(100, func() {
		from, now := PrefixOf(remote), time.Now()
		l.addresses.take(from, 1, now)
		l.unknown.spent(from, now)
		l.principals.take(actor, 1, now)
	})
}

// WaitProfile returns once a CPU profile is being taken.
func WaitProfile(ctx context.Context, h http.Handler) {
	for Waiting(h) == 0 {
		pause(ctx, time.Millisecond)
	}
}

// Waiting is how many requests count as waiting.
func Waiting(h http.Handler) int {
	w := &h.(*Handler).service.waiters
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.places
}
