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

const rolesHelp = `The roles are:
  operator       everything but contracts, which are the vendor's
  site-operator  the instances and pools of --site
  auditor        reads everything, changes nothing
  instance       the accounts and the activation of the --instance
  client         seats of the --pools, for the --user or any
  vendor         loads contracts, answers license requests
docs/roles.md has the whole table.`

func tokenCommand(streams Streams) *cli.Command {
	out := func() cli.Flag {
		return &cli.StringFlag{Name: "out", Usage: "write the token to `FILE` (readable by you alone), replacing it, instead of showing it"}
	}
	return group("token", "API tokens: who may do what",
		verb{
			name: "bootstrap", usage: "make the first operator's token, once", run: tokenBootstrap,
			flags: writeFlags(&cli.StringFlag{Name: "name", Usage: "what the token is called, a `NAME` (default bootstrap)"}, out()),
			about: "It takes the token of a node's configuration (auth.operator_token_file) or an operator's certificate. It is refused\nonce an operator has a token that does not expire; one of those always stays.",
		}.command(streams),
		verb{
			name: "create", usage: "make a token", args: []string{"NAME"}, run: tokenCreate,
			flags: writeFlags(accessFlags(
				&cli.StringFlag{Name: "expires", Usage: "when it ends, a `TIME` (2026-12-31T18:00:00Z, or 2026-12-31 for the end of that day; default: never)"},
				&cli.Uint64Flag{Name: "max-leases", Usage: "how many leases the role client has at a time, `N`; 0 is no limit (default 10,000)", DefaultText: ""},
				&cli.Uint64Flag{Name: "max-tickets", Usage: "how many tickets the role client has at a time, `N`; 0 is no limit (default 1,000)", DefaultText: ""},
				out())...),
			about: rolesHelp + "\nThe token is shown once: the cluster keeps a hash of it. Give it to licet by LICET_TOKEN, LICET_TOKEN_FILE or --token-file.",
		}.command(streams),
		verb{name: "list", usage: "list the tokens, by number", flags: readFlags(), run: tokenList}.command(streams),
		verb{
			name: "show", usage: "show a token", args: []string{"TOKEN"}, flags: readFlags(), run: tokenShow,
		}.command(streams),
		verb{name: "self", usage: "show whom the cluster takes you for, and what you may do", flags: readFlags(), run: tokenSelf}.command(streams),
		verb{
			name: "revoke", usage: "revoke a token", args: []string{"TOKEN"}, flags: writeFlags(), run: tokenRevoke,
			about: "Nodes refuse it from then on. The last token of an operator that does not expire stays.",
		}.command(streams),
	)
}

func tokenBootstrap(s *session) error {
	if s.IsSet("name") {
		if err := signed.CheckName("--name", s.String("name")); err != nil {
			return s.usagef("%v", err)
		}
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Token], error) {
		return c.BootstrapTokens(ctx, s.String("name"))
	})
	return s.printToken(a, err)
}

func tokenCreate(s *session) error {
	if err := signed.CheckName("NAME", s.args[0]); err != nil {
		return s.usagef("%v", err)
	}
	if !s.IsSet("role") {
		return s.usagef("--role is missing")
	}
	role, scope, err := s.access()
	if err != nil {
		return err
	}
	wanted := apiv1.TokenCreation{
		Name: s.args[0], Role: apiv1.AccessRole(role), Site: scope.Site, Instance: scope.Instance, Pools: scope.Pools, User: scope.User,
	}
	for flag, limit := range map[string]**uint64{"max-leases": &wanted.MaxLeases, "max-tickets": &wanted.MaxTickets} {
		if s.IsSet(flag) {
			n := s.Uint64(flag)
			*limit = &n
		}
	}
	if s.IsSet("expires") {
		until, err := s.timeOf("expires", true)
		if err != nil {
			return err
		}
		wanted.Expires = &until
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Token], error) {
		return c.CreateToken(ctx, wanted)
	})
	return s.printToken(a, err)
}

// printToken shows a token that was made: its secret once, in a file if --out is set.
func (s *session) printToken(a *client.Answer[apiv1.Token], err error) error {
	if err != nil {
		return err
	}
	file := s.String("out")
	if file != "" && a.Value.Token != "" {
		if err := replace(file, []byte(a.Value.Token+"\n"), 0o600); err != nil {
			return failf(exitInternal, fmt.Sprintf("The token was made, and nobody has it. Revoke it with `licet token revoke %d`, and make another one.", a.Value.ID), "%v", err)
		}
		shown := a.Value
		shown.Token = ""
		return s.printOwn(map[string]any{"token": shown, "file": file}, func(p *page) {
			showToken(p, shown)
			p.line("\nThe token is in %s.", clean(file))
		})
	}
	return printAnswer(s, a, func(p *page, x apiv1.Token) {
		showToken(p, x)
		if x.Token != "" {
			p.line("\ntoken (shown this once)\n%s", clean(x.Token))
		}
	})
}

func tokenList(s *session) error {
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.TokenList], error) {
		return pages(func(after uint64) (*client.Answer[apiv1.TokenList], error) {
			return c.Tokens(s.context(), client.NumberPage{After: after}, o...)
		}, func(l *apiv1.TokenList) uint64 { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.TokenList) {
		var rows [][]string
		for _, x := range list.Tokens {
			rows = append(rows, []string{
				number(x.ID), x.Name, string(x.Role), scopeText(x.Site, x.Instance, x.Pools, x.User), string(x.State), when(x.Created), moment(x.Expires, "never"), moment(x.Used, "not yet"),
			})
		}
		p.table([]string{"TOKEN", "NAME", "ROLE", "SCOPE", "STATE", "CREATED", "EXPIRES", "USED"}, rows)
	})
}

func tokenShow(s *session) error {
	id, err := s.tokenNumber()
	if err != nil {
		return err
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Token], error) {
		return c.Token(s.context(), id, o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showToken)
}

func tokenSelf(s *session) error {
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Principal], error) {
		return c.Principal(s.context(), o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Principal) {
		p.fields("actor", x.Actor, "proved by", string(x.Kind), "role", x.Role, "scope", scopeText(x.Site, x.Instance, x.Pools, x.User))
		if x.Issuer != "" {
			p.fields("issuer", x.Issuer, "subject", x.Subject)
		}
		if x.Token != nil {
			p.line("")
			showToken(p, *x.Token)
		}
	})
}

func tokenRevoke(s *session) error {
	id, err := s.tokenNumber()
	if err != nil {
		return err
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Token], error) {
		return c.RevokeToken(ctx, id)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Token) {
		p.line("Token %d (%s, %s) is revoked.", x.ID, clean(x.Name), clean(string(x.Role)))
	})
}

// tokenNumber reads the number of a token. The token itself does not belong there, and is not repeated.
func (s *session) tokenNumber() (uint64, error) {
	if strings.HasPrefix(s.args[0], "licet_") {
		return 0, s.usagef("TOKEN: it is the number of a token, not the token, which other users of this machine can see now: revoke it")
	}
	n, err := whole(s.args[0], 1, maxExact)
	if err != nil {
		return 0, s.usagef("TOKEN: %v", err)
	}
	return n, nil
}

func showToken(p *page, x apiv1.Token) {
	p.fields("token", number(x.ID), "name", x.Name, "role", string(x.Role), "scope", scopeText(x.Site, x.Instance, x.Pools, x.User),
		"state", string(x.State), "created", when(x.Created), "expires", moment(x.Expires, "never"), "used", moment(x.Used, "not yet"))
	for _, limit := range []struct {
		name      string
		has, most uint64
	}{{"leases", x.Leases, x.MaxLeases}, {"tickets", x.Tickets, x.MaxTickets}} {
		if limit.most != 0 {
			p.fields(limit.name, number(limit.has)+" of "+number(limit.most))
		}
	}
}

func moment(at *time.Time, none string) string {
	if at == nil {
		return none
	}
	return when(*at)
}

// scopeText says what a role reaches, empty if that has no bounds.
func scopeText(site string, instance uint64, pools []string, user string) string {
	var parts []string
	for _, x := range []struct{ name, value string }{{"site", site}, {"pools", strings.Join(pools, ",")}, {"user", user}} {
		if x.value != "" {
			parts = append(parts, x.name+" "+x.value)
		}
	}
	if instance != 0 {
		parts = append(parts, "instance "+number(instance))
	}
	return strings.Join(parts, ", ")
}
