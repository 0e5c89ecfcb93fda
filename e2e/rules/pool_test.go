package rules_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/rules"
)

const rfc3339 = time.RFC3339

func (p *player) sendPool(ts *testscript.TestScript, args []string) send {
	const usage = "pool create NAME CONTRACT NAME=VALUE... | change NAME [if-revision=N] NAME=VALUE... | activate NAME | deactivate NAME | delete NAME [force]"
	rules.Need(ts, args, 2, usage)
	name := args[1]
	switch args[0] {
	case "create":
		rules.Need(ts, args, 3, usage)
		d := apiv1.PoolDefinition{Name: name, Contract: args[2], Products: map[string]apiv1.PoolProduct{}}
		describePool(ts, &d, args[3:])
		return func(ctx context.Context, c *client.Client) (reply, error) { return replied(c.CreatePool(ctx, d)) }
	case "change":
		return p.changePool(ts, name, args[2:])
	case "activate":
		return func(ctx context.Context, c *client.Client) (reply, error) { return replied(c.ActivatePool(ctx, name)) }
	case "deactivate":
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.DeactivatePool(ctx, name))
		}
	case "delete":
		return func(ctx context.Context, c *client.Client) (reply, error) {
			return replied(c.DeletePool(ctx, name, len(args) > 2))
		}
	}
	ts.Fatalf("usage: %s", usage)
	return nil
}

func (p *player) changePool(ts *testscript.TestScript, name string, rest []string) send {
	var expected uint64
	if len(rest) > 0 && strings.HasPrefix(rest[0], "if-revision=") {
		expected, rest = rules.Number(ts, strings.TrimPrefix(rest[0], "if-revision=")), rest[1:]
	}
	d := p.definition(ts, name)
	describePool(ts, &d, rest)
	return func(ctx context.Context, c *client.Client) (reply, error) {
		return replied(c.ReplacePool(ctx, d, client.IfRevision(expected)))
	}
}

// cmdRevision has later lines name the revision of a pool.
func (p *player) cmdRevision(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "revision POOL VARIABLE")
	a, err := p.reader(ts).Pool(p.ctx, args[0])
	ts.Check(err)
	ts.Setenv(args[1], fmt.Sprint(a.Value.Revision))
}

// definition is a pool's present one; a pool that is not there has next to none.
func (p *player) definition(ts *testscript.TestScript, name string) apiv1.PoolDefinition {
	a, err := p.reader(ts).Pool(p.ctx, name)
	if client.CodeOf(err) == apiv1.CodePoolNotFound {
		return apiv1.PoolDefinition{Name: name, Contract: "none", Products: map[string]apiv1.PoolProduct{}}
	}
	ts.Check(err)
	return a.Value.Definition
}

// describePool reads from left to right: products= comes before what is said of a product.
func describePool(ts *testscript.TestScript, d *apiv1.PoolDefinition, args []string) {
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%q is not name=value", arg)
		}
		if name, product, of := strings.Cut(name, "."); of {
			describeProduct(ts, d, name, product, value)
			continue
		}
		switch name {
		case "products":
			setProducts(d, strings.Split(value, ","))
		case "contract":
			d.Contract = value
		case "size":
			d.Size = rules.Number(ts, value)
		case "shared":
			d.Shared = value == "yes"
		case "valid-until":
			d.ValidUntil = nil
			if value != "never" {
				at := rules.Moment(ts, value)
				d.ValidUntil = &at
			}
		default:
			if !describeLimit(ts, d, name, value) && !restrict(&d.Restriction, name, value) {
				ts.Fatalf("a pool has no %s", name)
			}
		}
	}
}

func describeLimit(ts *testscript.TestScript, d *apiv1.PoolDefinition, name, value string) bool {
	field, ok := map[string]*uint32{
		"ttl-min": &d.TTLMin, "ttl-max": &d.TTLMax, "ttl": &d.TTLDefault, "linger": &d.Linger,
		"queue": &d.QueueLimit, "offer-ttl": &d.OfferTTL, "ticket-ttl": &d.TicketTTL,
	}[name]
	if ok {
		*field = rules.Seconds(ts, value)
	}
	return ok
}

// setProducts keeps what was said of products that stay.
func setProducts(d *apiv1.PoolDefinition, names []string) {
	old := d.Products
	d.Products = map[string]apiv1.PoolProduct{}
	for _, name := range names {
		d.Products[name] = old[name]
	}
}

func describeProduct(ts *testscript.TestScript, d *apiv1.PoolDefinition, name, product, value string) {
	product, reservation, _ := strings.Cut(product, ".")
	x, ok := d.Products[product]
	if !ok {
		ts.Fatalf("products= names no %s", product)
	}
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
	d.Products[product] = x
}

// reservationOf reads 2:ann@example.org,*.example.net,group:devs.
func reservationOf(ts *testscript.TestScript, name, value string) apiv1.Reservation {
	seats, whom, _ := strings.Cut(value, ":")
	r := apiv1.Reservation{Name: name, Seats: rules.Number(ts, seats)}
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

func restrict(r **apiv1.Restriction, name, value string) bool {
	if *r == nil {
		*r = new(apiv1.Restriction)
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

func (p *player) poolState(ts *testscript.TestScript, name string) string {
	a, err := p.reader(ts).Pool(p.ctx, name)
	if client.CodeOf(err) == apiv1.CodePoolNotFound {
		return "gone"
	}
	ts.Check(err)
	if a.Value.State == apiv1.PoolStateDeleting {
		return "gone"
	}
	return string(a.Value.State)
}

// cmdSeats: seats POOL[/PRODUCT] [used=N] [offered=N] [waiting=N] [borrowed=N].
func (p *player) cmdSeats(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "seats POOL[/PRODUCT] NAME=N...")
	pool, product, of := strings.Cut(args[0], "/")
	a, err := p.reader(ts).Pool(p.ctx, pool)
	ts.Check(err)
	use := a.Value.Use
	got := map[string]uint64{"used": use.Used, "offered": use.Offered, "waiting": use.Waiting}
	if of {
		x := use.Products[product]
		got = map[string]uint64{"used": x.Used, "offered": x.Offered, "waiting": x.Waiting, "borrowed": x.Borrowed}
	}
	for name, value := range rules.Pairs(ts, args[1:]) {
		n, ok := got[name]
		if !ok {
			ts.Fatalf("the seats of %s are not %s", args[0], name)
		}
		rules.Expect(ts, args[0]+" "+name, n, rules.Number(ts, value))
	}
}

// cmdProject: project POOL/NAME closed, or PRODUCT connections=N.
func (p *player) cmdProject(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "project POOL/NAME closed|PRODUCT [connections=N]")
	pool, project, _ := strings.Cut(args[0], "/")
	list, err := p.reader(ts).Projects(p.ctx, pool, "", 1000)
	ts.Check(err)
	got, connections := "closed", uint64(0)
	for _, x := range list.Value.Projects {
		if x.Project == project {
			got, connections = x.Product, x.Connections
		}
	}
	rules.Expect(ts, "project "+args[0], got, args[1])
	for _, value := range rules.Pairs(ts, args[2:]) {
		rules.Expect(ts, "connections to "+args[0], connections, rules.Number(ts, value))
	}
}

// usageOf is that of the present hour.
func (p *player) usageOf(ts *testscript.TestScript, name string) apiv1.UsageHour {
	pool, product, _ := strings.Cut(name, "/")
	hour := p.clock.now().Truncate(time.Hour)
	a, err := p.reader(ts).Usage(p.ctx, client.UsageOf{Pool: pool, Product: product, From: hour, To: hour.Add(time.Hour)})
	ts.Check(err)
	if len(a.Value.Hours) != 1 {
		ts.Fatalf("the usage of %s has %d hours instead of the present one", name, len(a.Value.Hours))
	}
	return a.Value.Hours[0]
}

func (p *player) cmdHighWater(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "high-water POOL[/PRODUCT] N")
	rules.Expect(ts, "high water of "+args[0], p.usageOf(ts, args[0]).HighWater, rules.Number(ts, args[1]))
}

func (p *player) cmdDenials(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 2, "denials POOL/PRODUCT nothing|CODE=N...")
	expectQuantities(ts, "denials of "+args[0], p.usageOf(ts, args[0]).Denials, args[1:])
}

// noteEnd keeps what a change of a pool ended.
func (p *player) noteEnd() {
	p.ended = nil
	if x, ok := p.last.value.(apiv1.PoolChange); ok {
		p.ended = &end{leases: x.Leases, tickets: x.Tickets}
	}
}

// cmdEnded holds the last expiry, or change of a pool, against what the script says that it ended.
func (p *player) cmdEnded(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "ended nothing|[leases=WHO,...] [offers=WHO,...] [tickets=WHO,...] [pools=N] [more=yes]")
	want := map[string]string{}
	if args[0] != "nothing" {
		want = rules.Pairs(ts, args)
	}
	if p.ended == nil {
		ts.Fatalf("the last command ended nothing by its nature")
	}
	ticket := func(x *seat) uint64 { return x.ticket }
	p.expectIDs(ts, "leases", p.ended.leases, strings.Split(want["leases"], ","), func(x *seat) uint64 { return x.lease })
	p.expectIDs(ts, "offers", p.ended.offers, strings.Split(want["offers"], ","), ticket)
	p.expectIDs(ts, "tickets", p.ended.tickets, strings.Split(want["tickets"], ","), ticket)
	if pools, ok := want["pools"]; ok {
		rules.Expect(ts, "pools ended", p.ended.pools, rules.Number(ts, pools))
	}
	rules.Expect(ts, "more is due", rules.YesNo(p.ended.more), cmp.Or(want["more"], "no"))
}

// cmdEndedMany counts what cmdEnded would have to name.
func (p *player) cmdEndedMany(ts *testscript.TestScript, args []string) {
	if p.ended == nil {
		ts.Fatalf("the last command ended nothing by its nature")
	}
	for name, value := range rules.Pairs(ts, args) {
		n := map[string]int{"leases": len(p.ended.leases), "offers": len(p.ended.offers), "tickets": len(p.ended.tickets)}[name]
		rules.Expect(ts, name+" ended", uint64(n), rules.Number(ts, value))
	}
}

// cmdAffected names the users who, as a dry run told, keep seats that they could not get any more.
func (p *player) cmdAffected(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "affected nobody|WHO...")
	users := []string{}
	for _, name := range args {
		if name != "nobody" {
			users = append(users, name+"@example.org")
		}
	}
	x, ok := p.last.value.(apiv1.PoolChange)
	if !ok {
		ts.Fatalf("the last answer is no change of a pool: %+v", p.last)
	}
	rules.Expect(ts, "affected users", fmt.Sprint(x.Users), fmt.Sprint(users))
}
