package e2e

import (
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// collector takes what nodes export by OTLP over HTTP.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []exported
	// received is all that came, uncompressed, with its headers.
	received strings.Builder
	wrong    []error
}

// exported is a span and the node that sent it.
type exported struct {
	node string
	*tracepb.Span
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.take(r); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.wrong = append(c.wrong, err)
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(func() {
		c.Close()
		for _, err := range c.wrong {
			t.Errorf("the collector: %v", err)
		}
	})
	return c
}

func (c *collector) take(r *http.Request) error {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(r.Body)
		if err != nil {
			return err
		}
		body = plain
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request collectorpb.ExportTraceServiceRequest
	if err := proto.Unmarshal(text, &request); err != nil {
		return err
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return fmt.Errorf("%s %s of type %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.received, "%v%s", r.Header, text)
	for _, resource := range request.ResourceSpans {
		node := ""
		for _, a := range resource.Resource.Attributes {
			if a.Key == "service.instance.id" {
				node = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans = append(c.spans, exported{node, span})
			}
		}
	}
	return nil
}

// trace has the spans of a trace by their names, once it has all of them.
func (c *collector) trace(t *testing.T, id string, names ...string) map[string]exported {
	t.Helper()
	var found map[string]exported
	eventually(t, "the trace is whole", func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		found = map[string]exported{}
		for _, x := range c.spans {
			if hex.EncodeToString(x.TraceId) != id {
				continue
			}
			if _, twice := found[x.Name]; twice {
				t.Fatalf("the trace has %s twice", x.Name)
			}
			found[x.Name] = x
		}
		for _, name := range names {
			if _, ok := found[name]; !ok {
				return fmt.Errorf("there is no %s", name)
			}
		}
		return nil
	})
	if len(found) != len(names) {
		t.Errorf("the trace has %d spans instead of %d", len(found), len(names))
	}
	return found
}

// TestTraceOfAWrite: a write through a follower is one trace over two nodes, in the client's trace, and holds nothing that is
// not the collector's business.
func TestTraceOfAWrite(t *testing.T) {
	t.Parallel()
	to := newCollector(t)
	// An address alone is completed.
	c := startCluster(t, setup{set: map[string]string{"tracing.endpoint": to.URL}, env: []string{"OTEL_EXPORTER_OTLP_HEADERS=x-tenant=acme"}})
	follower, leader := c.Follower(), c.Leader()
	document := strings.TrimSpace(c.sign(contractYAML("load", 1, 10) + "products:\n  cad: {model: floating, quantity: 3}\n"))
	_, err := c.http.PutContract(t.Context(), document)
	if err == nil {
		_, err = c.http.CreatePool(t.Context(), apiv1.PoolDefinition{Name: "design", Contract: "load", Size: 3, Products: map[string]apiv1.PoolProduct{"cad": {}}})
	}
	if err == nil {
		_, err = c.http.ActivatePool(t.Context(), "design")
	}
	if err != nil {
		t.Fatal(err)
	}
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	const user, requestID = "ann@acme.example", "01J00000000000000000000000"
	done := mustAsk(t, "POST", follower.URL()+"/v1/checkouts", fmt.Sprintf(`{"pool": "design", "product": "cad", "user": %q, "client": "ws-17"}`, user),
		"traceparent: 00-"+trace+"-"+parent+"-01", "Idempotency-Key: "+requestID)
	if done.status != http.StatusCreated {
		t.Fatal(done)
	}
	route := "POST /v1/checkouts"
	spans := to.trace(t, trace, route, "forward", "batch", "entry", "replicate", "apply")
	for name, want := range map[string]struct{ node, parent string }{
		route: {follower.id, parent}, "forward": {follower.id, id(spans[route])},
		"batch": {leader.id, id(spans["forward"])}, "entry": {leader.id, id(spans["forward"])},
		"replicate": {leader.id, id(spans["entry"])}, "apply": {leader.id, id(spans["entry"])},
	} {
		x := spans[name]
		if x.node != want.node || hex.EncodeToString(x.ParentSpanId) != want.parent {
			t.Errorf("%s is of %s below %x, want of %s below %s", name, x.node, x.ParentSpanId, want.node, want.parent)
		}
		if x.EndTimeUnixNano < x.StartTimeUnixNano {
			t.Errorf("%s ends before it begins", name)
		}
	}
	if n := attribute(spans["entry"], "licet.entry.index"); n <= 0 || attribute(spans["entry"], "licet.entry.commands") != 1 {
		t.Errorf("the entry tells %v", spans["entry"].Attributes)
	}
	if got := spans[route].Kind; got != tracepb.Span_SPAN_KIND_SERVER {
		t.Errorf("the request is of kind %s", got)
	}
	received := to.text()
	handle := strings.Trim(string(fieldsOf(string(fieldsOf(done.body)["lease"]))["handle"]), `"`)
	if handle == "" || !strings.Contains(received, "X-Tenant:[acme]") {
		t.Errorf("handle %q; the header that the environment names came: %v", handle, strings.Contains(received, "X-Tenant:[acme]"))
	}
	for what, secret := range map[string]string{
		"the token": token, "the handle": handle, "the user": user, "the request id": requestID, "the contract's address": "licenses@acme", "the contract": document,
	} {
		if strings.Contains(received, secret) {
			t.Errorf("the collector was told %s", what)
		}
	}
	// What happened at last is sent at a stop.
	const last = "5bf92f3577b34da6a3ce929d0e0e4736"
	mustAsk(t, "GET", follower.URL()+"/v1/status", "", "traceparent: 00-"+last+"-"+parent+"-01")
	follower.Stop()
	to.trace(t, last, "GET /v1/status")
}

func id(x exported) string { return hex.EncodeToString(x.SpanId) }

func attribute(x exported, name string) int64 {
	for _, a := range x.Attributes {
		if a.Key == name {
			return a.Value.GetIntValue()
		}
	}
	return -1
}

func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received.String()
}

// TestNoTracingUnasked: without an endpoint nothing is sent, whatever the environment says and the client asks for.
func TestNoTracingUnasked(t *testing.T) {
	t.Parallel()
	to := newCollector(t)
	c := startCluster(t, setup{nodes: sites[:1], env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + to.URL, "OTEL_TRACES_SAMPLER=always_on"}})
	c.putContract("load", 10)
	r := mustAsk(t, "GET", c.nodes[0].URL()+"/v1/contracts", "", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if r.status != http.StatusOK {
		t.Fatal(r)
	}
	// A stop sends what there is.
	c.nodes[0].Stop()
	if text := to.text(); text != "" {
		t.Errorf("the collector got %d bytes", len(text))
	}
}

// TestCollectorIsDown: neither a collector that is not there nor one that takes and never answers costs more than its
// spans: requests are served, and the log has one line.
func TestCollectorIsDown(t *testing.T) {
	t.Parallel()
	for what, endpoint := range map[string]string{"nobody there": "http://" + deadAddress(t), "no answer": "http://" + silentAddress(t)} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, setup{nodes: sites[:1], set: map[string]string{"tracing.endpoint": endpoint}})
			n := c.nodes[0]
			c.putContract("load", 10)
			cl := c.newClient(client.Options{Endpoints: c.Endpoints()})
			const complaint = "traces can't be sent"
			n.WaitLog(0, complaint)
			// More than the queue has room for.
			for range 3000 {
				if _, err := cl.Status(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			n.Stop()
			// A second line may tell of what was left at the stop.
			if log := n.log(); strings.Count(log, complaint) != 1 || strings.Count(log, "tracing: ") > 2 {
				t.Errorf("the log tells it %d times, in %d lines:\n%s", strings.Count(log, complaint), strings.Count(log, "tracing: "), lastLines(log, 20))
			}
		})
	}
}

// deadAddress is one at which nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silentAddress takes connections and never says anything.
func silentAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all = append(all, conn)
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-done
		for _, conn := range all {
			conn.Close()
		}
	})
	return l.Addr().String()
}
