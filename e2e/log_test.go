package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// TestLogs: a start, ordinary work and a stop leave no error in the log, and no
// secret in it at any time.
func TestLogs(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{set: map[string]string{"log.level": "trace"}})
	c.putContract("load", 10)
	a, err := c.http.CreateInstance(t.Context(), "load", "one", apiv1.Quantities{"primary": 3})
	if err != nil {
		t.Fatal(err)
	}
	key := a.Value.Key
	if _, err := c.http.Activate(t.Context(), key, nil); err != nil {
		t.Fatal(err)
	}
	made, err := c.http.CreateToken(t.Context(), apiv1.TokenCreation{Name: "logged", Role: apiv1.AccessRoleOperator})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if r := mustAsk(t, "GET", n.URL()+"/v1/status", "", "Authorization: Bearer "+made.Value.Token); r.status != 200 {
			t.Errorf("%s: the new token is answered %s", n.id, r)
		}
	}
	if r := mustAsk(t, "GET", c.nodes[0].URL()+"/v1/status", "", "Authorization: Bearer not-"+token); r.code() != apiv1.CodeUnauthorized {
		t.Errorf("a wrong token is answered %s", r)
	}
	c.Settled()
	// Whom others miss is an error to them, so only what is written before the first stop counts, and all of the first to stop.
	first := c.Follower()
	clean := map[*Node]string{}
	for _, n := range c.nodes {
		clean[n] = n.log()
	}
	first.Stop()
	clean[first] = first.log()
	for _, n := range c.up() {
		n.Stop()
	}
	secrets := map[string]string{"the operator's token": token, "an API token": made.Value.Token, "its secret": made.Value.Token[10:40], "the license key": key, "the key of gossip": c.secret("gossip.key")}
	for _, name := range []string{"vendor.key", "ca-key.pem", "bordeaux-key.pem", "bordeaux/signing.key"} {
		secrets[name] = c.secret(name)
	}
	for _, n := range c.nodes {
		for _, line := range strings.Split(clean[n], "\n") {
			if strings.Contains(line, "[ERROR]") {
				t.Errorf("%s: %s", n.id, line)
			}
		}
		log := n.log()
		for what, secret := range secrets {
			if strings.Contains(log, secret) {
				t.Errorf("the log of %s has %s", n.id, what)
			}
		}
		if !strings.Contains(log, "started") || !strings.Contains(log, "stopped") {
			t.Errorf("the log of %s tells of no start and stop", n.id)
		}
	}
}

// secret is what a file hides: its longest line, which of a PEM file is the key.
func (c *Cluster) secret(name string) string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	longest := ""
	for _, line := range strings.Split(string(text), "\n") {
		if len(line) > len(longest) && !strings.HasPrefix(line, "-----") {
			longest = line
		}
	}
	if len(longest) < 16 {
		c.t.Fatalf("%s has no line that is long enough to be a secret", name)
	}
	return longest
}
