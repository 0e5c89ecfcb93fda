package cluster

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// newsAfter is how long a failure has to stay away to be told again.
const newsAfter = time.Minute

// peerLog is raft's log. Raft reports each message that a peer did not take as an
// error: every heartbeat while it is down. Here that is one warning when it begins
// or its reason changes, and the rest is for debugging. What is not about a peer passes.
// Safe for concurrent use.
type peerLog struct {
	hclog.Logger
	now func() time.Time

	mu sync.Mutex
	// told is the last failure by message and peer.
	told map[string]told
}

type told struct {
	reason string
	at     time.Time
}

func newPeerLog(log hclog.Logger) *peerLog {
	return &peerLog{Logger: log, now: time.Now, told: map[string]told{}}
}

// Error implements hclog.Logger.
func (l *peerLog) Error(message string, args ...any) {
	peer, reason := failureOf(args)
	switch {
	case peer == "" || reason == "":
		l.Logger.Error(message, args...)
	case l.isNews(message+" "+peer, reason):
		l.Logger.Warn(message, args...)
	default:
		l.Logger.Debug(message, args...)
	}
}

func (l *peerLog) isNews(what, reason string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, now := l.told[what], l.now()
	l.told[what] = told{reason, now}
	return last.reason != reason || now.Sub(last.at) > newsAfter
}

// failureOf finds which peer a line of raft's log is about, and why it failed; what
// else it says, such as pauses and terms, is another each time.
func failureOf(args []any) (peer, reason string) {
	for i := 0; i+1 < len(args); i += 2 {
		switch value := args[i+1]; args[i] {
		case "peer", "target":
			peer = fmt.Sprint(value)
		case "error":
			reason = fmt.Sprint(value)
			var op *net.OpError
			if err, ok := value.(error); ok && errors.As(err, &op) {
				// Without the local port, which is another each time.
				reason = op.Op + ": " + op.Err.Error()
			}
		}
	}
	return peer, reason
}
