package fsm

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/licet/licet/fsm/fsmpb"
)

// Ticket is a checkout that waits for seats, or one that seats are offered to; immutable (rules Q1 to Q5).
type Ticket struct {
	// ID orders the queue: first come, first served.
	ID      uint64
	Ask     *fsmpb.Checkout
	SinceMs int64
	// EndsMs is on the lease clock: when the ticket is dropped, or its offer ends.
	EndsMs  int64
	Offered bool
	// held are the seats of the offer.
	held seats
	// pool is the pool's number.
	pool uint64
	// apiToken is the number of the API token that made it, if that has limits.
	apiToken uint64
	hashed
}

func (t *Ticket) message(e *encoder) (recordKind, message) { return 43, t.record(&e.ticket) }

func (t *Ticket) proto() *fsmpb.TicketRecord { return t.record(new(fsmpb.TicketRecord)) }

func (t *Ticket) record(into *fsmpb.TicketRecord) *fsmpb.TicketRecord {
	*into = fsmpb.TicketRecord{
		Id: t.ID, Ask: t.Ask, SinceMs: t.SinceMs, EndsMs: t.EndsMs, Offered: t.Offered,
		Reserved: t.held.reserved, Reservation: t.held.reservation, ApiToken: t.apiToken,
	}
	return into
}

func ticketFromProto(r *fsmpb.TicketRecord, p *Pool) *Ticket {
	t := &Ticket{ID: r.Id, pool: p.ID, Ask: r.Ask, SinceMs: r.SinceMs, EndsMs: r.EndsMs, Offered: r.Offered, apiToken: r.ApiToken}
	if t.Offered {
		t.held = seats{r.GetAsk().GetCount(), r.Reserved, r.Reservation}
	}
	return t
}

// ticketKey lists the tickets of a pool, offered ones included, in the order of the queue.
type ticketKey struct{ pool, id uint64 }

func (a ticketKey) less(b ticketKey) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	return a.id < b.id
}

func (t *Ticket) key() ticketKey { return ticketKey{t.pool, t.ID} }

// userTicket finds the one ticket of a user for a product of a pool (rule Q5), by the hash of both.
type userTicket struct{ pool, user, id uint64 }

func (a userTicket) less(b userTicket) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	if a.user != b.user {
		return a.user < b.user
	}
	return a.id < b.id
}

func (t *Ticket) userKey() userTicket { return userTicket{t.pool, userOf(t.Ask), t.ID} }

func userOf(ask *fsmpb.Checkout) uint64 { return hash64(ask.Product + "\x00" + ask.User) }

// waiter lists the tickets without an offer by lane: those that can have the same seats.
type waiter struct {
	pool          uint64
	product, lane string
	id            uint64
}

func (a waiter) less(b waiter) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	if a.product != b.product {
		return a.product < b.product
	}
	if a.lane != b.lane {
		return a.lane < b.lane
	}
	return a.id < b.id
}

func (t *Ticket) waiter(p *Pool) waiter {
	w := waiter{p.ID, t.Ask.Product, "", t.ID}
	if x := p.product(t.Ask.Product); x != nil {
		// The pool's own text is compared by its address alone.
		w.product, w.lane = x.Name, lane(x, t.Ask.User, t.Ask.Groups)
	}
	return w
}

// relane sorts a pool's waiting tickets anew, after its reservations have changed.
func (t *tables) relane(p *Pool) {
	var stale []waiter
	t.waiters.keys.Ascend(waiter{pool: p.ID}, func(w waiter) bool {
		if w.pool == p.ID {
			stale = append(stale, w)
		}
		return w.pool == p.ID
	})
	for _, w := range stale {
		t.waiters.keys.Delete(w)
	}
	for _, w := range stale {
		ticket, _ := t.tickets.get(w.id)
		t.waiters.keys.Set(ticket.waiter(p))
	}
}

// reindexTicket keeps what is derived from tickets, but for the seats: a ticket comes in place of another with the same
// id, pool and user, or of none; nil stands for none. What both have in common is not touched.
func (t *tables) reindexTicket(p *Pool, old, next *Ticket) {
	switch {
	case old == nil:
		t.hold(next.apiToken, 0, 1)
		t.byPool.keys.Set(next.key())
		t.ticketUsers.keys.Set(next.userKey())
	case next == nil:
		t.hold(old.apiToken, 0, -1)
		t.byPool.keys.Delete(old.key())
		t.ticketUsers.keys.Delete(old.userKey())
	}
	if old == nil || next == nil || old.EndsMs != next.EndsMs {
		if old != nil {
			t.leaseDue.keys.Delete(old.deadline())
		}
		if next != nil {
			t.leaseDue.keys.Set(next.deadline())
		}
	}
	switch {
	case old.waits() && !next.waits():
		t.waiters.keys.Delete(old.waiter(p))
		t.waiting.keys.Delete(old.key())
	case !old.waits() && next.waits():
		t.waiters.keys.Set(next.waiter(p))
		t.waiting.keys.Set(next.key())
	}
}

// waits is false for an offer, and for no ticket.
func (t *Ticket) waits() bool { return t != nil && !t.Offered }

func (t *Ticket) shift() shift {
	if !t.Offered {
		return shift{waiting: 1}
	}
	by := t.held.taken()
	by.offered = by.used
	return by
}

// setTicket puts a ticket in place of another, or of none.
func (s *State) setTicket(p *Pool, old, next *Ticket) {
	by := next.shift()
	if old != nil {
		by = by.plus(old.shift().negative())
	}
	s.tickets.set(&s.digest, next.ID, next)
	s.reindexTicket(p, old, next)
	if by.waiting > 0 && s.use(p).waiting == 0 {
		s.beginPace(p)
	}
	s.take(p, next.Ask.Product, by)
}

// removeTicket purges a ticket, without offering what it frees.
func (s *State) removeTicket(p *Pool, x *Ticket) {
	s.tickets.delete(&s.digest, x.ID)
	s.reindexTicket(p, x, nil)
	s.take(p, x.Ask.Product, x.shift().negative())
	s.unmarkEnding(p)
}

// ticketOver reports whether a ticket has reached its end, applied or not: what is over is never offered
// or kept (rule Q3).
func (t *tables) ticketOver(x *Ticket) bool { return t.clock.LeaseMs() >= x.EndsMs }

// inForce is for tickets that may be nil.
func (t *tables) inForce(x *Ticket) bool { return x != nil && !t.ticketOver(x) }

// enqueue makes a ticket of a request that found no seats (rule Q1). One of the same user that is over makes way (rule Q5): gone, nil
// if there is none.
func (s *State) enqueue(o *fsmpb.Outcome, r *request, gone *Ticket) *fsmpb.Refusal {
	total := s.use(r.pool)
	tickets := total.waiting
	if gone != nil && !gone.Offered {
		tickets--
	}
	if tickets >= uint64(r.pool.QueueLimit) {
		return refuse(QueueFull, "pool", r.pool.Name, "product", r.product.Name, "ahead", tickets, "limit", uint64(r.pool.QueueLimit),
			"asked", r.ask.Count, "used", total.used, "offered", total.offered)
	}
	leaving := uint64(0)
	if gone != nil && gone.apiToken == r.by.number() {
		leaving = 1
	}
	if refusal := s.ticketsLeft(r.by, leaving); refusal != nil {
		return refusal
	}
	s.counters.lastTicket++
	t := &Ticket{ID: s.counters.lastTicket, pool: r.pool.ID, Ask: r.ask, SinceMs: s.clock.WallMs, EndsMs: s.ticketEnd(r.pool), apiToken: r.by.number()}
	if gone != nil {
		s.removeTicket(r.pool, gone)
	}
	s.setTicket(r.pool, nil, t)
	if gone != nil {
		s.schedule(r.pool)
		s.ticketResult(o, t)
		return nil
	}
	// All who wait are before it, so that they need not be looked for.
	o.Result = &fsmpb.Outcome_Ticket{Ticket: s.statusBehind(t, total.waiting)}
	return nil
}

func (s *State) ticketEnd(p *Pool) int64 { return s.clock.LeaseMs() + int64(p.TicketTtl)*1000 }

// askAgain answers a user who waits already (rule Q5). On the same client the new handle takes
// the old one's place: its holder may have forgotten it.
func (s *State) askAgain(o *fsmpb.Outcome, t *Ticket, ask *fsmpb.Checkout) {
	p := s.poolNumbered(t.pool)
	if t.Ask.Client == ask.Client {
		next := edit(t)
		next.Ask = clone(t.Ask)
		next.Ask.Holder = ask.Holder
		if !t.Offered {
			next.EndsMs = s.ticketEnd(p)
		}
		s.setTicket(p, t, next)
		t = next
	}
	s.ticketResult(o, t)
}

// ticketOf finds the ticket that a user has for a product of a pool, nil if there is none.
func (t *tables) ticketOf(ask *fsmpb.Checkout) (found *Ticket) {
	p, ok := t.pools.get(ask.Pool)
	if !ok {
		return nil
	}
	from := userTicket{p.ID, userOf(ask), 0}
	t.ticketUsers.keys.Ascend(from, func(k userTicket) bool {
		if k.pool != from.pool || k.user != from.user {
			return false
		}
		x, _ := t.tickets.get(k.id)
		if x.Ask.Product == ask.Product && x.Ask.User == ask.User {
			found = x
		}
		return found == nil
	})
	return found
}

// block says what the tickets of a pool before a claimant hold back (rule Q1).
type block struct {
	of *Pool
	// pool: one waits for the pool's size, and holds back all behind it.
	pool bool
	// products and lanes: one waits for its own product's seats alone.
	products []string
	lanes    []claimant
}

// holds reports whether a claimant has to wait behind others. Seats of its own reservation are
// for those of its own lane alone.
func (b *block) holds(who claimant, own uint64) bool {
	if who.lane != "" && who.count <= own {
		return slices.Contains(b.lanes, claimant{product: who.product, lane: who.lane})
	}
	return b.pool || slices.Contains(b.products, who.product)
}

// add notes a claimant that found no seats.
func (b *block) add(who claimant, whole bool) {
	b.pool = b.pool || whole
	b.products = append(b.products, who.product)
	b.lanes = append(b.lanes, claimant{product: who.product, lane: who.lane})
}

// ownUnused is how many seats of a claimant's reservation nobody has.
func (t *tables) ownUnused(p *Pool, who claimant) uint64 {
	r := reservationNamed(p.product(who.product), who.lane)
	if r == nil {
		return 0
	}
	return r.Seats - min(r.Seats, t.use(p).of(who.product).out.Get(r.Name))
}

// heads are the first waiting tickets of each lane of a pool.
func (t *tables) heads(p *Pool, list []head, b *block) []head {
	// left are waiting tickets of which no lane was found. Without reservations a product has but one.
	left, from := t.use(p).waiting, waiter{pool: p.ID}
	for left > 0 {
		var first waiter
		t.waiters.keys.Ascend(from, func(w waiter) bool {
			first = w
			return false
		})
		if first.pool != p.ID {
			return list
		}
		list = append(list, head{first, b})
		if x := p.product(first.product); x != nil && len(x.Reservations) == 0 {
			left -= t.use(p).of(first.product).waiting
		}
		from = waiter{p.ID, first.product, first.lane, math.MaxUint64}
	}
	return list
}

// head is the first ticket of a lane, and what those before it hold back in its pool.
type head struct {
	waiter
	block *block
}

// scarce is a product of whose quantity somebody waits for more than there is: who came later
// does not take it, from whatever pool (rule Q1).
type scarce struct {
	pool    uint64
	product string
	// shared: it is what is left for shared pools.
	shared bool
}

// line goes through the queues of a contract's pools, whose seats can be one another's: all in one order.
type line struct {
	t      *tables
	heads  []head
	blocks []*block
	scarce []scarce
}

// lineOf begins at the first ticket of a pool's own queue and, for products whose seats may be other pools',
// of theirs. It costs the same however many queues the contract's other pools have, unless they matter.
func (t *tables) lineOf(p *Pool) *line {
	var products []string
	for _, x := range p.Products {
		if t.entangled(p, x.Name) {
			products = append(products, x.Name)
		}
	}
	if len(products) == 0 {
		q := &line{t: t}
		q.add(p)
		q.sort()
		return q
	}
	return t.lineOfContract(p.Contract, func(other *Pool) bool {
		u := t.use(other)
		return other.Name == p.Name || slices.ContainsFunc(products, func(x string) bool { return u.of(x).waiting > 0 })
	})
}

// lineOfContract begins at the first ticket of those pools of a contract that the filter takes.
func (t *tables) lineOfContract(contract string, takes func(*Pool) bool) *line {
	q := &line{t: t}
	t.queues.keys.Ascend(contractPool{contract, ""}, func(k contractPool) bool {
		if k.contract != contract {
			return false
		}
		if p, _ := t.pools.get(k.pool); takes(p) {
			q.add(p)
		}
		return true
	})
	q.sort()
	return q
}

// add takes a pool's queue in, if the pool serves.
func (q *line) add(p *Pool) {
	if p.Active && !q.t.over(p) {
		b := &block{of: p}
		q.blocks = append(q.blocks, b)
		q.heads = q.t.heads(p, q.heads, b)
	}
}

func (q *line) sort() {
	slices.SortFunc(q.heads, func(a, b head) int { return cmp.Compare(a.id, b.id) })
}

func (q *line) block(p *Pool) *block {
	if i := slices.IndexFunc(q.blocks, func(b *block) bool { return b.of.ID == p.ID }); i >= 0 {
		return q.blocks[i]
	}
	return new(block)
}

// next returns the first ticket that can have seats now, nil if none can. It notes what those before it, or all, hold back.
func (q *line) next() (*Ticket, seats, *Pool) {
	for _, head := range q.heads {
		b := head.block
		ticket, _ := q.t.tickets.get(head.id)
		who := claimant{product: head.product, count: ticket.Ask.Count, lane: head.lane}
		if q.holds(b.of, who) {
			b.add(who, false)
			continue
		}
		got, lack := q.t.fit(b.of, who)
		if lack == nil && !q.t.ticketOver(ticket) {
			return ticket, got, b.of
		}
		// What a ticket that is over could have is for those behind it, once its end is applied.
		b.add(who, lack == nil || lack.whole)
		if lack != nil && lack.code == QuantityReached {
			q.scarce = append(q.scarce, scarce{head.pool, head.product, lack.shared})
		}
	}
	return nil, seats{}, nil
}

// holds reports whether a claimant of a pool has to wait behind those that were passed.
func (q *line) holds(p *Pool, who claimant) bool {
	return q.block(p).holds(who, q.t.ownUnused(p, who)) || q.rivals(p, who) > 0
}

// rivals is how many in other pools wait for the contract's quantity of what a claimant asks for.
func (q *line) rivals(p *Pool, who claimant) (n uint64) {
	for _, x := range q.scarce {
		if x.product == who.product && x.pool != p.ID && (p.Shared || !x.shared) {
			n++
		}
	}
	return n
}

// heldBack reports whether a newcomer would take what somebody queued for before, and how many wait before
// him (rule Q1).
func (t *tables) heldBack(p *Pool, who claimant) (ahead uint64, held bool) {
	if t.use(p).waiting == 0 && !t.entangled(p, who.product) {
		return 0, false
	}
	q := t.lineOf(p)
	if len(q.heads) == 0 {
		return 0, false
	}
	q.next()
	return t.use(p).waiting + q.rivals(p, who), q.holds(p, who)
}

// schedule offers what is free in a pool to those who wait for it, in the order in which they came (rule Q2).
func (s *State) schedule(p *Pool) {
	if s.spilled == p.Contract {
		s.spilled = ""
		s.scheduleContract(p.Contract)
		return
	}
	if s.use(p).waiting == 0 && !slices.ContainsFunc(p.Products, func(x *fsmpb.PoolProduct) bool { return s.entangled(p, x.Name) }) {
		return
	}
	for s.offerFirst(s.lineOf(p)) {
	}
}

// scheduleContract is schedule for what may be free in any pool of a contract.
func (s *State) scheduleContract(contract string) {
	for s.offerFirst(s.lineOfContract(contract, func(*Pool) bool { return true })) {
	}
}

// offerFirst makes an offer to the first ticket of a line that can have seats; false if none can.
func (s *State) offerFirst(q *line) bool {
	t, got, p := q.next()
	if t == nil {
		return false
	}
	next := edit(t)
	next.Offered, next.held = true, got
	next.EndsMs = s.clock.LeaseMs() + int64(p.OfferTtl)*1000
	s.setTicket(p, t, next)
	s.notePace(p)
	s.waits = append(s.waits, max(0, s.clock.WallMs-t.SinceMs))
	return true
}

// Waits tells of each offer that the last entry made how long its ticket had waited, in milliseconds of the wall clock; nil
// if it made none. It is for whoever measures: it holds until the next entry, and is in no snapshot.
func (s *State) Waits() []int64 {
	if len(s.waits) == 0 {
		return nil
	}
	return s.waits
}

// withdrawOffers turns offers back into waiting tickets, which keep their places (rule P6). Offers
// that are over are purged.
func (s *State) withdrawOffers(p *Pool, changed *fsmpb.PoolChanged) {
	for _, t := range s.poolTickets(p, math.MaxInt) {
		switch {
		case !t.Offered:
		case s.ticketOver(t):
			s.removeTicket(p, t)
			nameID(&changed.Tickets, &changed.TicketsTotal, t.ID)
		default:
			next := edit(t)
			next.Offered, next.held, next.EndsMs = false, seats{}, s.ticketEnd(p)
			s.setTicket(p, t, next)
		}
	}
}

// heldTicket finds a ticket for who shows its handle: offers are claimed by the ticket's holder alone.
func (t *tables) heldTicket(id uint64, holder []byte) (*Ticket, *Pool, *fsmpb.Refusal) {
	if err := checkHolder(holder); err != nil {
		return nil, nil, invalid(err)
	}
	x, refusal := t.ticket(id)
	if refusal != nil {
		return nil, nil, refusal
	}
	if !bytes.Equal(x.Ask.Holder, holder) {
		return nil, nil, refuse(NotTicketHolder, "ticket", id)
	}
	return x, t.poolNumbered(x.pool), nil
}

// ticket finds a ticket that is in force. One that was given out and is not there any more is gone.
func (t *tables) ticket(id uint64) (*Ticket, *fsmpb.Refusal) {
	x, ok := t.tickets.get(id)
	if ok && !t.ticketOver(x) {
		return x, nil
	}
	if id != 0 && id <= t.counters.lastTicket {
		return nil, refuse(TicketGone, "ticket", id)
	}
	return nil, refuse(TicketNotFound, "ticket", id)
}

// keepTicket notes that the holder still waits (rule Q3). It does not lengthen an offer.
func (s *State) keepTicket(o *fsmpb.Outcome, cmd *fsmpb.KeepTicket) {
	t, p, refusal := s.heldTicket(cmd.Ticket, cmd.Holder)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	if !t.Offered {
		next := edit(t)
		next.EndsMs = s.ticketEnd(p)
		s.tickets.set(&s.digest, t.ID, next)
		s.reindexTicket(p, t, next)
		t = next
	}
	s.ticketResult(o, t)
}

// claimOffer turns an offer into a lease (rule Q2).
func (s *State) claimOffer(o *fsmpb.Outcome, cmd *fsmpb.ClaimOffer) {
	t, p, refusal := s.heldTicket(cmd.Ticket, cmd.Holder)
	if refusal == nil && !t.Offered {
		refusal = refuse(NotOffered, "ticket", t.ID, "ahead", s.ahead(t))
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	r := &request{t: &s.tables, ask: t.Ask, by: s.limited(s.actor)}
	// The pool may have changed since, and somebody else may have opened the project.
	if o.Refusal = r.decide(conditions[:standing+1]); o.Refusal == nil {
		// The lease counts for whoever claims, whoever asked.
		o.Refusal = s.leasesLeft(r.by, 0)
	}
	if o.Refusal != nil {
		s.noteDenial(p, t.Ask.Product, o.Refusal.Code)
		return
	}
	s.removeTicket(p, t)
	var l *Lease
	if t.Ask.Project != "" {
		l = s.connect(r, t.held)
	} else {
		l = s.addLease(r, t.held)
	}
	if r.project != nil {
		// The project has a token; the offered one goes to the next.
		s.schedule(p)
	}
	s.leaseResult(o, p, l)
}

// leaveQueue gives up a ticket or declines its offer (rule Q2). To leave what is gone is no fault.
func (s *State) leaveQueue(o *fsmpb.Outcome, cmd *fsmpb.LeaveQueue) {
	t, p, refusal := s.heldTicket(cmd.Ticket, cmd.Holder)
	switch {
	case refusal.GetCode() == string(TicketGone):
		o.Result = &fsmpb.Outcome_Ticket{Ticket: &fsmpb.TicketStatus{Ticket: &fsmpb.TicketRecord{Id: cmd.Ticket}, Gone: true}}
	case refusal != nil:
		o.Refusal = refusal
	default:
		s.dropTicket(p, t)
		o.Result = &fsmpb.Outcome_Ticket{Ticket: &fsmpb.TicketStatus{Ticket: withoutHolder(t), Gone: true}}
	}
}

// dropTicket purges a ticket and offers what it held, or held back, to the next.
func (s *State) dropTicket(p *Pool, t *Ticket) {
	s.removeTicket(p, t)
	s.schedule(p)
}

func withoutHolder(t *Ticket) *fsmpb.TicketRecord {
	record, ask := t.proto(), t.Ask
	record.Ask = &fsmpb.Checkout{
		Pool: ask.Pool, Product: ask.Product, User: ask.User, Client: ask.Client, Count: ask.Count, Ttl: ask.Ttl, Project: ask.Project,
		Groups: ask.Groups, BorrowDays: ask.BorrowDays, Queue: ask.Queue,
	}
	return record
}

func (s *State) ticketResult(o *fsmpb.Outcome, t *Ticket) {
	// An offer may have been made since.
	if now, ok := s.tickets.get(t.ID); ok {
		t = now
	}
	o.Result = &fsmpb.Outcome_Ticket{Ticket: s.ticketStatus(t)}
}

func (t *tables) ticketStatus(x *Ticket) *fsmpb.TicketStatus { return t.statusBehind(x, t.ahead(x)) }

// statusBehind is the status of a ticket that has so many ahead.
func (t *tables) statusBehind(x *Ticket, ahead uint64) *fsmpb.TicketStatus {
	p := t.poolNumbered(x.pool)
	c, _ := t.contracts.get(p.Contract)
	status := &fsmpb.TicketStatus{Ticket: withoutHolder(x), Ahead: ahead, EndsMs: min(x.EndsMs+t.clock.PauseMs, p.endsMs(c))}
	if !x.Offered {
		status.WaitMs = t.wait(x.pool, ahead)
	}
	return status
}

// ahead is how many tickets wait before one in its pool; an offer has none.
func (t *tables) ahead(x *Ticket) uint64 {
	if x.Offered {
		return 0
	}
	return uint64(t.rank(x.key()) - t.rank(ticketKey{x.pool, 0})) //nolint:gosec // G115: a count or a length is not negative
}

// rank is how many waiting tickets are before a place in the order of all pools' queues.
func (t *tables) rank(k ticketKey) int {
	return sort.Search(t.waiting.keys.Len(), func(i int) bool {
		at, _ := t.waiting.keys.GetAt(i)
		return !at.less(k)
	})
}

func (t *tables) poolTickets(p *Pool, limit int) (list []*Ticket) {
	if limit <= 0 {
		return nil
	}
	t.byPool.keys.Ascend(ticketKey{p.ID, 0}, func(k ticketKey) bool {
		if k.pool != p.ID {
			return false
		}
		x, _ := t.tickets.get(k.id)
		list = append(list, x)
		return len(list) < limit
	})
	return list
}

func (t *tables) hasTickets(p *Pool) bool { return len(t.poolTickets(p, 1)) > 0 }

// Ticket returns a ticket by its id, or the refusal that says why there is none.
func (v *View) Ticket(id uint64) (*fsmpb.TicketStatus, *fsmpb.Refusal) {
	x, refusal := v.ticket(id)
	if refusal != nil {
		return nil, refusal
	}
	return v.ticketStatus(x), nil
}

// Tickets returns up to limit tickets of a pool whose ids come after the given one, in the order of the queue.
func (v *View) Tickets(pool string, after uint64, limit int) []*fsmpb.TicketStatus {
	var list []*fsmpb.TicketStatus
	p, ok := v.pools.get(pool)
	if limit <= 0 || !ok {
		return nil
	}
	v.byPool.keys.Ascend(ticketKey{p.ID, after + 1}, func(k ticketKey) bool {
		if k.pool != p.ID {
			return false
		}
		x, _ := v.tickets.get(k.id)
		list = append(list, v.ticketStatus(x))
		return len(list) < limit
	})
	return list
}
