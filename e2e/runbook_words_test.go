package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestRunbookNamesCommandsThatExist: commands in the page's sentences and tables exist, with the flags that stand there.
func TestRunbookNamesCommandsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	prose := regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(string(text), "")
	named := regexp.MustCompile("`licet ([a-z][^`]*)`").FindAllStringSubmatch(prose, -1)
	if len(named) < 10 {
		t.Fatalf("%d commands found: the pattern no longer fits the text", len(named))
	}
	known := map[string]string{}
	for _, m := range named {
		var verbs, flags []string
		for _, word := range strings.Fields(m[1]) {
			if strings.HasPrefix(word, "--") {
				flags = append(flags, word)
			} else if flags == nil && regexp.MustCompile(`^[a-z-]+$`).MatchString(word) {
				verbs = append(verbs, word)
			}
		}
		command := strings.Join(verbs, " ")
		if known[command] == "" {
			known[command] = mustRun(t, append(verbs, "--help")...)
		}
		if !strings.Contains(known[command], "Usage: licet "+command) {
			t.Errorf("%s: its help is\n%s", m[0], known[command])
		}
		for _, flag := range flags {
			if !strings.Contains(known[command], flag+" ") {
				t.Errorf("%s: there is no %s:\n%s", m[0], flag, known[command])
			}
		}
	}
}
