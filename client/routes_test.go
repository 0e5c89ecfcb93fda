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
	errs := []error{
		second(c.Health(ctx)), second(c.Ready(ctx)), second(c.OpenAPI(ctx)), second(c.Status(ctx)), second(c.Members(ctx)),
		second(c.RemoveMember(ctx, "lyon")), second(c.TransferLeadership(ctx, "")), second(c.TransferLeadership(ctx, "lyon")), second(c.Leave(ctx)),
		second(c.Settings(ctx, read...)), second(c.UpdateSettings(dry, apiv1.SettingsChange{RequestLimit: &n})), second(c.Keys(ctx, read...)),
		second(c.PutContract(ctx, "doc")), second(c.Contract(ctx, "acme-2026", read...)), second(c.Contracts(ctx, client.ContractPage{After: "a", Limit: 7}, read...)),
		second(c.CreateInstance(dry, "acme-2026", "lyon", apiv1.Quantities{"primary": 1})), second(c.Instance(ctx, 7, read...)),
		second(c.Instances(ctx, client.InstancePage{Contract: "acme", After: 3, Limit: 7}, read...)), second(c.ResizeInstance(ctx, 7, apiv1.Quantities{"primary": 1})),
		second(c.RemoveInstance(ctx, 7)), second(c.InstanceKey(ctx, 7, client.Consistency(apiv1.ConsistencyLinearizable))),
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
		"no contract":         second(c.Contract(ctx, "")),
		"a contract's path":   second(c.Contract(ctx, "../instances")),
		"a contract's dots":   second(c.Contract(ctx, "..")),
		"a contract's filter": second(c.Instances(ctx, client.InstancePage{Contract: "a&limit=1"})),
		"no serial":           second(c.Instance(ctx, 0)),
		"no serial's key":     second(c.InstanceKey(ctx, 0)),
		"no serial to resize": second(c.ResizeInstance(ctx, 0, nil)),
		"no serial to remove": second(c.RemoveInstance(ctx, 0)),
		"no member":           second(c.RemoveMember(ctx, "")),
		"a member's path":     second(c.RemoveMember(ctx, "../../instances/7")),
		"a member's case":     second(c.RemoveMember(ctx, "Lyon")),
		"a leader's line":     second(c.TransferLeadership(ctx, "a\nb")),
		"a dry removal":       second(c.RemoveMember(client.WithDryRun(ctx), "lyon")),
		"no request id":       second(c.RemoveInstance(client.WithRequestID(ctx, ""), 7)),
		"a header":            second(c.RemoveInstance(client.WithRequestID(ctx, "a\r\nX: y"), 7)),
		"a long request id":   second(c.RemoveInstance(client.WithRequestID(ctx, strings.Repeat("a", 65)), 7)),
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
