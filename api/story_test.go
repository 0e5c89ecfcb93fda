package api_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

// The example of the requirements: 30 users, three instances, one reduced, one removed.
func TestExample(t *testing.T) {
	f := newFixture(t)
	f.putContract("acme", 1, map[string]uint64{"primary": 30})
	bordeaux := into[apiv1.Instance](f.create("acme", "bordeaux", 15).want(201))
	f.create("acme", "lyon", 10).want(201)
	f.create("acme", "paris", 5).want(201)

	// I1: nothing is left for a fourth.
	p := f.create("acme", "nantes", 1).want(409).refused(apiv1.CodeContractExhausted)
	if p.Facts["free"] != apiv1.Number(0) || p.Facts["max"] != apiv1.Number(30) || p.Facts["area"] != apiv1.Text("primary") {
		t.Errorf("facts %v", p.Facts)
	}
	// I2, I4, I5: 15 becomes 10 while 12 are active.
	f.activate(bordeaux.Key, 12).want(200)
	smaller := into[apiv1.Instance](f.send("PATCH", "/v1/instances/1", apiv1.InstanceChange{Allocation: apiv1.Quantities{"primary": 10}}).want(200))
	if smaller.State != apiv1.InstanceStateOverAllocation || smaller.Areas["primary"].MustRemove != 2 || smaller.KeyRevision != 2 {
		t.Errorf("after the reduction: %+v", smaller)
	}
	f.activate(bordeaux.Key, 12).want(409).refused(apiv1.CodeKeyStale)
	// I6
	f.activate(smaller.Key, 13).want(409).refused(apiv1.CodeAreaOverAllocation)
	if x := into[apiv1.Instance](f.activate(smaller.Key, 10).want(200)); x.State != apiv1.InstanceStateActive || *x.ActivatedRevision != 2 {
		t.Errorf("after two accounts went: %+v", x)
	}
	// I3
	if x := into[apiv1.Instance](f.do(request{method: "DELETE", path: "/v1/instances/2"}).want(200)); x.State != apiv1.InstanceStateRemoved {
		t.Errorf("removed: %+v", x)
	}
	f.get("/v1/instances/2").want(410).refused(apiv1.CodeInstanceRemoved)
	if a := f.create("acme", "nantes", 10).want(201); a.header.Get("Location") != "/v1/instances/4" {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
}

func (f *fixture) activate(key string, primary uint64) *reply {
	f.t.Helper()
	return f.send("POST", "/v1/activations", apiv1.Activation{Key: key, Active: &apiv1.Quantities{"primary": primary}})
}

// Every refusal of documents that an operation documents.
func TestDocumentRefusals(t *testing.T) {
	f, _ := newSampleFixture(t)
	key := into[apiv1.LicenseKey](f.get("/v1/instances/1/key").want(200)).Key

	// C3
	f.putContract("acme", 3, map[string]uint64{"primary": 30})
	older := apiv1.ContractImport{Document: contractDoc(t, "acme", 2, map[string]uint64{"primary": 31})}
	f.send("POST", "/v1/contracts", older).want(409).refused(apiv1.CodeRevisionStale)
	other := apiv1.ContractImport{Document: contractDoc(t, "acme", 3, map[string]uint64{"primary": 31})}
	f.send("POST", "/v1/contracts", other).want(409).refused(apiv1.CodeRevisionConflict)
	// C2
	f.send("POST", "/v1/contracts", apiv1.ContractImport{Document: "licet-contract-v1.a.b.c"}).want(422).refused(apiv1.CodeDocumentInvalid)
	foreign, err := (&signed.Contract{ID: "acme", Revision: 9, Customer: "x", Email: "a@b.c", Start: epoch, Expiry: epoch.AddDate(1, 0, 0), Users: map[string]uint64{"primary": 99}}).Sign(strangerKey)
	if err != nil {
		t.Fatal(err)
	}
	p := f.send("POST", "/v1/contracts", apiv1.ContractImport{Document: foreign}).want(422).refused(apiv1.CodeDocumentInvalid)
	if p.Facts["reason"] != apiv1.Text("unknown_key") {
		t.Errorf("facts %v", p.Facts)
	}
	f.send("POST", "/v1/contracts", apiv1.ContractImport{Document: "\x00"}).want(422).refused(apiv1.CodeDocumentInvalid)
	f.send("POST", "/v1/activations", apiv1.Activation{Key: key[:len(key)-5]}).want(422).refused(apiv1.CodeKeyInvalid)
}

// Every refusal of instances that an operation documents.
func TestInstanceRefusals(t *testing.T) {
	f, _ := newSampleFixture(t)
	key := into[apiv1.LicenseKey](f.get("/v1/instances/1/key").want(200)).Key
	f.get("/v1/contracts/nobody").want(404).refused(apiv1.CodeContractNotFound)
	f.create("nobody", "x", 1).want(404).refused(apiv1.CodeContractNotFound)
	f.create("acme", "bordeaux", 1).want(409).refused(apiv1.CodeInstanceExists)
	f.create("acme", "x", 16).want(409).refused(apiv1.CodeContractExhausted)
	f.send("PATCH", "/v1/instances/1", apiv1.InstanceChange{Allocation: apiv1.Quantities{"primary": 31}}).want(409).refused(apiv1.CodeContractExhausted)

	// I3
	f.create("acme", "gone", 1).want(201)
	gone := into[apiv1.LicenseKey](f.get("/v1/instances/2/key").want(200)).Key
	f.do(request{method: "DELETE", path: "/v1/instances/2"}).want(200)
	for _, at := range []struct {
		serial string
		status int
		code   apiv1.Code
	}{{"2", 410, apiv1.CodeInstanceRemoved}, {"9007199254740991", 404, apiv1.CodeInstanceNotFound}} {
		f.get("/v1/instances/" + at.serial).want(at.status).refused(at.code)
		f.get("/v1/instances/" + at.serial + "/key").want(at.status).refused(at.code)
		f.do(request{method: "DELETE", path: "/v1/instances/" + at.serial}).want(at.status).refused(at.code)
		f.send("PATCH", "/v1/instances/"+at.serial, apiv1.InstanceChange{Allocation: apiv1.Quantities{"primary": 1}}).want(at.status).refused(at.code)
	}
	f.activate(gone, 0).want(410).refused(apiv1.CodeInstanceRemoved)
	stranger, err := (&signed.LicenseKey{Cluster: clusterID, Serial: 99, Contract: "acme", Revision: 1, Expiry: epoch, Allocation: map[string]uint64{"primary": 1}}).Sign(clusterKey)
	if err != nil {
		t.Fatal(err)
	}
	f.activate(stranger, 0).want(404).refused(apiv1.CodeInstanceNotFound)

	f.putContract("later", 1, map[string]uint64{"primary": 5}, func(c *signed.Contract) { c.Start = epoch.AddDate(0, 0, 1) })
	early := into[apiv1.Instance](f.create("later", "early", 1).want(201))
	f.activate(early.Key, 1).want(409).refused(apiv1.CodeContractNotStarted)

	// C5
	f.node.now = epoch.AddDate(2, 0, 0)
	f.node.expire(t)
	f.activate(key, 1).want(409).refused(apiv1.CodeContractEnded)
	f.create("acme", "late", 1).want(409).refused(apiv1.CodeContractEnded)
	f.send("PATCH", "/v1/instances/1", apiv1.InstanceChange{Allocation: apiv1.Quantities{"primary": 20}}).want(409).refused(apiv1.CodeContractEnded)
	if x := into[apiv1.Instance](f.get("/v1/instances/1").want(200)); x.State != apiv1.InstanceStateEnded {
		t.Errorf("state %s", x.State)
	}
}

// E1: a repeat has the recorded outcome, a missing key is made up and told.
func TestIdempotency(t *testing.T) {
	f, all := newSampleFixture(t)
	sample := all["createInstance"].with("Idempotency-Key", "01:a.b_c-D")
	first := f.do(sample).want(201)
	again := f.do(sample).want(201)
	if string(first.body) != string(again.body) {
		t.Errorf("first %s\nagain %s", first.body, again.body)
	}
	if first.header.Get("Licet-Repeated") != "" || again.header.Get("Licet-Repeated") != "true" || again.header.Get("Licet-Index") != first.header.Get("Licet-Index") {
		t.Errorf("headers: first %v, again %v", first.header, again.header)
	}
	// The order of areas makes no other request.
	sample.body = `{"site":"lyon","allocation":{"extranet":1,"primary":5},"name":"paris","contract":"acme"}`
	f.do(sample).want(201)
	// A refusal is remembered, too, and says that it is a repeat.
	refused := request{method: "DELETE", path: "/v1/instances/77"}.with("Idempotency-Key", "r")
	f.do(refused).refused(apiv1.CodeInstanceNotFound)
	if a := f.do(refused); a.refused(apiv1.CodeInstanceNotFound).Next == "" || a.header.Get("Licet-Repeated") != "true" {
		t.Errorf("repeated refusal: %v", a.header)
	}
	f.do(request{method: "DELETE", path: "/v1/instances/77?dry_run=true"}).refused(apiv1.CodeInstanceNotFound)
	made := f.do(all["updateSettings"]).want(200).header.Get("Idempotency-Key")
	if a := f.do(all["updateSettings"].with("Idempotency-Key", made)).want(200); a.header.Get("Licet-Repeated") != "true" {
		t.Error("the key that the node made up is not that of the write")
	}
}

// K7: a dry run answers what would happen and changes nothing, for every write.
func TestDryRun(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, op operation, sample request) {
		if op.Parameters.GetByInAndName("query", "dry_run") == nil {
			t.Skip("no write of the state")
		}
		before := f.node.view().Digest()
		r := sample
		r.path += map[bool]string{true: "&", false: "?"}[strings.Contains(r.path, "?")] + "dry_run=true"
		dry := f.do(r).want(200)
		if f.node.view().Digest() != before {
			t.Error("the state has changed")
		}
		if dry.header.Get("Licet-Dry-Run") != "true" || strings.Contains(string(dry.body), signed.LicenseKeyKind) || strings.Contains(string(dry.body), `"handle"`) {
			t.Errorf("a dry run gives %v %s", dry.header, dry.body)
		}
		wet := f.do(sample)
		if wet.header.Get("Licet-Dry-Run") != "" {
			t.Error("a real run says that it is dry")
		}
		if got, want := withoutKey(t, wet.body), withoutKey(t, dry.body); got != want {
			t.Errorf("dry %s\nreal %s", want, got)
		}
	})
}

func withoutKey(t *testing.T, body []byte) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(withoutSecrets(fields))
}

// withoutSecrets leaves out what only the real run gives.
func withoutSecrets(value any) any {
	switch x := value.(type) {
	case map[string]any:
		for _, secret := range []string{"key", "handle", "token"} {
			delete(x, secret)
		}
		for name := range x {
			x[name] = withoutSecrets(x[name])
		}
	case []any:
		for i := range x {
			x[i] = withoutSecrets(x[i])
		}
	}
	return value
}

// Reads say what they read: index, term and, if stale, the age.
func TestReads(t *testing.T) {
	f, _ := newSampleFixture(t)
	index := f.node.view().Index()
	last := fmt.Sprint(index)
	a := f.get("/v1/settings").want(200)
	if a.header.Get("Licet-Index") != last || a.header.Get("Licet-Term") != "1" || a.header.Get("Licet-Age-Ms") != "" {
		t.Errorf("linearizable: %v", a.header)
	}
	if a := f.get("/v1/settings?consistency=stale&min_index=" + last).want(200); a.header.Get("Licet-Age-Ms") != "1500" {
		t.Errorf("stale: %v", a.header)
	}
	f.get(fmt.Sprint("/v1/settings?min_index=", index+1)).want(504).refused(apiv1.CodeIndexTimeout)
	// A refusal says what it was read from.
	if a := f.get("/v1/instances/9?consistency=stale").want(404); a.header.Get("Licet-Index") != last || a.header.Get("Licet-Age-Ms") != "1500" {
		t.Errorf("refusal: %v", a.header)
	}
}

// Pages follow each other without gaps or repeats.
func TestPages(t *testing.T) {
	f := newFixture(t)
	for i := range 7 {
		id := fmt.Sprintf("c%d", i)
		f.putContract(id, 1, map[string]uint64{"primary": 30})
		f.create(id, "x", 1).want(201)
		f.create("c0", fmt.Sprint("y", i), 1).want(201)
	}
	var contracts []string
	for after := ""; ; {
		page := into[apiv1.ContractList](f.get("/v1/contracts?limit=3" + after).want(200))
		for _, c := range page.Contracts {
			contracts = append(contracts, c.ID)
		}
		if page.Next == "" {
			break
		}
		after = "&after=" + page.Next
	}
	if got := strings.Join(contracts, " "); got != "c0 c1 c2 c3 c4 c5 c6" {
		t.Errorf("contracts %s", got)
	}
	for _, c := range []struct {
		filter string
		want   int
	}{{"", 14}, {"&contract=c0", 8}, {"&contract=nobody", 0}} {
		var last uint64
		seen := 0
		for {
			page := into[apiv1.InstanceList](f.get(fmt.Sprintf("/v1/instances?limit=2&after=%d%s", last, c.filter)).want(200))
			for _, x := range page.Instances {
				if x.Serial <= last {
					t.Fatalf("%d after %d", x.Serial, last)
				}
				last, seen = x.Serial, seen+1
			}
			if page.Next == 0 {
				break
			}
		}
		if seen != c.want {
			t.Errorf("%q: %d instances instead of %d", c.filter, seen, c.want)
		}
	}
}

// A last page that is just full has no next one.
func TestFullLastPage(t *testing.T) {
	f, _ := newSampleFixture(t)
	if page := into[apiv1.ContractList](f.get("/v1/contracts?limit=1").want(200)); len(page.Contracts) != 1 || page.Next != "" {
		t.Errorf("%+v", page)
	}
	if page := into[apiv1.InstanceList](f.get("/v1/instances?limit=1").want(200)); len(page.Instances) != 1 || page.Next != 0 {
		t.Errorf("%+v", page)
	}
}

// C4: the contract reports by how much each area is over.
func TestOverAllocatedContract(t *testing.T) {
	f, _ := newSampleFixture(t)
	c := f.putContract("acme", 2, map[string]uint64{"extranet": 2}, func(c *signed.Contract) {
		c.Products = map[string]signed.Product{"cad": {Model: signed.Team, Quantity: 5, Overdraft: 1}}
	})
	want := map[string]apiv1.ContractArea{"primary": {Allocated: 15, Over: 15}, "extranet": {Max: 2, Free: 2}}
	if !c.OverAllocated || fmt.Sprint(c.Areas) != fmt.Sprint(want) || c.Products["cad"] != (apiv1.Product{Model: apiv1.ModelTeam, Quantity: 5, Overdraft: 1, Promised: 8, Used: 2, Over: 3}) {
		t.Errorf("%+v", c)
	}
	if c.VendorKey != signed.KeyID(public(vendorKey)) || c.Document == "" {
		t.Errorf("%+v", c)
	}
	read := f.get("/v1/contracts/acme").want(200)
	if got := into[apiv1.Contract](read); fmt.Sprint(got) != fmt.Sprint(c) {
		t.Errorf("read %+v\nwritten %+v", got, c)
	}
}

// I4: a key verifies offline with the published keys alone.
func TestKeysVerifyOffline(t *testing.T) {
	f := newFixture(t)
	f.putContract("acme", 1, map[string]uint64{"primary": 30})
	f.create("acme", "bordeaux", 15).want(201)
	keys := into[apiv1.Keys](f.get("/v1/keys").want(200))
	key := into[apiv1.LicenseKey](f.get("/v1/instances/1/key").want(200))
	signing, err := signed.ParsePublicKey([]byte(keys.SigningKeys[0].Pem))
	if err != nil {
		t.Fatal(err)
	}
	k, err := signed.VerifyLicenseKey(key.Key, []ed25519.PublicKey{signing})
	if err != nil || k.Serial != 1 || k.Cluster != keys.Cluster || k.Allocation["primary"] != 15 || keys.SigningKeys[0].ID != signed.KeyID(signing) {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := signed.ParsePublicKey([]byte(keys.VendorKeys[0].Pem)); err != nil {
		t.Error(err)
	}
}

func TestClusterCalls(t *testing.T) {
	f := newFixture(t)
	f.do(request{method: "POST", path: "/v1/cluster/transfer"}).want(204)
	f.do(samples["transferLeadership"]).want(204)
	f.do(request{method: "POST", path: "/v1/cluster/transfer", body: "{}"}).want(204)
	f.do(samples["removeMember"]).want(204)
	if r := into[apiv1.GossipKeyRotation](f.do(samples["rotateGossipKey"]).want(200)); r.Key != "5f70bf18a086" || r.Generation != 3 || len(r.Reached) != 1 {
		t.Errorf("%+v", r)
	}
	f.do(samples["createJoinToken"]).want(200)
	f.do(request{method: "POST", path: "/v1/cluster/join-tokens", body: `{"node":"quimper"}`}).want(200)
	f.do(samples["leaveCluster"]).want(204)
	if got := strings.Join(f.node.calls, ","); got != "transfer to  for operator,transfer to bordeaux for operator,transfer to  for operator,remove bordeaux for operator,rotate for operator,join token of quimper for 1m0s,join token of quimper for 1h0m0s,leave for operator" {
		t.Error(got)
	}
	f.node.members.Members = nil
	if a := f.get("/v1/cluster/members").want(200); !strings.Contains(string(a.body), `"members":[]`) {
		t.Errorf("%s", a.body)
	}
}

func TestDocumentIsServed(t *testing.T) {
	f := newFixture(t)
	if a := f.do(samples["getDocument"]).want(200); string(a.body) != string(api.OpenAPI) {
		t.Error("another document is served than the one that is embedded")
	}
}
