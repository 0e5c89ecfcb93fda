package cluster

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// rounds are what raft reports of each round for votes and each check of a peer. A node without a majority holds
// such a round about twice a second, for as long as it takes.
var rounds = []string{
	"Election timeout reached, restarting election", "entering candidate state", "pre-vote campaign failed, waiting for election timeout",
	"pre-vote received from unknown sender", "failed to contact",
}

// repeated is what raft reports of each connection to a follower.
var repeated = []string{"pipelining replication", "aborting pipeline replication"}

// roundLog tells each of them once, when it begins; the rest is for debugging. That there is no leader, and that a
// member is out of reach, the node says itself. Safe for concurrent use.
type roundLog struct {
	hclog.Logger
	now func() time.Time

	mu   sync.Mutex
	told map[string]time.Time
}

func newRoundLog(log hclog.Logger) *roundLog {
	return &roundLog{Logger: log, now: time.Now, told: make(map[string]time.Time, len(rounds))}
}

// Warn implements hclog.Logger.
func (l *roundLog) Warn(message string, args ...any) {
	l.Log(l.level(hclog.Warn, message), message, args...)
}

// Info implements hclog.Logger.
func (l *roundLog) Info(message string, args ...any) {
	l.Log(l.level(hclog.Info, message), message, args...)
}

// level is debug for what was told within newsAfter, or always is.
func (l *roundLog) level(level hclog.Level, message string) hclog.Level {
	if slices.Contains(repeated, message) {
		return hclog.Debug
	}
	if !slices.Contains(rounds, message) {
		return level
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last, now := l.told[message], l.now()
	l.told[message] = now
	if now.Sub(last) <= newsAfter {
		return hclog.Debug
	}
	return level
}
