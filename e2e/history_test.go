package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/history"
)

// clientHistory is clients who use a pool and the instances of a contract that are theirs alone, through all nodes, and note all
// that they ask and are told.
type clientHistory struct {
	c        *Cluster
	recorder *history.Recorder
	cancel   context.CancelFunc
	clients  sync.WaitGroup

	mu sync.Mutex
	// leases, tickets and serials are those of which any client knows.
	leases, tickets, serials []uint64
}

// startHistory makes the contract and the pool, and has clients use them until the history is checked.
func startHistory(c *Cluster, clients int) *clientHistory {
	c.t.Helper()
	began := time.Now()
	h := &clientHistory{c: c, recorder: history.New(history.Default(), func() time.Duration { return time.Since(began) })}
	h.prepare()
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	c.t.Cleanup(func() { cancel(); h.clients.Wait() })
	for i := range clients {
		o := client.Options{Endpoints: rotate(c.Endpoints(), i), Attempt: time.Second, Timeout: 3 * time.Second}
		if i > 0 {
			// These sit at one node each and give up soon, so that some never learn of an outcome.
			o = client.Options{Endpoints: o.Endpoints[:1], Timeout: 700 * time.Millisecond}
		}
		p := &player{h: h, cl: c.newClient(o), ctx: ctx, who: i, user: fmt.Sprintf("h%d@x.org", i)}
		h.clients.Go(p.play)
	}
	return h
}

func (h *clientHistory) prepare() {
	t := h.c.t
	t.Helper()
	s := h.recorder.Setup()
	var yaml strings.Builder
	yaml.WriteString(contractYAML(s.Contract, 1, int(s.Users)) + "products:\n")
	pool := apiv1.PoolDefinition{
		Name: s.Pool, Contract: s.Contract, Size: s.Size, QueueLimit: s.QueueLimit, Products: map[string]apiv1.PoolProduct{},
		TTLMin: history.TTL, TTLMax: history.TTL, TTLDefault: history.TTL, OfferTTL: history.TTL, TicketTTL: history.TTL,
	}
	for _, p := range s.Products {
		fmt.Fprintf(&yaml, "  %s: {model: floating, quantity: %d}\n", p.Name, p.Quantity)
		pool.Products[p.Name] = apiv1.PoolProduct{Cap: p.Cap, MaxCheckoutDays: p.Days}
	}
	_, err := h.c.http.PutContract(context.Background(), h.c.sign(yaml.String()))
	if err == nil {
		_, err = h.c.http.CreatePool(context.Background(), pool)
	}
	if err == nil {
		_, err = h.c.http.ActivatePool(context.Background(), s.Pool)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitDone returns when so many more operations are done.
func (h *clientHistory) waitDone(more int) {
	h.c.t.Helper()
	goal := h.recorder.Done() + more
	eventually(h.c.t, strconv.Itoa(more)+" more operations are done", func() error {
		if now := h.recorder.Done(); now < goal {
			return fmt.Errorf("%d are missing", goal-now)
		}
		return nil
	})
}

// check stops the clients, has a look at everything, and fails the test unless what all were told has an order in which it is right.
func (h *clientHistory) check() {
	t := h.c.t
	t.Helper()
	h.cancel()
	h.clients.Wait()
	last := &player{h: h, cl: h.c.http, ctx: context.Background(), who: 99}
	for _, kind := range []history.Kind{history.ReadPool, history.ReadLeases, history.ReadTickets, history.ReadInstances, history.ReadTotal} {
		last.read(history.Input{Kind: kind})
	}
	began := time.Now()
	err := h.recorder.Check(history.Limits{Timeout: patience, Pictures: os.TempDir()})
	t.Logf("%d operations, %d of them of unknown outcome, looked through in %s", h.recorder.Done(), h.recorder.Open(), time.Since(began).Round(time.Millisecond))
	if err != nil {
		t.Error(err)
	}
}

// owned is a lease, a borrow, or a ticket.
type owned struct {
	id uint64
	// handle is the secret, that of the checkout with this request id; token is a borrow's.
	handle, holder, token string
}

// player is one client.
type player struct {
	h      *clientHistory
	cl     *client.Client
	ctx    context.Context
	who    int
	user   string
	asked  int
	leases []owned
	// tickets are by product: a user has one of each (rule Q5).
	tickets map[string]owned
}

func (p *player) play() {
	p.tickets = map[string]owned{}
	for p.ctx.Err() == nil {
		p.turn()
		select {
		case <-p.ctx.Done():
		case <-time.After(rand.N(40 * time.Millisecond)):
		}
	}
}

func (p *player) turn() {
	switch x := rand.IntN(100); {
	case x < 22:
		p.checkout()
	case x < 38:
		p.endLease()
	case x < 43:
		p.renew()
	case x < 53:
		p.ticket()
	case x < 55:
		p.resizePool()
	case x < 58:
		p.tidy()
	case x < 75:
		p.look()
	default:
		p.instance()
	}
}

// done is what a request came to.
type done func(context.Context) (history.Output, error)

// decided are the codes that are an answer of the state machine; others say that nothing was done, or that nobody knows.
var decided = []apiv1.Code{
	apiv1.CodePoolFull, apiv1.CodeCapReached, apiv1.CodeQueueAhead, apiv1.CodeQueueFull, apiv1.CodeCountAboveLimit, apiv1.CodeBorrowTooLong,
	apiv1.CodeBorrowNotAllowed, apiv1.CodeBorrowLowWater, apiv1.CodeBorrowNotRenewable, apiv1.CodeBorrowTokenNeeded, apiv1.CodeContractExhausted,
	apiv1.CodeLeaseEnded, apiv1.CodeLeaseNotFound, apiv1.CodeNotHolder, apiv1.CodeTicketGone, apiv1.CodeTicketNotFound, apiv1.CodeNotTicketHolder,
	apiv1.CodeNotOffered, apiv1.CodeInstanceExists, apiv1.CodeInstanceRemoved, apiv1.CodeInstanceNotFound, apiv1.CodeProductNotInPool,
	apiv1.CodePoolNotFound, apiv1.CodeContractNotFound, apiv1.CodeIdempotencyMismatch, apiv1.CodeInvalid,
}

// ask asks until the outcome is known, except for a few times, and notes it. It returns the answer, and whether there is one.
func (p *player) ask(in history.Input, do done) (history.Output, bool) {
	call := p.h.recorder.Begin(p.who, in)
	if call == nil {
		return history.Output{}, false
	}
	ctx := client.WithRequestID(context.Background(), p.requestID())
	// Once an outcome was unknown, a later attempt that did nothing says nothing of the earlier one.
	doubt := false
	for late := 0; ; {
		out, err := do(ctx)
		code := client.CodeOf(err)
		switch {
		case slices.Contains(decided, code):
			out = history.Refusal(string(code), func(name string) uint64 { return factOf(err, name) })
			fallthrough
		case err == nil:
			call.End(out)
			if !in.Kind.Reads() && rand.IntN(10) == 0 {
				_, _ = do(ctx) // a repeat changes nothing, or the history does not fit (rule E1)
			}
			return out, true
		case in.Kind.Reads(), code != apiv1.CodeOutcomeUnknown && !doubt:
			// Nothing was done; were that not true, the rest of the history would not fit.
			call.Drop()
			return history.Output{}, false
		case rand.IntN(2) == 0 && call.Spare(), late == 20:
			call.Leave()
			return history.Output{}, false
		}
		doubt = true
		if p.ctx.Err() != nil {
			late++
		}
	}
}

// requestID is that of the present request.
func (p *player) requestID() string { return fmt.Sprintf("history:%d:%d", p.who, p.asked) }

// secret begins a request, whose id names the handle that it may bring.
func (p *player) secret() string {
	p.asked++
	return p.requestID()
}

// factOf is a number behind a refusal.
func factOf(err error, name string) uint64 {
	var e *client.Error
	if !errors.As(err, &e) {
		return 0
	}
	n, _ := e.Facts[name].Int()
	return uint64(n)
}

// some takes one out of what all clients know of, mostly what is new.
func (p *player) some(list *[]uint64) uint64 {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	if len(*list) == 0 {
		return 0
	}
	return (*list)[len(*list)-1-rand.IntN(min(8, len(*list)))]
}

func (p *player) know(list *[]uint64, id uint64) {
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	*list = append(*list, id)
}

func (p *player) checkout() {
	products := p.h.recorder.Setup().Products
	in := history.Input{
		Kind: history.Checkout, Holder: p.secret(), User: p.user, Product: products[rand.IntN(len(products))].Name, Count: 1, Queue: rand.IntN(3) > 0,
	}
	switch rand.IntN(8) {
	case 0:
		in.Days, in.Queue = 1, false
	case 1, 2:
		in.Count = 2
	}
	p.granted(in, func(ctx context.Context) (*client.Answer[apiv1.CheckoutDone], error) {
		return p.cl.Checkout(ctx, apiv1.Checkout{
			Pool: p.h.recorder.Setup().Pool, Product: in.Product, User: in.User, Client: in.User, Count: in.Count, BorrowDays: in.Days, Queue: in.Queue,
		})
	})
}

// granted has a checkout or a claim done, and keeps what it brings.
func (p *player) granted(in history.Input, do func(context.Context) (*client.Answer[apiv1.CheckoutDone], error)) (history.Output, bool) {
	// A repeat may tell of it, too.
	got := owned{holder: in.Holder}
	out, told := p.ask(in, func(ctx context.Context) (history.Output, error) {
		a, err := do(ctx)
		if err != nil {
			return history.Output{}, err
		}
		if l := a.Value.Lease; l != nil {
			got.id, got.handle, got.token = l.ID, l.Handle, l.Token
			return history.Output{Lease: l.ID}, nil
		}
		t := a.Value.Ticket
		got.id, got.handle = t.ID, t.Handle
		return history.Output{Ticket: t.ID, Offered: t.State == apiv1.TicketStateOffered, Ahead: t.Ahead}, nil
	})
	switch {
	case out.Lease != 0:
		p.leases = append(p.leases, got)
		p.know(&p.h.leases, got.id)
	case out.Ticket != 0:
		p.tickets[in.Product] = got
		p.know(&p.h.tickets, got.id)
	}
	return out, told
}

// endLease returns a lease or a borrow, whatever comes of it.
func (p *player) endLease() {
	if len(p.leases) == 0 {
		return
	}
	i := rand.IntN(len(p.leases))
	x := p.leases[i]
	p.leases = slices.Delete(p.leases, i, i+1)
	p.asked++
	in := history.Input{Kind: history.CheckIn, Lease: x.id, Holder: x.holder}
	do := func(ctx context.Context) (*client.Answer[apiv1.LeaseEnded], error) {
		return p.cl.Return(ctx, x.id, x.handle)
	}
	switch {
	case x.token != "" && rand.IntN(4) > 0:
		in = history.Input{Kind: history.ReturnBorrow, Lease: x.id}
		do = func(ctx context.Context) (*client.Answer[apiv1.LeaseEnded], error) {
			return p.cl.ReturnBorrow(ctx, x.token)
		}
	case rand.IntN(10) == 0:
		p.revoke(x.id)
		return
	}
	out, told := p.ended(in, do)
	if !told || out.Code != "" || rand.IntN(4) == 0 {
		// It may be there still, or is not, and is returned once more.
		p.leases = append(p.leases, x)
	}
}

func (p *player) ended(in history.Input, do func(context.Context) (*client.Answer[apiv1.LeaseEnded], error)) (history.Output, bool) {
	return p.ask(in, func(ctx context.Context) (history.Output, error) {
		a, err := do(ctx)
		if err != nil {
			return history.Output{}, err
		}
		return history.Output{Already: a.Value.Already}, nil
	})
}

func (p *player) revoke(id uint64) {
	p.asked++
	p.ended(history.Input{Kind: history.Revoke, Lease: id}, func(ctx context.Context) (*client.Answer[apiv1.LeaseEnded], error) {
		return p.cl.Revoke(ctx, id, "")
	})
}

// renew renews a lease, or tries to with another's.
func (p *player) renew() {
	x := owned{id: p.some(&p.h.leases), handle: "of nobody", holder: "nobody"}
	if len(p.leases) > 0 && rand.IntN(4) > 0 {
		x = p.leases[rand.IntN(len(p.leases))]
	}
	if x.id == 0 {
		return
	}
	p.asked++
	p.ask(history.Input{Kind: history.Renew, Lease: x.id, Holder: x.holder}, func(ctx context.Context) (history.Output, error) {
		a, err := p.cl.Renew(ctx, x.id, x.handle, 0)
		if err != nil {
			return history.Output{}, err
		}
		return history.Output{N: a.Value.Renewals}, nil
	})
}

// ticket claims, keeps or leaves.
func (p *player) ticket() {
	for product, x := range p.tickets {
		p.asked++
		in := history.Input{Kind: history.Keep, Ticket: x.id, Holder: x.holder}
		switch rand.IntN(8) {
		case 0:
			in.Kind = history.Leave
			out, told := p.ask(in, func(ctx context.Context) (history.Output, error) {
				a, err := p.cl.LeaveQueue(ctx, x.id, x.handle)
				if err != nil {
					return history.Output{}, err
				}
				return history.Output{Already: a.Value.Already}, nil
			})
			if told && out.Code == "" {
				delete(p.tickets, product)
			}
		case 1, 2:
			p.ask(in, func(ctx context.Context) (history.Output, error) {
				a, err := p.cl.KeepTicket(ctx, x.id, x.handle)
				if err != nil {
					return history.Output{}, err
				}
				return history.Output{Offered: a.Value.State == apiv1.TicketStateOffered, Ahead: a.Value.Ahead}, nil
			})
		default:
			in.Kind = history.Claim
			out, told := p.granted(in, func(ctx context.Context) (*client.Answer[apiv1.CheckoutDone], error) {
				return p.cl.ClaimOffer(ctx, x.id, x.handle)
			})
			if told && out.Code != string(apiv1.CodeNotOffered) {
				delete(p.tickets, product)
			}
		}
		return
	}
}

func (p *player) resizePool() {
	s := p.h.recorder.Setup()
	size := 2 + rand.Uint64N(4)
	p.asked++
	p.ask(history.Input{Kind: history.ResizePool, Size: size}, func(ctx context.Context) (history.Output, error) {
		a, err := p.cl.Pool(ctx, s.Pool)
		if err != nil {
			// It was not even asked for.
			return history.Output{}, &client.Error{Code: client.CodeUnreachable, Detail: err.Error()}
		}
		definition := a.Value.Definition
		definition.Size = size
		_, err = p.cl.ReplacePool(ctx, definition)
		return history.Output{}, err
	})
}

// tidy ends the leases that the user has without knowing.
func (p *player) tidy() {
	a := p.read(history.Input{Kind: history.ReadLeases})
	for _, r := range a.Rows {
		mine := slices.ContainsFunc(p.leases, func(x owned) bool { return x.id == r.ID })
		if strings.HasSuffix(r.Text, " "+p.user) && !mine {
			p.revoke(r.ID)
		}
	}
}

// look reads something.
func (p *player) look() {
	in := history.Input{Kind: []history.Kind{
		history.ReadPool, history.ReadLease, history.ReadTicket, history.ReadTickets, history.ReadInstance, history.ReadInstances, history.ReadTotal,
	}[rand.IntN(7)]}
	switch in.Kind {
	case history.ReadLease:
		in.Lease = p.some(&p.h.leases)
	case history.ReadTicket:
		in.Ticket = p.some(&p.h.tickets)
	case history.ReadInstance:
		in.Serial = p.some(&p.h.serials)
	}
	if in.Lease+in.Ticket+in.Serial > 0 || in.Kind != history.ReadLease && in.Kind != history.ReadTicket && in.Kind != history.ReadInstance {
		p.read(in)
	}
}

func (p *player) read(in history.Input) history.Output {
	p.asked++
	out, _ := p.ask(in, func(ctx context.Context) (history.Output, error) {
		if in.Kind.OfInstances() {
			return p.readInstances(ctx, in)
		}
		return p.readPool(ctx, in)
	})
	return out
}

// mostRead is more than a list ever has.
const mostRead = 1000

func (p *player) readPool(ctx context.Context, in history.Input) (out history.Output, err error) {
	s := p.h.recorder.Setup()
	switch in.Kind {
	case history.ReadPool:
		a, err := p.cl.Pool(ctx, s.Pool)
		if err != nil {
			return out, err
		}
		var used []uint64
		for _, x := range s.Products {
			used = append(used, a.Value.Use.Products[x.Name].Used)
		}
		out.Facts = history.PoolText(a.Value.Definition.Size, a.Value.Use.Offered, a.Value.Use.Waiting, used)
	case history.ReadLease:
		a, err := p.cl.Lease(ctx, in.Lease)
		if err != nil {
			return out, err
		}
		out.Facts = leaseText(a.Value)
	case history.ReadTicket:
		a, err := p.cl.Ticket(ctx, in.Ticket)
		if err != nil {
			return out, err
		}
		out.Facts = ticketText(a.Value)
	case history.ReadLeases:
		a, err := p.cl.Leases(ctx, client.LeasePage{Pool: s.Pool, Limit: mostRead})
		if err != nil {
			return out, err
		}
		for _, x := range a.Value.Leases {
			out.Rows = append(out.Rows, history.Row{ID: x.ID, Text: leaseText(x)})
		}
	case history.ReadTickets:
		a, err := p.cl.Tickets(ctx, s.Pool, 0, mostRead)
		if err != nil {
			return out, err
		}
		for _, x := range a.Value.Tickets {
			out.Rows = append(out.Rows, history.Row{ID: x.ID, Text: ticketText(x)})
		}
	}
	return out, nil
}

func leaseText(x apiv1.Lease) string { return history.LeaseText(x.Product, x.User, x.Count, x.Borrow) }

func ticketText(x apiv1.Ticket) string {
	return history.TicketText(x.Product, x.User, x.Count, x.State == apiv1.TicketStateOffered, x.Ahead)
}

func (p *player) readInstances(ctx context.Context, in history.Input) (out history.Output, err error) {
	s := p.h.recorder.Setup()
	switch in.Kind {
	case history.ReadInstance:
		a, err := p.cl.Instance(ctx, in.Serial)
		if err != nil {
			return out, err
		}
		out.N = a.Value.Areas[history.Area].Allocation
	case history.ReadInstances:
		a, err := p.cl.Instances(ctx, client.InstancePage{Contract: s.Contract, Limit: mostRead})
		if err != nil {
			return out, err
		}
		for _, x := range a.Value.Instances {
			out.Rows = append(out.Rows, history.Row{ID: x.Serial, Text: history.InstanceText(x.Name, x.Areas[history.Area].Allocation)})
		}
	case history.ReadTotal:
		a, err := p.cl.Contract(ctx, s.Contract)
		if err != nil {
			return out, err
		}
		out.N = a.Value.Areas[history.Area].Allocated
	}
	return out, nil
}

func (p *player) instance() {
	in := history.Input{Kind: history.Create, Name: string(rune('a' + rand.IntN(8))), N: 1 + rand.Uint64N(4)}
	if serial := p.some(&p.h.serials); serial != 0 && rand.IntN(2) == 0 {
		in = history.Input{Kind: history.Resize, Serial: serial, N: 1 + rand.Uint64N(6)}
		if rand.IntN(2) == 0 {
			in = history.Input{Kind: history.Remove, Serial: serial}
		}
	}
	p.asked++
	out, _ := p.ask(in, func(ctx context.Context) (out history.Output, err error) {
		var a *client.Answer[apiv1.Instance]
		switch in.Kind {
		case history.Create:
			a, err = p.cl.CreateInstance(ctx, p.h.recorder.Setup().Contract, in.Name, apiv1.Quantities{history.Area: in.N})
		case history.Resize:
			a, err = p.cl.ResizeInstance(ctx, in.Serial, apiv1.Quantities{history.Area: in.N})
		case history.Remove:
			a, err = p.cl.RemoveInstance(ctx, in.Serial)
		}
		if err != nil {
			return out, err
		}
		if in.Kind == history.Create {
			out.Serial = a.Value.Serial
		}
		out.N = a.Value.Areas[history.Area].Allocation
		return out, nil
	})
	if out.Serial != 0 {
		p.know(&p.h.serials, out.Serial)
	}
}

// TestLinearizable: clients of all nodes use a pool and create, resize, remove and read instances while leaders are killed. There is one order of
// all that in which every answer is right, and which keeps to what came after what.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	h := startHistory(c, 4)
	const kills = 3
	for range kills {
		h.waitDone(200)
		leader := c.Leader()
		leader.Kill()
		h.waitDone(50)
		leader.Start()
		c.WaitReady(leader)
	}
	h.waitDone(200)
	h.check()
	c.Settled()
}
