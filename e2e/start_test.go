package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusedStart: what would harm a cluster does not start, and says why.
func TestRefusedStart(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 10)
	paris := c.Node("paris")
	elsewhere := func(set map[string]string) map[string]string {
		ports, err := holdPorts(3)
		if err != nil {
			t.Fatal(err)
		}
		if err := ports.release(); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{
			"node.listen": loopback(ports.ports[0]), "http.listen": loopback(ports.ports[1]), "gossip.listen": loopback(ports.ports[2]),
		}
		for key, value := range set {
			all[key] = value
		}
		return all
	}
	refused := func(name string, set map[string]string, reasons ...string) {
		t.Run(name, func(t *testing.T) {
			c.write("other.yaml", paris.config(set))
			text := c.failedStart("other.yaml")
			for _, reason := range reasons {
				if !contains(text, reason) {
					t.Errorf("it does not say %q:\n%s", reason, text)
				}
			}
			if contains(text, "goroutine ") || contains(text, token) {
				t.Errorf("it says too much:\n%s", text)
			}
		})
	}
	refused("second process on a data directory", elsewhere(nil), "paris", "is in use by another process")
	refused("port of the API in use", map[string]string{"node.data_dir": "fresh"}, "http.listen", "address already in use", "next: Another process has that port")
	refused("port of the nodes in use", elsewhereBut(elsewhere(nil), "node.listen", loopback(paris.port), "node.data_dir", "fresh"), "node.listen", "address already in use", "next: Another process has that port")
	refused("port of gossip in use", elsewhereBut(elsewhere(nil), "gossip.listen", loopback(paris.gPort), "node.data_dir", "fresh"), "gossip", "address already in use", "next: Another process has that port")
	refused("no certificate", elsewhere(map[string]string{"tls.cert": "nowhere.pem"}), "nowhere.pem", "no such file", "next: Put the files where")
	refused("another node's certificate", elsewhere(map[string]string{"tls.cert": "lyon.pem", "tls.key": "lyon-key.pem"}), "lyon", "paris")
	initTLSIn(t, c.path("sited"), "--nodes", "paris@quimper")
	refused("certificate for another site", elsewhere(map[string]string{"tls.ca": "sited/ca.pem", "tls.cert": "sited/paris.pem", "tls.key": "sited/paris-key.pem"}), "tls.cert", "certificate is for another site", "wanted site paris", "next: `licet tls check`", "licet-site:quimper")
	public := func(key string) map[string]string {
		set := elsewhere(nil)
		return elsewhereBut(set, key, strings.Replace(set[key], "127.0.0.1", "0.0.0.0", 1), "http.advertise", "http://192.0.2.1:7001", "gossip.advertise", "192.0.2.1:7201")
	}
	refused("API in the clear", public("http.listen"), "http.listen", "tokens must not be sent in the clear", "http.insecure")
	refused("gossip in the clear", elsewhereBut(public("gossip.listen"), "gossip.key_file", `""`), "gossip.listen", "gossip must be encrypted", "gossip.insecure")
	refused("another node's private key", elsewhere(map[string]string{"tls.key": "lyon-key.pem"}), "tls")
	refused("short token", elsewhere(map[string]string{"auth.operator_token_file": c.writeName("short", "abc\n")}), "operator_token_file", "at least 16")

	// A copy of a data directory is refused also while the original is down.
	paris.Kill()
	if err := os.CopyFS(c.path("copy"), os.DirFS(paris.dataDir())); err != nil {
		t.Fatal(err)
	}
	refused("copied data directory", map[string]string{"node.data_dir": "copy"}, "copy of another one")
	refused("data directory of another node", map[string]string{"node.data_dir": c.copyOf("lyon-copy", "lyon")}, "belongs to node", "lyon")
	paris.Start()
	c.WaitReady(paris)
	c.Settled()
}

func elsewhereBut(set map[string]string, pairs ...string) map[string]string {
	for i := 0; i+1 < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	return set
}

func (c *Cluster) writeName(name, text string) string {
	c.t.Helper()
	return filepath.Base(c.write(name, text))
}

// copyOf copies what can be read of a node's data directory while it runs.
func (c *Cluster) copyOf(name, node string) string {
	c.t.Helper()
	if err := os.MkdirAll(c.path(name), 0o700); err != nil {
		c.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(c.Node(node).dataDir(), "identity.json"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(filepath.Join(name, "identity.json"), string(text))
	return name
}

// TestStranger: a node whose certificate another authority issued is kept out, by all
// nodes, and changes nothing.
func TestStranger(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{nodes: []string{"bordeaux", "lyon", "paris", "quimper"}, expect: 3})
	stranger := c.Node("quimper")
	initTLS(t, c.path("foreign"), "quimper")
	c.write("quimper.yaml", stranger.config(map[string]string{
		"tls.ca": "foreign/ca.pem", "tls.cert": "foreign/quimper.pem", "tls.key": "foreign/quimper-key.pem",
	}))
	before := c.Settled()
	stranger.Start()
	for _, n := range c.nodes[:3] {
		n.WaitLog(0, "connection refused")
	}
	s := stranger.mustStatus()
	if s.Ready || s.Cluster != "" || s.State.Index != 0 {
		t.Errorf("the stranger is ready: %v, in cluster %q, at index %d", s.Ready, s.Cluster, s.State.Index)
	}
	stranger.Stop()
	if after := c.Settled(); after.Digest != before.Digest {
		t.Errorf("the state changed from %s to %s", before.Digest, after.Digest)
	}
	if _, err := c.member("quimper"); err == nil {
		t.Error("the stranger is a member")
	}
}
