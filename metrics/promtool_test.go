//go:build promtool

package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promtool of Debian's package prometheus holds what Prometheus and Grafana are given: see `make prometheus`.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "promtool", args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolRules(t *testing.T) {
	promtool(t, "../deploy/prometheus", "check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")
	promtool(t, "../deploy/prometheus", "test", "rules", "alerts_test.yaml")
}

// The example is checked beside a token, which it names and does not come with.
func TestPromtoolConfig(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"scrape.yaml", "alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join("../deploy/prometheus", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "metrics.token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "config", "scrape.yaml")
}

// The dashboard's expressions are PromQL once Grafana has filled its variables in.
func TestPromtoolDashboard(t *testing.T) {
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	read(t, "../deploy/grafana/licet.json", func(text []byte) error { return json.Unmarshal(text, &board) })
	rules := "groups:\n  - name: dashboard\n    rules:\n"
	for _, p := range board.Panels {
		for _, x := range p.Targets {
			expr, err := json.Marshal(strings.NewReplacer("$__rate_interval", "1m", "$job", "licet", "$pool", "design").Replace(x.Expr))
			if err != nil {
				t.Fatal(err)
			}
			rules += "      - {record: dashboard, expr: " + string(expr) + "}\n"
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, ".", "check", "rules", "--lint=none", file)
}

// What a node serves is the text format, and named as Prometheus wants it.
func TestPromtoolMetrics(t *testing.T) {
	m := newMachine(t)
	x := New()
	x.Watch(func() Sample { return Sample{View: m.state.View(), Peers: []Peer{{ID: "lyon", Reachable: true}}} })
	x.Decided("checkout", "ok")
	x.Began()
	x.Served("GET /v1/status", 200, 1)
	c := exec.CommandContext(t.Context(), "promtool", "check", "metrics")
	c.Stdin = strings.NewReader(textOf(t, x))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
