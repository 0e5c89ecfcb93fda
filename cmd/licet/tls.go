package main

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/transport"
)

// Names of an authority's files.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
)

func tlsCommand(streams Streams) *cli.Command {
	dir := func() cli.Flag {
		return &cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the authority and the certificates (default: here)"}
	}
	hosts := func() cli.Flag {
		return &cli.StringFlag{Name: "hosts", Usage: "host names and IP addresses for the certificates, comma-separated `LIST`; nodes themselves don't need them"}
	}
	days := func() cli.Flag {
		return &cli.StringFlag{Name: "days", Usage: "`NUMBER` of days for which the certificates are valid (default 825; the authority 3650)"}
	}
	return group("tls", "the certificates of a cluster's nodes",
		verb{
			name: "init", usage: "make an authority and certificates for nodes", run: tlsInit,
			flags: []cli.Flag{
				dir(), hosts(), days(),
				&cli.StringFlag{Name: "nodes", Usage: "ids of the nodes, comma-separated `LIST`"},
				&cli.StringFlag{Name: "clients", Usage: "names of clients, comma-separated `LIST`"},
			},
			about: "It writes ca.pem, ca-key.pem and for each node ID.pem, ID-key.pem. Nothing is overwritten.\n" +
				"Keep ca-key.pem away from the nodes: who has it can make nodes.",
		}.command(streams),
		verb{
			name: "node", usage: "make the certificate of a further node", args: []string{"ID"}, flags: []cli.Flag{dir(), hosts(), days()}, run: tlsNode,
			about: "The directory must have ca.pem and ca-key.pem.",
		}.command(streams),
	)
}

// certificate is one to be made.
type certificate struct {
	id     string
	client bool
}

func (c certificate) files(dir string) (cert, key string) {
	name := c.id
	if c.client {
		name = "client-" + name
	}
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
}

// list reads a comma-separated flag; what stands there twice is refused.
func (s *session) list(flag string) ([]string, error) {
	if !s.IsSet(flag) {
		return nil, nil
	}
	var items []string
	for _, item := range strings.Split(s.String(flag), ",") {
		item = strings.TrimSpace(item)
		switch {
		case item == "":
			return nil, s.usagef("--%s: an item is empty", flag)
		case slices.Contains(items, item):
			return nil, s.usagef("--%s: %.80q stands there twice", flag, item)
		}
		items = append(items, item)
	}
	return items, nil
}

func tlsInit(s *session) error {
	nodes, err := s.list("nodes")
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		return s.usagef("--nodes is missing")
	}
	clients, err := s.list("clients")
	if err != nil {
		return err
	}
	var wanted []certificate
	for _, id := range nodes {
		wanted = append(wanted, certificate{id: id})
	}
	for _, name := range clients {
		wanted = append(wanted, certificate{id: name, client: true})
	}
	dir := s.String("dir")
	ca, caKey := filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile)
	if err := s.absent(ca, caKey); err != nil {
		return err
	}
	authority, err := transport.NewAuthority("licet", transport.Validity{For: 3650 * 24 * time.Hour})
	if err != nil {
		return err
	}
	return s.certify(authority, wanted, func() error {
		if err := authority.Pair().Write(ca, caKey); err != nil {
			return failf(exitInternal, "", "%v", pathError(err))
		}
		return nil
	}, ca)
}

func tlsNode(s *session) error {
	dir := s.String("dir")
	authority, err := transport.LoadAuthority(filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return usagef("Make an authority with `licet tls init`, or name its directory with --dir.", "%s: %v", s.name(), err)
	}
	return s.certify(authority, []certificate{{id: s.args[0]}}, func() error { return nil })
}

// certify has all certificates issued before the first file is written.
func (s *session) certify(authority *transport.Authority, wanted []certificate, first func() error, made ...string) error {
	hosts, err := s.list("hosts")
	if err != nil {
		return err
	}
	days := uint64(825)
	if s.IsSet("days") {
		if days, err = whole(s.String("days"), 1, 36500); err != nil {
			return s.usagef("--days: %v", err)
		}
	}
	validity := transport.Validity{For: time.Duration(days) * 24 * time.Hour}
	dir := s.String("dir")
	pairs := make([]transport.Pair, len(wanted))
	for i, c := range wanted {
		switch {
		case c.client:
			pairs[i], err = authority.IssueClient(c.id, validity)
		case isNodeID(c.id):
			pairs[i], err = authority.IssueNode(c.id, validity, hosts...)
		default:
			return s.usagef("%.80q is no node id (a-z, 0-9, then also -)", c.id)
		}
		if err != nil {
			return s.usagef("%v", err)
		}
		cert, key := c.files(dir)
		if err := s.absent(cert, key); err != nil {
			return err
		}
	}
	if err := directory(dir); err != nil {
		return err
	}
	if err := first(); err != nil {
		return err
	}
	for i, c := range wanted {
		cert, key := c.files(dir)
		if err := pairs[i].Write(cert, key); err != nil {
			return failf(exitInternal, "", "%v", pathError(err))
		}
		made = append(made, cert)
	}
	files := struct {
		Certificates []string `json:"certificates"`
	}{made}
	return s.printOwn(files, func(p *page) {
		for _, name := range made {
			p.line("%s", clean(name))
		}
	})
}
