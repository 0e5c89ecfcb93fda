package fsm

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/e2e/rules"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// seat is what a script calls by a name: what the checkout of that name came to.
type seat struct {
	name          string
	lease, ticket uint64
	// token is the one of a borrow.
	token string
	ask   *fsmpb.Checkout
}

// seatWords are the words about seats that propose no command of their own.
var seatWords = map[string]func(w *world, ts *testscript.TestScript, args []string){
	"crowd": (*world).cmdCrowd, "restart": (*world).cmdRestart,

	"says": (*world).cmdSays, "lease": (*world).cmdLease, "ticket": (*world).cmdTicket, "position": (*world).cmdPosition, "estimate": (*world).cmdEstimate,
	"offered-to": (*world).cmdOfferedTo, "ends": (*world).cmdEnds, "told": (*world).cmdTold, "seats": (*world).cmdSeats,
	"product": (*world).cmdProduct, "project": (*world).cmdProject, "ended": (*world).cmdEnded, "ended-many": (*world).cmdEndedMany,
	"already": (*world).cmdAlready, "fences": (*world).cmdFences, "token": (*world).cmdToken, "high-water": (*world).cmdHighWater,
	"denials": (*world).cmdDenials, "audit": (*world).cmdAudit, "explain": (*world).cmdExplain, "conditions": (*world).cmdConditions,
	"affected": (*world).cmdAffected, "revision": (*world).cmdRevision,
}

// handle derives a secret handle from a name.
func handle(name string) []byte {
	hash := sha256.Sum256([]byte(name))
	return hash[:HolderSize]
}

// seat takes the name of a seat, or id:7 for the lease or ticket of that number.
func (w *world) seat(ts *testscript.TestScript, name string) *seat {
	if n, ok := strings.CutPrefix(name, "id:"); ok {
		id := rules.Number(ts, n)
		return &seat{name: name, lease: id, ticket: id, ask: &fsmpb.Checkout{Holder: handle(name)}}
	}
	x, ok := w.seats[name]
	if !ok {
		ts.Fatalf("no checkout %q so far", name)
	}
	return x
}

// noteSeat keeps what a checkout or claim came to under the name that the script gave it.
func (w *world) noteSeat(o *fsmpb.Outcome) {
	x := w.asked
	if w.asked = nil; x == nil {
		return
	}
	w.seats[x.name] = x
	if t := o.GetTicket(); t != nil {
		x.ticket = t.Ticket.Id
	}
	status := o.GetLease()
	if status == nil {
		return
	}
	x.lease = status.Lease.Id
	if status.Lease.Borrow {
		token, err := BorrowToken(testCluster, status).Sign(clusterKey)
		if err != nil {
			w.t.Fatal(err)
		}
		x.token = token
	}
}

func (w *world) bodyPool(ts *testscript.TestScript, args []string) *fsmpb.Body {
	const usage = "pool create NAME CONTRACT NAME=VALUE... | change NAME [if-revision=N] NAME=VALUE... | activate NAME | deactivate NAME | delete NAME [force]"
	rules.Need(ts, args, 2, usage)
	switch args[0] {
	case "create":
		rules.Need(ts, args, 3, usage)
		p := &fsmpb.Pool{Name: args[1], Contract: args[2]}
		describePool(ts, p, args[3:])
		return poolBody(p, true)
	case "change":
		p := &fsmpb.Pool{Name: args[1]}
		if old, ok := w.s.View().pools.get(args[1]); ok {
			p = clone(old.Pool)
		}
		rest, expected := args[2:], uint64(0)
		if len(rest) > 0 && strings.HasPrefix(rest[0], "if-revision=") {
			expected, rest = rules.Number(ts, strings.TrimPrefix(rest[0], "if-revision=")), rest[1:]
		}
		describePool(ts, p, rest)
		return replaceBody(p, expected)
	case "activate", "deactivate":
		return activatePoolBody(args[1], args[0] == "activate")
	case "delete":
		return &fsmpb.Body{Kind: &fsmpb.Body_DeletePool{DeletePool: &fsmpb.DeletePool{Pool: args[1], Force: len(args) > 2}}}
	}
	ts.Fatalf("usage: %s", usage)
	return nil
}

// describePool reads from left to right: products= comes before what is said of a product.
func describePool(ts *testscript.TestScript, p *fsmpb.Pool, args []string) {
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%q is not name=value", arg)
		}
		if name, product, of := strings.Cut(name, "."); of {
			describeProduct(ts, p, name, product, value)
			continue
		}
		switch name {
		case "products":
			setProducts(p, strings.Split(value, ","))
		case "contract":
			p.Contract = value
		case "size":
			p.Size = rules.Number(ts, value)
		case "shared":
			p.Shared = value == "yes"
		case "valid-until":
			p.ValidUntilMs = 0
			if value != "never" {
				p.ValidUntilMs = rules.Moment(ts, value).UnixMilli()
			}
		default:
			if !describeLimit(ts, p, name, value) && !restrict(&p.Restriction, name, value) {
				ts.Fatalf("a pool has no %s", name)
			}
		}
	}
}

func describeLimit(ts *testscript.TestScript, p *fsmpb.Pool, name, value string) bool {
	field, ok := map[string]*uint32{
		"ttl-min": &p.TtlMin, "ttl-max": &p.TtlMax, "ttl": &p.TtlDefault, "linger": &p.Linger,
		"queue": &p.QueueLimit, "offer-ttl": &p.OfferTtl, "ticket-ttl": &p.TicketTtl,
	}[name]
	if ok {
		*field = rules.Seconds(ts, value)
	}
	return ok
}

// setProducts keeps what was said of products that stay.
func setProducts(p *fsmpb.Pool, names []string) {
	old := p.Products
	p.Products = nil
	for _, name := range names {
		i := slices.IndexFunc(old, func(x *fsmpb.PoolProduct) bool { return x.Name == name })
		if i < 0 {
			p.Products = append(p.Products, &fsmpb.PoolProduct{Name: name})
			continue
		}
		p.Products = append(p.Products, old[i])
	}
}

func describeProduct(ts *testscript.TestScript, p *fsmpb.Pool, name, product, value string) {
	product, reservation, _ := strings.Cut(product, ".")
	i := slices.IndexFunc(p.Products, func(x *fsmpb.PoolProduct) bool { return x.Name == product })
	if i < 0 {
		ts.Fatalf("products= names no %s", product)
	}
	x := p.Products[i]
	switch name {
	case "cap":
		x.Cap = rules.Number(ts, value)
	case "days":
		x.MaxCheckoutDays = uint32(rules.Number(ts, value))
	case "low-water":
		x.LowWater = rules.Number(ts, value)
	case "reserve":
		x.Reservations = append(x.Reservations, reservationOf(ts, reservation, value))
	case "unreserve":
		x.Reservations = nil
	default:
		if !restrict(&x.Restriction, name, value) {
			ts.Fatalf("a product of a pool has no %s", name)
		}
	}
}

// reservationOf reads 2:ann@example.org,*.example.net,group:devs.
func reservationOf(ts *testscript.TestScript, name, value string) *fsmpb.Reservation {
	seats, whom, _ := strings.Cut(value, ":")
	r := &fsmpb.Reservation{Name: name, Seats: rules.Number(ts, seats)}
	for entry := range strings.SplitSeq(whom, ",") {
		group, isGroup := strings.CutPrefix(entry, "group:")
		switch {
		case isGroup:
			r.Groups = append(r.Groups, group)
		case strings.Contains(entry, "@"):
			r.Users = append(r.Users, entry)
		default:
			r.Domains = append(r.Domains, entry)
		}
	}
	return r
}

func restrict(r **fsmpb.Restriction, name, value string) bool {
	if *r == nil {
		*r = new(fsmpb.Restriction)
	}
	list, ok := map[string]*[]string{
		"include-domains": &(*r).IncludeDomains, "exclude-domains": &(*r).ExcludeDomains,
		"include-emails": &(*r).IncludeEmails, "exclude-emails": &(*r).ExcludeEmails,
	}[name]
	if ok {
		*list = strings.FieldsFunc(value, func(c rune) bool { return c == ',' })
	}
	return ok
}

// ask has a checkout asked as the script spells it out.
func (w *world) ask(x rules.Ask) *fsmpb.Checkout {
	ask := &fsmpb.Checkout{
		Pool: x.Pool, Product: x.Product, User: x.User, Client: x.Client, Project: x.Project, Groups: x.Groups,
		Count: x.Count, Ttl: x.TTL, BorrowDays: x.Days, Queue: x.Queue, Holder: handle(cmp.Or(x.As, x.Who)),
	}
	w.asked = &seat{name: x.Who, ask: ask}
	return ask
}

func (w *world) bodyCheckout(ts *testscript.TestScript, args []string) *fsmpb.Body {
	return checkoutBody(w.ask(rules.Checkout(ts, args)))
}

func (w *world) bodyConnect(ts *testscript.TestScript, args []string) *fsmpb.Body {
	return checkoutBody(w.ask(rules.Connect(ts, args)))
}

// who reads WHO [as=NAME] [more...]: whose seat, the handle that is shown, and what else there is.
func (w *world) who(ts *testscript.TestScript, args []string) (*seat, []byte, map[string]string) {
	rules.Need(ts, args, 1, "WHO [as=NAME]")
	x, more := w.seat(ts, args[0]), rules.Pairs(ts, args[1:])
	if as, ok := more["as"]; ok {
		return x, handle(as), more
	}
	return x, x.ask.Holder, more
}

func (w *world) bodyRenew(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, holder, more := w.who(ts, args)
	cmd := &fsmpb.Renew{Lease: x.lease, Holder: holder}
	if ttl, ok := more["ttl"]; ok {
		cmd.Ttl = rules.Seconds(ts, ttl)
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: cmd}}
}

func (w *world) bodyCheckIn(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, holder, _ := w.who(ts, args)
	return &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: x.lease, Holder: holder}}}
}

func (w *world) bodyReturn(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, _, more := w.who(ts, args)
	token := x.token
	if more["token"] == "forged" {
		b, err := signed.VerifyBorrow(token, []ed25519.PublicKey{public(clusterKey)})
		ts.Check(err)
		token, err = b.Sign(strangerKey)
		ts.Check(err)
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_ReturnBorrow{ReturnBorrow: &fsmpb.ReturnBorrow{Token: token}}}
}

func (w *world) bodyRevoke(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, _, more := w.who(ts, args)
	return &fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: x.lease, Reason: more["reason"]}}}
}

func (w *world) bodyConvert(ts *testscript.TestScript, args []string) *fsmpb.Body {
	rules.Need(ts, args, 2, "convert WHO PRODUCT [pool=NAME] [project=NAME] [as=NAME]")
	x, holder, more := w.who(ts, append([]string{args[0]}, args[2:]...))
	return &fsmpb.Body{Kind: &fsmpb.Body_ConvertProject{ConvertProject: &fsmpb.ConvertProject{
		Pool: cmp.Or(more["pool"], x.ask.Pool), Project: cmp.Or(more["project"], x.ask.Project), Product: args[1], Lease: x.lease, Holder: holder,
	}}}
}

func (w *world) bodyClaim(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, holder, _ := w.who(ts, args)
	w.asked = x
	return &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: x.ticket, Holder: holder}}}
}

func (w *world) bodyKeep(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, holder, _ := w.who(ts, args)
	return &fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: x.ticket, Holder: holder}}}
}

func (w *world) bodyLeave(ts *testscript.TestScript, args []string) *fsmpb.Body {
	x, holder, _ := w.who(ts, args)
	return &fsmpb.Body{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: x.ticket, Holder: holder}}}
}

// cmdCrowd has users NAME1 to NAMEn each ask the same: crowd NAME N POOL PRODUCT [NAME=VALUE...].
func (w *world) cmdCrowd(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 4, "crowd NAME N POOL PRODUCT [NAME=VALUE...]")
	seats, items := []*seat{}, []*fsmpb.Body{}
	for i := range rules.Number(ts, args[1]) {
		who := fmt.Sprint(args[0], i+1)
		items = append(items, w.bodyCheckout(ts, append([]string{who}, args[2:]...)))
		seats = append(seats, w.asked)
	}
	w.asked = nil
	o := w.propose(&fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: items}}})
	for i, each := range o.GetBulk().GetOutcomes() {
		if each.Refusal != nil {
			ts.Fatalf("%s is refused: %s", seats[i].name, Detail(each.Refusal))
		}
		w.asked = seats[i]
		w.noteSeat(each)
	}
}

// cmdRestart has the node read its snapshot and go on from there.
func (w *world) cmdRestart(*testscript.TestScript, []string) {
	w.s = mustRestore(w.t, snapshotBytes(w.t, w.s.View()))
}

// cmdSays holds the sentence of the last refusal against the script's.
func (w *world) cmdSays(ts *testscript.TestScript, args []string) {
	if w.last.GetRefusal() == nil {
		ts.Fatalf("the last answer is no refusal: %v", w.last)
	}
	rules.Expect(ts, "the refusal", Detail(w.last.Refusal), strings.Join(args, " "))
}

func (w *world) cmdLease(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "lease WHO works|lingers|ended")
	x, v, got := w.seat(ts, args[0]), w.s.View(), "ended"
	if _, refusal := v.Lease(x.lease); refusal == nil {
		got = "works"
	} else if l, ok := v.leases.get(x.lease); ok && l.Lingering {
		got = "lingers"
	}
	rules.Expect(ts, "lease of "+args[0], got, args[1])
}

func (w *world) cmdTicket(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "ticket WHO waits|offered|gone")
	got := "gone"
	if status, refusal := w.s.View().Ticket(w.seat(ts, args[0]).ticket); refusal == nil {
		got = map[bool]string{true: "offered", false: "waits"}[status.Ticket.Offered]
	}
	rules.Expect(ts, "ticket of "+args[0], got, args[1])
}

// cmdEstimate: estimate WHO DURATION|none, about how long a ticket still waits.
func (w *world) cmdEstimate(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "estimate WHO DURATION|none")
	status, refusal := w.s.View().Ticket(w.seat(ts, args[0]).ticket)
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	got := "none"
	if status.WaitMs > 0 {
		got = (time.Duration(status.WaitMs) * time.Millisecond).String()
	}
	rules.Expect(ts, "estimated wait of "+args[0], got, args[1])
}

// cmdPosition: the head of the queue is at 1.
func (w *world) cmdPosition(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "position WHO N")
	status, refusal := w.s.View().Ticket(w.seat(ts, args[0]).ticket)
	if refusal != nil || status.Ticket.Offered {
		ts.Fatalf("%s does not wait: %v %v", args[0], status, refusal)
	}
	rules.Expect(ts, "position of "+args[0], status.Ahead+1, rules.Number(ts, args[1]))
}

// cmdOfferedTo names all who have offers of a pool.
func (w *world) cmdOfferedTo(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "offered-to POOL nobody|WHO...")
	got := []uint64{}
	for _, x := range w.s.View().Tickets(args[0], 0, MaxQueue) {
		if x.Ticket.Offered {
			got = append(got, x.Ticket.Id)
		}
	}
	w.expectIDs(ts, "offers", got, args[1:], func(x *seat) uint64 { return x.ticket })
}

func (w *world) expectIDs(ts *testscript.TestScript, what string, got []uint64, names []string, id func(*seat) uint64) {
	want := []uint64{}
	for _, name := range names {
		if name != "nobody" && name != "" {
			want = append(want, id(w.seat(ts, name)))
		}
	}
	slices.Sort(want)
	rules.Expect(ts, what, fmt.Sprint(slices.Sorted(slices.Values(got))), fmt.Sprint(want))
}

// cmdEnds says when a lease ends unless it is renewed, a ticket unless it is kept, an offer unless it is claimed.
func (w *world) cmdEnds(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "ends WHO TIME")
	x, v := w.seat(ts, args[0]), w.s.View()
	var ms int64
	if status, refusal := v.Lease(x.lease); refusal == nil {
		ms = status.EndsMs
	} else if status, refusal := v.Ticket(x.ticket); refusal == nil {
		ms = status.EndsMs
	}
	rules.Expect(ts, "end of "+args[0], time.UnixMilli(ms).UTC(), rules.Moment(ts, args[1]))
}

// cmdTold says which end the last answer told its caller.
func (w *world) cmdTold(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "told TIME")
	ms := w.last.GetLease().GetEndsMs() + w.last.GetTicket().GetEndsMs()
	rules.Expect(ts, "the end that was told", time.UnixMilli(ms).UTC(), rules.Moment(ts, args[0]))
}

// cmdSeats: seats POOL[/PRODUCT] [used=N] [offered=N] [waiting=N] [borrowed=N].
func (w *world) cmdSeats(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "seats POOL[/PRODUCT] NAME=N...")
	pool, product, _ := strings.Cut(args[0], "/")
	u, v := new(use), w.s.View()
	if p, ok := v.pools.get(pool); ok {
		u = v.use(p).part(product)
	}
	for name, value := range rules.Pairs(ts, args[1:]) {
		n, ok := map[string]uint64{"used": u.used, "offered": u.offered, "waiting": u.waiting, "borrowed": u.borrowed}[name]
		if !ok {
			ts.Fatalf("seats are not %s", name)
		}
		rules.Expect(ts, args[0]+" "+name, n, rules.Number(ts, value))
	}
}

// cmdProduct: product CONTRACT/NAME [quantity=N] [promised=N] [used=N] [over=N] [overdrawn=N].
func (w *world) cmdProduct(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "product CONTRACT/NAME NAME=N...")
	contract, product, _ := strings.Cut(args[0], "/")
	list := w.s.View().Products(w.contract(ts, contract).Contract)
	i := slices.IndexFunc(list, func(x ProductStatus) bool { return x.Name == product })
	if i < 0 {
		ts.Fatalf("contract %s tells nothing of product %s", contract, product)
	}
	x := list[i]
	for name, value := range rules.Pairs(ts, args[1:]) {
		n, ok := map[string]uint64{"quantity": x.Quantity, "promised": x.Promised, "used": x.Used, "over": x.Over, "overdrawn": x.Overdrawn}[name]
		if !ok {
			ts.Fatalf("a product has no %s", name)
		}
		rules.Expect(ts, args[0]+" "+name, n, rules.Number(ts, value))
	}
}

// cmdProject: project POOL/NAME closed, or PRODUCT connections=N.
func (w *world) cmdProject(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "project POOL/NAME closed|PRODUCT [connections=N]")
	pool, project, _ := strings.Cut(args[0], "/")
	got, connections := "closed", uint64(0)
	if x, open := w.s.View().Project(pool, project); open {
		got, connections = x.Product, x.Connections
	}
	rules.Expect(ts, "project "+args[0], got, args[1])
	for _, value := range rules.Pairs(ts, args[2:]) {
		rules.Expect(ts, "connections to "+args[0], connections, rules.Number(ts, value))
	}
}

// cmdEnded holds the last expiry, or change of a pool, against what the script says that it ended.
func (w *world) cmdEnded(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "ended nothing|[leases=WHO,...] [offers=WHO,...] [tickets=WHO,...] [pools=N] [more=yes]")
	want := map[string]string{}
	if args[0] != "nothing" {
		want = rules.Pairs(ts, args)
	}
	done, change := w.last.GetExpired(), w.last.GetPool()
	for name, got := range map[string][]uint64{
		"leases": append(done.GetLeases(), change.GetLeases()...), "offers": done.GetOffers(), "tickets": append(done.GetTickets(), change.GetTickets()...),
	} {
		w.expectIDs(ts, name, got, strings.Split(want[name], ","), func(x *seat) uint64 {
			return map[bool]uint64{true: x.lease, false: x.ticket}[name == "leases"]
		})
	}
	if pools, ok := want["pools"]; ok {
		rules.Expect(ts, "pools ended", done.GetPools(), rules.Number(ts, pools))
	}
	rules.Expect(ts, "more is due", rules.YesNo(done.GetMore()), cmp.Or(want["more"], "no"))
}

// cmdEndedMany counts what cmdEnded would have to name.
func (w *world) cmdEndedMany(ts *testscript.TestScript, args []string) {
	done, change := w.last.GetExpired(), w.last.GetPool()
	for name, value := range rules.Pairs(ts, args) {
		n := map[string]int{
			"leases": len(done.GetLeases()) + len(change.GetLeases()), "offers": len(done.GetOffers()),
			"tickets": len(done.GetTickets()) + len(change.GetTickets()),
		}[name]
		rules.Expect(ts, name+" ended", uint64(n), rules.Number(ts, value))
	}
}

func (w *world) cmdAlready(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "already yes|no")
	rules.Expect(ts, "already ended", rules.YesNo(w.last.GetLeaseEnded().GetAlready()), args[0])
}

// cmdRevision has a later line name the revision of a pool.
func (w *world) cmdRevision(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "revision POOL VARIABLE")
	p, ok := w.s.View().pools.get(args[0])
	if !ok {
		ts.Fatalf("there is no pool %s", args[0])
	}
	ts.Setenv(args[1], fmt.Sprint(p.Revision))
}

// cmdFences: each lease's number is above that of the one before it.
func (w *world) cmdFences(ts *testscript.TestScript, args []string) {
	for i := 1; i < len(args); i++ {
		if a, b := w.seat(ts, args[i-1]).lease, w.seat(ts, args[i]).lease; a >= b {
			ts.Fatalf("the fence of %s, %d, is not below that of %s, %d", args[i-1], a, args[i], b)
		}
	}
}

// cmdToken verifies the token of a borrow offline, with the public key alone (K4).
func (w *world) cmdToken(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "token WHO NAME=VALUE...")
	b, err := signed.VerifyBorrow(w.seat(ts, args[0]).token, []ed25519.PublicKey{public(clusterKey)})
	ts.Check(err)
	for name, value := range rules.Pairs(ts, args[1:]) {
		got := map[string]string{
			"user": b.User, "client": b.Client, "pool": b.Pool, "product": b.Product, "count": fmt.Sprint(b.Count),
			"issued": b.Issued.Format(time.RFC3339), "expiry": b.Expiry.Format(time.RFC3339),
		}[name]
		rules.Expect(ts, name+" in the token", got, value)
	}
}

// usageOf finds the row of the present hour.
func (w *world) usageOf(name string) *Usage {
	pool, product, _ := strings.Cut(name, "/")
	hour := w.s.hour()
	if rows := w.s.View().Usage(pool, product, hour, hour+1, 1); len(rows) > 0 {
		return rows[0]
	}
	return &Usage{}
}

func (w *world) cmdHighWater(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "high-water POOL[/PRODUCT] N")
	rules.Expect(ts, "high water of "+args[0], w.usageOf(args[0]).HighWater, rules.Number(ts, args[1]))
}

func (w *world) cmdDenials(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "denials POOL/PRODUCT nothing|CODE=N...")
	expectQuantities(ts, "denials of "+args[0], w.usageOf(args[0]).Denials, args[1:])
}

// cmdAudit holds the last row of the audit trail against what happened.
func (w *world) cmdAudit(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "audit KIND [refused=CODE] [actor=NAME]")
	last, _, _ := w.s.View().Chain()
	row := w.s.View().WritesAfter(last-1, 1)[0]
	field := (&fsmpb.Body{}).ProtoReflect().Descriptor().Fields().ByNumber(recordKind(row.Kind))
	rules.Expect(ts, "kind", string(field.Name()), args[0])
	o := new(fsmpb.Outcome)
	ts.Check(proto.Unmarshal(row.Outcome(), o))
	more := rules.Pairs(ts, args[1:])
	rules.Expect(ts, "refusal", o.GetRefusal().GetCode(), more["refused"])
	if actor, ok := more["actor"]; ok {
		rules.Expect(ts, "actor", row.Actor(), actor)
	}
}

// cmdExplain walks the conditions of K1: those named fail or are unchecked, all others hold.
func (w *world) cmdExplain(ts *testscript.TestScript, args []string) {
	at := slices.Index(args, ":")
	if at < 0 || at+1 == len(args) {
		ts.Fatalf("usage: explain WHO POOL PRODUCT [NAME=VALUE...] : nothing|CONDITION=CODE|CONDITION=unchecked...")
	}
	ask := w.ask(rules.Checkout(ts, args[:at]))
	w.asked = nil
	list, err := w.s.View().Explain(ask, w.actor, w.now.UnixMilli())
	ts.Check(err)
	got, want := map[string]string{}, map[string]string{}
	for _, c := range list {
		switch {
		case !c.Checked:
			got[c.Name] = "unchecked"
		case c.Refusal != nil:
			got[c.Name] = c.Refusal.Code
		}
	}
	if args[at+1] != "nothing" {
		want = rules.Pairs(ts, args[at+1:])
	}
	if !maps.Equal(got, want) {
		ts.Fatalf("explain says %v instead of %v", got, want)
	}
}

// cmdConditions names the conditions in the order in which they are checked.
func (w *world) cmdConditions(ts *testscript.TestScript, args []string) {
	names := []string{}
	for _, c := range conditions {
		names = append(names, c.name)
	}
	rules.Expect(ts, "conditions", strings.Join(names, " "), strings.Join(args, " "))
}

// cmdAffected names the users who, as a dry run told, keep seats that they could not get any more.
func (w *world) cmdAffected(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "affected nobody|WHO...")
	users := []string{}
	for _, name := range args {
		if name != "nobody" {
			users = append(users, name+"@example.org")
		}
	}
	rules.Expect(ts, "affected users", fmt.Sprint(w.last.GetPool().GetUsers()), fmt.Sprint(users))
}

func (w *world) poolState(name string) string {
	p, refusal := w.s.View().Pool(name)
	switch {
	case refusal != nil || p.Deleting:
		return "gone"
	case p.Over:
		return "ended"
	case p.Active:
		return "active"
	}
	return "inactive"
}
