package fsm

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of a pool, and what it has where nothing is said. Times are in seconds.
const (
	MaxPoolProducts  = 256
	MaxReservations  = 64
	MaxCheckoutDays  = 3650
	MaxQueue         = 10_000
	MinTTL, MaxTTL   = 10, 30 * 24 * 3600
	DefaultTTLMin    = 30
	DefaultTTLMax    = 24 * 3600
	DefaultTTL       = 300
	MaxLinger        = 24 * 3600
	DefaultOfferTTL  = 60
	DefaultTicketTTL = 120
)

// namedAtOnce is how many tickets, leases or users an outcome names at most.
const namedAtOnce = 1000

// Pool is what instances of an application draw seats from, immutable (rules P1 to P7).
type Pool struct {
	// Pool is what the operator said, with defaults filled in and lists sorted.
	*fsmpb.Pool
	// ID is never given twice.
	ID     uint64
	Active bool
	// Ended is set once valid_until has been applied (rules P3, D4).
	Ended     bool
	CreatedMs int64
	// Deleting pools serve nothing, and are gone once what they had out is ended.
	Deleting bool
	// Revision is the number of the write that defined the pool last: it only grows, also where a pool is
	// deleted and another one made of that name.
	Revision uint64
	hashed
}

func (p *Pool) message(*encoder) (recordKind, message) { return 40, p.proto() }

func (p *Pool) proto() *fsmpb.PoolRecord {
	return &fsmpb.PoolRecord{Pool: p.Pool, Active: p.Active, Ended: p.Ended, CreatedMs: p.CreatedMs, Deleting: p.Deleting, Revision: p.Revision, Id: p.ID}
}

// product finds a product of the pool, nil if it has none of that name.
func (p *Pool) product(name string) *fsmpb.PoolProduct {
	for _, x := range p.Products {
		if x.Name == name {
			return x
		}
	}
	return nil
}

func reservationNamed(x *fsmpb.PoolProduct, name string) *fsmpb.Reservation {
	if name == "" {
		return nil
	}
	for _, r := range x.GetReservations() {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// promise is how many seats of a product the pool promises (rule P1).
func (p *Pool) promise(x *fsmpb.PoolProduct) uint64 {
	switch {
	case p.Shared || x == nil:
		return 0
	case x.Cap != 0:
		return min(p.Size, x.Cap)
	}
	return p.Size
}

// endsMs is when the pool's leases end at the latest (rules C5, P3).
func (p *Pool) endsMs(c *Contract) int64 {
	if p.ValidUntilMs != 0 {
		return min(p.ValidUntilMs, c.endsMs())
	}
	return c.endsMs()
}

// over reports whether pool or contract has ended, applied or not.
func (t *tables) over(p *Pool) bool {
	c, _ := t.contracts.get(p.Contract)
	return p.Ended || p.Deleting || c.ended(t.clock) || t.clock.WallMs >= p.endsMs(c)
}

// normalPool checks what an operator said of a pool and fills in defaults.
func normalPool(cmd *fsmpb.Pool) (*fsmpb.Pool, error) {
	if cmd == nil {
		return nil, fmt.Errorf("pool: it is missing")
	}
	p := clone(cmd)
	for _, x := range []struct {
		value *uint32
		most  uint32
		other uint32
	}{{&p.TtlMin, MaxTTL, DefaultTTLMin}, {&p.TtlMax, MaxTTL, DefaultTTLMax}, {&p.OfferTtl, MaxTTL, DefaultOfferTTL}, {&p.TicketTtl, MaxTTL, DefaultTicketTTL}} {
		if *x.value == 0 {
			*x.value = x.other
		}
	}
	if p.TtlDefault == 0 {
		p.TtlDefault = min(max(DefaultTTL, p.TtlMin), p.TtlMax)
	}
	for _, err := range []error{
		signed.CheckName("name", p.Name), signed.CheckName("contract", p.Contract),
		between("size", p.Size, 1, signed.MaxQuantity),
		between("ttl_min", uint64(p.TtlMin), MinTTL, MaxTTL),
		between("ttl_max", uint64(p.TtlMax), uint64(p.TtlMin), MaxTTL),
		between("ttl_default", uint64(p.TtlDefault), uint64(p.TtlMin), uint64(p.TtlMax)),
		between("linger", uint64(p.Linger), 0, MaxLinger),
		between("queue_limit", uint64(p.QueueLimit), 0, MaxQueue),
		between("offer_ttl", uint64(p.OfferTtl), 1, MaxTTL),
		between("ticket_ttl", uint64(p.TicketTtl), MinTTL, MaxTTL),
		between("number of products", uint64(len(p.Products)), 1, MaxPoolProducts),
	} {
		if err != nil {
			return nil, err
		}
	}
	if err := checkSite(p.Site); err != nil {
		return nil, err
	}
	if p.ValidUntilMs < 0 || p.ValidUntilMs > maxDateMs {
		return nil, fmt.Errorf("valid_until: it is not in 1970 to 9900")
	}
	var err error
	if p.Restriction, err = normalRestriction("restriction", p.Restriction); err != nil {
		return nil, err
	}
	return p, normalProducts(p)
}

// maxDateMs is the end of the year 9900: RFC 3339 has years of four digits.
const maxDateMs = 250_271_596_800_000

func between(field string, n, least, most uint64) error {
	if n < least || n > most {
		return fmt.Errorf("%s: %d is not in %d to %d", field, n, least, most)
	}
	return nil
}

func normalProducts(p *fsmpb.Pool) error {
	slices.SortFunc(p.Products, func(a, b *fsmpb.PoolProduct) int { return strings.Compare(a.Name, b.Name) })
	reserved := uint64(0)
	for i, x := range p.Products {
		if i > 0 && p.Products[i-1].Name == x.Name {
			return fmt.Errorf("products: %s stands there twice", x.Name)
		}
		seats, err := normalProduct("products."+x.GetName(), x)
		if err != nil {
			return err
		}
		reserved += seats
		if x.Cap != 0 && seats > x.Cap {
			return fmt.Errorf("products.%s.reservations: %d seats are more than the cap of %d", x.Name, seats, x.Cap)
		}
	}
	if reserved > p.Size {
		return fmt.Errorf("reservations: %d seats are more than the pool's %d", reserved, p.Size)
	}
	return nil
}

func normalProduct(field string, x *fsmpb.PoolProduct) (reserved uint64, err error) {
	for _, err := range []error{
		signed.CheckName("products", x.Name),
		between(field+".cap", x.Cap, 0, signed.MaxQuantity),
		between(field+".low_water", x.LowWater, 0, signed.MaxQuantity),
		between(field+".max_checkout_days", uint64(x.MaxCheckoutDays), 0, MaxCheckoutDays),
		between(field+": number of reservations", uint64(len(x.Reservations)), 0, MaxReservations),
	} {
		if err != nil {
			return 0, err
		}
	}
	if x.Restriction, err = normalRestriction(field+".restriction", x.Restriction); err != nil {
		return 0, err
	}
	names := make([]string, 0, len(x.Reservations))
	for _, r := range x.Reservations {
		if err := normalReservation(field+".reservations."+r.GetName(), r); err != nil {
			return 0, err
		}
		if slices.Contains(names, r.Name) {
			return 0, fmt.Errorf("%s.reservations: %s stands there twice", field, r.Name)
		}
		names = append(names, r.Name)
		reserved += r.Seats
	}
	return reserved, nil
}

func normalReservation(field string, r *fsmpb.Reservation) error {
	r.Users, r.Domains = normalList(r.Users), normalList(r.Domains)
	slices.Sort(r.Groups)
	for _, err := range []error{
		signed.CheckName(field+".name", r.Name),
		between(field+".seats", r.Seats, 1, signed.MaxQuantity),
		checkList(field+".users", r.Users, CheckLine),
		checkList(field+".domains", r.Domains, checkDomain),
		checkList(field+".groups", r.Groups, signed.CheckName),
	} {
		if err != nil {
			return err
		}
	}
	if len(r.Users)+len(r.Domains)+len(r.Groups) == 0 {
		return fmt.Errorf("%s: it names no user, domain or group", field)
	}
	return nil
}

// lane is the first reservation of a product that is for a user, empty if none is (rule P7).
func lane(x *fsmpb.PoolProduct, user string, groups []string) string {
	for _, r := range x.GetReservations() {
		if contains(r.Users, user) || matchDomain(r.Domains, domainOf(user)) {
			return r.Name
		}
		for _, g := range groups {
			if contains(r.Groups, g) {
				return r.Name
			}
		}
	}
	return ""
}

// putPool creates or changes a pool (rules P1 to P7).
func (s *State) putPool(o *fsmpb.Outcome, cmd *fsmpb.PutPool) {
	spec, err := normalPool(cmd.Pool)
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	old, exists := s.pools.get(spec.Name)
	if o.Refusal = s.poolRefusal(cmd, spec, old); o.Refusal != nil {
		return
	}
	next := &Pool{Pool: spec, CreatedMs: s.clock.WallMs, Revision: s.counters.lastWrite + 1}
	if exists {
		next.Active, next.CreatedMs, next.ID = old.Active, old.CreatedMs, old.ID
	} else {
		s.counters.lastPool++
		next.ID = s.counters.lastPool
	}
	next.Ended = next.ValidUntilMs != 0 && s.clock.WallMs >= next.ValidUntilMs
	changed := new(fsmpb.PoolChanged)
	if exists && s.over(old) && !s.over(next) {
		s.endRemains(old, changed)
	}
	s.replacePool(old, next)
	s.dropImpossible(next, changed)
	for _, p := range s.sharedQueues(next) {
		// It may promise more than before, and leave them less.
		s.dropImpossible(p, changed)
	}
	s.scheduleContract(next.Contract)
	s.poolResult(o, next, changed)
}

func (s *State) poolRefusal(cmd *fsmpb.PutPool, spec *fsmpb.Pool, old *Pool) *fsmpb.Refusal {
	c, ok := s.contracts.get(spec.Contract)
	switch {
	case !ok:
		return refuse(ContractNotFound, "contract", spec.Contract)
	case old != nil && (cmd.Create || old.Deleting):
		return refuse(PoolExists, "pool", spec.Name, "contract", old.Contract)
	case old == nil && !cmd.Create:
		return refuse(PoolNotFound, "pool", spec.Name)
	case old != nil && cmd.Expected != 0 && cmd.Expected != old.Revision:
		return refuse(PoolChanged, "pool", spec.Name, "revision", old.Revision, "expected", cmd.Expected)
	case old != nil && old.Contract != spec.Contract:
		return refuse(PoolExists, "pool", spec.Name, "contract", old.Contract)
	case old == nil && c.ended(s.clock):
		return refuse(ContractEnded, "contract", c.Doc.ID, "end", c.Doc.Ends().Format(time.RFC3339))
	}
	return s.promiseRefusal(c, old, &Pool{Pool: spec})
}

// promiseRefusal sees that the contract bears what a pool promises (rule P1). What shrinks always passes.
func (s *State) promiseRefusal(c *Contract, old, next *Pool) *fsmpb.Refusal {
	for _, x := range next.Products {
		line, granted := c.Doc.Products[x.Name]
		if !granted && (old == nil || old.product(x.Name) == nil) {
			return refuse(ProductNotGranted, "contract", c.Doc.ID, "product", x.Name)
		}
		had := uint64(0)
		if old != nil {
			had = old.promise(old.product(x.Name))
		}
		wants := next.promise(x)
		if promised := s.draw(c.Doc.ID, x.Name).promised; wants > had && promised-had+wants > line.Quantity {
			others := promised - had
			return refuse(ContractExhausted, "contract", c.Doc.ID, "of", "product", "line", x.Name, "product", x.Name, "asked", wants,
				"free", line.Quantity-min(others, line.Quantity), "allocated", promised, "max", line.Quantity)
		}
	}
	return nil
}

// replacePool puts a pool in place of another, or of none, and carries on what is counted by its definition.
func (s *State) replacePool(old, next *Pool) {
	if old != nil {
		s.unindexPool(old)
	}
	s.setPool(next)
	s.indexPool(next)
}

// setPool is for changes of what is not indexed.
func (s *State) setPool(p *Pool) {
	s.pools.set(&s.digest, p.Name, p)
	u := new(poolUse)
	if old := s.use(p); old != nil {
		u = edit(old)
	}
	u.pool = p
	s.uses.Set(p.ID, u)
}

// indexPool counts what a pool promises and reserves, and what a shared pool has out.
func (t *tables) indexPool(p *Pool) {
	t.poolsOf.keys.Set(contractPool{p.Contract, p.Name})
	if p.ValidUntilMs != 0 && !p.Ended {
		t.due.keys.Set(poolDeadline(p))
	}
	t.countPool(p, 1)
	t.relane(p)
	t.markEnding(p)
}

func (t *tables) unindexPool(p *Pool) {
	t.poolsOf.keys.Delete(contractPool{p.Contract, p.Name})
	t.due.keys.Delete(poolDeadline(p))
	t.ending.Delete(p.Name)
	t.countPool(p, -1)
}

func (t *tables) countPool(p *Pool, sign int64) {
	for _, x := range p.Products {
		d := edit(t.draw(p.Contract, x.Name))
		add(&d.promised, sign*int64(p.promise(x))) //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
		t.setDraw(p.Contract, x.Name, d)
		u, own := t.use(p).edit(x.Name)
		unused := unusedSeats(x, own.out)
		if own.unused = unused; sign < 0 {
			own.unused = 0
		}
		add(&u.unused, sign*int64(unused)) //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
		t.setUse(u, own)
	}
	if p.Shared {
		for _, u := range t.use(p).products {
			d := edit(t.draw(p.Contract, u.product))
			add(&d.shared, sign*int64(u.used))     //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
			add(&d.waiting, sign*int64(u.waiting)) //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
			t.setDraw(p.Contract, u.product, d)
		}
	}
}

// endRemains ends what a pool that is over still has, before it comes back: what has ended never
// revives (rule K2). It is all done by one command, but only an end that was not applied yet leaves much to do.
func (s *State) endRemains(p *Pool, changed *fsmpb.PoolChanged) {
	done := new(fsmpb.Expired)
	s.drain(p, done, math.MaxInt)
	for _, id := range done.Leases {
		nameID(&changed.Leases, &changed.LeasesTotal, id)
	}
	for _, id := range append(done.Offers, done.Tickets...) {
		nameID(&changed.Tickets, &changed.TicketsTotal, id)
	}
}

// activatePool lets a pool serve or stops it (rule P6).
func (s *State) activatePool(o *fsmpb.Outcome, cmd *fsmpb.ActivatePool) {
	p, refusal := s.pool(cmd.Pool)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	changed := new(fsmpb.PoolChanged)
	if p.Active != cmd.Active {
		next := edit(p)
		next.Active = cmd.Active
		s.setPool(next)
		p = next
		if !p.Active {
			s.withdrawOffers(p, changed)
		}
		s.scheduleContract(p.Contract)
	}
	s.poolResult(o, p, changed)
}

// deletePool removes a pool; with seats in use or offered, or tickets waiting, only if forced.
// What is out ends with it: at once, or, where that is much, by the commands that follow.
func (s *State) deletePool(o *fsmpb.Outcome, cmd *fsmpb.DeletePool) {
	p, refusal := s.pool(cmd.Pool)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	if total := s.use(p); (s.hasLeases(p) || s.hasTickets(p)) && !cmd.Force {
		o.Refusal = refuse(PoolInUse, "pool", p.Name, "used", total.used, "offered", total.offered, "waiting", total.waiting)
		return
	}
	next := edit(p)
	next.Deleting = true
	s.replacePool(p, next)
	done := new(fsmpb.Expired)
	s.drain(next, done, namedAtOnce)
	o.Result = &fsmpb.Outcome_Pool{Pool: &fsmpb.PoolChanged{
		Pool: p.proto(), Deleted: true, Leases: done.Leases, Tickets: append(done.Offers, done.Tickets...),
		LeasesTotal: uint64(len(done.Leases)), TicketsTotal: uint64(len(done.Offers) + len(done.Tickets)),
	}}
}

// drain ends up to limit leases and tickets of a pool that is over, and removes the pool if it is to be deleted.
func (s *State) drain(p *Pool, done *fsmpb.Expired, limit int) {
	for _, t := range s.poolTickets(p, limit) {
		s.removeTicket(p, t)
		if limit--; t.Offered {
			done.Offers = append(done.Offers, t.ID)
		} else {
			done.Tickets = append(done.Tickets, t.ID)
		}
	}
	for _, l := range s.poolLeases(p, limit) {
		s.removeLease(p, l)
		done.Leases = append(done.Leases, l.ID)
	}
	if !s.hasLeases(p) && !s.hasTickets(p) {
		s.ending.Delete(p.Name)
		if p.Deleting {
			s.unindexPool(p)
			s.pools.delete(&s.digest, p.Name)
			s.uses.Delete(p.ID)
			s.paces.delete(&s.digest, p.ID)
		}
	}
	s.scheduleContract(p.Contract)
}

// sharedQueues are the other pools of a pool's contract that are shared and have tickets waiting.
func (t *tables) sharedQueues(of *Pool) (list []*Pool) {
	t.queues.keys.Ascend(contractPool{of.Contract, ""}, func(k contractPool) bool {
		if p, _ := t.pools.get(k.pool); k.contract == of.Contract && k.pool != of.Name && p.Shared {
			list = append(list, p)
		}
		return k.contract == of.Contract
	})
	return list
}

// nameID counts an id, and lists it while the list is short enough.
func nameID(list *[]uint64, total *uint64, id uint64) {
	if *total++; *total <= namedAtOnce {
		*list = append(*list, id)
	}
}

// dropImpossible drops the tickets that the pool, as it is now, could never serve.
func (s *State) dropImpossible(p *Pool, changed *fsmpb.PoolChanged) {
	for _, t := range s.poolTickets(p, MaxQueue) {
		if s.standingRefusal(t) != nil {
			s.removeTicket(p, t)
			nameID(&changed.Tickets, &changed.TicketsTotal, t.ID)
		}
	}
}

// findBarred names the users who have seats and could not get them any more; they keep them
// until they return them. It walks all leases of the pool, and is for dry runs alone.
func (s *State) findBarred(p *Pool, changed *fsmpb.PoolChanged) {
	last := ""
	for _, l := range s.poolLeases(p, math.MaxInt) {
		x := p.product(l.Product)
		if x != nil && barred(p.Restriction, l.User) == "" && barred(x.Restriction, l.User) == "" {
			continue
		}
		nameID(&changed.Leases, &changed.LeasesTotal, l.ID)
		if l.User == last {
			continue
		}
		last = l.User
		if changed.UsersTotal++; changed.UsersTotal <= namedAtOnce {
			changed.Users = append(changed.Users, l.User)
		}
	}
}

func (s *State) poolResult(o *fsmpb.Outcome, p *Pool, changed *fsmpb.PoolChanged) {
	changed.Pool, changed.Use = p.proto(), s.poolUse(p)
	o.Result = &fsmpb.Outcome_Pool{Pool: changed}
}

func (t *tables) pool(name string) (*Pool, *fsmpb.Refusal) {
	if p, ok := t.pools.get(name); ok && !p.Deleting {
		return p, nil
	}
	// Refusals are recorded, so that the name must be one.
	if err := signed.CheckName("pool", name); err != nil {
		return nil, invalid(err)
	}
	return nil, refuse(PoolNotFound, "pool", name)
}

func (t *tables) poolUse(p *Pool) *fsmpb.PoolUse {
	total := t.use(p)
	out := &fsmpb.PoolUse{Used: total.used, Offered: total.offered, Waiting: total.waiting}
	for _, x := range p.Products {
		u := total.of(x.Name)
		out.Products = append(out.Products, &fsmpb.ProductUse{Name: x.Name, Used: u.used, Offered: u.offered, Borrowed: u.borrowed, Waiting: u.waiting})
	}
	return out
}

// contractPool finds the pools of a contract.
type contractPool struct{ contract, pool string }

func (a contractPool) less(b contractPool) bool {
	if a.contract != b.contract {
		return a.contract < b.contract
	}
	return a.pool < b.pool
}

// contractPools are the pools of a contract, by name.
func (t *tables) contractPools(contract string) (list []*Pool) {
	t.poolsOf.keys.Ascend(contractPool{contract, ""}, func(k contractPool) bool {
		if k.contract == contract {
			p, _ := t.pools.get(k.pool)
			list = append(list, p)
		}
		return k.contract == contract
	})
	return list
}

// PoolStatus is a pool with its use.
type PoolStatus struct {
	*Pool
	Use *fsmpb.PoolUse
	// Ends is when its leases end at the latest, Over whether that has been.
	Ends time.Time
	Over bool
}

func (v *View) poolStatus(p *Pool) PoolStatus {
	c, _ := v.contracts.get(p.Contract)
	return PoolStatus{Pool: p, Use: v.poolUse(p), Ends: time.UnixMilli(p.endsMs(c)).UTC(), Over: v.over(p)}
}

// Pool returns a pool by its name, or the refusal that says why there is none.
func (v *View) Pool(name string) (PoolStatus, *fsmpb.Refusal) {
	p, refusal := v.pool(name)
	if refusal != nil {
		return PoolStatus{}, refusal
	}
	return v.poolStatus(p), nil
}

// Pools returns up to limit pools of a contract, or of all if that is empty, whose names come after the given one.
func (v *View) Pools(contract, after string, limit int) []PoolStatus {
	var list []PoolStatus
	if limit <= 0 {
		return nil
	}
	if contract == "" {
		v.pools.rows.Ascend(after, func(name string, p *Pool) bool {
			if name != after {
				list = append(list, v.poolStatus(p))
			}
			return len(list) < limit
		})
		return list
	}
	v.poolsOf.keys.Ascend(contractPool{contract, after}, func(k contractPool) bool {
		if k.contract != contract {
			return false
		}
		if k.pool != after {
			p, _ := v.pools.get(k.pool)
			list = append(list, v.poolStatus(p))
		}
		return len(list) < limit
	})
	return list
}

// ProductStatus is a product of a contract with what follows from its pools.
type ProductStatus struct {
	Name string
	signed.Product
	// Promised is what pools promise (rule P1), Used what they have out.
	Promised, Used uint64
	// Over is by how much Promised passes the quantity (rule C4), Overdrawn by how much Used does (rule P7).
	Over, Overdrawn uint64
}

// Products returns the products of a contract, by name: also those that it does not grant any more while
// pools promise or use them (rule C4).
func (v *View) Products(c *Contract) []ProductStatus {
	names := slices.Sorted(maps.Keys(c.Doc.Products))
	v.draws.keys.Ascend(drawRow{contract: c.Doc.ID}, func(d drawRow) bool {
		if _, granted := c.Doc.Products[d.product]; d.contract == c.Doc.ID && !granted {
			names = append(names, d.product)
		}
		return d.contract == c.Doc.ID
	})
	slices.Sort(names)
	list := make([]ProductStatus, len(names))
	for i, name := range names {
		line, d := c.Doc.Products[name], v.draw(c.Doc.ID, name)
		list[i] = ProductStatus{
			Name: name, Product: line, Promised: d.promised, Used: d.used,
			Over: d.promised - min(d.promised, line.Quantity), Overdrawn: d.used - min(d.used, line.Quantity),
		}
	}
	return list
}
