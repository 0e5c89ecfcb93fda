package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func requestCommand(streams Streams) *cli.Command {
	note := func() cli.Flag { return &cli.StringFlag{Name: "note", Usage: "a line of `TEXT`"} }
	return group("request", "what a customer asks the vendor for",
		verb{
			name: "open", usage: "ask for more seats, or to move seats between areas", args: []string{"CONTRACT"}, run: requestOpen,
			flags: writeFlags(&cli.StringFlag{Name: "area", Usage: "the `AREA` in which seats are wanted"}, &cli.StringFlag{Name: "seats", Usage: "the `NUMBER` of seats, at least 5 unless they are moved"},
				&cli.StringFlag{Name: "from", Usage: "the `AREA` to move them from"}, note()),
			about: "It stays open until a contract revision names it in its answers, or until it is rejected or withdrawn.",
		}.command(streams),
		verb{
			name: "list", usage: "list the requests, the oldest first", run: requestList,
			flags: readFlags(&cli.StringFlag{Name: "contract", Usage: "those of `CONTRACT` only"}),
		}.command(streams),
		verb{name: "show", usage: "show a request", args: []string{"REQUEST"}, flags: readFlags(), run: requestShow}.command(streams),
		verb{name: "reject", usage: "reject an open request", args: []string{"REQUEST"}, flags: writeFlags(note()), run: requestClose("rejected")}.command(streams),
		verb{name: "withdraw", usage: "withdraw an open request", args: []string{"REQUEST"}, flags: writeFlags(note()), run: requestClose("withdrawn")}.command(streams),
	)
}

func requestOpen(s *session) error {
	if err := signed.CheckName("CONTRACT", s.args[0]); err != nil {
		return s.usagef("%v", err)
	}
	area, err := s.areaFlag()
	if err != nil {
		return err
	}
	seats, err := whole(s.String("seats"), 1, signed.MaxQuantity)
	if err != nil {
		return s.usagef("--seats: %v", err)
	}
	opening := apiv1.LicenseRequestOpening{Contract: s.args[0], Area: area, Seats: seats, From: s.String("from"), Note: s.String("note")}
	if s.IsSet("from") {
		if err := signed.CheckName("--from", opening.From); err != nil {
			return s.usagef("%v", err)
		}
	}
	return s.printRequest(change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.LicenseRequest], error) {
		return c.OpenRequest(ctx, opening)
	}))
}

// requestID reads the number of a request.
func (s *session) requestID() (uint64, error) {
	n, err := whole(s.args[0], 1, maxExact)
	if err != nil {
		return 0, s.usagef("REQUEST: %v", err)
	}
	return n, nil
}

func requestClose(as string) func(*session) error {
	return func(s *session) error {
		id, err := s.requestID()
		if err != nil {
			return err
		}
		return s.printRequest(change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.LicenseRequest], error) {
			return c.CloseRequest(ctx, id, apiv1.LicenseRequestClosing{As: as, Note: s.String("note")})
		}))
	}
}

func requestShow(s *session) error {
	id, err := s.requestID()
	if err != nil {
		return err
	}
	return s.printRequest(read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.LicenseRequest], error) {
		return c.LicenseRequest(s.context(), id, o...)
	}))
}

func (s *session) printRequest(a *client.Answer[apiv1.LicenseRequest], err error) error {
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, r apiv1.LicenseRequest) {
		closed, revision := "", ""
		if r.Closed != nil {
			closed = when(*r.Closed)
		}
		if r.Revision != 0 {
			revision = number(r.Revision)
		}
		p.fields("request", number(r.ID), "contract", r.Contract, "area", r.Area, "seats", number(r.Seats), "from", r.From, "state", r.State,
			"note", r.Note, "opened", when(r.Opened), "closed", closed, "answered by revision", revision, "answer", r.Answer)
	})
}

func requestList(s *session) error {
	contract := s.String("contract")
	if s.IsSet("contract") {
		if err := signed.CheckName("--contract", contract); err != nil {
			return s.usagef("%v", err)
		}
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.LicenseRequestList], error) {
		return pages(func(after uint64) (*client.Answer[apiv1.LicenseRequestList], error) {
			return c.LicenseRequests(s.context(), contract, client.NumberPage{After: after}, o...)
		}, func(l *apiv1.LicenseRequestList) uint64 { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.LicenseRequestList) {
		var rows [][]string
		for _, r := range list.Requests {
			rows = append(rows, []string{number(r.ID), r.Contract, r.Area, number(r.Seats), r.From, r.State, when(r.Opened)})
		}
		p.table([]string{"REQUEST", "CONTRACT", "AREA", "SEATS", "FROM", "STATE", "OPENED"}, rows)
	})
}
