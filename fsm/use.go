package fsm

import (
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
)

// use counts seats.
type use struct {
	// used are the seats taken: by leases, tokens, lingering leases and offers.
	used, offered, borrowed uint64
	// waiting is the number of tickets without an offer.
	waiting uint64
	// unused is how many reserved seats nobody has.
	unused uint64
	// hour is the last one whose row of usage is known to have this highWater: it need not be looked up.
	hour      int64
	highWater uint64
}

func (u *use) shift(by shift) {
	add(&u.used, by.used)
	add(&u.offered, by.offered)
	add(&u.borrowed, by.borrowed)
	add(&u.waiting, by.waiting)
}

// productUse is the use of a product in a pool.
type productUse struct {
	product string
	use
	// out is how many seats of each reservation are taken (rule P7).
	out Quantities
}

func (u *productUse) nothing() bool {
	return u.used == 0 && u.offered == 0 && u.borrowed == 0 && u.waiting == 0 && u.unused == 0 && len(u.out) == 0
}

// poolUse is a pool with the use of all its seats. It is derived and immutable; each pool has one.
type poolUse struct {
	pool *Pool
	use
	// products are those of which something is counted, also those that the pool has no more.
	products []*productUse
}

var noUse = new(productUse)

// of is the use of a product.
func (u *poolUse) of(product string) *productUse {
	for _, x := range u.products {
		if x.product == product {
			return x
		}
	}
	return noUse
}

// part is the use of a product, or of the whole pool if that is empty.
func (u *poolUse) part(product string) *use {
	if product == "" {
		return &u.use
	}
	return &u.of(product).use
}

// edit returns a copy whose use of one product may be changed, too.
func (u *poolUse) edit(product string) (*poolUse, *productUse) {
	next := edit(u)
	i := slices.IndexFunc(u.products, func(x *productUse) bool { return x.product == product })
	if i < 0 {
		own := &productUse{product: product}
		next.products = append(slices.Clip(u.products), own)
		return next, own
	}
	next.products = slices.Clone(u.products)
	next.products[i] = edit(u.products[i])
	return next, next.products[i]
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

var noDraw = new(draw)

// use is what a pool has out. Every pool in the tables has one.
func (t *tables) use(p *Pool) *poolUse {
	u, _ := t.uses.Get(p.ID)
	return u
}

// poolNumbered finds the pool of a lease or ticket. It compares numbers, where a name is compared letter by letter.
func (t *tables) poolNumbered(id uint64) *Pool {
	u, _ := t.uses.Get(id)
	return u.pool
}

func (t *tables) draw(contract, product string) *draw {
	if row, ok := t.draws.keys.Get(drawRow{contract: contract, product: product}); ok {
		return row.draw
	}
	return noDraw
}

// setUse puts the use of a pool that own is the use of a product of.
func (t *tables) setUse(u *poolUse, own *productUse) {
	if own.nothing() {
		u.products = slices.DeleteFunc(u.products, func(x *productUse) bool { return x == own })
	}
	t.uses.Set(u.pool.ID, u)
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

func add(n *uint64, by int64) { *n = uint64(int64(*n) + by) } //nolint:gosec // G115: a difference, which may be negative, is added modulo 2^64

// shiftUse changes what is counted of a product: in its pool, and in its contract.
func (t *tables) shiftUse(p *Pool, product string, by shift) {
	u, own := t.use(p).edit(product)
	if by.reserved != 0 {
		before := own.unused
		own.out = own.out.plus(Quantities{{by.reservation, uint64(by.reserved)}}) //nolint:gosec // G115: a difference, which may be negative, is added modulo 2^64
		own.unused = unusedSeats(p.product(product), own.out)
		add(&u.unused, int64(own.unused)-int64(before)) //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
	}
	own.shift(by)
	u.shift(by)
	t.setUse(u, own)
	if by.waiting != 0 {
		t.setQueue(contractPool{p.Contract, p.Name}, u.waiting > 0)
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
	return d.promised+d.shared > t.quantity(p.Contract, product) || p.Shared && d.waiting > t.use(p).of(product).waiting
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
	return shift{used: int64(x.count), reserved: int64(x.reserved), reservation: x.reservation} //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
}

func (x seats) freed() shift {
	return shift{used: -int64(x.count), reserved: -int64(x.reserved), reservation: x.reservation} //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
}

// take is shiftUse that keeps the usage of the hour.
func (s *State) take(p *Pool, product string, by shift) {
	if by.used == 0 {
		s.shiftUse(p, product, by)
		return
	}
	before := s.use(p)
	if by.used < 0 && (s.entangled(p, product) || !p.Shared && before.of(product).used > p.promise(p.product(product))) {
		s.spilled = p.Contract
	}
	s.shiftUse(p, product, by)
	s.noteUse(p, product, before.of(product).used)
	if len(p.Products) > 1 {
		s.noteUse(p, "", before.used)
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
	total, d := t.use(p), t.draw(p.Contract, who.product)
	u, own := total.of(who.product), uint64(0)
	if r := reservationNamed(x, who.lane); r != nil {
		own = r.Seats - min(r.Seats, u.out.Get(r.Name))
	}
	got := seats{count: who.count}
	if got.reserved = min(own, who.count); got.reserved > 0 {
		got.reservation = who.lane
	}
	quantity := t.quantity(p.Contract, who.product)
	shared := quantity - min(quantity, d.promised)
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

// quantity is how many seats of a product its contract bears, overdraft included (rule P7).
func (t *tables) quantity(contract, product string) uint64 {
	c, _ := t.contracts.get(contract)
	line := c.Doc.Products[product]
	return line.Quantity + line.Overdraft
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
	quantity := t.quantity(p.Contract, who.product)
	if p.Shared {
		// What other pools were promised is theirs (rule P1).
		quantity -= min(quantity, t.draw(p.Contract, who.product).promised)
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
