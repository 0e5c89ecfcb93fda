package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

// maxPatience is the longest time that licet checkout --wait takes.
const maxPatience = 7 * 24 * time.Hour

func askFlags() []cli.Flag {
	return append(seatFlags(), &cli.StringFlag{Name: "borrow-days", Usage: "borrow for `N` days"})
}

// seatFlags are those of a checkout that is no borrow.
func seatFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "user", Usage: "who uses the seats, `USER`; an e-mail address where restrictions name such"},
		&cli.StringFlag{Name: "client", Usage: "the host or device, `NAME`"},
		&cli.StringFlag{Name: "count", Usage: "`N` seats, all or none (default 1)"},
		&cli.StringFlag{Name: "ttl", Usage: "`SECONDS` (default: the pool's)"},
		&cli.StringFlag{Name: "project", Usage: "the `PROJECT` that connects, for mono and team tokens"},
		&cli.StringFlag{Name: "groups", Usage: "the `GROUPS` that the user is in, comma-separated"},
	}
}

func checkoutCommand(streams Streams) *cli.Command {
	return verb{
		name: "checkout", usage: "take seats of a product in a pool, or queue for them", args: []string{"POOL", "PRODUCT"}, run: checkout,
		flags: writeFlags(append(askFlags(),
			&cli.BoolFlag{Name: "queue", Usage: "queue if there are no seats"},
			&cli.StringFlag{Name: "wait", Usage: "queue, wait up to `TIME` (such as 10m) for an offer, and claim it"},
			&cli.StringFlag{Name: "out", Usage: "write the secret handle, or a borrow's token, to `FILE` (readable by you alone), replacing it"})...),
		about: "The answer has a secret handle, without which nobody but an operator can renew or return the lease.\n" +
			"Exit code 7 says that there is a ticket in the queue, and no lease yet.",
	}.command(streams)
}

func explainCommand(streams Streams) *cli.Command {
	return verb{
		name: "explain", usage: "walk all conditions of a checkout and say what comes of each", args: []string{"POOL", "PRODUCT"}, run: explain,
		flags: readFlags(askFlags()...), about: "Nothing is changed. The first condition that fails is what a checkout would be denied for.",
	}.command(streams)
}

// ask reads a checkout from arguments and flags.
func (s *session) ask() (ask apiv1.Checkout, err error) {
	for i, what := range []string{"POOL", "PRODUCT"} {
		if err := signed.CheckName(what, s.args[i]); err != nil {
			return ask, s.usagef("%v", err)
		}
	}
	ask = apiv1.Checkout{Pool: s.args[0], Product: s.args[1], User: s.String("user"), Client: s.String("client"), Project: s.String("project")}
	for _, flag := range []string{"user", "client"} {
		if s.String(flag) == "" {
			return ask, s.usagef("--%s is missing", flag)
		}
	}
	numbers := map[string]uint64{"count": signed.MaxQuantity, "ttl": 30 * 24 * 3600, "borrow-days": 3650}
	for flag, most := range numbers {
		numbers[flag] = 0
		if s.IsSet(flag) {
			if numbers[flag], err = whole(s.String(flag), 1, most); err != nil {
				return ask, s.usagef("--%s: %v", flag, err)
			}
		}
	}
	ask.Count, ask.TTL, ask.BorrowDays = numbers["count"], uint32(numbers["ttl"]), uint32(numbers["borrow-days"]) //nolint:gosec // G115: it was held to its bounds when it was read
	if s.IsSet("groups") {
		ask.Groups = strings.Split(s.String("groups"), ",")
	}
	return ask, nil
}

func checkout(s *session) error {
	ask, err := s.ask()
	if err != nil {
		return err
	}
	var patience time.Duration
	if s.IsSet("wait") {
		if patience, err = s.patience(); err != nil {
			return err
		}
	}
	ask.Queue = s.Bool("queue") || patience > 0
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.CheckoutDone], error) {
		a, err := c.Checkout(ctx, ask)
		if err != nil || a.Value.Ticket == nil || patience == 0 || a.DryRun {
			return a, err
		}
		return s.waitAndClaim(c, a, patience)
	})
	if err != nil {
		return err
	}
	return s.printDone(a)
}

// patience is how long to wait for a seat.
func (s *session) patience() (time.Duration, error) {
	patience, err := time.ParseDuration(s.String("wait"))
	if err != nil || patience <= 0 || patience > maxPatience {
		return 0, s.usagef("--wait: %.40q is no time above 0 and up to %s, such as 30s or 10m", s.String("wait"), maxPatience)
	}
	return patience, nil
}

// waitAndClaim keeps a ticket until its seats are offered, and claims them. When the time is up, the
// answer is that of before.
func (s *session) waitAndClaim(c *client.Client, a *client.Answer[apiv1.CheckoutDone], patience time.Duration) (*client.Answer[apiv1.CheckoutDone], error) {
	ctx, cancel := context.WithTimeout(s.context(), patience)
	defer cancel()
	done, err := c.Await(ctx, *a.Value.Ticket)
	if err != nil && ctx.Err() != nil && s.context().Err() == nil {
		return a, nil // that the time is up is no error: the ticket is there
	}
	return done, err
}

// secretOf is the secret that came with a lease or ticket, and what it is.
func secretOf(x apiv1.CheckoutDone) (secret, what string) {
	switch {
	case x.Lease != nil && x.Lease.Borrow:
		return x.Lease.Token, "token"
	case x.Lease != nil:
		return x.Lease.Handle, "handle"
	case x.Ticket != nil:
		return x.Ticket.Handle, "handle"
	}
	return "", ""
}

// printDone shows what a checkout came to, its secrets going to a file if --out is set.
func (s *session) printDone(a *client.Answer[apiv1.CheckoutDone]) error {
	secret, what := secretOf(a.Value)
	file := s.String("out")
	if file != "" && secret != "" {
		if err := replace(file, []byte(secret+"\n"), 0o600); err != nil {
			return failf(exitInternal, "Run the same command again with --request-id "+a.RequestID+": its answer has the "+what+" again.", "%v", err)
		}
	}
	err := printAnswer(s, a, func(p *page, x apiv1.CheckoutDone) {
		if x.Lease != nil {
			showLease(p, *x.Lease)
		} else if x.Ticket != nil {
			showTicket(p, *x.Ticket)
		}
		switch {
		case secret == "":
		case file != "":
			p.line("\nThe %s is in %s.", what, clean(file))
		default:
			p.line("\n%s\n%s", what, clean(secret))
		}
	})
	if t := a.Value.Ticket; err == nil && t != nil && t.State == apiv1.TicketStateWaiting && !a.DryRun {
		return failf(exitQueued, fmt.Sprintf("Wait with `licet queue wait %d`, and claim the seats with `licet queue claim %d`.", t.ID, t.ID),
			"there are no seats yet: ticket %d waits, %d ahead of it%s", t.ID, t.Ahead, clause(estimateOf(*t)))
	}
	return err
}

// clause appends what is known.
func clause(text string) string {
	if text == "" {
		return ""
	}
	return ", " + text
}

func explain(s *session) error {
	ask, err := s.ask()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Explanation], error) {
		return c.Explain(s.context(), ask, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Explanation) {
		rows := make([][]string, len(x.Conditions))
		for i, c := range x.Conditions {
			rows[i] = []string{c.Name, strings.ReplaceAll(string(c.Outcome), "_", " "), string(c.Code), c.Detail}
		}
		p.table([]string{"CONDITION", "OUTCOME", "CODE", "WHY"}, rows)
		if x.Granted {
			p.line("\nThe checkout would be granted.")
		} else {
			p.line("\nThe checkout would be denied.")
		}
	})
}
