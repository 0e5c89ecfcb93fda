package api_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// fakeMeter remembers what it is told, and fails as its node does.
type fakeMeter struct {
	node *fakeNode

	mu       sync.Mutex
	underway int
	served   []string
	refused  []string
	// hold keeps Text from returning until it is closed, entered tells that it was called; both may be nil.
	hold, entered chan struct{}
}

func (m *fakeMeter) Began() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.underway++
}

func (m *fakeMeter) Served(route string, status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.underway--
	if took <= 0 {
		route += " in no time"
	}
	m.served = append(m.served, fmt.Sprintf("%s %d", route, status))
}

func (m *fakeMeter) Refused(kind string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, kind)
}

// last is what was refused last.
func (m *fakeMeter) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused[len(m.refused)-1]
}

func (m *fakeMeter) Text() ([]byte, error) {
	if m.hold != nil {
		m.entered <- struct{}{}
		<-m.hold
	}
	return []byte("licet_ready 1\n"), m.node.fault(context.Background(), "metrics")
}

// Every exchange is noted once, under its route in the document and not under what a client makes up.
func TestExchangesAreMeasured(t *testing.T) {
	f, all := newSampleFixture(t)
	f.meter.served = nil
	f.do(all["getInstance"]).want(200)
	f.do(request{method: "GET", path: "/v1/instances/99"}).want(404)
	f.do(request{method: "GET", path: "/v1/made-up"}.bad()).want(404)
	f.do(request{method: "PUT", path: "/v1/status"}.bad()).want(405)
	f.do(request{method: "GET", path: "/v1/status"}.with("Authorization", "Bearer no")).want(401)
	f.node.panics = true
	f.do(all["getStatus"]).want(500)
	want := []string{"GET /v1/instances/{serial} 200", "GET /v1/instances/{serial} 404", " 404", " 405", "GET /v1/status 401", "GET /v1/status 500"}
	if !slices.Equal(f.meter.served, want) || f.meter.underway != 0 {
		t.Errorf("%d under way, served %q, want %q", f.meter.underway, f.meter.served, want)
	}
}

func TestMetricsToken(t *testing.T) {
	f, all := newSampleFixture(t)
	limited := func(r request) request { return r.with("Authorization", "Bearer "+scrapeToken) }
	if a := f.do(limited(all["getMetrics"])).want(200); string(a.body) != "licet_ready 1\n" || a.header.Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("%q, %v", a.body, a.header)
	}
	f.do(all["getMetrics"]).want(200)
	anonymous := all["getMetrics"]
	anonymous.anonymous = true
	f.do(anonymous).refused(apiv1.CodeUnauthorized)
	for id, r := range all {
		if id == "getMetrics" || r.anonymous {
			continue
		}
		if p := f.do(limited(r)).want(403).refused(apiv1.CodeForbidden); !strings.Contains(p.Detail, "metrics") {
			t.Errorf("%s: %s", id, p.Detail)
		}
	}
}

// Scrapes beyond the bound are refused at once, and the bound is given back.
func TestScrapesAreBounded(t *testing.T) {
	f, all := newSampleFixture(t)
	f.meter.hold, f.meter.entered = make(chan struct{}), make(chan struct{}, 3)
	release := sync.OnceFunc(func() { close(f.meter.hold) })
	// Where there is no bound, the third one would wait for ever.
	defer time.AfterFunc(10*time.Second, release).Stop()
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() { f.handler.ServeHTTP(httptest.NewRecorder(), all["getMetrics"].http(t.Context())) })
		<-f.meter.entered
	}
	f.do(all["getMetrics"]).refused(apiv1.CodeOverloaded)
	release()
	running.Wait()
	f.meter.hold = nil
	f.do(all["getMetrics"]).want(200)
}
