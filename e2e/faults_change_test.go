//go:build linux && faults

package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// TestFaultReplacedNode: a node's host is lost for good, the leader's and then a follower's, and each time a new one with
// another address and a new id takes its place.
func TestFaultReplacedNode(t *testing.T) {
	u := startUnderFaults(t, setup{nodes: fiveNodes, expect: 3})
	for i, which := range []func() *Node{u.c.Leader, u.c.Follower} {
		old, fresh := which(), u.c.nodes[3+i]
		old.Kill()
		u.goesOn()
		u.replaceNode(old, fresh)
	}
	u.end()
}

// replaceNode puts a new node in the place of one that has ended.
func (u *underFaults) replaceNode(old, fresh *Node) {
	u.t.Helper()
	u.c.replaceNode(old, fresh)
	u.before[fresh] = u.before[old]
	u.members(3)
	u.goesOn()
}

// replaceNode puts a new node in the place of one that has ended, as operators do.
func (c *Cluster) replaceNode(old, fresh *Node) {
	c.t.Helper()
	fresh.Start()
	out := c.on(c.Leader(), "cluster", "replace", old.id, fresh.id, "--wait", "80s")
	if !contains(out, fresh.id+" is in the place of "+old.id) {
		c.t.Errorf("replace said %q", out)
	}
	c.WaitReady(fresh)
	// Each node tells of what it has been told.
	eventually(c.t, old.id+" is no member", func() error {
		_, err := c.member(old.id)
		switch {
		case err == nil:
			return errors.New("it is one")
		case errors.Is(err, errNoMember):
			return nil
		}
		return err
	})
}

// TestFaultCertificatesChange: each node gets a new certificate, one after the other, and goes on in the same process. Who connects is
// shown the new one; connections that are up stay.
func TestFaultCertificatesChange(t *testing.T) {
	u := startUnderFaults(t, setup{})
	c := u.c
	up := u.lastingConnections()
	if err := os.Mkdir(c.path("next"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.pem", "ca-key.pem"} {
		c.write("next/"+name, string(c.read(name)))
	}
	for _, n := range c.nodes {
		before := n.shows()
		mustRun(t, "tls", "node", n.id, "--dir", c.path("next"))
		// Key first: half of a pair is refused, and what was in use stays.
		c.replace(n.id+"-key.pem", string(c.read("next/"+n.id+"-key.pem")))
		n.reload("not reloaded, what was in use stays in use: node=" + n.id)
		if n.shows() != before {
			t.Errorf("%s shows half of a pair", n.id)
		}
		c.replace(n.id+".pem", string(c.read("next/"+n.id+".pem")))
		n.reload("reloaded: node=" + n.id)
		if n.shows() == before {
			t.Errorf("%s still shows its old certificate", n.id)
		}
		u.goesOn()
	}
	now := u.connections()
	for _, one := range up {
		if !slices.Contains(now, one) {
			t.Errorf("the connection %s was cut", one)
		}
	}
	for _, n := range c.nodes {
		if text := grep(n.log(), "connection refused: "); text != "" {
			t.Errorf("%s refused connections:\n%s", n.id, text)
		}
	}
	u.end()
}

// shows is the serial number of the certificate that the node shows at its port.
func (n *Node) shows() string {
	n.c.t.Helper()
	// Any node's certificate opens the port; whose the other end's is, is what is asked.
	own, err := tls.LoadX509KeyPair(n.c.path("visitor.pem"), n.c.path("visitor-key.pem"))
	if errors.Is(err, os.ErrNotExist) {
		mustRun(n.c.t, "tls", "node", "visitor", "--dir", n.c.dir)
		own, err = tls.LoadX509KeyPair(n.c.path("visitor.pem"), n.c.path("visitor-key.pem"))
	}
	if err != nil {
		n.c.t.Fatal(err)
	}
	// A certificate is looked at, and nothing is sent.
	conn, err := tls.Dial("tcp", n.at(n.port), &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// lastingConnections returns the connections between nodes once none has come or gone for some time: those of nodes that don't know
// each other's ids yet are replaced soon after a start.
func (u *underFaults) lastingConnections() (up []string) {
	u.t.Helper()
	since := time.Now()
	eventually(u.t, "connections last", func() error {
		now := u.connections()
		if !slices.Equal(now, up) || len(now) < len(u.c.nodes) {
			up, since = now, time.Now()
		}
		if age := time.Since(since); age < 3*time.Second {
			return fmt.Errorf("for %s there are %q", age, now)
		}
		return nil
	})
	return up
}

// connections are those between the nodes' ports that are up, by both ends.
func (u *underFaults) connections() (all []string) {
	u.t.Helper()
	const established = "01"
	for _, n := range u.c.nodes {
		table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", n.cmd.Process.Pid))
		if err != nil {
			u.t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			// Those that others made to this node; each is in the other's table, too.
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != established || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n.port)) {
				continue
			}
			for _, m := range u.c.nodes {
				if strings.HasPrefix(f[2], hexAddress(u.t, m.host.address)) {
					all = append(all, m.id+" "+f[2]+" to "+n.id)
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// hexAddress is an IPv4 address as the kernel's tables have it on a little-endian machine.
func hexAddress(t testing.TB, address string) string {
	t.Helper()
	parts := strings.Split(address, ".")
	slices.Reverse(parts)
	text := ""
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%02X", n)
	}
	return text
}

// TestFaultGossipKeyChanges: the key of gossip is rotated while all are there, while a node is down, and while a site is
// cut off. Who missed it gets it when it is back.
func TestFaultGossipKeyChanges(t *testing.T) {
	u := startUnderFaults(t, setup{})
	u.c.rotateUnderLoad(u.load)
	u.goesOn()
	cut := u.c.Follower()
	before := u.c.sameGossipKey()
	u.lose(u.isolated(cut, allTraffic)...)
	u.refuses(cut)
	if out := u.c.on(u.leaderBut(cut), "gossip", "key", "rotate"); !contains(out, cut.id+" was not reached") {
		t.Errorf("the command does not say that %s is cut off: %s", cut.id, out)
	}
	u.goesOn()
	u.heal()
	u.c.WaitReady(cut)
	if after := u.c.sameGossipKey(); after == before {
		t.Errorf("the key is still %s", after)
	}
	u.members(len(u.c.nodes))
	u.end()
}

// leaderBut returns the node that leads, once it is another one.
func (u *underFaults) leaderBut(cut *Node) (leader *Node) {
	u.t.Helper()
	eventually(u.t, "another node leads", func() error {
		for _, n := range u.c.nodes {
			if s, err := n.status(); err == nil && n != cut && s.Role == apiv1.RoleLeader && s.Ready {
				leader = n
				return nil
			}
		}
		return errors.New("none does")
	})
	return leader
}
