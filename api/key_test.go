package api_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// statement is a vendor's word for a month; what is nil it does not add, or revoke.
func statement(t testing.TB, adds, revokes, by ed25519.PrivateKey) string {
	t.Helper()
	s := &signed.Statement{Issued: epoch, Expiry: epoch.AddDate(0, 1, 0)}
	if adds != nil {
		s.Adds, s.Name = hex.EncodeToString(public(adds)), "next"
	}
	if revokes != nil {
		s.Revokes = signed.KeyID(public(revokes))
	}
	text, err := s.Sign(by)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func addSigningKey(key ed25519.PrivateKey) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_AddSigningKey{AddSigningKey: &fsmpb.AddSigningKey{Key: public(key)}}}
}

func (f *fixture) state(text string) *reply {
	f.t.Helper()
	return f.send("POST", "/v1/vendor-keys", apiv1.VendorStatement{Statement: text})
}

// C2: vendor keys change at a vendor's word; what a revoked key signed goes on, and is reported.
func TestVendorKeysOfTheAPI(t *testing.T) {
	f := newFixture(t)
	if x := f.putContract("acme", 1, map[string]uint64{"primary": 3}); x.VendorKeyRevoked || x.VendorKey != signed.KeyID(public(vendorKey)) {
		t.Errorf("%+v", x)
	}
	f.state(statement(t, nil, vendorKey, vendorKey)).refused(apiv1.CodeLastVendorKey)
	f.state(statement(t, strangerKey, nil, strangerKey)).refused(apiv1.CodeDocumentInvalid)
	f.state(statement(t, nil, strangerKey, vendorKey)).refused(apiv1.CodeVendorKeyNotFound)
	changed := into[apiv1.VendorKeyChange](f.state(statement(t, strangerKey, nil, vendorKey)).want(200))
	if k := changed.Added; changed.Revoked != nil || k == nil || k.Name != "next" || k.State != apiv1.VendorKeyStateInForce || k.AddedBy != "operator" || k.Added == nil {
		t.Errorf("%+v", changed)
	}
	f.state(statement(t, nil, vendorKey, strangerKey)).refused(apiv1.CodeVendorKeyOutranked)
	f.state(statement(t, nil, vendorKey, vendorKey)).want(200)
	f.state(statement(t, testKey(8), nil, vendorKey)).refused(apiv1.CodeVendorKeyRevoked)
	list := into[apiv1.VendorKeyList](f.get("/v1/vendor-keys").want(200)).VendorKeys
	if len(list) != 2 || list[0].State != apiv1.VendorKeyStateRevoked || list[0].RevokedWith != list[0].ID || list[1].State != apiv1.VendorKeyStateInForce || list[1].Revoked != nil {
		t.Errorf("%+v", list)
	}
	if keys := into[apiv1.Keys](f.get("/v1/keys").want(200)).VendorKeys; len(keys) != 1 || keys[0].ID != signed.KeyID(public(strangerKey)) {
		t.Errorf("keys whose contracts are taken: %+v", keys)
	}
	// It goes on, and says so; the same document is refused all the same.
	if x := into[apiv1.Contract](f.get("/v1/contracts/acme").want(200)); !x.VendorKeyRevoked || x.Ended {
		t.Errorf("%+v", x)
	}
	if x := into[apiv1.ContractList](f.get("/v1/contracts").want(200)).Contracts; !x[0].VendorKeyRevoked {
		t.Errorf("%+v", x)
	}
	f.send("POST", "/v1/contracts", apiv1.ContractImport{Document: contractDoc(t, "acme", 1, map[string]uint64{"primary": 3})}).refused(apiv1.CodeVendorKeyRevoked)
	for n := byte(20); n < 35; n++ {
		f.state(statement(t, testKey(n), nil, strangerKey)).want(200)
	}
	f.state(statement(t, testKey(90), nil, strangerKey)).refused(apiv1.CodeVendorKeyLimitReached)
}

func TestSigningKeysOfTheAPI(t *testing.T) {
	f := newFixture(t)
	id := signed.KeyID(public(clusterKey))
	retire := func(id string) request { return request{method: "DELETE", path: "/v1/cluster/signing-key/" + id} }
	f.do(retire(id)).refused(apiv1.CodeSigningKeyInUse)
	f.do(retire("0123456789abcdef")).refused(apiv1.CodeSigningKeyNotFound)
	f.do(retire("x").bad()).refused(apiv1.CodeBadRequest)
	f.node.propose(t, addSigningKey(testKey(9)))
	if x := into[apiv1.SigningKey](f.do(retire(id)).want(200)); x.ID != id || x.State != apiv1.SigningKeyStateRetired {
		t.Errorf("%+v", x)
	}
}

// A backup with the private key can fail as a write does, and then there is no backup.
func TestBackupWhoseAskingCantBeTold(t *testing.T) {
	f := newFixture(t)
	with := request{method: "GET", path: "/v1/backup?signing_key=true"}
	for code, status := range map[string]int{
		"clock_skew": 503, "no_leader": 503, "not_ready": 503, "overloaded": 503, "shutting_down": 503, "outcome_unknown": 504, "timeout": 504, "unsupported": 501,
	} {
		f.node.fail = codedError{code: code, text: "it is so", after: time.Second}
		f.do(with).want(status).refused(apiv1.Code(code))
	}
	f.node.fail = nil
	f.node.refuse = &fsmpb.Refusal{Code: "superseded", Facts: []*fsmpb.Fact{
		{Name: "stamped", Value: &fsmpb.Fact_Number{Number: 3}}, {Name: "landed", Value: &fsmpb.Fact_Number{Number: 4}},
	}}
	f.do(with).want(503).refused(apiv1.CodeSuperseded)
	f.node.refuse = nil
	f.node.hang = true
	f.do(with.with("Licet-Timeout-Ms", "20")).want(504).refused(apiv1.CodeOutcomeUnknown)
	f.node.hang = false
	newBareFixture(t).do(with).want(503).refused(apiv1.CodeNotInitialised)
}

// A backup with the private key takes the right to administer, and the audit trail tells of it before a byte is sent.
func TestBackupWithTheSigningKey(t *testing.T) {
	f := newFixture(t)
	with := request{method: "GET", path: "/v1/backup?signing_key=true"}
	auditor := f.token(`"name":"reader","role":"auditor"`).Token
	f.do(bearer(with, auditor)).want(403).refused(apiv1.CodeForbidden)
	if a := f.do(bearer(request{method: "GET", path: "/v1/backup"}, auditor)).want(200); strings.HasPrefix(string(a.body), "private") {
		t.Errorf("%q", a.body)
	}
	operator := f.token(`"name":"op","role":"operator"`).Token
	if a := f.do(bearer(with, operator)).want(200); !strings.HasPrefix(string(a.body), "private backup of") {
		t.Errorf("%q", a.body)
	}
	rows := f.node.view().WritesAfter(0, 100)
	var told []string
	for _, w := range rows {
		if w.KindName() == "export_signing_key" {
			told = append(told, w.Actor())
		}
	}
	if strings.Join(told, " ") != "token-2" {
		t.Errorf("the trail tells of %q", told)
	}
	f.do(request{method: "GET", path: "/v1/backup?signing_key=yes"}.bad()).refused(apiv1.CodeBadRequest)
}
