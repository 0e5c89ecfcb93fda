package trail

import (
	"testing"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// Each write passes here on each node.
func TestLinesTakeNoMemory(t *testing.T) {
	row, err := fsm.WriteFromProto(&fsmpb.WriteRecord{
		Seq: 1, Index: 7, WallMs: 1_780_000_000_000, Actor: "operator", RequestId: "01K", Kind: 7, Fingerprint: make([]byte, 32),
		Body: []byte{0x3a, 0x02, 0x08, 0x07}, Outcome: []byte{0x10, 0x07}, Chain: make([]byte, 32),
	})
	if err != nil {
		t.Fatal(err)
	}
	var l rowLines
	line := l.append(nil, row)
	if n := testing.AllocsPerRun(10, func() { line = l.append(line[:0], row) }); n != 0 {
		t.Errorf("%.0f allocations for a row", n)
	}
	if x, err := decode(line[:len(line)-1]); err != nil || x.row == nil || x.row.RequestID() != "01K" {
		t.Errorf("%q: %v", line, err)
	}
}
