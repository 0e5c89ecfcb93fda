package fsm

import (
	"strings"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func holder(n byte) []byte {
	h := make([]byte, HolderSize)
	h[0] = n
	return h
}

func poolBody(p *fsmpb.Pool, create bool) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Pool: p, Create: create}}}
}

// replaceBody replaces a pool that is at the expected revision.
func replaceBody(p *fsmpb.Pool, expected uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Pool: p, Expected: expected}}}
}

func activatePoolBody(pool string, active bool) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: pool, Active: active}}}
}

func checkoutBody(ask *fsmpb.Checkout) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: ask}}
}

// seatReplica has contract acme with products a and b (floating, 10 each), mono (2) and team (1), and an active pool of each kind.
func seatReplica(t tb) *replica {
	r := newReplica(t)
	c := testContract("acme", 1, nil)
	c.Products = map[string]signed.Product{
		"a": {Model: signed.Floating, Quantity: 10}, "b": {Model: signed.Floating, Quantity: 10},
		"mono": {Model: signed.Mono, Quantity: 2}, "team": {Model: signed.Team, Quantity: 1},
	}
	r.must(contractBody(mustSign(t, c, vendorKey)))
	r.must(poolBody(&fsmpb.Pool{Name: "design", Contract: "acme", Size: 10, QueueLimit: 100, Products: []*fsmpb.PoolProduct{
		{Name: "a", Cap: 3, MaxCheckoutDays: 7, LowWater: 1}, {Name: "b"},
	}}, true))
	r.must(poolBody(&fsmpb.Pool{Name: "reven", Contract: "acme", Size: 3, QueueLimit: 100, Products: []*fsmpb.PoolProduct{
		{Name: "mono", Cap: 2}, {Name: "team", Cap: 1},
	}}, true))
	r.must(activatePoolBody("design", true))
	r.must(activatePoolBody("reven", true))
	return r
}

// P2: size 10, A capped at 3: B can always reach 7.
func TestCapLeavesRoom(t *testing.T) {
	r := seatReplica(t)
	for range 3 {
		r.must(checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "a", User: "ann@example.org", Client: "host", Holder: holder(1)}))
	}
	r.refused(CapReached, checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "a", User: "ann@example.org", Client: "host", Holder: holder(1)}))
	r.must(checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "b", User: "bob@example.org", Client: "host", Count: 7, Holder: holder(1)}))
	r.refused(PoolFull, checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "b", User: "bob@example.org", Client: "host", Holder: holder(1)}))
	checkRestored(t, r.s)
}

// What an operator says of a pool is refused with the field that is wrong.
func TestRefusedPools(t *testing.T) {
	for want, change := range map[string]func(p *fsmpb.Pool){
		"name: it is missing":                       func(p *fsmpb.Pool) { p.Name = "" },
		`name: "a b" is no name`:                    func(p *fsmpb.Pool) { p.Name = "a b" },
		"contract: it is missing":                   func(p *fsmpb.Pool) { p.Contract = "" },
		"size: 0 is not in 1 to":                    func(p *fsmpb.Pool) { p.Size = 0 },
		"size: 1000000001 is not in 1 to":           func(p *fsmpb.Pool) { p.Size = signed.MaxQuantity + 1 },
		"valid_until: it is not in 1970":            func(p *fsmpb.Pool) { p.ValidUntilMs = -1 },
		"valid_until: it is not in 1970 to 9900":    func(p *fsmpb.Pool) { p.ValidUntilMs = maxDateMs + 1 },
		"ttl_min: 9 is not in 10 to":                func(p *fsmpb.Pool) { p.TtlMin = 9 },
		"ttl_max: 20 is not in 30 to":               func(p *fsmpb.Pool) { p.TtlMax = 20 },
		"ttl_max: 2592001 is not in 30 to 2592000":  func(p *fsmpb.Pool) { p.TtlMax = MaxTTL + 1 },
		"ttl_default: 29 is not in 30 to 86400":     func(p *fsmpb.Pool) { p.TtlDefault = 29 },
		"ttl_default: 61 is not in 30 to 60":        func(p *fsmpb.Pool) { p.TtlMax, p.TtlDefault = 60, 61 },
		"linger: 86401 is not in 0 to":              func(p *fsmpb.Pool) { p.Linger = MaxLinger + 1 },
		"queue_limit: 10001 is not in 0 to 10000":   func(p *fsmpb.Pool) { p.QueueLimit = MaxQueue + 1 },
		"offer_ttl: 2592001 is not in 1 to":         func(p *fsmpb.Pool) { p.OfferTtl = MaxTTL + 1 },
		"ticket_ttl: 9 is not in 10 to":             func(p *fsmpb.Pool) { p.TicketTtl = 9 },
		"number of products: 0 is not in 1 to":      func(p *fsmpb.Pool) { p.Products = nil },
		"products: a stands there twice":            func(p *fsmpb.Pool) { p.Products = append(p.Products, &fsmpb.PoolProduct{Name: "a"}) },
		"products: it is missing":                   func(p *fsmpb.Pool) { p.Products[0].Name = "" },
		"products.a.cap: 1000000001 is not in 0 to": func(p *fsmpb.Pool) { p.Products[0].Cap = signed.MaxQuantity + 1 },
		"products.a.low_water: 1000000001":          func(p *fsmpb.Pool) { p.Products[0].LowWater = signed.MaxQuantity + 1 },
		"products.a.max_checkout_days: 3651":        func(p *fsmpb.Pool) { p.Products[0].MaxCheckoutDays = MaxCheckoutDays + 1 },
		"products.a.restriction.include_domains": func(p *fsmpb.Pool) {
			p.Products[0].Restriction = &fsmpb.Restriction{IncludeDomains: []string{"x@y.org"}}
		},
		"restriction: a.org is both": func(p *fsmpb.Pool) {
			p.Restriction = &fsmpb.Restriction{IncludeDomains: []string{"a.org"}, ExcludeDomains: []string{"a.org"}}
		},
		"products.a.reservations.lab: it names no user": func(p *fsmpb.Pool) { reserve(p, &fsmpb.Reservation{Name: "lab", Seats: 1}) },
		"products.a.reservations.lab.seats: 0 is not in 1": func(p *fsmpb.Pool) {
			reserve(p, &fsmpb.Reservation{Name: "lab", Users: []string{"u"}})
		},
		"products.a.reservations..name: it is missing": func(p *fsmpb.Pool) { reserve(p, &fsmpb.Reservation{Seats: 1, Users: []string{"u"}}) },
		"products.a.reservations.lab.domains:":         func(p *fsmpb.Pool) { reserve(p, &fsmpb.Reservation{Name: "lab", Seats: 1, Domains: []string{"@"}}) },
		"products.a.reservations.lab.groups:":          func(p *fsmpb.Pool) { reserve(p, &fsmpb.Reservation{Name: "lab", Seats: 1, Groups: []string{"a b"}}) },
		"products.a.reservations: lab stands there twice": func(p *fsmpb.Pool) {
			reserve(p, &fsmpb.Reservation{Name: "lab", Seats: 1, Users: []string{"u"}}, &fsmpb.Reservation{Name: "lab", Seats: 1, Users: []string{"v"}})
		},
		"products.a.reservations: 3 seats are more than the cap of 2": func(p *fsmpb.Pool) {
			p.Products[0].Cap = 2
			reserve(p, &fsmpb.Reservation{Name: "lab", Seats: 3, Users: []string{"u"}})
		},
		"reservations: 11 seats are more than the pool's 10": func(p *fsmpb.Pool) {
			reserve(p, &fsmpb.Reservation{Name: "lab", Seats: 11, Users: []string{"u"}})
		},
	} {
		p := &fsmpb.Pool{Name: "design", Contract: "acme", Size: 10, Products: []*fsmpb.PoolProduct{{Name: "a"}}}
		change(p)
		if _, err := normalPool(p); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v is refused with %v instead of %s", p, err, want)
		}
	}
	if _, err := normalPool(nil); err == nil {
		t.Error("no pool at all passes")
	}
}

func reserve(p *fsmpb.Pool, list ...*fsmpb.Reservation) { p.Products[0].Reservations = list }

// What is left out has defaults, and what was given is not changed.
func TestPoolDefaults(t *testing.T) {
	given := &fsmpb.Pool{Name: "design", Contract: "acme", Size: 10, Products: []*fsmpb.PoolProduct{{Name: "b"}, {Name: "a"}}}
	before := clone(given)
	p, err := normalPool(given)
	if err != nil {
		t.Fatal(err)
	}
	sameMessage(t, "what was given", given, before)
	want := clone(before)
	want.Products = []*fsmpb.PoolProduct{{Name: "a"}, {Name: "b"}}
	want.TtlMin, want.TtlDefault, want.TtlMax = DefaultTTLMin, DefaultTTL, DefaultTTLMax
	want.OfferTtl, want.TicketTtl = DefaultOfferTTL, DefaultTicketTTL
	sameMessage(t, "the pool", p, want)
	for _, bounds := range [][3]uint32{{30, 60, 60}, {600, 0, 600}, {0, 0, 300}} {
		p, err := normalPool(&fsmpb.Pool{Name: "x", Contract: "acme", Size: 1, TtlMin: bounds[0], TtlMax: bounds[1], Products: []*fsmpb.PoolProduct{{Name: "a"}}})
		if err != nil || p.TtlDefault != bounds[2] {
			t.Errorf("TTLs of %d to %d have %v as their default, %v", bounds[0], bounds[1], p, err)
		}
	}
}
