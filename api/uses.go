package api

import (
	"context"
	"slices"
	"sync"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

const (
	// usesAtOnce is how many tokens one command notes the use of.
	usesAtOnce = 500
	// retryUseMs is how long after an attempt to note a use the next one is made, in milliseconds.
	retryUseMs = 60_000
)

// uses has the state note when tokens are used: each at most once an hour, many with one command, and none while nobody
// asks (rule D4). No request waits for it. Safe for concurrent use.
type uses struct {
	mu sync.Mutex
	// tried are the wall times of the last attempts, by the tokens' numbers.
	tried   map[uint64]int64
	pending []uint64
	running bool
}

// note is called with each use of a token. It locks only when there is something to note.
func (u *uses) note(s *service, token *fsm.Token) {
	now := s.Node.Wall().UnixMilli()
	if now-token.UsedMs < fsm.TokenUseStep {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if tried, ok := u.tried[token.ID]; ok && now-tried < retryUseMs || len(u.pending) >= usesAtOnce || s.draining() {
		return
	}
	if u.tried == nil || len(u.tried) >= fsm.MaxTokens {
		u.tried = make(map[uint64]int64)
	}
	u.tried[token.ID] = now
	u.pending = append(u.pending, token.ID)
	if !u.running {
		u.running = true
		go u.flush(s)
	}
}

// flush proposes what is pending until nothing is. What fails is noted with a later use.
func (u *uses) flush(s *service) {
	for {
		u.mu.Lock()
		batch := u.pending
		u.pending = nil
		u.running = len(batch) > 0
		u.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		slices.Sort(batch)
		ctx, cancel := context.WithTimeout(context.Background(), s.RequestTimeout)
		err := s.Node.Note(ctx, &fsmpb.Body{Kind: &fsmpb.Body_NoteTokenUses{NoteTokenUses: &fsmpb.NoteTokenUses{Tokens: batch}}})
		cancel()
		if err != nil {
			s.Log.Debug("uses of tokens were not noted", "tokens", len(batch), "error", err)
		}
	}
}
