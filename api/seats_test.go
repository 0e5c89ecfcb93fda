package api_test

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

func lease(a *reply) apiv1.Lease {
	a.t.Helper()
	x := into[apiv1.CheckoutDone](a).Lease
	if x == nil {
		a.t.Fatalf("%s: no lease: %s", a, a.body)
	}
	return *x
}

func ticket(a *reply) apiv1.Ticket {
	a.t.Helper()
	x := into[apiv1.CheckoutDone](a).Ticket
	if x == nil {
		a.t.Fatalf("%s: no ticket: %s", a, a.body)
	}
	return *x
}

// newSeatsFixture serves contract acme with products, and no pool yet.
func newSeatsFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.putContract("acme", 1, map[string]uint64{"primary": 30}, sampleProducts)
	return f
}

// P1, P2, P6: pools are made, changed, switched, listed and deleted.
func TestPools(t *testing.T) {
	f := newSeatsFixture(t)
	a := f.do(request{method: "POST", path: "/v1/pools", body: samplePool}).want(201)
	if at := a.header.Get("Location"); at != "/v1/pools/lab" {
		t.Errorf("Location %q", at)
	}
	made := into[apiv1.PoolChange](a).Pool
	var asked apiv1.PoolDefinition
	if err := json.Unmarshal([]byte(samplePool), &asked); err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(made.Definition), asJSON(asked); got != want || made.State != apiv1.PoolStateInactive {
		t.Errorf("made %s\nasked %s", got, want)
	}
	f.do(request{method: "POST", path: "/v1/pools", body: samplePool}).want(409).refused(apiv1.CodePoolExists)
	x := into[apiv1.Pool](f.get("/v1/pools/lab").want(200))
	if x.Ends == nil || !x.Ends.Equal(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)) || x.Use.Products["cad"] != (apiv1.ProductUse{}) {
		t.Errorf("%+v", x)
	}
	// What is not named goes back to its default.
	put := func(name, body string) *reply {
		return f.do(request{method: "PUT", path: "/v1/pools/" + name, body: body})
	}
	d := into[apiv1.PoolChange](put("lab", `{"name":"lab","contract":"acme","size":4,"products":{"cad":{}}}`).want(200)).Pool.Definition
	if d.TTLMin != 30 || d.TTLMax != 86400 || d.TTLDefault != 300 || d.OfferTTL != 60 || d.TicketTTL != 120 || d.ValidUntil != nil || d.Shared || d.Restriction != nil {
		t.Errorf("defaults: %+v", d)
	}
	put("lab", `{"name":"other","contract":"acme","size":4,"products":{"cad":{}}}`).bad400(t, "name: other is not the path's lab")
	put("nope", `{"name":"nope","contract":"acme","size":4,"products":{"cad":{}}}`).want(404).refused(apiv1.CodePoolNotFound)
	for _, each := range []func(string) *reply{
		func(body string) *reply { return put("lab", body) },
		func(body string) *reply {
			return f.do(request{method: "POST", path: "/v1/pools", body: strings.Replace(body, `"lab"`, `"new"`, 1)})
		},
	} {
		each(`{"name":"lab","contract":"nobody","size":4,"products":{"cad":{}}}`).want(404).refused(apiv1.CodeContractNotFound)
		each(`{"name":"lab","contract":"acme","size":4,"products":{"cad":{},"cam":{}}}`).want(409).refused(apiv1.CodeProductNotGranted)
		p := each(`{"name":"lab","contract":"acme","size":40,"products":{"cad":{}}}`).want(409).refused(apiv1.CodeContractExhausted)
		if p.Facts["product"] != apiv1.Text("cad") || p.Facts["max"] != apiv1.Number(10) {
			t.Errorf("facts %v", p.Facts)
		}
		// P5: a list that contains and excludes the same entry.
		each(`{"name":"lab","contract":"acme","size":4,"products":{"cad":{}},"restriction":{"include_domains":["a.b"],"exclude_domains":["A.B"]}}`).want(422).refused(apiv1.CodeInvalid)
	}
	f.putContract("other", 1, map[string]uint64{"primary": 30}, sampleProducts)
	put("lab", `{"name":"lab","contract":"other","size":4,"products":{"cad":{}}}`).want(409).refused(apiv1.CodePoolExists)
	for _, gone := range []request{
		{method: "GET", path: "/v1/pools/nope"},
		{method: "DELETE", path: "/v1/pools/nope"},
		{method: "POST", path: "/v1/pools/nope/activate"},
		{method: "POST", path: "/v1/pools/nope/deactivate"},
		{method: "GET", path: "/v1/pools/nope/usage"},
		{method: "GET", path: "/v1/pools/nope/tickets"},
		{method: "GET", path: "/v1/pools/nope/projects"},
	} {
		f.do(gone).want(404).refused(apiv1.CodePoolNotFound)
	}
	f.node.now = epoch.AddDate(3, 0, 0)
	f.do(request{method: "POST", path: "/v1/pools", body: `{"name":"late","contract":"acme","size":4,"products":{"cad":{}}}`}).want(409).refused(apiv1.CodeContractEnded)
}

// E4: a pool that was changed since it was read is not replaced, if the request says what was read.
func TestPoolRevisions(t *testing.T) {
	f := newSeatsFixture(t)
	f.pool(`{"name":"lab","contract":"acme","size":3,"products":{"cad":{}}}`)
	put := func(size int, tags ...string) *reply {
		r := request{method: "PUT", path: "/v1/pools/lab", body: fmt.Sprintf(`{"name":"lab","contract":"acme","size":%d,"products":{"cad":{}}}`, size)}
		if len(tags) > 0 {
			r = r.with("If-Match", tags...)
		}
		return f.do(r)
	}
	read := func() (string, uint64) {
		a := f.get("/v1/pools/lab").want(200)
		return a.header.Get("ETag"), into[apiv1.Pool](a).Revision
	}
	tag, revision := read()
	if tag != fmt.Sprintf("%q", fmt.Sprint(revision)) || revision == 0 {
		t.Fatalf("ETag %s of revision %d", tag, revision)
	}
	// RFC 9110 has no validator in the answer to a PUT that the server completed with defaults.
	if a := put(4, tag).want(200); a.header.Get("ETag") != "" || into[apiv1.PoolChange](a).Pool.Revision <= revision {
		t.Errorf("ETag %q, %s", a.header.Get("ETag"), a.body)
	}
	p := put(5, tag).want(412).refused(apiv1.CodePoolChanged)
	if _, now := read(); p.Facts["expected"] != apiv1.Number(int64(revision)) || p.Facts["revision"] != apiv1.Number(int64(now)) {
		t.Errorf("facts %v, revision %d", p.Facts, now)
	}
	put(5, "*").want(200)
	put(6).want(200)
	if x := into[apiv1.PoolList](f.get("/v1/pools").want(200)).Pools[0]; x.Definition.Size != 6 || x.Revision <= revision {
		t.Errorf("%+v", x)
	}
	for _, bad := range []string{`"0"`, `W/"7"`, `7`, `"7", "8"`, `"x"`, ``, `"9007199254740993"`} {
		a := f.do(request{method: "PUT", path: "/v1/pools/lab", body: samplePool}.with("If-Match", bad).bad())
		a.bad400(t, "If-Match: ")
	}
	// Where it has no meaning it is not ignored.
	f.do(request{method: "DELETE", path: "/v1/pools/lab"}.with("If-Match", tag).bad()).bad400(t, "If-Match: this path takes none")
}

func asJSON(x any) string {
	text, err := json.Marshal(x)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (a *reply) bad400(t *testing.T, detail string) {
	t.Helper()
	if p := a.want(400).refused(apiv1.CodeBadRequest); !strings.Contains(p.Detail, detail) {
		t.Errorf("detail %q instead of %q", p.Detail, detail)
	}
}

// What is wrong deep within a definition is named with its place.
func TestNestedFaults(t *testing.T) {
	f := newSeatsFixture(t)
	for body, detail := range map[string]string{
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{"cap":"3"}}}`:                                                "products.cad: cap: it is a string instead of a number",
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{"colour":1}}}`:                                               `products.cad: field "colour" is unknown`,
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{"reservations":[{"name":"x","seats":1,"groups":["a b"]}]}}}`: "products.cad: reservations[0]: groups[0]",
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{"reservations":[{"name":"x"}]}}}`:                            "products.cad: reservations[0]: seats: it is missing",
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{}},"restriction":{"include_domains":["a",7]}}`:               "restriction: include_domains[1]: it is a number instead of a string",
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{}},"valid_until":"tomorrow"}`:                                `valid_until: "tomorrow" is no time`,
		`{"name":"a","contract":"acme","size":4,"products":{"a b":{}}}`:                                                         "products",
		`{"name":"a","contract":"acme","size":4,"shared":1,"products":{"cad":{}}}`:                                              "shared: it is a number instead of a boolean",
		`{"name":"a","contract":"acme","size":4,"products":{"cad":{"restriction":{"include_emails":["` + "x\u0085" + `"]}}}}`:   "products.cad: restriction: include_emails[0]: it has bytes that are no printable text",
	} {
		f.do(request{method: "POST", path: "/v1/pools", body: body}.bad()).bad400(t, detail)
	}
	for body, detail := range map[string]string{
		`{"items":[{}]}`: "items[0]: it has 0 fields instead of one of checkout, renew and check_in",
		`{"items":[{"renew":{"lease":1,"handle":"x"},"check_in":{"lease":1,"handle":"x"}}]}`:                   "items[0]: it has 2 fields",
		`{"items":[{"check_in":{"lease":1,"handle":"x"}},{"checkout":{"pool":"a","product":"b","user":"c"}}]}`: "items[1]: checkout: client: it is missing",
		`{"items":[{"check_in":{"lease":1}}]}`:                                                                 "items[0]: check_in: handle: it is missing",
	} {
		f.do(request{method: "POST", path: "/v1/bulk", body: body}.bad()).bad400(t, detail)
	}
}

// K2, K3, K6: a lease is renewed and returned by who has its handle, and by nobody else.
func TestLeases(t *testing.T) {
	f, _ := newSampleFixture(t)
	a := f.take("tokens", "cad", "zoe", `,"ttl":100`).want(201)
	x := lease(a)
	if a.header.Get("Location") != fmt.Sprint("/v1/leases/", x.ID) || x.TTL != 100 || x.Handle == "" || !x.Ends.Equal(epoch.Add(100*time.Second)) {
		t.Errorf("%+v", x)
	}
	at := fmt.Sprint("/v1/leases/", x.ID)
	if read := f.get(at).want(200); strings.Contains(string(read.body), "handle") {
		t.Errorf("a read gives the handle: %s", read.body)
	}
	f.node.now = epoch.Add(50 * time.Second)
	renewed := into[apiv1.Renewed](f.send("POST", at+"/renew", apiv1.Renewal{Handle: x.Handle}).want(200))
	if renewed.Lease != x.ID || renewed.TTL != 100 || renewed.Renewals != 1 || !renewed.Ends.Equal(epoch.Add(150*time.Second)) {
		t.Errorf("%+v", renewed)
	}
	f.send("POST", at+"/renew", apiv1.Renewal{Handle: x.Handle, TTL: 5}).want(409).refused(apiv1.CodeTTLOutOfBounds)
	f.send("POST", at+"/renew", apiv1.Renewal{Handle: "stolen"}).want(403).refused(apiv1.CodeNotHolder)
	f.send("POST", at+"/return", apiv1.Held{Handle: "stolen"}).want(403).refused(apiv1.CodeNotHolder)
	for _, verb := range []string{"renew", "return"} {
		f.send("POST", "/v1/leases/99/"+verb, apiv1.Held{Handle: x.Handle}).want(404).refused(apiv1.CodeLeaseNotFound)
	}
	if end := into[apiv1.LeaseEnded](f.send("POST", at+"/return", apiv1.Held{Handle: x.Handle}).want(200)); end != (apiv1.LeaseEnded{Lease: x.ID}) {
		t.Errorf("%+v", end)
	}
	// K3: returning is idempotent; K2: nothing revives.
	if end := into[apiv1.LeaseEnded](f.send("POST", at+"/return", apiv1.Held{Handle: x.Handle}).want(200)); !end.Already {
		t.Errorf("%+v", end)
	}
	f.send("POST", at+"/renew", apiv1.Renewal{Handle: x.Handle}).want(410).refused(apiv1.CodeLeaseEnded)
	f.get(at).want(410).refused(apiv1.CodeLeaseEnded)
	f.do(request{method: "DELETE", path: at}).want(410).refused(apiv1.CodeLeaseEnded)
	f.get("/v1/leases/99").want(404).refused(apiv1.CodeLeaseNotFound)
	f.do(request{method: "DELETE", path: "/v1/leases/99"}).want(404).refused(apiv1.CodeLeaseNotFound)
	// An operator needs no handle.
	f.do(request{method: "DELETE", path: "/v1/leases/1?reason=left%20the%20company"}).want(200)
}

// E1, K6: the repeat of a checkout has the same handle, another request another one, and the log has none.
func TestHandles(t *testing.T) {
	f, _ := newSampleFixture(t)
	body := `{"pool":"tokens","product":"cad","user":"zoe","client":"ws"}`
	again := request{method: "POST", path: "/v1/checkouts", body: body}.with("Idempotency-Key", "same")
	first, second := lease(f.do(again).want(201)), lease(f.do(again).want(201))
	other := lease(f.do(request{method: "POST", path: "/v1/checkouts", body: body}).want(201))
	if first.Handle != second.Handle || first.ID != second.ID || other.Handle == first.Handle || len(first.Handle) < 22 {
		t.Errorf("%+v, %+v, %+v", first, second, other)
	}
	if strings.Contains(f.log.String(), first.Handle) {
		t.Error("the handle is in the log")
	}
	for _, w := range f.node.view().WritesAfter(0, 100) {
		if strings.Contains(string(w.Body())+string(w.Outcome()), first.Handle) {
			t.Error("the handle is in the state")
		}
	}
}

// K4: a borrow has a token that verifies offline and without which it is not returned early.
func TestBorrow(t *testing.T) {
	f, _ := newSampleFixture(t)
	f.pool(`{"name":"field","contract":"acme","size":2,"products":{"cad":{"max_checkout_days":7,"low_water":1}}}`)
	x := lease(f.take("field", "cad", "zoe", `,"borrow_days":3`).want(201))
	b, err := signed.VerifyBorrow(x.Token, []ed25519.PublicKey{public(clusterKey)})
	if err != nil || b.User != "zoe@acme.example" || b.Client != "ws-zoe" || b.Cluster != clusterID || b.Lease != x.ID || !b.Expiry.Equal(epoch.AddDate(0, 0, 3)) || !x.Borrow || x.TTL != 0 {
		t.Errorf("%+v, %v; %+v", b, err, x)
	}
	at := fmt.Sprint("/v1/leases/", x.ID)
	f.send("POST", at+"/renew", apiv1.Renewal{Handle: x.Handle}).want(409).refused(apiv1.CodeBorrowNotRenewable)
	f.send("POST", at+"/return", apiv1.Held{Handle: x.Handle}).want(409).refused(apiv1.CodeBorrowTokenNeeded)
	f.send("POST", "/v1/borrows/return", apiv1.BorrowReturn{Token: x.Token + "x"}).want(422).refused(apiv1.CodeBorrowTokenInvalid)
	b.Lease = 99
	unknown, err := b.Sign(clusterKey)
	if err != nil {
		t.Fatal(err)
	}
	f.send("POST", "/v1/borrows/return", apiv1.BorrowReturn{Token: unknown}).want(404).refused(apiv1.CodeLeaseNotFound)
	f.send("POST", "/v1/borrows/return", apiv1.BorrowReturn{Token: x.Token}).want(200)
	if end := into[apiv1.LeaseEnded](f.send("POST", "/v1/borrows/return", apiv1.BorrowReturn{Token: x.Token}).want(200)); !end.Already {
		t.Errorf("%+v", end)
	}
}

// E2: a borrow is decided before its token is signed, so that a failure there does not read like one of the checkout.
func TestBorrowIsNotSigned(t *testing.T) {
	f, _ := newSampleFixture(t)
	f.node.signFail = errors.New("no key here")
	body := `{"pool":"design","product":"cad","user":"u","client":"c","borrow_days":1}`
	f.returned(f.take("tokens", "cad", "zoe", "").want(201))
	f.do(request{method: "PUT", path: "/v1/pools/tokens", body: `{"name":"tokens","contract":"acme","size":5,"products":{"cad":{"max_checkout_days":1},"team":{}}}`}).want(200)
	once := request{method: "POST", path: "/v1/checkouts", body: strings.Replace(body, "design", "tokens", 1)}.with("Idempotency-Key", "once")
	f.do(once).want(504).refused(apiv1.CodeOutcomeUnknown)
	many := request{method: "POST", path: "/v1/bulk", body: `{"items":[{"checkout":` + once.body + `}]}`}.with("Idempotency-Key", "many")
	f.do(many).want(504).refused(apiv1.CodeOutcomeUnknown)
	f.node.signFail = nil
	if x := lease(f.do(once).want(201)); x.Token == "" {
		t.Errorf("%+v", x)
	}
	if r := into[apiv1.BulkDone](f.do(many).want(200)).Results[0]; r.Lease == nil || r.Lease.Token == "" || r.Lease.Handle == "" {
		t.Errorf("%+v", r)
	}
}

// K1: every denial, with the code and the numbers behind it.
func TestDenials(t *testing.T) {
	f, _ := newSampleFixture(t)
	f.pool(`{"name":"small","contract":"acme","size":2,"products":{"cad":{"cap":1,"max_checkout_days":3,"low_water":1,"reservations":[]},"mono":{},"team":{}},
		"restriction":{"exclude_domains":["evil.example"]},"queue_limit":1}`)
	f.take("small", "cad", "ann", "").want(201)
	denied := func(pool, product, user, more string, status int, code apiv1.Code) apiv1.Problem {
		t.Helper()
		return f.take(pool, product, user, more).want(status).refused(code)
	}
	p := denied("small", "cad", "bob", "", 409, apiv1.CodeCapReached)
	if p.Facts["used"] != apiv1.Number(1) || p.Facts["limit"] != apiv1.Number(1) || p.Facts["asked"] != apiv1.Number(1) {
		t.Errorf("facts %v", p.Facts)
	}
	denied("nope", "cad", "bob", "", 404, apiv1.CodePoolNotFound)
	denied("small", "cam", "bob", "", 404, apiv1.CodeProductNotInPool)
	denied("small", "cad", "bob", `,"count":3`, 409, apiv1.CodeCountAboveLimit)
	denied("small", "cad", "bob", `,"ttl":10`, 409, apiv1.CodeTTLOutOfBounds)
	denied("small", "cad", "bob", `,"borrow_days":4`, 409, apiv1.CodeBorrowTooLong)
	denied("small", "cad", "bob", `,"borrow_days":1`, 409, apiv1.CodeBorrowLowWater)
	denied("tokens", "cad", "bob", `,"borrow_days":1`, 409, apiv1.CodeBorrowNotAllowed)
	denied("small", "mono", "bob", "", 409, apiv1.CodeProjectRequired)
	denied("small", "cad", "bob", `,"project":"x"`, 409, apiv1.CodeProjectNotAllowed)
	denied("small", "mono", "bob", `,"project":"x","count":2`, 409, apiv1.CodeTokenIsOne)
	f.take("small", "mono", "bob", `,"project":"x"`).want(201)
	denied("small", "mono", "cid", `,"project":"x"`, 409, apiv1.CodeProjectBusy)
	denied("small", "team", "cid", `,"project":"x"`, 409, apiv1.CodeProjectOpenAsMono)
	denied("tokens", "mono", "cid", `,"project":"x"`, 409, apiv1.CodeProjectOpenAsTeam)
	denied("small", "mono", "cid", `,"project":"y"`, 409, apiv1.CodePoolFull)
	f.take("small", "mono", "cid", `,"project":"y","queue":true`).want(202)
	denied("small", "mono", "dan", `,"project":"z","queue":true`, 409, apiv1.CodeQueueFull)
	f.do(request{method: "POST", path: "/v1/checkouts", body: `{"pool":"small","product":"cad","user":"m@evil.example","client":"c"}`}).want(403).refused(apiv1.CodeUserBarred)
	f.do(request{method: "POST", path: "/v1/pools/small/deactivate"}).want(200)
	denied("small", "cad", "bob", "", 409, apiv1.CodePoolInactive)
}

// K1, continued: what contracts, reservations and the queue deny.
func TestFurtherDenials(t *testing.T) {
	f, _ := newSampleFixture(t)
	denied := func(pool, product, more string, code apiv1.Code) {
		t.Helper()
		f.take(pool, product, "new", more).want(409).refused(code)
	}
	// Of design's three seats one is freed for the offer, and two wait: what one could have, they could.
	f.do(request{method: "DELETE", path: "/v1/leases/1"}).want(200)
	f.do(request{method: "PUT", path: "/v1/pools/design", body: `{"name":"design","contract":"acme","size":3,"products":{"cad":{"reservations":[{"name":"r","seats":1,"users":["boss"]}]},"team":{},"mono":{}}}`}).want(200)
	denied("design", "cad", "", apiv1.CodePoolFull)
	f.pool(`{"name":"kept","contract":"acme","size":2,"products":{"cad":{"reservations":[{"name":"r","seats":1,"users":["boss"]}]}},"queue_limit":5}`)
	f.take("kept", "cad", "ann", "").want(201)
	denied("kept", "cad", "", apiv1.CodeSeatsReserved)
	f.pool(`{"name":"rest","contract":"acme","size":9,"shared":true,"products":{"cad":{},"team":{}},"queue_limit":5}`)
	f.putContract("acme", 2, map[string]uint64{"primary": 30}, func(c *signed.Contract) {
		sampleProducts(c)
		c.Products["cad"] = signed.Product{Model: signed.Floating, Quantity: 11}
		delete(c.Products, "team")
	})
	f.take("rest", "cad", "one", "").want(201)
	denied("rest", "cad", "", apiv1.CodeQuantityReached)
	denied("rest", "team", `,"project":"p"`, apiv1.CodeProductNotGranted)
	f.putContract("later", 1, map[string]uint64{"primary": 1}, sampleProducts, func(c *signed.Contract) { c.Start = epoch.AddDate(0, 0, 1) })
	f.pool(`{"name":"early","contract":"later","size":1,"products":{"cad":{}}}`)
	denied("early", "cad", "", apiv1.CodeContractNotStarted)
	f.putContract("big", 1, map[string]uint64{"primary": 1}, sampleProducts)
	f.pool(`{"name":"big","contract":"big","size":3,"products":{"cad":{}},"queue_limit":5,"valid_until":"2026-06-02T00:00:00Z"}`)
	f.take("big", "cad", "one", `,"count":2`).want(201)
	// Q1: a small request behind a great one has to wait, too.
	f.take("big", "cad", "two", `,"count":2,"queue":true`).want(202)
	denied("big", "cad", "", apiv1.CodeQueueAhead)
	f.node.now = epoch.AddDate(0, 0, 2)
	denied("big", "cad", "", apiv1.CodePoolEnded)
	f.node.now = epoch.AddDate(2, 0, 0)
	denied("big", "cad", "", apiv1.CodeContractEnded)
}

// K7: all conditions are shown, not only the first that fails.
func TestExplain(t *testing.T) {
	f, _ := newSampleFixture(t)
	f.do(request{method: "POST", path: "/v1/pools/design/deactivate"}).want(200)
	before := f.node.view().Digest()
	explain := func(body string) apiv1.Explanation {
		return into[apiv1.Explanation](f.do(request{method: "POST", path: "/v1/checkouts/explain", body: body}).want(200))
	}
	x := explain(`{"pool":"design","product":"cad","user":"eve","client":"ws","ttl":10,"count":2}`)
	var fails []string
	for _, c := range x.Conditions {
		if c.Outcome == apiv1.ConditionOutcomeFails {
			fails = append(fails, c.Name+"="+string(c.Code))
			if c.Detail == "" || c.Next == "" || len(c.Facts) == 0 {
				t.Errorf("%+v", c)
			}
		}
	}
	if want := []string{"active=pool_inactive", "ttl=ttl_out_of_bounds", "seats=pool_full"}; !slices.Equal(fails, want) || x.Granted {
		t.Errorf("fails %v instead of %v", fails, want)
	}
	x = explain(`{"pool":"nope","product":"cad","user":"eve","client":"ws"}`)
	if x.Conditions[0].Outcome != apiv1.ConditionOutcomeFails || x.Conditions[1].Outcome != apiv1.ConditionOutcomeNotChecked || x.Granted {
		t.Errorf("%+v", x)
	}
	if x = explain(`{"pool":"tokens","product":"cad","user":"eve","client":"ws"}`); !x.Granted {
		t.Errorf("%+v", x)
	}
	if f.node.view().Digest() != before {
		t.Error("the state has changed")
	}
}

// A bulk answers each item, in order, with a result or a problem.
func TestBulk(t *testing.T) {
	f, all := newSampleFixture(t)
	x := lease(f.take("tokens", "cad", "zoe", "").want(201))
	body := fmt.Sprintf(`{"items":[
		{"checkout":{"pool":"design","product":"cad","user":"fay","client":"c","queue":true}},
		{"check_in":{"lease":%d,"handle":"stolen"}},
		{"renew":{"lease":%d,"handle":%q,"ttl":900}},
		{"check_in":{"lease":%d,"handle":%q}},
		{"checkout":{"pool":"tokens","product":"cad","user":"fay","client":"c"}},
		{"checkout":{"pool":"tokens","product":"cad","user":"gus","client":"c"}},
		{"checkout":{"pool":"nope","product":"cad","user":"gus","client":"c"}}]}`, x.ID, x.ID, x.Handle, x.ID, x.Handle)
	r := into[apiv1.BulkDone](f.do(request{method: "POST", path: "/v1/bulk", body: body}).want(200)).Results
	switch {
	case len(r) != 7:
		t.Fatalf("%d results", len(r))
	case r[0].Ticket == nil || r[0].Ticket.Handle == "" || r[0].Ticket.Ahead != 1:
		t.Errorf("%+v", r[0])
	case r[1].Problem == nil || r[1].Problem.Code != apiv1.CodeNotHolder || r[1].Problem.Status != 403:
		t.Errorf("%+v", r[1])
	case r[2].Renewed == nil || r[2].Renewed.TTL != 900, r[3].Returned == nil || r[3].Returned.Lease != x.ID:
		t.Errorf("%+v, %+v", r[2], r[3])
	case r[4].Lease == nil || r[5].Lease == nil || r[4].Lease.Handle == "" || r[4].Lease.Handle == r[5].Lease.Handle:
		t.Errorf("%+v, %+v", r[4], r[5])
	case r[6].Problem == nil || r[6].Problem.Code != apiv1.CodePoolNotFound || r[6].Problem.RequestID == "":
		t.Errorf("%+v", r[6])
	}
	f.send("POST", fmt.Sprintf("/v1/leases/%d/return", r[5].Lease.ID), apiv1.Held{Handle: r[5].Lease.Handle}).want(200)
	once := all["bulk"].with("Idempotency-Key", "once")
	if first, again := f.do(once).want(200), f.do(once).want(200); string(first.body) != string(again.body) {
		t.Errorf("first %s\nagain %s", first.body, again.body)
	}
}
