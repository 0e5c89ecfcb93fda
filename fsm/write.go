package fsm

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

const (
	// forgetAtOnce is how many writes one command forgets at most, so that a lowered
	// limit is reached over many commands and none of them takes long. It is above
	// one, so that the memory shrinks although each command adds to it.
	forgetAtOnce = 16
	// maxKeptBody is the longest body that the audit trail holds; of others it has the fingerprint.
	maxKeptBody = 1 << 10
	// writeOverhead is about what a write takes in memory besides body and outcome.
	writeOverhead = 400
)

// Write is one row of the audit trail, immutable: a command that was decided and
// what it came to. The same request is answered by it again (rule E1).
type Write struct {
	// Seq counts all writes from 1 without a gap.
	Seq   uint64
	Index uint64
	// WallMs is the state's wall clock, milliseconds since 1970-01-01 UTC.
	WallMs   int64
	Position uint32
	// Kind is the number of the command's kind.
	Kind        uint32
	Fingerprint [sha256.Size]byte
	// Chain is the SHA-256 of the chain before this row and of the row.
	Chain [sha256.Size]byte
	// key is the request's: the first actor bytes of it are who asked. The first body bytes of text are the command, the others
	// the outcome. There are many rows, and each pointer in them costs time whenever memory is collected.
	key         string
	text        []byte
	actor, body uint32
	// stray rows don't answer for their request id: it is another request's.
	stray bool
}

// Actor is who asked; empty for what the leader proposed of its own.
func (w *Write) Actor() string { return w.key[:w.actor] }

// RequestID is the request's; empty for what the leader proposed of its own.
func (w *Write) RequestID() string { return w.key[w.actor+1:] }

// Body is an encoded command, empty if it was long or held a document. It must not be changed.
func (w *Write) Body() []byte { return w.text[:w.body:w.body] }

// Outcome is encoded. It must not be changed.
func (w *Write) Outcome() []byte { return w.text[w.body:] }

// sum is the chain: no other hash is needed.
func (w *Write) sum() lanes { return lanesOf(&w.Chain) }

func (w *Write) keep(lanes) {}

func (w *Write) message(e *encoder) (recordKind, message) {
	m := w.record(&e.write)
	m.Chain = w.Chain[:]
	return 4, m
}

// record is the row without the chain, as the chain hashes it.
func (w *Write) record(into *fsmpb.WriteRecord) *fsmpb.WriteRecord {
	*into = fsmpb.WriteRecord{
		Seq: w.Seq, Index: w.Index, Position: w.Position, WallMs: w.WallMs, Actor: w.Actor(), RequestId: w.RequestID(),
		Kind: w.Kind, Fingerprint: w.Fingerprint[:], Body: w.Body(), Outcome: w.Outcome(), Stray: w.stray,
	}
	return into
}

// WriteFromProto is the reverse of Proto. It looks at no chain; NextChain does.
func WriteFromProto(p *fsmpb.WriteRecord) (*Write, error) {
	if len(p.Fingerprint) != sha256.Size || len(p.Chain) != sha256.Size {
		return nil, fmt.Errorf("write %d: a fingerprint of %d bytes, a chain of %d", p.Seq, len(p.Fingerprint), len(p.Chain))
	}
	return &Write{
		Seq: p.Seq, Index: p.Index, Position: p.Position, WallMs: p.WallMs,
		Kind: p.Kind, Fingerprint: [sha256.Size]byte(p.Fingerprint), Chain: [sha256.Size]byte(p.Chain),
		key: requestKey(p.Actor, p.RequestId), actor: uint32(len(p.Actor)), //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
		text: slices.Concat(p.Body, p.Outcome), body: uint32(len(p.Body)), stray: p.Stray, //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	}, nil
}

// Proto is the row as nodes keep it in files.
func (w *Write) Proto() *fsmpb.WriteRecord {
	m := w.record(new(fsmpb.WriteRecord))
	m.Chain = w.Chain[:]
	return m
}

// RowEncoder encodes rows one after the other as nodes keep them in files. The zero value is ready. Not safe for concurrent use.
type RowEncoder struct{ encoder }

// Encode returns the encoding of w.Proto(), which is good until the next call.
func (e *RowEncoder) Encode(w *Write) []byte {
	_, m := w.message(&e.encoder)
	e.bytes = appendSized(e.bytes[:0], m, m.SizeVT())
	return e.bytes
}

// KindName is what a command's kind is called, such as create_instance; empty if this build does not know it.
func (w *Write) KindName() string { return KindName(w.Kind) }

// KindName is what the kind of a command with that number is called; empty if this build does not know it.
func KindName(kind uint32) string {
	if kind == kindRestore {
		return "restore_backup"
	}
	if int64(kind) >= int64(len(kindNames)) {
		return ""
	}
	return kindNames[kind]
}

// kindNames are those of this build, by number.
var kindNames = namesOf((&fsmpb.Body{}).ProtoReflect().Descriptor().Fields())

func namesOf(fields protoreflect.FieldDescriptors) (names []string) {
	for i := range fields.Len() {
		f := fields.Get(i)
		names = append(names, make([]string, max(0, int(f.Number())+1-len(names)))...)
		names[f.Number()] = string(f.Name())
	}
	return names
}

// CommandName is what a command's kind is called; "kind N" if this build does not know it.
func CommandName(c *fsmpb.Command) string {
	kind, _, n := protowire.ConsumeTag(c.Body)
	if n < 0 {
		return "malformed"
	}
	if name := KindName(uint32(kind)); name != "" { //nolint:gosec // G115: the numbers of an enumeration
		return name
	}
	return fmt.Sprintf("kind %d", kind)
}

// Decided is the outcome, without the hint that only who asked was told.
func (w *Write) Decided() (*fsmpb.Outcome, error) {
	o := new(fsmpb.Outcome)
	if err := proto.Unmarshal(w.Outcome(), o); err != nil {
		return nil, fmt.Errorf("write %d: the recorded outcome: %w", w.Seq, err)
	}
	return o, nil
}

// NextChain is the chain after a row: SHA-256 of the chain before it and of the
// SHA-256 of the row without its chain.
func NextChain(before [sha256.Size]byte, p *fsmpb.WriteRecord) [sha256.Size]byte {
	row := clone(p)
	row.Chain = nil
	return chain(before, appendSized(nil, row, row.SizeVT()))
}

// chain takes a row as it is encoded without its chain.
func chain(before [sha256.Size]byte, row []byte) [sha256.Size]byte {
	hash := sha256.Sum256(row)
	var both [2 * sha256.Size]byte
	copy(both[copy(both[:], before[:]):], hash[:])
	return sha256.Sum256(both[:])
}

func (w *Write) bytes() uint64 { return uint64(len(w.text)) + writeOverhead }

// answers reports whether the write can answer for a request id.
func (w *Write) answers() bool { return w.RequestID() != "" && !w.stray }

// requestKey can't be ambiguous: names hold no NUL. Ids that are made one after the other mostly sort like that, so that
// the memory that look-ups touch is still in the processor's cache; a hash would scatter them.
func requestKey(actor, id string) string { return actor + "\x00" + id }

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

// answered answers a request that was answered before (rule E1); key is the request's. A nil outcome means that it was not; stray,
// that its id belongs to another request.
func (s *State) answered(c *fsmpb.Command, key string) (o *fsmpb.Outcome, stray bool) {
	seq, ok := s.answers.Get(key)
	if !ok {
		return nil, false
	}
	known, _ := s.writes.get(seq)
	if known.WallMs < s.oldestWrite() {
		return nil, false
	}
	if known.Fingerprint != sha256.Sum256(c.Body) {
		return s.refused(refuse(IdempotencyMismatch, "request_id", c.RequestId)), true
	}
	o = new(fsmpb.Outcome)
	if err := proto.Unmarshal(known.Outcome(), o); err != nil {
		return s.refused(invalid(fmt.Errorf("the recorded outcome: %w", err))), true
	}
	o.Repeated = true
	return o, false
}

// record adds a write of a request, whose key and actor are given, to the audit trail. Hints are left out: their wording differs
// between builds.
func (s *State) record(key, actor string, body []byte, o *fsmpb.Outcome, stray bool) {
	kind, _, _ := protowire.ConsumeTag(body)
	s.counters.lastWrite++
	w := &Write{
		Seq: s.counters.lastWrite, Index: s.index, Position: s.position, WallMs: s.clock.WallMs,
		Kind: uint32(kind), Fingerprint: sha256.Sum256(body), key: key, actor: uint32(len(actor)), stray: stray, //nolint:gosec // G115: the numbers of an enumeration
	}
	if len(body) > maxKeptBody || holdsDocument(kind) {
		body = nil
	}
	o = withoutHint(o)
	size := o.SizeVT()
	w.text, w.body = appendSized(append(make([]byte, 0, len(body)+size), body...), o, size), uint32(len(body)) //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	w.Chain = chain(s.counters.chain, s.digest.encoder().link(w))
	s.counters.chain = w.Chain
	s.addWrite(w)
}

func withoutHint(o *fsmpb.Outcome) *fsmpb.Outcome {
	hinted := func(x *fsmpb.Outcome) bool { return x.Refusal.GetHint() != "" }
	if !hinted(o) && !slices.ContainsFunc(o.GetBulk().GetOutcomes(), hinted) {
		return o
	}
	recorded := clone(o)
	for _, x := range append([]*fsmpb.Outcome{recorded}, recorded.GetBulk().GetOutcomes()...) {
		if hinted(x) {
			x.Refusal.Hint = ""
		}
	}
	return recorded
}

// holdsDocument says of which kinds the trail keeps no body: who reads the trail need not
// come by license keys, borrow tokens and hashes of API tokens.
func holdsDocument(kind protowire.Number) bool {
	switch kind {
	case 4, 8, 46, 60: // put_contract, activate_instance, return_borrow, create_token
		return true
	}
	return false
}

// addWrite takes a row whose chain is computed; the chain is its hash in the digest, too.
func (s *State) addWrite(w *Write) {
	s.writes.rows.Set(w.Seq, w)
	s.digest.count(w)
	s.writeBytes += w.bytes()
	if w.answers() {
		s.answers.Set(w.key, w.Seq)
	}
}

// forgetWrites drops rows that are too old or too many, oldest first, and leaves
// room for one more. Rows of the present entry stay, so that the view after each entry
// has all that the entry decided: from it nodes copy the trail into files.
func (s *State) forgetWrites() {
	limits := s.meta.Settings
	for range forgetAtOnce {
		_, w, ok := s.writes.rows.Min()
		if !ok || w.Index == s.index || w.WallMs >= s.oldestWrite() && uint64(s.writes.len()) < limits.RequestLimit && s.writeBytes <= limits.RequestBytes { //nolint:gosec // G115: a count or a length is not negative
			return
		}
		s.forget(w)
	}
}

func (s *State) forget(w *Write) {
	s.writes.delete(&s.digest, w.Seq)
	s.writeBytes -= w.bytes()
	s.counters.chainBase = w.Chain
	if !w.answers() {
		return
	}
	if seq, ok := s.answers.Get(w.key); ok && seq == w.Seq {
		s.answers.Delete(w.key)
	}
}

// oldestWrite is the wall time from which outcomes are remembered.
func (t *tables) oldestWrite() int64 {
	return t.clock.WallMs - int64(t.meta.Settings.RequestTTL)*1000 //nolint:gosec // G115: it was held to its bounds when it was read
}

// loadWrite takes a row out of a snapshot, whose rows are in order, and sees that it fits the chain.
func (s *State) loadWrite(p *fsmpb.WriteRecord) error {
	w, err := WriteFromProto(p)
	if err != nil {
		return damaged(err)
	}
	before := s.counters.chainBase
	if _, last, ok := s.writes.rows.Max(); ok {
		if before = last.Chain; w.Seq != last.Seq+1 {
			return damaged(fmt.Errorf("write %d follows write %d", w.Seq, last.Seq))
		}
	}
	if chain(before, s.digest.encoder().link(w)) != w.Chain {
		return damaged(fmt.Errorf("write %d does not fit the chain", w.Seq))
	}
	s.addWrite(w)
	return nil
}

// checkTrail sees that the rows of a restored trail end where the counters say.
func (s *State) checkTrail() error {
	seq, head := s.counters.lastWrite, s.counters.chainBase
	if _, last, ok := s.writes.rows.Max(); ok {
		seq, head = last.Seq, last.Chain
	}
	if seq != s.counters.lastWrite || head != s.counters.chain {
		return damaged(fmt.Errorf("the audit trail ends with write %d instead of %d, or elsewhere", seq, s.counters.lastWrite))
	}
	return nil
}

// Writes is how many rows of the audit trail the state holds; most of them answer for a request id.
func (v *View) Writes() int { return v.writes.len() }

// Requests is how many request ids are remembered (rule E1).
func (v *View) Requests() int { return v.answers.Len() }

// WritesAfter returns up to limit rows of the audit trail whose numbers come after the given one.
func (v *View) WritesAfter(seq uint64, limit int) []*Write {
	if limit <= 0 || seq >= v.counters.lastWrite {
		return nil
	}
	list := make([]*Write, 0, min(uint64(limit), v.counters.lastWrite-seq, uint64(v.writes.len()))) //nolint:gosec // G115: a count or a length is not negative
	v.writes.rows.Ascend(seq+1, func(_ uint64, w *Write) bool {
		list = append(list, w)
		return len(list) < limit
	})
	return list
}

// OldestWrite is the number of the oldest row that the view holds; without one, that of the next row.
func (v *View) OldestWrite() uint64 {
	if _, w, ok := v.writes.rows.Min(); ok {
		return w.Seq
	}
	return v.counters.lastWrite + 1
}

// Chain is the number of the last write and the head of the chain over all of them; base is
// the chain before the oldest row that the state holds.
func (v *View) Chain() (last uint64, head, base [sha256.Size]byte) {
	return v.counters.lastWrite, v.counters.chain, v.counters.chainBase
}
