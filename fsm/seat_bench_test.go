package fsm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Whatever the number of leases, a benchmark's state has so many pools, waiting tickets and remembered
// requests: only the leases differ.
const (
	benchPools    = 10_000
	benchTickets  = 100_000
	benchRequests = 250_000
)

// seatShape says how n leases are spread. The first pools have leases seats of product a each, all leased, with
// tickets tickets waiting for them; they and the others have one free seat of product b.
type seatShape struct{ n, pools, leases, tickets int }

func shapeOf(n int) seatShape {
	leases := max(1, n/benchPools)
	return seatShape{n, n / leases, leases, benchTickets / (n / leases)}
}

// pool is that of the i-th lease.
func (x seatShape) pool(i int) string { return benchPool(i % x.n / x.leases) }

var seatViews = map[int]*View{}

func benchPool(n int) string { return fmt.Sprintf("pool-%05d", n) }

func benchHolder(n int) []byte {
	h := make([]byte, HolderSize)
	binary.BigEndian.PutUint64(h, uint64(n)+1)
	return h
}

// seatView is a state with n live leases, made once, by commands. Leases and tickets have the numbers 1 and following,
// in the order of their pools.
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
	s, shape := r.s, shapeOf(n)
	step := func(body *fsmpb.Body) {
		s.index++
		o := s.Step(mustCommand(b, fmt.Sprint("x", s.index), body), body)
		if o.Refusal != nil {
			b.Fatal(Detail(o.Refusal))
		}
	}
	for p := range benchPools {
		step(poolBody(&fsmpb.Pool{
			Name: benchPool(p), Contract: "acme", Size: uint64(shape.leases + 1), QueueLimit: 1000, TtlMax: 30 * 24 * 3600, TicketTtl: 30 * 24 * 3600,
			Products: []*fsmpb.PoolProduct{{Name: "a", Cap: uint64(shape.leases)}, {Name: "b"}},
		}, true))
		step(activatePoolBody(benchPool(p), true))
	}
	for i := range n {
		step(checkoutBody(&fsmpb.Checkout{
			Pool: shape.pool(i), Product: "a", User: fmt.Sprintf("user-%07d@example.org", i), Client: fmt.Sprintf("host-%07d", i),
			Ttl: benchTTL(i), Holder: benchHolder(i),
		}))
	}
	for i := range benchTickets {
		step(checkoutBody(&fsmpb.Checkout{
			Pool: benchPool(i / shape.tickets), Product: "a", User: fmt.Sprintf("waiter-%07d@example.org", i), Client: "host", Queue: true, Ttl: benchTTL(i), Holder: benchHolder(i),
		}))
	}
	for i := 0; s.answers.Len() < benchRequests; i++ {
		step(renewBody(i % n))
	}
	seatViews[n] = s.View()
	return seatViews[n]
}

// benchTTL is one hour to two, so that the leases of a pool end in no order.
func benchTTL(i int) uint32 { return uint32(3600 + i*7919%3600) }

func renewBody(lease int) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: uint64(lease + 1), Holder: benchHolder(lease)}}}
}

// seatSteps are pairs of commands that leave the state's size as it was.
var seatSteps = []struct {
	kind string
	// pair is the k-th since the state was made, about a lease or pool drawn by i.
	pair func(s *State, x seatShape, i, k int) [2]*fsmpb.Body
}{
	{"checkout+check-in", func(s *State, _ seatShape, i, k int) [2]*fsmpb.Body {
		next := s.counters.lastLease + 1 + uint64(k)
		return [2]*fsmpb.Body{
			checkoutBody(&fsmpb.Checkout{Pool: benchPool(i % benchPools), Product: "b", User: newUser(i), Client: "host", Holder: benchHolder(i)}),
			{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: next, Holder: benchHolder(i)}}},
		}
	}},
	{"renew+renew", func(_ *State, x seatShape, i, _ int) [2]*fsmpb.Body {
		return [2]*fsmpb.Body{renewBody(i % x.n), renewBody((i + x.n/2) % x.n)}
	}},
	{"enqueue+leave", func(s *State, x seatShape, i, k int) [2]*fsmpb.Body {
		next := s.counters.lastTicket + 1 + uint64(k)
		return [2]*fsmpb.Body{
			checkoutBody(&fsmpb.Checkout{Pool: x.pool(i), Product: "a", User: newUser(i), Client: "host", Queue: true, Holder: benchHolder(i)}),
			{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: next, Holder: benchHolder(i)}}},
		}
	}},
	{"denied+denied", func(_ *State, x seatShape, i, _ int) [2]*fsmpb.Body {
		denied := checkoutBody(&fsmpb.Checkout{Pool: x.pool(i), Product: "a", User: newUser(i), Client: "host", Holder: benchHolder(i)})
		return [2]*fsmpb.Body{denied, denied}
	}},
}

func newUser(i int) string { return fmt.Sprintf("new-%07d@example.org", i) }

// BenchmarkSeats steps pairs of commands on states of several sizes; a pair counts as two operations. Leases
// and pools are taken in a shuffled order, so that no cache helps.
func BenchmarkSeats(b *testing.B) {
	for _, step := range seatSteps {
		for _, size := range sizes {
			b.Run(step.kind+"/"+size.name, func(b *testing.B) {
				s := seatView(b, size.n).Fork()
				order := rand.New(rand.NewPCG(1, 2)).Perm(max(size.n, benchPools))
				s.clock.WallMs++
				commands, bodies := make([]*fsmpb.Command, 0, b.N+1), make([]*fsmpb.Body, 0, b.N+1)
				for k := 0; len(bodies) < b.N; k++ {
					for _, body := range step.pair(s, shapeOf(size.n), order[k%len(order)], k) {
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

// BenchmarkSeatsExpire ends a thousand leases a command, when they are due; each seat is offered to the first who waits
// in its pool. An operation is one lease. Before the next command the offers are claimed and as many tickets queue anew.
func BenchmarkSeatsExpire(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			s := seatView(b, size.n).Fork()
			expire := expireBody()
			command := mustCommand(b, "", expire)
			b.ReportAllocs()
			for i := 0; i < b.N; i += expireLimit {
				b.StopTimer()
				s.clock.WallMs = s.clock.PauseMs + nthDue(s, expireLimit)
				b.StartTimer()
				s.index++
				o := s.Step(command, expire)
				b.StopTimer()
				if n := len(o.GetExpired().Leases); n != expireLimit {
					b.Fatalf("%d leases ended", n)
				}
				claimOffers(b, s)
				b.StartTimer()
			}
		})
	}
}

// nthDue is when the n-th lease from now ends, on the lease clock.
func nthDue(s *State, n int) (ms int64) {
	s.leaseDue.keys.Ascend(leaseDeadline{}, func(d leaseDeadline) bool {
		ms = d.ms
		n--
		return n > 0
	})
	return ms
}

// claimOffers has every offer claimed, and another ticket queued in its place.
func claimOffers(b *testing.B, s *State) {
	b.Helper()
	var offered []*Ticket
	s.leaseDue.keys.Ascend(leaseDeadline{}, func(d leaseDeadline) bool {
		if d.ticket() {
			t, _ := s.tickets.get(d.id())
			offered = append(offered, t)
		}
		return len(offered) < expireLimit
	})
	for _, t := range offered {
		again := clone(t.Ask)
		for _, body := range []*fsmpb.Body{{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: t.ID, Holder: t.Ask.Holder}}}, checkoutBody(again)} {
			s.index++
			if o := s.Step(mustCommand(b, fmt.Sprint("c", s.index), body), body); o.Refusal != nil {
				b.Fatal(Detail(o.Refusal))
			}
		}
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
