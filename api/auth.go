package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/licet/licet/api/apiv1"
)

// Token is a bearer token that is accepted, and whom it stands for.
type Token struct {
	// Hash is the token's SHA-256, so that memory holds no secret.
	Hash [sha256.Size]byte
	// Actor is the name under which its requests are remembered and audited.
	Actor string
	// MetricsOnly tokens open /metrics and nothing else.
	MetricsOnly bool
}

// NewToken hashes a token.
func NewToken(actor, token string) Token {
	return Token{Hash: sha256.Sum256([]byte(token)), Actor: actor}
}

// NewMetricsToken hashes a token that opens /metrics and nothing else.
func NewMetricsToken(actor, token string) Token {
	t := NewToken(actor, token)
	t.MetricsOnly = true
	return t
}

// authenticate names the actor of a request for a path. All tokens are compared, each in
// constant time, so that timing tells nothing about any of them.
func (s *service) authenticate(h http.Header, path string) (string, error) {
	presented := h.Values("Authorization")
	if len(presented) == 0 {
		return "", problemf(apiv1.CodeUnauthorized, "The request has no Authorization header with a bearer token.")
	}
	if len(presented) > 1 {
		return "", problemf(apiv1.CodeUnauthorized, "There are %d Authorization headers instead of one.", len(presented))
	}
	scheme, token, _ := strings.Cut(presented[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", problemf(apiv1.CodeUnauthorized, "The Authorization header holds no bearer token.")
	}
	hash := sha256.Sum256([]byte(token))
	actor, limited := "", false
	for _, t := range s.Tokens {
		if subtle.ConstantTimeCompare(hash[:], t.Hash[:]) == 1 {
			actor, limited = t.Actor, t.MetricsOnly
		}
	}
	if actor == "" {
		return "", problemf(apiv1.CodeUnauthorized, "The bearer token is not one that this node knows.")
	}
	if limited && path != metricsPath {
		return "", problemf(apiv1.CodeUnauthorized, "The bearer token opens %s alone.", metricsPath)
	}
	return actor, nil
}
