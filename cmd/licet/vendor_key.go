package main

import (
	"context"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

// statementDays is for how long a statement is good if nobody says.
const statementDays = 30

func vendorKeyCommand(streams Streams) *cli.Command {
	return group("vendor-key", "the keys whose contracts the cluster takes",
		verb{
			name: "list", usage: "list the vendors' keys, in force or revoked, the most senior first", flags: readFlags(), run: vendorKeyList,
			about: "Who comes first may revoke who comes later.",
		}.command(streams),
		verb{
			name: "apply", usage: "add, revoke or replace a key, as a vendor's statement says", args: []string{"FILE"}, flags: writeFlags(), run: vendorKeyApply,
			about: "FILE is what `licet vendor endorse` wrote; - is the input. It takes the role vendor. What a revoked key signed is refused from then\non; contracts in force that it signed go on, and `licet contract list` says so.",
		}.command(streams),
	)
}

// endorseVerb makes statements, which needs no node.
func endorseVerb() verb {
	return verb{
		name: "endorse", usage: "sign a statement that adds, revokes or replaces a vendor key", run: vendorEndorse,
		flags: []cli.Flag{
			&cli.StringFlag{Name: "key", Usage: "`FILE` with a vendor's private key that is in force"},
			&cli.StringFlag{Name: "adds", Usage: "`FILE` with the public key that is added"},
			&cli.StringFlag{Name: "name", Usage: "what the added key is called, a `NAME`"},
			&cli.StringFlag{Name: "revokes", Usage: "`ID` of the key that is revoked; with --adds, the new key takes its place"},
			&cli.StringFlag{Name: "cluster", Usage: "`ID` of the only cluster that is to take it (default: any)"},
			&cli.Uint64Flag{Name: "days", Usage: "for how many `DAYS` it is good, 1 to 366", Value: statementDays},
			&cli.StringFlag{Name: "out", Usage: "write the statement to `FILE`, replacing it, instead of the output"},
		},
		about: "A key can revoke itself and those that come after it in `licet vendor-key list`; keys that are added come last, and one that takes\n" +
			"another's place comes where that was. `licet vendor-key apply` hands the statement to a cluster.",
	}
}

func vendorEndorse(s *session) error {
	if s.String("key") == "" {
		return s.usagef("--key is missing")
	}
	secret, err := s.readFile("--key", s.String("key"), maxInput)
	if err != nil {
		return err
	}
	key, err := signed.ParsePrivateKey(secret)
	if err != nil {
		return s.usagef("--key: %s: %v", s.String("key"), err)
	}
	days := s.Uint64("days")
	if days == 0 || days > signed.MaxStatementDays {
		return s.usagef("--days: %d is not in 1 to %d", days, signed.MaxStatementDays)
	}
	now := time.Now().UTC().Truncate(time.Second)
	statement := &signed.Statement{
		Cluster: s.String("cluster"), Name: s.String("name"), Revokes: s.String("revokes"), Issued: now, Expiry: now.AddDate(0, 0, int(days)),
	}
	if s.IsSet("adds") {
		text, err := s.readFile("--adds", s.String("adds"), maxInput)
		if err != nil {
			return err
		}
		added, err := signed.ParsePublicKey(text)
		if err != nil {
			return s.usagef("--adds: %s: %v", s.String("adds"), err)
		}
		statement.Adds = hex.EncodeToString(added)
	}
	document, err := statement.Sign(key)
	if err != nil {
		return s.usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if s.IsSet("out") {
		return replace(s.String("out"), []byte(document+"\n"), 0o644)
	}
	return s.write([]byte(document + "\n"))
}

func vendorKeyApply(s *session) error {
	document, err := s.readDocument("FILE", s.args[0])
	if err != nil {
		return err
	}
	if !strings.HasPrefix(document, signed.StatementKind+".") {
		return usagef("Have the vendor make one: `licet vendor endorse`.",
			"%s: %s holds no signed statement; one starts with %q", s.name(), s.args[0], signed.StatementKind+".")
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.VendorKeyChange], error) {
		return c.ChangeVendorKeys(ctx, document)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, changed apiv1.VendorKeyChange) {
		if k := changed.Added; k != nil {
			p.line("Contracts that key %s (%s) signs are taken.", k.ID, clean(k.Name))
		}
		if k := changed.Revoked; k != nil {
			p.line("What key %s signs is refused.", k.ID)
		}
	})
}

func vendorKeyList(s *session) error {
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.VendorKeyList], error) {
		return c.VendorKeys(s.context(), o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, list apiv1.VendorKeyList) {
		var rows [][]string
		for i, k := range list.VendorKeys {
			state, since, by, with := "in force", "founding", "", ""
			if k.Added != nil {
				since, by, with = when(*k.Added), k.AddedBy, k.AddedWith
			}
			if k.Revoked != nil {
				state, since, by, with = "revoked", when(*k.Revoked), k.RevokedBy, k.RevokedWith
			}
			rows = append(rows, []string{strconv.Itoa(i + 1), k.ID, k.Name, state, since, by, with, pemLine(k.Pem)})
		}
		p.table([]string{"RANK", "ID", "NAME", "STATE", "SINCE", "BY", "SIGNED WITH", "PUBLIC KEY"}, rows)
	})
}
