package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

func clusterCommand(streams Streams) *cli.Command {
	return group("cluster", "the nodes together",
		verb{name: "members", usage: "list the members of the cluster", run: clusterMembers}.command(streams),
		verb{
			name: "transfer", usage: "move leadership to another voter", run: clusterTransfer,
			flags: []cli.Flag{&cli.StringFlag{Name: "to", Usage: "`ID` of the node that is to lead; the best that is there if it is absent: of the most preferred site, then the most up to date"}},
		}.command(streams),
		verb{
			name: "remove", usage: "remove a member that is gone for good", args: []string{"ID"}, run: clusterRemove,
			about: "Refused if too few voters that are well would be left. A node that still runs stops by itself, better let it leave with\n`licet cluster leave`. If the machine comes back, it joins with empty data and under a new id.",
		}.command(streams),
		replaceVerb().command(streams),
		verb{
			name: "join-token", usage: "make a token with which a new node can join", args: []string{"ID"}, run: clusterJoinToken,
			flags: []cli.Flag{
				&cli.StringFlag{Name: "ttl", Usage: "how long it is good, a `TIME` of 1m to 24h (default 1h)"},
				&cli.StringFlag{Name: "out", Usage: "write the token to `FILE` (readable by you alone), replacing it"},
			},
			about: "Needed where cluster.require_join_token is set; the node reads it from the file of cluster.join_token_file. It is good for the node\nof that id alone, together with its certificate.",
		}.command(streams),
		verb{
			name: "leave", usage: "have one node leave the cluster and stop", run: clusterLeave,
			about: "--endpoints must name exactly the node that is to leave.",
		}.command(streams),
		signingKeyCommand(streams),
		recoverCommand(streams),
	)
}

func clusterMembers(s *session) error {
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[apiv1.MemberList], error) {
		return c.Members(s.context())
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, list apiv1.MemberList) {
		var rows [][]string
		for _, m := range list.Members {
			rows = append(rows, []string{m.ID, m.Site, memberRole(m), yesNo(m.Healthy), optional(m.Index), contact(m.LastContactMs), clockOffset(m.ClockOffsetMs), m.Address, m.HTTP, m.Version})
		}
		p.table([]string{"ID", "SITE", "ROLE", "HEALTHY", "INDEX", "LAST CONTACT", "CLOCK", "ADDRESS", "HTTP", "VERSION"}, rows)
		found := examineMembers(list.Members)
		if len(found.wrong) > 0 {
			p.line("")
		}
		found.show(p)
	})
}

// clockOffset is how far a member's clock is from that of the node that was asked.
func clockOffset(ms *int64) string {
	if ms == nil {
		return ""
	}
	return signedMs(*ms)
}

func memberRole(m apiv1.Member) string {
	switch {
	case m.Leader:
		return "leader"
	case m.Voter:
		return "voter"
	case m.Replica:
		return "replica"
	default:
		return "non-voter"
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func optional(n *uint64) string {
	if n == nil {
		return ""
	}
	return number(*n)
}

func contact(ms *int64) string {
	if ms == nil {
		return ""
	}
	return fmt.Sprintf("%d ms", *ms)
}

// changeMembers sends a change of the cluster and says what was done.
func (s *session) changeMembers(done string, send func(*client.Client) (*client.Answer[struct{}], error)) error {
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[struct{}], error) { return send(c) })
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, _ struct{}) { p.line("%s", done) })
}

func clusterTransfer(s *session) error {
	to := s.String("to")
	if s.IsSet("to") && !isNodeID(to) {
		return s.usagef("--to: %.80q is no node id (a-z, 0-9, then also -)", to)
	}
	done := "Leadership was moved."
	if to != "" {
		done = "Leadership was moved to " + to + "."
	}
	return s.changeMembers(done, func(c *client.Client) (*client.Answer[struct{}], error) {
		return c.TransferLeadership(s.context(), to)
	})
}

func clusterRemove(s *session) error {
	id := s.args[0]
	if !isNodeID(id) {
		return s.usagef("ID: %.80q is no node id (a-z, 0-9, then also -)", id)
	}
	return s.changeMembers("Member "+id+" was removed.", func(c *client.Client) (*client.Answer[struct{}], error) {
		return c.RemoveMember(s.context(), id)
	})
}

func clusterJoinToken(s *session) error {
	id := s.args[0]
	if !isNodeID(id) {
		return s.usagef("ID: %.80q is no node id (a-z, 0-9, then also -)", id)
	}
	ttl := time.Hour
	if s.IsSet("ttl") {
		var err error
		if ttl, err = time.ParseDuration(s.String("ttl")); err != nil || ttl < time.Minute || ttl > 24*time.Hour || ttl%time.Second != 0 {
			return s.usagef("--ttl: %.40q is no time of whole seconds from 1m to 24h", s.String("ttl"))
		}
	}
	a, err := read(s, func(c *client.Client, _ []client.ReadOption) (*client.Answer[apiv1.JoinToken], error) {
		return c.CreateJoinToken(s.context(), id, ttl)
	})
	if err != nil {
		return err
	}
	file := s.String("out")
	if file == "" {
		return printAnswer(s, a, func(p *page, x apiv1.JoinToken) { p.line("%s", x.Token) })
	}
	if err := replace(file, []byte(a.Value.Token+"\n"), 0o600); err != nil {
		return err
	}
	return s.printOwn(map[string]any{"node": id, "expires": a.Value.Expires, "file": file}, func(p *page) {
		p.line("%s lets %s join until %s.", file, id, when(a.Value.Expires))
	})
}

func clusterLeave(s *session) error {
	o, err := s.clientOptions()
	if err != nil {
		return err
	}
	if n := len(o.Endpoints); n != 1 {
		return usagef("Name the node's address alone: `licet cluster leave --endpoints http://HOST:PORT`.",
			"%s: there are %d endpoints, so it is not clear which node is to leave", s.name(), n)
	}
	return s.changeMembers("The node at "+o.Endpoints[0]+" left the cluster and stops.", func(c *client.Client) (*client.Answer[struct{}], error) {
		return c.Leave(s.context())
	})
}

func isNodeID(id string) bool {
	if id == "" || len(id) > 63 || id[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-') })
}
