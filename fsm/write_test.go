package fsm

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
)

// The view after an entry has all rows of the entry, however many the state keeps, so that none is
// gone before a node could copy it into its files.
func TestViewHasAllRowsOfItsEntry(t *testing.T) {
	r := newReplica(t)
	meta := edit(r.s.meta)
	meta.Settings.RequestLimit = 3
	r.s.setMeta(meta)
	last := uint64(1)
	for entry := range 4 {
		var commands []*fsmpb.Command
		for i := range 10 {
			commands = append(commands, mustCommand(t, fmt.Sprintf("%d-%d", entry, i), removeBody(7)))
		}
		if _, err := r.s.Apply(r.s.index+1, 1, mustEntry(t, 1, r.now.Add(time.Duration(entry)*time.Hour*2), commands...)); err != nil {
			t.Fatal(err)
		}
		v := r.s.View()
		rows := v.WritesAfter(last, 100)
		if len(rows) != 10 || rows[0].Seq != last+1 {
			t.Fatalf("after entry %d the view has %d of its 10 rows", entry, len(rows))
		}
		last += 10
		if oldest := v.OldestWrite(); entry > 0 && oldest != last-9 {
			t.Errorf("after entry %d the oldest row is %d: those of the entries before are beyond the limit", entry, oldest)
		}
	}
}

// A row goes through its message unchanged, and follows from the one before.
func TestWriteThroughItsMessage(t *testing.T) {
	r := newReplica(t)
	r.must(contractBody(mustSign(t, testContract("acme", 1, map[string]uint64{"primary": 30}), vendorKey)))
	r.must(createBody("acme", "one", primary(5)))
	v := r.s.View()
	_, head, before := v.Chain()
	kinds := map[string]bool{}
	for _, w := range v.WritesAfter(0, 10) {
		got, err := WriteFromProto(proto.Clone(w.Proto()).(*fsmpb.WriteRecord))
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got.Proto(), w.Proto()) || NextChain(before, got.Proto()) != w.Chain {
			t.Errorf("row %d came back as %v", w.Seq, got)
		}
		before = w.Chain
		kinds[w.KindName()] = true
		if o, err := got.Decided(); err != nil || o.Refusal != nil {
			t.Errorf("row %d: %v %v", w.Seq, o, err)
		}
	}
	if before != head || !kinds["initialise"] || !kinds["put_contract"] || !kinds["create_instance"] {
		t.Errorf("kinds %v, head %x, chain %x", kinds, head, before)
	}
	if name := KindName(9999) + KindName(1<<31); name != "" {
		t.Errorf("unknown kinds are called %q", name)
	}
}
