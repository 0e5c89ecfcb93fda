package issuer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/licet/licet/fsm"
)

// Role is what members of a group may do.
type Role struct {
	// Group is a value of Options.Claim.
	Group string
	Role  fsm.Role
	Scope fsm.Scope
	// UserClaim names the claim that has the only user that a client may ask for; empty: Scope says which, or any.
	UserClaim string
}

// principal finds the role of whom a verified token is for. The first of the roles counts that one of its groups has; if that is a
// client's, the pools of all that have the same users are joined.
func (i *Issuer) principal(id *oidc.IDToken) (fsm.Principal, *Error) {
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return fsm.Principal{}, i.refusal(err)
	}
	groups := texts(find(claims, i.options.Claim))
	fits := func(r Role) bool { return slices.Contains(groups, r.Group) }
	first := slices.IndexFunc(i.options.Roles, fits)
	if first < 0 {
		return fsm.Principal{}, roleless("its claim %s has none of the groups that have a role here", i.options.Claim)
	}
	r := i.options.Roles[first]
	scope := r.Scope
	for _, other := range i.options.Roles[first+1:] {
		if other.Role == fsm.OfClient && r.Role == fsm.OfClient && fits(other) && other.UserClaim == r.UserClaim && other.Scope.User == r.Scope.User {
			scope.Pools = append(slices.Clone(scope.Pools), other.Scope.Pools...)
		}
	}
	slices.Sort(scope.Pools)
	scope.Pools = slices.Compact(scope.Pools)
	if r.UserClaim != "" {
		var err error
		if scope.User, err = userOf(claims, r.UserClaim); err != nil {
			return fsm.Principal{}, roleless("%v", err)
		}
	}
	name, err := fsm.IssuedID(i.options.Name, id.Subject)
	p := fsm.Principal{Kind: fsm.ByIssuer, ID: name, Role: r.Role, Scope: scope}
	if err = errors.Join(err, p.Check()); err != nil {
		return fsm.Principal{}, roleless("%v", err)
	}
	return p, nil
}

// roleless is the error of a token that is good, and of no use here.
func roleless(format string, args ...any) *Error {
	return &Error{
		code: "forbidden", text: "The token gives no role (" + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ") + ").",
		next: "Have the issuer put whom it is for into one of the groups of oidc.roles, or an operator add a group there.",
	}
}

// userOf is the user that a claim names. An address counts only if the issuer says that it is verified: anybody could give
// himself another's.
func userOf(claims map[string]any, name string) (string, error) {
	user, ok := find(claims, name).(string)
	if !ok || user == "" {
		return "", fmt.Errorf("its claim %s names no user", name)
	}
	// Some issuers write it as a text.
	if name == "email" && fmt.Sprint(claims["email_verified"]) != "true" {
		return "", errors.New("its claim email counts only with email_verified")
	}
	return user, nil
}

// find looks a claim up: by its whole name, or else along the dots in it.
func find(claims map[string]any, name string) any {
	if value, ok := claims[name]; ok {
		return value
	}
	outer, inner, nested := strings.Cut(name, ".")
	if below, ok := claims[outer].(map[string]any); nested && ok {
		return find(below, inner)
	}
	return nil
}

// texts are the strings of a claim that is one, or a list of them.
func texts(claim any) (list []string) {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		for _, item := range c {
			if text, ok := item.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}
