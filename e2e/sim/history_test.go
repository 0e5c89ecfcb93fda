package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/e2e/history"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// chronicle is a history of clients with a pool and instances of their own. It holds what they were told against each other, and so sees what
// the witness can't, which believes in the order of the log and in the state machine.
type chronicle struct {
	world    *world
	recorder *history.Recorder
	// leases, tickets and serials are those of which any client knows. The world's lock guards them.
	leases, tickets, serials []uint64
}

// chroniclers is how many clients a history has.
const chroniclers = 3

func newChronicle(w *world) *chronicle {
	return &chronicle{world: w, recorder: history.New(history.Default(), func() time.Duration { return time.Since(w.began) })}
}

// bodies make what the history is about.
func (h *chronicle) bodies() ([]*fsmpb.Body, error) {
	s := h.recorder.Setup()
	document, err := s.Document().Sign(vendor)
	return []*fsmpb.Body{
		{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}}, s.PutPool(s.Size, true), s.ActivatePool(),
	}, err
}

// mostChecking bounds the search for an order, for each half of a history and each model; mostly it takes milliseconds.
const mostChecking = 20 * time.Second

// mostMemory is in bytes.
const mostMemory = 2 << 30

// check looks for an order of the history. It is called when the bubble is gone, as the search takes goroutines and real time.
func (h *chronicle) check() {
	w := h.world
	if w.violation != "" {
		return
	}
	// Runs collect no garbage; a history that is wrong may leave much.
	debug.SetMemoryLimit(mostMemory)
	begun := time.Now()
	err := h.recorder.Check(history.Limits{Timeout: mostChecking})
	fmt.Printf("seed %d: a history of %d operations, %d of them unknown, checked in %s\n", w.seed, h.recorder.Done(), h.recorder.Open(), time.Since(begun).Round(time.Millisecond))
	switch {
	case err == nil:
		w.count("histories checked")
	case errors.Is(err, history.ErrUndecided):
		w.count("histories undecided")
		fmt.Printf("seed %d: %v\n", w.seed, err)
	default:
		w.violation = err.Error()
	}
}

// owned is a lease, a borrow, or a ticket, with the secret of its holder, or a borrow's token.
type owned struct {
	id            uint64
	holder, token string
}

// chronicler is a client whose operations are noted.
type chronicler struct {
	*client
	h       *chronicle
	who     int
	user    string
	leases  []owned
	waiting []owned
}

func newChronicler(h *chronicle, who int) *chronicler {
	c := newClient(h.world, fmt.Sprint("h", who))
	return &chronicler{client: c, h: h, who: who, user: c.name + "@x.org"}
}

// run asks until the run ends.
func (c *chronicler) run() {
	for sleep(c.world.ctx, time.Duration(c.world.load.pause*(40+c.rng.IntN(200)))*time.Millisecond) == nil && !c.world.quiet() {
		c.step()
	}
}

func (c *chronicler) step() {
	switch x := c.rng.IntN(100); {
	case x < 25:
		c.checkout()
	case x < 42:
		c.checkIn()
	case x < 48:
		c.renew()
	case x < 60:
		c.ticket()
	case x < 62:
		c.ask(history.Input{Kind: history.ResizePool, Size: 2 + c.rng.Uint64N(4)})
	case x < 66:
		c.tidy()
	case x < 80:
		c.look()
	default:
		c.instance()
	}
}

// ask has an operation carried out, at nodes by chance, and notes it. The outcome is nil where none is known.
func (c *chronicler) ask(in history.Input) (history.Output, *fsmpb.Outcome) {
	c.world.count("operations of the history")
	call := c.h.recorder.Begin(c.who, in)
	if call == nil {
		return history.Output{}, nil
	}
	if in.Kind.Reads() {
		return c.read(call, in), nil
	}
	token := ""
	if i := slices.IndexFunc(c.leases, func(x owned) bool { return x.id == in.Lease }); i >= 0 {
		token = c.leases[i].token
	}
	key := c.secret()
	command, err := fsm.NewCommand(c.name, key, history.Body(c.h.recorder.Setup(), in, token))
	if err != nil {
		call.Drop()
		c.world.violate("%v", err)
		return history.Output{}, nil
	}
	floor, doubt := c.world.witness.atLeast(), false
	patience := 15 * time.Second
	if c.rng.IntN(10) == 0 {
		patience = 500 * time.Millisecond
	}
	for until := time.Now().Add(patience); (time.Now().Before(until) || doubt && !call.Spare()) && !c.world.over(); {
		s, o, err := c.attempt(command)
		switch fault, _ := errors.AsType[*cluster.Error](err); {
		case o != nil:
			out := history.Answer(in, o)
			call.End(out)
			c.world.note("%s/%s: %s at %s: index %d %s", c.name, key, in, s.id, o.Index, out)
			c.world.witness.acknowledged(s.id, c.name+"/"+key, floor, o)
			if c.rng.IntN(10) == 0 {
				c.again(command, c.name+"/"+key, o)
			}
			return out, o
		case fault != nil && fault.Code() == string(cluster.OutcomeUnknown):
			doubt = true
		}
		if sleep(c.world.ctx, time.Duration(5+c.rng.IntN(50))*time.Millisecond) != nil {
			break
		}
	}
	if doubt {
		c.world.count("unknown")
		call.Leave()
	} else {
		// Nothing was done; were that not true, the rest of the history would not fit.
		call.Drop()
	}
	return history.Output{}, nil
}

// attempt asks one node once; there is neither outcome nor error if it is down.
func (c *chronicler) attempt(command *fsmpb.Command) (*site, *fsmpb.Outcome, error) {
	s, n := c.node()
	if n == nil {
		return s, nil, nil
	}
	ctx, cancel := context.WithTimeout(c.world.ctx, time.Duration(200+c.rng.IntN(2500))*time.Millisecond)
	defer cancel()
	o, err := n.Propose(ctx, command)
	return s, o, err
}

// secret is the id of the next request, which names the secret that belongs to what it brings.
func (c *chronicler) secret() string {
	c.asked++
	return fmt.Sprint("history-", c.asked)
}

func (c *chronicler) read(call *history.Call, in history.Input) history.Output {
	s, n := c.node()
	if n == nil {
		call.Drop()
		return history.Output{}
	}
	ctx, cancel := context.WithTimeout(c.world.ctx, 2*time.Second)
	defer cancel()
	floor := c.world.witness.atLeast()
	v, _, err := n.Read(ctx, cluster.Read{})
	if err != nil {
		call.Drop()
		return history.Output{}
	}
	out := history.Look(c.h.recorder.Setup(), in, v)
	call.End(out)
	c.world.note("%s: %s at %s: index %d %s", c.name, in, s.id, v.Index(), out)
	c.world.witness.read(s.id, floor, v)
	return out
}

// some takes one out of what all clients know of, mostly what is new.
func (c *chronicler) some(list *[]uint64) uint64 {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	if len(*list) == 0 {
		return 0
	}
	return (*list)[len(*list)-1-c.rng.IntN(min(8, len(*list)))]
}

func (c *chronicler) know(list *[]uint64, id uint64) {
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	*list = append(*list, id)
}

func (c *chronicler) checkout() {
	products := c.h.recorder.Setup().Products
	in := history.Input{
		Kind: history.Checkout, User: c.user, Product: products[c.rng.IntN(len(products))].Name, Count: 1, Queue: c.rng.IntN(3) > 0,
		Holder: fmt.Sprint(c.name, "-", c.asked+1),
	}
	switch c.rng.IntN(8) {
	case 0:
		in.Days, in.Queue = 1, false
	case 1, 2:
		in.Count = 2
	}
	out, o := c.ask(in)
	x := owned{id: out.Lease, holder: in.Holder}
	if in.Days > 0 && out.Lease != 0 {
		c.borrows = nil
		if c.borrowed(o.GetLease()); len(c.borrows) > 0 {
			x.token = c.borrows[0]
		}
	}
	switch {
	case out.Lease != 0:
		c.leases = append(c.leases, x)
		c.know(&c.h.leases, out.Lease)
	case out.Ticket != 0:
		c.waiting = slices.DeleteFunc(c.waiting, func(x owned) bool { return x.id == out.Ticket })
		c.waiting = append(c.waiting, owned{id: out.Ticket, holder: in.Holder})
		c.know(&c.h.tickets, out.Ticket)
	}
}

// checkIn returns a lease or a borrow, whatever comes of it.
func (c *chronicler) checkIn() {
	if len(c.leases) == 0 {
		return
	}
	x := c.leases[c.rng.IntN(len(c.leases))]
	in := history.Input{Kind: history.CheckIn, Lease: x.id, Holder: x.holder}
	switch {
	case x.token != "" && c.rng.IntN(4) > 0:
		in = history.Input{Kind: history.ReturnBorrow, Lease: x.id}
	case c.rng.IntN(10) == 0:
		in = history.Input{Kind: history.Revoke, Lease: x.id}
	}
	if out, o := c.ask(in); o != nil && (out.Code == "" || out.Code == string(fsm.LeaseEnded)) && c.rng.IntN(4) > 0 {
		c.leases = slices.DeleteFunc(c.leases, func(y owned) bool { return y.id == x.id })
	}
}

// renew renews a lease, or tries to with another's.
func (c *chronicler) renew() {
	x := owned{id: c.some(&c.h.leases), holder: "nobody"}
	if len(c.leases) > 0 && c.rng.IntN(4) > 0 {
		x = c.leases[c.rng.IntN(len(c.leases))]
	}
	if x.id != 0 {
		c.ask(history.Input{Kind: history.Renew, Lease: x.id, Holder: x.holder})
	}
}

// ticket claims, keeps or leaves.
func (c *chronicler) ticket() {
	if len(c.waiting) == 0 {
		return
	}
	x := c.waiting[c.rng.IntN(len(c.waiting))]
	in := history.Input{Kind: history.Claim, Ticket: x.id, Holder: x.holder}
	switch c.rng.IntN(8) {
	case 0:
		in.Kind = history.Leave
	case 1, 2:
		in.Kind = history.Keep
	}
	out, o := c.ask(in)
	if out.Lease != 0 {
		c.leases = append(c.leases, owned{id: out.Lease, holder: in.Holder})
		c.know(&c.h.leases, out.Lease)
	}
	if o != nil && in.Kind != history.Keep && out.Code != string(fsm.NotOffered) {
		c.waiting = slices.DeleteFunc(c.waiting, func(y owned) bool { return y.id == x.id })
	}
}

// tidy ends the leases that the user has without knowing, so that seats are not lost with what nobody was told.
func (c *chronicler) tidy() {
	out, _ := c.ask(history.Input{Kind: history.ReadLeases})
	for _, r := range out.Rows {
		mine := slices.ContainsFunc(c.leases, func(x owned) bool { return x.id == r.ID })
		if strings.HasSuffix(r.Text, " "+c.user) && !mine {
			c.ask(history.Input{Kind: history.Revoke, Lease: r.ID})
		}
	}
}

// look reads something.
func (c *chronicler) look() {
	switch c.rng.IntN(7) {
	case 0:
		if id := c.some(&c.h.leases); id != 0 {
			c.ask(history.Input{Kind: history.ReadLease, Lease: id})
		}
	case 1:
		if id := c.some(&c.h.tickets); id != 0 {
			c.ask(history.Input{Kind: history.ReadTicket, Ticket: id})
		}
	case 2:
		if id := c.some(&c.h.serials); id != 0 {
			c.ask(history.Input{Kind: history.ReadInstance, Serial: id})
		}
	case 3:
		c.ask(history.Input{Kind: history.ReadPool})
	case 4:
		c.ask(history.Input{Kind: history.ReadTickets})
	case 5:
		c.ask(history.Input{Kind: history.ReadInstances})
	default:
		c.ask(history.Input{Kind: history.ReadTotal})
	}
}

func (c *chronicler) instance() {
	in := history.Input{Kind: history.Create, Name: fmt.Sprint("i", c.rng.IntN(8)), N: 1 + c.rng.Uint64N(4)}
	if serial := c.some(&c.h.serials); serial != 0 && c.rng.IntN(2) == 0 {
		in = history.Input{Kind: history.Resize, Serial: serial, N: 1 + c.rng.Uint64N(6)}
		if c.rng.IntN(2) == 0 {
			in = history.Input{Kind: history.Remove, Serial: serial}
		}
	}
	if out, _ := c.ask(in); out.Serial != 0 {
		c.know(&c.h.serials, out.Serial)
	}
}

// last looks at everything when nothing is under way any more.
func (c *chronicler) last() {
	for _, kind := range []history.Kind{history.ReadPool, history.ReadLeases, history.ReadTickets, history.ReadInstances, history.ReadTotal} {
		c.ask(history.Input{Kind: kind})
	}
}
