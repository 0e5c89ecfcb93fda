package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
)

// Without the option there are none, also for operators; whoever is nobody does not learn that.
func TestProfilesAreOff(t *testing.T) {
	f := newFixture(t)
	var err error
	f.handler, err = api.New(api.Options{Node: f.node, Tokens: []api.Token{api.NewToken("operator", token)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"profile", "heap", "allocs", "goroutine"} {
		r := request{method: "GET", path: "/debug/pprof/" + name}
		if p := f.do(r).want(404).refused(apiv1.CodeProfilingOff); !strings.Contains(p.Next, "http.profiling: true") {
			t.Errorf("%s: %+v", name, p)
		}
		r.anonymous = true
		f.do(r).want(401).refused(apiv1.CodeUnauthorized)
	}
}

// Each of them is one that pprof reads: packed, and with the names of functions.
func TestProfiles(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"profile?seconds=1", "heap", "allocs", "goroutine"} {
		a := f.get("/debug/pprof/" + path).want(200)
		r, err := gzip.NewReader(bytes.NewReader(a.body))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text, err := io.ReadAll(r)
		if err != nil || path == "goroutine" && !bytes.Contains(text, []byte("TestProfiles")) {
			t.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}
	for path, word := range map[string]string{
		"heap?seconds=5": "only profile takes time", "symbol": "none of profile, allocs, goroutine, heap", "cmdline": "none of", "profile?seconds=61": "60", "profile?seconds=0": "60",
	} {
		if p := f.do(request{method: "GET", path: "/debug/pprof/" + path}.bad()).want(400).refused(apiv1.CodeBadRequest); !strings.Contains(p.Detail, word) {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
}

// One is taken at a time, it counts as a request that waits, and it ends with its request or with the server.
func TestProfilesAreBounded(t *testing.T) {
	f := newFixture(t)
	cpu := request{method: "GET", path: "/debug/pprof/profile?seconds=60"}
	leave := api.FillWaiters(f.handler, api.DefaultMaxWaitsEach, func(int) (string, string) { return "operator", "198.51.100.1:1" })
	if p := f.do(cpu).want(503).refused(apiv1.CodeOverloaded); !strings.Contains(p.Detail, "250 requests of operator") {
		t.Errorf("%+v", p)
	}
	f.get("/debug/pprof/heap").want(200)
	leave()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run := func() <-chan *reply {
		done := make(chan *reply, 1)
		w, r := httptest.NewRecorder(), cpu.http(ctx)
		go func() {
			f.handler.ServeHTTP(w, r)
			done <- &reply{t: t, request: cpu, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		}()
		api.WaitProfile(t.Context(), f.handler)
		return done
	}
	ended := func(done <-chan *reply) *reply {
		t.Helper()
		select {
		case a := <-done:
			return a
		case <-time.After(30 * time.Second):
			t.Fatal("the profile does not end")
			return nil
		}
	}
	first := run()
	for _, name := range []string{"profile", "heap"} {
		a := f.get("/debug/pprof/" + name).want(503)
		if p := a.refused(apiv1.CodeOverloaded); a.header.Get("Retry-After") == "" || !strings.Contains(p.Detail, "one at a time") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if n := api.Waiting(f.handler); n != 1 {
		t.Errorf("%d requests count as waiting", n)
	}
	cancel()
	a := ended(first)
	a.want(504).refused(apiv1.CodeTimeout)
	route, params := findRoute(cpu)
	f.checkAnswer(a, route, params)
	if n := api.Waiting(f.handler); n != 0 {
		t.Errorf("%d requests count as waiting", n)
	}
	// Less time than the profile takes has it end early.
	f.do(cpu.with("Licet-Timeout-Ms", "40")).want(200)
	ctx = t.Context()
	last := run()
	f.handler.(*api.Handler).Drain()
	ended(last).want(200)
}

// A profile that something else in the process takes goes on, and this one is refused.
func TestProfileBesideAnother(t *testing.T) {
	f := newFixture(t)
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Fatal(err)
	}
	f.get("/debug/pprof/profile?seconds=1").want(503).refused(apiv1.CodeOverloaded)
	if err := pprof.StartCPUProfile(io.Discard); err == nil {
		t.Error("the other one has ended")
	}
	pprof.StopCPUProfile()
	f.get("/debug/pprof/profile?seconds=1").want(200)
}
