package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
)

// openID is an issuer of OpenID Connect of the test's own, which can be down.
type openID struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	down atomic.Bool
}

func startOpenID(t *testing.T) *openID {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	says := &oidctest.Server{Algorithms: []string{oidc.ES256}, PublicKeys: []oidctest.PublicKey{{PublicKey: key.Public(), KeyID: "k1", Algorithm: oidc.ES256}}}
	p := &openID{key: key}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			panic(http.ErrAbortHandler)
		}
		says.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	says.SetIssuer(p.URL)
	return p
}

// token is one of a subject in a group, for an hour unless more says otherwise.
func (p *openID) token(t *testing.T, subject, group string, more map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": p.URL, "aud": "licet", "sub": subject, "groups": []string{group}, "exp": time.Now().Add(time.Hour).Unix(),
		"email": subject + "@acme.example", "email_verified": true,
	}
	maps.Copy(claims, more)
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return oidctest.SignIDToken(p.key, "k1", oidc.ES256, string(text))
}

// asks sends a token to a node and returns the answer's status and body.
func (n *Node) asks(token string) (int, string) {
	n.c.t.Helper()
	r, err := http.NewRequestWithContext(n.c.t.Context(), http.MethodGet, n.URL()+"/v1/tokens/self", http.NoBody)
	if err != nil {
		n.c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		n.c.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// TestOpenIDConnect: people come with the tokens of their issuer, through any node, and may what their groups may; the issuer is down
// at the start, and down again later.
func TestOpenIDConnect(t *testing.T) {
	t.Parallel()
	p := startOpenID(t)
	p.down.Store(true)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	c := startCluster(t, setup{
		prepare: func(n *Node) { n.c.write("id-ca.pem", string(authority)) },
		set: map[string]string{
			"oidc.issuer": p.URL, "oidc.audience": "licet", "oidc.ca": "id-ca.pem",
			"oidc.roles": yamlList([]string{
				"operator ops", "auditor audit", "site-operator?site=lyon Lyon operators", "client?pool=lab&user_claim=email cn=designers,ou=acme", "vendor acme-vendor",
			}),
		},
	})
	as := func(token string) string { return c.write(fmt.Sprintf("jwt-%x", token[len(token)-6:]), token+"\n") }
	ops, audit := p.token(t, "ann", "ops", nil), p.token(t, "bob", "audit", nil)
	lyon, designer := p.token(t, "cid", "Lyon operators", nil), p.token(t, "dan", "cn=designers,ou=acme", nil)
	leader, follower := c.Leader(), c.Follower()

	// All nodes are there without the issuer, and who has another token is not held up.
	if status, body := follower.asks(ops); status != http.StatusServiceUnavailable || !strings.Contains(body, "not_ready") || !strings.Contains(body, p.URL) {
		t.Errorf("%d: %s", status, body)
	}
	c.on(follower, "token", "self")
	p.down.Store(false)
	for _, n := range c.nodes {
		eventually(t, "the issuer is back for "+n.id, func() error {
			if status, body := n.asks(ops); status != http.StatusOK {
				return fmt.Errorf("%d: %s", status, body)
			}
			return nil
		})
	}
	for what, token := range map[string]string{
		"another audience": p.token(t, "ann", "ops", map[string]any{"aud": "other"}), "expired": p.token(t, "ann", "ops", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"another issuer": startOpenID(t).token(t, "ann", "ops", nil), "cut": ops[:len(ops)-3],
	} {
		if status, body := follower.asks(token); status != http.StatusUnauthorized {
			t.Errorf("%s: %d: %s", what, status, body)
		}
	}
	if status, body := follower.asks(p.token(t, "eve", "guests", nil)); status != http.StatusForbidden {
		t.Errorf("no role: %d: %s", status, body)
	}

	// Through a follower, so that the leader judges what it did not authenticate.
	run := func(want int, token string, args ...string) string {
		t.Helper()
		code, out, errs := runLicet(t, []string{"LICET_ENDPOINTS=" + follower.URL(), "LICET_TOKEN_FILE=" + as(token)}, args...)
		if code != want {
			t.Errorf("licet %s: exit code %d instead of %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
		}
		return out + errs
	}
	self := run(0, ops, "token", "self")
	for _, text := range []string{"oidc-ann-", "operator", p.URL, "oidc"} {
		if !strings.Contains(self, text) {
			t.Errorf("token self does not say %q:\n%s", text, self)
		}
	}
	contract := c.write("acme.yaml", "id: acme\nrevision: 1\ncustomer: Acme\nemail: a@acme.example\nstart: 2026-01-01\nexpiry: 2099-12-31\nusers:\n  primary: 9\nproducts:\n  cad: {model: floating, quantity: 5}\n")
	mustRun(t, "vendor", "sign", contract, "--key", c.path("vendor.key"), "--out", c.path("acme.signed"))
	run(3, ops, "contract", "apply", c.path("acme.signed"))
	run(0, p.token(t, "val", "acme-vendor", nil), "contract", "apply", c.path("acme.signed"))
	run(0, ops, "instance", "create", "acme", "hq", "--allocate", "primary=1")
	run(3, audit, "instance", "create", "acme", "two", "--allocate", "primary=1")
	run(0, lyon, "pool", "create", "--name", "lab", "--contract", "acme", "--size", "2", "--product", "cad", "--site", "lyon")
	run(3, lyon, "instance", "remove", "1")
	run(0, ops, "pool", "activate", "lab")
	run(0, designer, "checkout", "lab", "cad", "--user", "dan@acme.example", "--client", "ws-1", "-o", "json")
	run(3, designer, "checkout", "lab", "cad", "--user", "ann@acme.example", "--client", "ws-1")
	trail := run(0, audit, "audit", "list")
	for _, actor := range []string{"oidc-ann-", "oidc-cid-", "oidc-dan-", "oidc-val-"} {
		if !strings.Contains(trail, actor) {
			t.Errorf("the audit trail does not name %s…:\n%s", actor, trail)
		}
	}

	// What is no command is judged too, and told with who asked for it.
	run(3, audit, "cluster", "transfer")
	run(3, designer, "gossip", "key", "rotate")
	run(0, ops, "cluster", "transfer", "--to", follower.id)
	leader.WaitLog(0, "leadership handed over")
	if told := grep(leader.log(), "leadership handed over"); !strings.Contains(told, "by=oidc-ann-") {
		t.Errorf("the log does not say who asked: %s", told)
	}

	// The keys are known, so that it does no harm that the issuer is down again.
	p.down.Store(true)
	if status, body := follower.asks(audit); status != http.StatusOK {
		t.Errorf("%d: %s", status, body)
	}
	for _, n := range c.nodes {
		for _, token := range []string{ops, audit, lyon, designer} {
			if parts := strings.Split(token, "."); strings.Contains(n.log(), parts[1]) || strings.Contains(n.log(), parts[2]) {
				t.Errorf("the log of %s has a token", n.id)
			}
		}
	}
}

// TestOpenIDConnectMisconfigured: what can't be meant is said, and nothing starts with it.
func TestOpenIDConnectMisconfigured(t *testing.T) {
	t.Parallel()
	c := newCluster(t, setup{nodes: sites[:1]})
	n := c.nodes[0]
	good := map[string]string{"oidc.issuer": "https://id.example", "oidc.audience": "licet", "oidc.roles": yamlList([]string{"operator ops"})}
	check := func(change map[string]string) (int, string) {
		set := maps.Clone(good)
		maps.Copy(set, change)
		code, out, errs := runLicet(t, nil, "config", "check", c.write("try.yaml", n.config(set)))
		return code, out + errs
	}
	if code, said := check(nil); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}
	for grant, reason := range map[string]string{
		"boss ops": "is none of", "root ops": "is none of", "metrics ops": "is none of", "site-operator ops": "needs one", "client ops": "pools", "operator?site=paris ops": "has none",
		"client?pool=a&colour=red ops": "malformed", "client?pool=a&user=ann&user_claim=email ops": "user_claim=", "operator?user_claim=email ops": "user_claim=",
		"client?pool=a&user_claim= ops": "user_claim=", "client?pool=%zz ops": "malformed",
	} {
		if code, said := check(map[string]string{"oidc.roles": yamlList([]string{grant})}); code != 2 || !strings.Contains(said, "oidc.roles") || !strings.Contains(said, reason) {
			t.Errorf("%s: exit code %d: %s", grant, code, said)
		}
	}
	c.write("empty.pem", "nothing\n")
	if code, said := check(map[string]string{"oidc.ca": "empty.pem"}); code != 2 || !strings.Contains(said, "oidc.ca") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
