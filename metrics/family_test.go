package metrics

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/metrics.md anew")

const document = "../docs/metrics.md"

// row is a family as docs/metrics.md has it.
func (f Family) row() string {
	labels := ""
	for i, l := range f.Labels {
		if i > 0 {
			labels += ", "
		}
		labels += "`" + l + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |", f.Name, f.Type, labels, f.Unit, f.Help)
}

// Every name is in the document with its type, labels, unit and meaning, and the document has no other: names are
// what dashboards and alert rules elsewhere rely on.
func TestDocument(t *testing.T) {
	if *update {
		writeTables(t)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "| `licet_") {
			have = append(have, line)
		}
	}
	for _, f := range Families() {
		want = append(want, f.row())
	}
	for _, line := range want {
		if !slices.Contains(have, line) {
			t.Errorf("%s lacks, or says otherwise:\n%s", document, line)
		}
	}
	for _, line := range have {
		if !slices.Contains(want, line) {
			t.Errorf("%s has what no node exports, or says it otherwise:\n%s", document, line)
		}
	}
}

// writeTables replaces what stands between the marks "<!-- NAME -->" and the next blank line.
func writeTables(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for mark, list := range map[string][]Family{"node": nodeFamilies, "seats": seatFamilies, "requests": requestFamilies, "raft": raftFamilies} {
		table := "<!-- " + mark + " -->\n| name | type | labels | unit | meaning |\n| --- | --- | --- | --- | --- |\n"
		for _, f := range list {
			table += f.row() + "\n"
		}
		place := regexp.MustCompile(`(?s)<!-- ` + mark + ` -->\n.*?\n\n`)
		if !place.MatchString(out) {
			t.Fatalf("%s has no mark for %s", document, mark)
		}
		out = place.ReplaceAllLiteralString(out, table+"\n")
	}
	if err := os.WriteFile(document, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Names follow Prometheus' conventions, so that they can be read without the document.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Families() {
		if seen[f.Name] {
			t.Errorf("%s is there twice", f.Name)
		}
		seen[f.Name] = true
		if !regexp.MustCompile(`^licet(_[a-z0-9]+)+$`).MatchString(f.Name) || f.Help == "" || strings.Contains(f.Help, "|") {
			t.Errorf("%s: its name or its meaning is no good", f.Name)
		}
		if (f.Type == counter) != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
		for word, unit := range map[string]string{"_seconds": "seconds", "_bytes": "bytes"} {
			if strings.HasSuffix(strings.TrimSuffix(f.Name, "_total"), word) && !strings.HasPrefix(f.Unit, unit) {
				t.Errorf("%s is in %q", f.Name, f.Unit)
			}
		}
	}
}

// A signal goes to a family that has as many labels as it has values.
func TestSignals(t *testing.T) {
	fed := map[string]bool{}
	for key, x := range signals {
		f := family(raftFamilies, x.family)
		values := len(x.values)
		if x.label != "" {
			values++
		}
		if values != len(f.Labels) {
			t.Errorf("%s: %d values for the labels %v of %s", key, values, f.Labels, f.Name)
		}
		if f.Unit == "seconds" && x.scale != millis {
			t.Errorf("%s: %s is in seconds, and go-metrics measures milliseconds", key, f.Name)
		}
		fed[x.family] = true
	}
	for _, f := range raftFamilies {
		if !fed[f.Name] {
			t.Errorf("nothing feeds %s", f.Name)
		}
	}
}
