package fsm

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// hotKinds are the commands of which there are many. Of each kind the commands 0 and following can be decided one after
// the other on a state of hotView.
var hotKinds = []struct {
	kind string
	body func(i int) *fsmpb.Body
}{
	{"create", func(i int) *fsmpb.Body { return createBody("acme", fmt.Sprint("i", i), primary(1)) }},
	{"checkout", func(i int) *fsmpb.Body {
		return checkoutBody(&fsmpb.Checkout{Pool: "pool", Product: "a", User: newUser(i), Client: "host", Holder: benchHolder(hotLeases + i)})
	}},
	{"renew", func(i int) *fsmpb.Body { return renewBody(i % hotLeases) }},
	{"check-in", func(i int) *fsmpb.Body {
		return &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: uint64(i%hotLeases + 1), Holder: benchHolder(i % hotLeases)}}}
	}},
}

// hotLeases are the leases of hotView, of which lease i+1 has the holder i.
const hotLeases = 20_000

var hotViews []*View

// hotView is a state with a contract, and a pool in which there are leases. It is made once.
func hotView(t tb) *View {
	if hotViews != nil {
		return hotViews[0]
	}
	r := &replica{t: t, s: New(), now: testEpoch}
	r.must(initialiseBody())
	c := testContract("acme", 1, map[string]uint64{"primary": signed.MaxQuantity})
	c.Products = map[string]signed.Product{"a": {Model: signed.Floating, Quantity: signed.MaxQuantity}}
	r.must(contractBody(mustSign(t, c, vendorKey)))
	r.must(poolBody(&fsmpb.Pool{
		Name: "pool", Contract: "acme", Size: signed.MaxQuantity, TtlMax: 30 * 24 * 3600, Products: []*fsmpb.PoolProduct{{Name: "a"}},
	}, true))
	r.must(activatePoolBody("pool", true))
	for i := range hotLeases {
		r.must(checkoutBody(&fsmpb.Checkout{Pool: "pool", Product: "a", User: newUser(i), Client: "host", Ttl: 24 * 3600, Holder: benchHolder(i)}))
	}
	hotViews = []*View{r.s.View()}
	return hotViews[0]
}

// hotEntry is the e-th entry of n commands of a kind.
func hotEntry(t tb, body func(i int) *fsmpb.Body, e, n int) []byte {
	batch := make([]*fsmpb.Command, n)
	for c := range batch {
		i := e*n + c
		batch[c] = mustCommand(t, fmt.Sprintf("01KBENCH%018d", i), body(i))
	}
	return mustEntry(t, 1, testEpoch.Add(time.Second), batch...)
}

// BenchmarkApply is what a replica does for an entry of 256 commands, the view for readers included. An operation is one command.
func BenchmarkApply(b *testing.B) {
	for _, hot := range hotKinds {
		b.Run(hot.kind, func(b *testing.B) {
			const n = 256
			v := hotView(b)
			entries := make([][]byte, (b.N+n-1)/n)
			for e := range entries {
				entries[e] = hotEntry(b, hot.body, e, n)
			}
			s := v.Fork()
			runtime.GC()
			b.ReportAllocs()
			b.ResetTimer()
			for _, data := range entries {
				outcomes, err := s.Apply(s.index+1, 1, data)
				if err != nil || outcomes[0].Refusal != nil {
					b.Fatal(outcomes, err)
				}
				_ = s.View()
			}
		})
	}
}
