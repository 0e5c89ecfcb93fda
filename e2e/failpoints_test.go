//go:build linux && faults

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/gofail/code"
)

// failpointPort is where a node of the build with failpoints takes orders, on the host that it has for itself.
const failpointPort = 17102

// failpoints are those that the code names, by name, with the type of what they can be given. buildFailpoints fills it.
var failpoints = map[string]string{}

// failing is the program with its failpoints; the ordinary one has comments in their place.
var failing = sync.OnceValues(func() (*edition, error) {
	dir, err := os.MkdirTemp(filepath.Dir(program), "failpoints-")
	if err != nil {
		return nil, err
	}
	return buildFailpoints(dir)
})

// buildFailpoints builds the program with the comments that name failpoints made into code, of copies of those files alone.
func buildFailpoints(dir string) (*edition, error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	replaced := map[string]string{}
	for _, of := range []string{"api", "cluster", "trail"} {
		files, err := filepath.Glob(filepath.Join(root, of, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := enable(file, of, dir, replaced); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	if len(failpoints) == 0 {
		return nil, errors.New("the code has no failpoints")
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return nil, err
	}
	overlay, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "licet")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return nil, err
	}
	said, err := exec.Command("go", "build", "-tags", "hashicorpmetrics", "-overlay", overlay, "-o", out, "github.com/licet/licet/cmd/licet").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go build with failpoints: %w\n%s", err, said)
	}
	return &edition{path: out}, nil
}

// enable writes a file anew with its failpoints, and beside it one that declares them, if it has any.
func enable(file, of, dir string, replaced map[string]string) error {
	source, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(source, []byte("// gofail:")) {
		return err
	}
	var text, declared bytes.Buffer
	found, err := code.ToFailpoints(&text, bytes.NewReader(source))
	if err == nil {
		err = code.NewBinding(of, found).Write(&declared)
	}
	if err != nil {
		return err
	}
	for _, point := range found {
		if _, twice := failpoints[point.Name()]; twice {
			return fmt.Errorf("there are two failpoints %s", point.Name())
		}
		// What it can be given stands in the comment alone.
		_, rest, _ := strings.Cut(string(source), "// gofail: var "+point.Name()+" ")
		kind, _, _ := strings.Cut(rest, "\n")
		failpoints[point.Name()] = kind
	}
	name := of + "-" + strings.TrimSuffix(filepath.Base(file), ".go")
	for suffix, text := range map[string][]byte{".go": text.Bytes(), ".fail.go": declared.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name+suffix), text, 0o600); err != nil {
			return err
		}
		replaced[strings.TrimSuffix(file, ".go")+suffix] = filepath.Join(dir, name+suffix)
	}
	return nil
}

// passing has every failpoint do nothing but count how often it is passed.
func passing() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(failpoints)) {
		all = append(all, name+"=off")
	}
	return strings.Join(all, ";")
}

// failpoint sends an order to the node's failpoints.
func (n *Node) failpoint(method, path, terms string) (string, error) {
	r, err := ask(method, fmt.Sprintf("http://%s:%d/%s", n.host.address, failpointPort, path), terms)
	if err == nil && r.status >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s", method, path, r)
	}
	return r.body, err
}

// arm has a failpoint of a node that runs do something from now on, in gofail's words; "off" ends it.
func (n *Node) arm(name, terms string) error {
	_, err := n.failpoint("PUT", name, terms)
	return err
}

// passed is how often a failpoint has done what it was told last.
func (n *Node) passed(name string) (int, error) {
	text, err := n.failpoint("GET", name+"/count", "")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// passes counts for the whole run of tests: how often each failpoint was passed, and how often it did something.
type passes struct {
	passed, acted map[string]int
}

// gather adds what a node's failpoints have counted. It is called before a process ends, and what was passed between is not counted.
func (p *passes) gather(n *Node) {
	for name := range failpoints {
		if count, err := n.passed(name); err == nil {
			p.passed[name] += count
		}
	}
}

// unseen are the failpoints that were never passed.
func (p *passes) unseen() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(failpoints)) {
		if p.passed[name]+p.acted[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

func (p *passes) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(failpoints)) {
		fmt.Fprintf(&text, "  %-22s passed %8d times, did something %4d times\n", name, p.passed[name], p.acted[name])
	}
	return text.String()
}

// TestFaultOrdinaryBuildHasNoFailpoints: what is installed takes no orders.
func TestFaultOrdinaryBuildHasNoFailpoints(t *testing.T) {
	with, err := failing()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{program: false, with.path: true} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(text, []byte("GOFAIL_FAILPOINTS")); got != want {
			t.Errorf("%s has failpoints: %v", path, got)
		}
	}
	// Nobody has left what gofail makes of the comments in the tree.
	err = filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".fail.go") {
			t.Errorf("%s is made by gofail", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
