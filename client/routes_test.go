package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// described answers requests with the OpenAPI document's own examples, after
// holding the requests against it.
type described struct {
	t      *testing.T
	router routers.Router
	seen   map[string]bool
}

func (d *described) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "", ""
	route, params, err := d.router.FindRoute(r)
	if err != nil {
		d.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		return nil, err
	}
	err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: func(_ context.Context, in *openapi3filter.AuthenticationInput) error {
			if got := in.RequestValidationInput.Request.Header.Get("Authorization"); got != "Bearer secret" {
				d.t.Errorf("%s: Authorization %q", route.Operation.OperationID, got)
			}
			return nil
		}},
	})
	if err != nil {
		d.t.Errorf("%s: %v", route.Operation.OperationID, err)
	}
	d.seen[route.Operation.OperationID] = true
	return d.answer(route.Operation)
}

func (d *described) answer(o *openapi3.Operation) (*http.Response, error) {
	for _, status := range []int{200, 201, 204} {
		described := o.Responses.Status(status)
		if described == nil {
			continue
		}
		h := http.Header{
			"Licet-Node": {"lyon"}, "Licet-Request-Id": {"X"}, "Licet-Index": {"1742"}, "Licet-Term": {"3"}, "Licet-Age-Ms": {"250"},
			"Licet-Repeated": {"true"}, "Licet-Dry-Run": {"true"}, "Idempotency-Key": {"k"},
		}
		var body []byte
		for kind, content := range described.Value.Content {
			h.Set("Content-Type", kind)
			body = example(content.Schema.Value)
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(bytes.NewReader(body))}, nil
	}
	return nil, io.ErrUnexpectedEOF
}

func example(s *openapi3.Schema) []byte {
	if s.Example == nil {
		return []byte("{}")
	}
	text, err := json.Marshal(s.Example)
	if err != nil {
		return nil
	}
	return text
}

// Every operation of the document has a method, whose request fits the document.
func TestEveryRoute(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	d := &described{t: t, router: router, seen: map[string]bool{}}
	c, err := client.New(client.Options{Endpoints: []string{"http://a:1"}, Token: "secret", HTTPClient: &http.Client{Transport: d}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := client.WithRequestID(t.Context(), "id-1")
	dry := client.WithDryRun(ctx)
	read := []client.ReadOption{client.Stale(), client.MinIndex(7)}
	n := uint64(5000)
	design := apiv1.PoolDefinition{Name: "design", Contract: "acme", Size: 3, Products: map[string]apiv1.PoolProduct{"cad": {Cap: 2}}}
	ask := apiv1.Checkout{Pool: "design", Product: "cad", User: "ann", Client: "ws", Queue: true}
	blocked, staged := apiv1.AccountStateBlocked, apiv1.StagedList{Staging: "s", Parts: 1, Sha256: strings.Repeat("0", 64)}
	errs := []error{
		second(c.Health(ctx)), second(c.Ready(ctx)), second(c.OpenAPI(ctx)), second(c.Metrics(ctx)), second(c.Profile(ctx, "heap", 0)), second(c.Profile(ctx, "profile", 90*time.Second)), second(c.Status(ctx)), second(c.Members(ctx)),
		second(c.RemoveMember(ctx, "lyon")), second(c.TransferLeadership(ctx, "")), second(c.TransferLeadership(ctx, "lyon")), second(c.Leave(ctx)),
		second(c.Tokens(ctx, client.NumberPage{After: 3, Limit: 7}, read...)), second(c.Token(ctx, 7, read...)), second(c.Principal(ctx, read...)), second(c.RevokeToken(ctx, 7)),
		second(c.BootstrapTokens(ctx, "")), second(c.BootstrapTokens(dry, "first")), second(c.CreateToken(ctx, apiv1.TokenCreation{Name: "n", Role: apiv1.AccessRoleClient, Pools: []string{"design"}})),
		second(c.ChangeInstance(ctx, 7, apiv1.InstanceChange{Site: new(string)})), second(c.CreateInstanceFor(ctx, apiv1.InstanceCreation{Contract: "acme", Name: "n", Allocation: apiv1.Quantities{"primary": 1}, Site: "lyon"})),
		second(c.SigningKeys(ctx)), second(c.RotateSigningKey(ctx)), second(c.RetireSigningKey(ctx, "6a3803d5f059902a")), second(c.VendorKeys(ctx, read...)), second(c.ChangeVendorKeys(dry, "doc")),
		second(c.Backup(ctx, io.Discard, client.WithSigningKey())), second(c.GossipKeys(ctx)), second(c.RotateGossipKey(ctx)),
		second(c.Backup(ctx, io.Discard, read...)), second(c.Restore(ctx, client.RestoreOf{Into: "new", From: "old", Backup: strings.NewReader("x"), Bytes: 1})),
		second(c.CreateJoinToken(ctx, "quimper", 0)), second(c.CreateJoinToken(ctx, "quimper", time.Minute)),
		second(c.Settings(ctx, read...)), second(c.UpdateSettings(dry, apiv1.SettingsChange{RequestLimit: &n})), second(c.Keys(ctx, read...)),
		second(c.Audit(ctx, client.AuditPage{After: &n, Limit: 7}, read...)), second(c.AuditRow(ctx, 42, read...)),
		second(c.Audit(ctx, client.AuditPage{Before: 3, Actor: "operator", Kind: "checkout", Outcome: "ok", RequestID: "a"}, read...)),
		second(c.PutContract(ctx, "doc")), second(c.Contract(ctx, "acme-2026", read...)), second(c.Contracts(ctx, client.ContractPage{After: "a", Limit: 7}, read...)),
		second(c.CreateInstance(dry, "acme-2026", "lyon", apiv1.Quantities{"primary": 1})), second(c.Instance(ctx, 7, read...)),
		second(c.Instances(ctx, client.InstancePage{Contract: "acme", After: 3, Limit: 7}, read...)), second(c.ResizeInstance(ctx, 7, apiv1.Quantities{"primary": 1})),
		second(c.RemoveInstance(ctx, 7)), second(c.InstanceKey(ctx, 7, client.Consistency(apiv1.ConsistencyLinearizable))),
		second(c.CreatePool(dry, design)), second(c.ReplacePool(ctx, design)), second(c.ReplacePool(ctx, design, client.IfRevision(1742))), second(c.ActivatePool(ctx, "design")), second(c.DeactivatePool(ctx, "design")),
		second(c.DeletePool(ctx, "design", true)), second(c.DeletePool(dry, "design", false)), second(c.Pool(ctx, "design", read...)),
		second(c.Pools(ctx, client.PoolPage{Contract: "acme", After: "a", Limit: 7}, read...)),
		second(c.Usage(ctx, client.UsageOf{Pool: "design", Product: "cad", From: time.Unix(0, 1), To: time.Unix(9999, 0)}, read...)),
		second(c.Usage(ctx, client.UsageOf{Pool: "design"})),
		second(c.Projects(ctx, "design", "the bridge", 7, read...)),
		second(c.ConvertProject(ctx, "design", apiv1.Conversion{Project: "p", Product: "mono", Lease: 7, Handle: "h"})),
		second(c.Checkout(dry, ask)), second(c.Explain(ctx, ask, read...)),
		second(c.Bulk(ctx, []apiv1.BulkItem{{Checkout: &ask}, {Renew: &apiv1.LeaseRenewal{Lease: 7, Handle: "h"}}, {CheckIn: &apiv1.LeaseReturn{Lease: 7, Handle: "h"}}})),
		second(c.Lease(ctx, 7, read...)), second(c.Leases(ctx, client.LeasePage{Pool: "design", User: "u", Project: "p", After: 3, Limit: 7}, read...)),
		second(c.Renew(ctx, 7, "h", 0)), second(c.Renew(dry, 7, "h", 60)), second(c.Return(ctx, 7, "h")), second(c.Revoke(ctx, 7, "")), second(c.Revoke(ctx, 7, "left us")),
		second(c.ReturnBorrow(ctx, "token")), second(c.Ticket(ctx, 7, read...)), second(c.WaitTicket(ctx, 7, time.Hour)), second(c.Tickets(ctx, "design", 3, 7, read...)),
		second(c.KeepTicket(ctx, 7, "h")), second(c.ClaimOffer(ctx, 7, "h")), second(c.LeaveQueue(ctx, 7, "h")),
		second(c.CreateAccount(dry, 7, apiv1.AccountCreation{Name: "Zoë, 2", Area: "primary", State: &blocked})), second(c.DeleteAccount(ctx, 7, "a%2f b")),
		second(c.ChangeAccount(ctx, 7, "ann@acme.example", apiv1.AccountChange{State: &blocked})), second(c.Account(ctx, 7, "ann?x=#", read...)),
		second(c.Accounts(ctx, 7, client.AccountPage{After: "a&b", Limit: 7}, read...)), second(c.InstanceTotals(ctx, 7, read...)), second(c.ContractTotals(ctx, "acme", read...)),
		second(c.ExportAccounts(ctx, 7, read...)), second(c.ImportAccounts(ctx, 7, []byte("name,area\nann,primary\n"))),
		second(c.Stage(dry, 7, []apiv1.StagedAccount{{Name: "ann", Area: "primary", State: &blocked, Line: 2}})), second(c.ImportStaged(ctx, 7, staged)), second(c.SyncStaged(ctx, 7, staged)),
		second(c.SyncAccounts(ctx, 7, []apiv1.ListedAccount{{Name: "ann", Area: "primary"}})), second(c.Responsible(ctx, "acme", read...)),
		second(c.SetResponsible(ctx, "acme", "a@b.c")), second(c.ResetResponsible(ctx, "acme")), second(c.Notices(ctx, client.NumberPage{After: 3, Limit: 7}, read...)),
		second(c.OpenRequest(ctx, apiv1.LicenseRequestOpening{Contract: "acme", Area: "primary", Seats: 5})), second(c.CloseRequest(ctx, 3, apiv1.LicenseRequestClosing{As: "rejected"})),
		second(c.LicenseRequest(ctx, 3, read...)), second(c.LicenseRequests(ctx, "acme", client.NumberPage{After: 3, Limit: 7}, read...)),
		second(c.Activate(ctx, "key", nil)), second(c.Activate(ctx, "key", apiv1.Quantities{"primary": 1})),
	}
	for i, err := range errs {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !d.seen[o.OperationID] {
				t.Errorf("no method for %s (%s %s)", o.OperationID, method, path)
			}
		}
	}
	a, err := c.CreateInstance(ctx, "acme-2026", "lyon", apiv1.Quantities{"primary": 1})
	if err != nil {
		t.Fatal(err)
	}
	want := client.Meta{
		Index: 1742, Term: 3, Node: "lyon", Endpoint: "http://a:1", RequestID: "k", ExchangeID: "X", Age: 250 * time.Millisecond,
		Repeated: true, DryRun: true, Attempts: 1,
	}
	if a.Meta != want || a.Value.Serial != 1 || !json.Valid(a.Raw) {
		t.Errorf("%+v\nwant %+v", a, want)
	}
}

func second[T any](_ T, err error) error { return err }

// What would become another request is refused before anything is sent.
func TestHostileArguments(t *testing.T) {
	var sent int
	c, err := client.New(client.Options{Endpoints: []string{"http://a:1"}, HTTPClient: &http.Client{Transport: counting{&sent}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, err := range map[string]error{
		"no contract":          second(c.Contract(ctx, "")),
		"a contract's path":    second(c.Contract(ctx, "../instances")),
		"a contract's dots":    second(c.Contract(ctx, "..")),
		"a contract's filter":  second(c.Instances(ctx, client.InstancePage{Contract: "a&limit=1"})),
		"a key's path":         second(c.RetireSigningKey(ctx, "../rotate")),
		"no row":               second(c.AuditRow(ctx, 0)),
		"no serial":            second(c.Instance(ctx, 0)),
		"no serial's key":      second(c.InstanceKey(ctx, 0)),
		"no serial to resize":  second(c.ResizeInstance(ctx, 0, nil)),
		"no serial to remove":  second(c.RemoveInstance(ctx, 0)),
		"no pool":              second(c.Pool(ctx, "")),
		"a pool's path":        second(c.ActivatePool(ctx, "../contracts")),
		"no lease":             second(c.Renew(ctx, 0, "h", 0)),
		"no ticket":            second(c.WaitTicket(ctx, 0, 0)),
		"no account":           second(c.Account(ctx, 7, "")),
		"an account's path":    second(c.DeleteAccount(ctx, 7, "../../8")),
		"an account's dots":    second(c.DeleteAccount(ctx, 7, "..")),
		"no accounts' serial":  second(c.Accounts(ctx, 0, client.AccountPage{})),
		"a totals' path":       second(c.ContractTotals(ctx, "a/b")),
		"a staging's path":     second(c.StageAccounts(ctx, 7, "../x", 1, nil)),
		"no request":           second(c.LicenseRequest(ctx, 0)),
		"a request's filter":   second(c.LicenseRequests(ctx, "a&b", client.NumberPage{})),
		"no member":            second(c.RemoveMember(ctx, "")),
		"a member's path":      second(c.RemoveMember(ctx, "../../instances/7")),
		"a member's case":      second(c.RemoveMember(ctx, "Lyon")),
		"a leader's line":      second(c.TransferLeadership(ctx, "a\nb")),
		"a joiner's case":      second(c.CreateJoinToken(ctx, "Lyon", 0)),
		"a time that has been": second(c.CreateJoinToken(ctx, "lyon", -time.Minute)),
		"less than a second":   second(c.CreateJoinToken(ctx, "lyon", time.Millisecond)),
		"a dry removal":        second(c.RemoveMember(client.WithDryRun(ctx), "lyon")),
		"no token":             second(c.Token(ctx, 0)),
		"no token to revoke":   second(c.RevokeToken(ctx, 0)),
		"no request id":        second(c.RemoveInstance(client.WithRequestID(ctx, ""), 7)),
		"a header":             second(c.RemoveInstance(client.WithRequestID(ctx, "a\r\nX: y"), 7)),
		"a long request id":    second(c.RemoveInstance(client.WithRequestID(ctx, strings.Repeat("a", 65)), 7)),
	} {
		if client.CodeOf(err) != apiv1.CodeBadRequest || sent != 0 {
			t.Errorf("%s: %v, and %d requests", name, err, sent)
		}
	}
}

type counting struct{ n *int }

func (c counting) RoundTrip(*http.Request) (*http.Response, error) {
	*c.n++
	return nil, io.ErrUnexpectedEOF
}
