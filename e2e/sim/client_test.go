package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// client asks nodes by turns, as the client library does: with one request id until it knows the outcome.
type client struct {
	world *world
	name  string
	rng   *rand.Rand
	asked int
	// leases, borrows and tickets are what it has, as far as it knows; instances what it has made.
	leases, tickets []uint64
	borrows         []string
	instances       []uint64
	// patient: it always waits for as long as a leader may take to be elected.
	patient bool
}

func newClient(w *world, name string) *client {
	return &client{world: w, name: name, rng: w.draws("client " + name)}
}

// errGivenUp: the client does not wait any longer, and does not know the outcome.
var errGivenUp = errors.New("given up")

// holder is the client's secret, as the state keeps it.
func (c *client) holder() []byte { return []byte(fmt.Sprintf("%-16s", c.name))[:fsm.HolderSize] }

// run asks until the run ends.
func (c *client) run() {
	for sleep(c.world.ctx, time.Duration(c.world.load.pause*(10+c.rng.IntN(150)))*time.Millisecond) == nil && !c.world.quiet() {
		c.step()
	}
}

func (c *client) step() {
	switch x := c.rng.IntN(100); {
	case x < 25:
		c.checkout()
	case x < 40:
		c.renew()
	case x < 52:
		c.checkIn()
	case x < 60:
		c.ticket()
	case x < 64:
		c.returnBorrow()
	case x < 78:
		c.instance()
	case x < 80:
		c.resizePool()
	case x < 95:
		c.read(cluster.Read{})
	default:
		c.read(cluster.Read{Stale: true})
	}
}

// node is some node that runs, nil if it hits one that does not.
func (c *client) node() (*site, *cluster.Node) {
	list := c.world.members()
	s := list[c.rng.IntN(len(list))]
	return s, s.node()
}

// write has a command carried out. Its error says that the outcome is not known.
func (c *client) write(body *fsmpb.Body) (*fsmpb.Outcome, error) {
	c.asked++
	id := fmt.Sprint(c.name, "-", c.asked)
	command, err := fsm.NewCommand(c.name, id, body)
	if err != nil {
		return nil, err
	}
	floor, key := c.world.witness.atLeast(), c.name+"/"+id
	patience := time.Now().Add(15 * time.Second)
	if c.rng.IntN(10) == 0 && !c.patient {
		patience = time.Now().Add(500 * time.Millisecond)
	}
	for time.Now().Before(patience) && !c.world.over() {
		o, s := c.attempt(command)
		if o == nil {
			if sleep(c.world.ctx, time.Duration(5+c.rng.IntN(50))*time.Millisecond) != nil {
				break
			}
			continue
		}
		c.world.note("%s: %s at %s: index %d %s", key, fsm.CommandName(command), s.id, o.Index, o.Refusal.GetCode())
		c.world.count("acknowledged")
		c.world.witness.acknowledged(s.id, key, floor, o)
		if c.rng.IntN(10) == 0 {
			c.again(command, key, o)
		}
		return o, nil
	}
	c.world.count("unknown")
	return nil, errGivenUp
}

// through has one node carry out a command and read.
func (c *client) through(s *site, n *cluster.Node, body *fsmpb.Body) error {
	c.asked++
	id := fmt.Sprint(c.name, "-", c.asked)
	command, err := fsm.NewCommand(c.name, id, body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.world.ctx, 2*time.Second)
	defer cancel()
	floor := c.world.witness.atLeast()
	o, err := n.Propose(ctx, command)
	if err != nil {
		return err
	}
	c.world.witness.acknowledged(s.id, c.name+"/"+id, floor, o)
	floor = c.world.witness.atLeast()
	v, _, err := n.Read(ctx, cluster.Read{})
	if err != nil {
		return err
	}
	c.world.witness.read(s.id, floor, v)
	return nil
}

// attempt asks one node once.
func (c *client) attempt(command *fsmpb.Command) (*fsmpb.Outcome, *site) {
	s, n := c.node()
	if n == nil {
		return nil, s
	}
	ctx, cancel := context.WithTimeout(c.world.ctx, time.Duration(200+c.rng.IntN(2500))*time.Millisecond)
	defer cancel()
	o, err := n.Propose(ctx, command)
	if err != nil {
		return nil, s
	}
	return o, s
}

// again repeats what is known: the answer is the same (rule E1).
func (c *client) again(command *fsmpb.Command, key string, first *fsmpb.Outcome) {
	o, s := c.attempt(command)
	if o == nil {
		return
	}
	c.world.count("repeated")
	if !o.Repeated || o.Index != first.Index {
		c.world.violate("%s was asked again for %s, done at index %d, and did it at %d (repeated: %v)", s.id, key, first.Index, o.Index, o.Repeated)
	}
	c.world.witness.acknowledged(s.id, key, 0, o)
}

// pools has the pools and their products.
var pools = map[string][]string{"p0": {"f", "g"}, "p1": {"f"}, "p2": {"t"}}

func (c *client) checkout() {
	ask := &fsmpb.Checkout{User: c.name + "@x.org", Client: c.name, Holder: c.holder(), Ttl: uint32(10 + c.rng.IntN(10)), Queue: c.rng.IntN(2) == 0}
	switch c.rng.IntN(5) {
	case 0, 1:
		ask.Pool, ask.Product = "p0", "f"
	case 2:
		ask.Pool, ask.Product, ask.Count = "p0", "g", 1+c.rng.Uint64N(2)
	case 3:
		ask.Pool, ask.Product = "p1", "f"
	case 4:
		ask.Pool, ask.Product, ask.Project = "p2", "t", fmt.Sprint("project", c.rng.IntN(3))
	}
	borrow := ask.Project == "" && c.rng.IntN(12) == 0
	if borrow {
		ask.BorrowDays, ask.Ttl, ask.Queue = 1, 0, false
	}
	asked := time.Now()
	o, err := c.write(&fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: ask}})
	if err != nil {
		return
	}
	switch x := o.Result.(type) {
	case *fsmpb.Outcome_Lease:
		if borrow {
			c.borrowed(x.Lease)
			return
		}
		c.leases = append(c.leases, x.Lease.Lease.Id)
		c.world.witness.tell(x.Lease.Lease.Id, asked, x.Lease.Lease.Ttl)
	case *fsmpb.Outcome_Ticket:
		c.tickets = append(c.tickets, x.Ticket.Ticket.Id)
	}
}

func (c *client) borrowed(x *fsmpb.LeaseStatus) {
	for range 100 {
		if s, n := c.node(); n != nil {
			token, err := n.SignBorrow(fsm.BorrowToken(n.Status().View.ClusterID(), x))
			if fault, ok := errors.AsType[*cluster.Error](err); ok && fault.Code() == string(cluster.NotReady) {
				// A member that has just joined gets the key from the others.
				c.world.wait(20 * time.Millisecond)
				continue
			}
			if err != nil {
				c.world.violate("%s does not sign a borrow: %v", s.id, err)
			}
			c.borrows = append(c.borrows, token)
			return
		}
		if sleep(c.world.ctx, 100*time.Millisecond) != nil {
			return
		}
	}
}

func (c *client) returnBorrow() {
	if len(c.borrows) == 0 {
		return
	}
	token := c.borrows[0]
	c.borrows = c.borrows[1:]
	_, _ = c.write(&fsmpb.Body{Kind: &fsmpb.Body_ReturnBorrow{ReturnBorrow: &fsmpb.ReturnBorrow{Token: token}}})
}

// take takes one out of a list.
func (c *client) take(list *[]uint64) (uint64, bool) {
	if len(*list) == 0 {
		return 0, false
	}
	i := c.rng.IntN(len(*list))
	x := (*list)[i]
	*list = append((*list)[:i], (*list)[i+1:]...)
	return x, true
}

func (c *client) renew() {
	lease, some := c.take(&c.leases)
	if !some {
		return
	}
	asked := time.Now()
	o, err := c.write(&fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: lease, Holder: c.holder()}}})
	switch {
	case err != nil:
		c.leases = append(c.leases, lease)
	case o.Refusal == nil:
		c.leases = append(c.leases, lease)
		c.world.witness.tell(lease, asked, o.GetLease().Lease.Ttl)
	default:
		if left := c.world.witness.counts(lease); left > 0 {
			c.world.violate("lease %d is %s, %s before its holder was told", lease, o.Refusal.Code, left)
		}
		c.world.witness.over(lease)
	}
}

func (c *client) checkIn() {
	lease, some := c.take(&c.leases)
	if !some {
		return
	}
	c.world.witness.over(lease)
	_, _ = c.write(&fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: lease, Holder: c.holder()}}})
}

// ticket asks for a seat that is offered, or says that the client still waits, or not any more.
func (c *client) ticket() {
	ticket, some := c.take(&c.tickets)
	if !some {
		return
	}
	if c.rng.IntN(10) == 0 {
		_, _ = c.write(&fsmpb.Body{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: ticket, Holder: c.holder()}}})
		return
	}
	if c.rng.IntN(2) == 0 {
		o, err := c.write(&fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: ticket, Holder: c.holder()}}})
		if err != nil || o.Refusal == nil {
			c.tickets = append(c.tickets, ticket)
		}
		return
	}
	asked := time.Now()
	o, err := c.write(&fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: ticket, Holder: c.holder()}}})
	switch {
	case err != nil, o.Refusal.GetCode() == string(fsm.NotOffered):
		c.tickets = append(c.tickets, ticket)
	case o.GetLease() != nil:
		c.leases = append(c.leases, o.GetLease().Lease.Id)
		c.world.witness.tell(o.GetLease().Lease.Id, asked, o.GetLease().Lease.Ttl)
	}
}

func (c *client) instance() {
	n := []*fsmpb.Quantity{{Name: "primary", N: 1 + c.rng.Uint64N(4)}}
	switch serial, some := c.take(&c.instances); {
	case !some || c.rng.IntN(3) == 0:
		o, err := c.write(&fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: &fsmpb.CreateInstance{
			Contract: "c", Name: fmt.Sprint("i", c.rng.IntN(8)), Allocation: n,
		}}})
		if err == nil && o.GetInstance() != nil {
			c.instances = append(c.instances, o.GetInstance().Instance.Serial)
		}
		if some {
			c.instances = append(c.instances, serial)
		}
	case c.rng.IntN(2) == 0:
		_, _ = c.write(&fsmpb.Body{Kind: &fsmpb.Body_ResizeInstance{ResizeInstance: &fsmpb.ResizeInstance{Serial: serial, Allocation: n}}})
		c.instances = append(c.instances, serial)
	default:
		_, _ = c.write(&fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: serial}}})
	}
}

func (c *client) resizePool() {
	_, _ = c.write(poolBody("p1", 1+c.rng.Uint64N(3), false))
}

// poolBody makes a pool, or makes it larger or smaller.
func poolBody(name string, size uint64, create bool) *fsmpb.Body {
	p := &fsmpb.Pool{
		Name: name, Contract: "c", Size: size, TtlMin: 10, TtlMax: 60, TtlDefault: 10, QueueLimit: 20, OfferTtl: 3, TicketTtl: 12,
	}
	for _, product := range pools[name] {
		x := &fsmpb.PoolProduct{Name: product}
		if product != "t" {
			x.MaxCheckoutDays = 2
		}
		if name == "p0" {
			x.Cap = 2
		}
		p.Products = append(p.Products, x)
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_PutPool{PutPool: &fsmpb.PutPool{Pool: p, Create: create}}}
}

func (c *client) read(r cluster.Read) {
	s, n := c.node()
	if n == nil {
		return
	}
	ctx, cancel := context.WithTimeout(c.world.ctx, 2*time.Second)
	defer cancel()
	floor := c.world.witness.atLeast()
	v, _, err := n.Read(ctx, r)
	switch {
	case err != nil:
		c.world.count("reads that failed")
	case r.Stale:
		c.world.witness.stale(s.id, v)
		c.world.count("stale reads")
	default:
		c.world.note("%s read index %d at %s", c.name, v.Index(), s.id)
		c.world.witness.read(s.id, floor, v)
		c.world.count("reads")
	}
}

// prepare has what all clients draw on made.
func (c *client) prepare() error {
	document, err := contract()
	if err != nil {
		return err
	}
	bodies := []*fsmpb.Body{{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}}}
	for _, p := range []string{"p0", "p1", "p2"} {
		size := map[string]uint64{"p0": 3, "p1": 2, "p2": 2}[p]
		bodies = append(bodies, poolBody(p, size, true), &fsmpb.Body{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: p, Active: true}}})
	}
	more, err := c.world.chronicle.bodies()
	if err != nil {
		return err
	}
	bodies = append(bodies, more...)
	c.patient = true
	for _, body := range bodies {
		o, err := c.write(body)
		if err != nil {
			return err
		}
		if o.Refusal != nil {
			return fmt.Errorf("%s", fsm.Detail(o.Refusal))
		}
	}
	return nil
}
