package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/api/apiv1"
)

// leaveWithin bounds the farewell of who waits no more: a ticket that nobody keeps is dropped anyway.
const leaveWithin = 3 * time.Second

// Await waits until seats are offered to a ticket, and claims them (rules Q2, Q3). Meanwhile it keeps the ticket, calls each
// tell with it as it stands, and waits out outages. When ctx ends first, the ticket stays in the queue for its TTL. Hold does
// more: it leaves the queue, and keeps the seats.
func (c *Client) Await(ctx context.Context, ticket apiv1.Ticket, tell ...func(apiv1.Ticket)) (*Answer[apiv1.CheckoutDone], error) {
	w := waiting{c: c, ticket: ticket, tell: tell}
	return w.wait(ctx)
}

// waiting is the wait for a ticket's seats.
type waiting struct {
	c      *Client
	ticket apiv1.Ticket
	tell   []func(apiv1.Ticket)
	// each is how often the ticket is kept, kept when it was, on the client's clock.
	each, kept time.Duration
	// claim is the request id of the claim that is under way, sent when it was sent first, on the client's clock.
	claim string
	sent  time.Duration
	done  *Answer[apiv1.CheckoutDone]
}

func (w *waiting) wait(ctx context.Context) (*Answer[apiv1.CheckoutDone], error) {
	if w.ticket.Handle == "" {
		return nil, &Error{
			Code: apiv1.CodeNotTicketHolder, Status: http.StatusForbidden,
			Detail: fmt.Sprintf("Ticket %d of %s is held on client %s.", w.ticket.ID, w.ticket.User, w.ticket.Client),
			Next:   "Wait for it there, or leave the queue there.",
		}
	}
	w.kept = w.c.clock()
	w.say()
	for failed := 0; ; {
		err := w.step(ctx)
		switch {
		case err == nil && w.done != nil:
			return w.done, nil
		case err == nil:
			failed = 0
			w.say()
		case !passes(err) || !sleep(ctx, backOff(failed)):
			return nil, err
		default:
			failed++
		}
	}
}

// say tells how the ticket stands, without its secret.
func (w *waiting) say() {
	shown := w.ticket
	shown.Handle = ""
	for _, tell := range w.tell {
		tell(shown)
	}
}

// step does what is next for the ticket.
func (w *waiting) step(ctx context.Context) error {
	if w.each == 0 {
		return w.learn(ctx)
	}
	if w.ticket.State == apiv1.TicketStateOffered {
		return w.take(ctx)
	}
	if left := w.each - (w.c.clock() - w.kept); left >= time.Second {
		// A node that hangs must not cost the ticket its keeping.
		ctx, cancel := context.WithTimeout(ctx, left+w.each/2)
		defer cancel()
		return w.now(w.c.WaitTicket(ctx, w.ticket.ID, left))
	}
	sent := w.c.clock()
	err := w.now(w.c.KeepTicket(ctx, w.ticket.ID, w.ticket.Handle))
	if err == nil {
		w.kept = sent
	}
	return err
}

// learn reads how long a ticket lasts. A third of it leaves time for a keeping that is late by as much again.
func (w *waiting) learn(ctx context.Context) error {
	pool, err := w.c.Pool(ctx, w.ticket.Pool)
	if err != nil {
		return err
	}
	w.each = max(seconds(pool.Value.Definition.TicketTTL)/3, time.Second)
	own := *w.c
	own.attempt = min(own.attempt, w.each/2)
	w.c = &own
	return nil
}

func (w *waiting) now(a *Answer[apiv1.Ticket], err error) error {
	if err == nil {
		handle := w.ticket.Handle
		w.ticket = a.Value
		w.ticket.Handle = handle
	}
	return err
}

// take claims the offer, with the same request id until the outcome is known (rule E2).
func (w *waiting) take(ctx context.Context) error {
	if w.claim == "" {
		w.claim, w.sent = ulid.Make().String(), w.c.clock()
	}
	a, err := w.c.ClaimOffer(WithRequestID(ctx, w.claim), w.ticket.ID, w.ticket.Handle)
	switch {
	case err == nil:
		w.done = a
	case CodeOf(err) == apiv1.CodeNotOffered:
		// The pool was deactivated, or changed: the offer was withdrawn, and the place kept.
		w.claim, w.ticket.State = "", apiv1.TicketStateWaiting
		err = nil
	}
	return err
}

// leave gives the ticket up, or declines its offer, if it still is there and anybody hears it.
func (w *waiting) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if w.ticket.Handle != "" {
		_, _ = w.c.LeaveQueue(ctx, w.ticket.ID, w.ticket.Handle)
	}
}

// passes tells whether the same request may succeed later without anybody doing anything.
func passes(err error) bool {
	var e *Error
	switch {
	case !errors.As(err, &e), e.Code == apiv1.CodeUnsupported:
		return false
	case e.Code == CodeUnreachable, e.Code == apiv1.CodeOutcomeUnknown:
		return true
	}
	return e.Status >= 500 || e.Status == http.StatusTooManyRequests
}
