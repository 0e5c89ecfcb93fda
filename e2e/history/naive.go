package history

import (
	"fmt"
	"slices"
	"strings"
)

// naive is the rules in their plainest form, over slices that are gone through from front to back. It was written from docs/rules.md and
// knows nothing of package fsm.
type naive struct {
	setup *Setup
	size  uint64
	// seats are leases in the order of their ids, line is the queue, rooms are instances.
	seats []seat
	line  []place
	rooms []room
	// given are the last ids.
	givenLease, givenTicket, givenSerial uint64
}

type seat struct {
	id            uint64
	holder        string
	product, user string
	count         uint64
	borrowed      bool
	renewals      uint64
}

type place struct {
	id            uint64
	holder        string
	product, user string
	count         uint64
	offered       bool
}

type room struct {
	id   uint64
	name string
	n    uint64
}

func newNaive(s *Setup) *naive { return &naive{setup: s, size: s.Size} }

// step changes a copy.
func (m *naive) step(in Input) (machine, Output) {
	if in.Kind.Reads() {
		return m, m.look(in)
	}
	next := *m
	next.seats, next.line, next.rooms = slices.Clone(m.seats), slices.Clone(m.line), slices.Clone(m.rooms)
	var out Output
	switch in.Kind {
	case Checkout:
		out = next.checkout(in)
	case Renew, CheckIn, ReturnBorrow, Revoke:
		out = next.onSeat(in)
	case Keep, Claim, Leave:
		out = next.onPlace(in)
	case ResizePool:
		out = next.resize(in.Size)
	default:
		out = next.onRooms(in)
	}
	return &next, out
}

// refuse names facts and their numbers by turns.
func refuse(code string, facts ...any) Output {
	return Refusal(code, func(name string) uint64 {
		return facts[slices.Index(facts, any(name))+1].(uint64)
	})
}

// most is how many seats a product can have at once (rules P1, P2).
func (m *naive) most(product string, size uint64) uint64 {
	for _, p := range m.setup.Products {
		if p.Name == product && p.Cap > 0 {
			return min(size, p.Cap, p.Quantity)
		} else if p.Name == product {
			return min(size, p.Quantity)
		}
	}
	return 0
}

// used are the seats of a product, or of all, that leases and offers hold.
func (m *naive) used(product string) (n uint64) {
	for _, x := range m.seats {
		if product == "" || x.product == product {
			n += x.count
		}
	}
	return n + m.offered(product)
}

func (m *naive) offered(product string) (n uint64) {
	for _, x := range m.line {
		if x.offered && (product == "" || x.product == product) {
			n += x.count
		}
	}
	return n
}

// waiting is how many tickets without an offer are before a place in line.
func (m *naive) waiting(before int) (n uint64) {
	for _, x := range m.line[:before] {
		if !x.offered {
			n++
		}
	}
	return n
}

// lacking says what is wanting: the pool's size, the product's cap, or nothing.
func (m *naive) lacking(product string, count uint64) string {
	switch {
	case m.used("")+count > m.size:
		return "size"
	case m.used(product)+count > m.most(product, m.size):
		return "cap"
	}
	return ""
}

// turn is the first place in line that seats can be offered to, and whether who comes last, for a product, is held back (rule Q1).
func (m *naive) turn(product string) (first int, held bool) {
	all, products := false, map[string]bool{}
	for i, x := range m.line {
		if x.offered || all || products[x.product] {
			continue
		}
		switch m.lacking(x.product, x.count) {
		case "":
			return i, all || products[product]
		case "size":
			all = true
		case "cap":
			products[x.product] = true
		}
	}
	return -1, all || products[product]
}

// offer makes all offers that can be made (rule Q2).
func (m *naive) offer() {
	for {
		i, _ := m.turn("")
		if i < 0 {
			return
		}
		m.line[i].offered = true
	}
}

func (m *naive) checkout(in Input) Output {
	at := slices.IndexFunc(m.setup.Products, func(p Product) bool { return p.Name == in.Product })
	if at < 0 {
		return refuse("product_not_in_pool")
	}
	if in.Queue {
		// Who waits already is told of that (rule Q5).
		if i := slices.IndexFunc(m.line, func(x place) bool { return x.user == in.User && x.product == in.Product }); i >= 0 {
			m.line[i].holder = in.Holder
			return m.placeOf(i)
		}
	}
	if refusal := m.forbids(in, m.setup.Products[at].Days); refusal.Code != "" {
		return refusal
	}
	denial := m.denies(in)
	switch ahead := m.waiting(len(m.line)); {
	case denial.Code == "":
		return m.take(place{holder: in.Holder, product: in.Product, user: in.User, count: in.Count}, in.Days > 0)
	case !in.Queue || in.Days > 0:
		return denial
	case ahead >= uint64(m.setup.QueueLimit):
		return refuse("queue_full", "used", m.used(""), "limit", uint64(m.setup.QueueLimit), "offered", m.offered(""), "ahead", ahead)
	}
	m.givenTicket++
	m.line = append(m.line, place{id: m.givenTicket, holder: in.Holder, product: in.Product, user: in.User, count: in.Count})
	return m.placeOf(len(m.line) - 1)
}

// forbids refuses what no waiting would help with.
func (m *naive) forbids(in Input, days uint32) Output {
	var borrowed uint64
	for _, x := range m.seats {
		if x.borrowed && x.product == in.Product {
			borrowed += x.count
		}
	}
	switch most := m.most(in.Product, m.size); {
	case in.Days > 0 && days == 0:
		return refuse("borrow_not_allowed")
	case in.Days > days:
		return refuse("borrow_too_long", "max", uint64(days))
	case in.Count > most:
		return refuse("count_above_limit", "max", most)
	case in.Days > 0 && borrowed+in.Count > most:
		return refuse("borrow_low_water", "borrowed", borrowed, "limit", most)
	}
	return Output{}
}

// denies refuses what there are no seats for now, or only for those who came before.
func (m *naive) denies(in Input) Output {
	all, offered, ahead := m.used(""), m.offered(""), m.waiting(len(m.line))
	_, held := m.turn(in.Product)
	switch lacking := m.lacking(in.Product, in.Count); {
	case lacking == "size":
		return refuse("pool_full", "used", all, "limit", m.size, "offered", offered, "ahead", ahead)
	case lacking == "cap":
		return refuse("cap_reached", "used", m.used(in.Product), "limit", m.most(in.Product, m.size), "offered", offered, "ahead", ahead)
	case held:
		return refuse("queue_ahead", "used", all, "limit", m.size, "offered", offered, "ahead", ahead)
	}
	return Output{}
}

// take makes a lease.
func (m *naive) take(of place, borrow bool) Output {
	m.givenLease++
	m.seats = append(m.seats, seat{id: m.givenLease, holder: of.holder, product: of.product, user: of.user, count: of.count, borrowed: borrow})
	return Output{Lease: m.givenLease}
}

// placeOf is how a ticket is answered.
func (m *naive) placeOf(i int) Output {
	x := m.line[i]
	if x.offered {
		return Output{Ticket: x.id, Offered: true}
	}
	return Output{Ticket: x.id, Ahead: m.waiting(i)}
}

// onSeat is for the operations on a lease (rules K2, K3, K4, K6).
func (m *naive) onSeat(in Input) Output {
	i := slices.IndexFunc(m.seats, func(x seat) bool { return x.id == in.Lease })
	if i < 0 {
		if in.Kind == CheckIn || in.Kind == ReturnBorrow {
			return Output{Already: true}
		}
		return refuse("lease_ended")
	}
	x := &m.seats[i]
	switch {
	case (in.Kind == Renew || in.Kind == CheckIn) && x.holder != in.Holder:
		return refuse("not_holder")
	case in.Kind == Renew && x.borrowed:
		return refuse("borrow_not_renewable")
	case in.Kind == Renew:
		x.renewals++
		return Output{N: x.renewals}
	case in.Kind == CheckIn && x.borrowed:
		return refuse("borrow_token_needed")
	}
	m.seats = slices.Delete(m.seats, i, i+1)
	m.offer()
	return Output{}
}

// onPlace is for the operations on a ticket (rules Q2, Q3, K6).
func (m *naive) onPlace(in Input) Output {
	i := slices.IndexFunc(m.line, func(x place) bool { return x.id == in.Ticket })
	if i < 0 {
		if in.Kind == Leave {
			return Output{Already: true}
		}
		return refuse("ticket_gone")
	}
	x := m.line[i]
	switch {
	case x.holder != in.Holder:
		return refuse("not_ticket_holder")
	case in.Kind == Keep:
		out := m.placeOf(i)
		out.Ticket = 0
		return out
	case in.Kind == Claim && !x.offered:
		return refuse("not_offered", "ahead", m.waiting(i))
	}
	m.line = slices.Delete(m.line, i, i+1)
	if in.Kind == Claim {
		return m.take(x, false)
	}
	m.offer()
	return Output{}
}

// resize gives the pool another size: who could never be served is sent away, and what it has more is offered (rule P1).
func (m *naive) resize(size uint64) Output {
	for _, p := range m.setup.Products {
		// Caps and sizes are promised, quantities bear that.
		wants, had := size, m.size
		if p.Cap > 0 {
			wants, had = min(size, p.Cap), min(m.size, p.Cap)
		}
		if wants > had && wants > p.Quantity {
			return refuse("contract_exhausted", "free", p.Quantity)
		}
	}
	m.size = size
	m.line = slices.DeleteFunc(m.line, func(x place) bool { return !x.offered && x.count > m.most(x.product, size) })
	m.offer()
	return Output{}
}

// onRooms is for the operations on instances (rules I1 to I3).
func (m *naive) onRooms(in Input) Output {
	total := uint64(0)
	for _, x := range m.rooms {
		total += x.n
	}
	if in.Kind == Create {
		switch free := m.setup.Users - total; {
		case slices.ContainsFunc(m.rooms, func(x room) bool { return x.name == in.Name }):
			return refuse("instance_exists")
		case in.N > free:
			return refuse("contract_exhausted", "free", free)
		}
		m.givenSerial++
		m.rooms = append(m.rooms, room{m.givenSerial, in.Name, in.N})
		return Output{Serial: m.givenSerial, N: in.N}
	}
	i := slices.IndexFunc(m.rooms, func(x room) bool { return x.id == in.Serial })
	if i < 0 {
		return refuse("instance_removed")
	}
	now := m.rooms[i]
	if in.Kind == Remove {
		m.rooms = slices.Delete(m.rooms, i, i+1)
		return Output{N: now.n}
	}
	if free := m.setup.Users - (total - now.n); in.N > now.n && in.N > free {
		return refuse("contract_exhausted", "free", free)
	}
	m.rooms[i].n = in.N
	return Output{N: in.N}
}

func (m *naive) look(in Input) (out Output) {
	switch in.Kind {
	case ReadPool:
		var used []uint64
		for _, p := range m.setup.Products {
			used = append(used, m.used(p.Name))
		}
		out.Facts = PoolText(m.size, m.offered(""), m.waiting(len(m.line)), used)
	case ReadLease:
		for _, x := range m.seats {
			if x.id == in.Lease {
				return Output{Facts: LeaseText(x.product, x.user, x.count, x.borrowed)}
			}
		}
		return refuse("lease_ended")
	case ReadTicket:
		for i, x := range m.line {
			if x.id == in.Ticket {
				return Output{Facts: TicketText(x.product, x.user, x.count, x.offered, m.placeOf(i).Ahead)}
			}
		}
		return refuse("ticket_gone")
	case ReadInstance:
		for _, x := range m.rooms {
			if x.id == in.Serial {
				return Output{N: x.n}
			}
		}
		return refuse("instance_removed")
	case ReadTotal:
		for _, x := range m.rooms {
			out.N += x.n
		}
	default:
		out.Rows = m.list(in.Kind)
	}
	return out
}

func (m *naive) list(kind Kind) (rows []Row) {
	switch kind {
	case ReadLeases:
		for _, x := range m.seats {
			rows = append(rows, Row{x.id, LeaseText(x.product, x.user, x.count, x.borrowed)})
		}
	case ReadTickets:
		for i, x := range m.line {
			rows = append(rows, Row{x.id, TicketText(x.product, x.user, x.count, x.offered, m.placeOf(i).Ahead)})
		}
	case ReadInstances:
		for _, x := range m.rooms {
			rows = append(rows, Row{x.id, InstanceText(x.name, x.n)})
		}
	}
	return rows
}

func (m *naive) live() (leases, tickets, serials []uint64) {
	for _, x := range m.seats {
		leases = append(leases, x.id)
	}
	for _, x := range m.line {
		tickets = append(tickets, x.id)
	}
	for _, x := range m.rooms {
		serials = append(serials, x.id)
	}
	return leases, tickets, serials
}

func (m *naive) describe() string {
	var text strings.Builder
	fmt.Fprintf(&text, "size %d", m.size)
	for _, x := range m.seats {
		fmt.Fprintf(&text, "; %d of %s for %s, %v, %d", x.count, x.product, x.user, x.borrowed, x.renewals)
	}
	for _, x := range m.line {
		fmt.Fprintf(&text, "; %s waits for %d of %s, %v", x.user, x.count, x.product, x.offered)
	}
	for _, x := range m.rooms {
		fmt.Fprintf(&text, "; %s %d", x.name, x.n)
	}
	return text.String()
}
