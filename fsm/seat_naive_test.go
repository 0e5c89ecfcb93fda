package fsm

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// seatOp is a command as the second model understands it: nothing is signed or has to be checked for its form.
type seatOp struct {
	actor, id string
	body      *fsmpb.Body
	// doc is the contract of a put_contract, token what a return_borrow shows; bad ones have another key's signature.
	doc   *signed.Contract
	token *signed.Borrow
	bad   bool
	// malformed commands have to be refused as such.
	malformed bool
}

// seatNaive is the second implementation of the rules of pools, checkouts, projects and the queue. It
// keeps lists and nothing else: who has seats, what is free and who is next is found out
// from scratch whenever it is asked for.
type seatNaive struct {
	wall, pause int64
	ttl         int64
	limit       int

	contracts []*seatContract
	pools     []*seatPool
	leases    []*fsmpb.LeaseRecord
	projects  []*fsmpb.ProjectRecord
	tickets   []*fsmpb.TicketRecord
	// poolsEver, leasesEver and ticketsEver is how many there ever were: ids are given out in order (K6, Q1).
	poolsEver, leasesEver, ticketsEver uint64
	// moments are all changes of use and all denials, in order.
	moments []seatMoment
	writes  []seatWrite
	// written is how many writes there ever were.
	written uint64
	// limits are those of API tokens by their actors, actor is who asks.
	limits map[string]seatLimit
	actor  string
	// dry tells what a dry run tells more than the command does.
	dry bool
}

type seatLimit struct{ token, leases, tickets uint64 }

type seatContract struct {
	doc *signed.Contract
	// ended is set once the end has been applied.
	ended bool
}

type seatPool struct {
	*fsmpb.Pool
	active, ended bool
	created       int64
	id, revision  uint64
	// since, mean and offers are Q3: the pace of the queue.
	since, mean int64
	offers      int64
}

// seatMoment is one change of what a product of a pool has out, or one denial; product is empty for the whole pool.
type seatMoment struct {
	pool, product string
	hour          int64
	before, after uint64
	denial        string
}

type seatWrite struct {
	caller, content string
	wall            int64
	outcome         *fsmpb.Outcome
	answers         bool
}

// now is the lease clock (D2).
func (n *seatNaive) now() int64 { return n.wall - n.pause }

func (n *seatNaive) tick(stamp, pause int64) {
	passed := max(0, stamp-n.wall)
	if n.wall != 0 {
		n.pause += max(0, min(pause, passed))
	}
	n.wall += passed
}

// clone is for dry runs.
func (n *seatNaive) clone() *seatNaive {
	c := *n
	c.contracts, c.pools = copies(n.contracts), copies(n.pools)
	c.leases, c.projects, c.tickets = clones(n.leases), clones(n.projects), clones(n.tickets)
	c.moments, c.writes = slices.Clone(n.moments), slices.Clone(n.writes)
	c.dry = true
	return &c
}

func copies[T any](list []*T) []*T {
	next := make([]*T, len(list))
	for i, x := range list {
		one := *x
		next[i] = &one
	}
	return next
}

func clones[M proto.Message](list []M) []M {
	next := make([]M, len(list))
	for i, x := range list {
		next[i] = clone(x)
	}
	return next
}

// do decides a command and says what it came to (E1).
func (n *seatNaive) do(o seatOp) *fsmpb.Outcome {
	if o.body.GetExpire() != nil {
		n.forget()
		out := &fsmpb.Outcome{Result: &fsmpb.Outcome_Expired{Expired: n.expire()}}
		n.write(seatWrite{wall: n.wall})
		return out
	}
	row := seatWrite{caller: o.actor + "/" + o.id, content: string(mustMarshal(o.body)), wall: n.wall, answers: true}
	for _, w := range slices.Backward(n.writes) {
		if !w.answers || w.caller != row.caller {
			continue
		}
		if w.wall < n.wall-n.ttl {
			break
		}
		if w.content == row.content {
			again := clone(w.outcome)
			again.Repeated = true
			return again
		}
		row.answers, row.outcome = false, &fsmpb.Outcome{Refusal: refuse(IdempotencyMismatch, "request_id", o.id)}
		break
	}
	n.forget()
	n.actor = o.actor
	if row.answers {
		row.outcome = n.decide(o)
	}
	n.write(row)
	return row.outcome
}

func (n *seatNaive) write(row seatWrite) {
	n.writes = append(n.writes, row)
	n.written++
}

func mustMarshal(m proto.Message) []byte {
	b, err := marshal.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func (n *seatNaive) forget() {
	for i := 0; i < 16 && len(n.writes) > 0; i++ {
		if n.writes[0].wall >= n.wall-n.ttl && len(n.writes) < n.limit {
			break
		}
		n.writes = n.writes[1:]
	}
}

func (n *seatNaive) decide(o seatOp) *fsmpb.Outcome {
	out := new(fsmpb.Outcome)
	if o.malformed {
		out.Refusal = &fsmpb.Refusal{Code: string(Invalid)}
		return out
	}
	switch k := o.body.Kind.(type) {
	case *fsmpb.Body_PutContract:
		n.putContract(out, o)
	case *fsmpb.Body_PutPool:
		n.putPool(out, k.PutPool)
	case *fsmpb.Body_ActivatePool:
		n.activatePool(out, k.ActivatePool)
	case *fsmpb.Body_DeletePool:
		n.deletePool(out, k.DeletePool)
	case *fsmpb.Body_ReturnBorrow:
		n.returnBorrow(out, o)
	case *fsmpb.Body_Revoke:
		n.revoke(out, k.Revoke)
	case *fsmpb.Body_ConvertProject:
		n.convert(out, k.ConvertProject)
	case *fsmpb.Body_KeepTicket:
		n.keep(out, k.KeepTicket)
	case *fsmpb.Body_ClaimOffer:
		n.claim(out, k.ClaimOffer)
	case *fsmpb.Body_LeaveQueue:
		n.leave(out, k.LeaveQueue)
	case *fsmpb.Body_Bulk:
		done := new(fsmpb.BulkDone)
		for _, item := range k.Bulk.Items {
			one := new(fsmpb.Outcome)
			n.decideOne(one, item)
			n.offerAll()
			done.Outcomes = append(done.Outcomes, one)
		}
		out.Result = &fsmpb.Outcome_Bulk{Bulk: done}
	default:
		n.decideOne(out, o.body)
	}
	// Q2: whatever a command freed is offered with it.
	n.offerAll()
	n.showTicket(out)
	return out
}

func (n *seatNaive) decideOne(out *fsmpb.Outcome, body *fsmpb.Body) {
	switch k := body.Kind.(type) {
	case *fsmpb.Body_Checkout:
		n.checkout(out, k.Checkout)
	case *fsmpb.Body_Renew:
		n.renew(out, k.Renew)
	case *fsmpb.Body_CheckIn:
		n.checkIn(out, k.CheckIn)
	}
}

// showTicket has the outcome tell of an offer that was made since.
func (n *seatNaive) showTicket(out *fsmpb.Outcome) {
	if told := out.GetTicket(); told != nil && !told.Gone {
		if t := n.ticketWith(told.Ticket.Id); t != nil {
			out.Result = n.ticketResult(t)
		}
	}
}

func (n *seatNaive) contract(id string) *seatContract {
	for _, c := range n.contracts {
		if c.doc.ID == id {
			return c
		}
	}
	return nil
}

func (n *seatNaive) pool(name string) *seatPool {
	for _, p := range n.pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (p *seatPool) product(name string) *fsmpb.PoolProduct {
	for _, x := range p.GetProducts() {
		if x.Name == name {
			return x
		}
	}
	return nil
}

func (n *seatNaive) leaseWith(id uint64) *fsmpb.LeaseRecord {
	for _, l := range n.leases {
		if l.Id == id {
			return l
		}
	}
	return nil
}

func (n *seatNaive) ticketWith(id uint64) *fsmpb.TicketRecord {
	for _, t := range n.tickets {
		if t.Id == id {
			return t
		}
	}
	return nil
}

func (n *seatNaive) project(pool, name string) *fsmpb.ProjectRecord {
	for _, x := range n.projects {
		if x.Pool == pool && x.Project == name {
			return x
		}
	}
	return nil
}

// ends is C5 and P3: the moment past which nothing of a pool reaches.
func (n *seatNaive) ends(p *seatPool) int64 {
	end := n.contract(p.Contract).doc.Ends().UnixMilli()
	if p.ValidUntilMs != 0 {
		end = min(end, p.ValidUntilMs)
	}
	return end
}

func (n *seatNaive) over(p *seatPool) bool { return n.wall >= n.ends(p) }

// holding is seats that somebody has: by a lease, a project's token or an offer.
type holding struct {
	product, reservation string
	seats, reserved      uint64
	offered, borrowed    bool
}

func (n *seatNaive) holdings(pool string) (list []holding) {
	for _, l := range n.leases {
		if l.Pool == pool && l.Project == "" {
			list = append(list, holding{l.Product, l.Reservation, l.Count, l.Reserved, false, l.Borrow})
		}
	}
	for _, x := range n.projects {
		// T1: a project has one token.
		if x.Pool == pool {
			list = append(list, holding{product: x.Product, reservation: x.Reservation, seats: 1, reserved: x.Reserved})
		}
	}
	for _, t := range n.tickets {
		// Q2: a seat is held for an offer.
		if t.Ask.Pool == pool && t.Offered {
			list = append(list, holding{t.Ask.Product, t.Reservation, t.Ask.Count, t.Reserved, true, false})
		}
	}
	return list
}

// used is what a product of a pool, or the whole pool, has out.
func (n *seatNaive) used(pool, product string) (sum uint64) {
	for _, h := range n.holdings(pool) {
		if product == "" || h.product == product {
			sum += h.seats
		}
	}
	return sum
}

func (n *seatNaive) offered(pool, product string) (sum uint64) {
	for _, h := range n.holdings(pool) {
		if h.offered && (product == "" || h.product == product) {
			sum += h.seats
		}
	}
	return sum
}

func (n *seatNaive) borrowed(pool, product string) (sum uint64) {
	for _, h := range n.holdings(pool) {
		if h.borrowed && h.product == product {
			sum += h.seats
		}
	}
	return sum
}

// waiting are the tickets of a pool without an offer, in the order in which they came.
func (n *seatNaive) waiting(pool, product string) (list []*fsmpb.TicketRecord) {
	for _, t := range n.tickets {
		if t.Ask.Pool == pool && !t.Offered && (product == "" || t.Ask.Product == product) {
			list = append(list, t)
		}
	}
	return list
}

// begins is Q3: somebody begins to wait, and if nobody did, the queue's pace is measured from now on.
func (n *seatNaive) begins(p *seatPool) {
	if n.waits(p.Name, "") == 0 {
		p.since = n.now()
	}
}

func (n *seatNaive) waits(pool, product string) uint64 { return uint64(len(n.waiting(pool, product))) }

// most is P1 and P2: the most seats of a product that a pool may have out.
func most(p *seatPool, x *fsmpb.PoolProduct) uint64 {
	if x.Cap != 0 {
		return min(p.Size, x.Cap)
	}
	return p.Size
}

// promised is P1: what pools that are not shared promise of a product.
func (n *seatNaive) promised(contract, product string) (sum uint64) {
	for _, p := range n.pools {
		if x := p.product(product); x != nil && p.Contract == contract && !p.Shared {
			sum += most(p, x)
		}
	}
	return sum
}

// drawn is what the pools of a contract, or the shared ones of them, have out of a product.
func (n *seatNaive) drawn(contract, product string, sharedOnly bool) (sum uint64) {
	for _, p := range n.pools {
		if p.Contract == contract && (p.Shared || !sharedOnly) {
			sum += n.used(p.Name, product)
		}
	}
	return sum
}

// idle is P7: how many seats of a reservation nobody has.
func (n *seatNaive) idle(p *seatPool, product string, r *fsmpb.Reservation) uint64 {
	out := uint64(0)
	for _, h := range n.holdings(p.Name) {
		if h.product == product && h.reservation == r.Name {
			out += h.reserved
		}
	}
	return r.Seats - min(r.Seats, out)
}

// kept is P7: seats of a product that are dedicated to others than a lane and that nobody has.
func (n *seatNaive) kept(p *seatPool, x *fsmpb.PoolProduct, product, lane string) (sum uint64) {
	for _, r := range x.Reservations {
		if x.Name != product || r.Name != lane {
			sum += n.idle(p, x.Name, r)
		}
	}
	return sum
}

// laneOf is P7: the first reservation that names the user, the user's domain or a group.
func laneOf(x *fsmpb.PoolProduct, user string, groups []string) string {
	for _, r := range x.GetReservations() {
		if slices.Contains(r.Users, user) || inDomains(r.Domains, user) {
			return r.Name
		}
		for _, g := range groups {
			if slices.Contains(r.Groups, g) {
				return r.Name
			}
		}
	}
	return ""
}

// inDomains is P5: whole labels, subdomains only by "*.".
func inDomains(list []string, user string) bool {
	parts := strings.Split(user, "@")
	domain, ok := strings.TrimSuffix(parts[len(parts)-1], "."), len(parts) > 1
	for _, d := range list {
		if ok && (d == domain || strings.HasPrefix(d, "*.") && strings.HasSuffix(domain, d[1:])) {
			return true
		}
	}
	return false
}

// keptOut is P5: an e-mail rule beats every domain rule, excluded beats included within a kind.
func keptOut(r *fsmpb.Restriction, user string) string {
	switch {
	case r == nil, !slices.Contains(r.ExcludeEmails, user) && slices.Contains(r.IncludeEmails, user):
		return ""
	case slices.Contains(r.ExcludeEmails, user):
		return "exclude_emails"
	case inDomains(r.ExcludeDomains, user):
		return "exclude_domains"
	case !inDomains(r.IncludeDomains, user) && len(r.IncludeDomains)+len(r.IncludeEmails) > 0:
		return "not_included"
	}
	return ""
}

// shortage is why there are no seats; whole is true if it is the pool's size that is wanting.
type shortage struct {
	code        Code
	used, limit uint64
	whole       bool
	// left is true if it is what the contract's quantity leaves to shared pools.
	left bool
}

// room looks for seats (P1, P2, P7) and says how many of them come out of the lane's reservation.
func (n *seatNaive) room(p *seatPool, product string, count uint64, lane string) (reserved uint64, short *shortage) {
	x, c := p.product(product), n.contract(p.Contract)
	reserved = min(count, n.own(p, x, lane))
	all, of := n.used(p.Name, ""), n.used(p.Name, product)
	kept := uint64(0)
	for _, other := range p.Products {
		kept += n.kept(p, other, product, lane)
	}
	keptHere := n.kept(p, x, product, lane)
	line := c.doc.Products[product]
	bears := line.Quantity + line.Overdraft
	left := bears - min(bears, n.promised(p.Contract, product))
	drawn, shared := n.drawn(p.Contract, product, false), n.drawn(p.Contract, product, true)
	switch {
	case all+count > p.Size:
		return reserved, &shortage{PoolFull, all, p.Size, true, false}
	case of+count > most(p, x):
		return reserved, &shortage{CapReached, of, most(p, x), false, false}
	case all+count+kept > p.Size:
		return reserved, &shortage{SeatsReserved, all + kept, p.Size, true, false}
	case of+count+keptHere > most(p, x):
		return reserved, &shortage{SeatsReserved, of + keptHere, most(p, x), false, false}
	case p.Shared && shared+count > left:
		return reserved, &shortage{QuantityReached, shared, left, false, true}
	case drawn+count > bears:
		return reserved, &shortage{QuantityReached, drawn, bears, false, false}
	}
	return reserved, nil
}

// own is how many seats of a lane's reservation nobody has.
func (n *seatNaive) own(p *seatPool, x *fsmpb.PoolProduct, lane string) uint64 {
	for _, r := range x.GetReservations() {
		if r.Name == lane {
			return n.idle(p, x.Name, r)
		}
	}
	return 0
}

// ever is the most that somebody could be given if nobody else had anything.
func (n *seatNaive) ever(p *seatPool, product, lane string) uint64 {
	x, line := p.product(product), n.contract(p.Contract).doc.Products[product]
	size, ceiling := p.Size, most(p, x)
	for _, other := range p.Products {
		for _, r := range other.Reservations {
			if other.Name == product && r.Name == lane {
				continue
			}
			if size -= min(size, r.Seats); other.Name == product {
				ceiling -= min(ceiling, r.Seats)
			}
		}
	}
	bears := line.Quantity + line.Overdraft
	if p.Shared {
		bears -= min(bears, n.promised(p.Contract, product))
	}
	return min(size, ceiling, bears)
}

// seatLine is Q1: what those who wait hold back, over the pools of a contract, which draw on the same quantity.
type seatLine struct {
	n *seatNaive
	// whole are the pools whose size somebody waits for.
	whole []string
	// products are those of a pool, lanes the reservations, scarce the ones of whose quantity somebody waits for.
	products [][2]string
	lanes    [][3]string
	scarce   []seatScarce
}

// seatScarce is a ticket that waits for a contract's quantity; left, for what that leaves to shared pools.
type seatScarce struct {
	pool, product string
	left          bool
}

func (b *seatLine) holds(p *seatPool, product, lane string, count uint64) bool {
	switch own := b.n.own(p, p.product(product), lane); {
	case b.rivals(p, product) > 0:
		return true
	case lane != "" && count <= own:
		return slices.Contains(b.lanes, [3]string{p.Name, product, lane})
	}
	return slices.Contains(b.whole, p.Name) || slices.Contains(b.products, [2]string{p.Name, product})
}

// rivals is how many in other pools wait for the same quantity. What a pool promises is not for shared pools to wait for.
func (b *seatLine) rivals(p *seatPool, product string) (count uint64) {
	for _, x := range b.scarce {
		if x.pool != p.Name && x.product == product && (p.Shared || !x.left) {
			count++
		}
	}
	return count
}

// queue goes through all that wait in the pools of a contract, in their order: to the first that can have seats, or to the end.
func (n *seatNaive) queue(contract string) (first *fsmpb.TicketRecord, reserved uint64, b *seatLine) {
	b = &seatLine{n: n}
	for _, t := range n.tickets {
		p, product := n.pool(t.Ask.Pool), t.Ask.Product
		if t.Offered || p.Contract != contract || !p.active || n.over(p) {
			continue
		}
		lane := laneOf(p.product(product), t.Ask.User, t.Ask.Groups)
		if !b.holds(p, product, lane, t.Ask.Count) {
			reserved, short := n.room(p, product, t.Ask.Count, lane)
			// Q3: a ticket past its end waits to be dropped, not for seats; who comes behind it waits for that, too.
			if short == nil && t.EndsMs > n.now() {
				return t, reserved, b
			}
			if short == nil || short.whole {
				b.whole = append(b.whole, p.Name)
			} else if short.code == QuantityReached {
				b.scarce = append(b.scarce, seatScarce{p.Name, product, short.left})
			}
		}
		b.products = append(b.products, [2]string{p.Name, product})
		b.lanes = append(b.lanes, [3]string{p.Name, product, lane})
	}
	return nil, 0, b
}

// offerAll is Q2: until nobody is left who could have seats, the first of them gets an offer.
func (n *seatNaive) offerAll() {
	for _, c := range n.contracts {
		for n.offerFirst(c.doc.ID) {
		}
	}
}

func (n *seatNaive) offerFirst(contract string) bool {
	t, reserved, _ := n.queue(contract)
	if t == nil {
		return false
	}
	p := n.pool(t.Ask.Pool)
	n.change(p, t.Ask.Product, func() {
		if t.Offered, t.Reserved = true, reserved; reserved > 0 {
			t.Reservation = laneOf(p.product(t.Ask.Product), t.Ask.User, t.Ask.Groups)
		}
		t.EndsMs = n.now() + int64(p.OfferTtl)*1000
	})
	if p.offers++; p.offers == 1 {
		p.mean = n.now() - p.since
	} else {
		p.mean += (n.now() - p.since - p.mean) / 8
	}
	p.since = n.now()
	return true
}

// change notes what a change does to the use of a product and its pool.
func (n *seatNaive) change(p *seatPool, product string, do func()) {
	names := []string{product}
	if len(p.Products) > 1 {
		names = append(names, "")
	}
	var before []uint64
	for _, name := range names {
		before = append(before, n.used(p.Name, name))
	}
	do()
	for i, name := range names {
		if after := n.used(p.Name, name); after != before[i] {
			n.moments = append(n.moments, seatMoment{p.Name, name, n.wall / 3_600_000, before[i], after, ""})
		}
	}
}

func (n *seatNaive) denied(p *seatPool, product, code string) {
	if p.product(product) == nil {
		product = ""
	}
	used := n.used(p.Name, product)
	n.moments = append(n.moments, seatMoment{p.Name, product, n.wall / 3_600_000, used, 0, code})
}

// usage plays all moments.
func (n *seatNaive) usage() map[string]*fsmpb.UsageRecord {
	rows := map[string]*fsmpb.UsageRecord{}
	for _, m := range n.moments {
		key := usageKey(m.pool, m.product, m.hour)
		row := rows[key]
		if row == nil {
			row = &fsmpb.UsageRecord{Pool: m.pool, Product: m.product, Hour: m.hour, HighWater: m.before, Open: m.before}
			rows[key] = row
		}
		if row.HighWater = max(row.HighWater, m.after); m.denial != "" {
			row.Denials = QuantitiesFromProto(row.Denials).plus(Quantities{{m.denial, 1}}).proto()
		}
	}
	return rows
}

// endLease takes a lease out; with the last connection goes the project's token (T1).
func (n *seatNaive) endLease(l *fsmpb.LeaseRecord) {
	n.change(n.pool(l.Pool), l.Product, func() {
		n.leases = slices.DeleteFunc(n.leases, func(x *fsmpb.LeaseRecord) bool { return x == l })
		n.projects = slices.DeleteFunc(n.projects, func(x *fsmpb.ProjectRecord) bool {
			return n.connections(x.Pool, x.Project) == 0
		})
	})
}

func (n *seatNaive) connections(pool, project string) (count uint64) {
	for _, l := range n.leases {
		if l.Pool == pool && l.Project == project {
			count++
		}
	}
	return count
}

func (n *seatNaive) endTicket(t *fsmpb.TicketRecord) {
	gone := func() {
		n.tickets = slices.DeleteFunc(n.tickets, func(x *fsmpb.TicketRecord) bool { return x == t })
	}
	if !t.Offered {
		gone()
		return
	}
	n.change(n.pool(t.Ask.Pool), t.Ask.Product, gone)
}

// drain ends all that a pool has, because the pool or its contract is over.
func (n *seatNaive) drain(p *seatPool, done *fsmpb.Expired) {
	for _, t := range slices.Clone(n.tickets) {
		if t.Ask.Pool == p.Name {
			n.endTicket(t)
			if t.Offered {
				done.Offers = append(done.Offers, t.Id)
			} else {
				done.Tickets = append(done.Tickets, t.Id)
			}
		}
	}
	for _, l := range slices.Clone(n.leases) {
		if l.Pool == p.Name {
			n.endLease(l)
			done.Leases = append(done.Leases, l.Id)
		}
	}
}

// expire is D4, in the order of time: first what has a date, then what the lease clock ends.
func (n *seatNaive) expire() *fsmpb.Expired {
	done := new(fsmpb.Expired)
	for n.expireDated(done) {
	}
	slices.SortFunc(n.pools, func(a, b *seatPool) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range n.pools {
		if n.over(p) {
			n.drain(p, done)
			n.offerAll()
		}
	}
	for n.expireLeased(done) {
	}
	return done
}

func (n *seatNaive) expireDated(done *fsmpb.Expired) bool {
	at, apply := n.wall+1, func() {}
	for _, c := range n.contracts {
		if end := c.doc.Ends().UnixMilli(); !c.ended && end < at {
			at, apply = end, func() { c.ended = true; done.Contracts++ }
		}
	}
	for _, p := range n.pools {
		if end := p.ValidUntilMs; !p.ended && end != 0 && end < at {
			at, apply = end, func() { p.ended = true; done.Pools++ }
		}
	}
	for _, l := range n.leases {
		if l.Borrow && l.EndsMs < at {
			at, apply = l.EndsMs, func() { n.endLease(l); done.Leases = append(done.Leases, l.Id) }
		}
	}
	apply()
	n.offerAll()
	return at <= n.wall
}

func (n *seatNaive) expireLeased(done *fsmpb.Expired) bool {
	at, id, apply := n.now()+1, uint64(math.MaxUint64), func() {}
	for _, l := range n.leases {
		if !l.Borrow && (l.EndsMs < at || l.EndsMs == at && l.Id < id) {
			at, id, apply = l.EndsMs, l.Id, func() { n.endLease(l); done.Leases = append(done.Leases, l.Id) }
		}
	}
	for _, t := range n.tickets {
		if t.EndsMs < at || t.EndsMs == at && t.Id < id {
			at, id = t.EndsMs, t.Id
			apply = func() {
				n.endTicket(t)
				if t.Offered {
					done.Offers = append(done.Offers, t.Id)
				} else {
					done.Tickets = append(done.Tickets, t.Id)
				}
			}
		}
	}
	if at > n.now() {
		return false
	}
	apply()
	n.offerAll()
	return true
}

// due is when the next end is due, 0 for never (D4).
func (n *seatNaive) due() int64 {
	next := int64(math.MaxInt64)
	for _, c := range n.contracts {
		if !c.ended {
			next = min(next, c.doc.Ends().UnixMilli())
		}
	}
	for _, p := range n.pools {
		if p.ValidUntilMs != 0 && !p.ended {
			next = min(next, p.ValidUntilMs)
		}
		if (p.ended || n.contract(p.Contract).ended) && n.busy(p.Name) {
			next = min(next, n.wall)
		}
	}
	for _, l := range n.leases {
		if l.Borrow {
			next = min(next, l.EndsMs)
		} else {
			next = min(next, l.EndsMs+n.pause)
		}
	}
	for _, t := range n.tickets {
		next = min(next, t.EndsMs+n.pause)
	}
	if next == math.MaxInt64 {
		return 0
	}
	return next
}

func (n *seatNaive) busy(pool string) bool {
	return slices.ContainsFunc(n.leases, func(l *fsmpb.LeaseRecord) bool { return l.Pool == pool }) ||
		slices.ContainsFunc(n.tickets, func(t *fsmpb.TicketRecord) bool { return t.Ask.Pool == pool })
}

// putContract is C2, C3 and C4.
func (n *seatNaive) putContract(out *fsmpb.Outcome, o seatOp) {
	if o.bad {
		out.Refusal = refuse(DocumentInvalid, "reason", "unknown_key")
		return
	}
	doc, c := o.doc, n.contract(o.doc.ID)
	switch {
	case c == nil:
		c = new(seatContract)
		n.contracts = append(n.contracts, c)
	case doc.Revision < c.doc.Revision:
		out.Refusal = refuse(RevisionStale, "contract", doc.ID, "revision", doc.Revision, "current", c.doc.Revision)
		return
	case doc.Revision == c.doc.Revision && fmt.Sprint(*doc) != fmt.Sprint(*c.doc):
		out.Refusal = refuse(RevisionConflict, "contract", doc.ID, "revision", doc.Revision, "next", doc.Revision+1)
		return
	case doc.Revision == c.doc.Revision:
		out.Result = n.contractResult(c)
		return
	}
	ended := n.wall >= doc.Ends().UnixMilli()
	for _, p := range n.pools {
		// K2: what was over when the revision came stays over.
		if c.doc != nil && p.Contract == doc.ID && n.wall >= c.doc.Ends().UnixMilli() && !ended {
			n.drain(p, new(fsmpb.Expired))
		}
	}
	c.doc, c.ended = doc, ended
	for _, p := range n.pools {
		if p.Contract == doc.ID {
			n.dropHopeless(p)
		}
	}
	out.Result = n.contractResult(c)
}

func (n *seatNaive) contractResult(c *seatContract) *fsmpb.Outcome_Contract {
	return &fsmpb.Outcome_Contract{Contract: &fsmpb.ContractStatus{Id: c.doc.ID, Revision: c.doc.Revision, Ended: n.wall >= c.doc.Ends().UnixMilli()}}
}

// dropHopeless drops tickets that the pool, as it is now, could never serve.
func (n *seatNaive) dropHopeless(p *seatPool) (dropped []uint64) {
	for _, t := range slices.Clone(n.tickets) {
		if t.Ask.Pool != p.Name {
			continue
		}
		r := n.newRequest(t.Ask)
		if r.standing(true) != nil || !t.Offered && r.checkCount() != nil {
			n.endTicket(t)
			dropped = append(dropped, t.Id)
		}
	}
	return dropped
}

// putPool is P1 to P7. Its commands have all that may be left out, and lists in order.
func (n *seatNaive) putPool(out *fsmpb.Outcome, cmd *fsmpb.PutPool) {
	old := n.pool(cmd.Pool.Name)
	if out.Refusal = n.poolRefusal(cmd, old); out.Refusal != nil {
		return
	}
	changed := new(fsmpb.PoolChanged)
	next := &seatPool{Pool: clone(cmd.Pool), created: n.wall}
	if old != nil {
		next.active, next.created, next.id = old.active, old.created, old.id
		next.since, next.mean, next.offers = old.since, old.mean, old.offers
		if n.over(old) && !n.over(next) {
			// K2: what the old one had does not come back with the new one.
			done := new(fsmpb.Expired)
			n.drain(old, done)
			changed.Leases, changed.Tickets = done.Leases, append(done.Offers, done.Tickets...)
			n.offerAll()
		}
		n.pools = slices.DeleteFunc(n.pools, func(p *seatPool) bool { return p == old })
	} else {
		n.poolsEver++
		next.id = n.poolsEver
	}
	// This write comes after those that there were.
	next.revision = n.written + 1
	next.ended = next.ValidUntilMs != 0 && n.wall >= next.ValidUntilMs
	n.pools = append(n.pools, next)
	for _, p := range n.pools {
		// It may promise more than before, and leave shared pools less.
		if p == next || p.Contract == next.Contract && p.Shared && n.waits(p.Name, "") > 0 {
			changed.Tickets = append(changed.Tickets, n.dropHopeless(p)...)
		}
	}
	n.offerAll()
	n.poolResult(out, next, changed)
}

func (n *seatNaive) poolRefusal(cmd *fsmpb.PutPool, old *seatPool) *fsmpb.Refusal {
	name, c := cmd.Pool.Name, n.contract(cmd.Pool.Contract)
	switch {
	case c == nil:
		return refuse(ContractNotFound, "contract", cmd.Pool.Contract)
	case old != nil && cmd.Create:
		return refuse(PoolExists, "pool", name, "contract", old.Contract)
	case old != nil && cmd.Expected != 0 && cmd.Expected != old.revision:
		return refuse(PoolChanged, "pool", name, "revision", old.revision, "expected", cmd.Expected)
	case old != nil && old.Contract != cmd.Pool.Contract:
		return refuse(PoolExists, "pool", name, "contract", old.Contract)
	case old == nil && !cmd.Create:
		return refuse(PoolNotFound, "pool", name)
	case old == nil && n.wall >= c.doc.Ends().UnixMilli():
		return endedRefusal(c.doc)
	}
	for _, x := range cmd.Pool.Products {
		line, granted := c.doc.Products[x.Name]
		had, wants := uint64(0), uint64(0)
		if old != nil && old.product(x.Name) != nil {
			granted = true
			if !old.Shared {
				had = most(old, old.product(x.Name))
			}
		}
		if !granted {
			return refuse(ProductNotGranted, "contract", c.doc.ID, "product", x.Name)
		}
		if !cmd.Pool.Shared {
			wants = most(&seatPool{Pool: cmd.Pool}, x)
		}
		all := n.promised(c.doc.ID, x.Name)
		if others := all - had; wants > had && others+wants > line.Quantity {
			return refuse(ContractExhausted, "contract", c.doc.ID, "of", "product", "line", x.Name, "product", x.Name, "asked", wants,
				"free", line.Quantity-min(others, line.Quantity), "allocated", all, "max", line.Quantity)
		}
	}
	return nil
}

func endedRefusal(doc *signed.Contract) *fsmpb.Refusal {
	return refuse(ContractEnded, "contract", doc.ID, "end", doc.Ends().Format(time.RFC3339))
}

func (n *seatNaive) poolRecord(p *seatPool) *fsmpb.PoolRecord {
	return &fsmpb.PoolRecord{Pool: p.Pool, Active: p.active, Ended: p.ended, CreatedMs: p.created, Revision: p.revision, Id: p.id}
}

func (n *seatNaive) poolUse(p *seatPool) *fsmpb.PoolUse {
	use := &fsmpb.PoolUse{Used: n.used(p.Name, ""), Offered: n.offered(p.Name, ""), Waiting: n.waits(p.Name, "")}
	for _, x := range p.Products {
		use.Products = append(use.Products, &fsmpb.ProductUse{
			Name: x.Name, Used: n.used(p.Name, x.Name), Offered: n.offered(p.Name, x.Name),
			Borrowed: n.borrowed(p.Name, x.Name), Waiting: n.waits(p.Name, x.Name),
		})
	}
	return use
}

func (n *seatNaive) poolResult(out *fsmpb.Outcome, p *seatPool, changed *fsmpb.PoolChanged) {
	changed.Pool, changed.Use = n.poolRecord(p), n.poolUse(p)
	if n.dry {
		n.findBarred(p, changed)
	}
	changed.LeasesTotal, changed.TicketsTotal, changed.UsersTotal = uint64(len(changed.Leases)), uint64(len(changed.Tickets)), uint64(len(changed.Users))
	out.Result = &fsmpb.Outcome_Pool{Pool: changed}
}

// findBarred is K7: who has seats and could not get them any more.
func (n *seatNaive) findBarred(p *seatPool, changed *fsmpb.PoolChanged) {
	for _, l := range n.leases {
		x := p.product(l.Product)
		if l.Pool != p.Name || x != nil && keptOut(p.Restriction, l.User) == "" && keptOut(x.Restriction, l.User) == "" {
			continue
		}
		changed.Leases = append(changed.Leases, l.Id)
		if !slices.Contains(changed.Users, l.User) {
			changed.Users = append(changed.Users, l.User)
		}
	}
}

// activatePool is P6.
func (n *seatNaive) activatePool(out *fsmpb.Outcome, cmd *fsmpb.ActivatePool) {
	p := n.pool(cmd.Pool)
	if p == nil {
		out.Refusal = refuse(PoolNotFound, "pool", cmd.Pool)
		return
	}
	changed := new(fsmpb.PoolChanged)
	if p.active && !cmd.Active {
		for _, t := range slices.Clone(n.tickets) {
			switch {
			case t.Ask.Pool != p.Name || !t.Offered:
			case t.EndsMs <= n.now():
				// Q2: an offer that is past its end is purged, not given its place back.
				n.endTicket(t)
				changed.Tickets = append(changed.Tickets, t.Id)
			default:
				n.change(p, t.Ask.Product, func() {
					n.begins(p)
					t.Offered, t.Reserved, t.Reservation, t.EndsMs = false, 0, "", n.ticketEnd(p)
				})
			}
		}
	}
	p.active = cmd.Active
	n.offerAll()
	n.poolResult(out, p, changed)
}

func (n *seatNaive) deletePool(out *fsmpb.Outcome, cmd *fsmpb.DeletePool) {
	p := n.pool(cmd.Pool)
	if p == nil {
		out.Refusal = refuse(PoolNotFound, "pool", cmd.Pool)
		return
	}
	if n.busy(p.Name) && !cmd.Force {
		out.Refusal = refuse(PoolInUse, "pool", p.Name, "used", n.used(p.Name, ""), "offered", n.offered(p.Name, ""), "waiting", n.waits(p.Name, ""))
		return
	}
	done := new(fsmpb.Expired)
	n.drain(p, done)
	n.pools = slices.DeleteFunc(n.pools, func(x *seatPool) bool { return x == p })
	changed := &fsmpb.PoolChanged{Pool: n.poolRecord(p), Deleted: true, Leases: done.Leases, Tickets: append(done.Offers, done.Tickets...)}
	changed.LeasesTotal, changed.TicketsTotal = uint64(len(changed.Leases)), uint64(len(changed.Tickets))
	out.Result = &fsmpb.Outcome_Pool{Pool: changed}
}

// seatRequest is a checkout on its way through K1.
type seatRequest struct {
	n    *seatNaive
	ask  *fsmpb.Checkout
	pool *seatPool
	lane string
	// open is the project that is connected to, own the user's seat that lingers.
	open     *fsmpb.ProjectRecord
	own      *fsmpb.LeaseRecord
	reserved uint64
}

func (n *seatNaive) newRequest(ask *fsmpb.Checkout) *seatRequest {
	r := &seatRequest{n: n, ask: ask, pool: n.pool(ask.Pool)}
	for _, l := range n.leases {
		if r.own == nil && l.Lingering && r.pool != nil && r.pool.Linger > 0 && r.model() == signed.Floating && l.Pool == ask.Pool && l.Product == ask.Product && l.User == ask.User && l.EndsMs > n.now() {
			r.own = l
		}
	}
	return r
}

func (r *seatRequest) model() signed.Model {
	return r.n.contract(r.pool.Contract).doc.Products[r.ask.Product].Model
}

// standing are the conditions that hold or don't whoever else has seats; waiting tickets outlive inactivity.
func (r *seatRequest) standing(ticket bool) *fsmpb.Refusal {
	if r.pool == nil {
		return refuse(PoolNotFound, "pool", r.ask.Pool)
	}
	p, wall, doc := r.pool, r.n.wall, r.n.contract(r.pool.Contract).doc
	x, model := p.product(r.ask.Product), r.model()
	_, granted := doc.Products[r.ask.Product]
	r.lane = laneOf(x, r.ask.User, r.ask.Groups)
	switch token := model == signed.Mono || model == signed.Team; {
	case wall >= doc.Ends().UnixMilli():
		return endedRefusal(doc)
	case wall < doc.Start.UnixMilli():
		return refuse(ContractPending, "contract", doc.ID, "start", doc.Start.Format(time.RFC3339))
	case p.ValidUntilMs != 0 && wall >= p.ValidUntilMs:
		return refuse(PoolEnded, "pool", p.Name, "end", time.UnixMilli(p.ValidUntilMs).UTC().Format(time.RFC3339))
	case !p.active && !ticket:
		return refuse(PoolInactive, "pool", p.Name)
	case x == nil:
		return refuse(ProductNotInPool, "pool", p.Name, "product", r.ask.Product)
	case !granted:
		return refuse(ProductNotGranted, "contract", doc.ID, "product", r.ask.Product)
	case keptOut(p.Restriction, r.ask.User) != "":
		return refuse(UserBarred, "user", r.ask.User, "of", "pool", "name", p.Name, "rule", keptOut(p.Restriction, r.ask.User))
	case keptOut(x.Restriction, r.ask.User) != "":
		return refuse(UserBarred, "user", r.ask.User, "of", "product", "name", x.Name, "rule", keptOut(x.Restriction, r.ask.User))
	case token && r.ask.Project == "":
		return refuse(ProjectRequired, "product", x.Name, "model", string(model))
	case !token && r.ask.Project != "":
		return refuse(ProjectNotAllowed, "product", x.Name, "model", string(model))
	case token && (r.ask.Count > 1 || r.ask.BorrowDays > 0):
		return refuse(TokenIsOne, "product", x.Name, "model", string(model))
	case r.ask.Ttl != 0 && (r.ask.Ttl < p.TtlMin || r.ask.Ttl > p.TtlMax):
		return refuse(TTLOutOfBounds, "pool", p.Name, "ttl", uint64(r.ask.Ttl), "min", uint64(p.TtlMin), "max", uint64(p.TtlMax))
	case r.ask.BorrowDays > x.MaxCheckoutDays:
		code := BorrowTooLong
		if x.MaxCheckoutDays == 0 {
			code = BorrowNotAllowed
		}
		return refuse(code, "pool", p.Name, "product", x.Name, "days", uint64(r.ask.BorrowDays), "max", uint64(x.MaxCheckoutDays))
	}
	return nil
}

// checkProject is T2 to T4.
func (r *seatRequest) checkProject() *fsmpb.Refusal {
	if r.ask.Project == "" {
		return nil
	}
	x := r.n.project(r.pool.Name, r.ask.Project)
	if x == nil {
		return nil
	}
	facts := []any{"project", x.Project, "pool", x.Pool, "product", x.Product, "connections", r.n.connections(x.Pool, x.Project)}
	switch {
	case x.Product != r.ask.Product:
		return refuse(r.n.openAs(x), facts...)
	case r.model() == signed.Mono:
		return refuse(ProjectBusy, facts...)
	}
	r.open = x
	return nil
}

func (n *seatNaive) openAs(x *fsmpb.ProjectRecord) Code {
	if n.contract(n.pool(x.Pool).Contract).doc.Products[x.Product].Model == signed.Mono {
		return ProjectOpenAsMono
	}
	return ProjectOpenAsTeam
}

func (r *seatRequest) checkCount() *fsmpb.Refusal {
	if ever := r.n.ever(r.pool, r.ask.Product, r.lane); r.open == nil && r.ask.Count > ever {
		return refuse(CountAboveLimit, "pool", r.pool.Name, "product", r.ask.Product, "asked", r.ask.Count, "max", ever)
	}
	return nil
}

func (r *seatRequest) shortageRefusal(s *shortage) *fsmpb.Refusal {
	p := r.pool
	return refuse(s.code, "pool", p.Name, "product", r.ask.Product, "asked", r.ask.Count, "used", s.used, "limit", s.limit,
		"offered", r.n.offered(p.Name, ""), "ahead", r.n.waits(p.Name, ""))
}

// checkSeats is K4's low-water mark, then the seats themselves, with the user's own lingering seat as if it were free.
func (r *seatRequest) checkSeats() *fsmpb.Refusal {
	n, p, x := r.n, r.pool, r.pool.product(r.ask.Product)
	if r.open != nil {
		return nil
	}
	if r.ask.BorrowDays > 0 {
		lendable := most(p, x) - min(most(p, x), x.LowWater)
		if borrowed := n.borrowed(p.Name, x.Name); borrowed+r.ask.Count > lendable {
			return refuse(BorrowLowWater, "pool", p.Name, "product", x.Name, "asked", r.ask.Count,
				"borrowed", borrowed, "limit", lendable, "low_water", x.LowWater)
		}
	}
	leases := n.leases
	n.leases = slices.DeleteFunc(slices.Clone(leases), func(l *fsmpb.LeaseRecord) bool { return l == r.own })
	reserved, short := n.room(p, x.Name, r.ask.Count, r.lane)
	n.leases = leases
	if r.reserved = reserved; short != nil {
		return r.shortageRefusal(short)
	}
	return nil
}

// checkQueue is Q1: no newcomer takes what somebody queued for before.
func (r *seatRequest) checkQueue() *fsmpb.Refusal {
	n, p := r.n, r.pool
	if r.open != nil || r.own != nil && r.own.Count >= r.ask.Count {
		return nil
	}
	_, _, line := n.queue(p.Contract)
	if !line.holds(p, r.ask.Product, r.lane, r.ask.Count) {
		return nil
	}
	return refuse(QueueAhead, "pool", p.Name, "product", r.ask.Product, "asked", r.ask.Count, "used", n.used(p.Name, ""), "limit", p.Size,
		"offered", n.offered(p.Name, ""), "ahead", n.waits(p.Name, "")+line.rivals(p, r.ask.Product))
}

// beyond says that whoever asks has as many leases or tickets as his token may; 0 is no limit.
func (n *seatNaive) beyond(what string, held, gone, most uint64) *fsmpb.Refusal {
	if most == 0 || held-gone < most {
		return nil
	}
	token := n.limits[n.actor].token
	return refuse(ClientLimitReached, "token", token, "name", fmt.Sprint("limited", token), "what", what, "held", held, "max", most)
}

// leasesOf counts the rows that name the token of whoever asks.
func (n *seatNaive) leasesOf() (count uint64) {
	for _, l := range n.leases {
		if l.ApiToken == n.limits[n.actor].token {
			count++
		}
	}
	return count
}

func (r *seatRequest) checkLimit() *fsmpb.Refusal {
	gone := uint64(0)
	if r.own != nil && r.own.ApiToken == r.n.limits[r.n.actor].token {
		gone = 1
	}
	return r.n.beyond("leases", r.n.leasesOf(), gone, r.n.limits[r.n.actor].leases)
}

func (n *seatNaive) ticketLimit(gone *fsmpb.TicketRecord) *fsmpb.Refusal {
	held, leaving := uint64(0), uint64(0)
	for _, t := range n.tickets {
		if t.ApiToken == n.limits[n.actor].token {
			held++
			if t == gone {
				leaving = 1
			}
		}
	}
	return n.beyond("tickets", held, leaving, n.limits[n.actor].tickets)
}

func (r *seatRequest) decide() *fsmpb.Refusal {
	if refusal := r.standing(false); refusal != nil {
		return refusal
	}
	for _, check := range []func() *fsmpb.Refusal{r.checkProject, r.checkCount, r.checkLimit, r.checkSeats, r.checkQueue} {
		if refusal := check(); refusal != nil {
			return refusal
		}
	}
	return nil
}

// checkout is K1 with what may come of it: a lease, a ticket or a denial.
func (n *seatNaive) checkout(out *fsmpb.Outcome, cmd *fsmpb.Checkout) {
	ask := clone(cmd)
	ask.Count, ask.User = max(ask.Count, 1), strings.ToLower(ask.User)
	mine := n.ticketOf(ask)
	r := n.newRequest(ask)
	refusal, waits := r.decide(), ask.Queue && mine != nil && mine.EndsMs > n.now()
	if waits && (refusal != nil || r.open == nil) {
		n.askAgain(out, mine, ask)
		return
	}
	if refusal == nil {
		if r.own != nil {
			n.endLease(r.own)
			r.reserved, _ = n.room(r.pool, ask.Product, ask.Count, r.lane)
		}
		out.Result = n.leaseResult(n.grant(r))
		if r.open != nil && mine != nil && mine.Ask.Project == ask.Project {
			// T3: who waited for a token of a project that is open needs none.
			n.endTicket(mine)
		}
		return
	}
	short := slices.Contains([]string{string(PoolFull), string(CapReached), string(SeatsReserved), string(QuantityReached), string(QueueAhead)}, refusal.Code)
	if short && ask.Queue && ask.BorrowDays == 0 {
		if refusal = n.enqueue(out, r, mine); refusal == nil {
			return
		}
	}
	if out.Refusal = refusal; r.pool != nil {
		n.denied(r.pool, ask.Product, refusal.Code)
	}
}

// ticketOf is Q5.
func (n *seatNaive) ticketOf(ask *fsmpb.Checkout) *fsmpb.TicketRecord {
	for _, t := range n.tickets {
		if t.Ask.Pool == ask.Pool && t.Ask.Product == ask.Product && t.Ask.User == ask.User {
			return t
		}
	}
	return nil
}

func (n *seatNaive) askAgain(out *fsmpb.Outcome, t *fsmpb.TicketRecord, ask *fsmpb.Checkout) {
	if t.Ask.Client == ask.Client {
		t.Ask = clone(t.Ask)
		if t.Ask.Holder = ask.Holder; !t.Offered {
			t.EndsMs = n.ticketEnd(n.pool(ask.Pool))
		}
	}
	out.Result = n.ticketResult(t)
}

// enqueue is Q1; a ticket of the same user that is past its end makes way.
func (n *seatNaive) enqueue(out *fsmpb.Outcome, r *seatRequest, gone *fsmpb.TicketRecord) *fsmpb.Refusal {
	ahead := n.waits(r.pool.Name, "")
	if gone != nil && !gone.Offered {
		ahead--
	}
	if ahead >= uint64(r.pool.QueueLimit) {
		return refuse(QueueFull, "pool", r.pool.Name, "product", r.ask.Product, "ahead", ahead, "limit", uint64(r.pool.QueueLimit),
			"asked", r.ask.Count, "used", n.used(r.pool.Name, ""), "offered", n.offered(r.pool.Name, ""))
	}
	if refusal := n.ticketLimit(gone); refusal != nil {
		return refusal
	}
	if gone != nil {
		n.endTicket(gone)
	}
	n.ticketsEver++
	t := &fsmpb.TicketRecord{Id: n.ticketsEver, Ask: r.ask, SinceMs: n.wall, EndsMs: n.ticketEnd(r.pool), ApiToken: n.limits[n.actor].token}
	n.begins(r.pool)
	n.tickets = append(n.tickets, t)
	n.offerAll()
	out.Result = n.ticketResult(t)
	return nil
}

func (n *seatNaive) ticketEnd(p *seatPool) int64 { return n.now() + int64(p.TicketTtl)*1000 }

// grant makes a lease; the first connection to a project takes its token (T1).
func (n *seatNaive) grant(r *seatRequest) *fsmpb.LeaseRecord {
	n.leasesEver++
	l := &fsmpb.LeaseRecord{
		Id: n.leasesEver, Pool: r.pool.Name, Product: r.ask.Product, User: r.ask.User, Client: r.ask.Client, Project: r.ask.Project,
		Holder: r.ask.Holder, SinceMs: n.wall, Ttl: r.ask.Ttl, ApiToken: n.limits[n.actor].token,
	}
	lane := ""
	if r.reserved > 0 {
		lane = r.lane
	}
	if l.Project == "" {
		l.Count, l.Reserved, l.Reservation = r.ask.Count, r.reserved, lane
	}
	if l.Ttl == 0 {
		l.Ttl = r.pool.TtlDefault
	}
	l.EndsMs = n.now() + int64(l.Ttl)*1000
	if days := int64(r.ask.BorrowDays); days > 0 {
		l.Borrow, l.Ttl, l.EndsMs = true, 0, min(n.wall+days*24*3_600_000, n.ends(r.pool))
	}
	n.change(r.pool, l.Product, func() {
		if n.leases = append(n.leases, l); l.Project != "" && r.open == nil {
			n.projects = append(n.projects, &fsmpb.ProjectRecord{
				Pool: l.Pool, Project: l.Project, Product: l.Product, SinceMs: n.wall, Reserved: r.reserved, Reservation: lane,
			})
		}
	})
	return l
}

func (n *seatNaive) status(l *fsmpb.LeaseRecord) *fsmpb.LeaseStatus {
	shown := clone(l)
	shown.Holder = nil
	end := l.EndsMs
	if !l.Borrow {
		end += n.pause
	}
	return &fsmpb.LeaseStatus{Lease: shown, EndsMs: min(end, n.ends(n.pool(l.Pool)))}
}

func (n *seatNaive) leaseResult(l *fsmpb.LeaseRecord) *fsmpb.Outcome_Lease {
	return &fsmpb.Outcome_Lease{Lease: n.status(l)}
}

// ticketStatus is Q3; an offer reaches no further than its pool (C5).
func (n *seatNaive) ticketStatus(t *fsmpb.TicketRecord) *fsmpb.TicketStatus {
	shown := clone(t)
	shown.Ask.Holder = nil
	ahead := uint64(0)
	for _, other := range n.waiting(t.Ask.Pool, "") {
		if !t.Offered && other.Id < t.Id {
			ahead++
		}
	}
	p, wait := n.pool(t.Ask.Pool), int64(0)
	if !t.Offered && p.offers > 0 {
		wait = int64(ahead+1) * max(p.mean, n.now()-p.since, 1)
	}
	return &fsmpb.TicketStatus{Ticket: shown, Ahead: ahead, EndsMs: min(t.EndsMs+n.pause, n.ends(p)), WaitMs: wait}
}

func (n *seatNaive) ticketResult(t *fsmpb.TicketRecord) *fsmpb.Outcome_Ticket {
	return &fsmpb.Outcome_Ticket{Ticket: n.ticketStatus(t)}
}

// live finds a lease that is in force: past its end, or that of its pool, none is (K2).
func (n *seatNaive) live(id uint64) (*fsmpb.LeaseRecord, *fsmpb.Refusal) {
	l := n.leaseWith(id)
	if id == 0 || id > n.leasesEver {
		return nil, refuse(LeaseNotFound, "lease", id)
	}
	if l == nil || l.Lingering || n.over(n.pool(l.Pool)) || l.Borrow && n.wall >= l.EndsMs || !l.Borrow && n.now() >= l.EndsMs {
		return nil, refuse(LeaseEnded, "lease", id)
	}
	return l, nil
}

// held is K6.
func (n *seatNaive) held(id uint64, holder []byte) (*fsmpb.LeaseRecord, *fsmpb.Refusal) {
	l, refusal := n.live(id)
	if refusal == nil && !bytes.Equal(l.Holder, holder) {
		return nil, refuse(NotHolder, "lease", id)
	}
	return l, refusal
}

// renew is K2, its TTL within what the pool allows now.
func (n *seatNaive) renew(out *fsmpb.Outcome, cmd *fsmpb.Renew) {
	l, refusal := n.held(cmd.Lease, cmd.Holder)
	if refusal != nil {
		out.Refusal = refusal
		return
	}
	p, ttl := n.pool(l.Pool), cmd.Ttl
	switch {
	case l.Borrow:
		out.Refusal = refuse(BorrowNotRenewable, "lease", l.Id)
		return
	case ttl == 0:
		ttl = min(max(l.Ttl, p.TtlMin), p.TtlMax)
	case ttl < p.TtlMin || ttl > p.TtlMax:
		out.Refusal = refuse(TTLOutOfBounds, "pool", p.Name, "ttl", uint64(ttl), "min", uint64(p.TtlMin), "max", uint64(p.TtlMax))
		return
	}
	l.Ttl, l.EndsMs, l.Renewals = ttl, max(l.EndsMs, n.now()+int64(ttl)*1000), l.Renewals+1
	out.Result = &fsmpb.Outcome_Lease{Lease: &fsmpb.LeaseStatus{
		Lease: &fsmpb.LeaseRecord{Id: l.Id, Ttl: l.Ttl, Renewals: l.Renewals}, EndsMs: n.status(l).EndsMs,
	}}
}

// checkIn is K3.
func (n *seatNaive) checkIn(out *fsmpb.Outcome, cmd *fsmpb.CheckIn) {
	l, refusal := n.held(cmd.Lease, cmd.Holder)
	switch {
	case refusal.GetCode() == string(LeaseEnded):
		endedResult(out, cmd.Lease, true)
		return
	case refusal != nil:
		out.Refusal = refusal
		return
	case l.Borrow:
		out.Refusal = refuse(BorrowTokenNeeded, "lease", l.Id)
		return
	}
	if linger := n.pool(l.Pool).Linger; linger > 0 && l.Project == "" {
		l.Lingering, l.Holder, l.EndsMs = true, make([]byte, HolderSize), n.now()+int64(linger)*1000
	} else {
		n.endLease(l)
	}
	endedResult(out, cmd.Lease, false)
}

func endedResult(out *fsmpb.Outcome, lease uint64, already bool) {
	out.Result = &fsmpb.Outcome_LeaseEnded{LeaseEnded: &fsmpb.LeaseEnded{Lease: lease, Already: already}}
}

// returnBorrow is K4.
func (n *seatNaive) returnBorrow(out *fsmpb.Outcome, o seatOp) {
	if o.bad {
		out.Refusal = refuse(TokenInvalid, "reason", "unknown_key")
		return
	}
	l, refusal := n.live(o.token.Lease)
	switch {
	case refusal.GetCode() == string(LeaseEnded):
		endedResult(out, o.token.Lease, true)
	case refusal != nil:
		out.Refusal = refusal
	default:
		n.endLease(l)
		endedResult(out, l.Id, false)
	}
}

// revoke is K6: an operator takes back whatever is still counted.
func (n *seatNaive) revoke(out *fsmpb.Outcome, cmd *fsmpb.Revoke) {
	l := n.leaseWith(cmd.Lease)
	if l == nil {
		_, out.Refusal = n.live(cmd.Lease)
		return
	}
	n.endLease(l)
	endedResult(out, cmd.Lease, false)
}

// convert is T5.
func (n *seatNaive) convert(out *fsmpb.Outcome, cmd *fsmpb.ConvertProject) {
	l, refusal := n.held(cmd.Lease, cmd.Holder)
	if refusal == nil && (l.Pool != cmd.Pool || l.Project == "" || l.Project != cmd.Project) {
		refusal = refuse(NotHolder, "lease", cmd.Lease)
	}
	if refusal != nil {
		out.Refusal = refusal
		return
	}
	x, p := n.project(cmd.Pool, cmd.Project), n.pool(cmd.Pool)
	if x.Product != cmd.Product {
		r := n.newRequest(&fsmpb.Checkout{Pool: cmd.Pool, Product: cmd.Product, User: l.User, Client: l.Client, Project: cmd.Project, Count: 1})
		if out.Refusal = n.convertible(r, x); out.Refusal != nil {
			return
		}
		n.change(p, x.Product, func() {
			n.projects = slices.DeleteFunc(n.projects, func(y *fsmpb.ProjectRecord) bool { return y == x })
		})
		n.change(p, cmd.Product, func() {
			x.Product, x.Reserved, x.Reservation = cmd.Product, r.reserved, ""
			if r.reserved > 0 {
				x.Reservation = r.lane
			}
			n.projects = append(n.projects, x)
		})
		for _, other := range n.leases {
			if other.Pool == x.Pool && other.Project == x.Project {
				other.Product = cmd.Product
			}
		}
	}
	n.offerAll()
	out.Result = &fsmpb.Outcome_Project{Project: &fsmpb.ProjectStatus{Project: n.showProject(x)}}
}

func (n *seatNaive) showProject(x *fsmpb.ProjectRecord) *fsmpb.ProjectRecord {
	shown := clone(x)
	shown.Connections = n.connections(x.Pool, x.Project)
	return shown
}

func (n *seatNaive) convertible(r *seatRequest, x *fsmpb.ProjectRecord) *fsmpb.Refusal {
	if refusal := r.standing(false); refusal != nil {
		return refusal
	}
	facts := []any{"project", x.Project, "pool", x.Pool, "product", x.Product, "connections", n.connections(x.Pool, x.Project)}
	mono := r.model() == signed.Mono
	switch {
	case mono == (n.openAs(x) == ProjectOpenAsMono):
		return refuse(n.openAs(x), facts...)
	case mono && n.connections(x.Pool, x.Project) > 1:
		return refuse(ProjectShared, "project", x.Project, "connections", n.connections(x.Pool, x.Project))
	}
	projects := n.projects
	n.projects = slices.DeleteFunc(slices.Clone(projects), func(y *fsmpb.ProjectRecord) bool { return y == x })
	refusal := r.checkCount()
	if refusal == nil {
		refusal = r.checkSeats()
	}
	used := n.used(x.Pool, r.ask.Product)
	n.projects = projects
	if ahead := n.waits(x.Pool, r.ask.Product); refusal == nil && ahead > 0 {
		return refuse(QueueAhead, "pool", x.Pool, "product", r.ask.Product, "asked", uint64(1), "used", used,
			"limit", r.pool.Size, "offered", n.offered(x.Pool, r.ask.Product), "ahead", ahead)
	}
	return refusal
}

// heldTicket finds a ticket in force for who shows its handle.
func (n *seatNaive) heldTicket(id uint64, holder []byte) (*fsmpb.TicketRecord, *fsmpb.Refusal) {
	t := n.ticketWith(id)
	switch {
	case id == 0 || id > n.ticketsEver:
		return nil, refuse(TicketNotFound, "ticket", id)
	case t == nil || n.now() >= t.EndsMs:
		return nil, refuse(TicketGone, "ticket", id)
	case !bytes.Equal(t.Ask.Holder, holder):
		return nil, refuse(NotTicketHolder, "ticket", id)
	}
	return t, nil
}

// keep is Q3: it does not lengthen an offer.
func (n *seatNaive) keep(out *fsmpb.Outcome, cmd *fsmpb.KeepTicket) {
	t, refusal := n.heldTicket(cmd.Ticket, cmd.Holder)
	if refusal != nil {
		out.Refusal = refusal
		return
	}
	if !t.Offered {
		t.EndsMs = n.ticketEnd(n.pool(t.Ask.Pool))
	}
	out.Result = n.ticketResult(t)
}

// claim is Q2. The pool may have changed since the offer, and somebody else may have opened the project.
func (n *seatNaive) claim(out *fsmpb.Outcome, cmd *fsmpb.ClaimOffer) {
	t, refusal := n.heldTicket(cmd.Ticket, cmd.Holder)
	if refusal == nil && !t.Offered {
		refusal = refuse(NotOffered, "ticket", t.Id, "ahead", n.ticketStatus(t).Ahead)
	}
	if refusal != nil {
		out.Refusal = refusal
		return
	}
	r := n.newRequest(t.Ask)
	if refusal = r.standing(false); refusal == nil {
		refusal = r.checkProject()
	}
	if refusal == nil {
		refusal = n.beyond("leases", n.leasesOf(), 0, n.limits[n.actor].leases)
	}
	if out.Refusal = refusal; refusal != nil {
		n.denied(r.pool, t.Ask.Product, refusal.Code)
		return
	}
	r.reserved, r.lane = t.Reserved, t.Reservation
	n.endTicket(t)
	out.Result = n.leaseResult(n.grant(r))
}

// leave is Q2; to leave what is gone is no fault.
func (n *seatNaive) leave(out *fsmpb.Outcome, cmd *fsmpb.LeaveQueue) {
	t, refusal := n.heldTicket(cmd.Ticket, cmd.Holder)
	switch {
	case refusal.GetCode() == string(TicketGone):
		out.Result = &fsmpb.Outcome_Ticket{Ticket: &fsmpb.TicketStatus{Ticket: &fsmpb.TicketRecord{Id: cmd.Ticket}, Gone: true}}
	case refusal != nil:
		out.Refusal = refusal
	default:
		n.endTicket(t)
		shown := clone(t)
		shown.Ask.Holder = nil
		out.Result = &fsmpb.Outcome_Ticket{Ticket: &fsmpb.TicketStatus{Ticket: shown, Gone: true}}
	}
}
