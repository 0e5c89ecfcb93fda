package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func queueCommand(streams Streams) *cli.Command {
	out := &cli.StringFlag{Name: "out", Usage: "write the secret handle, which is that of the ticket, to `FILE` (readable by you alone), replacing it"}
	return group("queue", "who waits for seats",
		verb{name: "list", usage: "list the tickets of a pool, first come first", args: []string{"POOL"}, flags: readFlags(), run: queueList}.command(streams),
		verb{name: "show", usage: "show a ticket", args: []string{"TICKET"}, flags: readFlags(), run: queueShow}.command(streams),
		verb{
			name: "wait", usage: "wait until a ticket moves or is offered seats", args: []string{"TICKET"}, run: queueWait,
			flags: readFlags(&cli.StringFlag{Name: "for", Usage: "wait up to `TIME`, whole seconds up to 60s (default 60s)"}),
			about: "To wait does not keep the ticket: `licet queue keep` does.",
		}.command(streams),
		verb{name: "keep", usage: "say that you still wait", args: []string{"TICKET"}, flags: writeFlags(handleFlag()), run: queueKeep}.command(streams),
		verb{name: "claim", usage: "turn offered seats into a lease", args: []string{"TICKET"}, flags: writeFlags(handleFlag(), out), run: queueClaim}.command(streams),
		verb{name: "leave", usage: "give a ticket up, or decline its offer", args: []string{"TICKET"}, flags: writeFlags(handleFlag()), run: queueLeave}.command(streams),
	)
}

func queueList(s *session) error {
	pool, err := s.poolName()
	if err != nil {
		return err
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.TicketList], error) {
		return pages(func(after uint64) (*client.Answer[apiv1.TicketList], error) {
			return c.Tickets(s.context(), pool, after, 0, o...)
		}, func(l *apiv1.TicketList) uint64 { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.TicketList) {
		var rows [][]string
		for _, x := range list.Tickets {
			rows = append(rows, []string{number(x.ID), positionOf(x), estimateOf(x), string(x.State), x.Product, x.User, x.Client, number(x.Count), x.Project, when(x.Ends)})
		}
		p.table([]string{"TICKET", "POSITION", "ESTIMATED WAIT", "STATE", "PRODUCT", "USER", "CLIENT", "COUNT", "PROJECT", "ENDS"}, rows)
	})
}

func positionOf(x apiv1.Ticket) string {
	if x.Position == 0 {
		return ""
	}
	return number(x.Position)
}

// estimateOf is about how long a ticket still waits, empty if nobody can say.
func estimateOf(x apiv1.Ticket) string {
	if x.EstimatedWait == 0 {
		return ""
	}
	return fmt.Sprintf("about %s", time.Duration(x.EstimatedWait)*time.Second) //nolint:gosec // G115: only shown
}

func showTicket(p *page, x apiv1.Ticket) {
	p.fields("ticket", number(x.ID), "state", string(x.State), "position", positionOf(x), "ahead", number(x.Ahead), "estimated wait", estimateOf(x), "pool", x.Pool, "product", x.Product,
		"user", x.User, "client", x.Client, "count", number(x.Count), "project", x.Project, "since", when(x.Since), "ends", when(x.Ends))
}

func queueShow(s *session) error {
	return s.readTicket(func(c *client.Client, id uint64, o []client.ReadOption) (*client.Answer[apiv1.Ticket], error) {
		return c.Ticket(s.context(), id, o...)
	})
}

func queueWait(s *session) error {
	wait := client.MaxWait
	if s.IsSet("for") {
		var err error
		if wait, err = time.ParseDuration(s.String("for")); err != nil || wait < 0 || wait > client.MaxWait || wait%time.Second != 0 {
			return s.usagef("--for: %.40q is no time of whole seconds up to %s", s.String("for"), client.MaxWait)
		}
	}
	return s.readTicket(func(c *client.Client, id uint64, o []client.ReadOption) (*client.Answer[apiv1.Ticket], error) {
		return c.WaitTicket(s.context(), id, wait, o...)
	})
}

func (s *session) readTicket(ask func(*client.Client, uint64, []client.ReadOption) (*client.Answer[apiv1.Ticket], error)) error {
	id, err := s.id("TICKET")
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Ticket], error) {
		return ask(c, id, o)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showTicket)
}

// changeTicket is a write of the ticket that the argument names, for who has its handle.
func changeTicket[T any](s *session, send func(c *client.Client, ctx context.Context, id uint64, handle string) (*client.Answer[T], error)) (*client.Answer[T], error) {
	id, err := s.id("TICKET")
	if err != nil {
		return nil, err
	}
	handle, err := s.handle()
	if err != nil {
		return nil, err
	}
	return change(s, func(ctx context.Context, c *client.Client) (*client.Answer[T], error) {
		return send(c, ctx, id, handle)
	})
}

func queueKeep(s *session) error {
	a, err := changeTicket(s, (*client.Client).KeepTicket)
	if err != nil {
		return err
	}
	return printAnswer(s, a, showTicket)
}

func queueClaim(s *session) error {
	a, err := changeTicket(s, (*client.Client).ClaimOffer)
	if err != nil {
		return err
	}
	return s.printDone(a)
}

func queueLeave(s *session) error {
	a, err := changeTicket(s, (*client.Client).LeaveQueue)
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.TicketLeft) {
		if x.Already {
			p.line("Ticket %d was gone before.", x.Ticket)
		} else {
			p.line("Ticket %d is gone.", x.Ticket)
		}
	})
}
