package api_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api"
)

// serve starts a real server with timeouts short enough to wait for.
func serve(t *testing.T, h http.Handler, timeouts api.Timeouts) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := api.Server(h, timeouts, nil)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// Slow clients are cut by the server: the reads below end because it hangs up,
// long before the guard on the connection, which fails the test.
func TestSlowClientsAreCut(t *testing.T) {
	f := newFixture(t)
	short := api.Timeouts{Header: 50 * time.Millisecond, Read: 80 * time.Millisecond, Write: 200 * time.Millisecond, Idle: 50 * time.Millisecond}
	address := serve(t, f.handler, short)
	auth := "Host: x\r\nAuthorization: Bearer " + token + "\r\n"
	for _, c := range []struct{ name, sent, wantStatus string }{
		{"nothing sent", "", ""},
		{"half a request line", "GET /v1/st", ""},
		{"half the headers", "GET /v1/status HTTP/1.1\r\n" + auth, ""},
		{"half a body", "POST /v1/instances HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := exchangeText(t, address, c.sent)
			if c.wantStatus == "" && text != "" && !strings.HasPrefix(text, "HTTP/1.1 4") || c.wantStatus != "" && !strings.HasPrefix(text, "HTTP/1.1 "+c.wantStatus) {
				t.Errorf("answer %q", text)
			}
		})
	}
	if f.node.proposals != 0 {
		t.Error("half a request was carried out")
	}
}

// A connection without a next request is closed after its own time, not the longer one of a request.
func TestIdleConnectionsAreCut(t *testing.T) {
	f := newFixture(t)
	address := serve(t, f.handler, api.Timeouts{Idle: 50 * time.Millisecond})
	if text := exchangeText(t, address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(text, "HTTP/1.1 200") {
		t.Errorf("answer %q", text)
	}
}

// exchangeText sends bytes and returns all that comes until the server hangs up.
func exchangeText(t *testing.T, address, sent string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatal("the server did not hang up")
	}
	return string(text)
}

// What net/http itself sees first is bounded and answered, too.
func TestRawRequests(t *testing.T) {
	f := newFixture(t)
	address := serve(t, f.handler, api.Timeouts{})
	for _, c := range []struct{ name, sent, want string }{
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"},
		{"huge headers", "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\nConnection: close\r\n\r\n", "431"},
		{"NUL in a header", "GET /healthz HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\x00b\r\nConnection: close\r\n\r\n", "400"},
		{"two lengths", "POST /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}", "400"},
		{"garbage", "\x16\x03\x01\x02\x00\x01\r\n\r\n", "400"},
		{"chunked body on GET", "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", "400"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if text := exchangeText(t, address, c.sent); !strings.HasPrefix(text, "HTTP/1.1 "+c.want) {
				t.Errorf("answer %q", clip(text, 200))
			}
		})
	}
}

// One connection carries many exchanges, problems among them.
func TestServerSpeaksHTTP(t *testing.T) {
	f := newFixture(t)
	address := serve(t, f.handler, api.Timeouts{})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for _, path := range []string{"/nowhere", "/v1/status", "/healthz"} {
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		a, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if err != nil || len(body) == 0 || a.ContentLength != int64(len(body)) || a.Header.Get("Licet-Node") != "lyon" {
			t.Errorf("%s: %v %q %v", path, err, body, a.Header)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	node, tokens := newNode(t), []api.Token{api.NewToken("operator", token)}
	for name, o := range map[string]api.Options{
		"no node":          {Tokens: tokens},
		"bad actor":        {Node: node, Tokens: []api.Token{api.NewToken("a b", token)}},
		"negative body":    {Node: node, Tokens: tokens, MaxBody: -1},
		"negative timeout": {Node: node, Tokens: tokens, RequestTimeout: -1},
	} {
		if _, err := api.New(o); err == nil {
			t.Errorf("%s: it was accepted", name)
		}
	}
}
