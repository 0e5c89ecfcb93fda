package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/config"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/issuer"
)

// issuedTokens verifies tokens of the issuer that the configuration names; nil if it names none. It does not ask the issuer.
func issuedTokens(c config.OIDC, log hclog.Logger) (func(context.Context, string) (fsm.Principal, error), error) {
	if c.Issuer == "" {
		return nil, nil
	}
	o, err := issuerOptions(c)
	if err != nil {
		return nil, err
	}
	o.Log = log
	i, err := issuer.New(o)
	if err != nil {
		return nil, err
	}
	return i.Principal, nil
}

// issuerOptions reads what the configuration only names, and what it does not understand.
func issuerOptions(c config.OIDC) (issuer.Options, error) {
	o := issuer.Options{Name: c.Issuer, Audience: c.Audience, Claim: c.GroupClaim}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return o, fmt.Errorf("oidc.ca: %w", err)
		}
		o.Authorities = x509.NewCertPool()
		if !o.Authorities.AppendCertsFromPEM(text) {
			return o, fmt.Errorf("oidc.ca: %s holds no certificate in PEM", c.CA)
		}
	}
	for _, text := range c.Roles {
		r, err := parseGrant(text)
		if err != nil {
			return o, fmt.Errorf("oidc.roles: %q: %w", text, err)
		}
		o.Roles = append(o.Roles, r)
	}
	return o, nil
}

// parseGrant reads ROLE GROUP, with a scope behind the role as certificates carry it, or with user_claim.
func parseGrant(text string) (issuer.Role, error) {
	access, group, _ := strings.Cut(text, " ")
	name, query, _ := strings.Cut(access, "?")
	q, err := url.ParseQuery(query)
	if err != nil {
		return issuer.Role{}, errors.New("its scope is malformed; site=, instance=, pool=, user= and user_claim= are joined by &")
	}
	claims := q["user_claim"]
	q.Del("user_claim")
	if len(q) > 0 {
		name += "?" + q.Encode()
	}
	role, scope, err := parseAccess(name)
	switch {
	case err != nil:
		return issuer.Role{}, err
	case len(claims) > 1, len(claims) == 1 && (claims[0] == "" || role != fsm.OfClient || scope.User != ""):
		return issuer.Role{}, errors.New("user_claim= names one claim, for the role client, instead of user=")
	}
	slices.Sort(scope.Pools)
	return issuer.Role{Group: group, Role: role, Scope: scope, UserClaim: strings.Join(claims, "")}, nil
}
