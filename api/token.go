package api

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// defaultBootstrapName is what the first token is called if nobody says.
const defaultBootstrapName = "bootstrap"

func (s *service) listTokens(c *call) (*answer, error) {
	after, limit := c.query.number("after", 0, maxSerial, 0), c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found := v.Tokens(after, limit+1)
	page := apiv1.TokenList{Tokens: make([]apiv1.Token, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Tokens = append(page.Tokens, s.holderOf(v, x))
	}
	if len(found) > limit {
		page.Next = page.Tokens[limit-1].ID
	}
	return ok(page), nil
}

func (s *service) getToken(c *call) (*answer, error) {
	id, err := pathID(c, "token")
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	x, refused := v.FindToken(id)
	if refused != nil {
		return nil, refusal(refused)
	}
	return ok(s.holderOf(v, x)), nil
}

func (s *service) getPrincipal(c *call) (*answer, error) {
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	p := c.principal
	out := apiv1.Principal{
		Kind: apiv1.PrincipalKind(p.Kind), Actor: p.Actor(), Role: string(p.Role),
		Site: p.Scope.Site, Instance: p.Scope.Instance, Pools: p.Scope.Pools, User: p.Scope.User,
	}
	if p.Kind == fsm.ByIssuer {
		out.Issuer, out.Subject, _ = strings.Cut(p.ID, "#")
	}
	if p.Kind == fsm.ByToken {
		id, err := strconv.ParseUint(p.ID, 10, 64)
		if err != nil {
			return nil, err
		}
		if x := v.Token(id); x != nil {
			token := s.holderOf(v, x)
			out.Token = &token
		}
	}
	return ok(out), nil
}

func (s *service) createToken(c *call) (*answer, error) {
	command := &fsmpb.CreateToken{
		Name: c.form.checked("name", signed.CheckName), Role: c.form.checked("role", checkRole),
		ExpiryMs: c.form.millis("expires"),
		Scope: &fsmpb.TokenScope{
			Site: c.form.optional("site", signed.CheckName), Instance: c.form.number("instance", 1, maxSerial),
			Pools: c.form.texts("pools", fsm.MaxTokenPools, signed.CheckName), User: c.form.optional("user", fsm.CheckLine),
		},
	}
	command.MaxLeases = c.form.limitOf(fsm.Role(command.Role), "max_leases", fsm.DefaultMaxLeases)
	command.MaxTickets = c.form.limitOf(fsm.Role(command.Role), "max_tickets", fsm.DefaultMaxTickets)
	scope := fsm.ScopeFromProto(command.Scope)
	command.Scope = scope.Proto()
	if len(c.form.faults) == 0 {
		if err := fsm.CheckRole(fsm.Role(command.Role), scope); err != nil {
			c.form.fault("role", "%s", err.Error())
		}
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.makeToken(c, command)
}

func (s *service) bootstrapTokens(c *call) (*answer, error) {
	command := &fsmpb.CreateToken{Name: defaultBootstrapName, Role: string(fsm.Operator), Bootstrap: true}
	if c.form.has("name") {
		command.Name = c.form.checked("name", signed.CheckName)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.makeToken(c, command)
}

// makeToken has a token made of which nobody but the caller gets to know the secret. It is derived, like a lease's
// handle, so that a repeat of the request through any node brings the same (rule E1).
func (s *service) makeToken(c *call, command *fsmpb.CreateToken) (*answer, error) {
	secret, err := s.Node.TokenSecret(c.actor, c.requestKey)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(secret)
	command.Hash = hash[:]
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_CreateToken{CreateToken: command}})
	if err != nil {
		return nil, err
	}
	token := s.tokenOf(fsm.TokenFromProto(o.GetToken()))
	if c.dryRun {
		return ok(token), nil
	}
	token.Token = fsm.TokenText(token.ID, secret)
	c.header.Set("Location", "/v1/tokens/"+strconv.FormatUint(token.ID, 10))
	return &answer{http.StatusCreated, token}, nil
}

func (s *service) revokeToken(c *call) (*answer, error) {
	id, err := pathID(c, "token")
	if err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_RevokeToken{RevokeToken: &fsmpb.RevokeToken{Token: id}}})
	if err != nil {
		return nil, err
	}
	return ok(s.tokenOf(fsm.TokenFromProto(o.GetToken()))), nil
}

// limitOf reads a limit of a client's token; 0 is none.
func (f *form) limitOf(role fsm.Role, name string, otherwise uint64) uint64 {
	switch {
	case f.has(name):
		n := f.number(name, 0, fsm.MaxTokenLimit)
		if n != 0 && role != fsm.OfClient {
			f.fault(name, "%s: the role %.40q has none", name, role)
		}
		return n
	case role == fsm.OfClient:
		return otherwise
	}
	return 0
}

func checkRole(field, role string) error {
	for _, r := range fsm.Roles() {
		if role == string(r) {
			return nil
		}
	}
	return errors.New(field + ": it is none of the roles that the document lists")
}

// tokenOf shows a token without its secret, and never its hash.
func (s *service) tokenOf(x *fsm.Token) apiv1.Token {
	out := apiv1.Token{
		ID: x.ID, Name: x.Name, Role: apiv1.AccessRole(x.Role), Created: time.UnixMilli(x.CreatedMs).UTC(), State: apiv1.TokenStateActive,
		Site: x.Scope.Site, Instance: x.Scope.Instance, Pools: x.Scope.Pools, User: x.Scope.User,
		MaxLeases: x.MaxLeases, MaxTickets: x.MaxTickets,
	}
	if x.ExpiryMs != 0 {
		at := time.UnixMilli(x.ExpiryMs).UTC()
		out.Expires = &at
	}
	if x.UsedMs != 0 {
		at := time.UnixMilli(x.UsedMs).UTC()
		out.Used = &at
	}
	if x.Expired(s.Node.Wall().UnixMilli()) {
		out.State = apiv1.TokenStateExpired
	}
	return out
}

// holderOf shows a token with what was taken with it.
func (s *service) holderOf(v *fsm.View, x *fsm.Token) apiv1.Token {
	out := s.tokenOf(x)
	out.Leases, out.Tickets = v.HeldBy(x.ID)
	return out
}
