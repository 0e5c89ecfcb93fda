package client

import (
	"context"
	"strconv"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// MaxWait is the longest wait for a change of a ticket.
const MaxWait = 60 * time.Second

// Ticket returns a ticket, without its handle.
func (c *Client) Ticket(ctx context.Context, id uint64, options ...ReadOption) (*Answer[apiv1.Ticket], error) {
	path, err := numbered("ticket", id, "")
	return call[apiv1.Ticket](ctx, c, get(path, options), err)
}

// WaitTicket returns a ticket once the number ahead of it has changed or seats are offered to it, at
// once if they already are, and after the given time, of whole seconds up to MaxWait, at the
// latest (rule Q3). It does not keep the ticket: call KeepTicket in between.
func (c *Client) WaitTicket(ctx context.Context, id uint64, wait time.Duration, options ...ReadOption) (*Answer[apiv1.Ticket], error) {
	path, err := numbered("ticket", id, "")
	r := get(path, options)
	r.wait = min(max(wait, 0), MaxWait).Truncate(time.Second)
	r.query.Set("wait", strconv.Itoa(int(r.wait/time.Second)))
	return call[apiv1.Ticket](ctx, c, r, err)
}

// Tickets lists one page of a pool's tickets in the order of the queue. Zeros begin at the first
// and leave the length to the node.
func (c *Client) Tickets(ctx context.Context, pool string, after uint64, most int, options ...ReadOption) (*Answer[apiv1.TicketList], error) {
	path, err := poolPath(pool, "/tickets")
	r := get(path, append([]ReadOption{limit(most)}, options...))
	r.after(after)
	return call[apiv1.TicketList](ctx, c, r, err)
}

// KeepTicket says that the holder of a ticket still waits (rule Q3).
func (c *Client) KeepTicket(ctx context.Context, id uint64, handle string) (*Answer[apiv1.Ticket], error) {
	r, err := heldTicket(ctx, id, "/keep", handle)
	return call[apiv1.Ticket](ctx, c, r, err)
}

// ClaimOffer turns the seats that a ticket is offered into a lease, whose handle is the ticket's (rule Q2).
func (c *Client) ClaimOffer(ctx context.Context, id uint64, handle string) (*Answer[apiv1.CheckoutDone], error) {
	r, err := heldTicket(ctx, id, "/claim", handle)
	return call[apiv1.CheckoutDone](ctx, c, r, err)
}

// LeaveQueue gives a ticket up, or declines its offer (rule Q2). To leave what is gone is no fault.
func (c *Client) LeaveQueue(ctx context.Context, id uint64, handle string) (*Answer[apiv1.TicketLeft], error) {
	r, err := heldTicket(ctx, id, "/leave", handle)
	return call[apiv1.TicketLeft](ctx, c, r, err)
}

func heldTicket(ctx context.Context, id uint64, verb, handle string) (*request, error) {
	path, err := numbered("ticket", id, verb)
	if err != nil {
		return nil, err
	}
	return write(ctx, "POST", path, apiv1.Held{Handle: handle})
}
