// Package licet_test holds the repository to its structure: which package may
// import which, how packages are called, and which versions are pinned.
package licet_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/licet/licet"
	otel   = "go.opentelemetry.io/otel"
)

// pure is the part of the standard library that the state machine may use: it knows
// neither the machine that it runs on nor the time (rule D1).
var pure = []string{
	"bufio", "bytes", "cmp", "crypto/ed25519", "crypto/sha256", "crypto/x509", "encoding/base64", "encoding/binary", "encoding/hex",
	"encoding/json", "encoding/pem", "errors", "fmt", "hash/crc32", "io", "iter", "maps", "math", "math/bits", "regexp", "slices", "sort",
	"strconv", "strings", "sync", "time", "unicode", "unicode/utf8",
}

// rule says what a package may import. A name that ends in /... stands for a
// package and all below it.
type rule struct {
	// ours are packages of this module, beside itself and what is below it; reached on any way.
	ours []string
	// others are packages of other modules; nil means any.
	others []string
	// standard are packages of the standard library; nil means any.
	standard []string
	// why is what breaking the rule would cost.
	why string
}

// nothing is a list that allows nothing, where nil would allow anything.
var nothing = []string{}

// rules has a row for each package; a package without one fails the test, so that
// its directions are decided and not found.
var rules = map[string]rule{
	"fsm": {
		ours: []string{"fsm/..."}, others: []string{"google.golang.org/protobuf/...", "github.com/tidwall/btree"}, standard: pure,
		why: "the state machine must compute the same bytes everywhere (rule D1)",
	},
	"fsm/fsmpb": {
		others: []string{"google.golang.org/protobuf/...", "github.com/planetscale/vtprotobuf/protohelpers"},
		why:    "generated messages need nothing but protobuf",
	},
	"fsm/signed": {
		others: nothing, standard: pure,
		why: "applications verify license keys offline with this package and the standard library alone",
	},
	"fsm/subject": {
		ours: []string{"fsm/..."}, others: []string{"google.golang.org/protobuf/..."},
		why: "what rows were about reads the same in the API and in copies, and is read without a node",
	},
	"metrics": {
		ours: []string{"fsm/..."}, others: []string{"github.com/hashicorp/go-metrics", "github.com/prometheus/client_golang/...", "github.com/prometheus/common/expfmt"},
		why: "what is measured is read by all that serve, so that it knows none of them",
	},
	"trail": {
		ours: []string{"fsm/..."}, others: []string{"google.golang.org/protobuf/..."},
		why: "the audit trail is verified offline, without a node",
	},
	"backup": {
		ours: []string{"fsm/..."}, others: nothing,
		why: "a backup is read and verified offline, without a node",
	},
	"cluster": {
		ours: []string{"backup", "fsm/...", "metrics", "transport", "trail", "cluster/clusterpb"},
		why:  "the node knows the state machine and the port, and neither its API nor its configuration",
	},
	"cluster/clusterpb": {
		ours: []string{"fsm/fsmpb"}, others: []string{"google.golang.org/protobuf/...", "google.golang.org/grpc/..."},
		why: "generated messages need nothing but protobuf and gRPC",
	},
	"transport": {
		others: []string{"google.golang.org/grpc/..."},
		why:    "the port carries Raft and RPC without knowing either",
	},
	"api": {
		ours: []string{"fsm/...", "api/apiv1"}, others: []string{
			"github.com/hashicorp/go-hclog", "github.com/hashicorp/golang-lru/v2/simplelru", "github.com/oklog/ulid/v2", "golang.org/x/time/rate", "google.golang.org/protobuf/...",
			otel + "/attribute", otel + "/codes", otel + "/propagation", otel + "/trace",
		},
		why: "the API declares the interface of the node that it needs, so that it can be tested without one",
	},
	"api/apiv1": {
		others: []string{"github.com/oapi-codegen/runtime/...", "github.com/oapi-codegen/nullable"},
		why:    "the client, and so every third party, takes in what the API's types take in",
	},
	"config": {
		others: []string{"github.com/goccy/go-yaml/..."},
		why:    "configuration is a value that packages are given; it knows none of them",
	},
	"client": {
		ours: []string{"api/apiv1", "fsm/signed"}, others: []string{"github.com/oklog/ulid/v2", "golang.org/x/sys/unix"},
		why: "third parties build on the client: it brings no server with it",
	},
	"issuer": {
		ours: []string{"fsm/..."}, others: []string{"github.com/coreos/go-oidc/v3/oidc", "github.com/go-jose/go-jose/v4", "github.com/hashicorp/go-hclog"},
		why: "who somebody is to an issuer is found out without a node, and the interface is told the outcome alone",
	},
	"node": {
		ours: []string{"api/...", "backup", "cluster/...", "fsm/...", "metrics", "trail", "transport"},
		why:  "the interface and the cluster know nothing of each other; this is where they meet",
	},
	"cmd/licet": {
		ours: []string{"api/...", "backup", "client", "cluster/...", "config", "fsm/...", "issuer", "metrics", "node", "trail", "transport"},
		why:  "the program wires the packages together, and no test of theirs",
	},
	"e2e": {
		ours: []string{"api/apiv1", "client", "e2e/history", "fsm/signed"},
		why:  "a black-box test that knew the server's inside would not be one",
	},
	"e2e/history": {
		ours: []string{"fsm/..."}, others: []string{"github.com/anishathalye/porcupine"},
		why: "a history is of what clients were told, wherever: its model is the state machine, and it knows no node",
	},
	"e2e/rules": {
		ours: []string{"fsm/signed"},
		why:  "what scripts say is read without knowing who plays them; the tests that play them may import anything",
	},
	"e2e/sim": {
		ours: nothing, others: nothing,
		why: "a simulation is its tests, which wire nodes together and may import anything",
	},
	"e2e/sim/overlay": {
		ours: nothing, others: nothing,
		why: "the overlay is made before anything of ours is built with it",
	},
}

// vague are names under which anything can be put, and then is.
var vague = []string{"base", "common", "commons", "core", "helper", "helpers", "internal", "lib", "misc", "shared", "types", "util", "utils"}

// pins are the versions that build together and whose behaviour the design relies on.
var pins = map[string]string{
	"github.com/hashicorp/raft":           "v1.7.3",
	"github.com/hashicorp/raft-boltdb/v2": "v2.3.1",
	"github.com/hashicorp/memberlist":     "v0.6.0",
	"github.com/hashicorp/go-metrics":     "v0.6.1",
	"github.com/hashicorp/raft-autopilot": "v0.3.0",
	"go.etcd.io/bbolt":                    "v1.5.0",
	"github.com/urfave/cli/v2":            "v2.27.7",
	"github.com/hashicorp/go-hclog":       "v1.6.3",
}

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Standard   bool
	// Imports are those of its own files; Deps all that these lead to.
	Imports, Deps []string
	// TestImports and XTestImports are those of its tests.
	TestImports, XTestImports []string
	Module                    *struct{ Main bool }
}

// own reports that the package is of this module.
func (p *listed) own() bool { return p.Module != nil && p.Module.Main }

func list(t *testing.T) map[string]*listed {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-json=ImportPath,Standard,Imports,Deps,TestImports,XTestImports,Module", module+"/...")
	var complaints strings.Builder
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	packages := make(map[string]*listed)
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		p := new(listed)
		switch err := decoder.Decode(p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// matches reports that a name stands in a list of names that may end in /...
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(pattern string) bool {
		if parent, all := strings.CutSuffix(pattern, "/..."); all {
			return name == parent || strings.HasPrefix(name, parent+"/")
		}
		return name == pattern
	})
}

// TestImports holds the directions of docs/architecture.md.
func TestImports(t *testing.T) {
	packages := list(t)
	found := 0
	for _, p := range packages {
		if !p.own() || p.ImportPath == module {
			continue
		}
		found++
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if r, ok := rules[name]; ok {
			r.check(t, name, p, packages)
		} else {
			t.Errorf("package %s has no rule: decide what it may import and write it down in imports_test.go and docs/architecture.md", name)
		}
	}
	if found < len(rules) {
		t.Errorf("%d packages found, and %d have rules: a rule without a package holds nothing", found, len(rules))
	}
}

func (r rule) check(t *testing.T, name string, p *listed, packages map[string]*listed) {
	t.Helper()
	for _, path := range p.Deps {
		dep := packages[path]
		if !dep.own() {
			continue
		}
		if below := strings.TrimPrefix(path, module+"/"); !matches(r.ours, below) {
			t.Errorf("%s depends on %s%s; of ours it may depend on %v only: %s", name, below, r.through(p, path, packages), r.ours, r.why)
		}
	}
	for _, path := range p.Imports {
		dep := packages[path]
		switch {
		case dep == nil || dep.own():
		case dep.Standard && r.standard != nil && !slices.Contains(r.standard, path):
			t.Errorf("%s imports %s of the standard library; it may import %v only: %s", name, path, r.standard, r.why)
		case !dep.Standard && r.others != nil && !matches(r.others, path):
			t.Errorf("%s imports %s; of other modules it may import %v only: %s", name, path, r.others, r.why)
		}
	}
}

// through names the import that leads to a dependency that the package does not import itself.
func (r rule) through(p *listed, path string, packages map[string]*listed) string {
	if slices.Contains(p.Imports, path) {
		return ""
	}
	for _, direct := range p.Imports {
		if dep := packages[direct]; dep != nil && slices.Contains(dep.Deps, path) {
			return " (through " + direct + ")"
		}
	}
	return ""
}

// TestTestsImports holds e2e, which is tests only, to what a client knows.
func TestTestsImports(t *testing.T) {
	p := list(t)[module+"/e2e"]
	if p == nil {
		t.Fatal("there is no package e2e")
	}
	for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
		if below, ours := strings.CutPrefix(path, module+"/"); ours && !matches(rules["e2e"].ours, below) {
			t.Errorf("a test of e2e imports %s; of ours it may import %v only: %s", below, rules["e2e"].ours, rules["e2e"].why)
		}
	}
}

// TestOnlyClusterKnowsRaft keeps Raft out of reach of whoever is not the node.
func TestOnlyClusterKnowsRaft(t *testing.T) {
	for _, p := range list(t) {
		if !p.own() || p.ImportPath == module+"/cluster" {
			continue
		}
		for _, path := range p.Imports {
			if strings.HasPrefix(path, "github.com/hashicorp/raft") || path == "github.com/hashicorp/memberlist" {
				t.Errorf("%s imports %s; only cluster may", p.ImportPath, path)
			}
		}
	}
}

// TestOnlyTheProgramExportsTraces keeps what sends spans out of all that only makes them: without a tracer they do nothing.
func TestOnlyTheProgramExportsTraces(t *testing.T) {
	for _, p := range list(t) {
		if !p.own() || p.ImportPath == module+"/cmd/licet" {
			continue
		}
		for _, path := range p.Imports {
			if path == otel || strings.HasPrefix(path, otel+"/sdk") || strings.HasPrefix(path, otel+"/exporters") {
				t.Errorf("%s imports %s; only cmd/licet may", p.ImportPath, path)
			}
		}
	}
}

func TestPackageNames(t *testing.T) {
	for _, p := range list(t) {
		if name := path.Base(p.ImportPath); p.own() && slices.Contains(vague, name) {
			t.Errorf("package %s: a package is called after what it holds, and %q holds anything", p.ImportPath, name)
		}
	}
}

// TestPins holds go.mod to the versions that were chosen together. Raft v1.8.0 and
// memberlist v0.7.0 do not build with raft-boltdb v2.3.1.
func TestPins(t *testing.T) {
	file := parse(t, "go.mod")
	if file.Module.Mod.Path != module {
		t.Errorf("the module is %s instead of %s", file.Module.Mod.Path, module)
	}
	have := make(map[string]string)
	for _, r := range file.Require {
		have[r.Mod.Path] = r.Mod.Version
	}
	for path, want := range pins {
		if have[path] != want {
			t.Errorf("go.mod requires %s %s; it is pinned to %s: decide on all pinned modules together, see docs/architecture.md", path, have[path], want)
		}
	}
	if len(file.Replace) > 0 {
		t.Error("go.mod replaces modules, which `go install` of licet does not allow")
	}
}

// TestMetricsTag holds the build tag that sends Raft's metrics to hashicorp/go-metrics: without
// it they go to armon/go-metrics, where nobody reads them.
func TestMetricsTag(t *testing.T) {
	const tag, wrong = "hashicorpmetrics", "github.com/armon/go-metrics"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tag, module+"/cmd/licet").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	if deps := strings.Fields(string(out)); slices.Contains(deps, wrong) {
		t.Errorf("built with the tag %s, the program still contains %s", tag, wrong)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(makefile), "TAGS := "+tag+"\n") {
		t.Errorf("the Makefile does not build with the tag %s", tag)
	}
}
