package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Proof is how somebody proved who he is.
type Proof string

// The proofs.
const (
	// ByProcess is a node itself, which its certificate proves to the others.
	ByProcess Proof = "process"
	// ByFile is a token of a node's configuration.
	ByFile Proof = "file"
	// ByToken is an API token.
	ByToken Proof = "token"
	// ByCertificate is a client's certificate.
	ByCertificate Proof = "certificate"
	// ByIssuer is a token that an issuer of OpenID Connect signed.
	ByIssuer Proof = "oidc"
)

// Principal is who asks, as a node found out. The zero value may do nothing.
type Principal struct {
	Kind Proof
	// ID is a token's number, a certificate's name, issuer and subject of OpenID Connect (IssuedID), or who of the configuration.
	ID    string
	Role  Role
	Scope Scope
}

// tokenActor begins the actor of an API token; its number follows.
const tokenActor = "token-"

// Actor is the name under which the principal's requests are remembered and audited (rule E1). No two principals share one.
func (p Principal) Actor() string {
	switch p.Kind {
	case ByToken:
		return tokenActor + p.ID
	case ByCertificate:
		return "cert-" + p.ID
	case ByIssuer:
		return issuedActor(p.ID)
	}
	return p.ID
}

// Check refuses whom no certificate and no issuer can prove somebody to be.
func (p Principal) Check() error {
	if p.Kind == ByIssuer {
		issuer, subject, _ := strings.Cut(p.ID, "#")
		if _, err := IssuedID(issuer, subject); err != nil {
			return err
		}
	}
	return errors.Join(CheckRole(p.Role, p.Scope), signed.CheckName("actor", p.Actor()))
}

const (
	// MaxIssuer is the longest name of an issuer, in bytes.
	MaxIssuer = 256
	// maxSubject is the longest subject, in bytes (OpenID Connect Core 1.0, section 2).
	maxSubject = 255
)

// IssuedID is the Principal.ID of a subject of an issuer. Issuers are URLs without a fragment, so that no two have the same.
func IssuedID(issuer, subject string) (string, error) {
	if len(issuer) > MaxIssuer || strings.Contains(issuer, "#") {
		return "", fmt.Errorf("issuer: %d bytes are more than %d, or it has a #", len(issuer), MaxIssuer)
	}
	if len(subject) > maxSubject {
		return "", fmt.Errorf("subject: %d bytes are more than %d", len(subject), maxSubject)
	}
	err := errors.Join(signed.CheckText("issuer", issuer, MaxIssuer), signed.CheckText("subject", subject, maxSubject))
	return issuer + "#" + subject, err
}

// shownSubject is how much of a subject its actor shows, in bytes.
const shownSubject = 38

// issuedActor keeps to the grammar of actors: what can be shown of the subject, for whoever reads the audit trail, and 80 bits of
// a hash of issuer and subject, by which no two are the same.
func issuedActor(id string) string {
	_, subject, _ := strings.Cut(id, "#")
	shown := []byte(subject[:min(len(subject), shownSubject)])
	for i, c := range shown {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-') {
			shown[i] = '_'
		}
	}
	sum := sha256.Sum256([]byte(id))
	return "oidc-" + string(shown) + "-" + hex.EncodeToString(sum[:10])
}

// Verdict is what is known of whether somebody may do something.
type Verdict int

// The verdicts.
const (
	Denied Verdict = iota
	Granted
	// Unseen: it depends on something that the view does not have. Where the view is the leader's, that is a no.
	Unseen
)

// target is what a command reaches, as far as scopes tell it apart.
type target struct {
	right Right
	// serial is an instance's, site that of something new.
	serial uint64
	pool   string
	site   string
	// fresh: it makes what it names. relabels: it changes the site.
	fresh, relabels bool
	// lease and ticket lead to a pool.
	lease, ticket uint64
	user          string
	// held: without the secret handle the command comes to nothing, so that it may name what is not there (any more).
	held bool
}

// Judge says whether a principal may have a command decided, and if not, why. It is the same function for the node
// that is asked, which may be behind (Unseen), and for the leader, which decides. Bodies that are malformed in
// themselves pass: the state refuses them.
func (v *View) Judge(p Principal, body *fsmpb.Body) (Verdict, string) {
	if p.Role == Root {
		return Granted, ""
	}
	if items := body.GetBulk().GetItems(); body.GetBulk() != nil {
		if !p.Role.Has(MayHaveSeats) {
			return Denied, lacks(MayHaveSeats)
		}
		all := Granted
		for _, item := range items {
			switch verdict, reason := v.judge(p, targetOf(item, v)); verdict {
			case Denied:
				return Denied, reason
			case Unseen:
				all = Unseen
			}
		}
		return all, ""
	}
	return v.judge(p, targetOf(body, v))
}

// MayReach says whether a principal may read an instance, pool, lease or ticket. Leases and tickets that have ended
// are everybody's, so that whoever had one learns of its end; nothing else that is not there is anybody's.
func (v *View) MayReach(p Principal, r Reach) bool {
	verdict, _ := v.judge(p, target{right: r.Right, serial: r.Instance, pool: r.Pool, lease: r.Lease, ticket: r.Ticket, user: r.User, held: r.Lease != 0 || r.Ticket != 0})
	return verdict == Granted
}

// Reach names what is read: one of the fields besides Right, or none of them if the right has no scope.
type Reach struct {
	Right         Right
	Instance      uint64
	Pool          string
	Lease, Ticket uint64
	User          string
}

// Scoped reports whether the role reaches a part of things only.
func (p Principal) Scoped() bool {
	return p.Role == SiteOperator || p.Role == OfInstance || p.Role == OfClient
}

func lacks(r Right) string { return "it lacks the right " + string(r) }

func (v *View) judge(p Principal, t target) (Verdict, string) {
	if !p.Role.Has(t.right) {
		return Denied, lacks(t.right)
	}
	if !p.Scoped() || t.right == MaySelf {
		return Granted, ""
	}
	switch p.Role {
	case OfInstance:
		if t.serial != p.Scope.Instance {
			return Denied, "it is not its instance"
		}
		return Granted, ""
	case OfClient:
		return v.judgeClient(p, t)
	}
	return v.judgeSite(p, t)
}

func (v *View) judgeClient(p Principal, t target) (Verdict, string) {
	pool, user, seen := v.poolOfTarget(t)
	switch {
	case !seen && t.held:
		return Granted, ""
	case !seen, !slices.Contains(p.Scope.Pools, pool):
		return Denied, "it is not one of its pools"
	case p.Scope.User != "" && user != "" && user != p.Scope.User:
		return Denied, "it is for another user"
	}
	return Granted, ""
}

func (v *View) judgeSite(p Principal, t target) (Verdict, string) {
	if t.relabels {
		return Denied, "a site is given and taken by operators"
	}
	if t.fresh && t.site != p.Scope.Site {
		return Denied, "it is not for its site"
	}
	if t.serial != 0 {
		i, _ := v.instances.get(t.serial)
		return sited(i != nil, t.held, i != nil && i.Site == p.Scope.Site)
	}
	if t.fresh && t.pool == "" {
		return Granted, ""
	}
	pool, _, seen := v.poolOfTarget(t)
	x, ok := v.pools.get(pool)
	if t.fresh && !ok {
		return Granted, ""
	}
	return sited(seen && ok, t.held, ok && x.Site == p.Scope.Site)
}

func sited(seen, held, own bool) (Verdict, string) {
	switch {
	case own, !seen && held:
		return Granted, ""
	case !seen:
		return Unseen, "it is not there, or not of its site"
	}
	return Denied, "it is not of its site"
}

// poolOfTarget finds pool and user that a target is about.
func (v *View) poolOfTarget(t target) (pool, user string, seen bool) {
	switch {
	case t.lease != 0:
		l, refusal := v.lease(t.lease)
		if refusal != nil {
			return "", "", false
		}
		return v.poolNumbered(l.pool).Name, l.User, true
	case t.ticket != 0:
		x, refusal := v.ticket(t.ticket)
		if refusal != nil {
			return "", "", false
		}
		return v.poolNumbered(x.pool).Name, x.Ask.User, true
	}
	return t.pool, t.user, t.pool != ""
}

// targetOf says what a command needs and reaches.
func targetOf(body *fsmpb.Body, v *View) target {
	switch k := body.GetKind().(type) {
	case *fsmpb.Body_PutSettings, *fsmpb.Body_SetResponsible:
		return target{right: MayAdminister}
	case *fsmpb.Body_PutContract, *fsmpb.Body_ChangeVendorKeys:
		return target{right: MayLoadContracts}
	case *fsmpb.Body_AddSigningKey, *fsmpb.Body_RetireSigningKey, *fsmpb.Body_ExportSigningKey:
		return target{right: MayAdminister}
	case *fsmpb.Body_CreateToken, *fsmpb.Body_RevokeToken:
		return target{right: MayMakeTokens}
	case *fsmpb.Body_OpenLicenseRequest:
		return target{right: MayOpenRequests}
	case *fsmpb.Body_CloseLicenseRequest:
		return target{right: MayCloseRequests}
	case *fsmpb.Body_CreateInstance:
		return target{right: MayManageInstances, fresh: true, site: k.CreateInstance.GetSite()}
	case *fsmpb.Body_ResizeInstance:
		return target{right: MayManageInstances, serial: k.ResizeInstance.GetSerial(), relabels: k.ResizeInstance.Site != nil}
	case *fsmpb.Body_RemoveInstance:
		return target{right: MayManageInstances, serial: k.RemoveInstance.GetSerial()}
	case *fsmpb.Body_ActivateInstance:
		// A key that is none is refused by the state.
		key, err := signed.VerifyLicenseKey(k.ActivateInstance.GetKey(), v.meta.SigningKeys)
		if err != nil {
			return target{right: MaySelf}
		}
		return target{right: MayActivate, serial: key.Serial}
	}
	if serial, ok := accountTarget(body); ok {
		return target{right: MayKeepAccounts, serial: serial}
	}
	return poolTarget(body, v)
}

// accountTarget finds the instance whose accounts a command changes.
func accountTarget(body *fsmpb.Body) (serial uint64, ok bool) {
	switch k := body.GetKind().(type) {
	case *fsmpb.Body_CreateAccount:
		return k.CreateAccount.GetSerial(), true
	case *fsmpb.Body_BlockAccount:
		return k.BlockAccount.GetSerial(), true
	case *fsmpb.Body_UnblockAccount:
		return k.UnblockAccount.GetSerial(), true
	case *fsmpb.Body_MoveAccount:
		return k.MoveAccount.GetSerial(), true
	case *fsmpb.Body_DeleteAccount:
		return k.DeleteAccount.GetSerial(), true
	case *fsmpb.Body_ImportAccounts:
		return k.ImportAccounts.GetSerial(), true
	case *fsmpb.Body_StageAccounts:
		return k.StageAccounts.GetSerial(), true
	case *fsmpb.Body_SyncAccounts:
		return k.SyncAccounts.GetSerial(), true
	}
	return 0, false
}

// poolTarget is targetOf for what has to do with pools. What it does not know, nobody but root may.
func poolTarget(body *fsmpb.Body, v *View) target {
	switch k := body.GetKind().(type) {
	case *fsmpb.Body_PutPool:
		spec := k.PutPool.GetPool()
		return target{right: MayManagePools, pool: spec.GetName(), site: spec.GetSite(), fresh: true}
	case *fsmpb.Body_ActivatePool:
		return target{right: MayManagePools, pool: k.ActivatePool.GetPool()}
	case *fsmpb.Body_DeletePool:
		return target{right: MayManagePools, pool: k.DeletePool.GetPool()}
	case *fsmpb.Body_Revoke:
		return target{right: MayManagePools, lease: k.Revoke.GetLease()}
	case *fsmpb.Body_Checkout:
		return target{right: MayHaveSeats, pool: k.Checkout.GetPool(), user: k.Checkout.GetUser()}
	case *fsmpb.Body_Renew:
		return target{right: MayHaveSeats, lease: k.Renew.GetLease(), held: true}
	case *fsmpb.Body_CheckIn:
		return target{right: MayHaveSeats, lease: k.CheckIn.GetLease(), held: true}
	case *fsmpb.Body_ConvertProject:
		return target{right: MayHaveSeats, pool: k.ConvertProject.GetPool(), held: true}
	case *fsmpb.Body_KeepTicket:
		return target{right: MayHaveSeats, ticket: k.KeepTicket.GetTicket(), held: true}
	case *fsmpb.Body_ClaimOffer:
		return target{right: MayHaveSeats, ticket: k.ClaimOffer.GetTicket(), held: true}
	case *fsmpb.Body_LeaveQueue:
		return target{right: MayHaveSeats, ticket: k.LeaveQueue.GetTicket(), held: true}
	case *fsmpb.Body_ReturnBorrow:
		b, err := signed.VerifyBorrow(k.ReturnBorrow.GetToken(), v.meta.SigningKeys)
		if err != nil {
			return target{right: MaySelf}
		}
		return target{right: MayHaveSeats, pool: b.Pool, user: b.User}
	}
	return target{right: "none"}
}

// Forbid is the refusal for who may not.
func Forbid(p Principal, reason string) *fsmpb.Refusal {
	return refuse(Forbidden, "role", string(p.Role), "reason", reason)
}
