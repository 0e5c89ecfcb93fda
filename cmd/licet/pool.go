package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func poolCommand(streams Streams) *cli.Command {
	return group("pool", "what seats are drawn from",
		verb{
			name: "create", usage: "create a pool from a file or from flags", args: []string{"[FILE]"}, flags: writeFlags(poolFlags()...), run: poolCreate,
			about: "FILE is YAML as `licet pool example` prints it; - is the input. Flags go before what the file says.\nThe pool is inactive until `licet pool activate`.",
		}.command(streams),
		verb{name: "example", usage: "print a pool's file with every field", run: func(s *session) error { return s.write([]byte(poolExample)) }}.command(streams),
		verb{
			name: "list", usage: "list the pools, by name", run: poolList,
			flags: readFlags(&cli.StringFlag{Name: "contract", Usage: "those of `CONTRACT` only"}),
		}.command(streams),
		verb{name: "show", usage: "show a pool and its use", args: []string{"POOL"}, flags: readFlags(), run: poolShow}.command(streams),
		verb{
			name: "change", usage: "replace a pool's definition by a file's, or change what flags name", args: []string{"[FILE]"}, run: poolChange,
			flags: writeFlags(append(poolFlags(), &cli.StringFlag{Name: "if-revision", Usage: "only if the pool is at revision `N`, which `licet pool show` shows"})...),
			about: "With FILE, what the file does not name goes back to its default. Without, --name says which pool, and what no\n" +
				"flag names stays, also what somebody else changes meanwhile. --dry-run says who is affected.",
		}.command(streams),
		poolVerb("activate", "let a pool serve", (*client.Client).ActivatePool).command(streams),
		poolVerb("deactivate", "stop new checkouts and offers of a pool; leases in use run on", (*client.Client).DeactivatePool).command(streams),
		verb{
			name: "delete", usage: "delete a pool", args: []string{"POOL"}, run: poolDelete,
			flags: writeFlags(&cli.BoolFlag{Name: "force", Usage: "end the leases, offers and tickets that there are"}),
		}.command(streams),
		verb{
			name: "usage", usage: "show the high-water mark and the denials of each hour", args: []string{"POOL"}, run: poolUsage,
			flags: readFlags(&cli.StringFlag{Name: "product", Usage: "of `PRODUCT` only"},
				&cli.StringFlag{Name: "from", Usage: "from the hour of `TIME` (2026-12-31T18:00:00Z, or 2026-12-31 for the day's beginning); default: 24 hours"},
				&cli.StringFlag{Name: "to", Usage: "hours before `TIME`; default: now"}),
		}.command(streams),
	)
}

func poolFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "the pool's `NAME`"},
		&cli.StringFlag{Name: "contract", Usage: "the `CONTRACT` that it belongs to"},
		&cli.StringFlag{Name: "size", Usage: "`N` seats in use at once"},
		&cli.StringSliceFlag{Name: "product", Usage: "`PRODUCT[=CAP]`; repeat it, or separate products by commas. They replace those of the file"},
		&cli.StringFlag{Name: "queue-limit", Usage: "how many may wait, `N`"},
		&cli.StringFlag{Name: "valid-until", Usage: "when it ends, `TIME` (2026-12-31T18:00:00Z, or 2026-12-31 for the end of that day)"},
		&cli.StringFlag{Name: "site", Usage: "the `SITE` whose site-operators may change it; an empty one takes it off"},
		&cli.BoolFlag{Name: "shared", Usage: "promise nothing, draw on what the contract's other pools leave"},
	}
}

// poolName is the pool that the first argument names.
func (s *session) poolName() (string, error) {
	if err := signed.CheckName("POOL", s.args[0]); err != nil {
		return "", s.usagef("%v", err)
	}
	return s.args[0], nil
}

// filePool is the definition in the file that the argument names; nil without one.
func (s *session) filePool() (*apiv1.PoolDefinition, error) {
	if len(s.args) == 0 {
		return nil, nil
	}
	if s.args[0] == "" {
		return nil, s.usagef("FILE is missing")
	}
	text, err := s.readFile("FILE", s.args[0], maxContractFile)
	if err != nil {
		return nil, err
	}
	d, err := parsePool(s.args[0], text)
	if err != nil {
		return nil, usagef("`licet pool example` prints a pool's file.", "%v", err)
	}
	return d, nil
}

// flagPool puts what flags say into a definition.
func (s *session) flagPool(d *apiv1.PoolDefinition) error {
	for flag, field := range map[string]*string{"name": &d.Name, "contract": &d.Contract} {
		if !s.IsSet(flag) {
			continue
		}
		if *field = s.String(flag); signed.CheckName("--"+flag, *field) != nil {
			return s.usagef("%v", signed.CheckName("--"+flag, *field))
		}
	}
	var err error
	if s.IsSet("size") {
		if d.Size, err = whole(s.String("size"), 1, signed.MaxQuantity); err != nil {
			return s.usagef("--size: %v", err)
		}
	}
	if s.IsSet("queue-limit") {
		limit, err := whole(s.String("queue-limit"), 0, 10_000)
		if err != nil {
			return s.usagef("--queue-limit: %v", err)
		}
		d.QueueLimit = uint32(limit) //nolint:gosec // G115: it was held to its bounds when it was read
	}
	if s.IsSet("site") {
		if err := s.checkSite(); err != nil {
			return err
		}
		d.Site = s.String("site")
	}
	if s.IsSet("shared") {
		d.Shared = s.Bool("shared")
	}
	if s.IsSet("valid-until") {
		until, err := s.timeOf("valid-until", true)
		if err != nil {
			return err
		}
		d.ValidUntil = &until
	}
	if s.IsSet("product") {
		return s.flagProducts(d)
	}
	return nil
}

func (s *session) flagProducts(d *apiv1.PoolDefinition) error {
	d.Products = map[string]apiv1.PoolProduct{}
	for _, text := range strings.Split(strings.Join(s.StringSlice("product"), ","), ",") {
		name, most, capped := strings.Cut(text, "=")
		var x apiv1.PoolProduct
		if err := signed.CheckName("--product", name); err != nil {
			return s.usagef("%v", err)
		}
		if capped {
			var err error
			if x.Cap, err = whole(most, 0, signed.MaxQuantity); err != nil {
				return s.usagef("--product: %s: %v", name, err)
			}
		}
		if _, twice := d.Products[name]; twice {
			return s.usagef("--product: %s stands there twice", name)
		}
		d.Products[name] = x
	}
	return nil
}

// timeOf reads a flag that is a time; a plain date that ends something means the end of the day.
func (s *session) timeOf(flag string, end bool) (time.Time, error) {
	text := s.String(flag)
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		if end {
			day = day.AddDate(0, 0, 1)
		}
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, s.usagef("--%s: %.40q is neither a date (2026-12-31) nor a time (2026-12-31T18:00:00Z)", flag, text)
	}
	return at.UTC(), nil
}

func poolCreate(s *session) error {
	d, err := s.filePool()
	if err != nil {
		return err
	}
	if d == nil {
		d = new(apiv1.PoolDefinition)
	}
	if err := s.flagPool(d); err != nil {
		return err
	}
	if d.Name == "" || d.Contract == "" || d.Size == 0 || len(d.Products) == 0 {
		return s.usagef("FILE is missing, or some of --name, --contract, --size and --product")
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.PoolChange], error) {
		return c.CreatePool(ctx, *d)
	})
	return s.printPoolChange(a, err)
}

func poolChange(s *session) error {
	d, err := s.filePool()
	if err != nil {
		return err
	}
	if d == nil && signed.CheckName("--name", s.String("name")) != nil {
		return s.usagef("FILE is missing, or --name POOL")
	}
	revision := uint64(0)
	if s.IsSet("if-revision") {
		if revision, err = whole(s.String("if-revision"), 1, maxExact); err != nil {
			return s.usagef("--if-revision: %v", err)
		}
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.PoolChange], error) {
		if d == nil {
			return s.changePool(ctx, c, revision)
		}
		if err := s.flagPool(d); err != nil {
			return nil, err
		}
		return c.ReplacePool(ctx, *d, client.IfRevision(revision))
	})
	return s.printPoolChange(a, err)
}

// poolAttempts is how often a pool is read and changed before it is left to who else changes it.
const poolAttempts = 5

// changePool changes what flags name of a pool as it is (rule E4). If it was changed since it was read, that is done
// again, unless the user has said at which revision, or under which request id, whose outcome is recorded by then.
func (s *session) changePool(ctx context.Context, c *client.Client, revision uint64) (*client.Answer[apiv1.PoolChange], error) {
	for attempt := 1; ; attempt++ {
		now, err := c.Pool(ctx, s.String("name"))
		if err != nil {
			return nil, err
		}
		d := now.Value.Definition
		if err := s.flagPool(&d); err != nil {
			return nil, err
		}
		expected := cmp.Or(revision, now.Value.Revision)
		a, err := c.ReplacePool(ctx, d, client.IfRevision(expected))
		switch {
		case client.CodeOf(err) == apiv1.CodeOutcomeUnknown && expected != 0:
			return nil, repeatedWith{err, "--if-revision " + number(expected)}
		case client.CodeOf(err) != apiv1.CodePoolChanged, s.IsSet("if-revision"), s.IsSet("request-id"), attempt == poolAttempts:
			return a, err
		}
	}
}

// poolVerb is a verb that names a pool and nothing else.
func poolVerb(name, usage string, send func(*client.Client, context.Context, string) (*client.Answer[apiv1.PoolChange], error)) verb {
	return verb{name: name, usage: usage, args: []string{"POOL"}, flags: writeFlags(), run: func(s *session) error {
		pool, err := s.poolName()
		if err != nil {
			return err
		}
		a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.PoolChange], error) {
			return send(c, ctx, pool)
		})
		return s.printPoolChange(a, err)
	}}
}

func poolDelete(s *session) error {
	pool, err := s.poolName()
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.PoolChange], error) {
		return c.DeletePool(ctx, pool, s.Bool("force"))
	})
	return s.printPoolChange(a, err)
}

func (s *session) printPoolChange(a *client.Answer[apiv1.PoolChange], err error) error {
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.PoolChange) {
		showPool(p, x.Pool)
		verb := "ended"
		if a.DryRun && !x.Deleted {
			verb = "could not be had any more"
		}
		if x.TicketsTotal > 0 {
			p.line("\n%d tickets are dropped: %s", x.TicketsTotal, numbers(x.Tickets))
		}
		if x.LeasesTotal > 0 {
			p.line("\n%d leases %s: %s", x.LeasesTotal, verb, numbers(x.Leases))
		}
		if x.UsersTotal > 0 {
			p.line("%d users have them: %s", x.UsersTotal, clean(strings.Join(x.Users, ", ")))
		}
		if x.Deleted {
			p.line("\nThe pool is deleted.")
		}
	})
}

func numbers(list []uint64) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = number(n)
	}
	return strings.Join(texts, ", ")
}

func poolShow(s *session) error {
	pool, err := s.poolName()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Pool], error) {
		return c.Pool(s.context(), pool, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showPool)
}

func poolList(s *session) error {
	contract := s.String("contract")
	if s.IsSet("contract") {
		if err := signed.CheckName("--contract", contract); err != nil {
			return s.usagef("%v", err)
		}
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.PoolList], error) {
		return pages(func(after string) (*client.Answer[apiv1.PoolList], error) {
			return c.Pools(s.context(), client.PoolPage{Contract: contract, After: after}, o...)
		}, func(l *apiv1.PoolList) string { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.PoolList) {
		var rows [][]string
		for _, x := range list.Pools {
			d := x.Definition
			rows = append(rows, []string{
				d.Name, d.Contract, string(x.State), number(d.Size), number(x.Use.Used), number(x.Use.Offered), number(x.Use.Waiting),
				strings.Join(slices.Sorted(maps.Keys(d.Products)), ", "), endOf(x),
			})
		}
		p.table([]string{"NAME", "CONTRACT", "STATE", "SIZE", "USED", "OFFERED", "WAITING", "PRODUCTS", "ENDS"}, rows)
	})
}

func endOf(x apiv1.Pool) string {
	if x.Ends == nil {
		return ""
	}
	return when(*x.Ends)
}

func showPool(p *page, x apiv1.Pool) {
	d := x.Definition
	until, shared := "", ""
	if d.ValidUntil != nil {
		until = when(*d.ValidUntil)
	}
	if d.Shared {
		shared = "yes"
	}
	p.fields("pool", d.Name, "contract", d.Contract, "site", d.Site, "revision", number(x.Revision), "state", string(x.State), "size", number(d.Size), "shared", shared, "created", when(x.Created),
		"valid until", until, "ends", endOf(x), "ttl", fmt.Sprintf("%d s (%d to %d s)", d.TTLDefault, d.TTLMin, d.TTLMax), "linger", fmt.Sprintf("%d s", d.Linger),
		"queue", fmt.Sprintf("%d of %d wait; offers hold %d s, tickets live %d s", x.Use.Waiting, d.QueueLimit, d.OfferTTL, d.TicketTTL),
		"restriction", restrictionText(d.Restriction), "in use", fmt.Sprintf("%d of %d, %d offered", x.Use.Used, d.Size, x.Use.Offered))
	var rows, reserved [][]string
	for _, name := range slices.Sorted(maps.Keys(d.Products)) {
		product, use := d.Products[name], x.Use.Products[name]
		most := ""
		if product.Cap != 0 {
			most = number(product.Cap)
		}
		rows = append(rows, []string{
			name, most, number(use.Used), number(use.Offered), number(use.Waiting), number(use.Borrowed),
			number(uint64(product.MaxCheckoutDays)), number(product.LowWater), restrictionText(product.Restriction),
		})
		for _, r := range product.Reservations {
			reserved = append(reserved, []string{name, r.Name, number(r.Seats), strings.Join(slices.Concat(r.Users, r.Domains, r.Groups), ", ")})
		}
	}
	p.line("")
	p.table([]string{"PRODUCT", "CAP", "USED", "OFFERED", "WAITING", "BORROWED", "BORROW DAYS", "LOW WATER", "RESTRICTION"}, rows)
	if len(reserved) > 0 {
		p.line("")
		p.table([]string{"PRODUCT", "RESERVATION", "SEATS", "FOR"}, reserved)
	}
}

// restrictionText has a restriction as "+acme.example -x@acme.example", what is excluded with a minus.
func restrictionText(r *apiv1.Restriction) string {
	if r == nil {
		return ""
	}
	var all []string
	for _, list := range []struct {
		sign    string
		entries []string
	}{{"+", r.IncludeDomains}, {"-", r.ExcludeDomains}, {"+", r.IncludeEmails}, {"-", r.ExcludeEmails}} {
		for _, entry := range list.entries {
			all = append(all, list.sign+entry)
		}
	}
	return strings.Join(all, " ")
}

func poolUsage(s *session) error {
	pool, err := s.poolName()
	if err != nil {
		return err
	}
	of := client.UsageOf{Pool: pool, Product: s.String("product")}
	for flag, at := range map[string]*time.Time{"from": &of.From, "to": &of.To} {
		if s.IsSet(flag) {
			if *at, err = s.timeOf(flag, false); err != nil {
				return err
			}
		}
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Usage], error) {
		return c.Usage(s.context(), of, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, u apiv1.Usage) {
		var rows [][]string
		for _, h := range u.Hours {
			var denials []string
			for _, code := range slices.Sorted(maps.Keys(h.Denials)) {
				denials = append(denials, code+" "+number(h.Denials[code]))
			}
			rows = append(rows, []string{when(h.Hour), number(h.HighWater), strings.Join(denials, ", ")})
		}
		p.table([]string{"HOUR", "HIGH WATER", "DENIALS"}, rows)
	})
}
