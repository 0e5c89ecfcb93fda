//go:build vuln

package licet_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"testing"
)

// foundSome is how govulncheck ends if it found something.
const foundSome = 3

var databaseFlag = flag.String("db", "https://vuln.go.dev", "the vulnerability database, or a copy of it (file:///DIRECTORY)")

// TestGovulncheck runs govulncheck, and fails for what docs/findings.md does not accept.
func TestGovulncheck(t *testing.T) {
	output, err := exec.CommandContext(t.Context(), ".bin/govulncheck", "-db", *databaseFlag, "./...").CombinedOutput()
	_, _ = os.Stdout.Write(output)
	var ended *exec.ExitError
	if err != nil && (!errors.As(err, &ended) || ended.ExitCode() != foundSome) {
		t.Fatalf("nothing was checked: %v", err)
	}
	ids := unanswered(output, findings(t, "govulncheck"))
	if len(ids) > 0 {
		t.Errorf("docs/findings.md does not say why these may stay: %q", ids)
	}
	if err != nil && !vulnerability.Match(output) {
		t.Error("govulncheck found something that its output does not tell as it used to")
	}
}
