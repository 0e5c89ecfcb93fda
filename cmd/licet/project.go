package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func projectCommand(streams Streams) *cli.Command {
	return group("project", "projects with a token of a pool",
		verb{name: "list", usage: "list the open projects of a pool, by name", args: []string{"POOL"}, flags: readFlags(), run: projectList}.command(streams),
		verb{
			name: "convert", usage: "switch an open project to a product of the other model", args: []string{"POOL", "PROJECT", "PRODUCT"}, run: projectConvert,
			flags: writeFlags(&cli.StringFlag{Name: "lease", Usage: "the `LEASE` of a connection to the project"}, handleFlag()),
			about: "The token is swapped at once, or not at all. To mono only with at most one connection.",
		}.command(streams),
	)
}

func projectList(s *session) error {
	pool, err := s.poolName()
	if err != nil {
		return err
	}
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.ProjectList], error) {
		return pages(func(after string) (*client.Answer[apiv1.ProjectList], error) {
			return c.Projects(s.context(), pool, after, 0, o...)
		}, func(l *apiv1.ProjectList) string { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.ProjectList) {
		var rows [][]string
		for _, x := range list.Projects {
			rows = append(rows, []string{x.Project, x.Product, number(x.Connections), when(x.Since)})
		}
		p.table([]string{"PROJECT", "PRODUCT", "CONNECTIONS", "SINCE"}, rows)
	})
}

func projectConvert(s *session) error {
	pool, err := s.poolName()
	if err != nil {
		return err
	}
	if err := signed.CheckName("PRODUCT", s.args[2]); err != nil {
		return s.usagef("%v", err)
	}
	lease, err := whole(s.String("lease"), 1, maxExact)
	if err != nil {
		return s.usagef("--lease: %v", err)
	}
	handle, err := s.handle()
	if err != nil {
		return err
	}
	to := apiv1.Conversion{Project: s.args[1], Product: s.args[2], Lease: lease, Handle: handle}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Project], error) {
		return c.ConvertProject(ctx, pool, to)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, x apiv1.Project) {
		p.fields("project", x.Project, "pool", x.Pool, "product", x.Product, "connections", number(x.Connections), "since", when(x.Since))
	})
}
