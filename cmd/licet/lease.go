package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func leaseCommand(streams Streams) *cli.Command {
	return group("lease", "seats that are out",
		verb{
			name: "list", usage: "list the leases, by id", run: leaseList,
			flags: readFlags(&cli.StringFlag{Name: "pool", Usage: "those of `POOL` only"}, &cli.StringFlag{Name: "user", Usage: "those of `USER` only"},
				&cli.StringFlag{Name: "project", Usage: "the connections to `PROJECT` only"}),
		}.command(streams),
		verb{name: "show", usage: "show a lease", args: []string{"LEASE"}, flags: readFlags(), run: leaseShow}.command(streams),
		verb{
			name: "renew", usage: "renew a lease", args: []string{"LEASE"}, run: leaseRenew,
			flags: writeFlags(handleFlag(), &cli.StringFlag{Name: "ttl", Usage: "`SECONDS` (default: as before)"}),
		}.command(streams),
		verb{name: "return", usage: "check a lease in", args: []string{"LEASE"}, flags: writeFlags(handleFlag()), run: leaseReturn}.command(streams),
		verb{
			name: "revoke", usage: "end a lease, whoever holds it", args: []string{"LEASE"}, run: leaseRevoke,
			flags: writeFlags(&cli.StringFlag{Name: "reason", Usage: "why, for the audit trail: `TEXT`"}),
		}.command(streams),
	)
}

func borrowCommand(streams Streams) *cli.Command {
	return group("borrow", "seats that are borrowed for days",
		verb{
			name: "return", usage: "return a borrow early", args: []string{"TOKEN"}, flags: writeFlags(), run: borrowReturn,
			about: "TOKEN is the borrow's token itself or the name of a file with it; - is the input.",
		}.command(streams),
	)
}

// handleFlag names a file, as other users of a machine can see arguments.
func handleFlag() cli.Flag {
	return &cli.StringFlag{Name: "handle-file", Usage: "`FILE` with the secret handle that came with it; - is the input (LICET_HANDLE has the handle itself)"}
}

func (s *session) handle() (string, error) {
	if !s.IsSet("handle-file") {
		if handle := s.Getenv("LICET_HANDLE"); handle != "" {
			return handle, nil
		}
		return "", s.usagef("--handle-file is missing")
	}
	text, err := s.readFile("--handle-file", s.String("handle-file"), 4<<10)
	if err != nil {
		return "", err
	}
	if handle := strings.TrimSpace(string(text)); handle != "" {
		return handle, nil
	}
	return "", s.usagef("--handle-file: %s is empty", s.String("handle-file"))
}

// id reads the number that the first argument is.
func (s *session) id(what string) (uint64, error) {
	n, err := whole(s.args[0], 1, maxExact)
	if err != nil {
		return 0, s.usagef("%s: %v", what, err)
	}
	return n, nil
}

func leaseList(s *session) error {
	page := client.LeasePage{Pool: s.String("pool"), User: s.String("user"), Project: s.String("project")}
	for _, flag := range []string{"pool", "user", "project"} {
		if s.IsSet(flag) && s.String(flag) == "" {
			return s.usagef("--%s is empty", flag)
		}
	}
	if page.Pool != "" {
		if err := signed.CheckName("--pool", page.Pool); err != nil {
			return s.usagef("%v", err)
		}
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.LeaseList], error) {
		return pages(func(after uint64) (*client.Answer[apiv1.LeaseList], error) {
			page.After = after
			return c.Leases(s.context(), page, o...)
		}, func(l *apiv1.LeaseList) uint64 { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, showLeases)
}

func showLeases(p *page, list apiv1.LeaseList) {
	var rows [][]string
	for _, x := range list.Leases {
		rows = append(rows, []string{number(x.ID), x.Pool, x.Product, x.User, x.Client, number(x.Count), x.Project, leaseState(x), when(x.Since), when(x.Ends)})
	}
	p.table([]string{"LEASE", "POOL", "PRODUCT", "USER", "CLIENT", "COUNT", "PROJECT", "STATE", "SINCE", "ENDS"}, rows)
}

func leaseState(x apiv1.Lease) string {
	switch {
	case x.Borrow:
		return "borrowed"
	case x.Lingering:
		return "lingering"
	default:
		return "in use"
	}
}

func showLease(p *page, x apiv1.Lease) {
	ttl, reserved := "", ""
	if x.TTL != 0 {
		ttl = number(uint64(x.TTL)) + " s"
	}
	if x.Reserved != 0 {
		reserved = number(x.Reserved) + " of " + x.Reservation
	}
	p.fields("lease", number(x.ID), "state", leaseState(x), "pool", x.Pool, "product", x.Product, "user", x.User, "client", x.Client,
		"count", number(x.Count), "reserved", reserved, "project", x.Project, "since", when(x.Since), "ttl", ttl, "renewals", number(x.Renewals), "ends", when(x.Ends))
}

func leaseShow(s *session) error {
	id, err := s.id("LEASE")
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Lease], error) {
		return c.Lease(s.context(), id, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showLease)
}

func leaseRenew(s *session) error {
	id, err := s.id("LEASE")
	if err != nil {
		return err
	}
	ttl := uint64(0)
	if s.IsSet("ttl") {
		if ttl, err = whole(s.String("ttl"), 1, 30*24*3600); err != nil {
			return s.usagef("--ttl: %v", err)
		}
	}
	handle, err := s.handle()
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Renewed], error) {
		return c.Renew(ctx, id, handle, uint32(ttl)) //nolint:gosec // G115: it was held to its bounds when it was read
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Renewed) {
		p.fields("lease", number(x.Lease), "ttl", number(uint64(x.TTL))+" s", "renewals", number(x.Renewals), "ends", when(x.Ends))
	})
}

func leaseReturn(s *session) error {
	id, err := s.id("LEASE")
	if err != nil {
		return err
	}
	handle, err := s.handle()
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.LeaseEnded], error) {
		return c.Return(ctx, id, handle)
	})
	return s.printEnded(a, err)
}

func leaseRevoke(s *session) error {
	id, err := s.id("LEASE")
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.LeaseEnded], error) {
		return c.Revoke(ctx, id, s.String("reason"))
	})
	return s.printEnded(a, err)
}

func borrowReturn(s *session) error {
	token, err := s.readSigned("TOKEN", s.args[0])
	if err != nil {
		return err
	}
	if token == "" {
		return s.usagef("TOKEN: %s is empty", s.args[0])
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.LeaseEnded], error) {
		return c.ReturnBorrow(ctx, token)
	})
	return s.printEnded(a, err)
}

func (s *session) printEnded(a *client.Answer[apiv1.LeaseEnded], err error) error {
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.LeaseEnded) {
		switch {
		case a.DryRun:
			p.line("Lease %d would end.", x.Lease)
		case x.Already:
			p.line("Lease %d had ended before.", x.Lease)
		default:
			p.line("Lease %d has ended.", x.Lease)
		}
	})
}
