package api_test

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/api"
)

// An exchange is a span in the trace that its sender names; it is called as its route, and tells nothing that only the sender
// and the node should know.
func TestSpanOfAnExchange(t *testing.T) {
	f, spans := newTracedFixture(t)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	path := "/v1/instances/7/accounts/ann%40secret.example"
	a := f.do(request{method: "DELETE", path: path}.with("Traceparent", parent).with("Idempotency-Key", "secret-request"))
	x := theSpan(t, spans)
	if x.Name != "DELETE /v1/instances/{serial}/accounts/{account}" || x.SpanKind != trace.SpanKindServer {
		t.Errorf("it is called %q and of kind %s", x.Name, x.SpanKind)
	}
	if x.Parent.TraceID().String() != parent[3:35] || x.Parent.SpanID().String() != parent[36:52] || !x.Parent.IsRemote() {
		t.Errorf("its parent is %v", x.Parent)
	}
	told := map[string]string{}
	for _, a := range x.Attributes {
		told[string(a.Key)] = a.Value.String()
	}
	want := map[string]string{
		"http.request.method": "DELETE", "http.route": "/v1/instances/{serial}/accounts/{account}", "http.response.status_code": "404",
		"error.type": "instance_not_found", "licet.request_id": a.header.Get("Licet-Request-Id"),
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("it tells %v, want %v", told, want)
	}
	if x.Status.Code == codes.Error {
		t.Error("a refusal is no fault of the server")
	}
	if !x.EndTime.After(x.StartTime) {
		t.Error("it took no time")
	}
	if text := fmt.Sprintf("%+v", x); strings.Contains(text, "secret") || strings.Contains(text, token) {
		t.Errorf("it tells too much: %s", text)
	}
}

// Whom the node does not know has it send nothing; health checks and scrapes are no news.
func TestExchangesWithoutSpans(t *testing.T) {
	f, spans := newTracedFixture(t)
	for _, r := range []request{
		{method: "GET", path: "/v1/status", anonymous: true},
		request{method: "GET", path: "/v1/status"}.with("Authorization", "Bearer not-"+token),
		{method: "GET", path: "/healthz"},
		{method: "GET", path: "/readyz"},
		{method: "GET", path: "/metrics"},
		request{method: "GET", path: "/v1/nothing"}.bad(),
		// The sender does not want it traced.
		request{method: "GET", path: "/v1/status"}.with("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),
	} {
		f.do(r.with("Traceparent", append(r.header["Traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")[0]))
		if n := len(spans.GetSpans()); n != 0 {
			t.Fatalf("%s %s: %d spans", r.method, r.path, n)
		}
	}
	// A header that can't be read begins a trace anew.
	f.do(request{method: "GET", path: "/v1/status"}.with("Traceparent", "nonsense"))
	if x := theSpan(t, spans); x.Parent.IsValid() {
		t.Errorf("its parent is %v", x.Parent)
	}
}

// What fails is a fault in its trace too.
func TestSpanOfAFault(t *testing.T) {
	f, spans := newTracedFixture(t)
	f.node.fail = codedError{code: "no_leader", text: "there is none"}
	f.do(request{method: "GET", path: "/v1/contracts"})
	if x := theSpan(t, spans); x.Status.Code != codes.Error || x.Status.Description != "no_leader" {
		t.Errorf("it ended as %v", x.Status)
	}
}

func newTracedFixture(t *testing.T) (*fixture, *tracetest.InMemoryExporter) {
	t.Helper()
	f, spans := newFixture(t), tracetest.NewInMemoryExporter()
	var err error
	f.handler, err = api.New(api.Options{
		Node: f.node, Tokens: []api.Token{api.NewToken("operator", token)}, Meter: f.meter,
		Tracer: sdk.NewTracerProvider(sdk.WithSyncer(spans)).Tracer("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, spans
}

func theSpan(t *testing.T, spans *tracetest.InMemoryExporter) tracetest.SpanStub {
	t.Helper()
	all := spans.GetSpans()
	if len(all) != 1 {
		t.Fatalf("%d spans", len(all))
	}
	return all[0]
}
