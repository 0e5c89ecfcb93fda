package api_test

import (
	"fmt"
	"testing"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// What one client's token has is bounded: said when it is made, shown with it, and told when it is too much.
func TestLimitsOfAToken(t *testing.T) {
	f, held, two, _ := newQueueFixture(t)
	f.pool(`{"name":"two","contract":"acme","size":5,"products":{"cad":{}}}`)
	for body, want := range map[string][2]uint64{
		`{"name":"default","role":"client","pools":["two"]}`:                             {fsm.DefaultMaxLeases, fsm.DefaultMaxTickets},
		`{"name":"none","role":"client","pools":["two"],"max_leases":0,"max_tickets":0}`: {0, 0},
		`{"name":"some","role":"client","pools":["two"],"max_leases":7,"max_tickets":9}`: {7, 9},
		`{"name":"auditor","role":"auditor","max_leases":0}`:                             {0, 0},
		`{"name":"operator","role":"operator"}`:                                          {0, 0},
	} {
		x := into[apiv1.Token](f.do(request{method: "POST", path: "/v1/tokens", body: body}).want(201))
		if x.MaxLeases != want[0] || x.MaxTickets != want[1] {
			t.Errorf("%s: %+v", body, x)
		}
	}
	for _, body := range []string{
		`{"name":"x","role":"auditor","max_leases":1}`, `{"name":"x","role":"operator","max_tickets":1}`,
		`{"name":"x","role":"client","pools":["two"],"max_leases":1000000001}`, `{"name":"x","role":"client","pools":["two"],"max_tickets":-1}`,
	} {
		r := request{method: "POST", path: "/v1/tokens", body: body}
		r.faulty = true
		f.do(r).want(400).refused(apiv1.CodeBadRequest)
	}
	made := into[apiv1.Token](f.do(request{method: "POST", path: "/v1/tokens", body: `{"name":"limited","role":"client","pools":["one","two"],"max_leases":1}`}).want(201))
	as := func(r request) *reply { return f.do(r.with("Authorization", "Bearer "+made.Token)) }
	seat := func(user string) request {
		return request{method: "POST", path: "/v1/checkouts", body: fmt.Sprintf(`{"pool":"two","product":"cad","user":%q,"client":"ws"}`, user)}
	}
	as(seat("ann")).want(201)
	if p := as(seat("bob")).want(409).refused(apiv1.CodeClientLimitReached); p.Detail != fmt.Sprintf("API token %d (limited) has 1 leases, 1 are the most.", made.ID) {
		t.Errorf("%+v", p)
	}
	asked := seat("bob")
	asked.path = "/v1/checkouts/explain"
	failed := ""
	for _, c := range into[apiv1.Explanation](as(asked).want(200)).Conditions {
		if c.Outcome == apiv1.ConditionOutcomeFails {
			failed += c.Name + " " + string(c.Code)
		}
	}
	if failed != "client_limit client_limit_reached" {
		t.Errorf("explained: %q", failed)
	}
	f.returned(held).want(200)
	as(request{method: "POST", path: fmt.Sprintf("/v1/tickets/%d/claim", two.ID), body: fmt.Sprintf(`{"handle":%q}`, two.Handle)}).
		want(409).refused(apiv1.CodeClientLimitReached)
	if x := into[apiv1.Token](f.get(fmt.Sprint("/v1/tokens/", made.ID)).want(200)); x.Leases != 1 || x.MaxLeases != 1 || x.Tickets != 0 {
		t.Errorf("%+v", x)
	}
}
