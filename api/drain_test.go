package api_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
)

// TestDrain: who waits for a ticket is answered at once, who comes now is sent away, and what tells of the node stays.
func TestDrain(t *testing.T) {
	f, _, two, _ := newQueueFixture(t)
	h := f.handler.(*api.Handler)
	answered := make(chan *httptest.ResponseRecorder)
	calls := f.node.reads()
	waits := request{method: "GET", path: fmt.Sprintf("/v1/tickets/%d?wait=60", two.ID)}.http(t.Context())
	go func() {
		w := httptest.NewRecorder()
		f.handler.ServeHTTP(w, waits)
		answered <- w
	}()
	f.node.waitReads(t, calls+2)
	began := time.Now()
	h.Drain()
	h.Drain()
	select {
	case w := <-answered:
		if w.Code != 200 || time.Since(began) > 10*time.Second {
			t.Errorf("after %s who waited was answered %d %s", time.Since(began), w.Code, w.Body)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("who waited is not answered")
	}
	for _, id := range []string{"getPool", "checkout", "listMembers", "getReadiness", "getProfile"} {
		a := f.do(samples[id]).want(503)
		a.refused(apiv1.CodeShuttingDown)
		if after := a.header.Get("Retry-After"); after != "1" || a.header.Get("Connection") != "close" {
			t.Errorf("%s: Retry-After %q, Connection %q", id, after, a.header.Get("Connection"))
		}
	}
	for _, id := range []string{"getHealth", "getStatus", "getDocument"} {
		f.do(samples[id]).want(200)
	}
}
