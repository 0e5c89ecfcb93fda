package fsm

import (
	"fmt"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
)

// D4: however much is due, one command ends a bounded part of it and says that there is more.
func TestExpireInParts(t *testing.T) {
	t.Parallel()
	r := newReplica(t)
	var batch []*fsmpb.Command
	for n := range expireLimit + 1 {
		document := mustSign(t, testContract(fmt.Sprint("c", n), 1, map[string]uint64{"primary": 1}), vendorKey)
		batch = append(batch, mustCommand(t, fmt.Sprint("put-", n), contractBody(document)))
	}
	if _, err := r.s.Apply(r.s.index+1, 1, mustEntry(t, 1, r.now, batch...)); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.AddDate(1, 0, 0)
	for _, want := range []*fsmpb.Expired{{Contracts: expireLimit, More: true}, {Contracts: 1}, {}} {
		sameMessage(t, "expired", r.must(expireBody()).GetExpired(), want)
		checkState(t, r.s)
	}
	if _, ok := r.s.View().NextDue(); ok {
		t.Error("something is still due")
	}
}
