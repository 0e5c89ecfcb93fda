package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// queueFake answers a checkout with a ticket, which is offered seats after so many waits.
func queueFake(waits int) http.Handler {
	var mu sync.Mutex
	ticket := strings.TrimSuffix(ticketAnswer, "}")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		answer, status := ticketAnswer, 200
		switch r.Method + " " + r.URL.Path {
		case "POST /v1/checkouts":
			answer, status = `{"ticket":`+ticket+`,"handle":"secret"}}`, 202
		case "GET /v1/pools/design":
			answer = poolAnswer
		case "GET /v1/tickets/7":
			if waits--; waits < 0 {
				answer = strings.Replace(ticketAnswer, "waiting", "offered", 1)
			}
		case "POST /v1/tickets/7/claim":
			answer, status = `{"lease":`+strings.TrimSuffix(leaseAnswer, "}")+`,"handle":"secret"}}`, 201
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
}

var bob = strings.Fields("checkout design cad --user bob@acme.example --client ws-18")

// A ticket is no lease: scripts see that by the exit code.
func TestCheckoutQueues(t *testing.T) {
	f := newFake(t, 200, "")
	f.Config.Handler = queueFake(0)
	file := filepath.Join(t.TempDir(), "handle")
	got := run(t, at(f.Server), append(bob, "--queue", "--out", file)...)
	if got.code != exitQueued || !strings.Contains(got.out, "position        2") || !strings.Contains(got.err, "ticket 7 waits, 1 ahead of it, about 1m20s") || strings.Contains(got.out, "secret") {
		t.Errorf("%+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "secret\n" {
		t.Errorf("%q, %v", text, err)
	}
}

// Who waits keeps the ticket until seats are offered, and claims them.
func TestCheckoutWaits(t *testing.T) {
	f := newFake(t, 200, "")
	f.Config.Handler = queueFake(2)
	if got := run(t, at(f.Server), append(bob, "--wait", "1m")...); got.code != exitOK || !strings.Contains(got.out, "lease     42") {
		t.Errorf("%+v", got)
	}
	f.Config.Handler = queueFake(1_000_000)
	if got := run(t, at(f.Server), append(bob, "--wait", "30ms")...); got.code != exitQueued {
		t.Errorf("%+v", got)
	}
}
