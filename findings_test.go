package licet_test

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// findings are the cells of the tables below a heading of docs/findings.md, row by row, without the headings.
func findings(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("docs/findings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/findings.md has no part %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") {
			cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
			for i := range cells {
				// A pattern's bar is not one of the table's.
				cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), `\|`, "|")
			}
			rows = append(rows, cells)
		}
	}
	return slices.DeleteFunc(rows, func(cells []string) bool { return cells[0] == "rule" || cells[0] == "id" })
}

// excuse is where a rule of gosec does not count: in a file with these words, or by .golangci.yml in the paths of a pattern.
type excuse struct{ rule, where, words string }

// documentedExcuses are those of docs/findings.md.
func documentedExcuses(t *testing.T) map[excuse]bool {
	t.Helper()
	list := make(map[excuse]bool)
	for _, cells := range findings(t, "gosec") {
		if len(cells) != 3 || slices.Contains(cells, "") {
			t.Errorf("docs/findings.md: %q has not three cells", cells)
			continue
		}
		if strings.HasPrefix(cells[1], "`") {
			list[excuse{cells[0], strings.Trim(cells[1], "`"), ""}] = true
			continue
		}
		for file := range strings.SplitSeq(cells[2], ", ") {
			list[excuse{cells[0], strings.Trim(file, "`"), cells[1]}] = true
		}
	}
	return list
}

// inlineExcuses are those of the code.
func inlineExcuses(t *testing.T) map[excuse]bool {
	t.Helper()
	list, nolint := make(map[excuse]bool), regexp.MustCompile(`(?m)//nolint:[\w,]*gosec[\w,]*(?: // (G\d{3}): (.+?)\.?)?$`)
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || path == "findings_test.go" {
			return err
		}
		content, err := os.ReadFile(path)
		for _, m := range nolint.FindAllSubmatch(content, -1) {
			list[excuse{string(m[1]), filepath.ToSlash(path), string(m[2])}] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// configuredExcuses are those of .golangci.yml.
func configuredExcuses(t *testing.T) map[excuse]bool {
	t.Helper()
	text, err := os.ReadFile(".golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Linters struct {
			Enable   []string
			Settings struct {
				Gosec any
			}
			Exclusions struct {
				Presets []string
				Paths   []string
				Rules   []struct {
					Linters          []string
					Text, Path       string
					PathExcept       string `yaml:"path-except"`
					Source, Severity string
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	x := c.Linters.Exclusions
	if !slices.Contains(c.Linters.Enable, "gosec") || c.Linters.Settings.Gosec != nil || len(x.Presets)+len(x.Paths) > 0 {
		t.Error(".golangci.yml: gosec is to be on, without settings, presets or excluded paths: excuse it by a rule with a path")
	}
	list := make(map[excuse]bool)
	for _, r := range x.Rules {
		switch {
		case len(r.Linters) > 0 && !slices.Contains(r.Linters, "gosec"):
		case r.Text == "":
			list[excuse{"all", r.Path, ""}] = true
		default:
			list[excuse{r.Text, r.Path, ""}] = true
		}
	}
	return list
}

// Each finding of gosec that is not repaired has its line in docs/findings.md, and each line its finding.
func TestFindings(t *testing.T) {
	documented, excused := documentedExcuses(t), inlineExcuses(t)
	maps.Copy(excused, configuredExcuses(t))
	if len(excused) < 40 {
		t.Fatalf("%d excuses found: the pattern no longer fits the code", len(excused))
	}
	for e := range excused {
		if !documented[e] {
			t.Errorf("docs/findings.md has no line for %+v", e)
		}
	}
	for e := range documented {
		if !excused[e] {
			t.Errorf("docs/findings.md has %+v, which is excused nowhere", e)
		}
	}
}

// vulnerability is how govulncheck's text begins each of its findings.
var vulnerability = regexp.MustCompile(`(?m)^Vulnerability #\d+: (\S+)$`)

// unanswered are the vulnerabilities of govulncheck's output that are not accepted.
func unanswered(output []byte, accepted [][]string) (ids []string) {
	for _, m := range vulnerability.FindAllSubmatch(bytes.ReplaceAll(output, []byte("\r\n"), []byte("\n")), -1) {
		id := string(m[1])
		if !slices.ContainsFunc(accepted, func(cells []string) bool { return len(cells) == 2 && cells[0] == id && cells[1] != "" }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// What is accepted passes, and nothing else. The output is made after govulncheck's own documentation.
func TestUnansweredVulnerabilities(t *testing.T) {
	output, err := os.ReadFile("testdata/govulncheck.txt")
	if err != nil {
		t.Fatal(err)
	}
	one, other := []string{"GO-2021-0113", "no tag is parsed"}, []string{"GO-2023-1571", "HTTP/2 is off"}
	for _, x := range []struct {
		accepted [][]string
		want     []string
	}{
		{nil, []string{"GO-2023-1571", "GO-2021-0113"}},
		{[][]string{one}, []string{"GO-2023-1571"}},
		{[][]string{one, other}, nil},
		{[][]string{other, {"GO-2021-0113"}}, []string{"GO-2021-0113"}},
		{[][]string{other, {"GO-2021-0113", ""}}, []string{"GO-2021-0113"}},
		{[][]string{other, {"GO-2021-011", "another"}}, []string{"GO-2021-0113"}},
	} {
		if got := unanswered(output, x.accepted); !slices.Equal(got, x.want) {
			t.Errorf("%q: %q instead of %q", x.accepted, got, x.want)
		}
	}
	if got := unanswered([]byte("No vulnerabilities found.\n"), nil); got != nil {
		t.Errorf("nothing was found: %q", got)
	}
	for _, cells := range findings(t, "govulncheck") {
		if len(cells) != 2 || !regexp.MustCompile(`^GO-\d{4}-\d{4,}$`).MatchString(cells[0]) {
			t.Errorf("docs/findings.md: %q is no id with a reason", cells)
		}
	}
}
