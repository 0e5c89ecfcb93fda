package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func instanceCommand(streams Streams) *cli.Command {
	out := func() cli.Flag {
		return &cli.StringFlag{Name: "out", Usage: "write the license key to `FILE` (readable by you alone), replacing it"}
	}
	allocate := func() cli.Flag {
		return &cli.StringSliceFlag{Name: "allocate", Usage: "`AREA=NUMBER` of accounts; repeat it, or separate areas by commas"}
	}
	site := func() cli.Flag {
		return &cli.StringFlag{Name: "site", Usage: "the `SITE` whose site-operators may change it; an empty one takes it off"}
	}
	return group("instance", "installations that draw on a contract",
		verb{name: "create", usage: "create an instance and its license key", args: []string{"CONTRACT", "NAME"}, flags: writeFlags(allocate(), site(), out()), run: instanceCreate}.command(streams),
		verb{
			name: "list", usage: "list the instances, by serial number", run: instanceList,
			flags: readFlags(&cli.StringFlag{Name: "contract", Usage: "those of `CONTRACT` only"}),
		}.command(streams),
		verb{name: "show", usage: "show an instance", args: []string{"SERIAL"}, flags: readFlags(), run: instanceShow}.command(streams),
		verb{
			name: "resize", usage: "change the allocation of the areas that are named, or the site", args: []string{"SERIAL"}, flags: writeFlags(allocate(), site(), out()), run: instanceResize,
			about: "A reduction always succeeds. A new allocation makes a new license key; the old one is stale.",
		}.command(streams),
		verb{
			name: "remove", usage: "remove an instance for good", args: []string{"SERIAL"}, flags: writeFlags(), run: instanceRemove,
			about: "It stops, its key is dead, and what it had allocated is free at once.",
		}.command(streams),
		verb{name: "key", usage: "show the license key in force", args: []string{"SERIAL"}, flags: readFlags(out()), run: instanceKey}.command(streams),
		activateVerb().command(streams),
	)
}

func activateVerb() verb {
	return verb{
		name: "activate", usage: "activate an instance with its license key, and report active accounts", run: activate,
		flags: writeFlags(
			&cli.StringFlag{Name: "key", Usage: "the license key itself or the name of a `FILE` with it; - is the input"},
			&cli.StringSliceFlag{Name: "active", Usage: "`AREA=NUMBER` of active accounts to report; repeat it, or separate areas by commas"}),
		about: "Areas that are not reported keep what was reported last.",
	}
}

func (s *session) serial() (uint64, error) {
	n, err := whole(s.args[0], 1, maxExact)
	if err != nil {
		return 0, s.usagef("SERIAL: %v", err)
	}
	return n, nil
}

// checkSite refuses a --site that is none.
func (s *session) checkSite() error {
	if site := s.String("site"); site != "" {
		if err := signed.CheckName("--site", site); err != nil {
			return s.usagef("%v", err)
		}
	}
	return nil
}

// quantities reads a flag of the form AREA=NUMBER.
func (s *session) quantities(flag string) (apiv1.Quantities, error) {
	q := apiv1.Quantities{}
	for _, text := range strings.Split(strings.Join(s.StringSlice(flag), ","), ",") {
		if text == "" && !s.IsSet(flag) {
			break
		}
		area, count, ok := strings.Cut(text, "=")
		if !ok {
			return nil, s.usagef("--%s: %.60q is not of the form AREA=NUMBER", flag, text)
		}
		if err := signed.CheckName("area", area); err != nil {
			return nil, s.usagef("--%s: %v", flag, err)
		}
		n, err := whole(count, 0, signed.MaxQuantity)
		if err != nil {
			return nil, s.usagef("--%s: %s: %v", flag, area, err)
		}
		if _, twice := q[area]; twice {
			return nil, s.usagef("--%s: area %s stands there twice", flag, area)
		}
		q[area] = n
	}
	if len(q) == 0 && flag == "allocate" {
		return nil, s.usagef("--allocate AREA=NUMBER is missing")
	}
	return q, nil
}

func instanceCreate(s *session) error {
	for i, what := range []string{"CONTRACT", "NAME"} {
		if err := signed.CheckName(what, s.args[i]); err != nil {
			return s.usagef("%v", err)
		}
	}
	allocation, err := s.quantities("allocate")
	if err == nil {
		err = s.checkSite()
	}
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Instance], error) {
		return c.CreateInstanceFor(ctx, apiv1.InstanceCreation{Contract: s.args[0], Name: s.args[1], Allocation: allocation, Site: s.String("site")})
	})
	return s.printInstance(a, err)
}

func instanceResize(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	var wanted apiv1.InstanceChange
	if s.IsSet("site") {
		site := s.String("site")
		wanted.Site = &site
	}
	if err := s.checkSite(); err != nil {
		return err
	}
	if wanted.Site == nil || s.IsSet("allocate") {
		if wanted.Allocation, err = s.quantities("allocate"); err != nil {
			return err
		}
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Instance], error) {
		return c.ChangeInstance(ctx, serial, wanted)
	})
	return s.printInstance(a, err)
}

// printInstance shows an instance after a write, its key going to a file if --out is set.
func (s *session) printInstance(a *client.Answer[apiv1.Instance], err error) error {
	if err != nil {
		return err
	}
	file := s.String("out")
	if file != "" && a.Value.Key != "" {
		if err := replace(file, []byte(a.Value.Key+"\n"), 0o600); err != nil {
			return failf(exitInternal, fmt.Sprintf("The request itself was carried out; fetch the key with `licet instance key %d`.", a.Value.Serial), "%v", err)
		}
	}
	return printAnswer(s, a, func(p *page, x apiv1.Instance) {
		showInstance(p, x)
		switch {
		case x.Key == "":
		case file != "":
			p.line("\nThe license key is in %s.", clean(file))
		default:
			p.line("\nlicense key\n%s", clean(x.Key))
		}
	})
}

func instanceRemove(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Instance], error) {
		return c.RemoveInstance(ctx, serial)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showInstance)
}

func instanceShow(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Instance], error) {
		return c.Instance(s.context(), serial, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showInstance)
}

func instanceList(s *session) error {
	contract := s.String("contract")
	if s.IsSet("contract") {
		if err := signed.CheckName("--contract", contract); err != nil {
			return s.usagef("%v", err)
		}
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.InstanceList], error) {
		return pages(func(after uint64) (*client.Answer[apiv1.InstanceList], error) {
			return c.Instances(s.context(), client.InstancePage{Contract: contract, After: after}, o...)
		}, func(l *apiv1.InstanceList) uint64 { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.InstanceList) {
		var rows [][]string
		for _, x := range list.Instances {
			rows = append(rows, []string{number(x.Serial), x.Contract, x.Name, string(x.State), areasOf(x), number(x.KeyRevision), when(x.Ends)})
		}
		p.table([]string{"SERIAL", "CONTRACT", "NAME", "STATE", "ALLOCATED (ACTIVE)", "KEY", "ENDS"}, rows)
	})
}

func instanceKey(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.LicenseKey], error) {
		return c.InstanceKey(s.context(), serial, o...)
	})
	if err != nil {
		return err
	}
	file := s.String("out")
	if file != "" {
		if err := replace(file, []byte(a.Value.Key+"\n"), 0o600); err != nil {
			return err
		}
	}
	return printAnswer(s, a, func(p *page, k apiv1.LicenseKey) {
		if file != "" {
			p.line("The license key of instance %d, revision %d, is in %s.", k.Serial, k.Revision, clean(file))
			return
		}
		p.line("%s", clean(k.Key))
	})
}

func activate(s *session) error {
	if s.String("key") == "" {
		return s.usagef("--key is missing")
	}
	var active apiv1.Quantities
	if s.IsSet("active") {
		var err error
		if active, err = s.quantities("active"); err != nil {
			return err
		}
	}
	key, err := s.readLicenseKey("--key", s.String("key"))
	if err != nil {
		return err
	}
	if key == "" {
		return s.usagef("--key: %s is empty", s.String("key"))
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Instance], error) {
		return c.Activate(ctx, key, active)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showInstance)
}

func showInstance(p *page, x apiv1.Instance) {
	activated := ""
	if x.Activated != nil {
		activated = when(*x.Activated)
	}
	p.fields("serial", number(x.Serial), "contract", x.Contract, "name", x.Name, "site", x.Site, "state", string(x.State),
		"key revision", number(x.KeyRevision), "created", when(x.Created), "activated", activated,
		"expiry", when(x.Expiry), "grace", fmt.Sprintf("%d days", x.GraceDays), "ends", when(x.Ends))
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(x.Areas)) {
		a := x.Areas[name]
		active := ""
		if a.Active != nil {
			active = number(*a.Active)
		}
		rows = append(rows, []string{name, number(a.Allocation), active, number(a.MustRemove)})
	}
	p.line("")
	p.table([]string{"AREA", "ALLOCATION", "ACTIVE", "MUST REMOVE"}, rows)
}

// areasOf has the areas as "primary 10 (12)".
func areasOf(x apiv1.Instance) string {
	var areas []string
	for _, name := range slices.Sorted(maps.Keys(x.Areas)) {
		text := name + " " + number(x.Areas[name].Allocation)
		if active := x.Areas[name].Active; active != nil {
			text += " (" + number(*active) + ")"
		}
		areas = append(areas, text)
	}
	return strings.Join(areas, ", ")
}
