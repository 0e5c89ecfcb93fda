package api_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// updateDocs has TestRolesDocument write its table.
var updateDocs = flag.Bool("update", false, "write the table of docs/roles.md")

// letters stand for roles in the table below, in the order of the document's columns.
var letters = []struct {
	letter string
	role   fsm.Role
}{
	{"o", fsm.Operator}, {"s", fsm.SiteOperator}, {"a", fsm.Auditor}, {"i", fsm.OfInstance}, {"c", fsm.OfClient}, {"v", fsm.Vendor}, {"m", fsm.Scraper},
}

// access says which roles may use which operation. It is written by hand, and docs/roles.md is made from it: a route that has no row
// here fails TestEveryRouteWithEveryRole, and so does one that is served to anybody else. Root, the token of a node's configuration, may use all.
var access = map[string]string{
	"getMetrics": "oam", "getStatus": "osaicv", "getKeys": "osaicv", "getPrincipal": "osaicv",
	"listSigningKeys": "oa", "rotateSigningKey": "o", "retireSigningKey": "o", "listVendorKeys": "oav", "changeVendorKeys": "v",
	"listMembers": "oa", "listGossipKeys": "oa", "getSettings": "oa", "listAudit": "oa", "getAuditRow": "oa", "getBackup": "oa", "listNotices": "oa",
	"getProfile": "o", "removeMember": "o", "transferLeadership": "o", "rotateGossipKey": "o", "createJoinToken": "o", "leaveCluster": "o", "restoreBackup": "o", "updateSettings": "o",
	"listTokens": "oa", "getToken": "oa", "createToken": "o", "bootstrapTokens": "o", "revokeToken": "o",
	"listContracts": "oav", "getContract": "oav", "getContractTotals": "oav", "getResponsible": "oav", "putContract": "v", "setResponsible": "o", "resetResponsible": "o",
	"listRequests": "oav", "getRequest": "oav", "openRequest": "o", "closeRequest": "ov",
	"listInstances": "osa", "getInstance": "osai", "getInstanceKey": "osai", "getInstanceTotals": "osai", "createInstance": "os", "resizeInstance": "os", "removeInstance": "os",
	"listAccounts": "osai", "getAccount": "osai", "exportAccounts": "osai", "createAccount": "osi", "changeAccount": "osi", "deleteAccount": "osi",
	"importAccounts": "osi", "importStaged": "osi", "stageAccounts": "osi", "syncAccounts": "osi", "syncStaged": "osi", "activate": "osi",
	"listPools": "osa", "getPool": "osac", "getUsage": "osa", "listProjects": "osa", "listTickets": "osa", "listLeases": "osa",
	"createPool": "os", "replacePool": "os", "deletePool": "os", "activatePool": "os", "deactivatePool": "os", "revokeLease": "os",
	"checkout": "osc", "explainCheckout": "osac", "renewLease": "osc", "returnLease": "osc", "returnBorrow": "osc", "bulk": "osc", "convertProject": "osc",
	"getLease": "osac", "getTicket": "osac", "keepTicket": "osc", "claimOffer": "osc", "leaveQueue": "osc",
}

// unscoped are the operations that have nothing to do with a scope: whoever has the role may use them, whatever its scope is.
var unscoped = []string{"getStatus", "getKeys", "getPrincipal"}

// filtered are the lists of which each shows what is within the caller's scope.
var filtered = []string{"listInstances", "listPools"}

// proofs are the ways to prove that one has a role.
var proofs = []fsm.Proof{fsm.ByToken, fsm.ByIssuer}

// rolesFixture is a server with what belongs to site lyon, and a token of each role with its own scope and with another's.
type rolesFixture struct {
	*fixture
	own, other map[fsm.Role]string
}

func (f *fixture) token(fields string) apiv1.Token {
	f.t.Helper()
	return into[apiv1.Token](f.do(request{method: "POST", path: "/v1/tokens", body: "{" + fields + "}"}).want(201))
}

func newRolesFixture(f *fixture, op operation, proof fsm.Proof) *rolesFixture {
	f.t.Helper()
	serial, stranger := 1, 3
	if strings.Contains(op.path, "/instances/{serial}/") && !strings.HasSuffix(op.path, "/key") && f.node.view().Instances("acme", 1, 1) != nil {
		serial = 2
	}
	for n := len(f.node.view().Instances("", 0, 10)); n < stranger; n++ {
		f.create("acme", fmt.Sprint("more-", n), 1).want(201)
	}
	for n := 1; n < stranger; n++ {
		f.do(request{method: "PATCH", path: fmt.Sprint("/v1/instances/", n), body: `{"site":"lyon"}`}).want(200)
	}
	f.pool(`{"name":"strange","contract":"acme","size":1,"shared":true,"products":{"cad":{}}}`)
	r := &rolesFixture{fixture: f, own: map[fsm.Role]string{fsm.Scraper: scrapeToken}, other: map[fsm.Role]string{}}
	for _, x := range []struct {
		role       fsm.Role
		own, other fsm.Scope
	}{
		{role: fsm.Operator},
		{role: fsm.Auditor},
		{role: fsm.Vendor},
		{fsm.SiteOperator, fsm.Scope{Site: "lyon"}, fsm.Scope{Site: "nantes"}},
		{fsm.OfInstance, fsm.Scope{Instance: uint64(serial)}, fsm.Scope{Instance: uint64(stranger)}},
		{fsm.OfClient, fsm.Scope{Pools: []string{"design", "tokens"}}, fsm.Scope{Pools: []string{"strange"}}},
	} {
		r.own[x.role] = f.proved(proof, x.role, x.own)
		if x.other.Proto() != nil {
			r.other[x.role] = f.proved(proof, x.role, x.other)
		}
	}
	return r
}

// proved makes a token with which somebody proves to have a role.
func (f *fixture) proved(proof fsm.Proof, role fsm.Role, x fsm.Scope) string {
	f.t.Helper()
	if proof == fsm.ByIssuer {
		return f.issue("ann", role, x)
	}
	return into[apiv1.Token](f.send("POST", "/v1/tokens", apiv1.TokenCreation{
		Name: "t", Role: apiv1.AccessRole(role), Site: x.Site, Instance: x.Instance, Pools: x.Pools,
	}).want(201)).Token
}

func bearer(r request, token string) request { return r.with("Authorization", "Bearer "+token) }

// Every route with every role, about what is its own and what is another's.
func TestEveryRouteWithEveryRole(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		may, listed := access[op.OperationID]
		if op.open() {
			if listed {
				t.Error("an open route has a row")
			}
			f.do(bearer(sample, "whoever")).want(200)
			return
		}
		if !listed {
			t.Fatal("no row of the table says who may use it")
		}
		for _, x := range letters {
			for _, proof := range proofs {
				checkRole(t, op, x.role, proof, strings.Contains(may, x.letter))
			}
		}
	})
}

// checkRole tries an operation on a fresh server with a role, about what is its own and what is another's.
func checkRole(t *testing.T, op operation, role fsm.Role, proof fsm.Proof, may bool) {
	t.Helper()
	if role == fsm.Scraper && proof == fsm.ByIssuer {
		return // the role of a token of the configuration alone
	}
	newFixture := newSampleFixture
	if slices.Contains([]string{"accounts", "notices", "requests"}, op.Tags[0]) {
		newFixture = newAccountFixture
	}
	f, all := newFixture(t)
	r, sample := newRolesFixture(f, op, proof), all[op.OperationID]
	if op.OperationID == "resizeInstance" && role == fsm.SiteOperator {
		// To give a site is the operators'.
		f.do(bearer(sample, r.own[role])).want(403)
		sample.body = `{"allocation":{"primary":10}}`
	}
	if op.OperationID == "bootstrapTokens" && role == fsm.Operator && proof == fsm.ByToken {
		f.do(bearer(sample, r.own[role])).refused(apiv1.CodeAlreadyBootstrapped)
		return
	}
	if other := r.other[role]; other != "" && !slices.Contains(unscoped, op.OperationID) {
		r.check(sample, other, role, op, may && slices.Contains(filtered, op.OperationID))
	}
	r.check(sample, r.own[role], role, op, may)
}

func (r *rolesFixture) check(sample request, token string, role fsm.Role, op operation, may bool) {
	r.t.Helper()
	before, proposals := r.node.view().Digest(), r.node.proposals
	a := r.do(bearer(sample, token))
	if may {
		if a.status >= 300 {
			r.t.Errorf("%s, %s: status %d: %s", op.OperationID, role, a.status, clip(string(a.body), 300))
		}
		return
	}
	p := a.want(403).refused(apiv1.CodeForbidden)
	if !strings.Contains(p.Detail, string(role)) || a.header.Get("WWW-Authenticate") != `Bearer realm="licet", error="insufficient_scope"` {
		r.t.Errorf("%s, %s: %s; %v", op.OperationID, role, p.Detail, a.header)
	}
	// A use may be noted meanwhile; nothing else may change.
	if r.node.usesNoted() == 0 && r.node.view().Digest() != before || r.node.proposals != proposals {
		r.t.Errorf("%s, %s: something was done", op.OperationID, role)
	}
}

// Every route without a token, and with each kind of token that is none.
func TestEveryRouteWithoutARight(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		if op.open() {
			t.Skip("it needs no token")
		}
		good := f.token(`"name":"good","role":"operator"`).Token
		revoked := f.token(`"name":"revoked","role":"operator"`)
		expired := f.token(`"name":"expired","role":"operator","expires":"2026-06-01T13:00:00Z"`).Token
		f.do(request{method: "DELETE", path: fmt.Sprint("/v1/tokens/", revoked.ID)}).want(200)
		f.node.now = epoch.Add(2 * time.Hour)
		id, secret, ok := fsm.ParseToken(good)
		if !ok {
			t.Fatalf("%q is no token", good)
		}
		other := slices.Clone(secret)
		other[0] ^= 1
		anonymous := sample
		anonymous.anonymous = true
		for name, r := range map[string]request{
			"none": anonymous, "revoked": bearer(sample, revoked.Token), "expired": bearer(sample, expired),
			"another cluster's": bearer(sample, fsm.TokenText(id, other)), "another number": bearer(sample, fsm.TokenText(id-1, secret)),
			"a number to come": bearer(sample, fsm.TokenText(id+5, secret)), "a number far away": bearer(sample, fsm.TokenText(1<<60, secret)),
			"a bit": bearer(sample, good[:len(good)-1]+"g"), "cut": bearer(sample, good[:len(good)-8]), "in capitals": bearer(sample, strings.ToUpper(good)),
			"a token of no issuer": bearer(sample, "eyJhbGciOiJub25lIn0.e30."), "dots": bearer(sample, ".."),
			"the secret alone": bearer(sample, good[strings.LastIndex(good, "_")+1:]), "the hash": bearer(sample, hex.EncodeToString(secret)),
			"a user's password": sample.with("Authorization", "Basic "+good), "two": sample.with("Authorization", "Bearer "+good, "Bearer "+good),
		} {
			before, proposals := f.node.view().Digest(), f.node.proposals
			a := f.do(r.bad()).want(401)
			p := a.refused(apiv1.CodeUnauthorized)
			if challenge := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer") {
				t.Errorf("%s: WWW-Authenticate: %q", name, challenge)
			}
			if f.node.view().Digest() != before || f.node.proposals != proposals {
				t.Errorf("%s: something was done", name)
			}
			if name == "expired" && !strings.Contains(p.Detail, "2026-06-01T13:00:00Z") {
				t.Errorf("%s: %s", name, p.Detail)
			}
			for _, text := range []string{good, revoked.Token, expired, hex.EncodeToString(secret)} {
				if bytes.Contains(a.body, []byte(text[len(text)-40:])) || strings.Contains(f.log.String(), text[len(text)-40:]) {
					t.Errorf("%s: a token stands in the answer or the log", name)
				}
			}
		}
	})
}

// A token in the URL is no token, and is refused with the parameter.
func TestTokenInTheURL(t *testing.T) {
	f, _ := newSampleFixture(t)
	good := f.token(`"name":"good","role":"operator"`).Token
	for _, name := range []string{"token", "access_token"} {
		f.do(request{method: "GET", path: "/v1/status?" + name + "=" + good, anonymous: true}.bad()).refused(apiv1.CodeUnauthorized)
	}
	if strings.Contains(f.log.String(), good[10:]) {
		t.Error("the log has the token")
	}
}

// TestRolesDocument: docs/roles.md has the table, route by route.
func TestRolesDocument(t *testing.T) {
	var table strings.Builder
	table.WriteString("| route |")
	for _, x := range letters {
		fmt.Fprintf(&table, " %s |", x.role)
	}
	table.WriteString("\n|" + strings.Repeat(" --- |", len(letters)+1) + "\n")
	for _, op := range operations() {
		if op.open() {
			continue
		}
		fmt.Fprintf(&table, "| `%s %s` |", op.method, op.path)
		for _, x := range letters {
			mark := " "
			switch {
			case !strings.Contains(access[op.OperationID], x.letter):
			case x.role == fsm.SiteOperator || x.role == fsm.OfInstance || x.role == fsm.OfClient:
				mark = " its own "
				if slices.Contains(unscoped, op.OperationID) {
					mark = " yes "
				}
			default:
				mark = " yes "
			}
			table.WriteString(mark + "|")
		}
		table.WriteString("\n")
	}
	const file, begin, end = "../docs/roles.md", "<!-- table -->\n", "<!-- end of table -->"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("docs/roles.md has no place for the table")
	}
	want := before + begin + "\n" + table.String() + "\n" + end + after
	if *updateDocs {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Error("docs/roles.md has another table: go test ./api -run RolesDocument -update")
	}
}
