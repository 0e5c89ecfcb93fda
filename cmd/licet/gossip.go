package main

import (
	"crypto/rand"
	"encoding/base64"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/transport"
)

func gossipCommand(streams Streams) *cli.Command {
	return group("gossip", "how nodes find each other",
		group("key", "the key that encrypts gossip",
			verb{
				name: "make", usage: "make the first key, for gossip.key_file of every node", args: []string{"FILE"}, run: gossipKeyMake,
				about: "`licet tls init` makes one too. It never overwrites a file.",
			}.command(streams),
			verb{
				name: "show", usage: "tell which key each member has", run: gossipKeyShow,
				about: "Keys are told by the beginnings of their hashes.",
			}.command(streams),
			verb{
				name: "rotate", usage: "have all members use a new key and forget the old one", run: gossipKeyRotate,
				about: "No node is restarted, and gossip goes on. Nodes that are down get the key when they are back. It is safe to repeat:\n" +
					"a rotation that stopped is carried on. Rotate after a node was removed whose key must not be used any more.",
			}.command(streams),
		),
	)
}

func gossipKeyMake(s *session) error {
	file := s.args[0]
	if err := s.absent(file); err != nil {
		return err
	}
	if err := directory(filepath.Dir(file)); err != nil {
		return err
	}
	if err := makeGossipKey(file); err != nil {
		return err
	}
	return s.printFiles("files", []string{file})
}

// makeGossipKey writes a new key where nothing is.
func makeGossipKey(file string) error {
	key := make([]byte, 32)
	rand.Read(key)
	if err := transport.WriteSecret(file, []byte(base64.StdEncoding.EncodeToString(key)+"\n")); err != nil {
		return failf(exitInternal, "", "%v", pathError(err))
	}
	return nil
}

func gossipKeyShow(s *session) error {
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[apiv1.GossipKeyList], error) {
		return c.GossipKeys(s.context())
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, list apiv1.GossipKeyList) {
		var rows [][]string
		for _, m := range list.Members {
			key := orNone(m.Key, "none")
			if !m.Answers {
				key = "does not answer"
			}
			rows = append(rows, []string{m.ID, key, m.Other, number(m.Generation)})
		}
		p.table([]string{"NODE", "KEY", "ALSO ACCEPTS", "GENERATION"}, rows)
		p.line("\n%s", gossipKeysSummary(list.Members))
	})
}

// gossipKeysSummary says what is wrong, and what to do.
func gossipKeysSummary(members []apiv1.MemberGossipKey) string {
	keys, under := map[string]bool{}, false
	for _, m := range members {
		if m.Answers {
			keys[m.Key] = true
			under = under || m.Other != ""
		}
	}
	switch {
	case keys[""] && len(keys) == 1:
		return "Gossip is not encrypted.\nnext: Make a key with `licet gossip key make`, name it as gossip.key_file on every node, and restart them one after the other."
	case keys[""]:
		return "Some nodes do not encrypt gossip.\nnext: Name gossip.key_file on those, and restart them one after the other."
	case under:
		return "A rotation is under way, or has stopped.\nnext: `licet gossip key rotate` carries it on."
	case len(keys) > 1:
		return "The keys differ; the leader brings them in line within seconds.\nnext: Look again. If it stays so, the leader's log says why."
	}
	return "All members that answer have the same key."
}

func gossipKeyRotate(s *session) error {
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[apiv1.GossipKeyRotation], error) {
		return c.RotateGossipKey(s.context())
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, r apiv1.GossipKeyRotation) {
		p.line("Gossip is encrypted with key %s now: %s.", r.Key, strings.Join(r.Reached, ", "))
		for _, m := range r.Missed {
			p.line("%s was not reached (%s); it gets the key when it is.", m.ID, clean(m.Reason))
		}
	})
}
