package fsm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// A benchmark's pool has leasesPerPool seats of product a, all leased, with ticketsPerPool tickets
// waiting for them, and one free seat of product b.
const (
	leasesPerPool  = 100
	ticketsPerPool = 10
)

var seatViews = map[int]*View{}

func benchPool(n int) string { return fmt.Sprintf("pool-%05d", n) }

func benchHolder(n int) []byte {
	h := make([]byte, HolderSize)
	binary.BigEndian.PutUint64(h, uint64(n)+1)
	return h
}

// seatView is a state with n live leases, made once, by commands. Lease and ticket numbers are known:
// pool p has leases p*leasesPerPool+1 and following, tickets p*ticketsPerPool+1 and following.
func seatView(b *testing.B, n int) *View {
	b.Helper()
	if v := seatViews[n]; v != nil {
		return v
	}
	r := &replica{t: b, s: New(), now: testEpoch}
	r.must(initialiseBody())
	c := testContract("acme", 1, nil)
	c.Products = map[string]signed.Product{"a": {Model: signed.Floating, Quantity: signed.MaxQuantity}, "b": {Model: signed.Floating, Quantity: signed.MaxQuantity}}
	r.must(contractBody(mustSign(b, c, vendorKey)))
	pools := n / leasesPerPool
	s := r.s
	step := func(i int, body *fsmpb.Body) {
		s.index++
		o := s.Step(mustCommand(b, fmt.Sprint("x", s.index, "-", i), body), body)
		if o.Refusal != nil {
			b.Fatal(Detail(o.Refusal))
		}
	}
	for p := range pools {
		step(p, poolBody(&fsmpb.Pool{Name: benchPool(p), Contract: "acme", Size: leasesPerPool + 1, QueueLimit: 100, TtlMax: 30 * 24 * 3600, TicketTtl: 30 * 24 * 3600, Products: []*fsmpb.PoolProduct{
			{Name: "a", Cap: leasesPerPool}, {Name: "b"},
		}}, true))
		step(p, activatePoolBody(benchPool(p), true))
	}
	for i := range pools * leasesPerPool {
		step(i, checkoutBody(&fsmpb.Checkout{
			Pool: benchPool(i / leasesPerPool), Product: "a", User: fmt.Sprintf("user-%07d@example.org", i), Client: fmt.Sprintf("host-%07d", i),
			Ttl: uint32(24*3600 + i%3600), Holder: benchHolder(i),
		}))
	}
	for i := range pools * ticketsPerPool {
		step(i, checkoutBody(&fsmpb.Checkout{
			Pool: benchPool(i / ticketsPerPool), Product: "a", User: fmt.Sprintf("waiter-%07d@example.org", i), Client: "host", Queue: true, Holder: benchHolder(i),
		}))
	}
	seatViews[n] = s.View()
	return seatViews[n]
}

// seatSteps are pairs of commands that leave the state's size as it was.
var seatSteps = []struct {
	kind string
	// pair is about the i-th lease of n, and the k-th pair since the state was made.
	pair func(s *State, i, k, n int) [2]*fsmpb.Body
}{
	{"checkout+check-in", func(s *State, i, k, n int) [2]*fsmpb.Body {
		next := s.counters.lastLease + 1 + uint64(k)
		return [2]*fsmpb.Body{
			checkoutBody(&fsmpb.Checkout{Pool: benchPool(i % (n / leasesPerPool)), Product: "b", User: fmt.Sprintf("new-%07d@example.org", i), Client: "host", Holder: benchHolder(i)}),
			{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: next, Holder: benchHolder(i)}}},
		}
	}},
	{"renew+renew", func(_ *State, i, _, n int) [2]*fsmpb.Body {
		renew := func(i int) *fsmpb.Body {
			return &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: uint64(i + 1), Holder: benchHolder(i)}}}
		}
		return [2]*fsmpb.Body{renew(i % n), renew((i + n/2) % n)}
	}},
	{"enqueue+leave", func(s *State, i, k, n int) [2]*fsmpb.Body {
		next := s.counters.lastTicket + 1 + uint64(k)
		return [2]*fsmpb.Body{
			checkoutBody(&fsmpb.Checkout{Pool: benchPool(i % (n / leasesPerPool)), Product: "a", User: fmt.Sprintf("new-%07d@example.org", i), Client: "host", Queue: true, Holder: benchHolder(i)}),
			{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: next, Holder: benchHolder(i)}}},
		}
	}},
	{"denied+denied", func(_ *State, i, _, n int) [2]*fsmpb.Body {
		denied := checkoutBody(&fsmpb.Checkout{Pool: benchPool(i % (n / leasesPerPool)), Product: "a", User: fmt.Sprintf("new-%07d@example.org", i), Client: "host", Holder: benchHolder(i)})
		return [2]*fsmpb.Body{denied, denied}
	}},
}

// BenchmarkSeats steps pairs of commands on states of several sizes; a pair counts as two operations. The
// pools are taken in a shuffled order, so that no cache helps.
func BenchmarkSeats(b *testing.B) {
	for _, step := range seatSteps {
		for _, size := range sizes {
			b.Run(step.kind+"/"+size.name, func(b *testing.B) {
				s := seatView(b, size.n).Fork()
				order := rand.New(rand.NewPCG(1, 2)).Perm(size.n)
				s.clock.WallMs++
				commands, bodies := make([]*fsmpb.Command, 0, b.N+1), make([]*fsmpb.Body, 0, b.N+1)
				for k := 0; len(bodies) < b.N; k++ {
					for _, body := range step.pair(s, order[k%size.n], k, size.n) {
						bodies = append(bodies, body)
						commands = append(commands, mustCommand(b, fmt.Sprint("b", len(bodies)), body))
					}
				}
				runtime.GC()
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					s.index++
					s.Step(commands[i], bodies[i])
				}
			})
		}
	}
}

// BenchmarkSeatsExpire ends leases that are due, a thousand a command; the seats are offered to those who
// wait as long as there are any. An operation is one lease.
func BenchmarkSeatsExpire(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			var s *State
			left := 0
			expire := expireBody()
			b.ReportAllocs()
			for i := 0; i < b.N; i += expireLimit {
				if left < expireLimit {
					b.StopTimer()
					s = seatView(b, size.n).Fork()
					s.clock.WallMs += 26 * time.Hour.Milliseconds()
					left = size.n
					b.StartTimer()
				}
				s.index++
				o := s.Step(mustCommand(b, "", expire), expire)
				left -= len(o.GetExpired().Leases)
			}
		})
	}
}

// BenchmarkSeatsMemory is what a live lease takes on the heap, remembered requests included.
func BenchmarkSeatsMemory(b *testing.B) {
	for b.Loop() {
		seatViews = map[int]*View{}
		benchViews = map[int]*View{}
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		v := seatView(b, 1_000_000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1_000_000, "B/lease")
		b.ReportMetric(float64(v.Writes()), "writes")
	}
}
