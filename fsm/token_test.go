package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/licet/licet/fsm/fsmpb"
)

func tokenBody(name string, role Role, scope *fsmpb.TokenScope) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CreateToken{CreateToken: &fsmpb.CreateToken{
		Name: name, Role: string(role), Scope: scope, Hash: bytes.Repeat([]byte{byte(len(name))}, 32),
	}}}
}

func bootstrapBody(name string) *fsmpb.Body {
	body := tokenBody(name, Operator, nil)
	body.GetCreateToken().Bootstrap = true
	return body
}

func revokeTokenBody(id uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_RevokeToken{RevokeToken: &fsmpb.RevokeToken{Token: id}}}
}

func usesBody(ids ...uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_NoteTokenUses{NoteTokenUses: &fsmpb.NoteTokenUses{Tokens: ids}}}
}

// tokenRun drives a state with one command an entry.
type tokenRun struct {
	t   tb
	s   *State
	now time.Time
	n   int
}

func newTokenRun(t tb) *tokenRun {
	r := &tokenRun{t: t, s: New(), now: testEpoch}
	r.do(initialiseBody())
	return r
}

func (r *tokenRun) do(body *fsmpb.Body) *fsmpb.Outcome {
	r.n++
	outcomes, err := r.s.Apply(uint64(r.n), 1, mustEntry(r.t, 1, r.now, mustCommand(r.t, fmt.Sprint("token-", r.n), body)))
	if err != nil {
		r.t.Fatal(err)
	}
	return outcomes[0]
}

// TestTokenModel: whatever commands come in whichever order, once there is an operator's token without an expiry
// there always is one; and tokens are what a list of them says, also after a snapshot.
func TestTokenModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, list, last, bootstrapped := newTokenRun(t), map[uint64]Token{}, uint64(0), false
		permanent := func() (n int) {
			for _, x := range list {
				if x.Role == Operator && x.ExpiryMs == 0 {
					n++
				}
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				role := rapid.SampledFrom([]Role{Operator, Operator, Auditor, Vendor, "root", "metrics"}).Draw(t, "role")
				expiry := rapid.SampledFrom([]time.Duration{0, 0, -time.Hour, time.Hour, 48 * time.Hour}).Draw(t, "expiry")
				body := tokenBody("n", role, nil)
				c := body.GetCreateToken()
				if expiry != 0 {
					c.ExpiryMs = r.now.Add(expiry).UnixMilli()
				}
				c.Bootstrap = rapid.Bool().Draw(t, "bootstrap")
				want := ""
				switch {
				case role == "root" || role == "metrics" || c.Bootstrap && (role != Operator || expiry != 0):
					want = "invalid"
				case c.Bootstrap && permanent() > 0:
					want = "already_bootstrapped"
				case expiry < 0:
					want = "token_expired"
				}
				o := r.do(body)
				if got := o.Refusal.GetCode(); got != want {
					t.Fatalf("create %s, bootstrap %t: %q instead of %q", role, c.Bootstrap, got, want)
				}
				if want == "" {
					last++
					list[last] = Token{ID: last, Name: "n", Role: role, ExpiryMs: c.ExpiryMs, CreatedMs: r.now.UnixMilli()}
					if o.GetToken().GetId() != last || len(o.GetToken().GetHash()) != 0 {
						t.Fatalf("outcome %v", o)
					}
				}
			},
			"revoke": func(t *rapid.T) {
				id := rapid.Uint64Range(0, last+1).Draw(t, "id")
				x, there := list[id]
				want := ""
				switch {
				case !there:
					want = "token_not_found"
				case x.Role == Operator && x.ExpiryMs == 0 && permanent() == 1:
					want = "last_operator_token"
				}
				if got := r.do(revokeTokenBody(id)).Refusal.GetCode(); got != want {
					t.Fatalf("revoke %d: %q instead of %q", id, got, want)
				}
				if want == "" {
					delete(list, id)
				}
			},
			"use": func(t *rapid.T) {
				id := rapid.Uint64Range(0, last+1).Draw(t, "id")
				r.do(usesBody(id, id))
				if x, ok := list[id]; ok && r.now.UnixMilli()-x.UsedMs >= TokenUseStep {
					x.UsedMs = r.now.UnixMilli()
					list[id] = x
				}
			},
			"time": func(t *rapid.T) {
				r.now = r.now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 72 * time.Hour}).Draw(t, "time"))
				r.do(expireBody())
			},
			"restore": func(t *rapid.T) { r.s = mustRestore(r.t, snapshotBytes(r.t, r.s.View())) },
			"": func(t *rapid.T) {
				v := r.s.View()
				bootstrapped = bootstrapped || permanent() > 0
				alive := 0
				for _, x := range v.Tokens(0, MaxTokens) {
					want := list[x.ID]
					if x.Name != want.Name || x.Role != want.Role || x.ExpiryMs != want.ExpiryMs || x.CreatedMs != want.CreatedMs || x.UsedMs != want.UsedMs {
						t.Fatalf("token %d is %+v instead of %+v", x.ID, x, want)
					}
					if x.Role == Operator && !x.Expired(r.now.AddDate(100, 0, 0).UnixMilli()) {
						alive++
					}
				}
				if n := len(v.Tokens(0, MaxTokens)); n != len(list) || v.LastToken() != last {
					t.Fatalf("%d tokens instead of %d, the last one %d instead of %d", n, len(list), v.LastToken(), last)
				}
				if bootstrapped && alive == 0 {
					t.Fatal("every operator is locked out")
				}
				checkDigest(r.t, r.s)
			},
		})
	})
}

// checkDigest computes the digest anew, from a snapshot.
func checkDigest(t tb, s *State) {
	if got, want := mustRestore(t, snapshotBytes(t, s.View())).Digest(), s.Digest(); got != want {
		t.Fatalf("restored, the state has digest %s instead of %s", got, want)
	}
}

// What is malformed makes no token.
func TestTokensThatAreNone(t *testing.T) {
	r := newTokenRun(t)
	for name, change := range map[string]func(*fsmpb.CreateToken){
		"name: it is missing":                    func(c *fsmpb.CreateToken) { c.Name = "" },
		`role: "boss" is none of`:                func(c *fsmpb.CreateToken) { c.Role = "boss" },
		`role: "root" is none of`:                func(c *fsmpb.CreateToken) { c.Role = string(Root) },
		"site: the role operator has none":       func(c *fsmpb.CreateToken) { c.Scope = &fsmpb.TokenScope{Site: "lyon"} },
		"instance: the role operator has none":   func(c *fsmpb.CreateToken) { c.Scope = &fsmpb.TokenScope{Instance: 1} },
		"pools: the role operator has none":      func(c *fsmpb.CreateToken) { c.Scope = &fsmpb.TokenScope{Pools: []string{"a"}} },
		"user: the role auditor has none":        func(c *fsmpb.CreateToken) { c.Role, c.Scope = "auditor", &fsmpb.TokenScope{User: "a"} },
		"site: the role site-operator needs one": func(c *fsmpb.CreateToken) { c.Role = string(SiteOperator) },
		"instance: the role instance needs one":  func(c *fsmpb.CreateToken) { c.Role = string(OfInstance) },
		"pools: the role client needs one":       func(c *fsmpb.CreateToken) { c.Role = string(OfClient) },
		`site: "a b" is no name`:                 func(c *fsmpb.CreateToken) { c.Role, c.Scope = "site-operator", &fsmpb.TokenScope{Site: "a b"} },
		`pools: "a" stands there twice`: func(c *fsmpb.CreateToken) {
			c.Role, c.Scope = "client", &fsmpb.TokenScope{Pools: []string{"a", "b", "a"}}
		},
		"pools: 65 are more than 64":                func(c *fsmpb.CreateToken) { c.Role, c.Scope = "client", &fsmpb.TokenScope{Pools: make([]string, 65)} },
		"hash: it has 31 bytes instead of 32":       func(c *fsmpb.CreateToken) { c.Hash = c.Hash[1:] },
		"expires: it is not in 1970 to 9900":        func(c *fsmpb.CreateToken) { c.ExpiryMs = -1 },
		"bootstrap: it makes an operator's token w": func(c *fsmpb.CreateToken) { c.Role, c.Bootstrap = "auditor", true },
	} {
		body := tokenBody("n", Operator, nil)
		change(body.GetCreateToken())
		if o := r.do(body); o.Refusal.GetCode() != "invalid" || !strings.Contains(o.Refusal.Hint, name) {
			t.Errorf("%s: %v", name, o.Refusal)
		}
	}
	for code, scope := range map[string]*fsmpb.TokenScope{"pool_not_found": {Pools: []string{"none"}}, "instance_not_found": {Instance: 1}} {
		role := OfClient
		if scope.Instance != 0 {
			role = OfInstance
		}
		if o := r.do(tokenBody("n", role, scope)); o.Refusal.GetCode() != code {
			t.Errorf("%v instead of %s", o.Refusal, code)
		}
	}
	if n := r.s.View().tokens.len(); n != 0 {
		t.Errorf("%d tokens came of it", n)
	}
}

func TestTokensAreBounded(t *testing.T) {
	r := newTokenRun(t)
	for i := range MaxTokens {
		r.s.counters.lastToken++
		r.s.setToken(&Token{ID: uint64(i + 1), Name: "n", Role: Auditor})
	}
	if o := r.do(tokenBody("n", Auditor, nil)); o.Refusal.GetCode() != "token_limit_reached" {
		t.Errorf("%v", o)
	}
	for _, n := range []int{0, tokenUsesAtOnce + 1} {
		if o := r.do(usesBody(make([]uint64, n)...)); o.Refusal.GetCode() != "invalid" {
			t.Errorf("%d uses: %v", n, o)
		}
	}
}

// The audit trail says that a token was made, and holds nothing of it.
func TestTrailHoldsNoHash(t *testing.T) {
	r := newTokenRun(t)
	body := tokenBody("secretive", Operator, nil)
	r.do(body)
	for _, w := range r.s.View().WritesAfter(0, 10) {
		if bytes.Contains(w.Body(), body.GetCreateToken().Hash[:8]) || bytes.Contains(w.Outcome(), body.GetCreateToken().Hash[:8]) {
			t.Errorf("row %d holds the hash", w.Seq)
		}
	}
}

// A restored backup brings no token back that was revoked since, and takes none away; a cluster without operators' tokens
// takes the backup's.
func TestTokensOfARestoredBackup(t *testing.T) {
	backup := newTokenRun(t)
	backup.do(bootstrapBody("first"))
	backup.do(tokenBody("leaked", Auditor, nil))
	old := snapshotBytes(t, backup.s.View())
	present := mustRestore(t, old)
	run := &tokenRun{t: t, s: present, now: testEpoch, n: backup.n}
	run.do(revokeTokenBody(2))
	run.do(tokenBody("since", Vendor, nil))
	fresh := newTokenRun(t)
	names := func(s *State) (list []string) {
		for _, x := range s.View().Tokens(0, 10) {
			list = append(list, x.Name)
		}
		return list
	}
	for _, c := range []struct {
		into *State
		want []string
	}{{present, []string{"first", "since"}}, {fresh.s, []string{"first", "leaked"}}} {
		s := mustRestore(t, old)
		if err := s.Succeed(c.into.View(), Restoration{Index: 50, Term: 1, NowMs: testEpoch.UnixMilli(), Actor: "operator", RequestID: "r"}); err != nil {
			t.Fatal(err)
		}
		if got := names(s); !slices.Equal(got, c.want) {
			t.Errorf("tokens %v instead of %v", got, c.want)
		}
		again := &tokenRun{t: t, s: s, now: testEpoch, n: 50}
		if o := again.do(bootstrapBody("again")); o.Refusal.GetCode() != "already_bootstrapped" {
			t.Errorf("%v", o)
		}
		if o := again.do(tokenBody("next", Vendor, nil)); o.GetToken().GetId() <= c.into.counters.lastToken {
			t.Errorf("a number is given twice: %v", o)
		}
		checkDigest(t, s)
	}
}

// A token has one text, and whatever differs from it in one letter is none.
func TestTokenText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Uint64Range(1, 1<<53).Draw(t, "id")
		secret := rapid.SliceOfN(rapid.Byte(), TokenSecret, TokenSecret).Draw(t, "secret")
		text := TokenText(id, secret)
		if gotID, got, ok := ParseToken(text); !ok || gotID != id || !bytes.Equal(got, secret) {
			t.Fatalf("%q: %d, %x, %t", text, gotID, got, ok)
		}
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		letter := rapid.ByteRange(0, 127).Draw(t, "letter")
		other := text[:at] + string(letter) + text[at+1:]
		if _, _, ok := ParseToken(other); ok != (other == text) {
			t.Fatalf("%q is taken for %q", other, text)
		}
	})
}
