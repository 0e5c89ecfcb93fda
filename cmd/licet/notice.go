package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func noticeCommand(streams Streams) *cli.Command {
	return group("notice", "who was told that a limit stopped somebody",
		verb{name: "list", usage: "list the notices, the oldest first", flags: readFlags(), run: noticeList}.command(streams),
	)
}

func noticeList(s *session) error {
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.NoticeList], error) {
		return pages(func(after uint64) (*client.Answer[apiv1.NoticeList], error) {
			return c.Notices(s.context(), client.NumberPage{After: after}, o...)
		}, func(l *apiv1.NoticeList) uint64 { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.NoticeList) {
		var rows [][]string
		for _, n := range list.Notices {
			rows = append(rows, []string{number(n.ID), when(n.Time), n.Contract, n.Address, n.Instance, n.Area, n.Kind, number(n.Active) + "/" + number(n.Allocation), number(n.Blocked)})
		}
		p.table([]string{"NOTICE", "TIME", "CONTRACT", "TO", "INSTANCE", "AREA", "KIND", "ACTIVE", "BLOCKED"}, rows)
	})
}

func responsibleVerb() verb {
	return verb{
		name: "responsible", usage: "change the address that is told when a limit stops somebody", args: []string{"CONTRACT"}, run: contractResponsible,
		flags: writeFlags(&cli.StringFlag{Name: "set", Usage: "the `ADDRESS`"}, &cli.BoolFlag{Name: "own", Usage: "the contract's own address again"}),
		about: "Without --set or --own it shows the address.",
	}
}

func contractResponsible(s *session) error {
	if err := signed.CheckName("CONTRACT", s.args[0]); err != nil {
		return s.usagef("%v", err)
	}
	address := s.String("set")
	if s.IsSet("set") {
		if err := signed.CheckEmail("--set", address); err != nil {
			return s.usagef("%v", err)
		}
		if s.Bool("own") {
			return s.usagef("--set and --own exclude each other")
		}
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Responsible], error) {
		switch {
		case address != "":
			return c.SetResponsible(ctx, s.args[0], address)
		case s.Bool("own"):
			return c.ResetResponsible(ctx, s.args[0])
		}
		return c.Responsible(ctx, s.args[0])
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, r apiv1.Responsible) {
		whose := "the contract's own"
		if r.Overridden {
			whose = "set by an operator"
		}
		p.fields("contract", r.Contract, "address", r.Address)
		p.line("It is %s.", whose)
	})
}
