package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// poolFake has a pool that somebody else enlarges each time that it was read, for so many times.
type poolFake struct {
	t        *testing.T
	pool     apiv1.Pool
	others   int
	matches  []string
	requests []string
}

func newPoolFake(t *testing.T, others int) (*fake, *poolFake) {
	t.Helper()
	p := &poolFake{t: t, others: others}
	if err := json.Unmarshal([]byte(poolAnswer), &p.pool); err != nil {
		t.Fatal(err)
	}
	f := newFake(t, 200, "")
	f.Config.Handler = p
	return f, p
}

func (p *poolFake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		p.answer(w, p.pool)
		if p.others > 0 {
			p.others--
			p.pool.Definition.Size++
			p.pool.Revision++
		}
		return
	}
	p.matches, p.requests = append(p.matches, r.Header.Get("If-Match")), append(p.requests, r.Header.Get("Idempotency-Key"))
	if tag := r.Header.Get("If-Match"); tag != "" && tag != fmt.Sprintf("%q", fmt.Sprint(p.pool.Revision)) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = io.WriteString(w, `{"code":"pool_changed","detail":"Pool design is at another revision.","next":"Look at it again."}`)
		return
	}
	p.pool.Definition = apiv1.PoolDefinition{}
	if err := json.NewDecoder(r.Body).Decode(&p.pool.Definition); err != nil {
		p.t.Error(err)
	}
	p.pool.Revision++
	p.answer(w, apiv1.PoolChange{Pool: p.pool})
}

func (p *poolFake) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		p.t.Error(err)
	}
}

var limitQueue = strings.Fields("pool change --name design --queue-limit 7")

// E4: what somebody else changes between reading and replacing stays.
func TestPoolChangeKeepsOthersChanges(t *testing.T) {
	f, p := newPoolFake(t, 2)
	if got := run(t, at(f.Server), limitQueue...); got.code != exitOK || !strings.Contains(got.out, "revision     1745") {
		t.Errorf("%+v", got)
	}
	if d := p.pool.Definition; d.Size != 12 || d.QueueLimit != 7 {
		t.Errorf("%+v", d)
	}
	if want := []string{`"1742"`, `"1743"`, `"1744"`}; strings.Join(p.matches, " ") != strings.Join(want, " ") || p.requests[0] == p.requests[1] {
		t.Errorf("If-Match %v, request ids %v", p.matches, p.requests)
	}
}

// Who changes a pool all the time is not fought for ever.
func TestPoolChangeGivesUp(t *testing.T) {
	f, p := newPoolFake(t, 100)
	got := run(t, at(f.Server), limitQueue...)
	if got.code != exitRefused || len(p.matches) != poolAttempts || !strings.Contains(got.err, "next: Look at it again.") {
		t.Errorf("%+v after %d attempts", got, len(p.matches))
	}
}

// Who says which revision is meant, or under which request id, decides himself what to do.
func TestPoolChangeOnce(t *testing.T) {
	for _, more := range []string{"--if-revision 1742", "--request-id one"} {
		f, p := newPoolFake(t, 1)
		got := run(t, at(f.Server), append(limitQueue, strings.Fields(more)...)...)
		if got.code != exitRefused || len(p.matches) != 1 || p.pool.Definition.QueueLimit == 7 {
			t.Errorf("%s: %+v after %d attempts", more, got, len(p.matches))
		}
	}
	f, p := newPoolFake(t, 0)
	file := []string{"pool", "change", "testdata/pool.yaml"}
	for _, c := range []struct {
		flag string
		exit int
	}{{"--if-revision=1741", exitRefused}, {"--if-revision=0", exitUsage}, {"--if-revision=x", exitUsage}, {"--if-revision=1742", exitOK}} {
		if got := run(t, at(f.Server), append(file, c.flag)...); got.code != c.exit {
			t.Errorf("%s: %+v", c.flag, got)
		}
	}
	// A file is all that the pool is to be, so that nothing is read before.
	if got := run(t, at(f.Server), file...); got.code != exitOK || p.matches[len(p.matches)-1] != "" {
		t.Errorf("%+v, If-Match %q", got, p.matches)
	}
}

// E2: the same request is one for the same revision.
func TestPoolChangeUnknown(t *testing.T) {
	f, p := newPoolFake(t, 0)
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			panic(http.ErrAbortHandler)
		}
		p.ServeHTTP(w, r)
	})
	got := run(t, append(at(f.Server), "LICET_TIMEOUT=300ms"), append(limitQueue, "--request-id", "one")...)
	if got.code != exitUnknown || !strings.Contains(got.err, "with --request-id one --if-revision 1742: it is done once at most.") {
		t.Errorf("%+v", got)
	}
}
