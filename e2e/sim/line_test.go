package sim

import "github.com/licet/licet/fsm"

// checkLines: no seat is free that somebody waits for whose turn it is (rules Q1, Q2).
func (x *witness) checkLines() {
	for _, p := range x.view.Pools("", "", 100) {
		if p.Active && !p.Over {
			x.checkLine(p)
		}
	}
}

// checkLine goes through a pool's queue from its front. Who lacks the pool's size holds back all behind, and who lacks seats of a product alone, those
// who wait for the same. A ticket that is over is offered nothing, and holds back whom it would come before until that is applied. There are no
// reservations in simulations, no pool is shared, and contracts bear what pools promise.
func (x *witness) checkLine(p fsm.PoolStatus) {
	blocked := map[string]bool{}
	for _, t := range x.view.Tickets(p.Name, 0, 1000) {
		ask := t.Ticket.Ask
		if t.Ticket.Offered || blocked[ask.Product] {
			continue
		}
		used, most := uint64(0), p.Size
		for _, u := range p.Use.Products {
			if u.Name == ask.Product {
				used = u.Used
			}
		}
		for _, product := range p.Products {
			if product.Name == ask.Product {
				most = min(most, capOf(product.Cap, p.Size))
			}
		}
		switch {
		case p.Use.Used+ask.Count > p.Size:
			return
		case used+ask.Count > most:
			blocked[ask.Product] = true
		case x.view.Clock().LeaseMs() >= t.Ticket.EndsMs:
			return
		default:
			x.world.violate("ticket %d waits for %d seats of %s, and they are free: %d of %d are used in %s, %d of %d of the product",
				t.Ticket.Id, ask.Count, ask.Product, p.Use.Used, p.Size, p.Name, used, most)
			return
		}
	}
}
