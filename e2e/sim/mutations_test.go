package sim

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	mutationSeeds = flag.Uint64("mutations", 0, "build each broken variant of licet and of Raft, and run as many seeds at most until one fails")
	mutationsFor  = flag.String("mutation", "", "have only the variants whose names this regular expression matches")
	tableFlag     = flag.String("table", "", "write the table of variants into this file")
)

// mutantPatience is for how long a broken node may keep its simulation busy; most end within seconds.
const mutantPatience = 3 * time.Minute

var (
	violationOf = regexp.MustCompile(`(?m)^seed \d+: VIOLATION: (.*)$`)
	panicOf     = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)$`)
)

// TestMutations shows that simulations find what they look for: each variant of overlay/mutations.go has to fail with one of the first seeds.
func TestMutations(t *testing.T) {
	if *mutationSeeds == 0 {
		t.Skip("it takes -mutations")
	}
	chosen, err := regexp.Compile(*mutationsFor)
	if err != nil {
		t.Fatal(err)
	}
	names, err := exec.CommandContext(t.Context(), "go", "run", "./overlay", "-mutations").Output()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| what was broken | seed | virtual time | what the simulation said |\n| --- | --- | --- | --- |\n")
	for name := range strings.Lines(string(names)) {
		if name = strings.TrimSpace(name); chosen.MatchString(name) {
			row := seekMutation(t, name)
			t.Log(row)
			table.WriteString(row + "\n")
		}
	}
	if *tableFlag == "" {
		return
	}
	text := "# Broken variants\n\nWritten by `make sim-mutations`. Each variant is built, and seeds run from 1 on until one fails; see [reliability.md](reliability.md).\n\n"
	if err := os.WriteFile(*tableFlag, []byte(text+table.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// seekMutation returns a row of the table for a variant, and fails the test if no seed does.
func seekMutation(t *testing.T, name string) string {
	t.Helper()
	program := buildMutation(t, name)
	for seed := uint64(1); seed <= *mutationSeeds; seed++ {
		r := runSeedOf(t, program, mutantPatience, chosen(t, seed))
		if !r.failed {
			continue
		}
		after := "-"
		if r.lasted > 0 {
			after = fmt.Sprintf("%.1f s", r.lasted.Seconds())
		}
		return fmt.Sprintf("| %s | %d | %s | %s |", name, seed, after, complaint(r))
	}
	t.Errorf("%d seeds did not find: %s", *mutationSeeds, name)
	return fmt.Sprintf("| %s | none of %d | | |", name, *mutationSeeds)
}

// complaint is what a run that failed said.
func complaint(r result) string {
	switch {
	case violationOf.MatchString(r.output):
		return strings.ReplaceAll(violationOf.FindStringSubmatch(r.output)[1], "|", "\\|")
	case panicOf.MatchString(r.output):
		return "panic: " + strings.ReplaceAll(panicOf.FindStringSubmatch(r.output)[1], "|", "\\|")
	case r.took >= mutantPatience:
		return fmt.Sprintf("it did not end within %s", mutantPatience)
	}
	return "it failed"
}

// buildMutation builds simulations of a variant.
func buildMutation(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	run := func(command ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), command[0], command[1:]...)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, output)
		}
	}
	run("go", "run", "./overlay", "-mutation", name, dir)
	program := filepath.Join(dir, "sim.test")
	build := []string{"go", "test", "-c", "-tags", "hashicorpmetrics repeat", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program}
	if module := filepath.Join(dir, "go.mod"); exists(module) {
		build = append(build, "-modfile", module)
	}
	run(append(build, ".")...)
	return program
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
