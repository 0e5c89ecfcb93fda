package fsm

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// EntryFormat is the version of entries that this build writes, and the newest that it reads.
const EntryFormat = 1

// Bounds of a command.
const (
	// MaxBody is the longest body of a command, in bytes.
	MaxBody = 512 << 10
	// MaxRequestID is the longest request id, in bytes.
	MaxRequestID = 64
)

// ErrUnknown says that an entry holds something that this build does not know:
// a newer format, kind or field. A replica that met one must stop, because it
// can no longer compute the state that the others compute.
var ErrUnknown = errors.New("the log holds a command that this build does not know; install the cluster's version on this node")

// Known reports the numbers of the command kinds that this build can step, in order.
func Known() []int32 {
	fields := (&fsmpb.Body{}).ProtoReflect().Descriptor().Fields()
	kinds := make([]int32, 0, fields.Len())
	for i := range fields.Len() {
		kinds = append(kinds, int32(fields.Get(i).Number()))
	}
	return kinds
}

var marshal = proto.MarshalOptions{Deterministic: true}

// NewCommand builds a command for actor. The request id may be empty only for the
// kinds that the leader itself proposes.
func NewCommand(actor, requestID string, body *fsmpb.Body) (*fsmpb.Command, error) {
	bytes, err := marshal.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return &fsmpb.Command{Actor: actor, RequestId: requestID, Body: bytes}, nil
}

// EncodeEntry returns the bytes of a Raft log entry. It refuses text that no replica could read.
func EncodeEntry(e *fsmpb.Entry) ([]byte, error) {
	for i, c := range e.Commands {
		if !utf8.ValidString(c.GetActor()) || !utf8.ValidString(c.GetRequestId()) {
			return nil, fmt.Errorf("encode entry: actor or request id of command %d is not UTF-8", i)
		}
	}
	e.Format = EntryFormat
	size := e.SizeVT()
	return appendSized(make([]byte, 0, size), e, size), nil
}

// DecodeEntry reads a Raft log entry, whose bytes must not be changed any more: bodies are parts of them. Its errors wrap ErrUnknown
// where a newer build wrote it.
func DecodeEntry(data []byte) (*fsmpb.Entry, error) {
	e := new(entry)
	if err := decodeKnown(data, e, entryShape); err != nil {
		return nil, fmt.Errorf("entry: %w", err)
	}
	if e.Format == 0 || e.Format > EntryFormat {
		return nil, fmt.Errorf("entry of format %d, this build reads 1 to %d: %w", e.Format, EntryFormat, ErrUnknown)
	}
	return &e.Entry, nil
}

// DecodeBody reads a command's body. Its errors wrap ErrUnknown where a newer
// build wrote it.
func DecodeBody(data []byte) (*fsmpb.Body, error) {
	b := new(fsmpb.Body)
	if err := decodeKnown(data, b, bodyShape); err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	if b.Kind == nil {
		return nil, fmt.Errorf("command without a kind: %w", ErrUnknown)
	}
	return b, nil
}

// decoded is a message with generated decoding, too: that by reflection takes five times as long.
type decoded interface {
	message
	UnmarshalVT(b []byte) error
}

var (
	known       = shapes{}
	entryShape  = known.of((&fsmpb.Entry{}).ProtoReflect().Descriptor())
	bodyShape   = known.of((&fsmpb.Body{}).ProtoReflect().Descriptor())
	recordShape = known.of((&fsmpb.Record{}).ProtoReflect().Descriptor())
	headerShape = known.of((&fsmpb.SnapshotHeader{}).ProtoReflect().Descriptor())
)

// decodeKnown refuses bytes that hold more than this build's messages name. With
// unknown fields dropped, a message is as long as its bytes only if there were none. What the generated decoder need not read like
// proto.Unmarshal, and whatever is refused, proto.Unmarshal decides.
func decodeKnown(data []byte, m decoded, s *shape) error {
	if s.fits(data, maxNesting) && m.UnmarshalVT(data) == nil && m.SizeVT() == len(data) {
		return nil
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m); err != nil {
		return err
	}
	if size := m.SizeVT(); size != len(data) {
		return fmt.Errorf("%d of %d bytes understood: %w", size, len(data), ErrUnknown)
	}
	return nil
}
