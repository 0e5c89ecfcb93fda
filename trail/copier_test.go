package trail_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/trail"
)

// copying runs a copier, and tells what it says.
type copying struct {
	*trail.Copier
	t      testing.TB
	stop   context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	events []string
}

func startCopying(t testing.TB, dir, name string, target trail.Target) *copying {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &copying{t: t, stop: stop, done: make(chan struct{})}
	say := func(format string, args ...any) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, fmt.Sprintf(format, args...))
	}
	c.Copier = &trail.Copier{
		Dir: dir, Name: name, Target: target,
		Failed: func(err error) { say("failed: %v", err) }, Recovered: func() { say("recovered") },
		Lost: func(from, to uint64) { say("lost %d to %d", from, to) },
	}
	go func() { defer close(c.done); c.Run(ctx) }()
	t.Cleanup(c.end)
	return c
}

func (c *copying) end() { c.stop(); <-c.done }

func (c *copying) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.events, "\n")
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("it never came to pass: %s", what)
		}
	}
}

// copyOf checks a copy in which nothing is to be found.
func copyOf(t testing.TB, path string, first, last uint64) {
	t.Helper()
	r, err := trail.Check(path)
	if err != nil || len(r.Damage) > 0 || len(r.Gaps) > 0 || r.First != first || r.Last != last || r.Rows != last-first+1 {
		t.Fatalf("%s: %+v %v", path, r, err)
	}
}

// Rows come to the file whole and in their order, over restarts, after a crash in the middle of a row, and when the file is moved away.
func TestCopyToAFile(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, o, h.writes(9))
	c := startCopying(t, o.Dir, "file", &trail.CopyFile{Path: path, Node: "lyon"})
	until(t, "10 rows", func() bool { return c.Copied().Sent == 10 })
	copyOf(t, path, 1, 10)
	write(t, o, h.writes(600))
	c.end() // what is left is copied at the end
	copyOf(t, path, 1, 610)

	// The process was killed in the middle of a row, and what it noted is older than the file.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-40], 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, o, h.writes(5))
	c = startCopying(t, o.Dir, "file", &trail.CopyFile{Path: path, Node: "lyon"})
	until(t, "615 rows", func() bool { return c.Copied().Sent == 615 })
	copyOf(t, path, 1, 615)

	// logrotate: moved away, and cut to nothing.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, o, h.writes(5))
	until(t, "620 rows", func() bool { return c.Copied().Sent == 620 })
	copyOf(t, path+".1", 1, 615)
	copyOf(t, path, 616, 620)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	write(t, o, h.writes(5))
	until(t, "625 rows", func() bool { return c.Copied().Sent == 625 })
	copyOf(t, path, 621, 625)
	c.end()

	// Moved away while nothing ran.
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	write(t, o, h.writes(5))
	c = startCopying(t, o.Dir, "file", &trail.CopyFile{Path: path, Node: "lyon"})
	until(t, "630 rows", func() bool { return c.Copied().Sent == 630 })
	copyOf(t, path, 626, 630)
	if said := c.said(); said != "" || c.Copied().Lost != 0 {
		t.Error(said, c.Copied())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// What is no copy is left alone, and said once; when it has gone, the copy goes on.
func TestCopyLeavesOtherFilesAlone(t *testing.T) {
	for _, text := range []string{"root:x:0:0\n", "secret", "{\"a\":1}\n"} {
		h, o := newHistory(t), options(t.TempDir())
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		write(t, o, h.writes(9))
		c := startCopying(t, o.Dir, "file", &trail.CopyFile{Path: path, Node: "lyon"})
		until(t, "a failure", func() bool { return c.Copied().Failing })
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Fatalf("%q %v", now, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		until(t, "recovery", func() bool { return strings.HasSuffix(c.said(), "recovered") })
		copyOf(t, path, 1, 10)
		if strings.Count(c.said(), "failed") != 1 || !strings.Contains(c.said(), "something else than copied rows") {
			t.Error(c.said())
		}
	}
}

// Rows that have given way to the bound before they were copied are counted, and stand in the copy as a gap.
func TestCopyTellsOfLostRows(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	write(t, o, h.writes(9))
	c := startCopying(t, o.Dir, "file", &trail.CopyFile{Path: path, Node: "lyon"})
	until(t, "10 rows", func() bool { return c.Copied().Sent == 10 })
	c.end()
	write(t, o, h.writes(60))
	files := names(t, o.Dir)
	for _, name := range files[:len(files)-2] { // the last one is how far the copy is
		if err := os.Remove(filepath.Join(o.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c = startCopying(t, o.Dir, "file", &trail.CopyFile{Path: path, Node: "lyon"})
	until(t, "70 rows", func() bool { return c.Copied().Sent == 70 })
	r, err := trail.Check(path)
	if err != nil || len(r.Damage) > 0 || len(r.Gaps) != 1 || r.Gaps[0].From != 11 || r.Last != 70 {
		t.Fatalf("%+v %v", r, err)
	}
	lost := r.Gaps[0].To - 10
	if c.Copied().Lost != lost || c.said() != fmt.Sprintf("lost 11 to %d", r.Gaps[0].To) {
		t.Error(lost, c.Copied(), c.said())
	}
}

// receiver takes syslog messages over TCP, counted by their octets (RFC 6587, section 3.4.1).
type receiver struct {
	net.Listener
	mu       sync.Mutex
	messages []string
	conns    []net.Conn
}

func startReceiver(t testing.TB, address string, read bool) *receiver {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return receiveFrom(t, l, read)
}

// receiveFrom takes messages of all who connect, if it reads at all.
func receiveFrom(t testing.TB, l net.Listener, read bool) *receiver {
	t.Helper()
	r := &receiver{Listener: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, conn)
			r.mu.Unlock()
			if read {
				go r.take(conn)
			}
		}
	}()
	t.Cleanup(r.end)
	return r
}

func (r *receiver) end() {
	_ = r.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}

func (r *receiver) take(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		digits, err := in.ReadString(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		message := make([]byte, max(n, 0))
		if _, readErr := io.ReadFull(in, message); errors.Join(err, readErr) != nil {
			return
		}
		r.mu.Lock()
		r.messages = append(r.messages, string(message))
		r.mu.Unlock()
	}
}

// rows are the lines of JSON that have come, each row once, and how many had come.
func (r *receiver) rows(t testing.TB) (lines []byte, all int) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[string]bool)
	for _, m := range r.messages {
		head, text, found := strings.Cut(m, " licet - audit - ")
		if !found || !strings.HasPrefix(head, "<109>1 20") && !strings.HasPrefix(head, "<110>1 20") || !strings.HasSuffix(head, "Z lyon") || strings.Contains(m, "\n") {
			t.Fatalf("%q", m)
		}
		if !seen[text] {
			lines = append(lines, text+"\n"...)
		}
		seen[text] = true
	}
	return lines, len(r.messages)
}

func (r *receiver) has(t testing.TB, last uint64) func() bool {
	return func() bool {
		lines, _ := r.rows(t)
		return bytes.Contains(lines, fmt.Appendf(nil, "{\"seq\":%d,", last))
	}
}

func syslogTo(address net.Addr) *trail.Syslog {
	return &trail.Syslog{URL: &url.URL{Scheme: "tcp", Host: address.String()}, Node: "lyon"}
}

// Rows come to a receiver of syslog in their order and without a gap, also after it was down and after a restart. Some come twice.
func TestCopyToSyslog(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	r := startReceiver(t, "127.0.0.1:0", true)
	address := r.Addr()
	write(t, o, h.writes(9))
	c := startCopying(t, o.Dir, "syslog", syslogTo(address))
	until(t, "10 rows", r.has(t, 10))
	lines, all := r.rows(t)
	if copyOf(t, save(t, lines), 1, 10); all != 10 {
		t.Errorf("%d messages", all)
	}
	// The receiver goes. What is decided meanwhile waits in the files.
	r.end()
	write(t, o, h.writes(300))
	until(t, "a failure", func() bool { return c.Copied().Failing })
	back := startReceiver(t, address.String(), true)
	until(t, "310 rows", back.has(t, 310))
	lines, _ = back.rows(t)
	copyOf(t, save(t, lines), 1, 310) // all of it: nothing said that the first ten had been read
	until(t, "recovery", func() bool { return strings.HasSuffix(c.said(), "recovered") })
	if strings.Count(c.said(), "failed") != 1 {
		t.Error(c.said())
	}
	// A stop that the receiver sees to its end needs no repetition.
	c.end()
	_, before := back.rows(t)
	write(t, o, h.writes(5))
	startCopying(t, o.Dir, "syslog", syslogTo(address))
	until(t, "315 rows", back.has(t, 315))
	lines, all = back.rows(t)
	if copyOf(t, save(t, lines), 1, 315); all != before+5 {
		t.Errorf("%d messages after the restart", all-before)
	}
}

// A receiver that takes nothing holds up nobody: rows go on into the files, and a stop ends.
func TestHungSyslogHoldsUpNobody(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	o.FileBytes, o.TotalBytes = 1<<20, 64<<20
	r := startReceiver(t, "127.0.0.1:0", false)
	c := startCopying(t, o.Dir, "syslog", syslogTo(r.Addr()))
	w := open(t, o)
	began := time.Now()
	for range 20 {
		if _, err := w.Append(h.writes(1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("20,000 rows took %s", took)
	}
	until(t, "the failure is told", func() bool { return c.Copied().Failing })
	if !strings.Contains(c.said(), "i/o timeout") {
		t.Error(c.said())
	}
	sound(t, o.Dir, 1, 20001)
}

// Datagrams: one a row, and what is too long for one goes without its long parts.
func TestCopyInDatagrams(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") //nolint:usetesting // names of sockets are short, and a test's directory is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	local, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		socket net.Conn
		to     url.URL
	}{
		{local, url.URL{Scheme: "unix", Path: path}},
		{udp, url.URL{Scheme: "udp", Host: udp.LocalAddr().String()}},
	} {
		t.Run(x.to.Scheme, func(t *testing.T) {
			defer func() { _ = x.socket.Close() }()
			h, o := newHistory(t), options(t.TempDir())
			h.entry(0, longBulk())
			write(t, o, h.writes(3))
			startCopying(t, o.Dir, "syslog", &trail.Syslog{URL: &x.to, Node: "lyon"})
			checkDatagrams(t, x.socket)
		})
	}
}

// checkDatagrams reads five rows, the second of which is too long.
func checkDatagrams(t *testing.T, socket net.Conn) {
	t.Helper()
	if err := socket.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1<<17)
	for seq := 1; seq <= 5; seq++ {
		n, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		head, text, _ := strings.Cut(string(buffer[:n]), " licet - audit - ")
		if !strings.HasPrefix(head, "<1") || !strings.HasPrefix(text, fmt.Sprintf(`{"seq":%d,`, seq)) || !strings.Contains(text, `"chain":"`) {
			t.Errorf("%.200s", buffer[:n])
		}
		if short := strings.HasSuffix(text, `"row":""}`); short != (seq == 2) || n > 32_000 {
			t.Errorf("row %d: %d bytes, short %v", seq, n, short)
		}
	}
}

// Nobody listens: datagrams are lost, and nothing waits or stops for them.
func TestDatagramsToNobody(t *testing.T) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to := url.URL{Scheme: "udp", Host: socket.LocalAddr().String()}
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	h, o := newHistory(t), options(t.TempDir())
	c := startCopying(t, o.Dir, "syslog", &trail.Syslog{URL: &to, Node: "lyon"})
	until(t, "a failure, as the machine says that nobody listens", func() bool {
		write(t, o, h.writes(1))
		return c.Copied().Failing
	})
	if !strings.Contains(c.said(), "refused") {
		t.Error(c.said())
	}
}
