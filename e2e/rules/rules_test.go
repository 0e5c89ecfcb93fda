package rules_test

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestRulesOnClusters plays each rule script on a cluster of its own.
func TestRulesOnClusters(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:       filepath.Join("..", "testdata", "rules"),
		Cmds:      play(),
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
