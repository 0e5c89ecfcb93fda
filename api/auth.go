package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// Token is a bearer token of the node's configuration, and whom it stands for.
type Token struct {
	// Hash is the token's SHA-256, so that memory holds no secret.
	Hash [sha256.Size]byte
	// Principal is whom the token stands for.
	Principal fsm.Principal
}

// NewToken hashes a token that may do everything.
func NewToken(name, token string) Token {
	return Token{sha256.Sum256([]byte(token)), fsm.Principal{Kind: fsm.ByFile, ID: name, Role: fsm.Root}}
}

// NewMetricsToken hashes a token that opens /metrics and nothing else.
func NewMetricsToken(name, token string) Token {
	return Token{sha256.Sum256([]byte(token)), fsm.Principal{Kind: fsm.ByFile, ID: name, Role: fsm.Scraper}}
}

// unseenTokens is how far a token's number may be ahead of this node's state for the node to catch up before it
// says no: so many tokens were hardly made in the time in which it is behind.
const unseenTokens = 16

// catchUpTime is how long the node tries to.
const catchUpTime = 2 * time.Second

// challenges are what WWW-Authenticate says (RFC 6750, section 3).
const (
	challengeNone    = `Bearer realm="licet"`
	challengeInvalid = `Bearer realm="licet", error="invalid_token"`
	challengeScope   = `Bearer realm="licet", error="insufficient_scope"`
)

// unauthorized is the problem of a request of which the node does not know who asks. It says nothing of the token.
func unauthorized(challenge, format string, args ...any) *problem {
	p := problemf(apiv1.CodeUnauthorized, format, args...)
	p.challenge = challenge
	return p
}

// authenticate finds out who asks: by the bearer token, or by the certificate if there is no token.
func (s *service) authenticate(c *call) (fsm.Principal, error) {
	presented := c.Header.Values("Authorization")
	if len(presented) == 0 {
		return s.byCertificate(c.Request)
	}
	if len(presented) > 1 {
		return fsm.Principal{}, unauthorized(challengeInvalid, "There are %d Authorization headers instead of one.", len(presented))
	}
	scheme, token, _ := strings.Cut(presented[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return fsm.Principal{}, unauthorized(challengeNone, "The Authorization header holds no bearer token.")
	}
	if id, secret, ok := fsm.ParseToken(token); ok {
		return s.byToken(c, id, secret)
	}
	p, err := s.byFile(token)
	// A JSON Web Token has two dots (RFC 7515, section 7.1).
	if err != nil && s.Issued != nil && strings.Count(token, ".") == 2 {
		return s.byIssuer(c, token)
	}
	return p, err
}

// byIssuer has the token of an issuer verified, which may have to be asked.
func (s *service) byIssuer(c *call, token string) (fsm.Principal, error) {
	p, err := s.Issued(c.ctx, token)
	if err == nil {
		return p, nil
	}
	refused := problemOf(err)
	switch refused.code {
	case apiv1.CodeUnauthorized:
		refused.challenge = challengeInvalid
	case apiv1.CodeForbidden:
		refused.challenge = challengeScope
	}
	return fsm.Principal{}, refused
}

// unguessable reports a token of which it need not be feared that somebody tries all there can be.
func (c *call) unguessable() bool {
	_, token, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	_, _, ok := fsm.ParseToken(token)
	return ok || token == "" && clientCertificate(c.Request) != nil
}

// byFile compares all tokens of the configuration, each in constant time, so that timing tells nothing about any of them.
func (s *service) byFile(token string) (fsm.Principal, error) {
	hash, found := sha256.Sum256([]byte(token)), -1
	for i := range s.Tokens {
		if subtle.ConstantTimeCompare(hash[:], s.Tokens[i].Hash[:]) == 1 {
			found = i
		}
	}
	if found < 0 {
		return fsm.Principal{}, unauthorized(challengeInvalid, "The bearer token is not one that this node knows.")
	}
	return s.Tokens[found].Principal, nil
}

// byToken looks an API token up in what this node has applied. One that was just made through another node is waited for.
func (s *service) byToken(c *call, id uint64, secret []byte) (fsm.Principal, error) {
	v := s.Node.View()
	if last := v.LastToken(); id > last && id-last <= unseenTokens && !c.hurried {
		ctx, cancel := context.WithTimeout(c.ctx, catchUpTime)
		defer cancel()
		newer, _, err := s.Node.Read(ctx, Read{})
		if err != nil {
			p := unauthorized(challengeInvalid, "The bearer token is not one that this node knows, and it could not catch up with the cluster.")
			p.next, p.cause = "If the token was made just now, try again, or through another node.", err
			return fsm.Principal{}, p
		}
		v = newer
	}
	hash := sha256.Sum256(secret)
	token := v.Token(id)
	known := &unknownToken
	if token != nil {
		known = &token.Hash
	}
	switch {
	case subtle.ConstantTimeCompare(hash[:], known[:]) != 1:
		return fsm.Principal{}, unauthorized(challengeInvalid, "The bearer token is not one that this cluster knows; it may have been revoked.")
	case token.Expired(s.Node.Wall().UnixMilli()):
		p := unauthorized(challengeInvalid, "Token %d (%s) ended at %s.", id, token.Name, time.UnixMilli(token.ExpiryMs).UTC().Format(time.RFC3339))
		p.next = "Ask an operator for another one: `licet token create`."
		return fsm.Principal{}, p
	}
	s.uses.note(s, token)
	return token.Principal(), nil
}

// unknownToken is a hash that nothing is known to have; comparing with it takes as long as with a token's.
var unknownToken [sha256.Size]byte

// byCertificate takes who brings no token for whom his certificate names, if that has a role.
func (s *service) byCertificate(r *http.Request) (fsm.Principal, error) {
	if leaf := clientCertificate(r); leaf != nil && s.Certified != nil {
		p, err := s.Certified(leaf)
		switch {
		case err == nil:
			return p, nil
		case !errors.Is(err, ErrNoRole):
			return fsm.Principal{}, unauthorized(challengeNone, "The certificate does not say who asks: %s.", err)
		}
		return fsm.Principal{}, unauthorized(challengeNone, "The request has no Authorization header with a bearer token, and the certificate no role.")
	}
	return fsm.Principal{}, unauthorized(challengeNone, "The request has no Authorization header with a bearer token.")
}

// ErrNoRole says that a certificate is in order, and has no role.
var ErrNoRole = errors.New("the certificate has no role")

// clientCertificate is the one that the connection's other end proved to have, nil if none.
func clientCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// authorise refuses who may not use a route, or not for what its path names.
func (s *service) authorise(c *call, rt *route) error {
	p := c.principal
	if !p.Role.Has(rt.right) {
		return forbidden(p, "it lacks the right "+string(rt.right))
	}
	if !p.Scoped() || rt.kind != read || rt.names == "" {
		// Writes are judged by their commands, of which paths are a part.
		return nil
	}
	reach := fsm.Reach{Right: rt.right}
	id := c.PathValue(rt.names)
	switch rt.names {
	case "pool":
		reach.Pool = id
	default:
		// What is no number is refused by the handler; until then it is nobody's.
		n, _ := strconv.ParseUint(id, 10, 64)
		switch rt.names {
		case "serial":
			reach.Instance = n
		case "lease":
			reach.Lease = n
		case "ticket":
			reach.Ticket = n
		}
	}
	c.reach = &reach
	return nil
}

// reached refuses a view to who may not read of it what the path names.
func (c *call) reached(v *fsm.View) error {
	if c.reach == nil || v.MayReach(c.principal, *c.reach) {
		return nil
	}
	return forbidden(c.principal, "that is not its own")
}

// judge refuses a command that the caller may not have decided. What this node has not seen yet, the leader judges.
func (c *call) judge(v *fsm.View, body *fsmpb.Body) error {
	verdict, reason := v.Judge(c.principal, body)
	if verdict == fsm.Denied || verdict == fsm.Unseen && c.dryRun {
		return forbidden(c.principal, reason)
	}
	return nil
}

func forbidden(p fsm.Principal, reason string) *problem {
	out := refusal(fsm.Forbid(p, reason))
	out.challenge = challengeScope
	return out
}

// sees reports whether a list shows what belongs to a site to the caller.
func (c *call) sees(site string) bool { return !c.principal.Scoped() || site == c.principal.Scope.Site }

// visible collects up to limit+1 rows that the caller sees, a page at a time.
func visible[K, T any](after K, limit int, page func(after K, n int) []T, key func(T) K, sees func(T) bool) []T {
	var list []T
	for {
		rows := page(after, limit+1)
		for _, x := range rows {
			if after = key(x); sees(x) {
				list = append(list, x)
			}
			if len(list) > limit {
				return list
			}
		}
		if len(rows) <= limit {
			return list
		}
	}
}
