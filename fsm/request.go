package fsm

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// forgetAtOnce is how many outcomes one command forgets at most, so that a lowered
// limit is reached over many commands and none of them takes long. It is above
// one, so that the memory shrinks although each command adds to it.
const forgetAtOnce = 16

// request remembers what became of a request id (rule E1), immutable.
type request struct {
	// Key is actor and request id, see requestKey.
	Key         string
	Index       uint64
	Position    uint32
	WallMs      int64
	Fingerprint [sha256.Size]byte
	Outcome     []byte
}

func (r *request) record() *fsmpb.Record {
	actor, id, _ := strings.Cut(r.Key, "\x00")
	return &fsmpb.Record{Kind: &fsmpb.Record_Request{Request: &fsmpb.RequestRecord{
		Actor: actor, RequestId: id, Index: r.Index, Position: r.Position,
		WallMs: r.WallMs, Fingerprint: r.Fingerprint[:], Outcome: r.Outcome,
	}}}
}

func requestFromProto(p *fsmpb.RequestRecord) (*request, error) {
	if len(p.Fingerprint) != sha256.Size {
		return nil, fmt.Errorf("request %q: a fingerprint of %d bytes", p.RequestId, len(p.Fingerprint))
	}
	return &request{
		Key: requestKey(p.Actor, p.RequestId), Index: p.Index, Position: p.Position,
		WallMs: p.WallMs, Fingerprint: [sha256.Size]byte(p.Fingerprint), Outcome: p.Outcome,
	}, nil
}

// requestKey can't be ambiguous: names hold no NUL.
func requestKey(actor, id string) string { return actor + "\x00" + id }

// requestAge orders requests as the log does.
type requestAge struct {
	index    uint64
	position uint32
	key      string
}

func (a requestAge) less(b requestAge) bool {
	if a.index != b.index {
		return a.index < b.index
	}
	return a.position < b.position
}

func (r *request) age() requestAge { return requestAge{r.Index, r.Position, r.Key} }

// CheckRequestID refuses what is no request id: 1 to MaxRequestID of
// A-Z a-z 0-9 . _ : -.
func CheckRequestID(id string) error {
	if id == "" || len(id) > MaxRequestID {
		return fmt.Errorf("request id: its length of %d is not in 1 to %d", len(id), MaxRequestID)
	}
	for i := range len(id) {
		c := id[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == ':' || c == '-') {
			return fmt.Errorf("request id: %q holds more than letters, digits and . _ : -", id)
		}
	}
	return nil
}

func checkCaller(c *fsmpb.Command) error {
	if err := signed.CheckName("actor", c.Actor); err != nil {
		return err
	}
	return CheckRequestID(c.RequestId)
}

// remembered answers a request that was answered before (rule E1).
func (s *State) remembered(key string, c *fsmpb.Command) (*fsmpb.Outcome, bool) {
	known, ok := s.requests.get(key)
	if !ok {
		return nil, false
	}
	if known.WallMs < s.oldestRequest() {
		s.forget(known)
		return nil, false
	}
	if known.Fingerprint != sha256.Sum256(c.Body) {
		return s.refused(refuse(IdempotencyMismatch, "request_id", c.RequestId)), true
	}
	o := new(fsmpb.Outcome)
	if err := proto.Unmarshal(known.Outcome, o); err != nil {
		return s.refused(invalid(fmt.Errorf("the recorded outcome: %w", err))), true
	}
	o.Repeated = true
	return o, true
}

// remember records an outcome. Hints are left out: their wording differs between builds.
func (s *State) remember(key string, c *fsmpb.Command, o *fsmpb.Outcome) {
	recorded := o
	if o.Refusal.GetHint() != "" {
		recorded = clone(o)
		recorded.Refusal.Hint = ""
	}
	bytes, err := marshal.Marshal(recorded)
	if err != nil {
		panic("fsm: an outcome cannot be encoded: " + err.Error())
	}
	r := &request{
		Key: key, Index: s.index, Position: s.position,
		WallMs: s.clock.WallMs, Fingerprint: sha256.Sum256(c.Body), Outcome: bytes,
	}
	s.requests.set(&s.digest, r.Key, r)
	s.requestsAge.keys.Set(r.age())
}

// forgetRequests drops outcomes that are too old or too many, oldest first, and
// leaves room for one more.
func (s *State) forgetRequests() {
	for range forgetAtOnce {
		oldest, ok := s.requestsAge.keys.Min()
		if !ok {
			return
		}
		r, _ := s.requests.get(oldest.key)
		if r.WallMs >= s.oldestRequest() && uint64(s.requests.rows.Len()) < s.meta.Settings.RequestLimit {
			return
		}
		s.forget(r)
	}
}

func (s *State) forget(r *request) {
	s.requests.delete(&s.digest, r.Key)
	s.requestsAge.keys.Delete(r.age())
}

// oldestRequest is the wall time from which outcomes are remembered.
func (t *tables) oldestRequest() int64 {
	return t.clock.WallMs - int64(t.meta.Settings.RequestTTL)*1000
}

// Requests is how many outcomes are remembered.
func (v *View) Requests() int { return v.requests.rows.Len() }
