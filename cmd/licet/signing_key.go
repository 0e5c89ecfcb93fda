package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func signingKeyCommand(streams Streams) *cli.Command {
	return group("signing-key", "the key that signs license keys, borrow tokens, backups and checkpoints",
		verb{
			name: "show", usage: "tell the keys, and which members can sign with the current one", run: signingKeyShow,
			about: "`licet keys` shows the public keys.",
		}.command(streams),
		verb{
			name: "rotate", usage: "have the cluster sign with a new key", run: signingKeyRotate,
			about: "What was signed stays good, and nobody has to do anything. Members that are down get the key when they are back. Verifiers need the new\n" +
				"public key for what is signed from then on: `licet keys --out FILE`. Rotate after a node was removed whose key must not be used any more.",
		}.command(streams),
		verb{
			name: "retire", usage: "end what a former key has signed", args: []string{"KEY"}, flags: writeFlags(), run: signingKeyRetire,
			about: "The cluster refuses license keys, borrow tokens, join tokens and backups that it signed. Hand new license keys out before\n" +
				"(`licet instance key`), and take a new backup. It can't be taken back.",
		}.command(streams),
	)
}

func signingKeyShow(s *session) error {
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[apiv1.SigningKeyList], error) {
		return c.SigningKeys(s.context())
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, list apiv1.SigningKeyList) {
		var keys, members [][]string
		for _, k := range list.Keys {
			keys = append(keys, []string{k.ID, string(k.State)})
		}
		missing := false
		for _, m := range list.Members {
			can := yesNo(m.Current)
			if !m.Answers {
				can = "does not answer"
			}
			missing = missing || m.Answers && !m.Current
			members = append(members, []string{m.ID, can})
		}
		p.table([]string{"KEY", "STATE"}, keys)
		p.line("")
		p.table([]string{"NODE", "SIGNS WITH THE CURRENT KEY"}, members)
		if missing {
			p.line("\nA member lacks the current key; the leader gives it to it within seconds.\nnext: Look again. If it stays so, the leader's log says why.")
		}
	})
}

func signingKeyRotate(s *session) error {
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[apiv1.SigningKeyRotation], error) {
		return c.RotateSigningKey(s.context())
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, r apiv1.SigningKeyRotation) {
		p.line("The cluster signs with key %s now: %s.", r.Key, strings.Join(r.Reached, ", "))
		for _, m := range r.Missed {
			p.line("%s was not reached (%s); it gets the key when it is.", m.ID, clean(m.Reason))
		}
	})
}

func signingKeyRetire(s *session) error {
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.SigningKey], error) {
		return c.RetireSigningKey(ctx, s.args[0])
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, k apiv1.SigningKey) { p.line("What key %s signed is refused.", k.ID) })
}
