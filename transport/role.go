package transport

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Role says what the holder of a certificate is to the cluster.
type Role string

// The roles that a certificate can carry.
const (
	// RoleNode admits to Raft and to the RPC between nodes.
	RoleNode Role = "node"
	// RoleClient admits to neither.
	RoleClient Role = "client"
)

const roleScheme = "licet"

// The reasons, besides the chain's, for which a certificate's role is refused.
var (
	ErrNoRole       = errors.New("certificate carries no licet role")
	ErrSeveralRoles = errors.New("certificate carries more than one licet role")
	ErrUnknownRole  = errors.New("certificate carries a licet role that is malformed or not known here")
)

var nameGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Identity is what a certificate says of its holder, in its one URI SAN of the
// form licet:node:<id> or licet:client:<name>.
type Identity struct {
	Role Role
	Name string
}

// String returns the identity as it stands in the certificate.
func (i Identity) String() string {
	return roleScheme + ":" + string(i.Role) + ":" + i.Name
}

// IdentityOf reads the identity from a certificate. It says nothing of whether
// the certificate is to be believed. URIs of other schemes are ignored. The
// error is ErrNoRole, ErrSeveralRoles (also when one is repeated) or
// ErrUnknownRole.
func IdentityOf(certificate *x509.Certificate) (Identity, error) {
	roles := roleURIs(certificate)
	switch len(roles) {
	case 0:
		return Identity{}, ErrNoRole
	case 1:
		return parseIdentity(roles[0])
	default:
		return Identity{}, ErrSeveralRoles
	}
}

func parseIdentity(uri string) (Identity, error) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(uri, roleScheme+":"), ":")
	identity := Identity{Role: Role(kind), Name: name}
	if identity.Role != RoleNode && identity.Role != RoleClient || !nameGrammar.MatchString(name) {
		return Identity{}, ErrUnknownRole
	}
	return identity, nil
}

func roleURIs(certificate *x509.Certificate) []string {
	var roles []string
	for _, uri := range certificate.URIs {
		if uri.Scheme == roleScheme {
			roles = append(roles, uri.String())
		}
	}
	return roles
}

func (i Identity) uri() (*url.URL, error) {
	if !nameGrammar.MatchString(i.Name) {
		return nil, fmt.Errorf("%s name %q: want 1 to 63 of a-z, 0-9 and -, not starting with -", i.Role, i.Name)
	}
	return &url.URL{Scheme: roleScheme, Opaque: string(i.Role) + ":" + i.Name}, nil
}
