package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

// token is the operator's, scrapeToken opens /metrics alone.
const (
	token       = "correct horse battery staple"
	scrapeToken = "battery horse staple correct"
)

// spec is the document, against which all tests hold the server.
var spec *openapi3.T

func init() {
	// kin-openapi would parse YAML, but the document is described as a text.
	openapi3filter.RegisterBodyDecoder("application/yaml", func(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		text, err := io.ReadAll(body)
		return string(text), err
	})
	openapi3filter.RegisterBodyDecoder("application/vnd.licet.backup", openapi3filter.FileBodyDecoder)
	var err error
	if spec, err = openapi3.NewLoader().LoadFromData(api.OpenAPI); err != nil {
		panic(err)
	}
}

// findRoute finds the operation that the document has for a request, and its path parameters.
func findRoute(r request) (*routers.Route, map[string]string) {
	path, _, _ := strings.Cut(r.path, "?")
	have := strings.Split(path, "/")
	for _, op := range operations() {
		want := strings.Split(op.path, "/")
		if op.method != r.method || len(want) != len(have) {
			continue
		}
		params, match := make(map[string]string), true
		for i, segment := range want {
			if name, isParam := strings.CutPrefix(segment, "{"); isParam {
				params[strings.TrimSuffix(name, "}")], _ = url.PathUnescape(have[i])
				match = match && have[i] != ""
			} else {
				match = match && segment == have[i]
			}
		}
		if match {
			return &routers.Route{Spec: spec, Path: op.path, PathItem: spec.Paths.Value(op.path), Method: op.method, Operation: op.Operation}, params
		}
	}
	return nil, nil
}

// fixture is a server over a fake node.
type fixture struct {
	t       testing.TB
	node    *fakeNode
	meter   *fakeMeter
	handler http.Handler
	log     *bytes.Buffer
	// issued are the tokens of an issuer, and whom they are for.
	issued map[string]fsm.Principal
}

// issue makes a token of an issuer, as far as this package knows them.
func (f *fixture) issue(subject string, role fsm.Role, scope fsm.Scope) string {
	f.t.Helper()
	id, err := fsm.IssuedID("https://id.example/realms/acme", subject)
	p := fsm.Principal{Kind: fsm.ByIssuer, ID: id, Role: role, Scope: scope}
	if err = errors.Join(err, p.Check()); err != nil {
		f.t.Fatal(err)
	}
	token := fmt.Sprintf("eyJhbGciOiJFUzI1NiJ9.claims-%d.signature_-of-the-token-of-an-issuer-of-some-length", len(f.issued))
	f.issued[token] = p
	return token
}

// verify is what the issuer's tokens are verified with.
func (f *fixture) verify(_ context.Context, token string) (fsm.Principal, error) {
	switch p, ok := f.issued[token]; {
	case ok:
		return p, nil
	case strings.HasPrefix(token, "down."):
		return fsm.Principal{}, codedError{"not_ready", "The issuer does not answer", time.Second}
	case strings.HasPrefix(token, "roleless."):
		return fsm.Principal{}, codedError{"forbidden", "The token gives no role", 0}
	}
	return fsm.Principal{}, codedError{"unauthorized", "The token is not one that the issuer made", 0}
}

// newFixture serves a cluster that is initialised and holds nothing.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := newBareFixture(t)
	f.node.initialise(t)
	return f
}

// newBareFixture serves a cluster without an identity.
func newBareFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, node: newNode(t), log: new(bytes.Buffer), issued: map[string]fsm.Principal{}}
	f.meter = &fakeMeter{node: f.node}
	var err error
	f.handler, err = api.New(api.Options{
		Node: f.node, Tokens: []api.Token{api.NewToken("operator", token), api.NewMetricsToken("metrics", scrapeToken)}, Meter: f.meter, Issued: f.verify,
		Log: hclog.New(&hclog.LoggerOptions{Output: f.log, Level: hclog.Debug}), RequestTimeout: time.Second, MaxBackup: 1 << 20, Profiling: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// request is one exchange to make. The zero values make a valid request.
type request struct {
	method, path string
	body         string
	header       http.Header
	// faulty requests are expected not to fit the document.
	faulty bool
	// anonymous requests carry no token.
	anonymous bool
}

func (r request) with(name string, values ...string) request {
	r.header = r.header.Clone()
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header[http.CanonicalHeaderKey(name)] = values
	return r
}

func (r request) bad() request { r.faulty = true; return r }

// http builds the request without checking it, because hostile ones must pass.
func (r request) http(ctx context.Context) *http.Request {
	path, query, _ := strings.Cut(r.path, "?")
	u := &url.URL{Scheme: "http", Host: "licet.example", RawQuery: query}
	if plain, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = plain, path
	} else {
		u.Path = path
	}
	h := r.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if h["Authorization"] == nil && !r.anonymous {
		h.Set("Authorization", "Bearer "+token)
	}
	out := &http.Request{Method: r.method, URL: u, Host: u.Host, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RequestURI: r.path, RemoteAddr: "192.0.2.1:4711", Body: http.NoBody}
	if r.body != "" {
		out.Body, out.ContentLength = io.NopCloser(strings.NewReader(r.body)), int64(len(r.body))
		if h["Content-Type"] == nil {
			h.Set("Content-Type", "application/json")
			if strings.HasSuffix(path, "/imports") {
				h.Set("Content-Type", "text/csv")
			}
			if path == "/v1/restore" {
				h.Set("Content-Type", "application/vnd.licet.backup")
			}
		}
	}
	return out.WithContext(ctx)
}

// do makes an exchange and holds request and answer against the document.
func (f *fixture) do(r request) *reply {
	f.t.Helper()
	route, params := f.checkRequest(r)
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r.http(f.t.Context()))
	a := &reply{t: f.t, request: r, status: w.Code, header: w.Header(), body: w.Body.Bytes()}
	f.checkAnswer(a, route, params)
	return a
}

// checkRequest finds the operation and, if the request is to be valid, validates it.
func (f *fixture) checkRequest(r request) (*routers.Route, map[string]string) {
	f.t.Helper()
	route, params := findRoute(r)
	if r.faulty {
		return route, params
	}
	if route == nil {
		f.t.Fatalf("%s %s: the document has no such operation", r.method, r.path)
	}
	if err := openapi3filter.ValidateRequest(f.t.Context(), f.input(r.http(f.t.Context()), route, params)); err != nil {
		f.t.Fatalf("%s %s: the request does not fit the document: %v", r.method, r.path, err)
	}
	return route, params
}

func (f *fixture) input(req *http.Request, route *routers.Route, params map[string]string) *openapi3filter.RequestValidationInput {
	return &openapi3filter.RequestValidationInput{Request: req, Route: route, PathParams: params, Options: &openapi3filter.Options{
		IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}}
}

// checkAnswer validates an answer, also one that no operation describes.
func (f *fixture) checkAnswer(a *reply, route *routers.Route, params map[string]string) {
	f.t.Helper()
	req := a.request.http(f.t.Context())
	if a.status >= 400 {
		f.checkProblem(a)
	}
	if route == nil || a.status == http.StatusNotFound && a.code() == apiv1.CodeRouteNotFound {
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			f.t.Fatalf("%s: status %d for what the document does not have", a, a.status)
		}
		name := map[int]string{404: "NotFound", 405: "MethodNotAllowed"}[a.status]
		route, params = loneRoute(name, a.status), nil
	} else {
		covered(route.Operation, a)
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: f.input(req, route, params), Status: a.status, Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.body)), Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(f.t.Context(), input); err != nil {
		f.t.Fatalf("%s: the answer does not fit the document: %v", a, err)
	}
	declared := route.Operation.Responses.Status(a.status).Value.Headers
	for name := range a.header {
		known := slices.Contains([]string{"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Connection"}, name)
		described := false
		for other := range declared {
			described = described || strings.EqualFold(other, name)
		}
		if !described && !known {
			f.t.Fatalf("%s: header %s is not in the document", a, name)
		}
	}
}

// loneRoute describes answers outside all operations.
func loneRoute(response string, status int) *routers.Route {
	responses := openapi3.NewResponses(openapi3.WithStatus(status, spec.Components.Responses[response]))
	return &routers.Route{Spec: spec, Operation: &openapi3.Operation{Responses: responses}}
}

// checkProblem holds a problem against RFC 9457 and its own headers.
func (f *fixture) checkProblem(a *reply) {
	f.t.Helper()
	p := a.problem()
	switch {
	case p.Status != a.status, p.Type != "urn:licet:problem:"+string(p.Code), p.RequestID != a.header.Get("Licet-Request-Id"):
		f.t.Fatalf("%s: the problem contradicts its answer: %+v", a, p)
	case p.Detail == "" || p.Title == "" || strings.Contains(p.Detail, "secret"):
		f.t.Fatalf("%s: detail %q, title %q", a, p.Detail, p.Title)
	case a.status > 405 && a.status != 500 && strings.ContainsAny(p.Detail+p.Next, "{}"):
		// A rule's sentence lacks a fact.
		f.t.Fatalf("%s: detail %q, title %q", a, p.Detail, p.Title)
	case p.Next == "":
		f.t.Fatalf("%s: the problem does not say what to do", a)
	}
}

// reply is an answer that fits the document.
type reply struct {
	t       testing.TB
	request request
	status  int
	header  http.Header
	body    []byte
}

func (a *reply) String() string { return a.request.method + " " + clip(a.request.path, 120) }

func clip(text string, most int) string { return text[:min(len(text), most)] }

func (a *reply) problem() apiv1.Problem {
	a.t.Helper()
	var p apiv1.Problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatalf("%s: status %d, no problem: %v: %s", a, a.status, err, clip(string(a.body), 300))
	}
	return p
}

func (a *reply) code() apiv1.Code {
	if a.status < 400 {
		return ""
	}
	return a.problem().Code
}

// want asserts a status.
func (a *reply) want(status int) *reply {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d instead of %d: %s", a, a.status, status, clip(string(a.body), 400))
	}
	return a
}

// refused asserts a problem.
func (a *reply) refused(code apiv1.Code) apiv1.Problem {
	a.t.Helper()
	if a.status < 400 {
		a.t.Fatalf("%s: status %d instead of problem %s; body sent: %s", a, a.status, code, clip(a.request.body, 300))
	}
	p := a.problem()
	if p.Code != code {
		a.t.Fatalf("%s: problem %s (%s) instead of %s; body sent: %s", a, p.Code, p.Detail, code, clip(a.request.body, 300))
	}
	return p
}

// into reads the answer's JSON.
func into[T any](a *reply) T {
	a.t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%s: %v", a, err)
	}
	return v
}

func (f *fixture) get(path string) *reply {
	f.t.Helper()
	return f.do(request{method: "GET", path: path})
}

func (f *fixture) send(method, path string, body any) *reply {
	f.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.do(request{method: method, path: path, body: string(text)})
}

// contractDoc is a valid contract that is in force at epoch.
func contractDoc(t testing.TB, id string, revision uint64, users map[string]uint64, edit ...func(*signed.Contract)) string {
	t.Helper()
	c := &signed.Contract{
		ID: id, Revision: revision, Customer: "Acme SA", Email: "it@acme.example", Users: users,
		Start: epoch.AddDate(0, -1, 0), Expiry: epoch.AddDate(1, 0, 0), GraceDays: 14,
	}
	for _, change := range edit {
		change(c)
	}
	text, err := c.Sign(vendorKey)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (f *fixture) putContract(id string, revision uint64, users map[string]uint64, edit ...func(*signed.Contract)) apiv1.Contract {
	f.t.Helper()
	return into[apiv1.Contract](f.send("POST", "/v1/contracts", apiv1.ContractImport{Document: contractDoc(f.t, id, revision, users, edit...)}).want(200))
}

func (f *fixture) create(contract, name string, primary uint64) *reply {
	f.t.Helper()
	return f.send("POST", "/v1/instances", apiv1.InstanceCreation{Contract: contract, Name: name, Allocation: apiv1.Quantities{"primary": primary}})
}
