package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/licet/licet/client"
)

// network is a set of scripted nodes that are reached through memory, so that
// a test in a bubble of testing/synctest waits for nothing.
type network struct {
	mu    sync.Mutex
	nodes map[string]*node
	calls []seenCall
	dials int
	begin time.Time
}

// seenCall is a request as a node got it.
type seenCall struct {
	host, method, uri, key, body string
	after                        time.Duration
	header                       http.Header
}

// node plays its steps, one for each request; the last one stays.
type node struct {
	steps  []step
	server *http.Server
	queue  chan net.Conn
}

type step func(http.ResponseWriter, *http.Request)

// refused is a node that is not there: nothing can be dialled.
var refused step

func newNetwork(t *testing.T, script map[string][]step) *network {
	t.Helper()
	n := &network{nodes: map[string]*node{}, begin: time.Now()}
	for host, steps := range script {
		x := &node{steps: steps, queue: make(chan net.Conn)}
		x.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.serve(host, w, r) })}
		n.nodes[host] = x
		go func() { _ = x.server.Serve(x) }()
		t.Cleanup(func() { _ = x.server.Close() })
	}
	return n
}

func (x *node) Accept() (net.Conn, error) {
	if c, ok := <-x.queue; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (x *node) Close() error   { close(x.queue); return nil }
func (x *node) Addr() net.Addr { return &net.TCPAddr{} }

func (n *network) dial(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	n.dials++
	x := n.nodes[address]
	gone := x == nil || x.steps[0] == nil
	if x != nil && gone && len(x.steps) > 1 {
		x.steps = x.steps[1:]
	}
	n.mu.Unlock()
	if gone {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	here, there := net.Pipe()
	x.queue <- there
	return here, nil
}

func (n *network) serve(host string, w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n.mu.Lock()
	n.calls = append(n.calls, seenCall{host, r.Method, r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), string(body), time.Since(n.begin), r.Header})
	x := n.nodes[host]
	play := x.steps[0]
	if len(x.steps) > 1 {
		x.steps = x.steps[1:]
	}
	n.mu.Unlock()
	w.Header().Set("Licet-Node", host)
	play(w, r)
}

// client makes a client of the network; the endpoints are host names.
func (n *network) client(t *testing.T, o client.Options, hosts ...string) *client.Client {
	t.Helper()
	for _, host := range hosts {
		o.Endpoints = append(o.Endpoints, "http://"+host)
	}
	transport := &http.Transport{DialContext: n.dial}
	o.HTTPClient = &http.Client{Transport: transport}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// seen are the requests so far.
func (n *network) seen() []seenCall {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.calls)
}

// hosts are the hosts that were asked, in order.
func (n *network) hosts() []string {
	var hosts []string
	for _, c := range n.seen() {
		hosts = append(hosts, c.host)
	}
	return hosts
}

func answer(status int, kind, body string, header ...string) step {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		if key := r.Header.Get("Idempotency-Key"); key != "" {
			w.Header().Set("Idempotency-Key", key)
		}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func fine(body string, header ...string) step {
	return answer(200, "application/json", body, header...)
}

func problem(status int, code string, header ...string) step {
	return answer(status, "application/problem+json",
		`{"type":"urn:licet:problem:`+code+`","title":"T","status":1,"detail":"Because of `+code+`.","code":"`+code+`","request_id":"X","next":"Do.","facts":{"free":3,"area":"primary"}}`, header...)
}

// broken takes the request and hangs up without an answer.
func broken(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// half hangs up within the answer.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, `{"serial"`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func asError(t *testing.T, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want *client.Error", err, err)
	}
	return e
}
