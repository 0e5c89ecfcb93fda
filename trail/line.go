package trail

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// Version is the version of the lines that this build writes, and the newest that it reads.
const Version = 1

// timeLayout is RFC 3339 in UTC, with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Hash is a head of the chain.
type Hash = [sha256.Size]byte

// header is the first line of a file.
type header struct {
	Version int `json:"licet_audit"`
	// Node is whose file it is.
	Node string `json:"node"`
	// First is the number of the first row or gap; Before is the chain before it.
	First  uint64  `json:"first"`
	Before hexHash `json:"before"`
	// Oldest is the first number that the node had in its files when it began this one, so that a
	// file that somebody took away is told from one that gave way to the bound.
	Oldest uint64 `json:"oldest"`
}

// Gap says that a node never had the rows From to To: it took a snapshot that no longer held them.
type Gap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// after is the chain after To; nil if who wrote it did not know it.
	after *Hash
}

func (g Gap) String() string { return span(g.From, g.To) }

// span names rows in a sentence.
func span(from, to uint64) string {
	if from == to {
		return fmt.Sprintf("row %d", from)
	}
	return fmt.Sprintf("rows %d to %d", from, to)
}

// gapLine is a gap as a line.
type gapLine struct {
	Gap struct {
		From  uint64   `json:"from"`
		To    uint64   `json:"to"`
		After *hexHash `json:"after,omitempty"`
	} `json:"gap"`
}

// rowLine is a row as a line: Row is the whole of it, what stands before is for who reads the file. Lines of copies have a Chain, and
// may have Facts and a Subject; those of a node's own files have none of the three.
type rowLine struct {
	Seq       uint64 `json:"seq"`
	Time      string `json:"time"`
	Index     uint64 `json:"index"`
	Actor     string `json:"actor"`
	RequestID string `json:"request_id"`
	Kind      string `json:"kind"`
	Outcome   string `json:"outcome"`
	// Facts are the numbers and names behind a refusal, Subject is what was asked.
	Facts   map[string]any  `json:"facts,omitempty"`
	Subject json.RawMessage `json:"subject,omitempty"`
	Chain   string          `json:"chain,omitempty"`
	Row     []byte          `json:"row"`
}

// hexHash is a hash as JSON has it.
type hexHash Hash

func (h hexHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

func (h *hexHash) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(h) {
		return fmt.Errorf("%.80q is no hash", text)
	}
	*h = hexHash(raw)
	return nil
}

// line is a line of a file, decoded; one of the three is set.
type line struct {
	header *header
	gap    *Gap
	row    *fsm.Write
}

// errNewer says that a line is one of a newer build.
var errNewer = errors.New("a newer version of licet wrote it; use that one")

func appendHeader(b []byte, h header) []byte { return appendJSON(b, h) }

func appendGap(b []byte, g Gap) []byte {
	var l gapLine
	l.Gap.From, l.Gap.To, l.Gap.After = g.From, g.To, (*hexHash)(g.after)
	return appendJSON(b, l)
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		// Numbers, hashes and strings can always be encoded.
		panic("trail: " + err.Error())
	}
	return append(append(b, text...), '\n')
}

// rowLines makes lines of rows, one after the other. The zero value is ready.
type rowLines struct {
	rows fsm.RowEncoder
	// time is how wallMs reads: the rows of an entry have the same.
	wallMs int64
	time   []byte
}

// append is written out by hand: each write passes here on each node.
func (l *rowLines) append(b []byte, w *fsm.Write) []byte {
	if w.WallMs != l.wallMs || l.time == nil {
		l.wallMs, l.time = w.WallMs, time.UnixMilli(w.WallMs).UTC().AppendFormat(l.time[:0], timeLayout)
	}
	b = strconv.AppendUint(append(b, `{"seq":`...), w.Seq, 10)
	b = append(append(b, `,"time":"`...), l.time...)
	b = strconv.AppendUint(append(b, `","index":`...), w.Index, 10)
	b = appendString(append(b, `,"actor":`...), w.Actor())
	b = appendString(append(b, `,"request_id":`...), w.RequestID())
	b = appendString(append(b, `,"kind":`...), kindOf(w))
	b = appendString(append(b, `,"outcome":`...), outcomeOf(w))
	b = base64.StdEncoding.AppendEncode(append(b, `,"row":"`...), l.rows.Encode(w))
	return append(b, "\"}\n"...)
}

func appendString(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil {
				panic("trail: " + err.Error()) // a string can always be encoded
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

func kindOf(w *fsm.Write) string {
	if name := w.KindName(); name != "" {
		return name
	}
	return "kind " + strconv.FormatUint(uint64(w.Kind), 10)
}

func outcomeOf(w *fsm.Write) string {
	// A refusal is an outcome's first field; to decode all others would cost as much as all the rest of the line.
	if first, _, _ := protowire.ConsumeTag(w.Outcome()); first != 1 {
		return "ok"
	}
	o, err := w.Decided()
	switch {
	case err != nil:
		return "unreadable"
	case o.Refusal != nil:
		return o.Refusal.Code
	}
	return "ok"
}

// decode reads a line, without its end.
func decode(text []byte) (line, error) {
	switch {
	case bytes.HasPrefix(text, []byte(`{"seq":`)):
		row, err := decodeRow(text)
		return line{row: row}, err
	case bytes.HasPrefix(text, []byte(`{"gap":`)):
		g, err := decodeGap(text)
		return line{gap: g}, err
	case bytes.HasPrefix(text, []byte(`{"licet_audit":`)):
		h, err := decodeHeader(text)
		return line{header: h}, err
	}
	return line{}, errors.New("it is neither a row nor a gap")
}

func decodeHeader(text []byte) (*header, error) {
	h := new(header)
	if err := json.Unmarshal(text, h); err != nil {
		return nil, err
	}
	if h.Version > Version {
		return nil, errNewer
	}
	if h.Version < 1 || h.First == 0 || h.Oldest == 0 || h.Oldest > h.First || !bytes.Equal(appendHeader(nil, *h), ended(text)) {
		return nil, errors.New("the header is not as it was written")
	}
	return h, nil
}

func decodeGap(text []byte) (*Gap, error) {
	var l gapLine
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, err
	}
	g := &Gap{From: l.Gap.From, To: l.Gap.To, after: (*Hash)(l.Gap.After)}
	if g.From == 0 || g.To < g.From || !bytes.Equal(appendGap(nil, *g), ended(text)) {
		return nil, errors.New("the gap is not as it was written")
	}
	return g, nil
}

// decodeRow reads a row and sees that the readable part is that of the row.
func decodeRow(text []byte) (*fsm.Write, error) {
	var l rowLine
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, err
	}
	w, err := DecodeRow(l.Row)
	if err != nil {
		return nil, err
	}
	again := new(rowLines).append(nil, w)
	if l.Chain != "" {
		if again, err = appendCopy(nil, w, l.Subject); err != nil {
			return nil, err
		}
	}
	// Builds that do not know the kind have another name for it.
	if w.Seq == 0 || w.KindName() != "" && !bytes.Equal(again, ended(text)) {
		return nil, fmt.Errorf("what is readable of row %d is not what the row holds", l.Seq)
	}
	return w, nil
}

// DecodeRow reads a whole row, as a line's field row has it. It looks at no chain.
func DecodeRow(row []byte) (*fsm.Write, error) {
	p := new(fsmpb.WriteRecord)
	if err := proto.Unmarshal(row, p); err != nil {
		return nil, err
	}
	if len(p.ProtoReflect().GetUnknown()) > 0 {
		return nil, errNewer
	}
	return fsm.WriteFromProto(p)
}

func ended(text []byte) []byte { return append(text[:len(text):len(text)], '\n') }

// number is the number of the row or gap that a line begins with, without looking at the rest.
func number(text []byte) uint64 {
	for _, start := range []string{`{"seq":`, `{"gap":{"from":`} {
		rest, ok := bytes.CutPrefix(text, []byte(start))
		if !ok {
			continue
		}
		digits, _, _ := bytes.Cut(rest, []byte(","))
		n, err := strconv.ParseUint(string(digits), 10, 64)
		if err == nil {
			return n
		}
	}
	return 0
}
