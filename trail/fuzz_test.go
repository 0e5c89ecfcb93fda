package trail

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/subject"
)

// sample is a file with a header, a gap and rows that follow from each other.
func sample(t testing.TB) []byte {
	t.Helper()
	before := Hash{7}
	text := appendHeader(nil, header{Version: Version, Node: "lyon", First: 1, Oldest: 1})
	text = appendGap(text, Gap{From: 1, To: 4, after: new(before)})
	for seq := uint64(5); seq < 9; seq++ {
		p := &fsmpb.WriteRecord{
			Seq: seq, Index: 10 + seq, WallMs: 1_780_000_000_000, Actor: "operator", RequestId: "a\"\\\x7fé", Kind: 7,
			Fingerprint: make([]byte, 32), Body: []byte{0x3a, 0x02, 0x08, 0x07}, Outcome: []byte{0x0a, 0x04, 0x0a, 0x02, 'n', 'o'},
		}
		before = fsm.NextChain(before, p)
		p.Chain = before[:]
		w, err := fsm.WriteFromProto(p)
		if err != nil {
			t.Fatal(err)
		}
		text = new(rowLines).append(text, w)
	}
	return text
}

// Lines that can be read are, written again, the same bytes: nothing in them is read otherwise than it stands there.
func FuzzLine(f *testing.F) {
	for _, text := range bytes.SplitAfter(sample(f), []byte("\n")) {
		f.Add(bytes.TrimSuffix(text, []byte("\n")))
	}
	for _, text := range bytes.SplitAfter(sample(f), []byte("\n")) {
		if x, err := decode(bytes.TrimSuffix(text, []byte("\n"))); err == nil && x.row != nil {
			copied, err := new(Copy).Row(nil, x.row, nil)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(bytes.TrimSuffix(copied, []byte("\n")))
		}
	}
	f.Add([]byte(`{"seq":18446744073709551615,"row":""}`))
	f.Add([]byte(`{"gap":{"from":2,"to":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := decode(text)
		if err != nil {
			return
		}
		var again []byte
		switch {
		case x.header != nil:
			again = appendHeader(nil, *x.header)
		case x.gap != nil:
			again = appendGap(nil, *x.gap)
		default:
			again = new(rowLines).append(nil, x.row)
			if bytes.Contains(text, []byte(`"chain":"`)) && !bytes.Equal(again, ended(text)) {
				if again, err = appendCopy(nil, x.row, nil); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := subject.Of(x.row); x.row.KindName() == "" || err != nil {
				return
			}
		}
		if !bytes.Equal(again, ended(text)) {
			t.Errorf("%q is read as %q", text, again)
		}
	})
}

// Whatever a file holds, a node that starts with it repairs it so that nothing is wrong with what is left.
func FuzzFile(f *testing.F) {
	text := sample(f)
	f.Add(text)
	f.Add(text[:len(text)-9])
	f.Add(bytes.Replace(text, []byte(`"seq":6`), []byte(`"seq":5`), 1))
	f.Add(append(bytes.Clone(text), make([]byte, 100)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		o := Options{Dir: t.TempDir(), Node: "lyon", FileBytes: 1 << 20, TotalBytes: 8 << 20}
		if err := os.WriteFile(filepath.Join(o.Dir, fileName(1)), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Check(o.Dir); err != nil {
			return // a newer build's, or too long
		}
		w, _, err := Open(o)
		if err != nil {
			return
		}
		w.dirty = false // what counts here is not whether it outlives a power loss
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := Check(o.Dir)
		if err != nil || len(r.Damage) > 0 || r.Unfinished != 0 {
			t.Fatalf("after the repair: %+v, %v", r, err)
		}
		w, repairs, err := Open(o)
		if err != nil || len(repairs) > 0 {
			t.Fatalf("the second start repairs again: %+v, %v", repairs, err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
