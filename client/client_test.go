package client_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func TestNew(t *testing.T) {
	good := []string{"http://a:1"}
	for _, tt := range []struct {
		name string
		o    client.Options
		want string
	}{
		{"no endpoint", client.Options{}, "endpoints: there is none"},
		{"an empty one", client.Options{Endpoints: []string{""}}, `"" is neither http://host:port nor`},
		{"no scheme", client.Options{Endpoints: []string{"127.0.0.1:7001"}}, "neither http://host:port"},
		{"another scheme", client.Options{Endpoints: []string{"file:///etc/passwd"}}, "neither http://host:port"},
		{"a password", client.Options{Endpoints: []string{"http://u:geheim@a:1"}}, `that of host "a:1" has more than`},
		{"a path", client.Options{Endpoints: []string{"http://a:1/v1"}}, "has more than"},
		{"a query", client.Options{Endpoints: []string{"http://a:1?x=y"}}, "has more than"},
		{"one twice", client.Options{Endpoints: []string{"http://a:1", "http://a:1/"}}, "http://a:1 stands there twice"},
		{"a token with a line", client.Options{Endpoints: good, Token: "geheim\nX: y"}, "token: it has characters"},
		{"a negative timeout", client.Options{Endpoints: good, Timeout: -1}, "must not be negative"},
		{"no certificates", client.Options{Endpoints: good, CA: []byte("x")}, "ca: no certificate"},
		{"no client certificate", client.Options{Endpoints: good, Key: []byte("geheim")}, "certificate, key: "},
		{"two ways", client.Options{Endpoints: good, Key: []byte("geheim"), HTTPClient: http.DefaultClient}, "with an HTTP client of your own"},
	} {
		c, err := client.New(tt.o)
		if err == nil || c != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if c, err := client.New(client.Options{Endpoints: []string{"http://a:1/", "https://[::1]:2"}}); err != nil || !slices.Equal(c.Endpoints(), []string{"http://a:1", "https://[::1]:2"}) {
		t.Errorf("%v, %v", c, err)
	}
}

func TestErrorTellsWhatTheNodeSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {problem(409, "contract_exhausted", "Licet-Index", "9", "Licet-Repeated", "true")}})
		c := n.client(t, client.Options{}, "a:1")
		e := asError(t, second(c.CreateInstance(client.WithRequestID(t.Context(), "mine"), "themis", "lyon", nil)))
		free, _ := e.Facts["free"].Int()
		if e.Code != "contract_exhausted" || e.Status != 409 || e.Error() != "Because of contract_exhausted." || e.Next != "Do." ||
			e.RequestID != "mine" || free != 3 || e.Facts["area"].String() != "primary" || e.Meta.Index != 9 || !e.Meta.Repeated || e.Meta.Node != "a:1" {
			t.Errorf("%+v", e)
		}
		if !strings.Contains(string(e.JSON()), `"title":"T"`) {
			t.Errorf("JSON %s", e.JSON())
		}
	})
}

func TestErrorOfTheClientsOwnIsAProblemToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{})
		c := n.client(t, client.Options{Timeout: time.Second}, "a:1", "b:1")
		e := asError(t, second(c.Settings(t.Context())))
		want := "No node answered (http://a:1: connection refused; http://b:1: connection refused)."
		var p apiv1.Problem
		if err := json.Unmarshal(e.JSON(), &p); err != nil || p.Code != client.CodeUnreachable || p.Detail != want || e.Detail != want || p.Next == "" {
			t.Errorf("%s (%v), want %q", e.JSON(), err, want)
		}
	})
}

func TestListsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{
			"a:1": {
				fine(`{"contracts":[{"id":"a"},{"id":"b"}],"next":"b"}`), fine(`{"contracts":[{"id":"c"}]}`),
				fine(`{"instances":[{"serial":1}],"next":1}`), fine(`{"instances":[{"serial":1}],"next":1}`),
				fine(`{"contracts":[{"id":"a"}],"next":"a"}`), fine(`{"contracts":[{"id":"a"}],"next":"a"}`), fine(`{"contracts":[]}`),
			},
		})
		c := n.client(t, client.Options{}, "a:1")
		var ids []string
		for x, err := range c.AllContracts(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, x.ID)
		}
		if !slices.Equal(ids, []string{"a", "b", "c"}) || n.seen()[1].uri != "/v1/contracts?after=b" {
			t.Errorf("%v by %v", ids, n.seen()[1].uri)
		}
		var last error
		for _, last = range c.AllInstances(t.Context(), "") {
		}
		if client.CodeOf(last) != client.CodeBadAnswer || len(n.seen()) != 4 {
			t.Errorf("a list that leads back: %v after %d requests", last, len(n.seen()))
		}
		for _, last = range c.AllContracts(t.Context()) {
		}
		if client.CodeOf(last) != client.CodeBadAnswer || len(n.seen()) != 6 {
			t.Errorf("a list that leads back: %v after %d requests", last, len(n.seen()))
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {problem(503, "no_leader"), broken, fine(instance)}, "b:1": {fine(instance)}})
		c := n.client(t, client.Options{}, "a:1", "b:1")
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				if _, err := c.CreateInstance(t.Context(), "themis", "lyon", nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		keys := map[string]bool{}
		for _, call := range n.seen() {
			keys[call.key] = true
		}
		if len(keys) != 32 {
			t.Errorf("%d request ids for 32 writes", len(keys))
		}
	})
}

// C5, I4: a key says all by itself whether it still holds.
func TestVerifyLicenseKey(t *testing.T) {
	private, pem := keyPair(t)
	_, other := keyPair(t)
	expiry := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC)
	k := &signed.LicenseKey{Cluster: "c", Serial: 1, Contract: "themis", Revision: 2, Expiry: expiry, GraceDays: 14, Allocation: map[string]uint64{"primary": 10}}
	text, err := k.Sign(private)
	if err != nil {
		t.Fatal(err)
	}
	ends := expiry.AddDate(0, 0, 14)
	altered := []byte(text)
	// The last characters hold few bits and may be those that would take their place.
	if at := len(altered) - 20; altered[at] == 'A' {
		altered[at] = 'B'
	} else {
		altered[at] = 'A'
	}
	for _, tt := range []struct {
		name, key string
		pem       []byte
		at        time.Time
		phase     client.Phase
		want      error
	}{
		{"before", text, pem, expiry.Add(-1), client.PhaseValid, nil},
		{"among more keys", text + "\n", append(slices.Clone(other), pem...), expiry.Add(-1), client.PhaseValid, nil},
		{"C5 at the expiry", text, pem, expiry, client.PhaseGrace, nil},
		{"C5 in grace", text, pem, ends.Add(-1), client.PhaseGrace, nil},
		{"C5 at the end", text, pem, ends, client.PhaseEnded, client.ErrLicenseEnded},
		{"a stranger's", text, other, expiry, "", signed.ErrUnknownKey},
		{"altered", string(altered), pem, expiry, "", signed.ErrSignature},
		{"nothing", "", pem, expiry, "", signed.ErrMalformed},
	} {
		got, err := client.VerifyLicenseKey(tt.key, tt.pem, tt.at)
		if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) || (got == nil) != (tt.phase == "") {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		} else if got != nil && (client.PhaseOf(got, tt.at) != tt.phase || got.Serial != 1 || got.Allocation["primary"] != 10) {
			t.Errorf("%s: %s %+v, want %s", tt.name, client.PhaseOf(got, tt.at), got, tt.phase)
		}
	}
	for _, bad := range []string{"", "no PEM", strings.Replace(string(pem), "PUBLIC", "PRIVATE", 2)} {
		if _, err := client.VerifyLicenseKey(text, []byte(bad), expiry); err == nil || !strings.HasPrefix(err.Error(), "public key: ") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func keyPair(t *testing.T) (ed25519.PrivateKey, []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := signed.EncodePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return private, pem
}
