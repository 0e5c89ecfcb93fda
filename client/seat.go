package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/api/apiv1"
)

// Why a seat is no longer held, see Seat.Err.
var (
	// ErrLost says that its lease has ended, or is about to for all that its holder knows.
	ErrLost = errors.New("the seat is lost")
	// ErrReturned says that its holder has closed it.
	ErrReturned = errors.New("the seat was returned")
)

const (
	// A seat is renewed when a third of its TTL has passed, so that there is time for more attempts.
	renewals = 3
	// The holder stops a tenth of the TTL before its end: clocks don't run equally fast, and to stop takes time.
	margins = 10
	// Each node has a sixth of the TTL to answer a renewal: three can hang, and the fourth is still asked in time.
	answers = 6
	// watchEvery is how late it may be noticed that the machine slept: timers sleep with it.
	watchEvery = time.Second
)

// Seat is a checkout that renews itself until it is closed, its context ends, or it is lost. Its methods
// are safe for concurrent use.
type Seat struct {
	c     *Client
	lease apiv1.Lease
	ctx   context.Context
	end   context.CancelCauseFunc
	// over is closed once nothing of the seat runs any more; returned is then what came of its return.
	over     chan struct{}
	returned error

	// What follows is for keep alone; times are on the client's clock.

	// due is when to renew, ends when to stop using the seat.
	due, ends time.Duration
	// id is the request id of the renewal that is under way, sent when it was sent first.
	id   string
	sent time.Duration
	// failed counts the renewals that failed since the last success, last is why the last one did.
	failed int
	last   error
}

// Hold takes seats (rules K1, K2) and keeps them: they are renewed until Close is called, and returned then. When ctx ends, they
// are returned too, so a connection to a project ends with its context (rule T1). A holder that crashes or forgets
// its seat renews no more: its seats are free one TTL later.
//
// If the checkout queues, Hold waits for an offer and claims it, until ctx ends (rules Q2, Q3). Meanwhile it
// calls each tell, from its own goroutine, with the ticket as it stands: at first, after each change, and at least
// three times in the ticket's TTL. Outages are waited out; if the ticket is dropped in one, Hold queues anew.
//
// The error is an *Error, joined with that of ctx if it ended. Borrows are not held (see Checkout), nor is a dry run.
func (c *Client) Hold(ctx context.Context, ask apiv1.Checkout, tell ...func(apiv1.Ticket)) (*Seat, error) {
	switch {
	case ask.BorrowDays != 0:
		return nil, refused(errors.New("a borrow is not held: it ends by itself"))
	case isDryRun(ctx):
		return nil, refused(errors.New("a seat is held or not: there is no dry run"))
	}
	for first := ctx; ; first = anew(ctx) {
		sent := c.clock()
		a, err := c.Checkout(first, ask)
		if err == nil && a.Value.Ticket != nil {
			w := waiting{c: c, ticket: *a.Value.Ticket, tell: tell}
			if a, err = w.wait(anew(ctx)); err != nil {
				w.leave(anew(ctx))
			}
			sent = w.sent
		}
		switch code := CodeOf(err); {
		case err == nil && a.Value.Lease == nil:
			return nil, &Error{Code: CodeBadAnswer, Detail: "The node answered a checkout without a lease.", Next: "Check that client and nodes are of versions that fit.", Meta: a.Meta}
		case err == nil:
			return c.hold(ctx, *a.Value.Lease, sent), nil
		case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
			return nil, errors.Join(context.Cause(ctx), err)
		case code != apiv1.CodeTicketGone && code != apiv1.CodeTicketNotFound:
			return nil, err
		}
	}
}

// anew drops the request id that is meant for the checkout alone.
func anew(ctx context.Context) context.Context { return context.WithValue(ctx, requestIDKey{}, nil) }

// hold keeps a lease that was asked for at a time.
func (c *Client) hold(ctx context.Context, lease apiv1.Lease, sent time.Duration) *Seat {
	own := *c
	ttl := seconds(lease.TTL)
	own.attempt = min(c.attempt, ttl/answers)
	s := &Seat{c: &own, lease: lease, over: make(chan struct{})}
	s.ctx, s.end = context.WithCancelCause(anew(ctx))
	s.extend(sent, ttl)
	go s.keep()
	return s
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// Lease is the seat as it was checked out, with its handle. Its id is the fence (rule K6).
func (s *Seat) Lease() apiv1.Lease { return s.lease }

// Context ends as soon as the seat must not be used any more. It has the values of Hold's context.
func (s *Seat) Context() context.Context { return s.ctx }

// Lost is closed as soon as the seat must not be used any more: Err says why. A seat that can't be renewed is given
// up a tenth of its TTL before the cluster can give it to anybody else, counted from the moment at which the last
// renewal that succeeded was sent, on a clock that runs on while the machine sleeps. One that an operator
// revoked, or whose pool has ended, is known to be lost at the next renewal: within a third of its TTL.
func (s *Seat) Lost() <-chan struct{} { return s.ctx.Done() }

// Err is nil while the seat is held. Then it wraps ErrLost and what led to it, or it is ErrReturned, or the cause of
// the end of Hold's context.
func (s *Seat) Err() error { return context.Cause(s.ctx) }

// Close returns the seat (rule K3) and waits until nothing of it runs any more, up to the client's Timeout. An error says
// that the return may not have been carried out; the seat is then free one TTL after its last renewal. There is
// nothing to return of a seat that is lost. Further calls answer the same.
func (s *Seat) Close() error {
	s.end(ErrReturned)
	<-s.over
	return s.returned
}

// renewal is what came of one.
type renewal struct {
	answer *Answer[apiv1.Renewed]
	err    error
}

// keep renews the seat as long as it is held, and returns it if it was not lost.
func (s *Seat) keep() {
	defer close(s.over)
	heard := make(chan renewal, 1)
	asking := false
	timer := time.NewTimer(watchEvery)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		now := s.c.clock()
		if now >= s.ends {
			s.lose(s.tooLate())
			break
		}
		if !asking && now >= s.due {
			asking = true
			s.begin(now)
			go func(ctx context.Context) { heard <- s.renew(ctx) }(WithRequestID(s.ctx, s.id))
		}
		next := min(watchEvery, s.ends-now)
		if !asking {
			next = min(next, s.due-now)
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
		case r := <-heard:
			asking = false
			s.hear(r)
		}
	}
	if asking {
		<-heard
	}
	if !errors.Is(s.Err(), ErrLost) {
		_, s.returned = s.c.Return(context.WithoutCancel(s.ctx), s.lease.ID, s.lease.Handle)
	}
}

// begin is a new renewal, or the repetition of one whose outcome is not known (rule E2).
func (s *Seat) begin(now time.Duration) {
	if s.id == "" {
		s.id, s.sent = ulid.Make().String(), now
	}
}

func (s *Seat) renew(ctx context.Context) renewal {
	a, err := s.c.Renew(ctx, s.lease.ID, s.lease.Handle, 0)
	return renewal{a, err}
}

// hear takes in what came of a renewal.
func (s *Seat) hear(r renewal) {
	if r.err == nil {
		s.id, s.failed, s.last = "", 0, nil
		s.extend(s.sent, seconds(r.answer.Value.TTL))
		return
	}
	switch CodeOf(r.err) {
	case apiv1.CodeLeaseEnded, apiv1.CodeLeaseNotFound, apiv1.CodeNotHolder:
		s.lose(r.err)
		return
	case apiv1.CodeOutcomeUnknown:
	default:
		// Nothing was done: the next one is another.
		s.id = ""
	}
	s.last = r.err
	s.due = s.c.clock() + backOff(s.failed)
	s.failed++
}

// extend counts from when it was sent: when the cluster began to count is not known, but not before that.
func (s *Seat) extend(sent, ttl time.Duration) {
	s.ends = sent + ttl - ttl/margins
	s.due = sent + ttl/renewals - jitter(ttl/renewals/8)
}

// tooLate is why a seat is lost that nobody took: the last attempt to renew it says more, if there was one.
func (s *Seat) tooLate() error {
	why := s.last
	if why == nil {
		why = &Error{Code: CodeUnreachable, Detail: "No renewal was answered before.", Next: "Check the network, and whether the machine slept."}
	}
	return fmt.Errorf("lease %d was not renewed in time: %w", s.lease.ID, why)
}

func (s *Seat) lose(why error) { s.end(fmt.Errorf("%w: %w", ErrLost, why)) }
