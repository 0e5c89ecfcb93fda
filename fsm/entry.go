package fsm

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/licet/licet/fsm/fsmpb"
)

// entry is an Entry that is read without memory for each text and body: texts are parts of one, bodies of the bytes that are read, which
// must not be changed any more.
type entry struct{ fsmpb.Entry }

// UnmarshalVT reads bytes that fit entryShape.
func (e *entry) UnmarshalVT(data []byte) error {
	text := string(data)
	e.Commands = make([]*fsmpb.Command, 0, countField(data, 5))
	commands := make([]fsmpb.Command, cap(e.Commands))
	for at := 0; at < len(data); {
		number, n, from, to := nextField(data, at)
		switch number {
		case 1:
			e.Format = uint32(n) //nolint:gosec // G115: its bits are kept, as protobuf keeps them
		case 2:
			e.Term = n
		case 3:
			e.WallMs = int64(n) //nolint:gosec // G115: its bits are kept, as protobuf keeps them
		case 4:
			e.PauseMs = int64(n) //nolint:gosec // G115: its bits are kept, as protobuf keeps them
		case 5:
			c := &commands[len(e.Commands)]
			readCommand(c, data[from:to:to], text[from:to])
			e.Commands = append(e.Commands, c)
		}
		at = to
	}
	return nil
}

// readCommand takes the same bytes twice.
func readCommand(c *fsmpb.Command, data []byte, text string) {
	for at := 0; at < len(data); {
		number, _, from, to := nextField(data, at)
		switch number {
		case 1:
			c.Actor = text[from:to]
		case 2:
			c.RequestId = text[from:to]
		case 3:
			c.Body = data[from:to:to]
		}
		at = to
	}
}

func countField(data []byte, wanted protowire.Number) (count int) {
	for at := 0; at < len(data); {
		number, _, _, to := nextField(data, at)
		if number == wanted {
			count++
		}
		at = to
	}
	return count
}

// nextField reads the field that begins at a place of a message that fits its shape: a number, or bytes from there up to there.
func nextField(data []byte, at int) (number protowire.Number, n uint64, from, to int) {
	number, wire, size := protowire.ConsumeTag(data[at:])
	at += size
	n, size = protowire.ConsumeVarint(data[at:])
	from = at + size
	if wire == protowire.VarintType {
		return number, n, from, from
	}
	return number, 0, from, from + int(n) //nolint:gosec // G115: it was held to its bounds when it was read
}
