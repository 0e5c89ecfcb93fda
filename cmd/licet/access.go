package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

// accessFlags say which role somebody gets, and how far it reaches.
func accessFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "role", Usage: "what it may do, a `ROLE`"},
		&cli.StringFlag{Name: "site", Usage: "the `SITE` of a site-operator"},
		&cli.StringFlag{Name: "instance", Usage: "the `SERIAL` number of an instance"},
		&cli.StringFlag{Name: "pools", Usage: "the pools of a client, comma-separated `LIST`"},
		&cli.StringFlag{Name: "user", Usage: "the only `USER` that a client asks for (default: any)"},
	}, more...)
}

// access reads accessFlags.
func (s *session) access() (role fsm.Role, x fsm.Scope, err error) {
	for _, flag := range []string{"role", "site", "user"} {
		if s.IsSet(flag) && s.String(flag) == "" {
			return "", x, s.usagef("--%s is empty", flag)
		}
	}
	role, x.Site, x.User = fsm.Role(s.String("role")), s.String("site"), s.String("user")
	if x.Pools, err = s.list("pools"); err != nil {
		return "", x, err
	}
	slices.Sort(x.Pools)
	if s.IsSet("instance") {
		if x.Instance, err = whole(s.String("instance"), 1, maxExact); err != nil {
			return "", x, s.usagef("--instance: %v", err)
		}
	}
	if err := fsm.CheckRole(role, x); err != nil {
		return "", x, s.usagef("--%s", strings.ReplaceAll(err.Error(), "\n", "; --"))
	}
	return role, x, nil
}

// accessText is a role with its scope as a certificate carries it, after licet-role:.
func accessText(role fsm.Role, x fsm.Scope) string {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Add(name, value)
		}
	}
	set("site", x.Site)
	set("user", x.User)
	for _, pool := range x.Pools {
		set("pool", pool)
	}
	if x.Instance != 0 {
		set("instance", strconv.FormatUint(x.Instance, 10))
	}
	if len(q) == 0 {
		return string(role)
	}
	return string(role) + "?" + q.Encode()
}

// parseAccess is the reverse; whatever accessText would not have written so is refused.
func parseAccess(text string) (role fsm.Role, x fsm.Scope, err error) {
	name, query, _ := strings.Cut(text, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		return "", x, errors.New("its role is malformed")
	}
	x = fsm.Scope{Site: q.Get("site"), User: q.Get("user"), Pools: q["pool"]}
	if q.Has("instance") {
		if x.Instance, err = strconv.ParseUint(q.Get("instance"), 10, 64); err != nil {
			return "", x, errors.New("its role is malformed")
		}
	}
	role = fsm.Role(name)
	if err := fsm.CheckRole(role, x); err != nil {
		return "", x, fmt.Errorf("its role is not one that there is (%w)", err)
	}
	if accessText(role, x) != text {
		return "", x, errors.New("its role is malformed")
	}
	return role, x, nil
}

// certified says whom the certificate of a client stands for.
func certified(c *x509.Certificate) (fsm.Principal, error) {
	is, err := transport.IdentityOf(c)
	switch {
	case err != nil:
		return fsm.Principal{}, err
	case is.Role != transport.RoleClient || is.Access == "":
		return fsm.Principal{}, api.ErrNoRole
	}
	role, scope, err := parseAccess(is.Access)
	if err != nil {
		return fsm.Principal{}, err
	}
	p := fsm.Principal{Kind: fsm.ByCertificate, ID: is.Name, Role: role, Scope: scope}
	return p, signed.CheckName("the certificate's name", p.Actor())
}
