package metrics

import "github.com/licet/licet/fsm"

var seatFamilies = []Family{
	{"licet_contracts", gauge, nil, "", "Contracts, those that have ended included."},
	{"licet_contracts_key_revoked", gauge, nil, "", "Contracts that have not ended and are signed by a vendor key that was revoked since."},
	{"licet_contract_end_timestamp_seconds", gauge, []string{"contract"}, "seconds since 1970", "When a contract stops serving, grace included; of the first 200 contracts by name."},
	{"licet_contract_seats", gauge, []string{"contract", "product"}, "seats", "Seats of a product that the contract grants; of the same contracts."},
	{"licet_contract_seats_used", gauge, []string{"contract", "product"}, "seats", "Seats of it that are in use in all its pools."},
	{"licet_pools", gauge, nil, "", "Pools."},
	{"licet_leases", gauge, nil, "", "Leases, borrows included, those that linger not. One that is due counts until it is reclaimed."},
	{"licet_tickets_waiting", gauge, nil, "", "Tickets that wait for an offer, in all pools."},
	{"licet_projects_open", gauge, nil, "", "Projects that hold a token."},
	{"licet_pool_active", gauge, []string{"pool"}, "", "1 if the pool serves, 0 if it is not activated or has ended."},
	{"licet_pool_seats_used", gauge, []string{"pool", "product"}, "seats", "Seats in use: by leases, tokens, lingering leases and offers."},
	{"licet_pool_seats_free", gauge, []string{"pool", "product"}, "seats", "Seats that a checkout of the product could still take: what size, cap and, in a shared pool, the contract leave. The contract's overdraft and seats that are reserved are in it."},
	{"licet_pool_seats_offered", gauge, []string{"pool", "product"}, "seats", "Seats held for tickets that have an offer."},
	{"licet_pool_seats_borrowed", gauge, []string{"pool", "product"}, "seats", "Seats that are borrowed."},
	{"licet_pool_tickets_waiting", gauge, []string{"pool", "product"}, "", "Tickets that wait for an offer."},
	{"licet_pool_oldest_ticket_age_seconds", gauge, []string{"pool"}, "seconds", "How long the first ticket of a pool with a queue has been there, by the state's clock, which moves with writes."},
	{"licet_pool_wait_estimate_seconds", gauge, []string{"pool"}, "seconds", "How long the first ticket that waits is estimated to wait still; 0 if the pool has made no offer yet."},
	{"licet_pool_series_omitted", gauge, nil, "", "Products of pools beyond the first 1,000, which are told together as pool and product _other."},
}

const (
	// other is a label's value for all that is beyond a bound. It is no name that a pool or a contract can have.
	other = "_other"
	// maxPoolProducts bounds the products of pools that have series of their own, maxContracts the contracts.
	maxPoolProducts = 1000
	maxContracts    = 200
	// readAtOnce is how many rows of a view are read at a time.
	readAtOnce = 256
	// ticketsLookedAt is how far the first ticket without an offer is looked for.
	ticketsLookedAt = 8
)

// productSeats are the seats of a product in a pool.
type productSeats struct {
	pool, product                          string
	used, free, offered, borrowed, waiting uint64
}

func (p *productSeats) add(x productSeats) {
	p.used += x.used
	p.free += x.free
	p.offered += x.offered
	p.borrowed += x.borrowed
	p.waiting += x.waiting
}

// seats reads the counters that the state keeps by pool; no lease is looked at.
func (e emitter) seats(v *fsm.View) {
	pools := all(func(after string) []fsm.PoolStatus { return v.Pools("", after, readAtOnce) }, func(p fsm.PoolStatus) string { return p.Name })
	left := e.contracts(v, pools)
	rest, omitted, named := productSeats{pool: other, product: other}, 0, 0
	for _, p := range pools {
		fits := named+len(p.Products) <= maxPoolProducts
		for i := range p.Products {
			if x := seatsOf(p, i, left); fits {
				e.product(x)
				named++
			} else {
				rest.add(x)
				omitted++
			}
		}
		if fits {
			e.pool(v, p)
		}
	}
	e.gauge("licet_pools", number(len(pools)))
	e.gauge("licet_leases", number(v.LeaseCount()))
	e.gauge("licet_tickets_waiting", number(v.WaitingCount()))
	e.gauge("licet_projects_open", number(v.ProjectCount()))
	e.gauge("licet_pool_series_omitted", number(omitted))
	if omitted > 0 {
		e.product(rest)
	}
}

// all reads a list of a view in parts.
func all[R any](part func(after string) []R, name func(R) string) (rows []R) {
	for after := ""; ; {
		list := part(after)
		rows = append(rows, list...)
		if len(list) < readAtOnce {
			return rows
		}
		after = name(list[len(list)-1])
	}
}

// line is a product of a contract.
type line struct{ contract, product string }

// margin is what a contract still has of a product: for any pool, and for its shared ones.
type margin struct{ any, shared uint64 }

// contracts tells of contracts, and returns what they have left.
func (e emitter) contracts(v *fsm.View, pools []fsm.PoolStatus) map[line]margin {
	drawn := map[line]uint64{}
	for _, p := range pools {
		for _, x := range p.Use.Products {
			if p.Shared {
				drawn[line{p.Contract, x.Name}] += x.Used
			}
		}
	}
	list := all(func(after string) []fsm.ContractStatus { return v.Contracts(after, readAtOnce) }, func(c fsm.ContractStatus) string { return c.Doc.ID })
	left := map[line]margin{}
	revoked := 0
	for i, c := range list {
		if c.KeyRevoked && !c.Ended {
			revoked++
		}
		if i < maxContracts {
			e.gauge("licet_contract_end_timestamp_seconds", number(c.Doc.Ends().Unix()), c.Doc.ID)
		}
		for _, p := range v.Products(c.Contract) {
			most := p.Quantity + p.Overdraft
			shared := most - min(most, p.Promised)
			at := line{c.Doc.ID, p.Name}
			left[at] = margin{any: most - min(most, p.Used), shared: shared - min(shared, drawn[at])}
			if i < maxContracts {
				e.gauge("licet_contract_seats", number(p.Quantity), c.Doc.ID, p.Name)
				e.gauge("licet_contract_seats_used", number(p.Used), c.Doc.ID, p.Name)
			}
		}
	}
	e.gauge("licet_contracts", number(len(list)))
	e.gauge("licet_contracts_key_revoked", number(revoked))
	return left
}

// seatsOf are the seats of a pool's product.
func seatsOf(p fsm.PoolStatus, i int, left map[line]margin) productSeats {
	use, most := p.Use.Products[i], p.Size
	if limit := p.Products[i].Cap; limit != 0 {
		most = min(most, limit)
	}
	of := left[line{p.Contract, use.Name}]
	free := min(p.Size-min(p.Size, p.Use.Used), most-min(most, use.Used), of.any)
	if p.Shared {
		free = min(free, of.shared)
	}
	return productSeats{pool: p.Name, product: use.Name, used: use.Used, free: free, offered: use.Offered, borrowed: use.Borrowed, waiting: use.Waiting}
}

func (e emitter) product(x productSeats) {
	e.gauge("licet_pool_seats_used", number(x.used), x.pool, x.product)
	e.gauge("licet_pool_seats_free", number(x.free), x.pool, x.product)
	e.gauge("licet_pool_seats_offered", number(x.offered), x.pool, x.product)
	e.gauge("licet_pool_seats_borrowed", number(x.borrowed), x.pool, x.product)
	e.gauge("licet_pool_tickets_waiting", number(x.waiting), x.pool, x.product)
}

// pool tells what a pool has as a whole.
func (e emitter) pool(v *fsm.View, p fsm.PoolStatus) {
	e.gauge("licet_pool_active", whether(p.Active && !p.Over), p.Name)
	if p.Use.Waiting == 0 {
		return
	}
	for i, t := range v.Tickets(p.Name, 0, ticketsLookedAt) {
		if i == 0 {
			e.gauge("licet_pool_oldest_ticket_age_seconds", number(max(0, v.Clock().WallMs-t.Ticket.SinceMs))/1000, p.Name)
		}
		if !t.Ticket.Offered {
			e.gauge("licet_pool_wait_estimate_seconds", number(t.WaitMs)/1000, p.Name)
			return
		}
	}
}
