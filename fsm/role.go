package fsm

import (
	"errors"
	"fmt"
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Role is what somebody is to the cluster.
type Role string

// The roles.
const (
	// Operator does everything but what is the vendor's.
	Operator Role = "operator"
	// SiteOperator changes the instances and pools of its site.
	SiteOperator Role = "site-operator"
	// Auditor reads everything and changes nothing.
	Auditor Role = "auditor"
	// OfInstance has the accounts and the activation of one instance.
	OfInstance Role = "instance"
	// OfClient has seats of the pools that are named, for one user or any.
	OfClient Role = "client"
	// Vendor loads contracts and answers license requests.
	Vendor Role = "vendor"

	// Root does everything: the token of a node's configuration, and the nodes themselves. No API token has it.
	Root Role = "root"
	// Scraper reads metrics: the other token of a node's configuration.
	Scraper Role = "metrics"
)

// Roles are those that API tokens, certificates and other identities can have.
func Roles() []Role { return []Role{Operator, SiteOperator, Auditor, OfInstance, OfClient, Vendor} }

// Right is what a route or a command needs.
type Right string

// The rights. Those of which the comment says "scoped" reach as far as the scope of whoever has them.
const (
	// MaySelf is what anybody may whom the cluster knows: the node's status, the public keys, one's own token.
	MaySelf Right = "self"
	// MayMeasure reads metrics.
	MayMeasure Right = "measure"
	// MayRead reads what has no scope: members, settings, the audit trail, notices, tokens, backups.
	MayRead Right = "read"
	// MayAdminister changes what has no scope: members, settings, gossip keys, contents from a backup, the responsible address; and takes profiles of a node.
	MayAdminister Right = "administer"
	// MayMakeTokens makes and revokes tokens.
	MayMakeTokens Right = "tokens"
	// MayReadContracts reads contracts.
	MayReadContracts Right = "read-contracts"
	// MayLoadContracts loads contracts.
	MayLoadContracts Right = "load-contracts"
	// MayReadRequests reads license requests; MayOpenRequests opens them; MayCloseRequests rejects and withdraws them.
	MayReadRequests  Right = "read-requests"
	MayOpenRequests  Right = "open-requests"
	MayCloseRequests Right = "close-requests"
	// MayList lists instances, pools and leases: scoped.
	MayList Right = "list"
	// MayReadInstance reads an instance, its key and its accounts: scoped.
	MayReadInstance Right = "read-instance"
	// MayManageInstances makes, resizes and removes instances: scoped.
	MayManageInstances Right = "manage-instances"
	// MayKeepAccounts changes an instance's accounts: scoped.
	MayKeepAccounts Right = "keep-accounts"
	// MayActivate presents an instance's key: scoped.
	MayActivate Right = "activate"
	// MayReadPool reads a pool: scoped.
	MayReadPool Right = "read-pool"
	// MayReadUse reads a pool's usage, projects and tickets: scoped.
	MayReadUse Right = "read-use"
	// MayManagePools makes, changes, switches and deletes pools, and revokes their leases: scoped.
	MayManagePools Right = "manage-pools"
	// MayReadSeats reads a lease or ticket, and explains a checkout: scoped.
	MayReadSeats Right = "read-seats"
	// MayHaveSeats checks seats out, renews and returns them, and waits for them: scoped.
	MayHaveSeats Right = "have-seats"
)

// rights is the table of who may do what. Root has all of them.
var rights = map[Role][]Right{
	Operator: {
		MaySelf, MayMeasure, MayRead, MayAdminister, MayMakeTokens, MayReadContracts, MayReadRequests, MayOpenRequests, MayCloseRequests, MayList,
		MayReadInstance, MayManageInstances, MayKeepAccounts, MayActivate, MayReadPool, MayReadUse, MayManagePools, MayReadSeats, MayHaveSeats,
	},
	SiteOperator: {
		MaySelf, MayList, MayReadInstance, MayManageInstances, MayKeepAccounts, MayActivate,
		MayReadPool, MayReadUse, MayManagePools, MayReadSeats, MayHaveSeats,
	},
	Auditor: {
		MaySelf, MayMeasure, MayRead, MayReadContracts, MayReadRequests, MayList, MayReadInstance, MayReadPool, MayReadUse, MayReadSeats,
	},
	OfInstance: {MaySelf, MayReadInstance, MayKeepAccounts, MayActivate},
	OfClient:   {MaySelf, MayReadPool, MayReadSeats, MayHaveSeats},
	Vendor:     {MaySelf, MayReadContracts, MayLoadContracts, MayReadRequests, MayCloseRequests},
	Scraper:    {MayMeasure},
}

// Has reports whether the role has a right, within its scope.
func (r Role) Has(x Right) bool { return r == Root || slices.Contains(rights[r], x) }

// Scope bounds what a role reaches. Each role has its own fields; the others are empty.
type Scope struct {
	// Site is a site-operator's.
	Site string
	// Instance is the serial number of the one instance.
	Instance uint64
	// Pools are a client's, sorted.
	Pools []string
	// User is the only one that a client asks for; empty: any.
	User string
}

// Proto is the scope as commands and snapshots have it; nil if it is empty.
func (x Scope) Proto() *fsmpb.TokenScope {
	if x.Site == "" && x.Instance == 0 && len(x.Pools) == 0 && x.User == "" {
		return nil
	}
	return &fsmpb.TokenScope{Site: x.Site, Instance: x.Instance, Pools: x.Pools, User: x.User}
}

// ScopeFromProto is the reverse of Proto.
func ScopeFromProto(p *fsmpb.TokenScope) Scope {
	pools := slices.Clone(p.GetPools())
	slices.Sort(pools)
	return Scope{Site: p.GetSite(), Instance: p.GetInstance(), Pools: pools, User: p.GetUser()}
}

// CheckRole refuses a role that nobody can be given, and a scope that is not one of the role's.
func CheckRole(r Role, x Scope) error {
	if !slices.Contains(Roles(), r) {
		return fmt.Errorf("role: %.40q is none of operator, site-operator, auditor, instance, client, vendor", r)
	}
	var errs []error
	needs := func(field string, has, allowed, needed bool) {
		switch {
		case has && !allowed:
			errs = append(errs, fmt.Errorf("%s: the role %s has none", field, r))
		case !has && needed:
			errs = append(errs, fmt.Errorf("%s: the role %s needs one", field, r))
		}
	}
	needs("site", x.Site != "", r == SiteOperator, r == SiteOperator)
	needs("instance", x.Instance != 0, r == OfInstance, r == OfInstance)
	needs("pools", len(x.Pools) > 0, r == OfClient, r == OfClient)
	needs("user", x.User != "", r == OfClient, false)
	errs = append(errs, checkSite(x.Site))
	if n := len(x.Pools); n > MaxTokenPools {
		errs = append(errs, fmt.Errorf("pools: %d are more than %d", n, MaxTokenPools))
	}
	for i, name := range x.Pools {
		errs = append(errs, signed.CheckName("pools", name))
		if i > 0 && x.Pools[i-1] == name {
			errs = append(errs, fmt.Errorf("pools: %.80q stands there twice", name))
		}
	}
	if x.User != "" {
		errs = append(errs, CheckLine("user", x.User))
	}
	return errors.Join(errs...)
}

// checkSite refuses what is no site; an empty one is none.
func checkSite(site string) error {
	if site == "" {
		return nil
	}
	return signed.CheckName("site", site)
}
