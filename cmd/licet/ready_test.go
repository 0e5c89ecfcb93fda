package main

import (
	"strings"
	"testing"
)

// TestReady: a health check needs no token, and one node that does not serve is one too many.
func TestReady(t *testing.T) {
	serves := newFake(t, 200, `{"status":"ok"}`)
	lost := newFake(t, 503, `{"type":"t","title":"T","status":503,"detail":"It knows no leader.","code":"no_leader","request_id":"X","next":"Wait."}`)
	got := run(t, []string{"LICET_ENDPOINTS=" + serves.URL}, "ready")
	if got.code != exitOK || got.out != serves.URL+" serves\n" {
		t.Errorf("of a node that serves: %+v", got)
	}
	got = run(t, []string{"LICET_ENDPOINTS=" + serves.URL}, "ready", "-o", "json")
	if got.code != exitOK || strings.TrimSpace(got.out) != `{"ready":["`+serves.URL+`"]}` {
		t.Errorf("as JSON: %+v", got)
	}
	got = run(t, []string{"LICET_ENDPOINTS=" + serves.URL + "," + lost.URL}, "ready", "--timeout", "1s")
	if got.code != exitUnreachable || got.out != "" || !strings.Contains(got.err, "It knows no leader.") {
		t.Errorf("of a node that does not serve: %+v", got)
	}
}
