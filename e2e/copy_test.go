package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// syslogReceiver takes messages over TCP, counted by their octets (RFC 6587).
type syslogReceiver struct {
	net.Listener
	mu sync.Mutex
	// messages are by what stands between <priority>1 and the text, and the text.
	messages []string
}

func newSyslogReceiver(t *testing.T) *syslogReceiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &syslogReceiver{Listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.take(conn)
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return r
}

func (r *syslogReceiver) take(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for in := bufio.NewReader(conn); ; {
		digits, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil {
			return
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		r.mu.Lock()
		r.messages = append(r.messages, string(message))
		r.mu.Unlock()
	}
}

// lines are the rows that came, each once.
func (r *syslogReceiver) lines(t *testing.T) (lines []string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, m := range r.messages {
		_, text, found := strings.Cut(m, " bordeaux licet - audit - ")
		if !found || strings.ContainsAny(m, "\r\n") {
			t.Fatalf("%q", m)
		}
		if !seen[text] {
			lines = append(lines, text)
		}
		seen[text] = true
	}
	return lines
}

// TestAuditCopies: what a real node decides comes to a file and to a receiver of syslog, whole, over kill -9, and holds no secret.
func TestAuditCopies(t *testing.T) {
	t.Parallel()
	to := newSyslogReceiver(t)
	c := startCluster(t, setup{nodes: []string{"bordeaux"}, set: map[string]string{
		"audit.copy_file": "copied.jsonl", "audit.copy_syslog": "tcp://" + to.Addr().String(),
	}})
	n := c.Node("bordeaux")
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
	lease, err := c.http.Checkout(t.Context(), apiv1.Checkout{Pool: "design", Product: "cad", User: "ann@acme.example", Client: "ws-17"})
	if err != nil {
		t.Fatal(err)
	}
	n.Kill()
	n.Start()
	c.WaitReady(n)
	c.create("late")
	path := c.path("copied.jsonl")
	has := func(text string, what string) error {
		for _, want := range []string{`"kind":"put_pool"`, `"kind":"checkout"`, `"name":"late"`} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("%s is not in the %s", want, what)
			}
		}
		return nil
	}
	var file []byte
	eventually(t, "the rows come to the file and to the receiver", func() error {
		if file, err = os.ReadFile(path); err != nil {
			return err
		}
		if err := has(string(file), "file"); err != nil {
			return err
		}
		return has(strings.Join(to.lines(t), "\n"), "receiver")
	})
	received := c.write("received.jsonl", strings.Join(to.lines(t), "\n")+"\n")
	for _, args := range [][]string{{"--file", path}, {"--file", received}, {"--file", path, "--file", received, "--server"}} {
		if out := c.fails(0, append([]string{"audit", "verify"}, args...)...); !strings.Contains(out, "\nwhole\n") {
			t.Errorf("%v: %s", args, out)
		}
	}
	for _, secret := range []string{lease.Value.Lease.Handle, token} {
		if secret == "" || strings.Contains(string(file), secret) || strings.Contains(strings.Join(to.lines(t), ""), secret) {
			t.Errorf("a secret of %d bytes is empty or stands in a copy", len(secret))
		}
	}
	text := mustAsk(t, "GET", n.URL()+"/metrics", "").body
	for _, want := range []string{`licet_audit_copy_lag_rows{target="file"} 0`, `licet_audit_copy_failing{target="syslog"} 0`, `licet_audit_copy_lost_rows_total{target="file"} 0`} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
}
