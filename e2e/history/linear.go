package history

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// machine is a model of pool and instances, immutable. Its ids are its own, in the order in which they were given out.
type machine interface {
	// step returns what follows an operation, and its answer.
	step(in Input) (machine, Output)
	// live are the ids in force, in order.
	live() (leases, tickets, serials []uint64)
	// describe has all that later answers depend on but ids and secrets, leases, tickets and instances in the order of their ids.
	describe() string
}

// state is a machine with the ids that its clients know. It is immutable.
type state struct {
	machine
	leases, tickets, serials ids
	key                      string
	hash                     uint64
}

func newState(m machine) *state { return (&state{machine: m}).keyed() }

// keyed fills in what states are compared by.
func (s *state) keyed() *state {
	var text strings.Builder
	text.WriteString(s.describe())
	for _, x := range []*ids{&s.leases, &s.tickets, &s.serials} {
		fmt.Fprintf(&text, "; to %d, ended %v:", x.last, x.ended != 0)
		for _, p := range x.live {
			fmt.Fprintf(&text, " %d by %s,", p.real, p.holder)
		}
	}
	sum := fnv.New64a()
	s.key = text.String()
	_, _ = sum.Write([]byte(s.key)) // it never fails
	s.hash = sum.Sum64()
	return s
}

// translate puts the machine's ids in place of those of a client; false if an operation names one that was not given out yet.
func (s *state) translate(in Input) (Input, bool) {
	known := [3]bool{true, true, true}
	if in.Lease != 0 {
		in.Lease, known[0] = s.leases.own(in.Lease)
	}
	if in.Ticket != 0 {
		in.Ticket, known[1] = s.tickets.own(in.Ticket)
	}
	if in.Serial != 0 {
		in.Serial, known[2] = s.serials.own(in.Serial)
	}
	return in, known[0] && known[1] && known[2]
}

// step takes one operation; false if it can't have had this answer now.
func (s *state) step(in Input, got Output) (*state, bool) {
	own, known := s.translate(in)
	if !known {
		return nil, false
	}
	m, want := s.machine.step(own)
	next := &state{machine: m, leases: s.leases, tickets: s.tickets, serials: s.serials}
	if !in.Kind.Reads() {
		leases, tickets, serials := m.live()
		next.leases, next.tickets, next.serials = s.leases.after(leases, in.Holder), s.tickets.after(tickets, in.Holder), s.serials.after(serials, "")
		if in.Kind == Checkout && want.Ticket != 0 {
			// Who asks again has the ticket by the new secret (rule Q5).
			next.tickets.hold(want.Ticket, in.Holder)
		}
	}
	if !got.Unknown && !next.answers(in.Kind, want, got) {
		return nil, false
	}
	return next.keyed(), true
}

// answers reports whether a client may have been told this of what the machine says, and takes ids over.
func (s *state) answers(kind Kind, want, got Output) bool {
	if want.Code != got.Code || want.Facts != got.Facts || want.N != got.N || want.Offered != got.Offered || want.Ahead != got.Ahead ||
		want.Already != got.Already || len(want.Rows) != len(got.Rows) {
		return false
	}
	listed := map[Kind]*ids{ReadLeases: &s.leases, ReadTickets: &s.tickets, ReadInstances: &s.serials}[kind]
	for i := range want.Rows {
		if want.Rows[i].Text != got.Rows[i].Text || !listed.same(want.Rows[i].ID, got.Rows[i].ID) {
			return false
		}
	}
	return s.leases.same(want.Lease, got.Lease) && s.tickets.same(want.Ticket, got.Ticket) && s.serials.same(want.Serial, got.Serial)
}

// pair is an id in force.
type pair struct {
	own uint64
	// real is what clients know it by, 0 if none has been told; it is above floor.
	real, floor uint64
	// holder names the secret that belongs to it.
	holder string
}

// ids lead from those of a machine to real ones. Slices are shared and never changed.
type ids struct {
	live []pair
	// last is the highest real one that clients were told of.
	last uint64
	// ended is one that is not in force any more, 0 if there is none: they are all alike.
	ended uint64
}

// own is the machine's id for a real one.
func (x *ids) own(real uint64) (uint64, bool) {
	for _, p := range x.live {
		if p.real == real {
			return p.own, true
		}
	}
	return x.ended, x.ended != 0 && real <= x.last
}

// after are the ids once a machine has these in force.
func (x ids) after(live []uint64, holder string) ids {
	if slices.EqualFunc(x.live, live, func(p pair, own uint64) bool { return p.own == own }) {
		return x
	}
	next := ids{last: x.last, ended: x.ended, live: make([]pair, 0, len(live))}
	for _, p := range x.live {
		if slices.Contains(live, p.own) {
			next.live = append(next.live, p)
		} else {
			next.ended = p.own
		}
	}
	for _, own := range live {
		if len(next.live) == 0 || own > next.live[len(next.live)-1].own {
			next.live = append(next.live, pair{own: own, floor: x.last, holder: holder})
		}
	}
	return next
}

func (x *ids) find(own uint64) int {
	return slices.IndexFunc(x.live, func(p pair) bool { return p.own == own })
}

// hold gives an id to the holder of another secret.
func (x *ids) hold(own uint64, holder string) {
	x.live = slices.Clone(x.live)
	if i := x.find(own); i >= 0 {
		x.live[i].holder = holder
	}
}

// same reports whether a client may have been told a real id where the machine has its own, and keeps that: who was given a number later was
// given a higher one (rules K6, Q1, I3).
func (x *ids) same(own, real uint64) bool {
	if own == 0 || real == 0 {
		return own == real
	}
	at := x.find(own)
	if at < 0 {
		return false
	}
	p := x.live[at]
	if p.real != 0 {
		return p.real == real
	}
	if real <= p.floor {
		return false
	}
	for i, other := range x.live {
		if other.real != 0 && (i < at) != (other.real < real) {
			return false
		}
	}
	x.live = slices.Clone(x.live)
	x.live[at].real = real
	x.last = max(x.last, real)
	return true
}

// model is a machine as porcupine takes it.
func model(first *state) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(s, in, out any) (bool, any) {
			next, fits := s.(*state).step(in.(Input), out.(Output))
			return fits, next
		},
		Equal:             func(a, b any) bool { return a.(*state).key == b.(*state).key },
		Hash:              func(s any) uint64 { return s.(*state).hash },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%s: %s", in.(Input), out.(Output)) },
		DescribeState:     func(s any) string { return s.(*state).key },
	}
}
