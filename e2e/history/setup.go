// Package history takes down what clients asked and what they were told, and looks for an order of all of it in which every answer is right
// and which keeps to what came after what: whether the history is linearizable, as porcupine decides it.
//
// What is right, two models say, and a history has to fit both: the step of package fsm, and one of plain slices that was written from the rules and
// shares no line with it. Nothing expires in either, so that a history is of a pool whose times are far longer than itself, and of whose contract
// nobody else uses anything. Ids are shared with whatever else the cluster does; they need only grow in the order that is found (rule K6).
package history

import (
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Setup is what the operations of a history are about: a contract with instances, and its one pool, which is active.
type Setup struct {
	// Contract and Pool are names. Each is a part of the history that is linearizable by itself.
	Contract, Pool string
	// Users is what the instances share, in the area Area.
	Users uint64
	// Size and QueueLimit are the pool's; no product's Quantity is less than Size.
	Size       uint64
	QueueLimit uint32
	Products   []Product
}

// Product is a floating product of the pool.
type Product struct {
	Name          string
	Quantity, Cap uint64
	// Days is for how long it can be borrowed.
	Days uint32
}

const (
	// Area is the only one of the contract.
	Area = "primary"
	// TTL is that of leases, offers and tickets, in seconds: histories are shorter.
	TTL = 24 * 3600
)

// Default is a setup in which clients get into each other's way.
func Default() Setup {
	return Setup{
		Contract: "history", Pool: "history", Users: 12, Size: 4, QueueLimit: 4,
		Products: []Product{{Name: "cad", Quantity: 8, Days: 2}, {Name: "sim", Quantity: 8, Cap: 2}},
	}
}

// Document is the contract, to be signed by a vendor.
func (s *Setup) Document() *signed.Contract {
	c := &signed.Contract{
		ID: s.Contract, Revision: 1, Customer: "ACME", Email: "licenses@acme.example",
		Start: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), Expiry: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		Users: map[string]uint64{Area: s.Users}, Products: map[string]signed.Product{},
	}
	for _, p := range s.Products {
		c.Products[p.Name] = signed.Product{Model: signed.Floating, Quantity: p.Quantity}
	}
	return c
}

// PutPool makes the pool, or makes it another size.
func (s *Setup) PutPool(size uint64, create bool) *fsmpb.Body {
	p := &fsmpb.Pool{
		Name: s.Pool, Contract: s.Contract, Size: size, QueueLimit: s.QueueLimit,
		TtlMin: TTL, TtlMax: TTL, TtlDefault: TTL, OfferTtl: TTL, TicketTtl: TTL,
	}
	for _, x := range s.Products {
		p.Products = append(p.Products, &fsmpb.PoolProduct{Name: x.Name, Cap: x.Cap, MaxCheckoutDays: x.Days})
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Pool: p, Create: create}}}
}

// ActivatePool lets the pool serve.
func (s *Setup) ActivatePool() *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: s.Pool, Active: true}}}
}
