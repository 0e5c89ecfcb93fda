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

const (
	roleScheme = "licet"
	// siteScheme is another one, for builds that know no sites to pass over.
	siteScheme = "licet-site"
	// accessScheme says what a client may do with the API.
	accessScheme = "licet-role"
)

// The reasons, besides the chain's, for which a certificate's role is refused.
var (
	ErrNoRole       = errors.New("certificate carries no licet role")
	ErrSeveralRoles = errors.New("certificate carries more than one licet role")
	ErrUnknownRole  = errors.New("certificate carries a licet role that is malformed or not known here")
	ErrAccess       = errors.New("certificate carries a licet-role that is malformed, more than one, or one besides a node's role")
	ErrSite         = errors.New("certificate carries a licet-site that is malformed, or more than one")
)

// accessGrammar leaves to others what the roles are.
var accessGrammar = regexp.MustCompile(`^[a-z-]{1,32}(\?[A-Za-z0-9=&%+._~-]+)?$`)

var nameGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Identity is what a certificate says of its holder: in its one URI SAN of the
// form licet:node:<id> or licet:client:<name>, and for nodes in one of the form
// licet-site:<site>, if there is one.
type Identity struct {
	Role Role
	Name string
	// Site is where the node may stand; empty if the certificate leaves that open.
	Site string
	// Access is the role that a client has at the API, with its scope, as it stands after licet-role:; empty if it has none.
	Access string
}

// String returns the identity as it stands in the certificate.
func (i Identity) String() string {
	text := roleScheme + ":" + string(i.Role) + ":" + i.Name
	if i.Site != "" {
		text += " " + siteScheme + ":" + i.Site
	}
	if i.Access != "" {
		text += " " + accessScheme + ":" + i.Access
	}
	return text
}

// At reports whether the certificate lets its holder stand at a site.
func (i Identity) At(site string) bool { return i.Site == "" || i.Site == site }

// IdentityOf reads the identity from a certificate. It says nothing of whether
// the certificate is to be believed. URIs of other schemes are ignored. The
// error is ErrNoRole, ErrSeveralRoles (also when one is repeated), ErrUnknownRole
// ErrSite or ErrAccess.
func IdentityOf(certificate *x509.Certificate) (Identity, error) {
	roles := urisOf(certificate, roleScheme)
	switch len(roles) {
	case 0:
		return Identity{}, ErrNoRole
	case 1:
		identity, err := parseIdentity(roles[0])
		if err != nil {
			return Identity{}, err
		}
		if identity, err = identity.withAccess(urisOf(certificate, accessScheme)); err != nil {
			return Identity{}, err
		}
		return identity.with(urisOf(certificate, siteScheme))
	default:
		return Identity{}, ErrSeveralRoles
	}
}

// with adds the site, which only nodes have.
func (i Identity) with(sites []string) (Identity, error) {
	if len(sites) == 0 {
		return i, nil
	}
	i.Site = strings.TrimPrefix(sites[0], siteScheme+":")
	if len(sites) > 1 || i.Role != RoleNode || !nameGrammar.MatchString(i.Site) {
		return Identity{}, ErrSite
	}
	return i, nil
}

// withAccess adds the role at the API, which only clients have.
func (i Identity) withAccess(roles []string) (Identity, error) {
	if len(roles) == 0 {
		return i, nil
	}
	i.Access = strings.TrimPrefix(roles[0], accessScheme+":")
	if len(roles) > 1 || i.Role != RoleClient || !accessGrammar.MatchString(i.Access) {
		return Identity{}, ErrAccess
	}
	return i, nil
}

func parseIdentity(uri string) (Identity, error) {
	kind, name, _ := strings.Cut(strings.TrimPrefix(uri, roleScheme+":"), ":")
	identity := Identity{Role: Role(kind), Name: name}
	if identity.Role != RoleNode && identity.Role != RoleClient || !nameGrammar.MatchString(name) {
		return Identity{}, ErrUnknownRole
	}
	return identity, nil
}

func urisOf(certificate *x509.Certificate, scheme string) []string {
	var texts []string
	for _, uri := range certificate.URIs {
		if uri.Scheme == scheme {
			texts = append(texts, uri.String())
		}
	}
	return texts
}

// uris are what a certificate of this identity carries.
func (i Identity) uris() ([]*url.URL, error) {
	if !nameGrammar.MatchString(i.Name) {
		return nil, fmt.Errorf("%s name %q: want 1 to 63 of a-z, 0-9 and -, not starting with -", i.Role, i.Name)
	}
	uris := []*url.URL{{Scheme: roleScheme, Opaque: string(i.Role) + ":" + i.Name}}
	if i.Access != "" {
		if i.Role != RoleClient || !accessGrammar.MatchString(i.Access) {
			return nil, fmt.Errorf("%s %s can't have the role %.80q at the API", i.Role, i.Name, i.Access)
		}
		role, scope, _ := strings.Cut(i.Access, "?")
		uris = append(uris, &url.URL{Scheme: accessScheme, Opaque: role, RawQuery: scope})
	}
	switch {
	case i.Site == "":
		return uris, nil
	case i.Role != RoleNode:
		return nil, fmt.Errorf("%s %s has no site; only nodes do", i.Role, i.Name)
	case !nameGrammar.MatchString(i.Site):
		return nil, fmt.Errorf("site %q: want 1 to 63 of a-z, 0-9 and -, not starting with -", i.Site)
	}
	return append(uris, &url.URL{Scheme: siteScheme, Opaque: i.Site}), nil
}
