package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/transport"
)

// Names of the files that `licet tls init` makes beside the certificates.
const (
	caFile        = "ca.pem"
	caKeyFile     = "ca-key.pem"
	gossipKeyFile = "gossip.key"
)

// certificateNeeds says what `licet tls check` asks of certificates from elsewhere.
const certificateNeeds = "A node's certificate carries exactly one URI licet:node:ID as subject alternative name, and may carry one\n" +
	"licet-site:SITE, which binds it to node.site. Its extended key usages are serverAuth and clientAuth. A client's carries\n" +
	"licet:client:NAME and clientAuth, and may carry one licet-role:ROLE, which lets it use the API without a token. Names and addresses of hosts matter only where the API is served with it."

func tlsCommand(streams Streams) *cli.Command {
	dir := func() cli.Flag {
		return &cli.StringFlag{Name: "dir", Usage: "`DIRECTORY` of the authority and the certificates (default: here)"}
	}
	hosts := func() cli.Flag {
		return &cli.StringFlag{Name: "hosts", Usage: "host names and IP addresses for the certificates, comma-separated `LIST`; clients of the API verify them, nodes don't"}
	}
	days := func() cli.Flag {
		return &cli.StringFlag{Name: "days", Usage: "`NUMBER` of days for which the certificates are valid (default 825; the authority 3650)"}
	}
	client := func() cli.Flag {
		return &cli.BoolFlag{Name: "client", Usage: "it is a client's, not a node's"}
	}
	return group("tls", "the certificates of nodes and clients",
		verb{
			name: "init", usage: "make an authority, certificates, and the key of gossip", run: tlsInit,
			flags: []cli.Flag{
				dir(), hosts(), days(),
				&cli.StringFlag{Name: "nodes", Usage: "ids of the nodes, comma-separated `LIST`; ID@SITE binds a node to its site"},
				&cli.StringFlag{Name: "clients", Usage: "names of clients, comma-separated `LIST`"},
			},
			about: "It writes ca.pem, ca-key.pem, gossip.key, ID.pem and ID-key.pem of each node, client-NAME.pem and\n" +
				"client-NAME-key.pem of each client. Nothing is overwritten.\n" +
				"A node gets ca.pem, gossip.key, its own ID.pem and ID-key.pem. Keep ca-key.pem away from the nodes: who has it can make nodes.",
		}.command(streams),
		verb{
			name: "node", usage: "make the certificate of a further node", args: []string{"ID[@SITE]"}, flags: []cli.Flag{dir(), hosts(), days()},
			run:   func(s *session) error { return tlsIssue(s, false) },
			about: "The directory must have ca.pem and ca-key.pem. To renew a certificate, move the old files away first.",
		}.command(streams),
		verb{
			name: "client", usage: "make the certificate of a client", args: []string{"NAME"}, flags: accessFlags(dir(), days()),
			run: func(s *session) error { return tlsIssue(s, true) },
			about: "The directory must have ca.pem and ca-key.pem. A client's certificate reaches neither Raft nor the RPC between nodes.\n" +
				"With --role it is good for the API without a token, where http.client_ca names its authority.\n" + rolesHelp,
		}.command(streams),
		verb{
			name: "request", usage: "make a key, and a request that another authority can sign", args: []string{"ID[@SITE]"},
			flags: []cli.Flag{dir(), hosts(), client()}, run: tlsRequest,
			about: "It writes ID.csr and ID-key.pem. " + certificateNeeds + "\nThe request asks for all of that. `licet tls check` says whether the authority granted it.",
		}.command(streams),
		verb{
			name: "sign", usage: "sign such a request with this directory's authority", args: []string{"ID[@SITE]", "FILE"},
			flags: []cli.Flag{dir(), days(), client()}, run: tlsSign,
			about: "The id is whom you mean to certify; a request for somebody else is refused. The directory must have ca.pem and ca-key.pem.",
		}.command(streams),
		verb{
			name: "check", usage: "say whether nodes will take a certificate, and why not", args: []string{"FILE"}, run: tlsCheck,
			flags: []cli.Flag{
				&cli.StringFlag{Name: "authority", Usage: "`FILE` with the authorities that the nodes believe, tls.ca of the configuration (default: ca.pem)", Value: caFile},
				&cli.StringFlag{Name: "key", Usage: "`FILE` with its private key, to see that the two belong together"},
			},
			about: certificateNeeds + "\nIt ends with 3 if nodes will refuse the certificate.",
		}.command(streams),
	)
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

// identity reads ID or ID@SITE of a node, or the name of a client.
func (s *session) identity(text string, client bool) (transport.Identity, error) {
	if client {
		return transport.Identity{Role: transport.RoleClient, Name: text}, nil
	}
	id, site, sited := strings.Cut(text, "@")
	switch {
	case !isNodeID(id):
		return transport.Identity{}, s.usagef("%.80q is no node id (a-z, 0-9, then also -)", id)
	case sited && !isNodeID(site):
		return transport.Identity{}, s.usagef("%.80q is no site (a-z, 0-9, then also -)", site)
	}
	return transport.Identity{Role: transport.RoleNode, Name: id, Site: site}, nil
}

// pairFiles are the names of a certificate and its key.
func pairFiles(dir string, of transport.Identity) (cert, key string) {
	name := of.Name
	if of.Role == transport.RoleClient {
		name = "client-" + name
	}
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
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
	var wanted []transport.Identity
	for i, text := range slices.Concat(nodes, clients) {
		is, err := s.identity(text, i >= len(nodes))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(wanted, func(w transport.Identity) bool { return w.Role == is.Role && w.Name == is.Name }) {
			return s.usagef("--nodes: %s stands there twice", is.Name)
		}
		wanted = append(wanted, is)
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
	return s.certify(authority, wanted, func() ([]string, error) {
		if err := authority.Pair().Write(ca, caKey); err != nil {
			return nil, failf(exitInternal, "", "%v", pathError(err))
		}
		gossip := filepath.Join(dir, gossipKeyFile)
		if _, err := os.Lstat(gossip); err == nil {
			return []string{ca}, nil
		}
		return []string{ca, gossip}, makeGossipKey(gossip)
	})
}

func tlsIssue(s *session, client bool) error {
	authority, err := s.authority()
	if err != nil {
		return err
	}
	is, err := s.identity(s.args[0], client)
	if err != nil {
		return err
	}
	if client && slices.ContainsFunc([]string{"role", "site", "instance", "pools", "user"}, s.IsSet) {
		role, scope, err := s.access()
		if err != nil {
			return err
		}
		is.Access = accessText(role, scope)
	}
	return s.certify(authority, []transport.Identity{is}, func() ([]string, error) { return nil, nil })
}

func (s *session) authority() (*transport.Authority, error) {
	dir := s.String("dir")
	authority, err := transport.LoadAuthority(filepath.Join(dir, caFile), filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, usagef("Make an authority with `licet tls init`, or name its directory with --dir.", "%s: %v", s.name(), err)
	}
	return authority, nil
}

func (s *session) validity() (transport.Validity, error) {
	days := uint64(825)
	if s.IsSet("days") {
		var err error
		if days, err = whole(s.String("days"), 1, 36500); err != nil {
			return transport.Validity{}, s.usagef("--days: %v", err)
		}
	}
	return transport.Validity{For: time.Duration(days) * 24 * time.Hour}, nil
}

// certify has all certificates issued before the first file is written.
func (s *session) certify(authority *transport.Authority, wanted []transport.Identity, first func() ([]string, error)) error {
	var hosts []string
	if slices.ContainsFunc(s.Command.Flags, func(f cli.Flag) bool { return f.Names()[0] == "hosts" }) {
		var err error
		if hosts, err = s.list("hosts"); err != nil {
			return err
		}
	}
	validity, err := s.validity()
	if err != nil {
		return err
	}
	dir := s.String("dir")
	pairs := make([]transport.Pair, len(wanted))
	for i, of := range wanted {
		if of.Role == transport.RoleClient {
			pairs[i], err = authority.Issue(of, validity)
		} else {
			pairs[i], err = authority.Issue(of, validity, hosts...)
		}
		if err != nil {
			return s.usagef("%v", err)
		}
		if err := s.absent(pairFiles(dir, of)); err != nil {
			return err
		}
	}
	if err := directory(dir); err != nil {
		return err
	}
	made, err := first()
	if err != nil {
		return err
	}
	for i, of := range wanted {
		cert, key := pairFiles(dir, of)
		if err := pairs[i].Write(cert, key); err != nil {
			return failf(exitInternal, "", "%v", pathError(err))
		}
		made = append(made, cert)
	}
	return s.printFiles("certificates", made)
}

// printFiles lists what was made.
func (s *session) printFiles(what string, made []string) error {
	return s.printOwn(map[string][]string{what: made}, func(p *page) {
		for _, name := range made {
			p.line("%s", clean(name))
		}
	})
}
