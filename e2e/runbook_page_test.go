package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runbook is docs/operations.md as tests follow it.
const runbook = "../docs/operations.md"

// onMachines are the parts of the runbook that TestPackageInstalled follows, on machines that boot Debian. TestRunbook follows all others.
var onMachines = []string{"Installing", "Upgrading"}

// The comments of the page, which readers don't see, say what its commands need:
//
//	<!-- commands: in a new cluster -->          for a part (##): PLACE
//	<!-- before: kill paris, wipe paris -->      for the fence that follows: what has happened before
//	<!-- into: licet-dev/*.yaml -->              for a fence of yaml: the configurations that hold it from then on
//	<!-- repeat: until it succeeds -->           for a fence whose answer depends on how busy the machine is
//
// A fence is sh, which is run; yaml; or text, which is what the commands before it show. A line of commands
// that does not end with 0 says so: `# ends with 3`.
const (
	placeNew      = "in a new cluster"
	placeSame     = "in the same cluster"
	placeMachines = "on three machines"
)

var (
	directive   = regexp.MustCompile(`^<!-- (commands|before|into|repeat): (.*) -->$`)
	preparation = regexp.MustCompile(`^(stop|kill|wipe|start) (all|[a-z0-9-]+)$`)
)

// section is a part of the page with commands.
type section struct {
	title, place string
	fences       []*fence
}

// fence is a block of the page.
type fence struct {
	line           int
	language, text string
	before         []string
	into           string
	repeat         bool
}

func (f *fence) String() string {
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(runbook, "../"), f.line)
}

// pageReader reads a page line by line, so that nothing between two fences is overlooked.
type pageReader struct {
	sections []*section
	// at is the part, next what has been said of the next fence, open the fence that is read.
	at         *section
	next, open *fence
	errs       []error
}

// readRunbook reads a page, or says everything that a test would not know how to follow.
func readRunbook(page string) ([]*section, error) {
	r := &pageReader{next: &fence{}}
	n := 0
	for line := range strings.Lines(page) {
		n++
		r.line(n, strings.TrimSuffix(line, "\n"))
	}
	if r.open != nil {
		r.complain(r.open.line, "the fence has no end")
	}
	r.end(n)
	return r.sections, errors.Join(r.errs...)
}

func (r *pageReader) complain(line int, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("line %d: %s", line, fmt.Sprintf(format, args...)))
}

func (r *pageReader) line(n int, text string) {
	title, heading := strings.CutPrefix(text, "## ")
	switch {
	case r.open != nil && text == "```":
		r.closeFence(n)
	case r.open != nil:
		r.open.text += text + "\n"
		if strings.HasPrefix(text, "#") && strings.Contains(text, "## ") {
			r.complain(n, "a heading within a fence: the one of line %d has no end", r.open.line)
		}
	case strings.HasPrefix(strings.TrimSpace(text), "```"), strings.HasPrefix(strings.TrimSpace(text), "~~~"):
		r.openFence(n, text)
	case strings.HasPrefix(text, "    "), strings.HasPrefix(text, "\t"):
		r.complain(n, "an indented block: put it into a fence")
	case heading:
		r.end(n)
		r.at = &section{title: title}
		r.sections = append(r.sections, r.at)
	case strings.Contains(text, "<!--"):
		r.directive(n, text)
	}
}

// end ends a part.
func (r *pageReader) end(line int) {
	if r.next.before != nil || r.next.into != "" || r.next.repeat {
		r.complain(line, "a comment belongs to a fence, and none follows")
		r.next = &fence{}
	}
}

func (r *pageReader) openFence(n int, text string) {
	r.open, r.next = r.next, &fence{}
	r.open.line = n
	switch r.open.language = strings.TrimPrefix(text, "```"); {
	case !slices.Contains([]string{"sh", "yaml", "text"}, r.open.language):
		r.complain(n, "%q begins a fence of none of the languages sh, yaml and text", text)
	case r.at == nil || r.at.place == "":
		r.complain(n, "the part does not say where its commands run: <!-- commands: %s -->", placeNew)
	case r.open.language == "yaml" && r.open.into == "":
		r.complain(n, "nothing says which file holds this: <!-- into: FILE -->")
	case r.open.language != "yaml" && r.open.into != "":
		r.complain(n, "only yaml goes into a file")
	case r.open.language == "text" && (len(r.at.fences) == 0 || r.at.fences[len(r.at.fences)-1].language != "sh"):
		r.complain(n, "no commands stand before what they show")
	}
}

func (r *pageReader) closeFence(n int) {
	if strings.TrimSpace(r.open.text) == "" {
		r.complain(n, "the fence is empty")
	}
	if r.at != nil {
		r.at.fences = append(r.at.fences, r.open)
	}
	r.open = nil
}

func (r *pageReader) directive(n int, text string) {
	m := directive.FindStringSubmatch(text)
	if m == nil || r.at == nil {
		r.complain(n, "%q is no comment that a test follows", text)
		return
	}
	switch m[1] {
	case "commands":
		if !slices.Contains([]string{placeNew, placeSame, placeMachines}, m[2]) || r.at.place != "" {
			r.complain(n, "commands %q: there are %q, %q and %q, once a part", m[2], placeNew, placeSame, placeMachines)
		}
		r.at.place = m[2]
	case "before":
		r.next.before = strings.Split(m[2], ", ")
		for _, what := range r.next.before {
			if !preparation.MatchString(what) {
				r.complain(n, "no test knows how to prepare %q; it can stop, kill, wipe and start a node, or all", what)
			}
		}
	case "into":
		r.next.into = m[2]
	case "repeat":
		r.next.repeat = true
		if m[2] != "until it succeeds" {
			r.complain(n, "a fence is repeated until it succeeds, not %q", m[2])
		}
	}
}

// mustReadRunbook reads the page, of which each fence belongs to one of two tests.
func mustReadRunbook(t *testing.T) (here, machines []*section) {
	t.Helper()
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	all, err := readRunbook(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, s := range all {
		if s.place == placeMachines {
			machines, titles = append(machines, s), append(titles, s.title)
		} else {
			here = append(here, s)
		}
	}
	if !slices.Equal(titles, onMachines) {
		t.Fatalf("TestPackageInstalled follows %q, and the page has %q for machines", onMachines, titles)
	}
	return here, machines
}

// TestRunbookIsUnderstood: what no test would follow is an error of the page, so that nothing in it goes untested.
func TestRunbookIsUnderstood(t *testing.T) {
	const good = "# Page\n\n## Part\n\n<!-- commands: in a new cluster -->\n\n<!-- before: kill paris, wipe paris -->\n```sh\nlicet status\n```\n"
	sections, err := readRunbook(good)
	if err != nil || len(sections) != 1 || len(sections[0].fences) != 1 || len(sections[0].fences[0].before) != 2 {
		t.Fatalf("%v, %v", sections, err)
	}
	for what, page := range map[string]string{
		"does not say where its commands run": "## Part\n```sh\nlicet status\n```\n",
		"has no end":                          "## Part\n<!-- commands: in a new cluster -->\n```sh\nlicet status\n\n## Next\n",
		"none of the languages":               good + "```\nlicet status\n```\n",
		"none of the languages sh":            good + "  ```sh\nlicet status\n```\n",
		"indented block":                      good + "    licet status\n",
		"no test knows how to prepare":        good + "<!-- before: unplug lyon -->\n```sh\nlicet status\n```\n",
		"there are":                           "## Part\n<!-- commands: on a boat -->\n```sh\nlicet status\n```\n",
		"once a part":                         good + "<!-- commands: in the same cluster -->\n",
		"is no comment":                       good + "<!-- todo: more -->\n",
		"none follows":                        good + "<!-- before: stop lyon -->\n\n## Next\n",
		"which file holds this":               good + "```yaml\nraft: {}\n```\n",
		"only yaml":                           good + "<!-- into: a.yaml -->\n```sh\nlicet status\n```\n",
		"before what they show":               "## Part\n<!-- commands: in a new cluster -->\n```text\nall is well\n```\n",
		"is empty":                            good + "```sh\n```\n",
	} {
		if _, err := readRunbook(page); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%q is not complained of, but: %v\n%s", what, err, page)
		}
	}
}

// looksLike says whether output is as the page shows it, up to numbers, times, hashes and spaces. A line … stands for any lines.
func looksLike(shown, output string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(shown) {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(.*\n)*`)
			continue
		}
		for i, word := range strings.Fields(line) {
			if i > 0 {
				pattern.WriteString(` +`)
			}
			for j, part := range regexp.MustCompile(`[0-9A-Za-z]*[0-9][0-9A-Za-z]*`).Split(word, -1) {
				if j > 0 {
					pattern.WriteString(`[0-9A-Za-z]*[0-9][0-9A-Za-z]*`)
				}
				pattern.WriteString(regexp.QuoteMeta(part))
			}
		}
		pattern.WriteString(` *\n`)
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(output)
}

func TestShownOutput(t *testing.T) {
	for _, c := range []struct {
		shown, output string
		want          bool
	}{
		{"key 12ab  of 3\n", "key 9f of 14\n", true},
		{"key 12ab of 3\n", "key none of 14\n", false},
		{"key 12ab of 3\n", "key 12ab of 3\nand more\n", false},
		{"…\nand more\n", "key 12ab of 3\nand more\n", true},
		{"…\nand more\n", "key 12ab of 3\nand less\n", false},
	} {
		if got := looksLike(c.shown, c.output); got != c.want {
			t.Errorf("%q for %q: %v", c.output, c.shown, got)
		}
	}
}
