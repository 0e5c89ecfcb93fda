package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// route is one of the interface's, with a request that it takes.
type route struct {
	method, path, body string
	// open: no token is needed.
	open bool
}

// write tells whether the route takes a request id and a dry run.
func (r route) write() bool {
	return r.method != "GET" && !strings.HasPrefix(r.path, "/v1/cluster/") && r.path != "/v1/checkouts/explain" && r.path != "/v1/restore"
}

// routes are all of them; TestRoutesComplete holds that against the node's own document.
var routes = []route{
	{"GET", "/healthz", "", true},
	{"GET", "/readyz", "", true},
	{"GET", "/v1/openapi.yaml", "", true},
	{"GET", "/metrics", "", false},
	{"GET", "/debug/pprof/heap", "", false},
	{"GET", "/v1/status", "", false},
	{"GET", "/v1/cluster/members", "", false},
	{"DELETE", "/v1/cluster/members/nobody", "", false},
	{"POST", "/v1/cluster/transfer", `{"to": "nobody"}`, false},
	{"POST", "/v1/cluster/join-tokens", `{"node": "nobody"}`, false},
	{"GET", "/v1/tokens", "", false},
	{"POST", "/v1/tokens", `{"name": "nobody", "role": "nothing"}`, false},
	{"POST", "/v1/tokens/bootstrap", `{"name": "no body"}`, false},
	{"GET", "/v1/tokens/self", "", false},
	{"GET", "/v1/tokens/99", "", false},
	{"DELETE", "/v1/tokens/99", "", false},
	{"POST", "/v1/cluster/leave", "", false},
	{"GET", "/v1/cluster/gossip-key", "", false},
	{"POST", "/v1/cluster/gossip-key/rotate", "", false},
	{"GET", "/v1/backup", "", false},
	{"POST", "/v1/restore", "no backup", false},
	{"GET", "/v1/settings", "", false},
	{"PATCH", "/v1/settings", `{"request_limit": 250000}`, false},
	{"GET", "/v1/keys", "", false},
	{"GET", "/v1/contracts", "", false},
	{"POST", "/v1/contracts", `{"document": "licet-contract-v1.a.b.c"}`, false},
	{"GET", "/v1/contracts/load", "", false},
	{"GET", "/v1/instances", "", false},
	{"POST", "/v1/instances", `{"contract": "load", "name": "two", "allocation": {"primary": 1}}`, false},
	{"GET", "/v1/instances/1", "", false},
	{"PATCH", "/v1/instances/1", `{"allocation": {"primary": 2}}`, false},
	{"DELETE", "/v1/instances/1", "", false},
	{"GET", "/v1/instances/1/key", "", false},
	{"POST", "/v1/activations", `{"key": "licet-key-v1.a.b.c"}`, false},
	{"GET", "/v1/audit", "", false},
	{"GET", "/v1/audit/1", "", false},
	{"GET", "/v1/vendor-keys", "", false},
	{"POST", "/v1/vendor-keys", `{"statement": "licet-vendor-v1.a.b.c"}`, false},
	{"GET", "/v1/cluster/signing-key", "", false},
	{"POST", "/v1/cluster/signing-key/rotate", "", false},
	{"DELETE", "/v1/cluster/signing-key/0123456789abcdef", "", false},
	{"GET", "/v1/pools", "", false},
	{"POST", "/v1/pools", `{"name": "p", "contract": "nobody", "size": 1, "products": {"cad": {}}}`, false},
	{"GET", "/v1/pools/nobody", "", false},
	{"PUT", "/v1/pools/nobody", `{"name": "nobody", "contract": "load", "size": 1, "products": {"cad": {}}}`, false},
	{"DELETE", "/v1/pools/nobody", "", false},
	{"POST", "/v1/pools/nobody/activate", "", false},
	{"POST", "/v1/pools/nobody/deactivate", "", false},
	{"GET", "/v1/pools/nobody/usage", "", false},
	{"GET", "/v1/pools/nobody/projects", "", false},
	{"POST", "/v1/pools/nobody/projects/convert", `{"project": "x", "product": "cad", "lease": 1, "handle": "h"}`, false},
	{"GET", "/v1/pools/nobody/tickets", "", false},
	{"POST", "/v1/checkouts", `{"pool": "nobody", "product": "cad", "user": "ann", "client": "host"}`, false},
	{"POST", "/v1/checkouts/explain", `{"pool": "nobody", "product": "cad", "user": "ann", "client": "host"}`, false},
	{"GET", "/v1/leases", "", false},
	{"GET", "/v1/leases/1", "", false},
	{"DELETE", "/v1/leases/1", "", false},
	{"POST", "/v1/leases/1/renew", `{"handle": "h"}`, false},
	{"POST", "/v1/leases/1/return", `{"handle": "h"}`, false},
	{"POST", "/v1/borrows/return", `{"token": "licet-borrow-v1.a.b.c"}`, false},
	{"POST", "/v1/bulk", `{"items": [{"check_in": {"lease": 1, "handle": "h"}}]}`, false},
	{"GET", "/v1/tickets/1", "", false},
	{"POST", "/v1/tickets/1/keep", `{"handle": "h"}`, false},
	{"POST", "/v1/tickets/1/claim", `{"handle": "h"}`, false},
	{"POST", "/v1/tickets/1/leave", `{"handle": "h"}`, false},
	{"GET", "/v1/instances/99/accounts", "", false},
	{"POST", "/v1/instances/99/accounts", `{"name": "ann", "area": "primary"}`, false},
	{"GET", "/v1/instances/99/accounts/ann", "", false},
	{"PATCH", "/v1/instances/99/accounts/ann", `{"state": "blocked"}`, false},
	{"DELETE", "/v1/instances/99/accounts/ann", "", false},
	{"GET", "/v1/instances/99/totals", "", false},
	{"GET", "/v1/instances/99/export", "", false},
	{"POST", "/v1/instances/99/imports", "name,area,account state\nann,primary,Yes\n", false},
	{"POST", "/v1/instances/99/imports/staged", `{"staging": "s", "parts": 1, "sha256": "00"}`, false},
	{"PUT", "/v1/instances/99/stagings/s/1", `{"accounts": [{"name": "ann", "area": "primary"}]}`, false},
	{"POST", "/v1/instances/99/syncs", `{"accounts": [{"name": "ann", "area": "primary"}]}`, false},
	{"POST", "/v1/instances/99/syncs/staged", `{"staging": "s", "parts": 1, "sha256": "00"}`, false},
	{"GET", "/v1/contracts/nobody/totals", "", false},
	{"GET", "/v1/contracts/nobody/responsible", "", false},
	{"PUT", "/v1/contracts/nobody/responsible", `{"email": "a@example.org"}`, false},
	{"DELETE", "/v1/contracts/nobody/responsible", "", false},
	{"GET", "/v1/notices", "", false},
	{"GET", "/v1/requests", "", false},
	{"POST", "/v1/requests", `{"contract": "nobody", "area": "primary", "seats": 5}`, false},
	{"GET", "/v1/requests/1", "", false},
	{"POST", "/v1/requests/1/close", `{"as": "withdrawn"}`, false},
}

// pathsOf takes the paths out of the document, whose form is that of one file of ours.
func pathsOf(document string) []string {
	var paths []string
	_, rest, _ := strings.Cut(document, "\npaths:\n")
	rest, _, _ = strings.Cut(rest, "\ncomponents:\n")
	for _, line := range strings.Split(rest, "\n") {
		if path := strings.TrimSuffix(line, ":"); strings.HasPrefix(path, "  /") {
			paths = append(paths, strings.TrimSpace(path))
		}
	}
	return paths
}

// fits tells whether a route's path is of a template.
func (r route) fits(template string) bool {
	a, b := strings.Split(r.path, "/"), strings.Split(template, "/")
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || strings.HasPrefix(y, "{") && x != "" })
}

// TestHostileRequests: whatever is sent, the node answers with a problem or hangs
// up, stays up, serves others meanwhile, and nothing changes.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	// Each request is to be refused for what is wrong with it, not for coming too often.
	c := startCluster(t, setup{set: map[string]string{"limits.rate_unknown": "0"}})
	c.putContract("load", 30)
	if _, err := c.http.CreateInstance(t.Context(), "load", "one", apiv1.Quantities{"primary": 3}); err != nil {
		t.Fatal(err)
	}
	before := c.contents()
	unchanged := func(t *testing.T) {
		t.Helper()
		if after := c.contents(); after != before {
			t.Errorf("the state has changed to\n%s\nfrom\n%s", after, before)
		}
	}
	node := c.Follower()

	t.Run("every path of the document is tried", func(t *testing.T) {
		a, err := node.client.OpenAPI(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		paths := pathsOf(string(a.Value))
		if len(paths) < 10 {
			t.Fatalf("the document has only the paths %v", paths)
		}
		for _, path := range paths {
			if !slices.ContainsFunc(routes, func(r route) bool { return r.fits(path) }) {
				t.Errorf("%s is not among the routes that are tried", path)
			}
		}
	})
	for _, r := range routes {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			for _, h := range hostileRequests(r) {
				a, err := ask(h.method, node.URL()+h.path, h.body, h.headers...)
				switch {
				case err != nil:
					// A body that is far too long may meet a closed connection.
					if len(h.body) < 1<<20 {
						t.Errorf("%s: no answer: %v", h.name, err)
					}
				case a.status < 400 || a.status >= 500:
					t.Errorf("%s: answered %s", h.name, a)
				case a.code() == "":
					t.Errorf("%s: answered %d without a problem's code: %.200s", h.name, a.status, a.body)
				case h.want != "" && a.code() != h.want:
					t.Errorf("%s: the code is %q instead of %q", h.name, a.code(), h.want)
				case strings.Contains(a.body, token) || strings.Contains(a.body, "goroutine"):
					t.Errorf("%s: the answer says too much: %s", h.name, a.body)
				}
			}
			unchanged(t)
		})
	}
	t.Run("bytes that are no HTTP", func(t *testing.T) {
		for name, bytes := range hostileBytes() {
			if err := send(loopback(node.httpPort), bytes); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		unchanged(t)
	})
	t.Run("bytes on the nodes' port", func(t *testing.T) {
		for name, bytes := range hostileBytes() {
			if err := send(loopback(node.port), bytes); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		unchanged(t)
	})
	t.Run("bytes on the port of gossip", func(t *testing.T) {
		for name, bytes := range hostileBytes() {
			if err := send(loopback(node.gPort), bytes); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			packet, err := net.Dial("udp", loopback(node.gPort))
			if err != nil {
				t.Fatal(err)
			}
			_, err = packet.Write(bytes[:min(len(bytes), 1400)])
			if err := errors.Join(err, packet.Close()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		unchanged(t)
	})
	t.Run("slow and half requests keep nobody waiting", func(t *testing.T) {
		for range 50 {
			slow, err := net.Dial("tcp", loopback(node.httpPort))
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Close()
			if _, err := io.WriteString(slow, "POST /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Le"); err != nil {
				t.Fatal(err)
			}
			half, err := net.Dial("tcp", loopback(node.port))
			if err != nil {
				t.Fatal(err)
			}
			defer half.Close()
			// The beginning of a TLS handshake that never goes on.
			if _, err := half.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00}); err != nil {
				t.Fatal(err)
			}
		}
		if r := mustAsk(t, "GET", node.URL()+"/v1/contracts/load", ""); r.status != http.StatusOK {
			t.Errorf("meanwhile a read is answered %s", r)
		}
		unchanged(t)
	})
	t.Run("a slow client is hung up on", func(t *testing.T) {
		slow, err := net.Dial("tcp", loopback(node.httpPort))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		if _, err := io.WriteString(slow, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
			t.Fatal(err)
		}
		if err := hungUp(slow); err != nil {
			t.Error(err)
		}
	})
}

// contents is all that requests can change but the memory of requests, which grows
// with every one that a rule refused. It wants all nodes up and in one state.
func (c *Cluster) contents() string {
	c.t.Helper()
	for _, n := range c.nodes {
		if !n.running() {
			c.t.Fatalf("%s ended with exit code %d", n.id, n.exitCode())
		}
	}
	c.Settled()
	// The digests agree, so one node speaks for all.
	var text strings.Builder
	for _, path := range []string{"/v1/contracts", "/v1/contracts/load", "/v1/instances", "/v1/settings", "/v1/keys"} {
		eventually(c.t, path+" is answered", func() error {
			r, err := ask("GET", c.nodes[0].URL()+path, "")
			if err != nil || r.status != http.StatusOK {
				return fmt.Errorf("%s, %w", r, err)
			}
			text.WriteString(r.body + "\n")
			return nil
		})
	}
	a, err := c.http.Members(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range a.Value.Members {
		fmt.Fprintf(&text, "member %s %s %v\n", m.ID, m.Address, m.Voter)
	}
	return text.String()
}

// hostile is a request that must be refused.
type hostile struct {
	route
	name    string
	headers []string
	// want is the code, empty if any will do.
	want apiv1.Code
}

// hostileRequests are ill variations of a route's request.
func hostileRequests(r route) []hostile {
	var list []hostile
	add := func(name string, change func(*route), want apiv1.Code, headers ...string) {
		h := hostile{route: r, name: name, headers: headers, want: want}
		change(&h.route)
		list = append(list, h)
	}
	same := func(*route) {}
	add("unknown parameter", func(r *route) { r.path += "?colour=red" }, apiv1.CodeBadRequest)
	add("garbled query", func(r *route) { r.path += "?%zz" }, apiv1.CodeBadRequest)
	add("method that the path does not have", func(r *route) { r.method = "PROPFIND" }, apiv1.CodeMethodNotAllowed)
	add("path below", func(r *route) { r.path += "/below/it" }, apiv1.CodeRouteNotFound)
	if !r.open {
		add("no token", same, apiv1.CodeUnauthorized, "Authorization: ")
		add("wrong token", same, apiv1.CodeUnauthorized, "Authorization: Bearer "+token+"x")
		add("token's beginning", same, apiv1.CodeUnauthorized, "Authorization: Bearer "+token[:len(token)-1])
		add("other scheme", same, apiv1.CodeUnauthorized, "Authorization: Basic "+token)
		add("long token", same, apiv1.CodeUnauthorized, "Authorization: Bearer "+strings.Repeat("x", 8<<10))
	}
	if r.write() {
		for _, id := range []string{"two words", strings.Repeat("x", 65), "a/b", "Straße"} {
			add("request id "+id[:min(len(id), 10)], same, apiv1.CodeBadRequest, "Idempotency-Key: "+id)
		}
		add("dry run of no kind", func(r *route) { r.path += "?dry_run=perhaps" }, apiv1.CodeBadRequest)
		add("dry run twice", func(r *route) { r.path += "?dry_run=true&dry_run=false" }, apiv1.CodeBadRequest)
	}
	if r.method == "GET" && strings.HasPrefix(r.path, "/v1/") && !r.open && r.path != "/v1/status" && !strings.HasPrefix(r.path, "/v1/cluster/") {
		for _, query := range []string{"consistency=eventual", "min_index=-1", "min_index=1e3", "min_index=99999999999999999999", "min_index="} {
			add(query, func(r *route) { r.path += "?" + query }, apiv1.CodeBadRequest)
		}
	}
	if r.body == "" {
		add("body where none belongs", func(r *route) { r.body = `{"x": 1}` }, apiv1.CodeBadRequest)
		return list
	}
	if !strings.HasPrefix(r.body, "{") {
		// A file: what is wrong within it is tried where its rows, or bytes, can be looked at.
		add("other type", same, apiv1.CodeUnsupportedMediaType, "Content-Type: text/plain")
		return list
	}
	bad := map[string]string{
		"no body": "", "not JSON": "}{", "a number": "1", "a list": "[]", "null": "null", "two values": r.body + r.body,
		"half": r.body[:len(r.body)/2], "unknown field": `{"colour": "red", ` + r.body[1:], "repeated field": strings.TrimSuffix(r.body, "}") + ", " + r.body[1:],
		"deep": strings.Repeat(`{"allocation":`, 10_000), "deep list": strings.Repeat("[", 100_000), "not UTF-8": "{\"\xff\xfe\": 1}",
		"NUL": "\x00\x00\x00", "only spaces": strings.Repeat(" ", 1000),
	}
	if r.path == "/v1/cluster/transfer" {
		// Without a body any voter will do.
		delete(bad, "no body")
	}
	for name, body := range bad {
		add(name, func(r *route) { r.body = body }, "")
	}
	for name := range fieldsOf(r.body) {
		for _, value := range []string{"null", `[]`, `{"a": {"b": 1}}`, `"` + strings.Repeat("x", 300_000) + `"`, "-1", "1.5", "1e400", "true", `"\u0000"`, `""`} {
			add(name+" is "+value[:min(len(value), 12)], func(r *route) { r.body = replaceField(r.body, name, value) }, "")
		}
	}
	add("other type", same, apiv1.CodeUnsupportedMediaType, "Content-Type: text/plain")
	add("10 MB", func(r *route) {
		r.body = strings.TrimSuffix(r.body, "}") + `, "x": "` + strings.Repeat("x", 10<<20) + `"}`
	}, apiv1.CodeBodyTooLarge)
	return list
}

// hostileBytes are what no client of ours would send.
func hostileBytes() map[string][]byte {
	header := "GET /healthz HTTP/1.1\r\nHost: x\r\n"
	return map[string][]byte{
		"nothing":             {},
		"zeros":               make([]byte, 64<<10),
		"noise":               bytes.Repeat([]byte{0xde, 0xad, 0xbe, 0xef, '\r', '\n'}, 5000),
		"half a TLS record":   {0x16, 0x03, 0x01, 0x40, 0x00, 0x01},
		"TLS of great length": append([]byte{0x16, 0x03, 0x01, 0xff, 0xff}, make([]byte, 70_000)...),
		"SSH":                 []byte("SSH-2.0-OpenSSH_9.9\r\n"),
		"HTTP/2 in the clear": []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\x00\x00\x04\x01", 1000)),
		"no version":          []byte("GET /healthz\r\n\r\n"),
		"endless header":      []byte(header + "X: " + strings.Repeat("x", 3<<20)),
		"many headers":        []byte(header + strings.Repeat("X-A: b\r\n", 200_000)),
		"two lengths":         []byte("POST /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
		"length and chunks":   []byte("POST /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		"negative length":     []byte("POST /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
		"bad chunk":           []byte("POST /v1/instances HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n"),
		"pipelined junk":      []byte(strings.Repeat(header+"\r\n", 100) + strings.Repeat("\xff\x00junk\r\n", 1000)),
		"path that climbs":    []byte("GET /v1/../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"),
		"NUL in the path":     []byte("GET /v1/contracts/a%00b HTTP/1.1\r\nHost: x\r\n\r\n"),
		"name of a raft peer": append([]byte{0x02}, bytes.Repeat([]byte{0x81, 0xa1}, 3000)...),
	}
}

// send writes and reads until the other side has hung up or said all that it will.
func send(address string, data []byte) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return fmt.Errorf("nobody listens any more: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	// The other side may hang up before all is written.
	_, _ = c.Write(data)
	if half, ok := c.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	return hungUp(c)
}

// hungUp returns nil once the other side has closed.
func hungUp(c net.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("the connection is still open after %s", patience)
	}
	return nil
}

// TestNodePort: only a node of this cluster gets anywhere on the nodes' port.
func TestNodePort(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{nodes: []string{"bordeaux"}})
	initTLSIn(t, c.path("foreign"), "--nodes", "bordeaux")
	initTLSIn(t, c.path("clients"), "--nodes", "x", "--clients", "backup")
	mustRun(t, "tls", "client", "desk", "--dir", c.dir)
	mustRun(t, "tls", "client", "ops", "--role", "operator", "--dir", c.dir)
	for name, certificate := range map[string]string{
		"no certificate":              "",
		"another authority's node":    "foreign/bordeaux",
		"another authority's client":  "clients/client-backup",
		"a client of this authority":  "client-desk",
		"a client who is an operator": "client-ops",
	} {
		for _, protocol := range []string{"licet-raft/1", "h2", "http/1.1", ""} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
				if protocol != "" {
					config.NextProtos = []string{protocol}
				}
				if certificate != "" {
					pair, err := tls.LoadX509KeyPair(c.path(certificate+".pem"), c.path(certificate+"-key.pem"))
					if err != nil {
						t.Fatal(err)
					}
					config.Certificates = []tls.Certificate{pair}
				}
				conn, err := tls.Dial("tcp", loopback(c.nodes[0].port), config)
				if err != nil {
					return
				}
				defer conn.Close()
				// In TLS 1.3 the client hears of the refusal only when it reads.
				if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
				if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || strings.Contains(err.Error(), "timeout") {
					t.Errorf("%d bytes were answered: %v", n, err)
				}
			})
		}
	}
	for _, reason := range []string{"provide a certificate", "does not lead to the cluster's authority", "certificate is not a node's"} {
		c.nodes[0].WaitLog(0, reason)
	}
	c.Settled()
}
