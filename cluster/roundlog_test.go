package cluster

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A node that is cut off for an hour says so once, not seven thousand times; what is no round is told each time.
func TestRoundLog(t *testing.T) {
	var out bytes.Buffer
	now := time.Now()
	l := newRoundLog(hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out, DisableTime: true}))
	l.now = func() time.Time { return now }
	for range 3600 {
		l.Warn("Election timeout reached, restarting election")
		l.Info("entering candidate state", "term", 3)
		now = now.Add(time.Second)
	}
	l.Warn("heartbeat timeout reached, starting election")
	l.Warn("heartbeat timeout reached, starting election")
	l.Info("pipelining replication", "peer", "lyon")
	now = now.Add(2 * time.Minute)
	l.Warn("Election timeout reached, restarting election")
	got := strings.Count(out.String(), "\n")
	if got != 5 || strings.Count(out.String(), "[INFO]") != 1 {
		t.Errorf("%d lines:\n%s", got, out.String())
	}
}

// The node says once that a member is out of reach, or that there is no leader, and once that it is over.
func TestEventsAreToldOnce(t *testing.T) {
	var out bytes.Buffer
	n := &Node{log: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out, DisableTime: true})}
	lyon, back := []Peer{{ID: "lyon"}, {ID: "paris", Reachable: true}}, []Peer{{ID: "lyon", Reachable: true}, {ID: "paris", Reachable: true}}
	var before []Peer
	for _, seen := range [][]Peer{back, back, lyon, lyon, lyon, back, back} {
		n.tellPeers(before, seen)
		before = seen
	}
	for _, id := range []string{"lyon", "", "paris"} {
		n.tellLeader(id, 1500*time.Millisecond)
	}
	want := []string{
		"[WARN]  a member is out of reach: member=lyon", "[INFO]  a member answers again: member=lyon",
		"[INFO]  there is a leader: leader=lyon", "[WARN]  no leader is known, so that nothing can be written", "[INFO]  there is a leader: leader=paris",
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q instead of %q", got[i], want[i])
		}
	}
}
