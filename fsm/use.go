package fsm

import (
	"github.com/licet/licet/fsm/fsmpb"
)

// useRow is the use of a product in a pool, or of a whole pool where product is empty.
type useRow struct {
	pool, product string
	*use
}

// use counts seats. It is derived, immutable, and there is none where all is zero.
type use struct {
	// used are the seats taken: by leases, tokens, lingering leases and offers.
	used, offered, borrowed uint64
	// waiting is the number of tickets without an offer.
	waiting uint64
	// out is how many seats of each reservation are taken (rule P7).
	out Quantities
	// unused is how many reserved seats nobody has.
	unused uint64
}

func (a useRow) less(b useRow) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	return a.product < b.product
}

func (a *use) nothing() bool {
	return a.used == 0 && a.offered == 0 && a.borrowed == 0 && a.waiting == 0 && a.unused == 0 && len(a.out) == 0
}

// drawRow is the draw of a product of a contract.
type drawRow struct {
	contract, product string
	*draw
}

// draw counts a product of a contract over its pools (rule P1). It is derived and immutable.
type draw struct {
	// promised is what pools that are not shared promise, used what all have out, shared what shared pools have out.
	promised, used, shared uint64
	// waiting is the number of tickets without an offer in shared pools.
	waiting uint64
}

func (a drawRow) less(b drawRow) bool {
	if a.contract != b.contract {
		return a.contract < b.contract
	}
	return a.product < b.product
}

// noUse and noDraw stand for what is not counted yet.
var (
	noUse  = new(use)
	noDraw = new(draw)
)

func (t *tables) use(pool, product string) *use {
	if row, ok := t.uses.keys.Get(useRow{pool: pool, product: product}); ok {
		return row.use
	}
	return noUse
}

func (t *tables) draw(contract, product string) *draw {
	if row, ok := t.draws.keys.Get(drawRow{contract: contract, product: product}); ok {
		return row.draw
	}
	return noDraw
}

func (t *tables) setUse(pool, product string, u *use) {
	if u.nothing() {
		t.uses.keys.Delete(useRow{pool: pool, product: product})
		return
	}
	t.uses.keys.Set(useRow{pool, product, u})
}

func (t *tables) setDraw(contract, product string, d *draw) {
	if *d == (draw{}) {
		t.draws.keys.Delete(drawRow{contract: contract, product: product})
		return
	}
	t.draws.keys.Set(drawRow{contract, product, d})
}

// shift is a change of use; its numbers may be negative.
type shift struct {
	used, offered, borrowed, waiting int64
	reservation                      string
	reserved                         int64
}

func add(n *uint64, by int64) { *n = uint64(int64(*n) + by) }

// shiftUse changes what is counted of a product: in its pool, and in its contract.
func (t *tables) shiftUse(p *Pool, product string, by shift) {
	u, total := edit(t.use(p.Name, product)), edit(t.use(p.Name, ""))
	if by.reserved != 0 {
		before := u.unused
		u.out = u.out.plus(Quantities{{by.reservation, uint64(by.reserved)}})
		u.unused = unusedSeats(p.product(product), u.out)
		add(&total.unused, int64(u.unused)-int64(before))
	}
	for _, x := range []*use{u, total} {
		add(&x.used, by.used)
		add(&x.offered, by.offered)
		add(&x.borrowed, by.borrowed)
		add(&x.waiting, by.waiting)
	}
	t.setUse(p.Name, product, u)
	t.setUse(p.Name, "", total)
	if by.waiting != 0 {
		t.setQueue(contractPool{p.Contract, p.Name}, t.use(p.Name, "").waiting > 0)
	}
	if by.used != 0 || p.Shared && by.waiting != 0 {
		d := edit(t.draw(p.Contract, product))
		add(&d.used, by.used)
		if p.Shared {
			add(&d.shared, by.used)
			add(&d.waiting, by.waiting)
		}
		t.setDraw(p.Contract, product, d)
	}
}

// entangled reports whether a product's seats in a pool and in the contract's other pools can be one another's.
// Promises that the contract bears are nobody else's; so are the seats of a shared pool as long as no
// other one has tickets waiting.
func (t *tables) entangled(p *Pool, product string) bool {
	d := t.draw(p.Contract, product)
	all, _ := t.quantity(p.Contract, product)
	return d.promised+d.shared > all || p.Shared && d.waiting > t.use(p.Name, product).waiting
}

func (t *tables) setQueue(k contractPool, waits bool) {
	if waits {
		t.queues.keys.Set(k)
	} else {
		t.queues.keys.Delete(k)
	}
}

// unusedSeats is how many reserved seats of a product nobody has.
func unusedSeats(x *fsmpb.PoolProduct, out Quantities) (n uint64) {
	for _, r := range x.GetReservations() {
		n += r.Seats - min(r.Seats, out.Get(r.Name))
	}
	return n
}

// seats are what a lease, a token or an offer holds.
type seats struct {
	count uint64
	// reserved of them came out of the reservation of that name.
	reserved    uint64
	reservation string
}

func (x seats) taken() shift {
	return shift{used: int64(x.count), reserved: int64(x.reserved), reservation: x.reservation}
}

func (x seats) freed() shift {
	return shift{used: -int64(x.count), reserved: -int64(x.reserved), reservation: x.reservation}
}

// take is shiftUse that keeps the usage of the hour.
func (s *State) take(p *Pool, product string, by shift) {
	if by.used == 0 {
		s.shiftUse(p, product, by)
		return
	}
	before, total := s.use(p.Name, product).used, s.use(p.Name, "").used
	s.shiftUse(p, product, by)
	s.noteUse(p, product, before)
	if len(p.Products) > 1 {
		s.noteUse(p, "", total)
	}
}

// claimant is who asks for seats, as far as they are counted: a newcomer, or a ticket.
type claimant struct {
	product string
	count   uint64
	// lane is the reservation whose seats the claimant may have, empty for none.
	lane string
}

// lack is why there are no seats.
type lack struct {
	code        Code
	used, limit uint64
	// whole is true if it is the pool's size that is wanting.
	whole bool
	// shared is true if it is what the contract has left for shared pools.
	shared bool
}

// fit looks for seats. Reserved seats that others may have are as good as used (rule P7).
func (t *tables) fit(p *Pool, who claimant) (seats, *lack) {
	x := p.product(who.product)
	u, total, d := t.use(p.Name, who.product), t.use(p.Name, ""), t.draw(p.Contract, who.product)
	own := uint64(0)
	if r := reservationNamed(x, who.lane); r != nil {
		own = r.Seats - min(r.Seats, u.out.Get(r.Name))
	}
	got := seats{count: who.count}
	if got.reserved = min(own, who.count); got.reserved > 0 {
		got.reservation = who.lane
	}
	quantity, shared := t.quantity(p.Contract, who.product)
	most := p.Size
	if x.Cap != 0 {
		most = min(most, x.Cap)
	}
	switch {
	case total.used+who.count > p.Size:
		return got, &lack{code: PoolFull, used: total.used, limit: p.Size, whole: true}
	case u.used+who.count > most:
		return got, &lack{code: CapReached, used: u.used, limit: most}
	case total.used+who.count+total.unused-own > p.Size:
		return got, &lack{code: SeatsReserved, used: total.used + total.unused - own, limit: p.Size, whole: true}
	case u.used+who.count+u.unused-own > most:
		return got, &lack{code: SeatsReserved, used: u.used + u.unused - own, limit: most}
	case p.Shared && d.shared+who.count > shared:
		return got, &lack{code: QuantityReached, used: d.shared, limit: shared, shared: true}
	case d.used+who.count > quantity:
		return got, &lack{code: QuantityReached, used: d.used, limit: quantity}
	}
	return got, nil
}

// quantity is how many seats of a product its contract bears, overdraft included, and how many of
// them are left for shared pools (rules P1, P7).
func (t *tables) quantity(contract, product string) (all, shared uint64) {
	c, _ := t.contracts.get(contract)
	line := c.Doc.Products[product]
	all = line.Quantity + line.Overdraft
	return all, all - min(all, t.draw(contract, product).promised)
}

// possible is the most that a claimant could ever be given: what a ticket asks beyond it would wait for ever.
func (t *tables) possible(p *Pool, who claimant) uint64 {
	x := p.product(who.product)
	most := p.Size
	for _, other := range p.Products {
		most -= min(most, reservedSeats(other, x, who.lane))
	}
	if x.Cap != 0 {
		most = min(most, x.Cap-min(x.Cap, reservedSeats(x, x, who.lane)))
	}
	quantity, shared := t.quantity(p.Contract, who.product)
	if p.Shared {
		quantity = shared
	}
	return min(most, quantity)
}

// reservedSeats is how many seats of a product are dedicated, without those of a lane of product x.
func reservedSeats(of, x *fsmpb.PoolProduct, lane string) (n uint64) {
	for _, r := range of.Reservations {
		if of != x || r.Name != lane {
			n += r.Seats
		}
	}
	return n
}
