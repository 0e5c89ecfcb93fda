package api_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// samples has one valid request for every operation, by its id; the generic
// tests vary it. They are answered well by a server from newSampleFixture.
var samples = map[string]request{
	"getHealth":          {method: "GET", path: "/healthz", anonymous: true},
	"getReadiness":       {method: "GET", path: "/readyz", anonymous: true},
	"getDocument":        {method: "GET", path: "/v1/openapi.yaml", anonymous: true},
	"getMetrics":         {method: "GET", path: "/metrics"},
	"getProfile":         {method: "GET", path: "/debug/pprof/heap"},
	"getStatus":          {method: "GET", path: "/v1/status"},
	"listMembers":        {method: "GET", path: "/v1/cluster/members"},
	"removeMember":       {method: "DELETE", path: "/v1/cluster/members/bordeaux"},
	"listGossipKeys":     {method: "GET", path: "/v1/cluster/gossip-key"},
	"rotateGossipKey":    {method: "POST", path: "/v1/cluster/gossip-key/rotate"},
	"listSigningKeys":    {method: "GET", path: "/v1/cluster/signing-key"},
	"rotateSigningKey":   {method: "POST", path: "/v1/cluster/signing-key/rotate"},
	"retireSigningKey":   {method: "DELETE", path: "/v1/cluster/signing-key/6a3803d5f059902a"},
	"listVendorKeys":     {method: "GET", path: "/v1/vendor-keys"},
	"changeVendorKeys":   {method: "POST", path: "/v1/vendor-keys"},
	"transferLeadership": {method: "POST", path: "/v1/cluster/transfer", body: `{"to":"bordeaux"}`},
	"createJoinToken":    {method: "POST", path: "/v1/cluster/join-tokens", body: `{"node":"quimper","ttl_seconds":60}`},
	"leaveCluster":       {method: "POST", path: "/v1/cluster/leave"},
	"getBackup":          {method: "GET", path: "/v1/backup?signing_key=false"},
	"restoreBackup":      {method: "POST", path: "/v1/restore?into=new&from=old", body: "a backup"},
	"getSettings":        {method: "GET", path: "/v1/settings"},
	"updateSettings":     {method: "PATCH", path: "/v1/settings", body: `{"request_ttl_seconds":7200,"request_limit":5000,"request_bytes":1048576,"usage_hours":24,"usage_limit":1000}`},
	"getKeys":            {method: "GET", path: "/v1/keys"},
	"listAudit":          {method: "GET", path: "/v1/audit?after=0&limit=10&actor=operator&kind=create_instance&outcome=ok"},
	"getAuditRow":        {method: "GET", path: "/v1/audit/1"},
	"listContracts":      {method: "GET", path: "/v1/contracts?after=aaa&limit=10"},
	"putContract":        {method: "POST", path: "/v1/contracts"},
	"getContract":        {method: "GET", path: "/v1/contracts/acme"},
	"listInstances":      {method: "GET", path: "/v1/instances?contract=acme&after=0&limit=10"},
	"createInstance":     {method: "POST", path: "/v1/instances", body: `{"contract":"acme","name":"paris","allocation":{"primary":5,"extranet":1},"site":"lyon"}`},
	"getInstance":        {method: "GET", path: "/v1/instances/1"},
	"resizeInstance":     {method: "PATCH", path: "/v1/instances/1", body: `{"allocation":{"primary":10},"site":"lyon"}`},
	"removeInstance":     {method: "DELETE", path: "/v1/instances/1"},
	"getInstanceKey":     {method: "GET", path: "/v1/instances/1/key"},
	"activate":           {method: "POST", path: "/v1/activations"},
	"listPools":          {method: "GET", path: "/v1/pools?contract=acme&after=aaa&limit=10"},
	"createPool":         {method: "POST", path: "/v1/pools", body: samplePool},
	"getPool":            {method: "GET", path: "/v1/pools/design"},
	"replacePool":        {method: "PUT", path: "/v1/pools/design", body: `{"name":"design","contract":"acme","site":"lyon","size":2,"products":{"cad":{"max_checkout_days":7},"team":{},"mono":{}},"queue_limit":4}`},
	"deletePool":         {method: "DELETE", path: "/v1/pools/design?force=true"},
	"activatePool":       {method: "POST", path: "/v1/pools/design/activate"},
	"deactivatePool":     {method: "POST", path: "/v1/pools/design/deactivate"},
	"getUsage":           {method: "GET", path: "/v1/pools/design/usage?product=cad&from=2026-06-01T10:00:00Z&to=2026-06-01T12:30:00Z"},
	"listProjects":       {method: "GET", path: "/v1/pools/tokens/projects?after=a&limit=10"},
	"convertProject":     {method: "POST", path: "/v1/pools/tokens/projects/convert"},
	"listTickets":        {method: "GET", path: "/v1/pools/design/tickets?after=0&limit=10"},
	"checkout":           {method: "POST", path: "/v1/checkouts", body: `{"pool":"tokens","product":"cad","user":"eve@acme.example","client":"ws-5","count":1,"ttl":60,"groups":["staff"],"queue":true}`},
	"explainCheckout":    {method: "POST", path: "/v1/checkouts/explain", body: `{"pool":"design","product":"team","user":"eve@acme.example","client":"ws-5","project":"x","groups":[]}`},
	"listLeases":         {method: "GET", path: "/v1/leases?pool=design&user=ann@acme.example&project=x&after=0&limit=10"},
	"getLease":           {method: "GET", path: "/v1/leases/1"},
	"revokeLease":        {method: "DELETE", path: "/v1/leases/1?reason=gone"},
	"renewLease":         {method: "POST", path: "/v1/leases/1/renew"},
	"returnLease":        {method: "POST", path: "/v1/leases/1/return"},
	"returnBorrow":       {method: "POST", path: "/v1/borrows/return"},
	"bulk":               {method: "POST", path: "/v1/bulk"},
	"getTicket":          {method: "GET", path: "/v1/tickets/2?wait=0"},
	"keepTicket":         {method: "POST", path: "/v1/tickets/2/keep"},
	"claimOffer":         {method: "POST", path: "/v1/tickets/1/claim"},
	"leaveQueue":         {method: "POST", path: "/v1/tickets/2/leave"},

	"listTokens":      {method: "GET", path: "/v1/tokens?after=0&limit=10"},
	"createToken":     {method: "POST", path: "/v1/tokens", body: `{"name":"farm","role":"client","pools":["design"],"user":"ann@acme.example","expires":"2027-01-01T00:00:00Z"}`},
	"bootstrapTokens": {method: "POST", path: "/v1/tokens/bootstrap", body: `{"name":"first"}`},
	"getPrincipal":    {method: "GET", path: "/v1/tokens/self"},
	"getToken":        {method: "GET", path: "/v1/tokens/1"},
	"revokeToken":     {method: "DELETE", path: "/v1/tokens/1"},

	"listAccounts":      {method: "GET", path: "/v1/instances/2/accounts?after=aa&limit=10"},
	"createAccount":     {method: "POST", path: "/v1/instances/2/accounts", body: `{"name":"Zoë, the 2nd","area":"primary","state":"active"}`},
	"getAccount":        {method: "GET", path: "/v1/instances/2/accounts/ann@acme.example"},
	"changeAccount":     {method: "PATCH", path: "/v1/instances/2/accounts/ANN@acme.example", body: `{"state":"blocked"}`},
	"deleteAccount":     {method: "DELETE", path: "/v1/instances/2/accounts/bob"},
	"getInstanceTotals": {method: "GET", path: "/v1/instances/2/totals"},
	"exportAccounts":    {method: "GET", path: "/v1/instances/2/export"},
	"importAccounts":    {method: "POST", path: "/v1/instances/2/imports", body: "name,area,account state\r\nfay,primary,Yes\r\n\"guy, the other\",extranet,No\r\n"},
	"importStaged":      {method: "POST", path: "/v1/instances/2/imports/staged", body: `{"staging":"list","parts":1,"sha256":"` + listSum + `"}`},
	"stageAccounts":     {method: "PUT", path: "/v1/instances/2/stagings/more/1", body: `{"accounts":[{"name":"cid","area":"primary","state":"blocked","line":2}]}`},
	"syncAccounts":      {method: "POST", path: "/v1/instances/2/syncs", body: `{"accounts":[{"name":"bob","area":"primary"},{"name":"new","area":"extranet"}]}`},
	"syncStaged":        {method: "POST", path: "/v1/instances/2/syncs/staged", body: `{"staging":"list","parts":1,"sha256":"` + listSum + `"}`},
	"getContractTotals": {method: "GET", path: "/v1/contracts/acme/totals"},
	"getResponsible":    {method: "GET", path: "/v1/contracts/acme/responsible"},
	"setResponsible":    {method: "PUT", path: "/v1/contracts/acme/responsible", body: `{"address":"licences@acme.example"}`},
	"resetResponsible":  {method: "DELETE", path: "/v1/contracts/acme/responsible"},
	"listNotices":       {method: "GET", path: "/v1/notices?after=0&limit=10"},
	"listRequests":      {method: "GET", path: "/v1/requests?contract=acme&after=0&limit=10"},
	"openRequest":       {method: "POST", path: "/v1/requests", body: `{"contract":"acme","area":"primary","seats":2,"from":"extranet","note":"for the new team"}`},
	"getRequest":        {method: "GET", path: "/v1/requests/1"},
	"closeRequest":      {method: "POST", path: "/v1/requests/1/close", body: `{"as":"withdrawn","note":"not needed"}`},
}

// listSum is the sum of the list that is staged for the samples.
var listSum = func() string {
	sum := fsm.ListedSum([]*fsmpb.ListedAccount{{Name: "dan", Area: "primary"}})
	return hex.EncodeToString(sum[:])
}()

// newAccountFixture is newSampleFixture with instance 2, whose accounts are kept here.
func newAccountFixture(t testing.TB) (*fixture, map[string]request) {
	t.Helper()
	f, all := newSampleFixture(t)
	f.send("POST", "/v1/instances", apiv1.InstanceCreation{Contract: "acme", Name: "lyon", Allocation: apiv1.Quantities{"primary": 3, "extranet": 2}}).want(201)
	for _, name := range []string{"ann@acme.example", "bob"} {
		f.send("POST", "/v1/instances/2/accounts", apiv1.AccountCreation{Name: name, Area: "primary"}).want(201)
	}
	f.do(request{method: "PUT", path: "/v1/instances/2/stagings/list/1", body: `{"accounts":[{"name":"dan","area":"primary"}]}`}).want(200)
	f.send("POST", "/v1/requests", apiv1.LicenseRequestOpening{Contract: "acme", Area: "primary", Seats: 5}).want(201)
	return f, all
}

// samplePool names every field that a pool's definition has.
const samplePool = `{"name":"lab","site":"lyon","contract":"acme","size":3,"shared":true,"valid_until":"2026-12-01T00:00:00Z",
	"products":{"cad":{"cap":2,"max_checkout_days":7,"low_water":1,"restriction":{"include_domains":["acme.example"]},
	"reservations":[{"name":"chief","seats":1,"users":["boss@acme.example"],"domains":["*.acme.example"],"groups":["chiefs"]}]}},
	"restriction":{"include_domains":["acme.example"],"exclude_domains":["x.example"],"include_emails":["a@b.example"],"exclude_emails":["c@d.example"]},
	"ttl_min":20,"ttl_max":2000,"ttl_default":200,"linger":5,"queue_limit":9,"offer_ttl":30,"ticket_ttl":90}`

// newSampleFixture serves contract acme with instance 1, and two active pools: in design, which is full, lease 1 is
// ann's, lease 2 a borrow, an offer is made to ticket 1 and ticket 2 waits; in tokens a project is open with lease 4.
func newSampleFixture(t testing.TB) (*fixture, map[string]request) {
	t.Helper()
	f := newFixture(t)
	f.putContract("acme", 1, map[string]uint64{"primary": 30, "extranet": 5}, sampleProducts)
	key := into[apiv1.Instance](f.create("acme", "bordeaux", 15).want(201)).Key
	seats := f.sampleSeats()
	all := make(map[string]request, len(samples))
	for id, r := range samples {
		all[id] = r
	}
	all["putContract"] = request{method: "POST", path: "/v1/contracts", body: `{"document":"` + contractDoc(t, "other", 1, map[string]uint64{"primary": 3}) + `"}`}
	all["changeVendorKeys"] = request{method: "POST", path: "/v1/vendor-keys", body: `{"statement":"` + statement(t, strangerKey, vendorKey, vendorKey) + `"}`}
	all["activate"] = request{method: "POST", path: "/v1/activations", body: `{"key":"` + key + `","active":{"primary":7}}`}
	held := func(of, more string) string { return `{"handle":"` + seats[of] + `"` + more + `}` }
	for id, body := range map[string]string{
		"renewLease": held("lease", `,"ttl":600`), "returnLease": held("lease", ""), "keepTicket": held("waiting", ""), "leaveQueue": held("waiting", ""),
		"claimOffer": held("offer", ""), "convertProject": held("project", `,"project":"x","product":"mono","lease":4`), "returnBorrow": `{"token":"` + seats["token"] + `"}`,
		"bulk": `{"items":[{"check_in":{"lease":1,"handle":"` + seats["lease"] + `"}},{"renew":{"lease":4,"handle":"` + seats["project"] + `","ttl":600}},` +
			`{"checkout":{"pool":"tokens","product":"cad","user":"eve@acme.example","client":"ws-5"}}]}`,
	} {
		r := all[id]
		r.body = body
		all[id] = r
	}
	f.do(request{method: "POST", path: "/v1/tokens", body: `{"name":"reader","role":"auditor"}`}).want(201)
	f.node.propose(t, addSigningKey(testKey(9)))
	return f, all
}

func sampleProducts(c *signed.Contract) {
	c.Products = map[string]signed.Product{
		"cad": {Model: signed.Floating, Quantity: 10}, "team": {Model: signed.Team, Quantity: 10}, "mono": {Model: signed.Mono, Quantity: 10},
	}
}

// sampleSeats makes the pools and returns the handles, by what they are of, and the borrow's token.
func (f *fixture) sampleSeats() map[string]string {
	f.t.Helper()
	f.pool(`{"name":"design","contract":"acme","site":"lyon","size":3,"products":{"cad":{"max_checkout_days":7},"team":{},"mono":{}},"queue_limit":5}`)
	f.pool(`{"name":"tokens","contract":"acme","site":"lyon","size":5,"products":{"cad":{},"team":{},"mono":{}},"queue_limit":5}`)
	ann := f.take("design", "cad", "ann", "").want(201)
	borrow := f.take("design", "cad", "bob", `,"borrow_days":2`).want(201)
	third := f.take("design", "cad", "cid", "").want(201)
	offer := f.take("design", "cad", "dan", `,"queue":true`).want(202)
	waiting := f.take("design", "cad", "eva", `,"queue":true`).want(202)
	f.returned(third)
	project := f.take("tokens", "team", "ann", `,"project":"x"`).want(201)
	lease := func(a *reply) *apiv1.Lease { return into[apiv1.CheckoutDone](a).Lease }
	ticket := func(a *reply) *apiv1.Ticket { return into[apiv1.CheckoutDone](a).Ticket }
	return map[string]string{
		"lease": lease(ann).Handle, "token": lease(borrow).Token, "project": lease(project).Handle,
		"offer": ticket(offer).Handle, "waiting": ticket(waiting).Handle,
	}
}

// pool creates a pool and activates it.
func (f *fixture) pool(definition string) {
	f.t.Helper()
	made := into[apiv1.PoolChange](f.do(request{method: "POST", path: "/v1/pools", body: definition}).want(201))
	f.do(request{method: "POST", path: "/v1/pools/" + made.Pool.Definition.Name + "/activate"}).want(200)
}

// take checks out for a user of acme.example; more are further fields.
func (f *fixture) take(pool, product, user, more string) *reply {
	f.t.Helper()
	return f.do(request{method: "POST", path: "/v1/checkouts", body: fmt.Sprintf(
		`{"pool":%q,"product":%q,"user":"%s@acme.example","client":"ws-%s"%s}`, pool, product, user, user, more)})
}

// returned checks in what a checkout was answered with.
func (f *fixture) returned(a *reply) *reply {
	f.t.Helper()
	x := into[apiv1.CheckoutDone](a).Lease
	return f.send("POST", fmt.Sprintf("/v1/leases/%d/return", x.ID), apiv1.Held{Handle: x.Handle})
}

// eachSample runs a test for every operation against a server of its own.
func eachSample(t *testing.T, test func(t *testing.T, f *fixture, op operation, sample request)) {
	t.Helper()
	for _, op := range operations() {
		t.Run(op.OperationID, func(t *testing.T) {
			newFixture := newSampleFixture
			if slices.Contains([]string{"accounts", "notices", "requests"}, op.Tags[0]) {
				newFixture = newAccountFixture
			}
			f, all := newFixture(t)
			sample, ok := all[op.OperationID]
			if !ok {
				t.Fatal("the operation has no sample request")
			}
			test(t, f, op, sample)
		})
	}
}

func TestSamplesSucceed(t *testing.T) {
	eachSample(t, func(t *testing.T, f *fixture, _ operation, sample request) {
		if a := f.do(sample); a.status >= 300 {
			t.Fatalf("%s: status %d: %s", a, a.status, a.body)
		}
	})
}
