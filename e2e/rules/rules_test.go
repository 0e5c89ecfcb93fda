package rules_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/fsm"
)

// scripts is where the rule scripts are.
var scripts = filepath.Join("..", "testdata", "rules")

// TestRulesOnClusters plays each rule script on a cluster of its own. -run 'TestRulesOnClusters/k2-leases' plays one.
func TestRulesOnClusters(t *testing.T) {
	t.Cleanup(func() { nothingRuns(t) })
	testscript.Run(t, testscript.Params{
		Dir: scripts, Cmds: play(),
		Condition: func(name string) (bool, error) { return name == "cluster", nil },
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			p := newPlayer(t, filepath.Base(env.WorkDir))
			env.Values[playerKey{}] = p
			// Before the cluster stops; after a script that failed there is nothing to add.
			t.Cleanup(func() {
				if p.fatalf = t.Fatalf; !t.Failed() {
					p.agree()
				}
			})
			return nil
		},
	})
}

// nothingRuns waits until nothing is left of the nodes.
func nothingRuns(t *testing.T) {
	s := &sites{t: t, fatalf: t.Errorf}
	left := regexp.MustCompile(`github\.com/(licet/licet/(api|cluster|trail|transport)|hashicorp/raft)\b`)
	s.eventually("no node runs", func() error {
		all := make([]byte, 16<<20)
		for text := range bytes.SplitSeq(all[:runtime.Stack(all, true)], []byte("\n\n")) {
			if left.Match(text) {
				return fmt.Errorf("a goroutine is left:\n%s", text)
			}
		}
		return nil
	})
}

// stateOnly says how many lines of which script are marked [state], so that none is left out on clusters by
// accident. README.md beside the scripts says why these are.
var stateOnly = map[string]int{
	"a2-seat-limit": 5, "a3-sync": 2, "a4-block-delete": 3, "c2-signature": 2, "c5-pools": 3, "d2-clocks": 9, "e1-once": 3, "i3-removal": 2,
	"k1-conditions": 2, "k7-dry-run": 4, "k7-explain": 5, "p3-valid-until": 1, "p6-deletion": 3, "seen-missing-lease": 2, "seen-stale-expiry": 4,
}

// elsewhere are the rules and codes that no script can show, and what does.
var elsewhere = map[string]string{
	"D1": "TestViewConcurrently and the digests after each script", "D3": "TestD3LeadersClockJumps", "E2": "TestLeaderKilled", "E3": "TestAllKilled",
	"not_initialised": "TestInitialise: a cluster that serves is initialised",
	// The scripts' requests all come with a token that may do everything.
	"forbidden": "TestEveryRouteWithEveryRole and e2e/testdata/roles.txtar", "already_bootstrapped": "e2e/testdata/roles.txtar",
	"last_operator_token": "TestTokenModel and e2e/testdata/roles.txtar", "token_not_found": "TestTokenModel", "token_expired": "TestTokenModel",
	"token_limit_reached": "TestTokensAreBounded", "client_limit_reached": "TestClientLimits and TestLimitsOfAClient",
	// Scripts have no words for the cluster's own keys.
	"signing_key_not_found": "TestSigningKeys", "signing_key_in_use": "TestSigningKeys", "signing_key_limit_reached": "TestSigningKeys",
}

// TestEveryRuleAndCodeHasAScript: each rule of docs/rules.md has a script named after it, and each code of a refusal is refused in one.
func TestEveryRuleAndCodeHasAScript(t *testing.T) {
	named, refused := "", ""
	for name, text := range scriptTexts(t) {
		named += strings.ToUpper(name[:2]) + " "
		refused += text
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "rules.md"))
	check(t, err)
	all := map[string]bool{}
	for _, rule := range regexp.MustCompile(`\b[A-Z][0-9]\b`).FindAllString(string(text), -1) {
		all[rule] = strings.Contains(named, rule)
	}
	for code := range fsm.Codes() {
		// Import rows and conditions of explain name their codes after a "=".
		all[string(code)] = regexp.MustCompile(`(?m)(^(\[state\] )?refused |^(rejected|explain) .*=)` + string(code) + `\b`).MatchString(refused)
	}
	if len(all) < 100 {
		t.Fatalf("%d rules and codes found", len(all))
	}
	for what, shown := range all {
		if _, other := elsewhere[what]; shown == other {
			t.Errorf("%s: shown by a script %v, and elsewhere %v", what, shown, other)
		}
	}
}

// scriptTexts are the scripts by their names.
func scriptTexts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(scripts, "*.txtar"))
	check(t, err)
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		check(t, err)
		texts[strings.TrimSuffix(filepath.Base(file), ".txtar")] = string(text)
	}
	return texts
}

func TestWhatIsPlayedOnTheStateAlone(t *testing.T) {
	found := map[string]int{}
	for name, text := range scriptTexts(t) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "[") {
				found[name]++
			}
			if strings.Contains(line, "skip") && !strings.HasPrefix(line, "#") {
				t.Errorf("%s is not played everywhere: %s", name, line)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if found[name] != stateOnly[name] {
			t.Errorf("%s has %d lines with a condition, not %d", name, found[name], stateOnly[name])
		}
	}
	for name := range stateOnly {
		if found[name] == 0 {
			t.Errorf("%s has no line with a condition", name)
		}
	}
}
