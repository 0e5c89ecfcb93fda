package rules_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/rules"
	"github.com/licet/licet/fsm/signed"
)

// seat is what a script calls by a name: what the checkout of that name came to.
type seat struct {
	name          string
	lease, ticket uint64
	// handle is the secret one, token that of a borrow.
	handle, token string
	ask           rules.Ask
}

// strangersHandle fits nothing.
const strangersHandle = "c29tZWJvZHkgZWxzZSdzIGhhbmRsZSEh"

var seatWrites = writes{
	"pool": (*player).sendPool, "checkout": (*player).checkout, "connect": (*player).connect,
	"renew": (*player).renew, "check-in": (*player).checkIn, "disconnect": (*player).checkIn,
	"return": (*player).giveBack, "revoke": (*player).revoke, "convert": (*player).convert,
	"claim": (*player).claim, "keep": (*player).keep, "leave": (*player).leave,
}

var seatWords = words{
	"crowd": (*player).cmdCrowd, "lease": (*player).cmdLease, "ticket": (*player).cmdTicket, "position": (*player).cmdPosition, "estimate": (*player).cmdEstimate,
	"offered-to": (*player).cmdOfferedTo, "ends": (*player).cmdEnds, "told": (*player).cmdTold, "already": (*player).cmdAlready,
	"fences": (*player).cmdFences, "token": (*player).cmdToken, "explain": (*player).cmdExplain, "conditions": (*player).cmdConditions,
	"seats": (*player).cmdSeats, "project": (*player).cmdProject, "high-water": (*player).cmdHighWater, "denials": (*player).cmdDenials,
	"ended": (*player).cmdEnded, "ended-many": (*player).cmdEndedMany, "affected": (*player).cmdAffected, "revision": (*player).cmdRevision,
}

// seat takes the name of a seat, or id:7 for the lease or ticket of that number.
func (p *player) seat(ts *testscript.TestScript, name string) *seat {
	if n, ok := strings.CutPrefix(name, "id:"); ok {
		id := rules.Number(ts, n)
		return &seat{name: name, lease: id, ticket: id, handle: strangersHandle}
	}
	x, ok := p.seats[name]
	if !ok {
		ts.Fatalf("no checkout %q so far", name)
	}
	return x
}

// noteSeat keeps what a checkout or claim came to under the name that the script gave it.
func (p *player) noteSeat(value any) {
	x := p.asked
	if p.asked = nil; x == nil {
		return
	}
	if before := p.seats[x.name]; before != nil && x.ticket == 0 {
		x.ticket = before.ticket
	}
	p.seats[x.name] = x
	done, ok := value.(apiv1.CheckoutDone)
	if !ok {
		return
	}
	if t := done.Ticket; t != nil {
		// Another client's ticket comes without its handle.
		x.ticket, x.handle = t.ID, cmp.Or(t.Handle, x.handle, strangersHandle)
	}
	if l := done.Lease; l != nil {
		x.lease, x.handle, x.token = l.ID, cmp.Or(l.Handle, x.handle), l.Token
	}
}

func (p *player) ask(x rules.Ask) apiv1.Checkout {
	p.asked = &seat{name: x.Who, ask: x}
	return apiv1.Checkout{
		Pool: x.Pool, Product: x.Product, User: x.User, Client: x.Client, Project: x.Project, Groups: x.Groups,
		Count: x.Count, TTL: x.TTL, BorrowDays: x.Days, Queue: x.Queue,
	}
}

func (p *player) checkout(ts *testscript.TestScript, args []string) send {
	return sendCheckout(p.ask(rules.Checkout(ts, args)))
}

func (p *player) connect(ts *testscript.TestScript, args []string) send {
	return sendCheckout(p.ask(rules.Connect(ts, args)))
}

func sendCheckout(ask apiv1.Checkout) send {
	return func(ctx context.Context, c *client.Client) (reply, error) { return replied(c.Checkout(ctx, ask)) }
}

// who reads WHO [as=NAME] [more...]: whose seat, the handle that is shown, and what else there is.
func (p *player) who(ts *testscript.TestScript, args []string) (*seat, string, map[string]string) {
	rules.Need(ts, args, 1, "WHO [as=NAME]")
	x, more := p.seat(ts, args[0]), rules.Pairs(ts, args[1:])
	as, ok := more["as"]
	if !ok {
		return x, x.handle, more
	}
	if other, known := p.seats[as]; known {
		return x, other.handle, more
	}
	return x, strangersHandle, more
}

func (p *player) renew(ts *testscript.TestScript, args []string) send {
	x, handle, more := p.who(ts, args)
	var ttl uint32
	if text, ok := more["ttl"]; ok {
		ttl = rules.Seconds(ts, text)
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.Renew(ctx, x.lease, handle, ttl))
	}
}

func (p *player) checkIn(ts *testscript.TestScript, args []string) send {
	x, handle, _ := p.who(ts, args)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.Return(ctx, x.lease, handle))
	}
}

func (p *player) giveBack(ts *testscript.TestScript, args []string) send {
	x, _, more := p.who(ts, args)
	token := x.token
	if more["token"] == "forged" {
		b, err := p.borrow(ts, x)
		ts.Check(err)
		token, err = b.Sign(strangerKey)
		ts.Check(err)
	}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ReturnBorrow(ctx, token))
	}
}

// borrow verifies a token offline, with the public keys alone.
func (p *player) borrow(ts *testscript.TestScript, x *seat) (*signed.Borrow, error) {
	keys, err := client.ParsePublicKeys(p.publicKeys(ts))
	ts.Check(err)
	b, err := signed.VerifyBorrow(x.token, keys)
	if err == nil && !p.clock.now().Before(b.Expiry) {
		err = client.ErrBorrowEnded
	}
	return b, err
}

func (p *player) revoke(ts *testscript.TestScript, args []string) send {
	x, _, more := p.who(ts, args)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.Revoke(ctx, x.lease, more["reason"]))
	}
}

func (p *player) convert(ts *testscript.TestScript, args []string) send {
	rules.Need(ts, args, 2, "convert WHO PRODUCT [pool=NAME] [project=NAME] [as=NAME]")
	x, handle, more := p.who(ts, append([]string{args[0]}, args[2:]...))
	to := apiv1.Conversion{Handle: handle, Lease: x.lease, Product: args[1], Project: cmp.Or(more["project"], x.ask.Project)}
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ConvertProject(ctx, cmp.Or(more["pool"], x.ask.Pool), to))
	}
}

func (p *player) claim(ts *testscript.TestScript, args []string) send {
	x, handle, _ := p.who(ts, args)
	p.asked = x
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ClaimOffer(ctx, x.ticket, handle))
	}
}

func (p *player) keep(ts *testscript.TestScript, args []string) send {
	x, handle, _ := p.who(ts, args)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.KeepTicket(ctx, x.ticket, handle))
	}
}

func (p *player) leave(ts *testscript.TestScript, args []string) send {
	x, handle, _ := p.who(ts, args)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.LeaveQueue(ctx, x.ticket, handle))
	}
}

// cmdCrowd has users NAME1 to NAMEn each ask the same, in one request: crowd NAME N POOL PRODUCT [NAME=VALUE...].
func (p *player) cmdCrowd(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 4, "crowd NAME N POOL PRODUCT [NAME=VALUE...]")
	seats, items := []*seat{}, []apiv1.BulkItem{}
	for i := range rules.Number(ts, args[1]) {
		ask := p.ask(rules.Checkout(ts, append([]string{fmt.Sprint(args[0], i+1)}, args[2:]...)))
		items, seats = append(items, apiv1.BulkItem{Checkout: &ask}), append(seats, p.asked)
	}
	p.asked = nil
	a, err := p.reader(ts).Bulk(p.ctx, items)
	ts.Check(err)
	for i, each := range a.Value.Results {
		if each.Problem != nil {
			ts.Fatalf("%s is refused: %s", seats[i].name, each.Problem.Detail)
		}
		p.asked = seats[i]
		p.noteSeat(apiv1.CheckoutDone{Lease: each.Lease, Ticket: each.Ticket})
	}
}

func (p *player) cmdLease(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "lease WHO works|lingers|ended")
	x, got := p.seat(ts, args[0]), "works"
	_, err := p.reader(ts).Lease(p.ctx, x.lease)
	if code := client.CodeOf(err); code == apiv1.CodeLeaseEnded || code == apiv1.CodeLeaseNotFound {
		got = p.whetherLingering(ts, x)
	} else {
		ts.Check(err)
	}
	rules.Expect(ts, "lease of "+args[0], got, args[1])
}

// whetherLingering tells a seat that lingers from one that is free.
func (p *player) whetherLingering(ts *testscript.TestScript, x *seat) string {
	list, err := p.reader(ts).Leases(p.ctx, client.LeasePage{Pool: x.ask.Pool, After: x.lease - 1, Limit: 1})
	if client.CodeOf(err) == apiv1.CodePoolNotFound {
		return "ended"
	}
	ts.Check(err)
	if len(list.Value.Leases) == 1 && list.Value.Leases[0].ID == x.lease && list.Value.Leases[0].Lingering {
		return "lingers"
	}
	return "ended"
}

// ticketOf is nil if the ticket is gone.
func (p *player) ticketOf(ts *testscript.TestScript, who string) *apiv1.Ticket {
	a, err := p.reader(ts).Ticket(p.ctx, p.seat(ts, who).ticket)
	if code := client.CodeOf(err); code == apiv1.CodeTicketGone || code == apiv1.CodeTicketNotFound {
		return nil
	}
	ts.Check(err)
	return &a.Value
}

func (p *player) cmdTicket(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "ticket WHO waits|offered|gone")
	got := "gone"
	if t := p.ticketOf(ts, args[0]); t != nil {
		got = map[apiv1.TicketState]string{apiv1.TicketStateWaiting: "waits", apiv1.TicketStateOffered: "offered"}[t.State]
	}
	rules.Expect(ts, "ticket of "+args[0], got, args[1])
}

// cmdPosition: the head of the queue is at 1.
func (p *player) cmdPosition(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "position WHO N")
	t := p.ticketOf(ts, args[0])
	if t == nil || t.State != apiv1.TicketStateWaiting {
		ts.Fatalf("%s does not wait: %+v", args[0], t)
	}
	rules.Expect(ts, "those ahead of "+args[0], t.Ahead+1, rules.Number(ts, args[1]))
	rules.Expect(ts, "position of "+args[0], t.Position, rules.Number(ts, args[1]))
}

// cmdEstimate is in whole seconds, as the API tells them.
func (p *player) cmdEstimate(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "estimate WHO DURATION|none")
	want := uint64(0)
	if args[1] != "none" {
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		want = uint64((d + time.Second - 1) / time.Second)
	}
	t := p.ticketOf(ts, args[0])
	if t == nil {
		ts.Fatalf("%s has no ticket", args[0])
	}
	rules.Expect(ts, "estimated wait of "+args[0]+" in seconds", t.EstimatedWait, want)
}

// cmdOfferedTo names all who have offers of a pool.
func (p *player) cmdOfferedTo(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "offered-to POOL nobody|WHO...")
	list, err := p.reader(ts).Tickets(p.ctx, args[0], 0, 1000)
	ts.Check(err)
	got := []uint64{}
	for _, t := range list.Value.Tickets {
		if t.State == apiv1.TicketStateOffered {
			got = append(got, t.ID)
		}
	}
	p.expectIDs(ts, "offers", got, args[1:], func(x *seat) uint64 { return x.ticket })
}

func (p *player) expectIDs(ts *testscript.TestScript, what string, got []uint64, names []string, id func(*seat) uint64) {
	want := []uint64{}
	for _, name := range names {
		if name != "nobody" && name != "" {
			want = append(want, id(p.seat(ts, name)))
		}
	}
	slices.Sort(want)
	rules.Expect(ts, what, fmt.Sprint(slices.Sorted(slices.Values(got))), fmt.Sprint(want))
}

// cmdEnds says when a lease ends unless it is renewed, a ticket unless it is kept, an offer unless it is claimed.
func (p *player) cmdEnds(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "ends WHO TIME")
	if x := p.seat(ts, args[0]); x.lease != 0 {
		a, err := p.reader(ts).Lease(p.ctx, x.lease)
		if err == nil {
			rules.Expect(ts, "end of "+args[0], a.Value.Ends, rules.Moment(ts, args[1]))
			return
		}
	}
	t := p.ticketOf(ts, args[0])
	if t == nil {
		ts.Fatalf("%s has neither a lease nor a ticket", args[0])
	}
	rules.Expect(ts, "end of "+args[0], t.Ends, rules.Moment(ts, args[1]))
}

// cmdTold says which end the last answer told its caller.
func (p *player) cmdTold(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "told TIME")
	want := rules.Moment(ts, args[0])
	switch x := p.last.value.(type) {
	case apiv1.CheckoutDone:
		if x.Lease != nil {
			rules.Expect(ts, "the end that was told", x.Lease.Ends, want)
		} else {
			rules.Expect(ts, "the end that was told", x.Ticket.Ends, want)
		}
	case apiv1.Renewed:
		rules.Expect(ts, "the end that was told", x.Ends, want)
	case apiv1.Ticket:
		rules.Expect(ts, "the end that was told", x.Ends, want)
	default:
		ts.Fatalf("the last answer tells no end: %+v", p.last)
	}
}

func (p *player) cmdAlready(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "already yes|no")
	x, ok := p.last.value.(apiv1.LeaseEnded)
	if !ok {
		ts.Fatalf("the last answer ended no lease: %+v", p.last)
	}
	rules.Expect(ts, "already ended", rules.YesNo(x.Already), args[0])
}

// cmdFences: each lease's number is above that of the one before it.
func (p *player) cmdFences(ts *testscript.TestScript, args []string) {
	for i := 1; i < len(args); i++ {
		if a, b := p.seat(ts, args[i-1]).lease, p.seat(ts, args[i]).lease; a >= b {
			ts.Fatalf("the fence of %s, %d, is not below that of %s, %d", args[i-1], a, args[i], b)
		}
	}
}

// cmdToken looks into the token of a borrow (K4).
func (p *player) cmdToken(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "token WHO NAME=VALUE...")
	b, err := p.borrow(ts, p.seat(ts, args[0]))
	ts.Check(err)
	for name, value := range rules.Pairs(ts, args[1:]) {
		got := map[string]string{
			"user": b.User, "client": b.Client, "pool": b.Pool, "product": b.Product, "count": fmt.Sprint(b.Count),
			"issued": b.Issued.Format(rfc3339), "expiry": b.Expiry.Format(rfc3339),
		}[name]
		rules.Expect(ts, name+" in the token", got, value)
	}
}

// cmdExplain walks the conditions of K1: those named fail or are unchecked, all others hold.
func (p *player) cmdExplain(ts *testscript.TestScript, args []string) {
	at := slices.Index(args, ":")
	if at < 0 || at+1 == len(args) {
		ts.Fatalf("usage: explain WHO POOL PRODUCT [NAME=VALUE...] : nothing|CONDITION=CODE|CONDITION=unchecked...")
	}
	got, want := map[string]string{}, map[string]string{}
	for _, c := range p.conditions(ts, rules.Checkout(ts, args[:at])) {
		switch c.Outcome {
		case apiv1.ConditionOutcomeNotChecked:
			got[c.Name] = "unchecked"
		case apiv1.ConditionOutcomeFails:
			got[c.Name] = string(c.Code)
		}
	}
	if args[at+1] != "nothing" {
		want = rules.Pairs(ts, args[at+1:])
	}
	rules.Expect(ts, "explain", fmt.Sprint(got), fmt.Sprint(want))
}

func (p *player) conditions(ts *testscript.TestScript, x rules.Ask) []apiv1.Condition {
	ask := p.ask(x)
	p.asked = nil
	a, err := p.reader(ts).Explain(p.ctx, ask)
	ts.Check(err)
	return a.Value.Conditions
}

// cmdConditions names the conditions in the order in which they are checked.
func (p *player) cmdConditions(ts *testscript.TestScript, args []string) {
	names := []string{}
	for _, c := range p.conditions(ts, rules.Checkout(ts, []string{"anybody", "any-pool", "any-product"})) {
		names = append(names, c.Name)
	}
	rules.Expect(ts, "conditions", strings.Join(names, " "), strings.Join(args, " "))
}
