package sim

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// witness sees every entry that any node has applied, has a state of its own go through them, and holds what nodes and clients say
// against that. As writes name their entry and reads the one they saw, this says more than a search for a possible order would:
// the log is the order.
type witness struct {
	world *world
	mu    sync.Mutex
	state *fsm.State
	view  *fsm.View
	// looked is up to where the log was gone through; Raft's own entries are in it, too.
	looked uint64
	// digests are those of the state after each entry.
	digests map[uint64]fsm.Digest
	// decided are the outcomes by actor and request id; only the first of a request changes anything.
	decided map[string]*fsmpb.Outcome
	// claims wait for the witness to come to their entry.
	claims []claim
	// fence and ticket are the last ones given.
	fence, ticket uint64
	// used and most are the seats that are out and how many there are; granted is how many the present entry has made there be.
	used, most, granted map[string]uint64
	offered             map[uint64]bool
	// told is until when the holder of a lease may believe to have it, in virtual time.
	told map[uint64]time.Time
	// floor is the newest entry that any client was told of by a write or a linearizable read.
	floor uint64
}

// claim is what a node said of the state after an entry.
type claim struct {
	index  uint64
	digest fsm.Digest
	// key and outcome are of a write that was acknowledged; who says where.
	key, who string
	outcome  *fsmpb.Outcome
}

func newWitness(w *world) *witness {
	s := fsm.New()
	return &witness{
		world: w, state: s, view: s.View(), digests: map[uint64]fsm.Digest{}, decided: map[string]*fsmpb.Outcome{},
		used: map[string]uint64{}, most: map[string]uint64{}, granted: map[string]uint64{}, offered: map[uint64]bool{}, told: map[uint64]time.Time{},
	}
}

// watch looks at all nodes until the run ends.
func (x *witness) watch() {
	for sleep(x.world.ctx, 20*time.Millisecond) == nil {
		x.look()
	}
}

// look goes through what nodes have applied meanwhile.
func (x *witness) look() {
	type seen struct {
		site *site
		view *fsm.View
	}
	var nodes []seen
	for _, s := range x.world.members() {
		if n := s.node(); n != nil {
			nodes = append(nodes, seen{s, viewOf(n)})
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		from := slices.IndexFunc(nodes, func(n seen) bool { return n.view.Index() > x.looked && n.site.disk.entry(x.looked+1) != nil })
		if from < 0 {
			break
		}
		x.apply(nodes[from].site)
	}
	for _, n := range nodes {
		if i := n.view.Index(); i != 0 {
			x.check(claim{index: i, digest: n.view.Digest(), who: n.site.id})
		}
	}
	claims := x.claims
	x.claims = nil
	for _, c := range claims {
		x.check(c)
	}
}

// viewOf is the state that a node has.
func viewOf(n *cluster.Node) *fsm.View {
	v, _, err := n.Read(context.Background(), cluster.Read{Stale: true})
	if err != nil {
		panic(err) // a stale read waits for nothing
	}
	return v
}

// apply takes the next entry from a site that has applied it.
func (x *witness) apply(s *site) {
	l := s.disk.entry(x.looked + 1)
	x.looked++
	if l.Type != raft.LogCommand {
		return
	}
	entry, err := fsm.DecodeEntry(l.Data)
	if err != nil {
		x.world.violate("entry %d: %v", l.Index, err)
		return
	}
	outcomes, err := x.state.Apply(l.Index, l.Term, l.Data)
	if err != nil {
		x.world.violate("entry %d: %v", l.Index, err)
		return
	}
	x.world.count("entries")
	before := x.view
	x.view = x.state.View()
	x.digests[x.view.Index()] = x.view.Digest()
	if x.view.Index() != l.Index || entry.Term != l.Term {
		return
	}
	for i, c := range entry.Commands {
		x.decide(c, outcomes[i])
	}
	x.checkClock(before)
	x.checkSeats()
	x.checkQueue()
	x.checkLines()
}

// decide notes what a command came to. A request is carried out at most once (rule E1).
func (x *witness) decide(c *fsmpb.Command, o *fsmpb.Outcome) {
	body, err := fsm.DecodeBody(c.Body)
	if err != nil {
		x.world.violate("a command that can't be read: %v", err)
		return
	}
	if key := c.Actor + "/" + c.RequestId; c.RequestId != "" && !o.Repeated {
		if _, again := x.decided[key]; again {
			x.world.violate("request %s was carried out twice", key)
		}
		x.decided[key] = o
	}
	x.world.count("decided " + fsm.CommandName(c))
	switch kind := body.Kind.(type) {
	case *fsmpb.Body_PutPool:
		if p := kind.PutPool.Pool; o.Refusal == nil {
			x.grant(p.Name, p.Size)
			for _, product := range p.Products {
				x.grant(p.Name+"/"+product.Name, capOf(product.Cap, p.Size))
			}
		}
	case *fsmpb.Body_Checkout, *fsmpb.Body_ClaimOffer:
		if l := o.GetLease(); l != nil && !o.Repeated {
			if l.Lease.Id <= x.fence {
				x.world.violate("fence %d came after %d", l.Lease.Id, x.fence)
			}
			x.fence = l.Lease.Id
		}
		if t := o.GetTicket(); t != nil && !o.Repeated && t.Ticket.Id > x.ticket {
			x.ticket = t.Ticket.Id
		}
	case *fsmpb.Body_Expire:
		for _, id := range o.GetExpired().GetLeases() {
			x.world.count("leases reclaimed")
			if until, told := x.told[id]; told && time.Now().Before(until) {
				x.world.violate("lease %d was reclaimed %s before its holder was told", id, time.Until(until))
			}
		}
	}
}

// checkClock: neither clock goes back (rule D2).
func (x *witness) checkClock(before *fsm.View) {
	if a, b := before.Clock(), x.view.Clock(); b.WallMs < a.WallMs || b.LeaseMs() < a.LeaseMs() {
		x.world.violate("the clock went back from %+v to %+v", a, b)
	}
}

// capOf is how many seats of a pool a product may have: all, if its cap is 0.
func capOf(most, size uint64) uint64 {
	if most == 0 {
		return size
	}
	return most
}

// grant notes how many seats a command of this entry has made a pool have.
func (x *witness) grant(what string, n uint64) {
	x.granted[what] = max(x.granted[what], x.most[what], n)
}

// checkSeats: no more seats are out than there are, except where a pool was made smaller (rules P1, P2), maybe by the same entry that gave
// them out before.
func (x *witness) checkSeats() {
	defer clear(x.granted)
	for _, p := range x.view.Pools("", "", 100) {
		x.recount(p)
		x.within(p.Name, p.Use.Used, p.Size)
		for _, use := range p.Use.Products {
			for _, product := range p.Products {
				if product.Name == use.Name {
					x.within(p.Name+"/"+use.Name, use.Used, capOf(product.Cap, p.Size))
				}
			}
		}
	}
	for _, i := range []string{"primary"} {
		var sum uint64
		for _, instance := range x.view.Instances("c", 0, 1000) {
			for _, q := range instance.Instance.Allocation {
				if q.Name == i {
					sum += q.N
				}
			}
		}
		x.within("instances", sum, users)
	}
}

// recount sees that as many seats are used as leases, projects and offers hold.
func (x *witness) recount(p fsm.PoolStatus) {
	var held uint64
	for _, l := range x.view.Leases(fsm.LeaseFilter{Pool: p.Name, Limit: 1000}) {
		held += l.Lease.Count
	}
	held += uint64(len(x.view.Projects(p.Name, "", 1000)))
	for _, t := range x.view.Tickets(p.Name, 0, 1000) {
		if t.Ticket.Offered {
			held += t.Ticket.Ask.Count
		}
	}
	if held != p.Use.Used {
		x.world.violate("leases, projects and offers of %s hold %d seats, and it counts %d", p.Name, held, p.Use.Used)
	}
}

func (x *witness) within(what string, used, most uint64) {
	if used > max(most, x.granted[what]) && used > x.used[what] {
		x.world.violate("%d seats of %s are out, of %d", used, what, most)
	}
	x.used[what], x.most[what] = used, most
}

// checkQueue: an offer goes to who has waited longest for the same (rules Q1, Q4).
func (x *witness) checkQueue() {
	for _, p := range x.view.Pools("", "", 100) {
		first := map[string]uint64{}
		for _, t := range x.view.Tickets(p.Name, 0, 1000) {
			id, product := t.Ticket.Id, t.Ticket.Ask.Product
			switch waiting, some := first[product]; {
			case !t.Ticket.Offered && !some:
				first[product] = id
			case t.Ticket.Offered && !x.offered[id]:
				x.offered[id] = true
				x.world.count("offers")
				if some && waiting < id {
					x.world.violate("ticket %d was offered a seat before %d", id, waiting)
				}
			}
		}
	}
}

// check holds a claim against the witness's own state, now or when it comes there. The witness is locked.
func (x *witness) check(c claim) {
	if c.index > x.view.Index() {
		x.claims = append(x.claims, c)
		return
	}
	switch own, known := x.digests[c.index]; {
	case c.outcome == nil && (!known || own != c.digest):
		x.world.violate("%s has another state at index %d: %s, not %s", c.who, c.index, c.digest, own)
	case c.outcome == nil:
	default:
		decided := proto.CloneOf(x.decided[c.key])
		if decided == nil {
			x.world.violate("the write %s, acknowledged by %s at index %d, is lost", c.key, c.who, c.index)
			return
		}
		if decided.Repeated = c.outcome.Repeated; decided.Repeated && decided.Refusal != nil {
			decided.Refusal.Hint = "" // it is not recorded
		}
		if !proto.Equal(decided, c.outcome) {
			x.world.violate("%s answered %s with %v, and it came to %v", c.who, c.key, c.outcome, decided)
		}
	}
}

// atLeast is the floor for whatever begins now.
func (x *witness) atLeast() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.floor
}

// acknowledged takes a write's outcome: it comes after all that was known when it was asked for.
func (x *witness) acknowledged(who, key string, floor uint64, o *fsmpb.Outcome) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if o.Index <= floor {
		x.world.violate("the write %s is at index %d, and began after %d was known", key, o.Index, floor)
	}
	x.floor = max(x.floor, o.Index)
	x.check(claim{index: o.Index, key: key, who: who, outcome: proto.CloneOf(o)})
}

// read takes what a linearizable read saw.
func (x *witness) read(who string, floor uint64, v *fsm.View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v.Index() < floor {
		x.world.violate("a linearizable read at %s saw index %d, and began after %d was known", who, v.Index(), floor)
	}
	x.floor = max(x.floor, v.Index())
	x.check(claim{index: v.Index(), digest: v.Digest(), who: who})
}

// stale takes what a stale read saw: any state, but one that was.
func (x *witness) stale(who string, v *fsm.View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v.Index() != 0 {
		x.check(claim{index: v.Index(), digest: v.Digest(), who: who})
	}
}

// tell notes until when a holder may count on a lease. It counts from when it asked, on a clock that may be a little slower than the cluster's.
func (x *witness) tell(lease uint64, asked time.Time, ttl uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	lasts := time.Duration(math.Floor(float64(ttl)*(1-2*maxDrift)*1000)) * time.Millisecond
	if until := asked.Add(lasts); until.After(x.told[lease]) {
		x.told[lease] = until
	}
}

// over says that a holder does not count on a lease any more.
func (x *witness) over(lease uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.told, lease)
}

// counts is for how long, from now on, a holder may count on a lease.
func (x *witness) counts(lease uint64) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Until(x.told[lease])
}

// settled says whether all these nodes have the same state, and the witness, too; if not, in which way.
func (x *witness) settled(sites []*site) error {
	x.look()
	x.mu.Lock()
	defer x.mu.Unlock()
	_, own, _ := x.view.Chain()
	for _, s := range sites {
		n := s.node()
		if n == nil {
			return fmt.Errorf("%s is down", s.id)
		}
		v := viewOf(n)
		if _, chain, _ := v.Chain(); v.Index() != x.view.Index() || v.Digest() != x.view.Digest() || !bytes.Equal(chain[:], own[:]) {
			return fmt.Errorf("%s is at index %d, digest %s; the log says index %d, digest %s", s.id, v.Index(), v.Digest(), x.view.Index(), x.view.Digest())
		}
	}
	if len(x.claims) > 0 {
		return fmt.Errorf("%s spoke of index %d, which no node has", x.claims[0].who, x.claims[0].index)
	}
	return nil
}
