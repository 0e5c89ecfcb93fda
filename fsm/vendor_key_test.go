package fsm

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func statementBody(t tb, s signed.Statement, key ed25519.PrivateKey) *fsmpb.Body {
	t.Helper()
	document, err := s.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_ChangeVendorKeys{ChangeVendorKeys: &fsmpb.ChangeVendorKeys{Statement: document}}}
}

// stating is a statement at a time, for a month. Keys are nil where it adds or revokes none.
func stating(now time.Time, adds, revokes ed25519.PrivateKey) signed.Statement {
	s := signed.Statement{Issued: now, Expiry: now.AddDate(0, 1, 0)}
	if adds != nil {
		s.Adds, s.Name = hex.EncodeToString(public(adds)), "added"
	}
	if revokes != nil {
		s.Revokes = signed.KeyID(public(revokes))
	}
	return s
}

func addSigningBody(key ed25519.PrivateKey) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_AddSigningKey{AddSigningKey: &fsmpb.AddSigningKey{Key: public(key)}}}
}

func retireBody(id string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_RetireSigningKey{RetireSigningKey: &fsmpb.RetireSigningKey{Key: id}}}
}

// naiveKey is a vendor key in a list of the model: the place in the list is the rank.
type naiveKey struct {
	n       int
	revoked bool
}

// TestVendorKeyModel: C2: whatever statements and contracts come in whichever order, keys are what a list says to which each statement was
// applied; a key that was revoked stays so, one is always in force, and a contract is taken only if its signer is in force.
func TestVendorKeyModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newTokenRun(t)
		list := []naiveKey{{n: 1}}
		gone, revision, signer, started := map[int]bool{}, uint64(0), 0, false
		find := func(n int) int { return slices.IndexFunc(list, func(k naiveKey) bool { return k.n == n }) }
		inForce := func() (n int) {
			for _, k := range list {
				if !k.revoked {
					n++
				}
			}
			return n
		}
		// Mostly one that is known, so that statements come to something.
		anyKey := rapid.Custom(func(t *rapid.T) int {
			if i := rapid.IntRange(0, len(list)).Draw(t, "place"); i < len(list) {
				return list[i].n
			}
			return rapid.IntRange(1, 9).Draw(t, "key")
		})
		orNone := rapid.Custom(func(t *rapid.T) int {
			return rapid.SampledFrom([]int{0, anyKey.Draw(t, "known"), rapid.IntRange(1, 9).Draw(t, "any")}).Draw(t, "which")
		})
		t.Repeat(map[string]func(*rapid.T){
			"state": func(t *rapid.T) {
				by, adds, revokes := anyKey.Draw(t, "by"), orNone.Draw(t, "adds"), orNone.Draw(t, "revokes")
				if adds == revokes {
					adds, revokes = max(adds, 1), 0
				}
				var add, revoke ed25519.PrivateKey
				if adds != 0 {
					add = testKey(byte(adds))
				}
				if revokes != 0 {
					revoke = testKey(byte(revokes))
				}
				s := stating(r.now, add, revoke)
				if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
					s.Issued, s.Expiry = r.now.AddDate(0, 0, -2), r.now
				}
				s.Cluster = rapid.SampledFrom([]string{"", "", testCluster, "another"}).Draw(t, "cluster")
				a, b, x := find(by), find(revokes), find(adds)
				gain, loss := 0, 0
				if adds != 0 && x < 0 {
					gain = 1
				}
				if revokes != 0 && b >= 0 && !list[b].revoked {
					loss = 1
				}
				want := ""
				switch {
				case a < 0:
					want = "document_invalid"
				case list[a].revoked:
					want = "vendor_key_revoked"
				case s.Cluster == "another" || !s.Expiry.After(r.now):
					want = "document_invalid"
				case adds != 0 && x >= 0 && list[x].revoked:
					want = "vendor_key_revoked"
				case revokes != 0 && b < 0:
					want = "vendor_key_not_found"
				case revokes != 0 && b < a:
					want = "vendor_key_outranked"
				case inForce()+gain-loss == 0:
					want = "last_vendor_key"
				}
				if got := r.do(statementBody(t, s, testKey(byte(by)))).Refusal.GetCode(); got != want {
					t.Fatalf("key %d adds %d, revokes %d: %q instead of %q; %v", by, adds, revokes, got, want, list)
				}
				if want != "" {
					return
				}
				if loss == 1 {
					list[b].revoked, gone[revokes] = true, true
				}
				switch {
				case gain == 1 && revokes != 0:
					list = slices.Insert(list, b, naiveKey{n: adds})
				case gain == 1:
					list = append(list, naiveKey{n: adds})
				}
			},
			"contract": func(t *rapid.T) {
				by, next := anyKey.Draw(t, "by"), revision+rapid.Uint64Range(0, 1).Draw(t, "step")
				if next == 0 {
					return
				}
				a := find(by)
				want := ""
				switch {
				case a < 0:
					want = "document_invalid"
				case list[a].revoked:
					want = "vendor_key_revoked"
				}
				o := r.do(contractBody(mustSign(t, testContract("acme", next, map[string]uint64{"primary": 5}), testKey(byte(by)))))
				if got := o.Refusal.GetCode(); got != want {
					t.Fatalf("a contract signed by %d: %q instead of %q; %v", by, got, want, list)
				}
				if want == "" && (next > revision || list[find(signer)].revoked) {
					revision, signer, started = next, by, true
				}
			},
			"time": func(*rapid.T) {
				r.now = r.now.Add(time.Hour)
				r.do(expireBody())
			},
			"restore": func(*rapid.T) { r.s = mustRestore(r.t, snapshotBytes(r.t, r.s.View())) },
			"": func(t *rapid.T) {
				v := r.s.View()
				keys := v.VendorKeys()
				if len(keys) != len(list) || inForce() == 0 || len(v.VendorKeysInForce()) != inForce() {
					t.Fatalf("%d keys instead of %v", len(keys), list)
				}
				for i, k := range keys {
					if !k.Key.Equal(public(testKey(byte(list[i].n)))) || k.Revoked() != list[i].revoked || gone[list[i].n] != k.Revoked() {
						t.Fatalf("key %d is %+v instead of %+v", i, k, list[i])
					}
				}
				if started {
					c, ok := v.Contract("acme")
					if !ok || c.Doc.Revision != revision || c.Signer != signed.KeyID(public(testKey(byte(signer)))) || c.KeyRevoked != list[find(signer)].revoked {
						t.Fatalf("the contract is %+v, signed by %s; it should be at %d by %d", c.Doc, c.Signer, revision, signer)
					}
				}
				checkDigest(r.t, r.s)
			},
		})
	})
}

// What the trail and the list tell of a change: who brought the statement, when, and which key signed it.
func TestVendorKeysTellWhoChangedThem(t *testing.T) {
	r := newTokenRun(t)
	r.now = r.now.Add(time.Hour)
	o := r.do(statementBody(t, stating(r.now, testKey(5), vendorKey), vendorKey))
	if o.Refusal != nil {
		t.Fatal(o.Refusal)
	}
	id := signed.KeyID(public(vendorKey))
	keys := r.s.View().VendorKeys()
	want := []VendorKey{
		{Key: public(testKey(5)), Name: "added", AddedMs: r.now.UnixMilli(), AddedBy: testActor, AddedWith: id},
		{Key: public(vendorKey), RevokedMs: r.now.UnixMilli(), RevokedBy: testActor, RevokedWith: id},
	}
	if fmt.Sprint(keys) != fmt.Sprint(want) {
		t.Errorf("%v\ninstead of %v", keys, want)
	}
	if got := o.GetVendorKeys(); fmt.Sprint(VendorKeyFromProto(got.Added), VendorKeyFromProto(got.Revoked)) != fmt.Sprint(want[0], want[1]) {
		t.Errorf("outcome %v", got)
	}
}

// All keys are remembered, so there is an end to them; the number in force has a bound of its own.
func TestVendorKeysAreBounded(t *testing.T) {
	r := newTokenRun(t)
	add := func(n, revokes int) *fsmpb.Outcome {
		var old ed25519.PrivateKey
		if revokes != 0 {
			old = testKey(byte(revokes))
		}
		return r.do(statementBody(t, stating(r.now, testKey(byte(n)), old), vendorKey))
	}
	for n := 10; len(r.s.View().VendorKeysInForce()) < maxKeys; n++ {
		if o := add(n, 0); o.Refusal != nil {
			t.Fatal(o.Refusal)
		}
	}
	if o := add(9, 0); o.Refusal.GetCode() != "vendor_key_limit_reached" {
		t.Errorf("one more in force: %v", o)
	}
	last := 10
	for n := 100; len(r.s.View().VendorKeys()) < MaxVendorKeys; n++ {
		if o := add(n, last); o.Refusal != nil {
			t.Fatal(o.Refusal)
		}
		last = n
	}
	if o := add(9, last); o.Refusal.GetCode() != "vendor_key_limit_reached" {
		t.Errorf("one more in all: %v", o)
	}
	if o := r.do(statementBody(t, stating(r.now, nil, testKey(byte(last))), vendorKey)); o.Refusal != nil {
		t.Errorf("revoking goes on: %v", o.Refusal)
	}
	checkDigest(t, r.s)
}

// Signing keys: the newest is current, what was one does not come back, and retired ones are no keys any more.
func TestSigningKeys(t *testing.T) {
	r := newTokenRun(t)
	ids := func(keys []ed25519.PublicKey) (list []string) {
		for _, k := range keys {
			list = append(list, signed.KeyID(k))
		}
		return list
	}
	id := func(n byte) string { return signed.KeyID(public(testKey(n))) }
	for _, c := range []struct {
		body *fsmpb.Body
		want string
	}{
		{addSigningBody(testKey(11)), ""},
		{addSigningBody(testKey(11)), ""},
		{addSigningBody(clusterKey), "invalid"},
		{addSigningBody(testKey(12)), ""},
		{retireBody(id(12)), "signing_key_in_use"},
		{retireBody(id(13)), "signing_key_not_found"},
		{retireBody("xyz"), "invalid"},
		{retireBody(id(11)), ""},
		{retireBody(id(11)), ""},
		{addSigningBody(testKey(11)), "invalid"},
		{&fsmpb.Body{Kind: &fsmpb.Body_AddSigningKey{AddSigningKey: &fsmpb.AddSigningKey{Key: []byte{1}}}}, "invalid"},
	} {
		if got := r.do(c.body).Refusal.GetCode(); got != c.want {
			t.Errorf("%v: %q instead of %q", c.body, got, c.want)
		}
	}
	v := r.s.View()
	if got := ids(v.SigningKeys()); !slices.Equal(got, []string{id(12), id(2)}) {
		t.Errorf("keys %v", got)
	}
	if got := ids(v.RetiredKeys()); !slices.Equal(got, []string{id(11)}) {
		t.Errorf("retired %v", got)
	}
	for n := byte(20); len(r.s.View().SigningKeys()) < maxKeys; n++ {
		r.do(addSigningBody(testKey(n)))
	}
	if o := r.do(addSigningBody(testKey(90))); o.Refusal.GetCode() != "signing_key_limit_reached" {
		t.Errorf("one more: %v", o)
	}
	for n := byte(100); n < 100+maxRetired+5; n++ {
		all := r.s.View().SigningKeys()
		r.do(retireBody(signed.KeyID(all[len(all)-1])))
		r.do(addSigningBody(testKey(n)))
	}
	if n := len(r.s.View().RetiredKeys()); n != maxRetired {
		t.Errorf("%d retired keys are remembered", n)
	}
	checkDigest(t, r.s)
}

// A backup is no way around a revocation: what a revoked key signed comes back only if it is in force already.
func TestRestoringWhatARevokedKeySigned(t *testing.T) {
	stolen, next := vendorKey, testKey(5)
	sign := func(revision uint64, seats uint64, key ed25519.PrivateKey) *fsmpb.Body {
		return contractBody(mustSign(t, testContract("acme", revision, map[string]uint64{"primary": seats}), key))
	}
	old := newTokenRun(t)
	old.do(sign(1, 5, stolen))
	old.do(createBody("acme", "paris", primary(2)))
	backup := snapshotBytes(t, old.s.View())
	for name, c := range map[string]struct {
		// since are what was decided since, after the key was replaced.
		since []*fsmpb.Body
		fault string
		// seats and revoked are of the contract after the restoration.
		seats   uint64
		revoked bool
	}{
		"it is in force still":      {nil, "", 5, true},
		"it was signed anew":        {[]*fsmpb.Body{sign(1, 5, next)}, "", 5, false},
		"there is a later revision": {[]*fsmpb.Body{sign(2, 9, next)}, "", 9, false},
	} {
		run := &tokenRun{t: t, s: mustRestore(t, backup), now: old.now, n: old.n}
		run.do(statementBody(t, stating(run.now, next, stolen), stolen))
		for _, body := range c.since {
			if o := run.do(body); o.Refusal != nil {
				t.Fatal(name, o.Refusal)
			}
		}
		s := mustRestore(t, backup)
		err := s.Succeed(run.s.View(), Restoration{Index: 90, Term: 1, NowMs: run.now.UnixMilli(), Actor: testActor, RequestID: "r"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		x, _ := s.View().Contract("acme")
		if x.Doc.Users["primary"] != c.seats || x.KeyRevoked != c.revoked || len(s.View().VendorKeysInForce()) != 1 || !s.View().VendorKeys()[1].Revoked() {
			t.Errorf("%s: %+v, revoked %v", name, x.Doc, x.KeyRevoked)
		}
		checkState(t, s)
		checkRestored(t, s)
	}
	// A thief's contract in another cluster, which does not know that the key was revoked.
	forged := newTokenRun(t)
	forged.do(sign(7, 1000, stolen))
	run := &tokenRun{t: t, s: mustRestore(t, backup), now: old.now, n: old.n}
	run.do(statementBody(t, stating(run.now, next, stolen), stolen))
	err := mustRestore(t, snapshotBytes(t, forged.s.View())).Succeed(run.s.View(), Restoration{Index: 90, Term: 1, NowMs: run.now.UnixMilli(), Actor: testActor, RequestID: "r"})
	if err == nil || !strings.Contains(err.Error(), "contract acme is signed by vendor key "+signed.KeyID(public(stolen))+", which was revoked") {
		t.Errorf("a forged contract: %v", err)
	}
	// A new cluster that was founded with the stolen key learns from the backup that it was revoked.
	replaced := mustRestore(t, snapshotBytes(t, run.s.View()))
	fresh := newTokenRun(t)
	err = replaced.Succeed(fresh.s.View(), Restoration{Index: 90, Term: 1, NowMs: run.now.UnixMilli(), Actor: testActor, RequestID: "r"})
	if err == nil || !strings.Contains(err.Error(), "every vendor key of this cluster to be revoked") {
		t.Errorf("founded with a revoked key: %v", err)
	}
}

// Retired signing keys don't come back with a backup, and a key that the backup brings becomes the current one.
func TestSigningKeysOfARestoredBackup(t *testing.T) {
	old := newTokenRun(t)
	old.do(addSigningBody(testKey(11)))
	backup := snapshotBytes(t, old.s.View())
	run := &tokenRun{t: t, s: mustRestore(t, backup), now: old.now, n: old.n}
	run.do(retireBody(signed.KeyID(public(clusterKey))))
	s := mustRestore(t, backup)
	if err := s.Succeed(run.s.View(), Restoration{Index: 90, Term: 1, NowMs: run.now.UnixMilli(), Actor: testActor, RequestID: "r"}); err != nil {
		t.Fatal(err)
	}
	if v := s.View(); len(v.SigningKeys()) != 1 || !v.SigningKeys()[0].Equal(public(testKey(11))) || len(v.RetiredKeys()) != 1 {
		t.Errorf("keys %x, retired %x", v.SigningKeys(), v.RetiredKeys())
	}
	fresh := &tokenRun{t: t, s: New(), now: testEpoch}
	body := initialiseBody()
	body.GetInitialise().ClusterId, body.GetInitialise().SigningKey = "fresh", public(testKey(30))
	fresh.do(body)
	for _, takes := range []ed25519.PublicKey{nil, public(testKey(11))} {
		s := mustRestore(t, backup)
		if err := s.Succeed(fresh.s.View(), Restoration{Index: 90, Term: 1, NowMs: run.now.UnixMilli(), Actor: testActor, RequestID: "r", SigningKey: takes}); err != nil {
			t.Fatal(err)
		}
		want := public(testKey(30))
		if takes != nil {
			want = takes
		}
		if v := s.View(); len(v.SigningKeys()) != 3 || !v.SigningKeys()[0].Equal(want) {
			t.Errorf("keys %x, the first should be %x", v.SigningKeys(), want)
		}
		checkDigest(t, s)
	}
}
