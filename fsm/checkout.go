package fsm

import (
	"fmt"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// HolderSize is the length of what the state keeps of a lease's or ticket's secret handle, in
// bytes: the beginning of its SHA-256 (rule K6).
const HolderSize = 16

// MaxLine bounds users, clients and projects, in bytes.
const MaxLine = 254

// request is a checkout on its way through the conditions of rule K1.
type request struct {
	t        *tables
	ask      *fsmpb.Checkout
	pool     *Pool
	contract *Contract
	product  *fsmpb.PoolProduct
	model    signed.Model
	// project is the open project that is connected to, nil if it needs a token.
	project *Project
	lane    string
	// own is the user's lingering lease, whose seats are as good as free.
	own   *Lease
	seats seats
	// by is the API token of who asks, if it has limits.
	by *Token
	// ends is the latest end, milliseconds of the wall clock.
	ends int64
}

// condition is one of the conditions of a checkout.
type condition struct {
	name  string
	check func(*request) *fsmpb.Refusal
	// last is true if the conditions after it mean nothing where it fails.
	last bool
}

// conditions are those of rule K1, in the order in which they are checked; the first that
// fails is the denial's code.
var conditions = []condition{
	{"pool", (*request).checkPool, true},
	{"contract", (*request).checkContract, false},
	{"valid_until", (*request).checkEnd, false},
	{"active", (*request).checkActive, false},
	{"product", (*request).checkProduct, true},
	{"restriction", (*request).checkRestriction, false},
	{"model", (*request).checkModel, true},
	{"ttl", (*request).checkTTL, false},
	{"borrow", (*request).checkBorrow, false},
	{"project", (*request).checkProject, true},
	{"count", (*request).checkCount, false},
	{"client_limit", (*request).checkClientLimit, false},
	{"seats", (*request).checkSeats, false},
	{"queue", (*request).checkQueue, false},
}

// standing is how many of the conditions hold or don't whoever else has seats: those that a
// waiting ticket must meet all the time.
const standing = 9

// normalAsk checks the form of a checkout.
func normalAsk(ask *fsmpb.Checkout) (*fsmpb.Checkout, error) {
	if ask == nil {
		return nil, fmt.Errorf("checkout: it is missing")
	}
	next := &fsmpb.Checkout{
		Pool: ask.Pool, Product: ask.Product, User: lower(ask.User), Client: ask.Client, Count: max(ask.Count, 1), Ttl: ask.Ttl,
		Project: ask.Project, Groups: ask.Groups, BorrowDays: ask.BorrowDays, Queue: ask.Queue, Holder: ask.Holder,
	}
	errs := []error{
		signed.CheckName("pool", next.Pool), signed.CheckName("product", next.Product),
		CheckLine("user", next.User), CheckLine("client", next.Client),
		between("count", next.Count, 1, signed.MaxQuantity),
		between("number of groups", uint64(len(next.Groups)), 0, 64), checkHolder(next.Holder),
	}
	if next.Project != "" {
		errs = append(errs, CheckLine("project", next.Project))
	}
	for _, g := range next.Groups {
		errs = append(errs, signed.CheckName("groups", g))
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return next, nil
}

func checkHolder(holder []byte) error {
	if len(holder) != HolderSize {
		return fmt.Errorf("holder: %d bytes are not %d", len(holder), HolderSize)
	}
	return nil
}

// CheckLine takes 1 to MaxLine bytes of text on one line. What it takes, a borrow token can hold.
func CheckLine(field, text string) error {
	if len(text) > MaxLine {
		return fmt.Errorf("%s: %d bytes are more than %d", field, len(text), MaxLine)
	}
	return signed.CheckText(field, text, MaxLine)
}

// decide checks the conditions up to the first that fails.
func (r *request) decide(conditions []condition) *fsmpb.Refusal {
	for i := range conditions {
		if refusal := conditions[i].check(r); refusal != nil {
			return refusal
		}
	}
	return nil
}

// standingRefusal says why a ticket could never be served, nil if it could. The seats of an
// offer are held, however many can be had otherwise (rule Q2).
func (t *tables) standingRefusal(x *Ticket) *fsmpb.Refusal {
	r := &request{t: t, ask: x.Ask}
	for i, c := range conditions[:standing] {
		// Activity comes and goes; the rest stays.
		if i == 3 {
			continue
		}
		if refusal := c.check(r); refusal != nil {
			return refusal
		}
	}
	if x.Offered {
		return nil
	}
	return r.checkCount()
}

func (r *request) checkPool() *fsmpb.Refusal {
	p, refusal := r.t.pool(r.ask.Pool)
	if refusal != nil {
		return refusal
	}
	r.pool = p
	r.contract, _ = r.t.contracts.get(p.Contract)
	r.ends = p.endsMs(r.contract)
	return nil
}

func (r *request) checkContract() *fsmpb.Refusal {
	c := r.contract
	if c.ended(r.t.clock) {
		return refuse(ContractEnded, "contract", c.Doc.ID, "end", c.Doc.Ends().Format(time.RFC3339))
	}
	if r.t.clock.Wall().Before(c.Doc.Start) {
		return refuse(ContractPending, "contract", c.Doc.ID, "start", c.Doc.Start.Format(time.RFC3339))
	}
	return nil
}

func (r *request) checkEnd() *fsmpb.Refusal {
	if until := r.pool.ValidUntilMs; until != 0 && (r.pool.Ended || r.t.clock.WallMs >= until) {
		return refuse(PoolEnded, "pool", r.pool.Name, "end", time.UnixMilli(until).UTC().Format(time.RFC3339))
	}
	return nil
}

func (r *request) checkActive() *fsmpb.Refusal {
	if !r.pool.Active {
		return refuse(PoolInactive, "pool", r.pool.Name)
	}
	return nil
}

func (r *request) checkProduct() *fsmpb.Refusal {
	if r.product = r.pool.product(r.ask.Product); r.product == nil {
		return refuse(ProductNotInPool, "pool", r.pool.Name, "product", r.ask.Product)
	}
	line, ok := r.contract.Doc.Products[r.ask.Product]
	if !ok {
		return refuse(ProductNotGranted, "contract", r.contract.Doc.ID, "product", r.ask.Product)
	}
	r.model = line.Model
	r.lane = lane(r.product, r.ask.User, r.ask.Groups)
	return nil
}

func (r *request) checkRestriction() *fsmpb.Refusal {
	if rule := barred(r.pool.Restriction, r.ask.User); rule != "" {
		return refuse(UserBarred, "user", r.ask.User, "of", "pool", "name", r.pool.Name, "rule", rule)
	}
	if rule := barred(r.product.Restriction, r.ask.User); rule != "" {
		return refuse(UserBarred, "user", r.ask.User, "of", "product", "name", r.product.Name, "rule", rule)
	}
	return nil
}

// checkModel holds project, count and borrow against the product's model (rules T1, K4).
func (r *request) checkModel() *fsmpb.Refusal {
	var code Code
	switch token := r.model != signed.Floating; {
	case token && r.ask.Project == "":
		code = ProjectRequired
	case !token && r.ask.Project != "":
		code = ProjectNotAllowed
	case token && (r.ask.Count > 1 || r.ask.BorrowDays > 0):
		code = TokenIsOne
	default:
		return nil
	}
	return refuse(code, "product", r.product.Name, "model", string(r.model))
}

func (r *request) checkTTL() *fsmpb.Refusal {
	if ttl := r.ask.Ttl; ttl != 0 && (ttl < r.pool.TtlMin || ttl > r.pool.TtlMax) {
		return refuse(TTLOutOfBounds, "pool", r.pool.Name, "ttl", uint64(ttl), "min", uint64(r.pool.TtlMin), "max", uint64(r.pool.TtlMax))
	}
	return nil
}

// checkBorrow holds a borrow against rule P4.
func (r *request) checkBorrow() *fsmpb.Refusal {
	days, most := r.ask.BorrowDays, r.product.MaxCheckoutDays
	if days == 0 || days <= most {
		return nil
	}
	code := BorrowTooLong
	if most == 0 {
		code = BorrowNotAllowed
	}
	return refuse(code, "pool", r.pool.Name, "product", r.product.Name, "days", uint64(days), "max", uint64(most))
}

// checkProject connects to an open project, if its token allows that (rules T2, T3, T4).
func (r *request) checkProject() *fsmpb.Refusal {
	if r.ask.Project == "" {
		return nil
	}
	open, ok := r.t.projects.get(projectKey(r.pool.Name, r.ask.Project))
	if !ok {
		return nil
	}
	facts := []any{"project", open.Project, "pool", open.Pool, "product", open.Product, "connections", open.Connections}
	switch {
	case open.Product != r.product.Name:
		return refuse(openAs[r.t.model(r.pool, open.Product)], facts...)
	case r.model == signed.Mono:
		return refuse(ProjectBusy, facts...)
	}
	r.project = open
	return nil
}

var openAs = map[signed.Model]Code{signed.Mono: ProjectOpenAsMono, signed.Team: ProjectOpenAsTeam}

// model is that of a product that a project has a token of. A contract's revision may have dropped the product.
func (t *tables) model(p *Pool, product string) signed.Model {
	c, _ := t.contracts.get(p.Contract)
	if m := c.Doc.Products[product].Model; m == signed.Mono {
		return m
	}
	return signed.Team
}

func (r *request) claimant() claimant {
	return claimant{product: r.ask.Product, count: r.ask.Count, lane: r.lane}
}

func (r *request) checkCount() *fsmpb.Refusal {
	if r.project != nil {
		return nil
	}
	if most := r.t.possible(r.pool, r.claimant()); r.ask.Count > most {
		return refuse(CountAboveLimit, "pool", r.pool.Name, "product", r.product.Name, "asked", r.ask.Count, "max", most)
	}
	return nil
}

func (r *request) checkSeats() *fsmpb.Refusal {
	if r.project != nil {
		return nil
	}
	if refusal := r.checkLowWater(); refusal != nil {
		return refusal
	}
	got, lack := r.t.fitBeside(r.pool, r.claimant(), r.lingering())
	if r.seats = got; lack == nil {
		return nil
	}
	total := r.t.use(r.pool)
	return refuse(lack.code, "pool", r.pool.Name, "product", r.product.Name, "asked", r.ask.Count,
		"used", lack.used, "limit", lack.limit, "offered", total.offered, "ahead", total.waiting)
}

// lingering finds the user's own lease that was checked in and still lingers.
func (r *request) lingering() *Lease {
	// Tokens don't linger; seats of a product that became one may.
	if r.pool.Linger > 0 && r.model == signed.Floating {
		r.own = r.t.lingeringOf(r.pool.Name, r.product.Name, r.ask.User)
	}
	return r.own
}

// checkLowWater keeps the seats that may not be borrowed (rule K4).
func (r *request) checkLowWater() *fsmpb.Refusal {
	if r.ask.BorrowDays == 0 {
		return nil
	}
	most, u := r.pool.Size, r.t.use(r.pool).of(r.product.Name)
	if r.product.Cap != 0 {
		most = min(most, r.product.Cap)
	}
	if most -= min(most, r.product.LowWater); u.borrowed+r.ask.Count > most {
		return refuse(BorrowLowWater, "pool", r.pool.Name, "product", r.product.Name, "asked", r.ask.Count,
			"borrowed", u.borrowed, "limit", most, "low_water", r.product.LowWater)
	}
	return nil
}

// checkQueue lets no newcomer take what somebody queued for before (rule Q1).
func (r *request) checkQueue() *fsmpb.Refusal {
	if r.project != nil || r.own != nil && r.own.held.count >= r.ask.Count {
		return nil
	}
	ahead, held := r.t.heldBack(r.pool, r.claimant())
	if !held {
		return nil
	}
	total := r.t.use(r.pool)
	return refuse(QueueAhead, "pool", r.pool.Name, "product", r.product.Name, "asked", r.ask.Count,
		"used", total.used, "limit", r.pool.Size, "offered", total.offered, "ahead", ahead)
}

// wantOfSeats are the denials that can be queued (rule Q1).
func wantOfSeats(refusal *fsmpb.Refusal) bool {
	switch Code(refusal.GetCode()) {
	case PoolFull, CapReached, SeatsReserved, QuantityReached, QueueAhead:
		return true
	}
	return false
}

// checkout decides a request for seats: a lease, a ticket if it may wait, or a denial.
func (s *State) checkout(o *fsmpb.Outcome, cmd *fsmpb.Checkout) {
	ask, err := normalAsk(cmd)
	if err != nil {
		o.Refusal = invalid(err)
		return
	}
	r := &request{t: &s.tables, ask: ask, by: s.limited(s.actor)}
	refusal := r.decide(conditions)
	t := s.waitingFor(ask)
	waits := ask.Queue && s.inForce(t)
	switch {
	case refusal == nil && (r.project != nil || !waits):
		s.leaseResult(o, r.pool, s.grant(r))
		if r.project != nil && t != nil && t.Ask.Project == ask.Project {
			// Somebody has opened the project: who waited for a token for it needs none any more.
			s.dropTicket(r.pool, t)
		}
		return
	case waits:
		s.askAgain(o, t, ask)
		return
	case wantOfSeats(refusal) && ask.Queue && ask.BorrowDays == 0:
		if refusal = s.enqueue(o, r, t); refusal == nil {
			return
		}
	}
	if o.Refusal = refusal; r.pool != nil {
		s.noteDenial(r.pool, ask.Product, refusal.Code)
	}
}

// waitingFor is the ticket of who asks, nil if there is none or if it makes no difference.
func (s *State) waitingFor(ask *fsmpb.Checkout) *Ticket {
	if !ask.Queue && ask.Project == "" {
		return nil
	}
	return s.ticketOf(ask)
}

// grant takes the seats that the conditions found and makes the lease.
func (s *State) grant(r *request) *Lease {
	if r.ask.Project != "" {
		return s.connect(r, r.seats)
	}
	if r.own == nil {
		return s.addLease(r, r.seats)
	}
	s.removeLease(r.pool, r.own)
	// Which seats are free has changed with it.
	r.seats, _ = s.fit(r.pool, r.claimant())
	l := s.addLease(r, r.seats)
	// It may have had more than are asked for now.
	s.schedule(r.pool)
	return l
}

// Condition is one condition of a checkout and what came of it (rule K7).
type Condition struct {
	Name string
	// Checked is false if an earlier failure leaves it without meaning.
	Checked bool
	// Refusal is nil if the condition holds.
	Refusal *fsmpb.Refusal
}

// Explain walks all conditions of a checkout that an actor asks for at a wall time of nowMs, not only the first that
// fails (rule K7). The error says what is wrong with the request's form.
func (v *View) Explain(cmd *fsmpb.Checkout, actor string, nowMs int64) ([]Condition, error) {
	ask, err := normalAsk(cmd)
	if err != nil {
		return nil, err
	}
	s := v.Fork()
	s.clock = s.clock.tick(nowMs, 0)
	r, list, open := &request{t: &s.tables, ask: ask, by: s.limited(actor)}, make([]Condition, len(conditions)), true
	for i, c := range conditions {
		if list[i] = (Condition{Name: c.name, Checked: open}); !open {
			continue
		}
		list[i].Refusal = c.check(r)
		open = list[i].Refusal == nil || !c.last
	}
	return list, nil
}
