package api

import (
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// pool reads the definition of a pool. Zero, which the bounds of what has a default exclude, asks for the default.
func (f *form) pool() *fsmpb.Pool {
	p := &fsmpb.Pool{
		Name: f.checked("name", signed.CheckName), Contract: f.checked("contract", signed.CheckName),
		Site: f.optional("site", signed.CheckName),
		Size: f.must("size", signed.MaxQuantity), Shared: f.flag("shared"), ValidUntilMs: f.millis("valid_until"),
		Restriction: f.restriction(),
		TtlMin:      f.small("ttl_min", fsm.MinTTL, fsm.MaxTTL), TtlMax: f.small("ttl_max", fsm.MinTTL, fsm.MaxTTL),
		TtlDefault: f.small("ttl_default", fsm.MinTTL, fsm.MaxTTL), Linger: f.small("linger", 0, fsm.MaxLinger),
		QueueLimit: f.small("queue_limit", 0, fsm.MaxQueue),
		OfferTtl:   f.small("offer_ttl", 1, fsm.MaxTTL), TicketTtl: f.small("ticket_ttl", fsm.MinTTL, fsm.MaxTTL),
	}
	f.named("products", fsm.MaxPoolProducts, func(name string, inner *form) {
		p.Products = append(p.Products, inner.poolProduct(name))
	})
	return p
}

func (f *form) poolProduct(name string) *fsmpb.PoolProduct {
	x := &fsmpb.PoolProduct{
		Name: name, Cap: f.number("cap", 0, signed.MaxQuantity), MaxCheckoutDays: f.small("max_checkout_days", 0, fsm.MaxCheckoutDays),
		LowWater: f.number("low_water", 0, signed.MaxQuantity), Restriction: f.restriction(),
	}
	f.items("reservations", fsm.MaxReservations, func(path string, value any) {
		f.nested("reservations", path, value, func(inner *form) {
			x.Reservations = append(x.Reservations, &fsmpb.Reservation{
				Name: inner.checked("name", signed.CheckName), Seats: inner.must("seats", signed.MaxQuantity),
				Users: inner.texts("users", maxEntries, fsm.CheckLine), Domains: inner.texts("domains", maxEntries, fsm.CheckLine),
				Groups: inner.texts("groups", maxEntries, signed.CheckName),
			})
		})
	})
	return x
}

func (f *form) restriction() (r *fsmpb.Restriction) {
	f.inner("restriction", func(inner *form) {
		r = &fsmpb.Restriction{
			IncludeDomains: inner.texts("include_domains", maxEntries, fsm.CheckLine), ExcludeDomains: inner.texts("exclude_domains", maxEntries, fsm.CheckLine),
			IncludeEmails: inner.texts("include_emails", maxEntries, fsm.CheckLine), ExcludeEmails: inner.texts("exclude_emails", maxEntries, fsm.CheckLine),
		}
	})
	return r
}

// must reads a whole number above 0 that has to be there.
func (f *form) must(name string, most uint64) uint64 {
	if !f.has(name) {
		f.fault(name, "%s: it is missing", name)
		return 0
	}
	return f.number(name, 1, most)
}
