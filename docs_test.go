package licet_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNamesWhatExists keeps docs/architecture.md true where a machine can tell:
// files that it names are there, and so is what it says is in them.
func TestArchitectureNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("(?:`([A-Za-z]+)`(?: in |, ))?`([a-z.][a-z0-9/_.-]*(?:\\.go|\\.yaml|/formats|/golden))`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 20 {
		t.Fatalf("%d files found: the pattern no longer fits the text", len(named))
	}
	for _, m := range named {
		content, err := os.ReadFile(m[2])
		if info, statErr := os.Stat(m[2]); statErr == nil && info.IsDir() {
			continue
		}
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(content), m[1]) {
			t.Errorf("%s has no %s", m[2], m[1])
		}
	}
}

// TestDecisionRecords holds docs/adr to its own first record.
func TestDecisionRecords(t *testing.T) {
	entries, err := os.ReadDir("docs/adr")
	if err != nil {
		t.Fatal(err)
	}
	for n, e := range entries {
		text, err := os.ReadFile("docs/adr/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^\d{4}-[a-z0-9-]+\.md$`).MatchString(e.Name()) || strings.TrimLeft(e.Name()[:4], "0") != strings.Split(strings.TrimPrefix(string(text), "# "), ".")[0] {
			t.Errorf("docs/adr/%s: record %d is named otherwise than NNNN-title.md, or its heading has another number", e.Name(), n+1)
		}
		for _, part := range []string{"\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("docs/adr/%s has no %q", e.Name(), strings.TrimSpace(part))
			}
		}
		if lines := strings.Count(string(text), "\n"); lines > 40 {
			t.Errorf("docs/adr/%s has %d lines; 40 are enough for a record", e.Name(), lines)
		}
	}
}

// TestSecurityNamesTests holds docs/security.md to tests that exist.
func TestSecurityNamesTests(t *testing.T) {
	text, err := os.ReadFile("docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	err = filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		code.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 40 {
		t.Fatalf("%d tests found: the pattern no longer fits the text", len(named))
	}
	for _, m := range named {
		if !strings.Contains(code.String(), "\nfunc "+m[1]+"(t *testing.T)") {
			t.Errorf("docs/security.md names %s, which does not exist", m[1])
		}
	}
}
