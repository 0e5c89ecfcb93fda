package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// runTTL is the TTL of the pool's leases: the shortest that there is.
const runTTL = 10 * time.Second

// office is a cluster with a pool of one seat.
type office struct {
	*Cluster
	endpoints []string
}

func startOffice(t *testing.T) *office {
	t.Helper()
	c := startCluster(t, setup{})
	ctx := t.Context()
	contract := c.sign(contractYAML("office", 1, 1) + "products:\n  cad: {model: floating, quantity: 1}\n")
	_, err := c.http.PutContract(ctx, strings.TrimSpace(contract))
	if err == nil {
		_, err = c.http.CreatePool(ctx, apiv1.PoolDefinition{
			Name: "office", Contract: "office", Size: 1, Products: map[string]apiv1.PoolProduct{"cad": {}}, QueueLimit: 9,
			TTLMin: uint32(runTTL / time.Second), TTLDefault: uint32(runTTL / time.Second), TicketTTL: 30,
		})
	}
	if err == nil {
		_, err = c.http.ActivatePool(ctx, "office")
	}
	if err != nil {
		t.Fatal(err)
	}
	return &office{c, c.Endpoints()}
}

// holder is a licet run.
type holder struct {
	*process
	o *office
	// dir has what the program writes, errs what licet run says.
	dir, errs string
}

// run starts licet run with a shell that writes "started", with its process id, does what the script says, and the flags.
func (o *office) run(user, script string, flags ...string) *holder {
	o.t.Helper()
	dir, err := os.MkdirTemp(o.dir, user+"-")
	if err != nil {
		o.t.Fatal(err)
	}
	h := &holder{o: o, dir: dir, errs: filepath.Join(dir, "stderr")}
	errs, err := os.Create(h.errs)
	if err != nil {
		o.t.Fatal(err)
	}
	defer errs.Close()
	args := append([]string{"run", "office", "cad", "--user", user, "--client", "ws"}, flags...)
	cmd := exec.CommandContext(context.Background(), program, append(args, "--", "sh", "-c", "echo $$ > started.new; mv started.new started; "+script)...)
	cmd.Dir, cmd.Stderr = dir, errs
	h.process, err = start("licet run for "+user, cmd, "LICET_ENDPOINTS="+strings.Join(o.endpoints, ","), "LICET_TOKEN_FILE="+o.path("token"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(h.kill)
	return h
}

// said waits for a file that the program writes, and returns what is in it.
func (h *holder) said(name string) string {
	h.o.t.Helper()
	var text []byte
	eventually(h.o.t, "the program writes "+name, func() error {
		var err error
		if text, err = os.ReadFile(filepath.Join(h.dir, name)); err != nil && !h.alive() {
			err = errors.Join(err, errors.New(h.stderr()))
		}
		return err
	})
	return strings.TrimSpace(string(text))
}

func (h *holder) stderr() string {
	text, err := os.ReadFile(h.errs)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// pid is the program's.
func (h *holder) pid() int {
	h.o.t.Helper()
	pid, err := strconv.Atoi(h.said("started"))
	if err != nil {
		h.o.t.Fatal(err)
	}
	return pid
}

// ends waits for licet run and returns its exit code.
func (h *holder) ends() int {
	h.o.t.Helper()
	select {
	case <-h.ended:
	case <-time.After(patience):
		h.o.t.Fatalf("licet run has not ended: %s", h.stderr())
	}
	return h.exitCode()
}

// leases are those of the pool.
func (o *office) leases() []apiv1.Lease {
	o.t.Helper()
	a, err := o.http.Leases(context.Background(), client.LeasePage{Pool: "office"})
	if err != nil {
		o.t.Fatal(err)
	}
	return a.Value.Leases
}

// mustFree sees that the seat is free some time after a moment at the latest.
func (o *office) mustFree(since time.Time, within time.Duration, what string) {
	o.t.Helper()
	err := poll(within-time.Since(since), func() error {
		if n := len(o.leases()); n != 0 {
			return fmt.Errorf("%d leases", n)
		}
		return nil
	})
	if err != nil {
		o.t.Fatalf("%s: the seat is not free after %s: %v", what, time.Since(since), err)
	}
	o.t.Logf("%s: the seat is free after %s", what, time.Since(since))
}

// mustHold sees that the seat is out.
func (o *office) mustHold(what string) {
	o.t.Helper()
	if n := len(o.leases()); n != 1 {
		o.t.Fatalf("%s: %d leases", what, n)
	}
}

// TestRun: however licet run and its program end, the exit code says it and the seat is free at once.
func TestRun(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	for _, tt := range []struct {
		script string
		want   int
	}{{"exit 0", 0}, {"exit 3", 3}, {"exit 255", 255}, {"kill -KILL $$", 128 + 9}, {"kill -ABRT $$", 128 + 6}} {
		h := o.run("ann", tt.script)
		if got := h.ends(); got != tt.want {
			t.Errorf("%s: exit code %d, want %d: %s", tt.script, got, tt.want, h.stderr())
		}
		// The answer to the return came before the end.
		if n := len(o.leases()); n != 0 || h.stderr() != "" {
			t.Errorf("%s: %d leases afterwards, and %q", tt.script, n, h.stderr())
		}
	}
}

// TestRunPassesSignalsOn: the program gets them and decides itself, and the seat lasts as long as it does.
func TestRunPassesSignalsOn(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	for name, x := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1} {
		h := o.run("ann", "trap 'echo > told' "+name+"; : > ready; until test -e end; do sleep 0.05; done; exit 7")
		h.said("ready")
		if err := h.signal(x); err != nil {
			t.Fatal(err)
		}
		h.said("told")
		o.mustHold("after " + name)
		if err := os.WriteFile(filepath.Join(h.dir, "end"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := h.ends(); got != 7 {
			t.Errorf("%s: exit code %d, want 7: %s", name, got, h.stderr())
		}
		o.mustFree(time.Now(), time.Second, name)
	}
	h := o.run("ann", "exec sleep 600")
	h.pid()
	if err := h.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := h.ends(); got != 128+15 || len(o.leases()) != 0 {
		t.Errorf("exit code %d, want 143; %d leases", got, len(o.leases()))
	}
}

// TestRunIsKilled (K2): nobody can return the seat any more. It is free within its TTL, and the program does not go on without it.
func TestRunIsKilled(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	h := o.run("ann", "exec sleep 600")
	pid := h.pid()
	// It was renewed by then.
	eventually(t, "it is renewed", func() error {
		if l := o.leases(); len(l) != 1 || l[0].Renewals == 0 {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	h.kill()
	killed := time.Now()
	eventually(t, "the program ends", func() error {
		if err := syscall.Kill(pid, 0); err == nil && !zombie(pid) {
			return errors.New("it runs")
		}
		return nil
	})
	o.mustFree(killed, runTTL+time.Second, "KILL")
	if time.Since(killed) < runTTL/3 {
		t.Errorf("it was free after %s, as if somebody had returned it", time.Since(killed))
	}
}

// zombie is a process that has ended and whom nobody has waited for.
func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

// TestRunOutlivesNodes: a node that goes is not noticed, be it the leader or the one that is asked. Killed while it is gone, licet
// run leaves the seat to its TTL as ever.
func TestRunOutlivesNodes(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	h := o.run("ann", "exec sleep 600")
	h.pid()
	leader := o.Leader()
	leader.Kill()
	renewed := func() uint64 {
		if l := o.leases(); len(l) == 1 {
			return l[0].Renewals
		}
		return 0
	}
	for before, n := renewed(), 0; n < 2; n++ {
		eventually(t, "it is renewed", func() error {
			if now := renewed(); now <= before {
				return fmt.Errorf("%d renewals, %d before: %s", now, before, h.stderr())
			}
			return nil
		})
		before = renewed()
	}
	if !h.alive() || h.stderr() != "" {
		t.Fatalf("it has noticed: %s", h.stderr())
	}
	h.kill()
	o.mustFree(time.Now(), runTTL+time.Second, "KILL with a node gone")
}

// TestRunLosesTheNetwork: the program is told before the seat is anybody else's, and ended; with --on-loss warn it goes on.
func TestRunLosesTheNetwork(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.New(io.Discard))
	var proxies []*toxiproxy.Proxy
	direct := o.endpoints
	o.endpoints = nil
	for _, endpoint := range direct {
		proxy := toxiproxy.NewProxy(server, endpoint, "127.0.0.1:0", strings.TrimPrefix(endpoint, "http://"))
		if err := proxy.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Stop)
		proxies = append(proxies, proxy)
		o.endpoints = append(o.endpoints, "http://"+proxy.Listen)
	}
	for _, tt := range []struct {
		name, script string
		flags        []string
		want         int
		says         string
	}{
		{"terminate", "trap 'echo > told; exit 5' TERM; while :; do sleep 0.05; done", nil, 9, "the program was ended"},
		{"warn", "until test -e told; do sleep 0.05; done; exit 5", []string{"--on-loss", "warn"}, 5, "the program goes on"},
	} {
		h := o.run("ann", tt.script, tt.flags...)
		h.pid()
		o.mustHold(tt.name)
		for _, p := range proxies {
			p.Stop()
		}
		cut := time.Now()
		if tt.name == "warn" {
			eventually(t, "it warns", func() error {
				if !strings.Contains(h.stderr(), tt.says) {
					return errors.New(h.stderr())
				}
				return nil
			})
			if err := os.WriteFile(filepath.Join(h.dir, "told"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		} else {
			h.said("told")
		}
		// In time: it is still this one's.
		o.mustHold(tt.name + ", when the program was told")
		o.mustFree(cut, runTTL+time.Second, tt.name)
		if got := h.ends(); got != tt.want || !strings.Contains(h.stderr(), tt.says) {
			t.Errorf("%s: exit code %d, want %d: %s", tt.name, got, tt.want, h.stderr())
		}
		for _, p := range proxies {
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRunWaits (Q1 to Q3): who waits is told where it stands, gets the seat in its turn, and leaves the queue when it is told to end.
func TestRunWaits(t *testing.T) {
	t.Parallel()
	o := startOffice(t)
	first := o.run("ann", "until test -e end; do sleep 0.05; done")
	first.pid()
	if h := o.run("cid", "exit 0", "--wait", "0"); h.ends() != 3 || !strings.Contains(h.stderr(), "licet: ") {
		t.Errorf("exit code %d without a queue: %s", h.exitCode(), h.stderr())
	}
	if h := o.run("cid", "exit 0", "--wait", "1s"); h.ends() != 3 || !strings.Contains(h.stderr(), "there was no seat within 1s") {
		t.Errorf("exit code %d after a second: %s", h.exitCode(), h.stderr())
	}
	second := o.run("bob", "exit 4")
	third := o.run("cid", "exit 0")
	waits := func(h *holder) {
		t.Helper()
		eventually(t, "it waits", func() error {
			if !strings.Contains(h.stderr(), "note: waiting for a seat: position ") {
				return errors.New(h.stderr())
			}
			return nil
		})
	}
	waits(second)
	waits(third)
	if err := third.signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := third.ends(); got != 128+15 {
		t.Errorf("exit code %d of who waits no more: %s", got, third.stderr())
	}
	if a, err := o.http.Tickets(t.Context(), "office", 0, 9); err != nil || len(a.Value.Tickets) != 1 {
		t.Errorf("tickets %+v, %v", a, err)
	}
	if err := os.WriteFile(filepath.Join(first.dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, b := first.ends(), second.ends(); a != 0 || b != 4 {
		t.Errorf("exit codes %d and %d: %s", a, b, second.stderr())
	}
	if n := len(o.leases()); n != 0 {
		t.Errorf("%d leases", n)
	}
}
