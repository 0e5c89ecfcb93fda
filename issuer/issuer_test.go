package issuer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/issuer"
)

const audience = "licet"

// epoch is when tests begin.
var epoch = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// private are keys by algorithm; making one of RSA takes its time.
var private = sync.OnceValue(func() map[string]crypto.Signer {
	long, err1 := rsa.GenerateKey(rand.Reader, 2048)
	curve, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edwards, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{oidc.RS256: long, oidc.ES256: curve, oidc.EdDSA: edwards}
})

// provider is an issuer that can fail, and counts how often it is asked.
type provider struct {
	*httptest.Server
	mu    sync.Mutex
	says  oidctest.Server
	down  bool
	asked map[string]int
	// hang has answers wait until it is closed.
	hang chan struct{}
}

// startProvider starts an issuer whose keys are called after their algorithms.
func startProvider(t *testing.T, algorithms ...string) *provider {
	t.Helper()
	p := &provider{asked: map[string]int{}}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.answer))
	t.Cleanup(p.Close)
	p.says.SetIssuer(p.URL)
	p.says.Algorithms = algorithms
	for _, a := range algorithms {
		p.list(a, a, private()[a].Public())
	}
	return p
}

func (p *provider) list(kid, algorithm string, key crypto.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.says.PublicKeys = append(p.says.PublicKeys, oidctest.PublicKey{PublicKey: key, KeyID: kid, Algorithm: algorithm})
}

// only has it list one key alone.
func (p *provider) only(kid, algorithm string, key crypto.PublicKey) {
	p.mu.Lock()
	p.says.PublicKeys = nil
	p.mu.Unlock()
	p.list(kid, algorithm, key)
}

func (p *provider) fail(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// times is how often it was asked for its keys.
func (p *provider) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked["/keys"]
}

func (p *provider) answer(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	hang := p.hang
	p.mu.Unlock()
	if hang != nil {
		<-hang
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	if p.down {
		panic(http.ErrAbortHandler)
	}
	p.says.ServeHTTP(w, r)
}

// claims are those of a good token of a group; more replace them.
func (p *provider) claims(more map[string]any) string {
	all := map[string]any{
		"iss": p.URL, "aud": audience, "sub": "ann", "exp": epoch.Add(time.Hour).Unix(), "iat": epoch.Unix(),
		"email": "ann@acme.example", "email_verified": true, "groups": []string{"staff", "ops"},
	}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (p *provider) token(algorithm string, more map[string]any) string {
	return oidctest.SignIDToken(private()[algorithm], algorithm, algorithm, p.claims(more))
}

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var roles = []issuer.Role{
	{Group: "ops", Role: fsm.Operator},
	{Group: "audit", Role: fsm.Auditor},
	{Group: "Paris, operators", Role: fsm.SiteOperator, Scope: fsm.Scope{Site: "paris"}},
	{Group: "portal", Role: fsm.OfInstance, Scope: fsm.Scope{Instance: 7}},
	{Group: "designers", Role: fsm.OfClient, Scope: fsm.Scope{Pools: []string{"design"}}, UserClaim: "email"},
	{Group: "simulators", Role: fsm.OfClient, Scope: fsm.Scope{Pools: []string{"cad", "sim"}}, UserClaim: "email"},
	{Group: "named", Role: fsm.OfClient, Scope: fsm.Scope{Pools: []string{"named"}}, UserClaim: "preferred_username"},
	{Group: "farm", Role: fsm.OfClient, Scope: fsm.Scope{Pools: []string{"render"}}},
	{Group: "vendor", Role: fsm.Vendor},
}

func trusting(t *testing.T, p *provider, change func(*issuer.Options)) (*issuer.Issuer, *clock) {
	t.Helper()
	c := &clock{now: epoch}
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	o := issuer.Options{Name: p.URL, Audience: audience, Authorities: pool, Claim: "groups", Roles: roles, Now: c.Now}
	if change != nil {
		change(&o)
	}
	i, err := issuer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i, c
}

func codeOf(err error) string {
	if known := faultOf(err); known != nil {
		return known.Code()
	}
	return fmt.Sprint(err)
}

// faultOf is nil for what is no error of the package.
func faultOf(err error) *issuer.Error {
	var known *issuer.Error
	errors.As(err, &known)
	return known
}

func groups(list ...string) map[string]any { return map[string]any{"groups": list} }

// Each group has its role, whichever algorithm the issuer signs with.
func TestRoles(t *testing.T) {
	p := startProvider(t, oidc.RS256, oidc.ES256, oidc.EdDSA)
	i, _ := trusting(t, p, nil)
	for _, algorithm := range []string{oidc.RS256, oidc.ES256, oidc.EdDSA} {
		for _, c := range []struct {
			claims map[string]any
			role   fsm.Role
			scope  fsm.Scope
		}{
			{groups("ops"), fsm.Operator, fsm.Scope{}},
			{groups("staff", "audit"), fsm.Auditor, fsm.Scope{}},
			{groups("Paris, operators"), fsm.SiteOperator, fsm.Scope{Site: "paris"}},
			{groups("portal"), fsm.OfInstance, fsm.Scope{Instance: 7}},
			{groups("designers"), fsm.OfClient, fsm.Scope{Pools: []string{"design"}, User: "ann@acme.example"}},
			{groups("farm"), fsm.OfClient, fsm.Scope{Pools: []string{"render"}}},
			{groups("vendor"), fsm.Vendor, fsm.Scope{}},
			{map[string]any{"groups": "ops"}, fsm.Operator, fsm.Scope{}},
			{map[string]any{"groups": []any{1, nil, "ops"}}, fsm.Operator, fsm.Scope{}},
			{map[string]any{"aud": []string{"other", audience}}, fsm.Operator, fsm.Scope{}},
			// The first in the configuration counts, not in the token; pools of clients with the same users are joined.
			{groups("audit", "ops"), fsm.Operator, fsm.Scope{}},
			{groups("farm", "simulators", "designers", "named"), fsm.OfClient, fsm.Scope{Pools: []string{"cad", "design", "sim"}, User: "ann@acme.example"}},
		} {
			got, err := i.Principal(t.Context(), p.token(algorithm, c.claims))
			if err != nil {
				t.Errorf("%s, %v: %v", algorithm, c.claims, err)
				continue
			}
			if got.Kind != fsm.ByIssuer || got.ID != p.URL+"#ann" || got.Role != c.role || got.Scope.Site != c.scope.Site ||
				got.Scope.Instance != c.scope.Instance || got.Scope.User != c.scope.User || !slices.Equal(got.Scope.Pools, c.scope.Pools) {
				t.Errorf("%s, %v: %+v", algorithm, c.claims, got)
			}
			if !strings.HasPrefix(got.Actor(), "oidc-ann-") {
				t.Error(got.Actor())
			}
		}
	}
	if p.times() != 1 {
		t.Errorf("the issuer was asked %d times for its keys", p.times())
	}
}

// A token that is good and gives no role, or names no user where one is needed, is for somebody who may do nothing.
func TestNoRole(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	i, _ := trusting(t, p, nil)
	for what, more := range map[string]map[string]any{
		"another group": groups("staff"), "no groups": {"groups": nil}, "groups of another kind": {"groups": map[string]any{"ops": true}}, "a number": {"groups": 7},
		"no address":            {"groups": "designers", "email": nil},
		"an address to come":    {"groups": "designers", "email_verified": false},
		"an address of nobody":  {"groups": "designers", "email_verified": nil},
		"no name":               {"groups": "named"},
		"a name of two lines":   {"groups": "named", "preferred_username": "a\nb"},
		"a name without an end": {"groups": "named", "preferred_username": strings.Repeat("a", 255)},
		"a subject of no text":  {"sub": "a\x00b"},
		"a long subject":        {"sub": strings.Repeat("a", 256)},
		"no subject":            {"sub": nil},
	} {
		got, err := i.Principal(t.Context(), p.token(oidc.ES256, more))
		if codeOf(err) != "forbidden" || got.Role != "" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// Claims within others are found, and one whose own name has dots goes before.
func TestNestedClaim(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	i, _ := trusting(t, p, func(o *issuer.Options) { o.Claim = "realm_access.roles" })
	nested := map[string]any{"groups": nil, "realm_access": map[string]any{"roles": []string{"audit"}}}
	if got, err := i.Principal(t.Context(), p.token(oidc.ES256, nested)); err != nil || got.Role != fsm.Auditor {
		t.Errorf("%+v, %v", got, err)
	}
	nested["realm_access.roles"] = "ops"
	if got, err := i.Principal(t.Context(), p.token(oidc.ES256, nested)); err != nil || got.Role != fsm.Operator {
		t.Errorf("%+v, %v", got, err)
	}
}

// unsigned puts a token together by hand.
func unsigned(header, claims, signature string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + signature
}

// What is not the issuer's, not for licet, or not of now is not believed, whatever algorithm or key it names.
func TestBadTokens(t *testing.T) {
	p := startProvider(t, oidc.RS256, oidc.ES256)
	other := startProvider(t, oidc.ES256)
	i, _ := trusting(t, p, nil)
	public := private()[oidc.RS256].Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := p.token(oidc.RS256, nil)
	parts := strings.Split(good, ".")
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{
		"another audience": p.token(oidc.RS256, map[string]any{"aud": "other"}), "no audience": p.token(oidc.RS256, map[string]any{"aud": nil}),
		"another issuer": other.token(oidc.ES256, nil), "an issuer that says it is this one": oidctest.SignIDToken(stranger, oidc.ES256, oidc.ES256, p.claims(nil)),
		"this issuer's key for another issuer": p.token(oidc.RS256, map[string]any{"iss": other.URL}), "no issuer": p.token(oidc.RS256, map[string]any{"iss": nil}),
		"expired": p.token(oidc.RS256, map[string]any{"exp": epoch.Add(-time.Second).Unix()}), "no end": p.token(oidc.RS256, map[string]any{"exp": nil}),
		"not yet valid": p.token(oidc.RS256, map[string]any{"nbf": epoch.Add(10 * time.Minute).Unix()}),
		"none":          unsigned(`{"alg":"none","kid":"RS256"}`, p.claims(nil), ""), "none with a signature": unsigned(`{"alg":"none"}`, p.claims(nil), parts[2]),
		"None": unsigned(`{"alg":"None"}`, p.claims(nil), ""), "no algorithm": unsigned(`{"kid":"RS256"}`, p.claims(nil), parts[2]),
		"HS256 with the public key as text":  oidctest.SignIDToken(text, oidc.RS256, "HS256", p.claims(nil)),
		"HS256 with the public key as bytes": oidctest.SignIDToken(der, oidc.RS256, "HS256", p.claims(nil)),
		"HS256 with the modulus":             oidctest.SignIDToken(public.(*rsa.PublicKey).N.Bytes(), oidc.RS256, "HS256", p.claims(nil)),
		"an algorithm that is not the key's": oidctest.SignIDToken(private()[oidc.RS256], oidc.RS256, oidc.RS512, p.claims(nil)),
		"another key's algorithm":            oidctest.SignIDToken(private()[oidc.ES256], oidc.RS256, oidc.ES256, p.claims(nil)),
		"an algorithm that it does not use":  oidctest.SignIDToken(private()[oidc.EdDSA], oidc.EdDSA, oidc.EdDSA, p.claims(nil)),
		"other claims":                       parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(p.claims(groups("vendor")))) + "." + parts[2],
		"a key that it brings":               unsigned(`{"alg":"ES256","jwk":{"kty":"EC","crv":"P-256"}}`, p.claims(nil), parts[2]),
		"a critical extension":               unsigned(`{"alg":"RS256","kid":"RS256","crit":["exp"]}`, p.claims(nil), parts[2]),
		"a token that ends a session":        unsigned(`{"alg":"RS256","kid":"RS256","typ":"logout+jwt"}`, p.claims(nil), parts[2]),
		"cut":                                good[:len(good)-4], "two parts": parts[0] + "." + parts[1], "four parts": good + ".x", "no parts": "..", "empty": "",
		"JSON":      `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"no base64": "eyJ!.e!.x!", "no JSON": unsigned("{", "{", "x"),
		"long": p.token(oidc.RS256, map[string]any{"padding": strings.Repeat("a", issuer.MaxToken)}),
		"deep": unsigned(`{"alg":"RS256","kid":"RS256"}`, strings.Repeat("[", 8000), parts[2]),
	} {
		got, err := i.Principal(t.Context(), token)
		if codeOf(err) != "unauthorized" || got.Role != "" || got.ID != "" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if err != nil && len(parts[2]) > 20 && strings.Contains(err.Error()+faultOf(err).Next(), parts[2][:20]) {
			t.Errorf("%s: the error has the token", what)
		}
	}
	if got, err := i.Principal(t.Context(), good); err != nil || got.Role != fsm.Operator {
		t.Errorf("%+v, %v", got, err)
	}
	if n := p.times(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// A key that says its algorithm takes no other of the issuer's; and what the issuer does not use, nobody does.
func TestAlgorithmOfAKey(t *testing.T) {
	p := startProvider(t, oidc.RS256)
	p.says.Algorithms = []string{oidc.RS256, oidc.RS512}
	p.list("any", "", private()[oidc.RS256].Public())
	i, _ := trusting(t, p, nil)
	for _, c := range []struct {
		kid, algorithm string
		may            bool
	}{{oidc.RS256, oidc.RS256, true}, {oidc.RS256, oidc.RS512, false}, {"any", oidc.RS512, true}, {"any", oidc.RS384, false}, {"any", oidc.PS256, false}, {"", oidc.RS512, true}} {
		_, err := i.Principal(t.Context(), oidctest.SignIDToken(private()[oidc.RS256], c.kid, c.algorithm, p.claims(nil)))
		if (err == nil) != c.may {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// signTyped signs with the key of ES256 a token that says what it is.
func signTyped(t *testing.T, kind, claims string) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(kind)).WithHeader("kid", oidc.ES256)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private()[oidc.ES256]}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A token of another kind with a good signature is none either.
func TestTypeOfToken(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	i, _ := trusting(t, p, nil)
	for kind, may := range map[string]bool{"JWT": true, "at+jwt": true, "logout+jwt": false, "dpop+jwt": false} {
		_, err := i.Principal(t.Context(), signTyped(t, kind, p.claims(nil)))
		if (err == nil) != may {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// A new key is found with the first token that it signed; one that the issuer took back is not believed for long.
func TestRotation(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	i, c := trusting(t, p, nil)
	old := p.token(oidc.ES256, map[string]any{"exp": epoch.Add(48 * time.Hour).Unix()})
	if _, err := i.Principal(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.only("next", oidc.ES256, next.Public())
	fresh := oidctest.SignIDToken(next, "next", oidc.ES256, p.claims(nil))
	// The issuer was asked just now.
	if _, err := i.Principal(t.Context(), fresh); codeOf(err) != "unauthorized" || !strings.Contains(faultOf(err).Next(), "10s") {
		t.Errorf("%v", err)
	}
	c.advance(10 * time.Second)
	if _, err := i.Principal(t.Context(), fresh); err != nil {
		t.Error(err)
	}
	if _, err := i.Principal(t.Context(), old); codeOf(err) != "unauthorized" {
		t.Errorf("a key that is not listed any more: %v", err)
	}
	// Without a token of a new key it takes ten minutes.
	p.only(oidc.ES256, oidc.ES256, private()[oidc.ES256].Public())
	c.advance(11 * time.Minute)
	if _, err := i.Principal(t.Context(), fresh); err != nil {
		t.Errorf("who comes after ten minutes does not wait: %v", err)
	}
	eventually(t, "the key is forgotten", func() error {
		if _, err := i.Principal(t.Context(), fresh); codeOf(err) != "unauthorized" {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// However many tokens come, with keys that nobody has or signatures that are wrong, the issuer is asked every ten seconds at most.
func TestFlood(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	i, c := trusting(t, p, nil)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for n := range 100 {
		token := oidctest.SignIDToken(stranger, fmt.Sprint("key-", n), oidc.ES256, p.claims(nil))
		if n%10 == 0 {
			token = oidctest.SignIDToken(stranger, "", oidc.ES256, p.claims(nil))
		}
		done.Go(func() {
			if _, err := i.Principal(t.Context(), token); codeOf(err) == "<nil>" {
				t.Error("a stranger's token is believed")
			}
		})
	}
	done.Wait()
	if n := p.times(); n != 1 {
		t.Errorf("the issuer was asked %d times at once", n)
	}
	for range 6 {
		c.advance(10 * time.Second)
		for n := range 20 {
			if _, err := i.Principal(t.Context(), oidctest.SignIDToken(stranger, fmt.Sprint("key-", n), oidc.ES256, p.claims(nil))); codeOf(err) != "unauthorized" {
				t.Fatal(err)
			}
		}
	}
	if n := p.times(); n != 7 {
		t.Errorf("the issuer was asked %d times in a minute", n)
	}
	// A known key with a wrong signature is no reason at all.
	c.advance(10 * time.Second)
	if _, err := i.Principal(t.Context(), oidctest.SignIDToken(stranger, oidc.ES256, oidc.ES256, p.claims(nil))); codeOf(err) != "unauthorized" {
		t.Error(err)
	}
	if n := p.times(); n != 7 {
		t.Errorf("the issuer was asked because of a wrong signature")
	}
}

// An issuer that is down at the start holds up its own tokens alone, is not asked too often, and is heard when it is back.
func TestIssuerDownAtTheStart(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	p.fail(true)
	log := new(bytes.Buffer)
	i, c := trusting(t, p, func(o *issuer.Options) { o.Log = hclog.New(&hclog.LoggerOptions{Output: log}) })
	if p.asked["/.well-known/openid-configuration"] != 0 {
		t.Error("the issuer is asked before there is a token")
	}
	good := p.token(oidc.ES256, nil)
	attempts := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.asked["/.well-known/openid-configuration"]
	}
	for range 600 {
		if _, err := i.Principal(t.Context(), good); codeOf(err) != "not_ready" || faultOf(err).RetryAfter() <= 0 {
			t.Fatalf("%v", err)
		}
		c.advance(time.Second)
	}
	// After 1, 2, 4, 8, 16, 32 seconds, then every minute.
	if n := attempts(); n < 10 || n > 17 {
		t.Errorf("the issuer was asked %d times in ten minutes", n)
	}
	if n := strings.Count(log.String(), "can't be asked"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, log)
	}
	p.fail(false)
	c.advance(time.Minute)
	if _, err := i.Principal(t.Context(), p.token(oidc.ES256, map[string]any{"exp": epoch.Add(time.Hour).Unix()})); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "answers again") {
		t.Errorf("it is not told:\n%s", log)
	}
}

// While the issuer is down, its keys are believed for a day; what they do not sign can't be told from what a new one does.
func TestIssuerDownLater(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	i, c := trusting(t, p, nil)
	good := p.token(oidc.ES256, map[string]any{"exp": epoch.Add(48 * time.Hour).Unix()})
	if _, err := i.Principal(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	p.fail(true)
	for range 23 {
		c.advance(time.Hour)
		if _, err := i.Principal(t.Context(), good); err != nil {
			t.Fatal(err)
		}
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Principal(t.Context(), oidctest.SignIDToken(stranger, "new", oidc.ES256, p.claims(nil))); codeOf(err) != "not_ready" {
		t.Errorf("a key to come: %v", err)
	}
	c.advance(2 * time.Hour)
	eventually(t, "old keys are not believed", func() error {
		if _, err := i.Principal(t.Context(), good); codeOf(err) != "not_ready" {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	p.fail(false)
	c.advance(time.Minute)
	if _, err := i.Principal(t.Context(), good); err != nil {
		t.Error(err)
	}
}

// An issuer that does not answer holds up a bounded number of requests, each no longer than it waits itself.
func TestIssuerHangs(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	hang := make(chan struct{})
	p.hang = hang
	i, _ := trusting(t, p, nil)
	good := p.token(oidc.ES256, nil)
	answers := make(chan error, 200)
	for range cap(answers) {
		go func() {
			_, err := i.Principal(t.Context(), good)
			answers <- err
		}()
	}
	// As many as may wait do, and the others are answered.
	for range cap(answers) - 64 {
		if err := <-answers; codeOf(err) != "not_ready" {
			t.Errorf("got %v", err)
		}
	}
	select {
	case err := <-answers:
		t.Errorf("one does not wait: %v", err)
	default:
	}
	close(hang)
	for range 64 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := p.times(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// Who has no time left does not wait for the issuer.
func TestTimeRunsOut(t *testing.T) {
	p := startProvider(t, oidc.ES256)
	hang := make(chan struct{})
	p.hang = hang
	defer close(hang)
	i, _ := trusting(t, p, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if _, err := i.Principal(ctx, p.token(oidc.ES256, nil)); codeOf(err) != "not_ready" {
		t.Errorf("got %v", err)
	}
	// An attempt takes five seconds.
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
}

// What an issuer says of itself is believed within bounds only.
func TestHostileIssuer(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private()[oidc.ES256].Public(), KeyID: oidc.ES256}}})
	if err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(listed) }))
	defer plain.Close()
	const discovery = "/.well-known/openid-configuration"
	for what, change := range map[string]func(p *provider, w http.ResponseWriter, r *http.Request) bool{
		"another name": func(p *provider, _ http.ResponseWriter, _ *http.Request) bool {
			p.says.SetIssuer("https://other.example")
			return false
		},
		"keys in the clear": func(p *provider, w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["ES256"]}`, p.URL, plain.URL)
			return true
		},
		"secret algorithms": func(p *provider, _ http.ResponseWriter, _ *http.Request) bool {
			p.says.Algorithms = []string{"HS256", "none"}
			return false
		},
		"a short key": func(p *provider, _ http.ResponseWriter, _ *http.Request) bool {
			p.says.PublicKeys = []oidctest.PublicKey{{PublicKey: short.Public(), KeyID: oidc.ES256, Algorithm: oidc.RS256}}
			return false
		},
		"keys that verify nothing": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"AAAA","kid":"ES256"},{"kty":"OKP","crv":"Ed448","x":"AA"},{"kty":"nonsense"},7]}`)
			return true
		},
		"the key for another use": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			_, _ = w.Write(bytes.Replace(listed, []byte("{\"kty"), []byte("{\"use\":\"enc\",\"kty"), 1))
			return true
		},
		"too many keys": func(p *provider, _ http.ResponseWriter, _ *http.Request) bool {
			for len(p.says.PublicKeys) <= 64 {
				p.says.PublicKeys = append(p.says.PublicKeys, p.says.PublicKeys[0])
			}
			return false
		},
		"an endless answer": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			_, _ = w.Write(append(bytes.Repeat([]byte(" "), 1<<20), listed...))
			return true
		},
		"somewhere else": func(p *provider, w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case discovery:
				http.Redirect(w, r, p.URL+"/elsewhere", http.StatusFound)
				return true
			case "/elsewhere":
				r.URL.Path = discovery
			}
			return false
		},
		"an error": func(_ *provider, w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, strings.Repeat("sorry ", 1000), http.StatusInternalServerError)
			return true
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := &provider{asked: map[string]int{}}
			p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p.mu.Lock()
				handled := change(p, w, r)
				p.mu.Unlock()
				if !handled {
					p.answer(w, r)
				}
			}))
			defer p.Close()
			p.says.SetIssuer(p.URL)
			p.says.Algorithms = []string{oidc.ES256}
			p.list(oidc.ES256, oidc.ES256, private()[oidc.ES256].Public())
			log := new(bytes.Buffer)
			i, _ := trusting(t, p, func(o *issuer.Options) { o.Log = hclog.New(&hclog.LoggerOptions{Output: log}) })
			if _, err := i.Principal(t.Context(), p.token(oidc.ES256, nil)); codeOf(err) != "not_ready" {
				t.Errorf("got %v", err)
			}
			if log.Len() == 0 || log.Len() > 1000 {
				t.Errorf("the log has %d bytes: %.400s", log.Len(), log)
			}
		})
	}
	t.Run("another authority", func(t *testing.T) {
		p := startProvider(t, oidc.ES256)
		i, _ := trusting(t, p, func(o *issuer.Options) { o.Authorities = x509.NewCertPool() })
		if _, err := i.Principal(t.Context(), p.token(oidc.ES256, nil)); codeOf(err) != "not_ready" {
			t.Errorf("got %v", err)
		}
	})
}

// FuzzToken: no token stops the verifier, and none is believed that the issuer did not sign.
func FuzzToken(f *testing.F) {
	p := &provider{asked: map[string]int{}}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.answer))
	f.Cleanup(p.Close)
	p.says.SetIssuer(p.URL)
	p.says.Algorithms = []string{oidc.ES256}
	p.list(oidc.ES256, oidc.ES256, private()[oidc.ES256].Public())
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate())
	i, err := issuer.New(issuer.Options{Name: p.URL, Audience: audience, Authorities: pool, Claim: "groups", Roles: roles, Now: func() time.Time { return epoch }})
	if err != nil {
		f.Fatal(err)
	}
	good := p.token(oidc.ES256, nil)
	f.Add(good)
	f.Add("..")
	f.Add(unsigned(`{"alg":"none"}`, p.claims(nil), ""))
	f.Add(unsigned(`{"alg":"ES256","kid":"ES256","crit":["b64"],"b64":false}`, p.claims(nil), strings.Split(good, ".")[2]))
	f.Fuzz(func(t *testing.T, token string) {
		got, err := i.Principal(t.Context(), token)
		// The last character of a signature has bits that stand for nothing.
		if err == nil && !strings.HasPrefix(token, good[:len(good)-1]) {
			t.Errorf("%q is believed to be %+v", token, got)
		}
	})
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
