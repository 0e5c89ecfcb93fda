package api_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

func (f *fixture) ticket(id uint64, verb, handle string) *reply {
	f.t.Helper()
	return f.send("POST", fmt.Sprintf("/v1/tickets/%d/%s", id, verb), apiv1.Held{Handle: handle})
}

// newQueueFixture serves pool one of a single seat, which one has, and tickets of two and three.
func newQueueFixture(t *testing.T) (f *fixture, held *reply, two, three apiv1.Ticket) {
	t.Helper()
	f = newSeatsFixture(t)
	f.pool(`{"name":"one","contract":"acme","size":1,"products":{"cad":{}},"queue_limit":5,"offer_ttl":30,"ticket_ttl":100}`)
	held = f.take("one", "cad", "one", "").want(201)
	return f, held, ticket(f.take("one", "cad", "two", `,"queue":true`).want(202)), ticket(f.take("one", "cad", "three", `,"queue":true`).want(202))
}

// Q1, Q2, Q3: first come, first served; an offer is claimed, declined or purged, and the next is offered the seat.
func TestQueue(t *testing.T) {
	f, held, two, three := newQueueFixture(t)
	if two.Position != 1 || two.Ahead != 0 || three.Position != 2 || three.Ahead != 1 || two.State != apiv1.TicketStateWaiting || two.Handle == "" || two.Handle == three.Handle {
		t.Errorf("%+v, %+v", two, three)
	}
	f.ticket(two.ID, "claim", two.Handle).want(409).refused(apiv1.CodeNotOffered)
	for _, verb := range []string{"keep", "claim", "leave"} {
		f.ticket(two.ID, verb, three.Handle).want(403).refused(apiv1.CodeNotTicketHolder)
		f.ticket(99, verb, "x").want(404).refused(apiv1.CodeTicketNotFound)
	}
	f.get("/v1/tickets/99").want(404).refused(apiv1.CodeTicketNotFound)
	// Q3: who asks keeps the place.
	f.node.now = epoch.Add(90 * time.Second)
	if kept := into[apiv1.Ticket](f.ticket(two.ID, "keep", two.Handle).want(200)); !kept.Ends.Equal(epoch.Add(190*time.Second)) || kept.Handle != "" {
		t.Errorf("%+v", kept)
	}
	f.node.now = epoch.Add(101 * time.Second)
	f.node.expire(t)
	f.get(fmt.Sprint("/v1/tickets/", three.ID)).want(410).refused(apiv1.CodeTicketGone)
	f.ticket(three.ID, "keep", three.Handle).want(410).refused(apiv1.CodeTicketGone)
	f.ticket(three.ID, "claim", three.Handle).want(410).refused(apiv1.CodeTicketGone)
	three = ticket(f.take("one", "cad", "three", `,"queue":true`).want(202))
	four := ticket(f.take("one", "cad", "four", `,"queue":true`).want(202))

	f.returned(held).want(200)
	if x := into[apiv1.Ticket](f.get(fmt.Sprint("/v1/tickets/", two.ID)).want(200)); x.State != apiv1.TicketStateOffered || x.Position != 0 || !x.Ends.Equal(f.node.now.Add(30*time.Second)) {
		t.Errorf("%+v", x)
	}
	// Nobody claims: the next is offered the seat.
	f.node.now = f.node.now.Add(30 * time.Second)
	f.node.expire(t)
	f.ticket(two.ID, "claim", two.Handle).want(410).refused(apiv1.CodeTicketGone)
	// three declines, four claims.
	if left := into[apiv1.TicketLeft](f.ticket(three.ID, "leave", three.Handle).want(200)); left != (apiv1.TicketLeft{Ticket: three.ID}) {
		t.Errorf("%+v", left)
	}
	if left := into[apiv1.TicketLeft](f.ticket(three.ID, "leave", three.Handle).want(200)); !left.Already {
		t.Errorf("%+v", left)
	}
	a := f.ticket(four.ID, "claim", four.Handle).want(201)
	x := lease(a)
	if a.header.Get("Location") != fmt.Sprint("/v1/leases/", x.ID) || x.Handle != four.Handle || x.User != "four@acme.example" {
		t.Errorf("%+v", x)
	}
	f.returned(a).want(200)
}

// Q5: asking again returns the same ticket, with a handle only where it was taken.
func TestAskingAgain(t *testing.T) {
	f, _, two, _ := newQueueFixture(t)
	again := ticket(f.take("one", "cad", "two", `,"queue":true`).want(202))
	if again.ID != two.ID || again.Handle == "" || again.Handle == two.Handle {
		t.Errorf("%+v, before %+v", again, two)
	}
	f.ticket(two.ID, "keep", two.Handle).want(403).refused(apiv1.CodeNotTicketHolder)
	f.ticket(two.ID, "keep", again.Handle).want(200)
	elsewhere := request{method: "POST", path: "/v1/checkouts", body: `{"pool":"one","product":"cad","user":"two@acme.example","client":"other","queue":true}`}
	if x := ticket(f.do(elsewhere).want(202)); x.ID != two.ID || x.Handle != "" {
		t.Errorf("%+v", x)
	}
}

// Q3: a request that waits is answered when the ticket moves, is offered seats or is gone, and after its time.
func TestWaiting(t *testing.T) {
	f, held, two, three := newQueueFixture(t)
	wait := func(id uint64) <-chan *reply {
		done := make(chan *reply, 1)
		// The request is made here: a test's goroutine alone may fail it.
		w, r := httptest.NewRecorder(), request{method: "GET", path: fmt.Sprintf("/v1/tickets/%d?wait=30", id)}
		calls := f.node.reads()
		go func() {
			f.handler.ServeHTTP(w, r.http(t.Context()))
			done <- &reply{t: t, request: r, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		}()
		// It has read the ticket and looked at the state once more.
		f.node.waitReads(t, calls+2)
		return done
	}
	answer := func(done <-chan *reply) *reply {
		t.Helper()
		select {
		case a := <-done:
			return a
		case <-time.After(10 * time.Second):
			t.Fatal("nobody is told")
			return nil
		}
	}
	first, second := wait(two.ID), wait(three.ID)
	f.returned(held).want(200)
	if x := into[apiv1.Ticket](answer(first).want(200)); x.State != apiv1.TicketStateOffered {
		t.Errorf("%+v", x)
	}
	moved := answer(second).want(200)
	if x := into[apiv1.Ticket](moved); x.State != apiv1.TicketStateWaiting || x.Ahead != 0 {
		t.Errorf("%+v", x)
	}
	if at := moved.header.Get("Licet-Index"); at != fmt.Sprint(f.node.view().Index()) {
		t.Errorf("index %s", at)
	}
	// Seats that are offered already are told at once.
	if x := into[apiv1.Ticket](f.get(fmt.Sprintf("/v1/tickets/%d?wait=30", two.ID)).want(200)); x.State != apiv1.TicketStateOffered {
		t.Errorf("%+v", x)
	}
	gone := wait(three.ID)
	f.ticket(three.ID, "leave", three.Handle).want(200)
	answer(gone).want(410).refused(apiv1.CodeTicketGone)
	// Time that runs out is no fault.
	four := ticket(f.take("one", "cad", "four", `,"queue":true`).want(202))
	late := request{method: "GET", path: fmt.Sprintf("/v1/tickets/%d?wait=60", four.ID)}.with("Licet-Timeout-Ms", "50")
	if x := into[apiv1.Ticket](f.do(late).want(200)); x.State != apiv1.TicketStateWaiting {
		t.Errorf("%+v", x)
	}
}

// As many wait as may; more are told to ask elsewhere.
func TestTooManyWait(t *testing.T) {
	f, _, two, _ := newQueueFixture(t)
	leave := api.FillWaiters(f.handler, api.DefaultMaxWaits, func(i int) (actor, remote string) {
		return fmt.Sprint("token-", i), fmt.Sprintf("192.0.2.%d:1", i%200)
	})
	a := f.get(fmt.Sprintf("/v1/tickets/%d?wait=30", two.ID)).want(503)
	if a.refused(apiv1.CodeOverloaded); a.header.Get("Retry-After") != "1" {
		t.Errorf("%v", a.header)
	}
	leave()
	f.do(request{method: "GET", path: fmt.Sprintf("/v1/tickets/%d?wait=1", two.ID)}.with("Licet-Timeout-Ms", "20")).want(200)
}

// T1 to T5: projects take tokens, are listed and converted.
func TestProjects(t *testing.T) {
	f := newSeatsFixture(t)
	f.pool(`{"name":"reven","contract":"acme","size":3,"products":{"team":{"cap":1},"mono":{"cap":2}},"queue_limit":5}`)
	connect := func(user, project, product string) *reply {
		return f.take("reven", product, user, fmt.Sprintf(`,"project":%q`, project))
	}
	a := connect("ann", "bridge 1/2", "team").want(201)
	second := connect("bob", "bridge 1/2", "team").want(201)
	x := lease(a)
	if x.Count != 0 || x.Project != "bridge 1/2" {
		t.Errorf("%+v", x)
	}
	list := into[apiv1.ProjectList](f.get("/v1/pools/reven/projects").want(200))
	if len(list.Projects) != 1 || list.Projects[0].Connections != 2 || list.Projects[0].Product != "team" || list.Projects[0].Project != "bridge 1/2" {
		t.Errorf("%+v", list)
	}
	convert := func(x apiv1.Lease, project, product string) *reply {
		return f.send("POST", "/v1/pools/reven/projects/convert", apiv1.Conversion{Project: project, Product: product, Lease: x.ID, Handle: x.Handle})
	}
	convert(x, "bridge 1/2", "mono").want(409).refused(apiv1.CodeProjectShared)
	convert(x, "another", "mono").want(403).refused(apiv1.CodeNotHolder)
	convert(x, "bridge 1/2", "cad").want(404).refused(apiv1.CodeProductNotInPool)
	f.returned(second).want(200)
	if p := into[apiv1.Project](convert(x, "bridge 1/2", "mono").want(200)); p.Product != "mono" || p.Connections != 1 {
		t.Errorf("%+v", p)
	}
	// T5: where a token of the other model is free.
	other := connect("cid", "c", "team").want(201)
	convert(x, "bridge 1/2", "team").want(409).refused(apiv1.CodeCapReached)
	convert(apiv1.Lease{ID: 99, Handle: "x"}, "c", "mono").want(404).refused(apiv1.CodeLeaseNotFound)
	f.returned(other).want(200)
	convert(lease(other), "c", "mono").want(410).refused(apiv1.CodeLeaseEnded)
}

// T5, continued: what else keeps a project from being converted.
func TestConversionsRefused(t *testing.T) {
	f := newSeatsFixture(t)
	f.putContract("acme", 2, map[string]uint64{"primary": 30}, func(c *signed.Contract) {
		sampleProducts(c)
		c.Products["team2"], c.Products["mono2"] = signed.Product{Model: signed.Team, Quantity: 9}, signed.Product{Model: signed.Mono, Quantity: 9}
	})
	define := func(more string) {
		t.Helper()
		body := `{"name":"p","contract":"acme","size":3,"products":{"team":{},"team2":{},"mono":{` + more + `},"mono2":{},"cad":{}},"queue_limit":5}`
		f.do(request{method: "PUT", path: "/v1/pools/p", body: body}).want(200)
	}
	f.pool(`{"name":"p","contract":"acme","size":3,"products":{"team":{},"team2":{},"mono":{},"mono2":{},"cad":{}},"queue_limit":5}`)
	team, mono := lease(f.take("p", "team", "ann", `,"project":"t"`).want(201)), lease(f.take("p", "mono", "ann", `,"project":"m"`).want(201))
	refused := func(x apiv1.Lease, product string, status int, code apiv1.Code) {
		t.Helper()
		body := apiv1.Conversion{Project: x.Project, Product: product, Lease: x.ID, Handle: x.Handle}
		f.send("POST", "/v1/pools/p/projects/convert", body).want(status).refused(code)
	}
	refused(team, "team2", 409, apiv1.CodeProjectOpenAsTeam)
	refused(mono, "mono2", 409, apiv1.CodeProjectOpenAsMono)
	refused(team, "cad", 409, apiv1.CodeProjectNotAllowed)
	f.do(request{method: "PUT", path: "/v1/pools/p", body: `{"name":"p","contract":"acme","size":1,"products":{"team":{},"mono":{}}}`}).want(200)
	refused(team, "mono", 409, apiv1.CodePoolFull)
	define(`"restriction":{"include_domains":["other.example"]}`)
	refused(team, "mono", 403, apiv1.CodeUserBarred)
	define(`"cap":2,"reservations":[{"name":"r","seats":2,"users":["boss"]}]`)
	refused(team, "mono", 409, apiv1.CodeCountAboveLimit)
	define(`"cap":2,"reservations":[{"name":"r","seats":1,"users":["boss"]}]`)
	refused(team, "mono", 409, apiv1.CodeSeatsReserved)
	define("")
	// Q1: who waits for the other product was there before.
	f.take("p", "cad", "bob", "").want(201)
	f.take("p", "mono", "cid", `,"project":"c","queue":true`).want(202)
	refused(team, "mono", 409, apiv1.CodeQueueAhead)
	f.do(request{method: "POST", path: "/v1/pools/p/deactivate"}).want(200)
	refused(team, "mono", 409, apiv1.CodePoolInactive)
	f.do(request{method: "POST", path: "/v1/pools/p/activate"}).want(200)
	f.putContract("acme", 3, map[string]uint64{"primary": 30}, func(c *signed.Contract) {
		sampleProducts(c)
		c.Products["mono2"] = signed.Product{Model: signed.Mono, Quantity: 9}
		c.Products["mono"] = signed.Product{Model: signed.Mono, Quantity: 1}
		delete(c.Products, "cad")
	})
	refused(team, "mono", 409, apiv1.CodeQuantityReached)
	refused(team, "cad", 409, apiv1.CodeProductNotGranted)
}

// Seats that are offered to a ticket wait for it alone; the project that it is for may be opened by others meanwhile.
func TestClaimForOpenProject(t *testing.T) {
	for product, code := range map[string]apiv1.Code{
		"mono": apiv1.CodeProjectOpenAsMono, "team": apiv1.CodeProjectOpenAsTeam, "mono2": apiv1.CodeProjectBusy,
	} {
		t.Run(product, func(t *testing.T) {
			f := newSeatsFixture(t)
			f.putContract("acme", 2, map[string]uint64{"primary": 30}, func(c *signed.Contract) {
				sampleProducts(c)
				c.Products["mono2"] = signed.Product{Model: signed.Mono, Quantity: 9}
			})
			f.pool(`{"name":"p","contract":"acme","size":3,"products":{"team":{},"mono":{},"mono2":{"cap":1}},"queue_limit":5}`)
			held := f.take("p", "mono2", "ann", `,"project":"a"`).want(201)
			waiting := ticket(f.take("p", "mono2", "bob", `,"project":"b","queue":true`).want(202))
			f.returned(held)
			if product == "mono2" {
				f.do(request{method: "PUT", path: "/v1/pools/p", body: `{"name":"p","contract":"acme","size":3,"products":{"team":{},"mono":{},"mono2":{"cap":2}},"queue_limit":5}`}).want(200)
			}
			f.take("p", product, "cid", `,"project":"b"`).want(201)
			f.ticket(waiting.ID, "claim", waiting.Handle).want(409).refused(code)
		})
	}
}

// Usage has a high-water mark and denials for each hour; what had no change goes on as it was.
func TestUsage(t *testing.T) {
	f := newSeatsFixture(t)
	f.pool(`{"name":"p","contract":"acme","size":3,"products":{"cad":{},"team":{}}}`)
	f.pool(`{"name":"q","contract":"acme","size":1,"products":{"cad":{}}}`)
	at := func(hours int) { f.node.now = epoch.Add(time.Duration(hours) * time.Hour) }
	at(1)
	one, two := f.take("p", "cad", "a", `,"ttl":86400`).want(201), f.take("p", "cad", "b", `,"ttl":86400`).want(201)
	f.take("q", "cad", "a", `,"ttl":86400`).want(201)
	f.take("q", "cad", "b", "").want(409)
	f.take("q", "cam", "b", "").want(404)
	f.returned(one)
	at(3)
	f.take("p", "team", "c", `,"project":"x","ttl":86400`).want(201)
	f.returned(two)
	at(5)
	marks := func(query string) (text string) {
		t.Helper()
		for _, h := range into[apiv1.Usage](f.get("/v1/pools/" + query).want(200)).Hours {
			text += fmt.Sprintf("%d:%d%v ", int(h.Hour.Sub(epoch).Hours()), h.HighWater, h.Denials)
		}
		return text
	}
	for query, want := range map[string]string{
		"p/usage?product=cad":  "0:0map[] 1:2map[] 2:1map[] 3:1map[] 4:0map[] 5:0map[] ",
		"p/usage?product=team": "0:0map[] 1:0map[] 2:0map[] 3:1map[] 4:1map[] 5:1map[] ",
		"p/usage":              "0:0map[] 1:2map[] 2:1map[] 3:2map[] 4:1map[] 5:1map[] ",
		"q/usage":              "0:0map[] 1:1map[pool_full:1 product_not_in_pool:1] 2:1map[] 3:1map[] 4:1map[] 5:1map[] ",
		"q/usage?product=cad":  "0:0map[] 1:1map[pool_full:1] 2:1map[] 3:1map[] 4:1map[] 5:1map[] ",
		"p/usage?product=cad&from=2026-06-01T13:30:00%2B00:00&to=2026-06-01T14:00:00Z": "1:2map[] ",
		"p/usage?from=2030-01-01T00:00:00Z&to=2030-01-02T00:00:00Z":                    "",
	} {
		if got := marks(query); got != want {
			t.Errorf("%s: %s instead of %s", query, got, want)
		}
	}
	f.get("/v1/pools/p/usage?product=cam").want(404).refused(apiv1.CodeProductNotInPool)
	f.get("/v1/pools/p/usage?from=2026-06-02T00:00:00Z&to=2026-06-01T00:00:00Z").want(400).refused(apiv1.CodeBadRequest)
	f.get("/v1/pools/p/usage?from=2025-06-02T00:00:00Z&to=2026-06-01T00:00:00Z").want(400).refused(apiv1.CodeBadRequest)
}

// P6, P5: a change says who is affected.
func TestAffected(t *testing.T) {
	f, _, two, three := newQueueFixture(t)
	body := `{"name":"one","contract":"acme","size":1,"products":{"cad":{}},"queue_limit":5,"restriction":{"exclude_emails":["one@acme.example","two@acme.example"]}}`
	dry := into[apiv1.PoolChange](f.do(request{method: "PUT", path: "/v1/pools/one?dry_run=true", body: body}).want(200))
	if fmt.Sprint(dry.Users, dry.UsersTotal, dry.LeasesTotal, dry.Tickets) != fmt.Sprint([]string{"one@acme.example"}, 1, 1, []uint64{two.ID}) {
		t.Errorf("%+v", dry)
	}
	if real := into[apiv1.PoolChange](f.do(request{method: "PUT", path: "/v1/pools/one", body: body}).want(200)); real.TicketsTotal != 1 || real.LeasesTotal != 0 {
		t.Errorf("%+v", real)
	}
	f.do(request{method: "DELETE", path: "/v1/pools/one"}).want(409).refused(apiv1.CodePoolInUse)
	gone := into[apiv1.PoolChange](f.do(request{method: "DELETE", path: "/v1/pools/one?force=true"}).want(200))
	if !gone.Deleted || gone.LeasesTotal != 1 || fmt.Sprint(gone.Tickets) != fmt.Sprint([]uint64{three.ID}) {
		t.Errorf("%+v", gone)
	}
	f.get("/v1/pools/one").want(404).refused(apiv1.CodePoolNotFound)
}

// Pages of pools, leases, tickets and projects follow each other without gaps or repeats.
func TestSeatPages(t *testing.T) {
	f := newSeatsFixture(t)
	f.pool(`{"name":"p","contract":"acme","size":3,"products":{"team":{},"cad":{}},"queue_limit":9}`)
	f.pool(`{"name":"q","contract":"acme","size":1,"products":{"cad":{}}}`)
	f.pool(`{"name":"r","contract":"acme","size":1,"products":{"cad":{}}}`)
	for _, user := range []string{"a", "b", "c"} {
		f.take("p", "team", user, fmt.Sprintf(`,"project":"of %s"`, user)).want(201)
	}
	for _, user := range []string{"d", "e", "g"} {
		f.take("p", "cad", user, `,"queue":true`).want(202)
	}
	type page struct {
		Pools    []apiv1.Pool    `json:"pools"`
		Leases   []apiv1.Lease   `json:"leases"`
		Tickets  []apiv1.Ticket  `json:"tickets"`
		Projects []apiv1.Project `json:"projects"`
		Next     any             `json:"next"`
	}
	for path, want := range map[string]int{"/v1/pools?": 3, "/v1/pools?contract=acme&": 3, "/v1/leases?": 3, "/v1/leases?user=B@acme.example&": 1, "/v1/pools/p/tickets?": 3, "/v1/pools/p/projects?": 3} {
		seen, after := map[string]bool{}, ""
		for range want {
			x := into[page](f.get(path + "limit=1" + after).want(200))
			for _, p := range x.Pools {
				seen[p.Definition.Name] = true
			}
			for _, l := range x.Leases {
				seen[fmt.Sprint(l.ID)] = true
			}
			for _, k := range x.Tickets {
				seen[fmt.Sprint(k.ID)] = true
			}
			for _, p := range x.Projects {
				seen[p.Project] = true
			}
			if x.Next == nil {
				after = ""
				break
			}
			after = fmt.Sprintf("&after=%v", url.QueryEscape(fmt.Sprint(x.Next)))
		}
		if len(seen) != want || after != "" {
			t.Errorf("%s: %v instead of %d, and then %q", path, seen, want, after)
		}
	}
}
