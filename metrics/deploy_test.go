package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// ofClient are names of Prometheus' client and of Prometheus itself that alerts and dashboard may use.
var ofClient = []string{
	"up", "go_goroutines", "go_memstats_heap_inuse_bytes", "process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes",
}

// checkNames asserts that an expression uses names that nodes export, with labels that these have.
func checkNames(t *testing.T, place, expr string) {
	t.Helper()
	names := regexp.MustCompile(`\b((?:licet|go|process)_[a-z0-9_]+|up)\b(\{[^}]*\})?`).FindAllStringSubmatch(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s: no metric in %q", place, expr)
	}
	for _, m := range names {
		if slices.Contains(ofClient, m[1]) {
			continue
		}
		f, ok := exported(m[1])
		if !ok {
			t.Errorf("%s: no node exports %s", place, m[1])
		}
		for _, l := range regexp.MustCompile(`([a-z_]+)\s*(?:=|!)`).FindAllStringSubmatch(m[2], -1) {
			if known := append([]string{"job", "instance", "le"}, f.Labels...); !slices.Contains(known, l[1]) {
				t.Errorf("%s: %s has no label %s", place, m[1], l[1])
			}
		}
	}
}

// exported finds the family of a series' name.
func exported(name string) (Family, bool) {
	for _, f := range Families() {
		if f.Name == name && f.Type != histogram {
			return f, true
		}
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if f.Type == histogram && f.Name+part == name {
				return f, true
			}
		}
	}
	return Family{}, false
}

type alertRules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr         string
			Labels, Annotations map[string]string
		}
	}
}

// Alerts use what nodes export, say what to do, and are each shown to fire (by promtool: `make prometheus`).
func TestAlerts(t *testing.T) {
	var rules alertRules
	read(t, "../deploy/prometheus/alerts.yaml", func(text []byte) error { return yaml.Unmarshal(text, &rules) })
	var tests struct {
		Tests []struct{ Name string }
	}
	read(t, "../deploy/prometheus/alerts_test.yaml", func(text []byte) error { return yaml.Unmarshal(text, &tests) })
	var shown, names []string
	for _, x := range tests.Tests {
		shown = append(shown, x.Name)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			names = append(names, r.Alert)
			checkNames(t, r.Alert, r.Expr)
			for _, text := range []string{"summary", "description", "next"} {
				if r.Annotations[text] == "" {
					t.Errorf("%s has no %s", r.Alert, text)
				}
			}
			for _, m := range regexp.MustCompile(`licet_[a-z0-9_]+`).FindAllString(r.Annotations["next"], -1) {
				if _, ok := exported(m); !ok && family(Families(), m).Type != histogram {
					t.Errorf("%s: no node exports %s", r.Alert, m)
				}
			}
			if !slices.Contains([]string{"page", "ticket", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
		}
	}
	slices.Sort(shown)
	slices.Sort(names)
	if len(names) < 25 || !slices.Equal(names, shown) {
		t.Errorf("alerts: %v\ntested: %v", names, shown)
	}
}

// Every expression of the dashboard uses what nodes export.
func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Type  string
				Query any
			}
		}
	}
	read(t, "../deploy/grafana/licet.json", func(text []byte) error { return json.Unmarshal(text, &board) })
	panels := 0
	for _, p := range board.Panels {
		if p.Type == "row" {
			continue
		}
		panels++
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, x := range p.Targets {
			checkNames(t, p.Title, x.Expr)
			if !strings.Contains(x.Expr, `job="$job"`) {
				t.Errorf("%s: %q mixes clusters", p.Title, x.Expr)
			}
		}
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			checkNames(t, "variable", q["query"].(string))
		}
	}
	if panels < 30 {
		t.Errorf("%d panels", panels)
	}
}

func read(t *testing.T, file string, parse func([]byte) error) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = parse(text)
	}
	if err != nil {
		t.Fatal(err)
	}
}
