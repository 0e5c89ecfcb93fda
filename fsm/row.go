package fsm

import (
	"crypto/sha256"
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// message is a protobuf message with generated encoding: that by reflection takes
// three times as long.
type message interface {
	proto.Message
	SizeVT() int
	MarshalToSizedBufferVTStrict(b []byte) (int, error)
}

// row is something that a snapshot holds. Rows are immutable once they are in a
// table; a change replaces the row.
type row interface {
	// message is the row as the field of Record that has its number.
	message(e *encoder) (recordKind, message)
	// sum is the row's hash, as keep was given it.
	sum() lanes
	keep(hash lanes)
}

// encoder encodes rows one after the other. It lends messages to rows of which there are many, so that these need no memory
// of their own.
type encoder struct {
	bytes    []byte
	lease    fsmpb.LeaseRecord
	ticket   fsmpb.TicketRecord
	write    fsmpb.WriteRecord
	instance fsmpb.InstanceRecord
	// quantities are lent, too, those of the present row first.
	quantities []*fsmpb.Quantity
	lent       int
}

// record is a row as snapshots and digests have it, until the next.
func (e *encoder) record(r row) []byte {
	e.lent = 0
	kind, m := r.message(e)
	e.bytes = appendRecord(e.bytes[:0], kind, m)
	return e.bytes
}

// lend is q.proto, until the next row.
func (e *encoder) lend(q Quantities) []*fsmpb.Quantity {
	from := e.lent
	for _, x := range q {
		if e.lent == len(e.quantities) {
			e.quantities = append(e.quantities, new(fsmpb.Quantity))
		}
		e.quantities[e.lent].Name, e.quantities[e.lent].N = x.Name, x.N
		e.lent++
	}
	return e.quantities[from:e.lent:e.lent]
}

// link is a write as the chain has it, until the next row.
func (e *encoder) link(w *Write) []byte {
	m := w.record(&e.write)
	e.bytes = appendSized(e.bytes[:0], m, m.SizeVT())
	return e.bytes
}

// recordKind is the number of a field of Record.
type recordKind = protowire.Number

// lanes are the 32 bytes of a hash as numbers to add.
type lanes [4]uint64

func lanesOf(hash *[sha256.Size]byte) (l lanes) {
	for i := range l {
		l[i] = binary.LittleEndian.Uint64(hash[8*i:])
	}
	return l
}

// hash64 stands for text in the keys of indexes: numbers are compared faster, and need no memory of their own. Texts with the
// same hash stand beside one another, so that who looks for one compares the row, too.
func hash64(text string) uint64 {
	hash := sha256.Sum256([]byte(text))
	return binary.LittleEndian.Uint64(hash[:])
}

// hashed is embedded in rows: it keeps the row's hash, so that taking a row out
// of the digest costs nothing.
type hashed struct{ lanes lanes }

func (h *hashed) sum() lanes { return h.lanes }

func (h *hashed) keep(hash lanes) { h.lanes = hash }

// appendRecord appends the bytes of a Record that holds a message.
func appendRecord(b []byte, kind recordKind, m message) []byte {
	b = protowire.AppendTag(b, kind, protowire.BytesType)
	size := m.SizeVT()
	b = protowire.AppendVarint(b, uint64(size)) //nolint:gosec // G115: a count or a length is not negative
	return appendSized(b, m, size)
}

func appendSized(b []byte, m message, size int) []byte {
	at := len(b)
	if need := at + size; need <= cap(b) {
		b = b[:need]
	} else {
		b = append(b, make([]byte, size)...)
	}
	if _, err := m.MarshalToSizedBufferVTStrict(b[at:]); err != nil {
		// Generated code of messages without required fields returns none.
		panic("fsm: a message cannot be encoded: " + err.Error())
	}
	return b
}
