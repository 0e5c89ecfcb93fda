package cluster

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/transport"
)

// newsAfter is how long a failure has to stay away to be told again.
const newsAfter = time.Minute

// peerLog is raft's log. Raft reports each message that a peer did not take as an
// error: every heartbeat while it is down. Here that is one warning when it begins
// or for another reason, and the rest is for debugging, as is what Refusals tells. What is
// not about a peer passes. Safe for concurrent use.
type peerLog struct {
	hclog.Logger
	// news is by message and peer.
	news *news
}

func newPeerLog(log hclog.Logger) *peerLog { return &peerLog{Logger: log, news: newNews()} }

// Error implements hclog.Logger.
func (l *peerLog) Error(message string, args ...any) {
	peer, reason := failureOf(args)
	switch {
	case peer == "" || reason == "":
		l.Logger.Error(message, args...)
	case refusedFor(args):
		l.Debug(message, args...)
	default:
		l.Log(l.news.level(message+" "+peer, reason), message, args...)
	}
}

// refusedFor reports whether what is logged is a certificate that one end refused.
func refusedFor(args []any) bool {
	return slices.ContainsFunc(args, func(value any) bool {
		err, _ := value.(error)
		var certificate *transport.CertificateError
		return errors.As(err, &certificate) || errors.Is(err, transport.ErrRefusedByPeer)
	})
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
