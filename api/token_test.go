package api_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// The secret is in the answer to the creation, also when that is asked for again, and nowhere else; a dry run has none.
func TestTokenIsShownOnce(t *testing.T) {
	f, all := newSampleFixture(t)
	create := all["createToken"].with("Idempotency-Key", "k")
	dry := create
	dry.path += "?dry_run=true"
	if x := into[apiv1.Token](f.do(dry).want(200)); x.Token != "" || x.ID != 2 {
		t.Errorf("%+v", x)
	}
	made := into[apiv1.Token](f.do(create).want(201))
	again := into[apiv1.Token](f.do(create).want(201))
	if _, _, ok := fsm.ParseToken(made.Token); !ok || made.Token != again.Token {
		t.Errorf("%q, and again %q", made.Token, again.Token)
	}
	for _, path := range []string{"/v1/tokens", "/v1/tokens/2", "/v1/audit", "/v1/tokens/self"} {
		if a := f.get(path).want(200); strings.Contains(string(a.body), made.Token[10:40]) || strings.Contains(string(a.body), `"hash"`) {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if strings.Contains(f.log.String(), made.Token[10:40]) {
		t.Error("the log has it")
	}
}

func TestBootstrapOnce(t *testing.T) {
	f := newFixture(t)
	first := into[apiv1.Token](f.do(request{method: "POST", path: "/v1/tokens/bootstrap", body: "{}"}).want(201))
	if first.Name != "bootstrap" || first.Role != "operator" || first.Expires != nil {
		t.Errorf("%+v", first)
	}
	f.do(request{method: "POST", path: "/v1/tokens/bootstrap", body: "{}"}).refused(apiv1.CodeAlreadyBootstrapped)
	f.do(bearer(request{method: "DELETE", path: "/v1/tokens/1"}, first.Token)).refused(apiv1.CodeLastOperatorToken)
	f.do(bearer(request{method: "POST", path: "/v1/tokens", body: `{"name":"short","role":"operator","expires":"2026-07-01T00:00:00Z"}`}, first.Token)).want(201)
	f.do(bearer(request{method: "DELETE", path: "/v1/tokens/1"}, first.Token)).refused(apiv1.CodeLastOperatorToken)
	f.do(bearer(request{method: "POST", path: "/v1/tokens", body: `{"name":"second","role":"operator"}`}, first.Token)).want(201)
	f.do(bearer(request{method: "DELETE", path: "/v1/tokens/1"}, first.Token)).want(200)
	f.do(bearer(request{method: "GET", path: "/v1/status"}, first.Token)).refused(apiv1.CodeUnauthorized)
	f.do(request{method: "POST", path: "/v1/tokens/bootstrap", body: "{}"}).refused(apiv1.CodeAlreadyBootstrapped)
}

// What rules say of tokens reaches the caller.
func TestTokenRefusals(t *testing.T) {
	f, _ := newSampleFixture(t)
	create := func(fields string) *reply {
		return f.do(request{method: "POST", path: "/v1/tokens", body: `{"name":"n",` + fields + "}"})
	}
	f.create("acme", "gone", 1).want(201)
	f.do(request{method: "DELETE", path: "/v1/instances/2"}).want(200)
	create(`"role":"client","pools":["none"]`).refused(apiv1.CodePoolNotFound)
	create(`"role":"instance","instance":99`).refused(apiv1.CodeInstanceNotFound)
	create(`"role":"instance","instance":2`).refused(apiv1.CodeInstanceRemoved)
	create(`"role":"auditor","expires":"2020-01-01T00:00:00Z"`).refused(apiv1.CodeTokenExpired)
	f.do(request{method: "GET", path: "/v1/tokens/99"}).refused(apiv1.CodeTokenNotFound)
	f.do(request{method: "DELETE", path: "/v1/tokens/99"}).refused(apiv1.CodeTokenNotFound)
	for _, fields := range []string{
		`"role":"client"`, `"role":"operator","site":"lyon"`, `"role":"site-operator"`, `"role":"instance"`, `"role":"auditor","user":"ann"`,
		`"role":"client","pools":["a","a"]`, `"role":"client","pools":[]`, `"role":"root"`, `"role":"metrics"`,
	} {
		f.do(request{method: "POST", path: "/v1/tokens", body: `{"name":"n",` + fields + "}"}.bad()).refused(apiv1.CodeBadRequest)
	}
	f.node.refuse = &fsmpb.Refusal{Code: "token_limit_reached", Facts: []*fsmpb.Fact{{Name: "max", Value: &fsmpb.Fact_Number{Number: fsm.MaxTokens}}}}
	create(`"role":"auditor"`).refused(apiv1.CodeTokenLimitReached)
	f.do(request{method: "POST", path: "/v1/tokens/bootstrap", body: "{}"}).refused(apiv1.CodeTokenLimitReached)
}

// A node that is behind catches up before it says that it knows no such token, and does so for no number that is far away.
func TestTokenThatWasJustMade(t *testing.T) {
	f, _ := newSampleFixture(t)
	made := f.token(`"name":"new","role":"auditor"`)
	f.node.behind = f.node.view()
	next := f.token(`"name":"newer","role":"auditor"`)
	for _, x := range []apiv1.Token{made, next} {
		f.do(bearer(request{method: "GET", path: "/v1/settings"}, x.Token)).want(200)
	}
	reads := f.node.reads()
	f.do(bearer(request{method: "GET", path: "/v1/settings"}, fsm.TokenText(1000, make([]byte, 32)))).refused(apiv1.CodeUnauthorized)
	if f.node.reads() != reads {
		t.Error("anybody can have the node ask the leader")
	}
	f.node.fail = errors.New("no leader")
	f.do(bearer(request{method: "GET", path: "/v1/settings"}, next.Token)).refused(apiv1.CodeUnauthorized)
}

// Uses are noted once an hour, and a node that nobody asks writes nothing (rule D4).
func TestTokenUses(t *testing.T) {
	f, _ := newSampleFixture(t)
	made := f.token(`"name":"n","role":"auditor"`)
	use := func() {
		f.do(bearer(request{method: "GET", path: "/v1/settings"}, made.Token)).want(200)
	}
	noted := func(want int64) {
		t.Helper()
		deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(time.Millisecond)
		defer deadline.Stop()
		defer tick.Stop()
		for f.node.view().Token(made.ID).UsedMs != want {
			select {
			case <-tick.C:
			case <-deadline.C:
				t.Fatalf("used at %d instead of %d", f.node.view().Token(made.ID).UsedMs, want)
			}
		}
	}
	use()
	noted(epoch.UnixMilli())
	for range 100 {
		use()
	}
	f.node.now = epoch.Add(50 * time.Minute)
	use()
	f.node.now = epoch.Add(time.Hour)
	use()
	noted(f.node.now.UnixMilli())
	// One goroutine proposes them in their order, so that all before this one have been.
	if n := f.node.usesNoted(); n != 2 {
		t.Errorf("%d uses were noted instead of two", n)
	}
	if x := into[apiv1.Token](f.get(fmt.Sprint("/v1/tokens/", made.ID))); x.Used == nil || !x.Used.Equal(f.node.now) {
		t.Errorf("%+v", x)
	}
}

// Lists show a site-operator what is its site's, a page at a time.
func TestListsOfASite(t *testing.T) {
	f, _ := newSampleFixture(t)
	for i := range 7 {
		body := fmt.Sprintf(`{"contract":"acme","name":"n%d","allocation":{"primary":1},"site":"%s"}`, i, []string{"lyon", "paris"}[i%2])
		f.do(request{method: "POST", path: "/v1/instances", body: body}).want(201)
	}
	site := f.token(`"name":"n","role":"site-operator","site":"lyon"`).Token
	var names []string
	for after := uint64(0); ; {
		page := into[apiv1.InstanceList](f.do(bearer(request{method: "GET", path: fmt.Sprintf("/v1/instances?limit=3&after=%d", after)}, site)).want(200))
		for _, x := range page.Instances {
			names = append(names, x.Name+"@"+x.Site)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if got := strings.Join(names, " "); got != "n0@lyon n2@lyon n4@lyon n6@lyon" {
		t.Error(got)
	}
	if page := into[apiv1.PoolList](f.do(bearer(request{method: "GET", path: "/v1/pools?limit=1"}, site)).want(200)); len(page.Pools) != 1 || page.Next != "design" {
		t.Errorf("%+v", page)
	}
	f.do(bearer(request{method: "GET", path: "/v1/leases"}, site)).refused(apiv1.CodeForbidden)
	// A new site is another's from then on.
	f.do(request{method: "PATCH", path: "/v1/instances/2", body: `{"site":"paris"}`}).want(200)
	f.do(bearer(request{method: "GET", path: "/v1/instances/2"}, site)).refused(apiv1.CodeForbidden)
	if x := into[apiv1.Instance](f.do(request{method: "PATCH", path: "/v1/instances/2", body: `{"site":""}`}).want(200)); x.Site != "" || x.KeyRevision != 1 {
		t.Errorf("%+v", x)
	}
}

// Who brings no token is whom his certificate names, if that has a role; a token comes first.
func TestCertificateWithARole(t *testing.T) {
	f, _ := newSampleFixture(t)
	handler, err := api.New(api.Options{Node: f.node, Tokens: []api.Token{api.NewToken("operator", token)}, Certified: func(c *x509.Certificate) (fsm.Principal, error) {
		switch c.Subject.CommonName {
		case "ops":
			return fsm.Principal{Kind: fsm.ByCertificate, ID: "ops", Role: fsm.Operator}, nil
		case "plain":
			return fsm.Principal{}, api.ErrNoRole
		}
		return fsm.Principal{}, errors.New("its role is malformed")
	}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(name, auth string, verified bool) int {
		r := request{method: "GET", path: "/v1/settings", anonymous: true}.http(t.Context())
		r.TLS = &tls.ConnectionState{}
		leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
		r.TLS.PeerCertificates = []*x509.Certificate{leaf}
		if verified {
			r.TLS.VerifiedChains = [][]*x509.Certificate{{leaf}}
		}
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		name, auth string
		verified   bool
		want       int
	}{
		{"ops", "", true, 200},
		{"ops", "", false, 401},
		{"plain", "", true, 401},
		{"other", "", true, 401},
		{"ops", "Bearer wrong", true, 401},
		{"plain", "Bearer " + token, true, 200},
	} {
		if got := ask(c.name, c.auth, c.verified); got != c.want {
			t.Errorf("%+v: status %d", c, got)
		}
	}
}

// Whom the issuer names is he, whose token is not good is nobody, and while the issuer is down others go on.
func TestIssuedTokens(t *testing.T) {
	f, _ := newSampleFixture(t)
	self := request{method: "GET", path: "/v1/tokens/self"}
	ann := f.issue("ann", fsm.OfClient, fsm.Scope{Pools: []string{"design"}, User: "ann@acme.example"})
	p := into[apiv1.Principal](f.do(bearer(self, ann)).want(200))
	if p.Kind != "oidc" || p.Issuer != "https://id.example/realms/acme" || p.Subject != "ann" || p.Role != "client" || p.User != "ann@acme.example" ||
		!strings.HasPrefix(p.Actor, "oidc-ann-") || p.Token != nil {
		t.Errorf("%+v", p)
	}
	f.do(bearer(request{method: "GET", path: "/v1/status"}, ann)).want(200)
	for token, want := range map[string]struct {
		code      apiv1.Code
		challenge string
	}{
		"eyJ.e30.x":    {apiv1.CodeUnauthorized, `Bearer realm="licet", error="invalid_token"`},
		"roleless.x.x": {apiv1.CodeForbidden, `Bearer realm="licet", error="insufficient_scope"`},
		"down.x.x":     {apiv1.CodeNotReady, ""},
		// It is no JSON Web Token, so the issuer is not asked.
		"down.x": {apiv1.CodeUnauthorized, `Bearer realm="licet", error="invalid_token"`},
	} {
		a := f.do(bearer(self, token).bad())
		a.refused(want.code)
		if got := a.header.Get("WWW-Authenticate"); got != want.challenge {
			t.Errorf("%s: %q", token, got)
		}
	}
	if a := f.do(bearer(self, "down.x.x").bad()); a.header.Get("Retry-After") != "1" {
		t.Errorf("%v", a.header)
	}
	f.do(self).want(200)
	// The row names who asked, in the grammar of actors, and nothing has the token.
	op := f.issue("Operator Ölaf/1", fsm.Operator, fsm.Scope{})
	f.do(bearer(request{method: "PATCH", path: "/v1/settings", body: `{"request_limit":4000}`}, op)).want(200)
	actor := f.issued[op].Actor()
	rows := into[apiv1.AuditList](f.do(request{method: "GET", path: "/v1/audit?actor=" + actor}).want(200))
	if len(rows.Rows) != 1 || rows.Rows[0].Actor != actor || !strings.HasPrefix(actor, "oidc-Operator_") || len(actor) > 64 {
		t.Errorf("%q: %+v", actor, rows)
	}
	if strings.Contains(f.log.String(), ann[10:]) || strings.Contains(f.log.String(), "signature_") {
		t.Error("the log has a token")
	}
}

// BenchmarkAuthenticate is what it takes to know an API token, and its owner to be allowed, besides the rest of a request.
func BenchmarkAuthenticate(b *testing.B) {
	f := newFixture(b)
	made := f.token(`"name":"n","role":"auditor"`)
	// A view that is at hand, as a node has it.
	f.node.behind = f.node.view()
	for name, value := range map[string]string{"api-token": made.Token, "configuration": token, "none": "x"} {
		b.Run(name, func(b *testing.B) {
			r := bearer(request{method: "GET", path: "/v1/settings"}, value).http(b.Context())
			b.ReportAllocs()
			for b.Loop() {
				f.handler.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
