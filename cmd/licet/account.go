package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func accountCommand(streams Streams) *cli.Command {
	one := []string{"SERIAL", "NAME"}
	area := func() cli.Flag { return &cli.StringFlag{Name: "area", Usage: "the `AREA`"} }
	return group("account", "accounts that the cluster keeps for an instance",
		verb{
			name: "create", usage: "create an account", args: one, run: accountCreate,
			flags: writeFlags(area(), &cli.BoolFlag{Name: "blocked", Usage: "create it blocked, which takes no seat"}),
		}.command(streams),
		verb{name: "block", usage: "block an account and free its seat", args: one, flags: writeFlags(), run: accountState(apiv1.AccountStateBlocked)}.command(streams),
		verb{name: "unblock", usage: "make a blocked account active", args: one, flags: writeFlags(), run: accountState(apiv1.AccountStateActive)}.command(streams),
		verb{name: "move", usage: "move an account to another area", args: one, flags: writeFlags(area()), run: accountMove}.command(streams),
		verb{name: "delete", usage: "remove an account for good", args: one, flags: writeFlags(), run: accountDelete}.command(streams),
		verb{name: "list", usage: "list the accounts of an instance, by name", args: []string{"SERIAL"}, flags: readFlags(), run: accountList}.command(streams),
		verb{name: "show", usage: "show an account", args: one, flags: readFlags(), run: accountShow}.command(streams),
		verb{name: "totals", usage: "show maximum, active and blocked accounts by area", args: []string{"SERIAL"}, flags: readFlags(), run: accountTotals}.command(streams),
		verb{
			name: "import", usage: "create the accounts of a CSV file, all or none", args: []string{"SERIAL", "FILE"}, flags: writeFlags(), run: accountImport,
			about: "FILE has the columns name, area and, if wanted, account state (Yes or No); - is the input.",
		}.command(streams),
		verb{
			name: "export", usage: "write all accounts as CSV, with their account state", args: []string{"SERIAL"}, run: accountExport,
			flags: readFlags(&cli.StringFlag{Name: "out", Usage: "write to `FILE` (readable by you alone), replacing it"}),
		}.command(streams),
		verb{
			name: "sync", usage: "bring an instance to what a directory lists", args: []string{"SERIAL", "FILE"}, flags: writeFlags(), run: accountSync,
			about: "FILE is CSV with the columns name and area; - is the input. Accounts beyond the limit are created blocked; a later sync activates them. Accounts that are not listed stay as they are.",
		}.command(streams),
	)
}

// areaFlag reads --area, which must be there.
func (s *session) areaFlag() (string, error) {
	area := s.String("area")
	if err := signed.CheckName("--area", area); err != nil {
		return "", s.usagef("%v", err)
	}
	return area, nil
}

func accountCreate(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	area, err := s.areaFlag()
	if err != nil {
		return err
	}
	creation := apiv1.AccountCreation{Name: s.args[1], Area: area}
	if s.Bool("blocked") {
		state := apiv1.AccountStateBlocked
		creation.State = &state
	}
	return s.changeAccount(func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.AccountChanged], error) {
		return c.CreateAccount(ctx, serial, creation)
	})
}

func accountState(state apiv1.AccountState) func(*session) error {
	return func(s *session) error {
		serial, err := s.serial()
		if err != nil {
			return err
		}
		return s.changeAccount(func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.AccountChanged], error) {
			return c.ChangeAccount(ctx, serial, s.args[1], apiv1.AccountChange{State: &state})
		})
	}
}

func accountMove(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	area, err := s.areaFlag()
	if err != nil {
		return err
	}
	return s.changeAccount(func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.AccountChanged], error) {
		return c.ChangeAccount(ctx, serial, s.args[1], apiv1.AccountChange{Area: &area})
	})
}

func accountDelete(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	return s.changeAccount(func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.AccountChanged], error) {
		return c.DeleteAccount(ctx, serial, s.args[1])
	})
}

func (s *session) changeAccount(send func(context.Context, *client.Client) (*client.Answer[apiv1.AccountChanged], error)) error {
	a, err := change(s, send)
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.AccountChanged) {
		showAccount(p, x.Account, x.Deleted)
		p.line("")
		showTotals(p, map[string]apiv1.AreaTotals{x.Account.Area: x.Totals})
	})
}

func showAccount(p *page, a apiv1.Account, deleted bool) {
	state := stateOf(a)
	if deleted {
		state = "deleted"
	}
	p.fields("instance", number(a.Serial), "account", a.Name, "area", a.Area, "state", state, "created", when(a.Created), "changed", when(a.Changed))
}

func stateOf(a apiv1.Account) string {
	if a.Reason != "" {
		return string(a.State) + " (" + a.Reason + ")"
	}
	return string(a.State)
}

func showTotals(p *page, areas map[string]apiv1.AreaTotals) {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(areas)) {
		x := areas[name]
		rows = append(rows, []string{name, number(x.Maximum), number(x.Active), number(x.Blocked)})
	}
	p.table([]string{"AREA", "MAXIMUM", "ACTIVE", "BLOCKED"}, rows)
}

func accountShow(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Account], error) {
		return c.Account(s.context(), serial, s.args[1], o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Account) { showAccount(p, x, false) })
}

func accountList(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.AccountList], error) {
		return pages(func(after string) (*client.Answer[apiv1.AccountList], error) {
			return c.Accounts(s.context(), serial, client.AccountPage{After: after}, o...)
		}, func(l *apiv1.AccountList) string { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.AccountList) {
		var rows [][]string
		for _, a := range list.Accounts {
			rows = append(rows, []string{a.Name, a.Area, stateOf(a), when(a.Changed)})
		}
		p.table([]string{"NAME", "AREA", "STATE", "CHANGED"}, rows)
	})
}

func accountTotals(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	return s.showTotals(func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Totals], error) {
		return c.InstanceTotals(s.context(), serial, o...)
	})
}

func contractTotals(s *session) error {
	if err := signed.CheckName("CONTRACT", s.args[0]); err != nil {
		return s.usagef("%v", err)
	}
	return s.showTotals(func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Totals], error) {
		return c.ContractTotals(s.context(), s.args[0], o...)
	})
}

func (s *session) showTotals(ask func(*client.Client, []client.ReadOption) (*client.Answer[apiv1.Totals], error)) error {
	a, err := read(s, ask)
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Totals) { showTotals(p, x.Areas) })
}

func accountExport(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[[]byte], error) {
		return c.ExportAccounts(s.context(), serial, o...)
	})
	if err != nil {
		return err
	}
	if file := s.String("out"); file != "" {
		if err := replace(file, a.Value, 0o600); err != nil {
			return err
		}
		s.note("%d bytes are in %s", len(a.Value), file)
		return nil
	}
	return s.write(a.Value)
}

func accountImport(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	text, err := s.readFile("FILE", s.args[1], maxAccountFile)
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Imported], error) {
		if len(text) <= maxWholeFile {
			return c.ImportAccounts(ctx, serial, text)
		}
		list, err := s.readAccounts(text)
		if err != nil {
			return nil, err
		}
		staged, err := c.Stage(ctx, serial, list)
		if err != nil {
			return nil, err
		}
		return c.ImportStaged(ctx, serial, staged)
	})
	if err != nil {
		return withRows(err)
	}
	return printAnswer(s, a, func(p *page, x apiv1.Imported) {
		p.line("%d active and %d blocked accounts were created.", x.Active, x.Blocked)
	})
}

func accountSync(s *session) error {
	serial, err := s.serial()
	if err != nil {
		return err
	}
	text, err := s.readFile("FILE", s.args[1], maxAccountFile)
	if err != nil {
		return err
	}
	list, err := s.readAccounts(text)
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Synced], error) {
		if len(text) <= maxWholeFile {
			return c.SyncAccounts(ctx, serial, listedOf(list))
		}
		staged, err := c.Stage(ctx, serial, list)
		if err != nil {
			return nil, err
		}
		return c.SyncStaged(ctx, serial, staged)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Synced) { showSync(p, list, x) })
}

// showSync counts the results and names who could not be had.
func showSync(p *page, list []apiv1.StagedAccount, x apiv1.Synced) {
	counts := map[string]int{}
	var rows [][]string
	for i, result := range x.Results {
		counts[result]++
		if i < len(list) && slices.Contains([]string{"created_blocked", "still_blocked", "not_moved"}, result) {
			rows = append(rows, []string{list[i].Name, list[i].Area, result})
		}
	}
	var fields []string
	for _, result := range slices.Sorted(maps.Keys(counts)) {
		fields = append(fields, result, fmt.Sprint(counts[result]))
	}
	p.fields(fields...)
	if len(rows) > 0 {
		p.line("")
		p.table([]string{"WITHOUT A SEAT", "AREA", "RESULT"}, rows)
	}
}
