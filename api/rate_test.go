package api_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// rated asks without the harness: 429 is an answer of all operations, which they do not list.
func (f *fixture) rated(remote, bearer, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = remote
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if method != "GET" {
		r.Header.Set("Idempotency-Key", ulid.Make().String())
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

// refusedAs asserts a 429 with numbers, and returns after how many seconds to ask again.
func refusedAs(t *testing.T, w *httptest.ResponseRecorder, words ...string) int {
	t.Helper()
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), `"code":"rate_limited"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, word := range words {
		if !strings.Contains(w.Body.String(), word) {
			t.Errorf("%q is not in %s", word, w.Body)
		}
	}
	after, err := strconv.Atoi(w.Header().Get("Retry-After"))
	if err != nil || after < 1 {
		t.Fatalf("Retry-After is %q", w.Header().Get("Retry-After"))
	}
	return after
}

// clientToken makes an API token of a client of pool design.
func (f *fixture) clientToken(name string) string {
	f.t.Helper()
	a := f.send("POST", "/v1/tokens", map[string]any{"name": name, "role": "client", "pools": []string{"design"}}).want(201)
	return into[apiv1.Token](a).Token
}

func newRatedFixture(t *testing.T) (f *fixture, one, two string) {
	f, _ = newSampleFixture(t)
	one, two = f.clientToken("one"), f.clientToken("two")
	f.meter.refused = nil
	return f, one, two
}

func (f *fixture) setRates(r api.Rates) { f.handler.(*api.Handler).SetRates(r) }

func TestPrincipalsAreRated(t *testing.T) {
	f, one, two := newRatedFixture(t)
	// So slow that nothing comes back while the test runs.
	f.setRates(api.Rates{Principal: api.Rate{PerSecond: 1, Burst: 3}})
	self := func(bearer, remote string) *httptest.ResponseRecorder {
		return f.rated(remote, bearer, "GET", "/v1/tokens/self", "")
	}
	for i := range 3 {
		if w := self(one, fmt.Sprintf("192.0.2.%d:1", i)); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if after := refusedAs(t, self(one, "192.0.2.9:1"), "token-", "1 requests a second", "3 at once", "again in 1 s"); after != 1 {
		t.Errorf("Retry-After %d", after)
	}
	if w := self(two, "192.0.2.9:1"); w.Code != 200 {
		t.Errorf("another token: %d %s", w.Code, w.Body)
	}
	for range 5 {
		if w := self(token, "192.0.2.9:1"); w.Code != 200 {
			t.Fatalf("the operator of the node's file: %d %s", w.Code, w.Body)
		}
	}
	if !slices.Equal(f.meter.refused, []string{"rate_principal"}) {
		t.Errorf("%v", f.meter.refused)
	}
	f.setRates(api.Rates{})
	if w := self(one, "192.0.2.9:1"); w.Code != 200 {
		t.Errorf("without limits: %d %s", w.Code, w.Body)
	}
}

// A bulk counts its items; one that is larger than all that may come at once takes all that there is.
func TestBulkIsRatedByItems(t *testing.T) {
	f, one, two := newRatedFixture(t)
	f.setRates(api.Rates{Principal: api.Rate{PerSecond: 1, Burst: 10}})
	bulk := func(bearer string, n int) *httptest.ResponseRecorder {
		item := `{"check_in":{"lease":9999,"handle":"x"}}`
		return f.rated("192.0.2.1:1", bearer, "POST", "/v1/bulk", `{"items":[`+strings.Repeat(item+",", n-1)+item+`]}`)
	}
	if w := bulk(one, 8); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	before := f.node.proposals
	if after := refusedAs(t, bulk(one, 8)); after < 5 {
		t.Errorf("Retry-After %d", after)
	}
	if f.node.proposals != before {
		t.Error("a refused bulk was proposed")
	}
	if w := bulk(two, 11); w.Code != 200 {
		t.Errorf("larger than the burst: %d %s", w.Code, w.Body)
	}
}

// Addresses are rated before anything is looked at, a /64 as one, the own machine and health not at all.
func TestAddressesAreRated(t *testing.T) {
	f, one, _ := newRatedFixture(t)
	for _, x := range []struct{ first, same, other string }{
		{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"},
		{"[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::9]:1", "[2001:db8:1:3::1]:1"},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:9", "192.0.2.3:1"},
	} {
		f.setRates(api.Rates{})
		f.setRates(api.Rates{Address: api.Rate{PerSecond: 1, Burst: 2}})
		ask := func(remote, path string) *httptest.ResponseRecorder { return f.rated(remote, one, "GET", path, "") }
		ask(x.first, "/v1/status")
		ask(x.first, "/no/such/path")
		refusedAs(t, ask(x.same, "/v1/status"), "1 requests a second")
		for _, path := range []string{"/healthz", "/readyz"} {
			if w := ask(x.same, path); w.Code != 200 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
		for _, remote := range []string{x.other, "127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:1", "[::1]:1", "[::1]:1", "[::1]:1"} {
			if w := ask(remote, "/v1/status"); w.Code != 200 {
				t.Errorf("%s: %d %s", remote, w.Code, w.Body)
			}
		}
		r := httptest.NewRequest("GET", "/v1/status", nil)
		r.RemoteAddr = x.same
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		r.Header.Set("Forwarded", "for=198.51.100.7")
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, r)
		refusedAs(t, w)
	}
}

// Who guesses tokens gets no answer about those that people choose, not even the right one; API tokens of the same site go on.
func TestGuessingIsSlow(t *testing.T) {
	f, one, _ := newRatedFixture(t)
	f.setRates(api.Rates{Unknown: api.Rate{PerSecond: 1, Burst: 4}})
	guess := func(remote, bearer string) *httptest.ResponseRecorder {
		return f.rated(remote, bearer, "GET", "/v1/tokens/self", "")
	}
	const there = "127.0.0.1:1"
	for i := range 4 {
		if w := guess(there, fmt.Sprint("guess", i)); w.Code != 401 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	reads := f.node.reads()
	wrong := refusedAs(t, guess(there, "another guess"), "without a valid token", "4 at once")
	if right := refusedAs(t, guess(there, token)); right != wrong {
		t.Errorf("Retry-After tells a right token, %d, from a wrong one, %d", right, wrong)
	}
	refusedAs(t, guess(there, ""))
	unseen := fsm.TokenText(f.node.View().LastToken()+1, make([]byte, 32))
	refusedAs(t, guess(there, unseen))
	if f.node.reads() != reads {
		t.Error("the node caught up with the cluster for a guess")
	}
	if w := guess(there, one); w.Code != 200 {
		t.Errorf("an API token from there: %d %s", w.Code, w.Body)
	}
	if w := guess("192.0.2.1:1", token); w.Code != 200 {
		t.Errorf("from elsewhere: %d %s", w.Code, w.Body)
	}
	if !slices.Equal(f.meter.refused, slices.Repeat([]string{"rate_unknown"}, 4)) {
		t.Errorf("%v", f.meter.refused)
	}
}

// However many ask, the node remembers so many of them.
func TestBudgetsAreBounded(t *testing.T) {
	f, one, _ := newRatedFixture(t)
	f.setRates(api.Rates{Address: api.Rate{PerSecond: 1, Burst: 1}})
	for i := range 2 * api.MaxRated {
		f.rated(fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>8, i&255), one, "GET", "/no/such/path", "")
	}
	if n := api.Rated(f.handler); n != api.MaxRated {
		t.Errorf("%d addresses are remembered instead of %d", n, api.MaxRated)
	}
}

// A principal, or an address, can't have all places of those that wait.
func TestWaitsOfOneAreBounded(t *testing.T) {
	f, _, two, _ := newQueueFixture(t)
	path := fmt.Sprintf("/v1/tickets/%d?wait=1", two.ID)
	for name, who := range map[string]func(i int) (actor, remote string){
		"of operator":       func(i int) (string, string) { return "operator", fmt.Sprintf("198.51.100.%d:1", i) },
		"address 192.0.2.1": func(i int) (string, string) { return fmt.Sprint("token-", i), "192.0.2.1:1" },
	} {
		f.meter.refused = nil
		leave := api.FillWaiters(f.handler, api.DefaultMaxWaitsEach, who)
		a := f.get(path).want(503)
		if a.refused(apiv1.CodeOverloaded); !strings.Contains(string(a.body), name) || !slices.Equal(f.meter.refused, []string{"waits"}) {
			t.Errorf("%s: %s, %v", name, a, f.meter.refused)
		}
		leave()
		f.do(request{method: "GET", path: path}.with("Licet-Timeout-Ms", "20")).want(200)
	}
}

// What the limits cost a request that they let pass: no allocation, after the first of whoever asks.
func TestAllocationsOfLimits(t *testing.T) {
	if n := api.AllocationsOfLimits("192.0.2.1:1", "token-7"); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
	if n := api.AllocationsOfLimits("[2001:db8::1]:1", "cert-desk"); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}

// Connections beyond the bounds are closed at once; those that end make room.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	meter := new(fakeMeter)
	const most, each = 3, 2
	l := api.Connections{Most: most, Each: each, Meter: meter, Log: hclog.NewNullLogger()}.Listen(inner)
	t.Cleanup(func() { _ = l.Close() })
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	admitted := func(c net.Conn) net.Conn {
		t.Helper()
		select {
		case there := <-accepted:
			return there
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not accepted", c.LocalAddr())
			return nil
		}
	}
	refused := func(c net.Conn, kind string) {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if got := meter.last(); got != kind {
			t.Errorf("refused as %q instead of %q", got, kind)
		}
	}
	first := admitted(dial("127.0.0.1"))
	admitted(dial("127.0.0.1"))
	refused(dial("127.0.0.1"), "connections_of_address")
	admitted(dial("127.0.0.2"))
	refused(dial("127.0.0.3"), "connections")
	for range 2 {
		_ = first.Close()
	}
	admitted(dial("127.0.0.3"))
	refused(dial("127.0.0.4"), "connections")
}
