package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// TestScripts plays testdata/*.txtar, each against a cluster of its own. Scripts
// are written for whoever knows licet's command line; besides testscript's
// own commands they have those of script.commands.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts found: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s := &script{Cluster: startCluster(t, setup{set: map[string]string{"limits.request_timeout": "8s"}})}
			testscript.RunT(scriptT{t}, testscript.Params{
				Files: []string{file}, Setup: s.setup, Cmds: s.commands(), RequireUniqueNames: true,
			})
			s.Settled()
		})
	}
}

// scriptT runs a script in the test that started its cluster, so that the cluster
// does not stop before.
type scriptT struct{ *testing.T }

func (s scriptT) Run(_ string, f func(testscript.T)) { f(s) }
func (s scriptT) Parallel()                          {}
func (s scriptT) Verbose() bool                      { return testing.Verbose() }

// script is what scripts act on.
type script struct{ *Cluster }

func (s *script) setup(e *testscript.Env) error {
	e.Setenv("LICET_ENDPOINTS", strings.Join(s.Endpoints(), ","))
	e.Setenv("LICET_TOKEN_FILE", s.path("token"))
	for _, n := range s.nodes {
		e.Setenv(strings.ToUpper(n.id), n.URL())
	}
	e.Setenv("DATA", s.path(""))
	e.Setenv("NOBODY", "http://127.0.0.1:1")
	for _, name := range []string{"vendor.key", "vendor.pub", "token"} {
		text, err := os.ReadFile(s.path(name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(e.WorkDir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// commands are the scripts' own commands.
//
//	licet ARGS...          runs the binary against all nodes and wants exit code 0
//	on SITE licet ARGS...  the same against one node
//	exit N COMMAND...      wants another exit code of licet or on
//	until REGEXP COMMAND...  repeats a command until its output matches
//	field NAME PATH        takes a field of the last output, which is JSON, into $NAME
//	contract FILE ID REVISION AREA=N... [expiry=+5s] [grace=0]  writes a contract to sign
//	soon NAME DURATION     puts a time so far ahead into $NAME
//	spray N CONTRACT       asks all nodes at once for N instances of one account, prints what became of it
//	flip FILE N            changes the Nth character of a file's text; from the end if negative
//	with NAME=VALUE COMMAND...  adds to the environment of licet or on
//	crash SITE             ends a node with SIGKILL
//	start SITE             starts a node and waits until it serves
//	pause SITE, resume SITE  stops a node's process and has it go on: meanwhile it takes connections and answers nothing
//	digests                waits until all nodes have the same state
func (s *script) commands() map[string]func(*testscript.TestScript, bool, []string) {
	plain := func(f func(ts *testscript.TestScript, args []string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("! is not for this command; licet's exit codes go with exit N")
			}
			f(ts, args)
		}
	}
	runs := func(name string) func(*testscript.TestScript, bool, []string) {
		return plain(func(ts *testscript.TestScript, args []string) { s.expect(ts, 0, append([]string{name}, args...)) })
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"licet": runs("licet"), "on": runs("on"),
		"exit": plain(s.exit), "until": plain(s.until), "field": plain(field), "contract": plain(s.contract),
		"soon": plain(soon), "spray": plain(s.spray), "flip": plain(flip),
		"with":    runs("with"),
		"crash":   plain(func(_ *testscript.TestScript, args []string) { s.Node(args[0]).Kill() }),
		"stop":    plain(func(_ *testscript.TestScript, args []string) { s.Node(args[0]).Stop() }),
		"start":   plain(func(_ *testscript.TestScript, args []string) { s.Node(args[0]).Start(); s.WaitReady(s.Node(args[0])) }),
		"pause":   plain(func(_ *testscript.TestScript, args []string) { s.Node(args[0]).Pause() }),
		"resume":  plain(func(_ *testscript.TestScript, args []string) { s.Node(args[0]).Resume() }),
		"digests": plain(func(*testscript.TestScript, []string) { s.Settled() }),
	}
}

// run executes licet, on or with, and returns the exit code.
func (s *script) run(ts *testscript.TestScript, args []string) int {
	var with []string
	for len(args) > 2 && args[0] == "with" {
		with, args = append(with, args[1]), args[2:]
	}
	if len(args) > 2 && args[0] == "on" {
		all := ts.Getenv("LICET_ENDPOINTS")
		ts.Setenv("LICET_ENDPOINTS", s.Node(args[1]).URL())
		defer ts.Setenv("LICET_ENDPOINTS", all)
		args = args[2:]
	}
	if args[0] != "licet" {
		ts.Fatalf("%q is no command to run; licet is", args[0])
	}
	err := ts.Exec("env", slices.Concat(with, []string{program}, args[1:])...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

func (s *script) expect(ts *testscript.TestScript, code int, args []string) {
	if got := s.run(ts, args); got != code {
		ts.Fatalf("%s: exit code %d instead of %d", strings.Join(args, " "), got, code)
	}
}

func (s *script) exit(ts *testscript.TestScript, args []string) {
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	s.expect(ts, code, args[1:])
}

func (s *script) until(ts *testscript.TestScript, args []string) {
	wanted, err := regexp.Compile(args[0])
	ts.Check(err)
	ts.Check(poll(patience, func() error {
		s.run(ts, args[1:])
		if out := ts.ReadFile("stdout") + ts.ReadFile("stderr"); !wanted.MatchString(out) {
			return fmt.Errorf("%q does not match", args[0])
		}
		return nil
	}))
}

func field(ts *testscript.TestScript, args []string) {
	var value any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &value); err != nil {
		ts.Fatalf("the last output is no JSON: %v", err)
	}
	for _, name := range strings.Split(args[1], ".") {
		object, ok := value.(map[string]any)
		if value, ok = object[name], ok && object[name] != nil; !ok {
			ts.Fatalf("the last output has no field %s", args[1])
		}
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

func soon(ts *testscript.TestScript, args []string) {
	ahead, err := time.ParseDuration(args[1])
	ts.Check(err)
	ts.Setenv(args[0], time.Now().Add(ahead).UTC().Format(time.RFC3339))
}

func (s *script) contract(ts *testscript.TestScript, args []string) {
	file, id, revision := args[0], args[1], args[2]
	expiry, grace, users := "2099-12-31", "14", ""
	for _, arg := range args[3:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "expiry":
			ahead, err := time.ParseDuration(value)
			ts.Check(err)
			expiry = time.Now().Add(ahead).UTC().Format(time.RFC3339)
		case "grace":
			grace = value
		default:
			users += fmt.Sprintf("  %s: %s\n", name, value)
		}
	}
	text := fmt.Sprintf("id: %s\nrevision: %s\ncustomer: ACME SARL\nemail: licenses@acme.example\nstart: 2026-01-01\nexpiry: %s\ngrace_days: %s\nusers:\n%s",
		id, revision, expiry, grace, users)
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
}

func (s *script) spray(ts *testscript.TestScript, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var all sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[apiv1.Code]int{}
	for i := range n {
		all.Go(func() {
			_, err := s.nodes[i%len(s.nodes)].client.CreateInstance(context.Background(), args[1], fmt.Sprintf("spray-%d", i), apiv1.Quantities{"primary": 1})
			mu.Lock()
			defer mu.Unlock()
			outcomes[client.CodeOf(err)]++
		})
	}
	all.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("sprayed"), fmt.Appendf(nil, "granted %d\nrefused %d\nother %d\n",
		outcomes[""], outcomes[apiv1.CodeContractExhausted], n-outcomes[""]-outcomes[apiv1.CodeContractExhausted]), 0o600))
}

func flip(ts *testscript.TestScript, args []string) {
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	text := []byte(strings.TrimSpace(ts.ReadFile(args[0])))
	if at < 0 {
		at += len(text)
	}
	if text[at] == 'A' {
		text[at] = 'B'
	} else {
		text[at] = 'A'
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}
