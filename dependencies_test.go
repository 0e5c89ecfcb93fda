package licet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// rows returns the first column of the table under a heading of docs/dependencies.md.
func rows(t *testing.T, heading string) (list []string) {
	t.Helper()
	text, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile(`(?m)^\| ([\w.-]+\.\w+/[\w./-]+) \| \S.* \|$`).FindAllStringSubmatch(section, -1) {
		list = append(list, m[1])
	}
	if len(list) == 0 {
		t.Fatalf("docs/dependencies.md has no table under %q", heading)
	}
	return list
}

// same tells which of two lists lacks what.
func same(t *testing.T, heading string, have []string) {
	t.Helper()
	documented := rows(t, heading)
	for _, module := range have {
		if !slices.Contains(documented, module) {
			t.Errorf("docs/dependencies.md, %s: no row says why %s is there", heading, module)
		}
	}
	for i, module := range documented {
		if !slices.Contains(have, module) || slices.Contains(documented[:i], module) {
			t.Errorf("docs/dependencies.md, %s: the row of %s stands for nothing", heading, module)
		}
	}
}

// direct are the modules that go.mod requires, those left out that other modules alone need.
func direct(t *testing.T) (list []string) {
	t.Helper()
	for _, r := range parse(t, "go.mod").Require {
		if !r.Indirect {
			list = append(list, r.Mod.Path)
		}
	}
	return list
}

func parse(t *testing.T, name string) *modfile.File {
	t.Helper()
	text, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse(name, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDependencies holds docs/dependencies.md to what is built.
func TestDependencies(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "hashicorpmetrics",
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", module+"/cmd/licet").Output()
	if err != nil {
		t.Fatal(err)
	}
	built := slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(out)))))
	chosen := func(path string) bool { return slices.Contains(direct(t), path) }
	same(t, "In the program, by choice", slices.DeleteFunc(slices.Clone(built), func(path string) bool { return !chosen(path) }))
	same(t, "In the program, with those", slices.DeleteFunc(slices.Clone(built), chosen))
	same(t, "In tests alone", slices.DeleteFunc(direct(t), func(path string) bool { return slices.Contains(built, path) }))

	var tools []string
	files, err := filepath.Glob("tools/*/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, "tools/go.mod") {
		for _, tool := range parse(t, name).Tool {
			tools = append(tools, tool.Path)
		}
	}
	same(t, "Tools", tools)
}
