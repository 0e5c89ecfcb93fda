package cluster

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// timedOut is a read that timed out, from another local port each time.
func timedOut(port int) error {
	return &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{Port: port}, Err: errors.New("i/o timeout")}
}

func TestPeerLog(t *testing.T) {
	const heartbeat = "failed to heartbeat to"
	down := errors.New("connection refused")
	var out bytes.Buffer
	now := time.Now()
	l := newPeerLog(hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out, DisableTime: true}))
	l.news.now = func() time.Time { return now }
	for _, c := range []struct {
		name    string
		message string
		args    []any
		after   time.Duration
		want    string
	}{
		{"the first", heartbeat, []any{"peer", "lyon:1", "backoff time", time.Second, "error", down}, 0, "[WARN]"},
		{"a repeat with another pause", heartbeat, []any{"peer", "lyon:1", "backoff time", time.Minute, "error", down}, time.Second, ""},
		{"another peer", heartbeat, []any{"peer", "paris:1", "error", down}, 0, "[WARN]"},
		{"another message", "failed to make requestVote RPC", []any{"target", "lyon:1", "error", down, "term", 7}, 0, "[WARN]"},
		{"the same in another term", "failed to make requestVote RPC", []any{"target", "lyon:1", "error", down, "term", 8}, 0, ""},
		{"another reason", heartbeat, []any{"peer", "lyon:1", "error", timedOut(1)}, 0, "[WARN]"},
		{"the same from another port", heartbeat, []any{"peer", "lyon:1", "error", timedOut(2)}, 50 * time.Second, ""},
		{"a repeat counts from the last", heartbeat, []any{"peer", "lyon:1", "error", timedOut(3)}, 50 * time.Second, ""},
		{"after a pause", heartbeat, []any{"peer", "lyon:1", "error", timedOut(4)}, 2 * time.Minute, "[WARN]"},
		{"about no peer", "failed to commit logs", []any{"error", down}, 0, "[ERROR]"},
		{"about no peer, again", "failed to commit logs", []any{"error", down}, 0, "[ERROR]"},
		{"of no reason", "peer has newer term, stopping replication", []any{"peer", "lyon:1"}, 0, "[ERROR]"},
	} {
		now = now.Add(c.after)
		out.Reset()
		l.Error(c.message, c.args...)
		if got := out.String(); (c.want == "") != (got == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want level %q", c.name, got, c.want)
		}
	}
}
