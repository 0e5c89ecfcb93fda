package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

var badDisasterCalls = map[string][]badCall{
	"backup":          {{2, ""}, {2, "a b"}, {1, "@nowhere"}, {1, "@dir"}, {2, "@nowhere --min-index x"}, {2, "@nowhere --colour"}},
	"restore":         {{2, ""}, {2, "@signed"}, {2, "@nowhere --into x"}, {2, "@dir --into x"}, {3, "@empty --into x"}, {3, "@noise --into x"}, {3, "@big --into x"}, {2, "@noise --into"}, {2, "@noise @noise --into x"}},
	"debug backup":    {{2, ""}, {2, "@nowhere"}, {2, "@dir"}, {3, "@empty"}, {3, "@noise"}, {3, "@big"}, {3, "@signed"}, {2, "@signed @signed"}},
	"debug data":      {{2, ""}, {2, "@nowhere"}, {2, "@noise"}, {2, "@dir"}, {2, "@dir --last x"}, {2, "@dir --last 1001"}, {2, "@dir @dir"}},
	"cluster recover": {{2, ""}, {2, "--config"}, {2, "--config @nowhere"}, {2, "--config @yaml"}, {3, "--config @config"}, {3, "--config @config --accept-loss"}, {2, "--config @config x"}},
}

func init() { maps.Copy(badCalls, badDisasterCalls) }

// fails runs the binary, wants an exit code, and returns what it said.
func (c *Cluster) fails(want int, args ...string) string {
	c.t.Helper()
	code, out, errs := runLicet(c.t, []string{"LICET_ENDPOINTS=" + strings.Join(c.Endpoints(), ","), "LICET_TOKEN_FILE=" + c.path("token")}, args...)
	if code != want {
		c.t.Errorf("licet %s: exit code %d instead of %d\n%s%s", strings.Join(args, " "), code, want, out, errs)
	}
	return out + errs
}

func (c *Cluster) create(names ...string) {
	c.t.Helper()
	for _, name := range names {
		if _, err := c.http.CreateInstance(c.t.Context(), "load", name, apiv1.Quantities{"primary": 1}); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *Cluster) wantInstances(names ...string) {
	c.t.Helper()
	var have []string
	for _, i := range c.instances("load") {
		have = append(have, i.Name)
	}
	if !slices.Equal(have, names) {
		c.t.Errorf("the instances are %q instead of %q", have, names)
	}
}

// change alters the file at a place.
func change(t *testing.T, name string, at func(size int) int) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text[at(len(text))] ^= 0x20
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// newestSnapshot damages all others, so that no older one can stand in for it.
func newestSnapshot(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, name := range files[1:] {
		change(t, name, func(size int) int { return size / 2 })
	}
	return files[0]
}

// TestDisaster: a backup is taken, looked into and restored; what is damaged is refused; nodes are looked into when they
// are stopped; and the cluster comes back from one survivor.
func TestDisaster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{nodes: []string{"bordeaux", "lyon", "paris", "quimper", "rennes"}, expect: 3, set: snapshots})
	c.putContract("load", 1000)
	c.create("first", "second")
	state := c.Settled()
	file, public := c.path("cluster.backup"), c.path("cluster.pub")
	follower := c.Follower()
	id := follower.mustStatus().Cluster
	c.on(follower, "keys", "--out", public)
	if out := c.on(follower, "backup", file); !strings.Contains(out, id) || !strings.Contains(out, state.Digest) {
		t.Errorf("licet backup said %s", out)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", info, err)
	}
	if left, _ := filepath.Glob(c.path(".cluster.backup*")); len(left) > 0 {
		t.Errorf("files are left: %q", left)
	}
	out := mustRun(t, "debug", "backup", file, "--public-key", public)
	for _, want := range []string{id, state.Digest, "by one of the keys named", "instances         2"} {
		if !strings.Contains(out, want) {
			t.Errorf("licet debug backup does not say %q:\n%s", want, out)
		}
	}
	if key, err := os.ReadFile(filepath.Join(follower.dataDir(), "signing.key")); err != nil {
		t.Error(err)
	} else if text, _ := os.ReadFile(file); strings.Contains(string(text), strings.Split(string(key), "\n")[1]) {
		t.Error("the backup holds the signing key")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	short := c.write("short.backup", string(text[:len(text)/2]))
	altered := c.write("altered.backup", string(text))
	change(t, altered, func(size int) int { return size / 2 })
	for _, bad := range []string{short, altered} {
		c.fails(3, "debug", "backup", bad)
		c.fails(3, "restore", bad, "--into", id)
	}
	c.fails(3, "restore", file, "--into", "another")
	c.fails(3, "restore", file, "--into", id, "--from", "another")
	c.fails(3, "restore", file, "--into", id, "--public-key", c.path("vendor.pub"))
	c.wantInstances("first", "second")

	c.create("third")
	c.wantInstances("first", "second", "third")
	before := c.Settled()
	mustRun(t, "restore", file, "--into", id, "--public-key", public, "--endpoints", strings.Join(c.Endpoints(), ","), "--token-file", c.path("token"))
	c.wantInstances("first", "second")
	if after := c.Settled(); after.Index <= before.Index || after.Clock.Before(before.Clock) {
		t.Errorf("after %+v came %+v", before, after)
	}
	if out := c.on(follower, "audit", "list", "--kind", "restore_backup"); !strings.Contains(out, "operator") {
		t.Errorf("the audit trail does not tell of the restoration:\n%s", out)
	}
	c.create("fourth")
	state = c.Settled()

	bordeaux, lyon, paris := c.Node("bordeaux"), c.Node("lyon"), c.Node("paris")
	if out := c.fails(3, "debug", "data", bordeaux.dataDir()); !strings.Contains(out, "a running node uses it") {
		t.Errorf("of a running node: %s", out)
	}
	c.fails(3, "cluster", "recover", "--config", c.path("bordeaux.yaml"), "--accept-loss")
	// A graceful stop would write: whoever leads next opens its term.
	c.Kill(c.founders()...)
	for _, n := range c.founders() {
		out := mustRun(t, "debug", "data", n.dataDir(), "--last", "3")
		if !strings.Contains(out, state.Digest) || !strings.Contains(out, "instances         3") || !strings.Contains(out, "create_instance by operator") {
			t.Errorf("of %s:\n%s", n.id, out)
		}
	}

	if out := c.fails(3, "cluster", "recover", "--config", c.path("bordeaux.yaml")); !strings.Contains(out, "lyon and paris") || !strings.Contains(out, "are lost") {
		t.Errorf("licet cluster recover does not say what may be lost:\n%s", out)
	}
	// A node whose files are damaged says so in a line, and does not start.
	change(t, newestSnapshot(t, lyon.dataDir()), func(size int) int { return size / 2 })
	c.refusedStart("lyon.yaml", "a snapshot could not be read", "wipe the data directory and join again under a new node id")
	if err := os.Truncate(filepath.Join(paris.dataDir(), "raft.db"), 20_000); err != nil {
		t.Fatal(err)
	}
	c.refusedStart("paris.yaml", "raft.db: it is damaged", "wipe the data directory and join again under a new node id")

	mustRun(t, "cluster", "recover", "--config", c.path("bordeaux.yaml"), "--accept-loss")
	bordeaux.Start()
	c.WaitReady(bordeaux)
	c.wantInstances("first", "second", "fourth")
	lyon.wipe()
	paris.wipe()
	for _, id := range []string{"quimper", "rennes"} {
		c.Node(id).Start()
		eventually(t, id+" is a voter", func() error {
			m, err := c.member(id)
			if err == nil && !m.Voter {
				err = errNoMember
			}
			return err
		})
	}
	c.create("fifth")
	c.Settled()
	c.wantInstances("first", "second", "fourth", "fifth")
}
