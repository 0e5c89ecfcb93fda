package main

import (
	"context"
	"maps"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func auditCommand(streams Streams) *cli.Command {
	return group("audit", "what was decided, and why; a chain that shows when a row is altered",
		verb{
			name: "list", usage: "list the newest writes", run: auditList,
			flags: readFlags(
				&cli.StringFlag{Name: "limit", Usage: "`N` rows at most, 1 to 1000"},
				&cli.StringFlag{Name: "after", Usage: "those after row `N`, instead of the newest"},
				&cli.StringFlag{Name: "before", Usage: "those before row `N`"},
				&cli.StringFlag{Name: "actor", Usage: "writes of `ACTOR` only"},
				&cli.StringFlag{Name: "kind", Usage: "writes of `KIND` only, such as create_instance"},
				&cli.StringFlag{Name: "outcome", Usage: "writes with `OUTCOME` only: ok, or a code such as contract_exhausted"},
				&cli.StringFlag{Name: "request-id", Usage: "the write with request id `ID` only"}),
			about: "Rows that the cluster has forgotten come out of the files of the node that answers.",
		}.command(streams),
		verb{
			name: "show", usage: "show a write, and why it was refused if it was", args: []string{"SEQ|REQUEST-ID"}, flags: readFlags(), run: auditShow,
			about: "A whole number is that of a row, everything else a request id.",
		}.command(streams),
		auditVerifyVerb().command(streams),
		auditExportVerb().command(streams),
	)
}

func auditList(s *session) error {
	page := client.AuditPage{Actor: s.String("actor"), Kind: s.String("kind"), Outcome: s.String("outcome"), RequestID: s.String("request-id")}
	numbers := map[string]func(uint64){
		"limit":  func(n uint64) { page.Limit = int(min(n, 1<<30)) },
		"after":  func(n uint64) { page.After = &n },
		"before": func(n uint64) { page.Before = n },
	}
	for _, flag := range slices.Sorted(maps.Keys(numbers)) {
		if !s.IsSet(flag) {
			continue
		}
		least := uint64(1)
		if flag == "after" {
			least = 0
		}
		n, err := whole(s.String(flag), least, maxExact)
		if err != nil {
			return s.usagef("--%s: %v", flag, err)
		}
		numbers[flag](n)
	}
	for _, flag := range []string{"actor", "kind", "outcome", "request-id"} {
		if s.IsSet(flag) && s.String(flag) == "" {
			return s.usagef("--%s is empty", flag)
		}
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.AuditList], error) {
		return c.Audit(s.context(), page, o...)
	})
	if err != nil {
		return err
	}
	if err := printAnswer(s, a, showAuditList); err != nil {
		return err
	}
	auditNotes(s, a)
	return nil
}

// auditNotes says where rows came from, and which were not to be had.
func auditNotes(s *session, a *client.Answer[apiv1.AuditList]) {
	if len(a.Value.Rows) > 0 && a.Value.Rows[0].Source == apiv1.AuditSourceFile {
		s.note("rows before %d come out of the files of node %s", a.Value.Oldest, a.Node)
	}
	for _, m := range a.Value.Missing {
		s.note("node %s does not have the rows %d to %d; ask the others", a.Node, m.From, m.To)
	}
	if a.Value.Previous > 0 && !s.IsSet("after") {
		s.note("--before %d lists those before", a.Value.Previous)
	}
	if a.Value.Next > 0 && s.IsSet("after") {
		s.note("--after %d lists those after", a.Value.Next)
	}
}

func showAuditList(p *page, x apiv1.AuditList) {
	var rows [][]string
	for _, row := range x.Rows {
		rows = append(rows, []string{number(row.Seq), when(row.Time), row.Actor, row.Kind, string(row.Subject), row.Outcome})
	}
	p.table([]string{"ROW", "TIME", "ACTOR", "KIND", "SUBJECT", "OUTCOME"}, rows)
}

func auditShow(s *session) error {
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.AuditRow], error) {
		if seq, err := whole(s.args[0], 1, maxExact); err == nil {
			return c.AuditRow(s.context(), seq, o...)
		}
		if err := client.CheckRequestID(s.args[0]); err != nil {
			return nil, s.usagef("SEQ|REQUEST-ID: it is neither a whole number from 1 on nor a request id: %v", err)
		}
		seq, err := findRequest(s.context(), c, s.args[0], o)
		if err != nil {
			return nil, err
		}
		return c.AuditRow(s.context(), seq, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showAuditRow)
}

// findRequest looks for the newest row with a request id, page by page.
func findRequest(ctx context.Context, c *client.Client, id string, o []client.ReadOption) (uint64, error) {
	page := client.AuditPage{RequestID: id, Limit: 1}
	for {
		a, err := c.Audit(ctx, page, o...)
		switch {
		case err != nil:
			return 0, err
		case len(a.Value.Rows) > 0:
			return a.Value.Rows[0].Seq, nil
		case a.Value.Previous == 0 || page.Before != 0 && a.Value.Previous >= page.Before:
			return 0, failf(exitNotFound, "Ask the other nodes: each has the rows that the state has forgotten in files of its own.",
				"node %s knows no write with request id %s", a.Node, id)
		}
		page.Before = a.Value.Previous
	}
}

func showAuditRow(p *page, x apiv1.AuditRow) {
	p.fields("row", number(x.Seq), "time", when(x.Time), "index", number(x.Index), "actor", x.Actor, "request id", x.RequestID,
		"kind", x.Kind, "subject", string(x.Subject), "outcome", x.Outcome, "chain", x.Chain, "source", string(x.Source))
	if x.Detail == "" {
		return
	}
	p.line("")
	p.line("%s", clean(x.Detail))
	for _, name := range slices.Sorted(maps.Keys(x.Facts)) {
		p.line("  %s: %s", clean(name), clean(x.Facts[name].String()))
	}
	p.line("next: %s", clean(x.Next))
}
