package cluster

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// What stays of a log once there is a snapshot that ends at entry 20 of term 3.
func TestLogSettlesWithASnapshot(t *testing.T) {
	for _, c := range []struct {
		name string
		// Entries go from first to last, without those of the gap.
		first, last, gapFrom, gapTo, term uint64
		wantFirst, wantLast               uint64
		cut                               bool
	}{
		{name: "no log"},
		{name: "the log that the snapshot was made of", first: 1, last: 30, term: 3, wantFirst: 1, wantLast: 30},
		{name: "its last entry is the snapshot's", first: 15, last: 20, term: 3, wantFirst: 15, wantLast: 20},
		{name: "it begins after the snapshot", first: 21, last: 30, term: 3, wantFirst: 21, wantLast: 30},
		{name: "it ends before the snapshot", first: 1, last: 19, term: 2},
		{name: "it goes on in another term", first: 1, last: 30, term: 2, cut: true},
		{name: "it ends at the snapshot in another term", first: 1, last: 20, term: 2, cut: true},
		{name: "a gap that a snapshot left", first: 1, last: 30, gapFrom: 11, gapTo: 20, term: 3, wantFirst: 21, wantLast: 30, cut: true},
	} {
		logs := raft.NewInmemStore()
		for index := c.first; index <= c.last && index > 0; index++ {
			if index >= c.gapFrom && index <= c.gapTo {
				continue
			}
			if err := logs.StoreLog(&raft.Log{Index: index, Term: c.term}); err != nil {
				t.Fatal(err)
			}
		}
		cut, err := settle(logs, 20, 3)
		first, err1 := logs.FirstIndex()
		last, err2 := logs.LastIndex()
		if err := errors.Join(err, err1, err2); err != nil || cut != c.cut || last != c.wantLast || last > 0 && first != c.wantFirst {
			t.Errorf("%s: %d to %d are left, cut %v, %v", c.name, first, last, cut, err)
		}
	}
}
