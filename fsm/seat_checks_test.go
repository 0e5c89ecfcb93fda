package fsm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// seatWatch holds what a step left against what was before it, by the rules and without the second model's
// decisions.
type seatWatch struct {
	now, was seatSight
	// kinds are those of the step's commands, named the leases that it means to end.
	kinds map[string]bool
	named map[uint64]bool
	// ended are all leases that were ever told to have ended.
	ended map[uint64]bool
}

// seatSight is what can be seen of a state, read from its primary tables alone.
type seatSight struct {
	clock   Clock
	pools   map[string]*Pool
	leases  map[uint64]*Lease
	tickets map[uint64]*Ticket
	// told is until when each lease that is in force was told to last, gone are those that had no force any more.
	told, gone map[uint64]int64
	docs       map[string]*signed.Contract
	projects   []*Project
	lastLease  uint64
}

func sightOf(s *State) seatSight {
	x := seatSight{
		clock: s.clock, pools: map[string]*Pool{}, leases: map[uint64]*Lease{}, tickets: map[uint64]*Ticket{},
		told: map[uint64]int64{}, gone: map[uint64]int64{}, docs: map[string]*signed.Contract{}, projects: s.projects.rows.Values(), lastLease: s.counters.lastLease,
	}
	for _, c := range s.contracts.rows.Values() {
		x.docs[c.Doc.ID] = c.Doc
	}
	for _, p := range s.pools.rows.Values() {
		x.pools[p.Name] = p
	}
	for _, t := range s.tickets.rows.Values() {
		x.tickets[t.ID] = t
	}
	v := s.View()
	for _, l := range s.leases.rows.Values() {
		x.leases[l.ID] = l
		if status, refusal := v.Lease(l.ID); refusal == nil {
			x.told[l.ID] = status.EndsMs
		} else {
			x.gone[l.ID] = l.EndsMs
		}
	}
	return x
}

// out is what a product of a pool, or the whole pool, has out.
func (x *seatSight) out(pool, product string) (n uint64) {
	for _, l := range x.leases {
		if l.Pool == pool && l.Project == "" && (product == "" || l.Product == product) {
			n += l.held.count
		}
	}
	for _, y := range x.projects {
		if y.Pool == pool && (product == "" || y.Product == product) {
			n++
		}
	}
	for _, t := range x.tickets {
		if t.Offered && t.Ask.Pool == pool && (product == "" || t.Ask.Product == product) {
			n += t.Ask.Count
		}
	}
	return n
}

func (x *seatSight) outOf(contract, product string) (n uint64) {
	for _, p := range x.pools {
		if p.Contract == contract {
			n += x.out(p.Name, product)
		}
	}
	return n
}

func (x *seatSight) promised(contract, product string) (n uint64) {
	for _, p := range x.pools {
		for _, y := range p.Products {
			if p.Contract == contract && !p.Shared && y.Name == product {
				n += most(&seatPool{Pool: p.Pool}, y)
			}
		}
	}
	return n
}

func (x *seatSight) over(p *Pool) bool {
	end := x.docs[p.Contract].Ends().UnixMilli()
	return x.clock.WallMs >= end || p.ValidUntilMs != 0 && x.clock.WallMs >= p.ValidUntilMs
}

func (w *seatWatch) before(m *seatRun, ops []seatOp) {
	if w.ended == nil {
		w.ended = map[uint64]bool{}
	}
	w.was, w.kinds, w.named = sightOf(m.s), map[string]bool{}, map[uint64]bool{}
	for _, o := range ops {
		w.note(o.body)
		if o.token != nil {
			w.named[o.token.Lease] = true
		}
	}
}

func (w *seatWatch) note(body *fsmpb.Body) {
	w.kinds[kindOf(body)] = true
	for _, id := range []uint64{body.GetCheckIn().GetLease(), body.GetRevoke().GetLease()} {
		w.named[id] = true
	}
	for _, item := range body.GetBulk().GetItems() {
		w.note(item)
	}
}

func kindOf(body *fsmpb.Body) string {
	r := body.ProtoReflect()
	return string(r.WhichOneof(r.Descriptor().Oneofs().Get(0)).Name())
}

// redefines reports commands after which a limit may be below what is out.
func (w *seatWatch) redefines() bool {
	return w.kinds["put_pool"] || w.kinds["put_contract"] || w.kinds["delete_pool"]
}

var seatChecks = []struct {
	rule  string
	check func(*seatWatch, *seatRun) string
}{
	{"P1, P2: seats out within quantity, size and cap, or left over by a shrink and not growing", (*seatWatch).checkLimits},
	{"P1: promises within the quantity, or above it and not growing", (*seatWatch).checkPromises},
	{"P7: no seat of somebody else's reservation", (*seatWatch).checkReserved},
	{"Q1: no newcomer has what somebody who waits could have", (*seatWatch).checkNewcomers},
	{"Q1, Q2: who is first in a queue lacks seats", (*seatWatch).checkHeads},
	{"Q5: one ticket for each user, pool and product", (*seatWatch).checkTickets},
	{"C5, P3, P4: nothing reaches past contract, pool or days", (*seatWatch).checkEnds},
	{"T1, T4: a token as long as somebody is connected", (*seatWatch).checkTokens},
	{"T2: mono has one connection", (*seatWatch).checkMono},
	{"counts are of the rows", (*seatWatch).checkCounts},
	{"D2, K2: nobody loses a seat before the time that was told", (*seatWatch).checkTold},
	{"K2: what has ended does not come back", (*seatWatch).checkEnded},
	{"K6: lease ids only grow", (*seatWatch).checkFences},
	{"C5, D4: an expiry leaves nothing that is over", (*seatWatch).checkExpired},
}

func (w *seatWatch) after(m *seatRun, _ []*fsmpb.Outcome) {
	w.now = sightOf(m.s)
	for _, x := range seatChecks {
		if fault := x.check(w, m); fault != "" {
			m.tb.Fatalf("%s: %s", x.rule, fault)
		}
	}
}

// grew says what is above a limit and above what it was; a step that redefines limits is looked at by the next.
func (w *seatWatch) grew(what string, limit, now, was uint64) string {
	if now <= limit || now <= was || w.redefines() {
		return ""
	}
	return what
}

func (w *seatWatch) checkLimits(m *seatRun) string {
	for name, p := range w.now.pools {
		if fault := w.grew("pool "+name, p.Size, w.now.out(name, ""), w.was.out(name, "")); fault != "" {
			return fault
		}
		for _, x := range p.Products {
			line := w.now.docs[p.Contract].Products[x.Name]
			if fault := w.grew(name+", "+x.Name, most(&seatPool{Pool: p.Pool}, x), w.now.out(name, x.Name), w.was.out(name, x.Name)); fault != "" {
				return fault
			}
			if fault := w.grew(p.Contract+", "+x.Name, line.Quantity+line.Overdraft, w.now.outOf(p.Contract, x.Name), w.was.outOf(p.Contract, x.Name)); fault != "" {
				return fault
			}
		}
		if w.now.out(name, "") > p.Size {
			m.reached("more out than the pool has")
		}
	}
	return ""
}

func (w *seatWatch) checkPromises(m *seatRun) string {
	for id, doc := range w.now.docs {
		for _, product := range []string{"f", "g", "m", "t"} {
			now, was := w.now.promised(id, product), w.was.promised(id, product)
			if now > doc.Products[product].Quantity {
				// A pool may grow before the revision of the same batch shrinks the line.
				if m.reached("promises above the quantity"); now > was && !(w.kinds["put_pool"] && w.kinds["put_contract"]) {
					return id + ", " + product
				}
			}
			if line := doc.Products[product]; w.now.outOf(id, product) > line.Quantity && line.Overdraft > 0 {
				m.reached("overdraft used")
			}
		}
	}
	return ""
}

// checkReserved sees that of what nobody of a reservation has, nobody else has anything, unless a change of the pool took it.
func (w *seatWatch) checkReserved(*seatRun) string {
	if w.redefines() {
		return ""
	}
	for name, p := range w.now.pools {
		kept := uint64(0)
		for _, x := range p.Products {
			for _, r := range x.Reservations {
				has := uint64(0)
				for _, l := range w.now.leases {
					if l.Pool == name && l.Product == x.Name && l.held.reservation == r.Name {
						has += l.held.reserved
					}
				}
				for _, y := range w.now.projects {
					if y.Pool == name && y.Product == x.Name && y.held.reservation == r.Name {
						has += y.held.reserved
					}
				}
				for _, t := range w.now.tickets {
					if t.Offered && t.Ask.Pool == name && t.Ask.Product == x.Name && t.held.reservation == r.Name {
						has += t.held.reserved
					}
				}
				kept += r.Seats - min(r.Seats, has)
			}
		}
		if now := w.now.out(name, ""); now+kept > p.Size && now > w.was.out(name, "") && w.was.pools[name] != nil && now <= p.Size && kept > 0 && len(w.kinds) == 1 && w.kinds["checkout"] {
			return name
		}
	}
	return ""
}

// plain reports a pool in whose queue nobody has advantages by reservations.
func plain(p *Pool) bool {
	return !slices.ContainsFunc(p.Products, func(x *fsmpb.PoolProduct) bool { return len(x.Reservations) > 0 })
}

func (w *seatWatch) checkNewcomers(*seatRun) string {
	for id, l := range w.now.leases {
		if w.was.leases[id] != nil || l.Project != "" || !plain(w.now.pools[l.Pool]) || len(w.kinds) > 1 || !w.kinds["checkout"] {
			continue
		}
		for _, was := range w.was.leases {
			if was.Lingering && was.User == l.User {
				return ""
			}
		}
		for _, t := range w.now.tickets {
			if !t.Offered && t.Ask.Pool == l.Pool && t.Ask.Product == l.Product && t.Ask.Count <= l.held.count && w.was.tickets[t.ID] != nil {
				return "lease of " + l.User + " before the ticket of " + t.Ask.User
			}
		}
	}
	return ""
}

// checkHeads looks at each queue's first ticket, where nobody in another pool can be before it.
func (w *seatWatch) checkHeads(*seatRun) string {
	for name, p := range w.now.pools {
		head := uint64(0)
		for id, t := range w.now.tickets {
			if t.Ask.Pool == name && !t.Offered && (head == 0 || id < head) {
				head = id
			}
			if t.EndsMs <= w.now.clock.LeaseMs() {
				return ""
			}
		}
		if head == 0 || !p.Active || w.now.over(p) || !plain(p) || p.Shared {
			continue
		}
		ask := w.now.tickets[head].Ask
		x, line := p.product(ask.Product), w.now.docs[p.Contract].Products[ask.Product]
		if w.now.out(name, "")+ask.Count <= p.Size && w.now.out(name, ask.Product)+ask.Count <= most(&seatPool{Pool: p.Pool}, x) &&
			w.now.promised(p.Contract, ask.Product) <= line.Quantity && w.now.outOf(p.Contract, ask.Product)+ask.Count <= line.Quantity+line.Overdraft {
			return "ticket of " + ask.User + " in pool " + name
		}
	}
	return ""
}

func (w *seatWatch) checkTickets(*seatRun) string {
	seen := map[string]bool{}
	for _, t := range w.now.tickets {
		key := strings.Join([]string{t.Ask.User, t.Ask.Pool, t.Ask.Product}, " ")
		if seen[key] {
			return key
		}
		seen[key] = true
	}
	return ""
}

func (w *seatWatch) checkEnds(m *seatRun) string {
	v := m.s.View()
	for id, told := range w.now.told {
		l := w.now.leases[id]
		p := w.now.pools[l.Pool]
		if end := w.now.docs[p.Contract].Ends().UnixMilli(); told > end || p.ValidUntilMs != 0 && told > p.ValidUntilMs {
			return "lease in pool " + l.Pool
		}
		if x := p.product(l.Product); l.Borrow && w.was.leases[id] == nil && !w.redefines() && l.EndsMs > l.SinceMs+int64(x.MaxCheckoutDays)*dayMs {
			return "borrow in pool " + l.Pool
		}
	}
	for name, p := range w.now.pools {
		for _, t := range v.Tickets(name, 0, 1000) {
			if end := w.now.docs[p.Contract].Ends().UnixMilli(); t.EndsMs > end || p.ValidUntilMs != 0 && t.EndsMs > p.ValidUntilMs {
				return "ticket in pool " + name
			}
		}
	}
	return ""
}

func (w *seatWatch) checkTokens(*seatRun) string {
	connected := map[string]uint64{}
	for _, l := range w.now.leases {
		if l.Project != "" {
			connected[projectKey(l.Pool, l.Project)]++
			if l.held.count != 0 {
				return "a connection that has a seat of its own"
			}
		}
	}
	if len(connected) != len(w.now.projects) {
		return "tokens without connections, or the other way"
	}
	for _, x := range w.now.projects {
		if n := connected[projectKey(x.Pool, x.Project)]; n == 0 || n != x.Connections {
			return "project " + x.Project + " of pool " + x.Pool
		}
	}
	return ""
}

func (w *seatWatch) checkCounts(m *seatRun) string {
	leases, waiting := 0, 0
	for _, l := range w.now.leases {
		if !l.Lingering {
			leases++
		}
	}
	for _, t := range w.now.tickets {
		if !t.Offered {
			waiting++
		}
	}
	v := m.s.View()
	have, want := [3]int{v.LeaseCount(), v.WaitingCount(), v.ProjectCount()}, [3]int{leases, waiting, len(w.now.projects)}
	if wrong := wrongHolds(m.s); wrong != "" {
		return wrong
	}
	if have != want {
		return fmt.Sprintf("leases, tickets that wait, projects: %v are counted, %v are there", have, want)
	}
	return ""
}

// wrongHolds counts anew what was taken with API tokens that have limits.
func wrongHolds(s *State) string {
	want := map[uint64]tokenHold{}
	for _, l := range s.leases.rows.Values() {
		h := want[l.apiToken]
		h.leases++
		want[l.apiToken] = h
	}
	for _, x := range s.tickets.rows.Values() {
		h := want[x.apiToken]
		h.tickets++
		want[x.apiToken] = h
	}
	delete(want, 0)
	have := map[uint64]tokenHold{}
	s.holds.Scan(func(id uint64, h tokenHold) bool {
		have[id] = h
		return true
	})
	if !maps.Equal(have, want) {
		return fmt.Sprintf("of API tokens %v are counted, %v are there", have, want)
	}
	return ""
}

func (w *seatWatch) checkMono(m *seatRun) string {
	was := map[string]uint64{}
	for _, x := range w.was.projects {
		was[projectKey(x.Pool, x.Project)] = x.Connections
	}
	for _, x := range w.now.projects {
		model := w.now.docs[w.now.pools[x.Pool].Contract].Products[x.Product].Model
		if model == signed.Team && x.Connections > 1 {
			m.reached("team shared")
		}
		if model == signed.Mono && x.Connections > max(1, was[projectKey(x.Pool, x.Project)]) {
			return "project " + x.Project + " of pool " + x.Pool
		}
	}
	return ""
}

// checkTold sees that a lease that was told to last is there, longer or as long, unless somebody ended it or its pool.
func (w *seatWatch) checkTold(*seatRun) string {
	for id, told := range w.was.told {
		l := w.was.leases[id]
		p := w.now.pools[l.Pool]
		if w.named[id] || p == nil || w.redefines() || w.now.over(p) {
			continue
		}
		until, there := w.now.told[id]
		if !there && w.now.clock.WallMs < told || there && until < told {
			return "lease of " + l.User + " in pool " + l.Pool
		}
		// The lease clock stood still while there was no leader.
		if paused := w.now.clock.PauseMs - w.was.clock.PauseMs; !there && !l.Borrow && w.now.clock.WallMs < min(told+paused, poolEnd(&w.now, p)) {
			return "lease of " + l.User + " in an outage"
		}
	}
	return ""
}

func poolEnd(x *seatSight, p *Pool) int64 {
	end := x.docs[p.Contract].Ends().UnixMilli()
	if p.ValidUntilMs != 0 {
		end = min(end, p.ValidUntilMs)
	}
	return end
}

func (w *seatWatch) checkEnded(m *seatRun) string {
	for id := range w.was.leases {
		if _, refusal := m.s.View().Lease(id); refusal != nil {
			w.ended[id] = true
		}
	}
	for id := range w.now.told {
		if l := w.now.leases[id]; w.ended[id] {
			return "lease of " + l.User + " in pool " + l.Pool
		}
	}
	return ""
}

func (w *seatWatch) checkFences(*seatRun) string {
	if w.now.lastLease < w.was.lastLease {
		return "the counter went back"
	}
	for id := range w.now.leases {
		if w.was.leases[id] == nil && (id <= w.was.lastLease || id > w.now.lastLease) {
			return "an id was used again"
		}
	}
	return ""
}

func (w *seatWatch) checkExpired(m *seatRun) string {
	if len(w.kinds) > 1 || !w.kinds["expire"] {
		return ""
	}
	for id := range w.now.gone {
		if l := w.now.leases[id]; !l.Lingering || l.EndsMs <= w.now.clock.LeaseMs() {
			return "lease of " + l.User
		}
	}
	for _, t := range w.now.tickets {
		if t.EndsMs <= w.now.clock.LeaseMs() || w.now.over(w.now.pools[t.Ask.Pool]) {
			return "ticket of " + t.Ask.User
		}
	}
	return ""
}

func (m *seatRun) reached(what string) { m.counts[what]++ }

// count says what came of a command, for the test that sees what the histories reach.
func (m *seatRun) count(o seatOp, out *fsmpb.Outcome) {
	kind := kindOf(o.body)
	switch {
	case out.Repeated:
		m.reached("repeated")
		return
	case out.Refusal != nil:
		if m.reached(out.Refusal.Code); out.Refusal.Code == string(IdempotencyMismatch) {
			m.reached("stray")
			return
		}
		m.reached(kind + " refused")
		return
	}
	m.reached(kind + " accepted")
	if o.body.GetPutPool().GetExpected() != 0 {
		m.reached("pool replaced at its revision")
	}
	if l := out.GetLease().GetLease(); l.GetBorrow() {
		m.reached("borrow")
	}
	if out.GetLease().GetLease().GetReserved() > 0 {
		m.reached("reserved seat taken")
	}
	m.countTickets(o, out)
	m.countExpired(out.GetExpired())
}

func (m *seatRun) countTickets(o seatOp, out *fsmpb.Outcome) {
	t := out.GetTicket().GetTicket()
	if kindOf(o.body) == "checkout" && !t.GetOffered() && t.GetAsk().GetCount() > 1 {
		m.reached("ticket for many seats")
	}
	for id, was := range m.watch.was.tickets {
		now := m.n.ticketWith(id)
		if !was.Offered && now != nil && now.Offered {
			if m.reached("offer passed on"); now.Ask.Count > 1 {
				m.reached("offer of many seats")
			}
		}
		if was.Offered && now != nil && !now.Offered {
			m.reached("offer withdrawn")
		}
	}
	if ask := o.body.GetCheckout(); out.GetLease() != nil {
		for _, l := range m.watch.was.leases {
			if l.Lingering && l.User == ask.GetUser() && l.Pool == ask.GetPool() && m.n.leaseWith(l.ID) == nil {
				m.reached("lingering seat taken again")
			}
		}
	}
}

func (m *seatRun) countExpired(done *fsmpb.Expired) {
	for what, n := range map[string]int{
		"offer timed out": len(done.GetOffers()), "ticket timed out": len(done.GetTickets()), "lease timed out": len(done.GetLeases()),
		"pool ended": int(done.GetPools()), "contract ended": int(done.GetContracts()),
	} {
		if n > 0 {
			m.reached(what)
		}
	}
	for _, id := range done.GetLeases() {
		if l := m.watch.was.leases[id]; l != nil && l.Borrow {
			m.reached("borrow timed out")
		}
	}
}
