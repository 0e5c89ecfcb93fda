package api

import (
	"context"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// maxWait is how long a request can wait for a change of its ticket.
const maxWait = 60 * time.Second

func (s *service) listTickets(c *call) (*answer, error) {
	after, limit := c.query.number("after", 0, maxSerial, 0), c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, pool, err := s.pool(c)
	if err != nil {
		return nil, err
	}
	found := v.Tickets(pool.Name, after, limit+1)
	page := apiv1.TicketList{Tickets: make([]apiv1.Ticket, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Tickets = append(page.Tickets, ticketOf(x))
	}
	if len(found) > limit {
		page.Next = page.Tickets[limit-1].ID
	}
	return ok(page), nil
}

func (s *service) getTicket(c *call) (*answer, error) {
	wait := c.query.wait("wait", 0, 0)
	if err := c.query.done(); err != nil {
		return nil, err
	}
	id, err := pathID(c, "ticket")
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	x, refused := v.Ticket(id)
	if refused == nil && wait > 0 && !x.Ticket.Offered {
		if v, err = s.waitForTicket(c, x, wait); err != nil {
			return nil, err
		}
		c.sayView(v)
		x, refused = v.Ticket(id)
	}
	if refused != nil {
		return nil, refusal(refused)
	}
	return ok(ticketOf(x)), nil
}

// waitForTicket returns the node's view once the number ahead of a ticket has changed, seats are
// offered to it or it is gone, or when the time is up or the node is about to stop.
func (s *service) waitForTicket(c *call, x *fsmpb.TicketStatus, wait time.Duration) (*fsm.View, error) {
	ctx, cancel := context.WithTimeout(c.ctx, withinDeadline(c.ctx, wait))
	defer cancel()
	if err := c.extend(maxWait + s.RequestTimeout); err != nil {
		return nil, err
	}
	met := func(v *fsm.View) bool {
		now, refused := v.Ticket(x.Ticket.Id)
		return refused != nil || now.Ahead != x.Ahead || now.Ticket.Offered
	}
	changed, leave, full := s.waiters.join(s, c, met)
	if full != nil {
		return nil, full
	}
	defer leave()
	local := Read{Stale: true, MinIndex: c.read.MinIndex}
	v, _, err := s.Node.Read(c.ctx, local)
	if err != nil || met(v) {
		return v, err
	}
	select {
	case <-changed:
	case <-ctx.Done():
	case <-s.drained:
	}
	v, _, err = s.Node.Read(c.ctx, local)
	return v, err
}

// withinDeadline leaves time for the answer.
func withinDeadline(ctx context.Context, wait time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		return min(wait, left-min(left/4, time.Second))
	}
	return wait
}

func (s *service) keepTicket(c *call) (*answer, error) {
	o, err := s.decideTicket(c, func(id uint64, holder []byte) *fsmpb.Body {
		return &fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: id, Holder: holder}}}
	})
	if err != nil {
		return nil, err
	}
	return ok(ticketOf(o.GetTicket())), nil
}

func (s *service) claimOffer(c *call) (*answer, error) {
	o, err := s.decideTicket(c, func(id uint64, holder []byte) *fsmpb.Body {
		return &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: id, Holder: holder}}}
	})
	if err != nil {
		return nil, err
	}
	lease := leaseOf(o.GetLease())
	// It stays that of the ticket, which the caller has shown.
	handle, _ := c.form.fields["handle"].(string)
	lease.Handle = c.shown(handle)
	return c.granted(apiv1.CheckoutDone{Lease: &lease}), nil
}

func (s *service) leaveQueue(c *call) (*answer, error) {
	o, err := s.decideTicket(c, func(id uint64, holder []byte) *fsmpb.Body {
		return &fsmpb.Body{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: id, Holder: holder}}}
	})
	if err != nil {
		return nil, err
	}
	x := o.GetTicket().GetTicket()
	return ok(apiv1.TicketLeft{Ticket: x.GetId(), Already: x.GetAsk() == nil}), nil
}

// decideTicket decides a command of the ticket in the path, for who shows its handle.
func (s *service) decideTicket(c *call, command func(id uint64, holder []byte) *fsmpb.Body) (*fsmpb.Outcome, error) {
	id, err := pathID(c, "ticket")
	if err != nil {
		return nil, err
	}
	holder := c.form.holder()
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.decide(c, command(id, holder))
}

// ticketOf shows a ticket, without its handle.
func ticketOf(x *fsmpb.TicketStatus) apiv1.Ticket {
	t, ask := x.GetTicket(), x.GetTicket().GetAsk()
	out := apiv1.Ticket{
		ID: t.GetId(), Pool: ask.GetPool(), Product: ask.GetProduct(), User: ask.GetUser(), Client: ask.GetClient(), Count: ask.GetCount(),
		Project: ask.GetProject(), State: apiv1.TicketStateWaiting, Ahead: x.GetAhead(), Position: x.GetAhead() + 1,
		Since: time.UnixMilli(t.GetSinceMs()).UTC(), Ends: time.UnixMilli(x.GetEndsMs()).UTC(),
	}
	if ms := uint64(x.GetWaitMs()); ms > 0 { //nolint:gosec // G115: a duration or a time after 1970, which is not negative
		out.EstimatedWait = (ms + 999) / 1000
	}
	if t.GetOffered() {
		out.State, out.Ahead, out.Position = apiv1.TicketStateOffered, 0, 0
	}
	return out
}
