package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// TestEverythingIsReplacedUnderLoad: the authority, all certificates and the gossip key of a
// running cluster, one node after the other; a broken certificate changes nothing; and what
// writers were told stays true. No writer sees an error.
func TestEverythingIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 4, true)
	defer l.stop()
	l.waitAcknowledged(50)
	initTLS(t, c.path("next"), sites...)
	both := string(c.read("ca.pem")) + string(c.read("next/ca.pem"))
	for _, authorities := range []string{both, string(c.read("next/ca.pem"))} {
		c.replace("ca.pem", authorities)
		for _, n := range c.nodes {
			n.reload("reloaded: node=" + n.id)
		}
		l.waitAcknowledged(50)
		if authorities != both {
			break
		}
		for _, n := range c.nodes {
			old := string(c.read(n.id + ".pem"))
			c.replace(n.id+".pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
			n.reload("[ERROR] not reloaded, what was in use stays in use: node=" + n.id)
			c.replace(n.id+".pem", string(c.read("next/"+n.id+".pem")))
			// Certificate and key belong together, so half of a pair is refused as well.
			n.reload("[ERROR] not reloaded, what was in use stays in use: node=" + n.id)
			c.replace(n.id+"-key.pem", string(c.read("next/"+n.id+"-key.pem")))
			n.reload("reloaded: node=" + n.id)
			if old == string(c.read(n.id+".pem")) {
				t.Fatal("nothing was replaced")
			}
			l.waitAcknowledged(50)
		}
	}
	c.rotateUnderLoad(l)
	// Each has to find the others anew, with nothing of what it was started with the first time.
	for _, n := range c.nodes {
		n.Stop()
		l.waitAcknowledged(50)
		n.Start()
		c.WaitReady(n)
	}
	c.sameGossipKey()
	entries := l.stop()
	for _, w := range entries {
		if w.err != nil {
			t.Errorf("write %s: %v", w.id, w.err)
		}
	}
	l.check(entries)
	c.Settled()
	for _, n := range c.nodes {
		if strings.Contains(n.log(), "connection refused: ") {
			t.Errorf("%s refused a connection:\n%s", n.id, grep(n.log(), "connection refused: "))
		}
	}
}

// rotateUnderLoad rotates the gossip key while all are up, and while one is down.
func (c *Cluster) rotateUnderLoad(l *load) {
	t := c.t
	t.Helper()
	first := c.sameGossipKey()
	out := c.on(c.Follower(), "gossip", "key", "rotate")
	second := c.sameGossipKey()
	if second == first || !strings.Contains(out, second) || !strings.Contains(out, "bordeaux, lyon, paris") {
		t.Errorf("the key was %s and is %s; the command says %s", first, second, out)
	}
	l.waitAcknowledged(50)
	down := c.Follower()
	down.Stop()
	out = c.on(c.Leader(), "gossip", "key", "rotate")
	if !strings.Contains(out, down.id+" was not reached") {
		t.Errorf("the command does not say that %s is down: %s", down.id, out)
	}
	down.Start()
	c.WaitReady(down)
	if third := c.sameGossipKey(); third == second || !strings.Contains(out, third) {
		t.Errorf("the key was %s and is %s; the command says %s", second, third, out)
	}
	l.waitAcknowledged(50)
	for _, n := range c.nodes {
		info, err := os.Stat(c.path(n.id + "/gossip.keys"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
}

// sameGossipKey waits until all nodes have one key, the same.
func (c *Cluster) sameGossipKey() (key string) {
	c.t.Helper()
	eventually(c.t, "one gossip key on all nodes", func() error {
		var list apiv1.GossipKeyList
		out := c.on(c.Leader(), "gossip", "key", "show", "-o", "json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		key = list.Members[0].Key
		for _, m := range list.Members {
			if !m.Answers || m.Key != key || m.Other != "" {
				return errors.New(out)
			}
		}
		return nil
	})
	return key
}

// reload has the node read its certificates anew, and waits for what it says of that.
func (n *Node) reload(says string) {
	n.c.t.Helper()
	from := len(n.log())
	n.must(syscall.SIGHUP)
	n.WaitLog(from, says)
}

func (c *Cluster) read(name string) []byte {
	c.t.Helper()
	text, err := os.ReadFile(c.path(name))
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// replace puts a file into place at once, as tools that renew certificates do.
func (c *Cluster) replace(name, text string) {
	c.t.Helper()
	if err := os.Rename(c.write("fresh", text), c.path(name)); err != nil {
		c.t.Fatal(err)
	}
}

func grep(text, part string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

// TestDevelopmentClusterIsSecured: `licet dev` makes certificates and a gossip key on the
// fly, and goes on with them after a stop, also when the key was rotated.
func TestDevelopmentClusterIsSecured(t *testing.T) {
	t.Parallel()
	dir, base := filepath.Join(clusterDir(t), "dev"), freeBase(t)
	for _, rotate := range []bool{true, false} {
		var out, errs lockedBuffer
		cmd := exec.Command(program, "dev", "--dir", dir, "--base-port", strconv.Itoa(base))
		cmd.Stdout, cmd.Stderr = &out, &errs
		p, err := start("licet dev", cmd)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the development cluster is up", func() error {
			if text := out.String(); !strings.Contains(text, "Ctrl-C") || !p.alive() {
				return fmt.Errorf("it says %s%s", text, errs.String())
			}
			return nil
		})
		env := []string{"LICET_TOKEN_FILE=" + filepath.Join(dir, "token"), "LICET_ENDPOINTS=http://" + loopback(base)}
		if rotate {
			if code, out, errs := runLicet(t, env, "gossip", "key", "rotate"); code != 0 {
				t.Fatalf("exit code %d: %s%s", code, out, errs)
			}
		}
		eventually(t, "one rotated key", func() error {
			code, out, errs := runLicet(t, env, "gossip", "key", "show")
			if code != 0 || !strings.Contains(out, "All members that answer have the same key.") || strings.Count(out, " 3\n") != 3 {
				return fmt.Errorf("exit code %d: %s%s", code, out, errs)
			}
			return nil
		})
		if err := p.signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if code := p.exitCode(); code != 0 {
			t.Errorf("exit code %d: %s", code, errs.String())
		}
	}
	for _, secret := range []string{"gossip.key", "ca-key.pem", "bordeaux-key.pem", "token", "lyon/gossip.keys"} {
		if info, err := os.Stat(filepath.Join(dir, secret)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", secret, info, err)
		}
	}
}

// freeBase is a port of which those that a development cluster takes are free.
func freeBase(t *testing.T) int {
	t.Helper()
	for range 50 {
		base := 20000 + rand.IntN(10000)
		free := true
		for _, offset := range []int{0, 1, 2, 100, 101, 102, 200, 201, 202} {
			l, err := net.Listen("tcp", loopback(base+offset))
			if err != nil {
				free = false
				break
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// lockedBuffer is a process's output while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
