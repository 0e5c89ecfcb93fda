package sim

import (
	"errors"
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
	failureOf   = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: (.*)$`)
	panicOf     = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)$`)
)

// TestMutations shows that simulations find what they look for: each variant of overlay/mutations.go has to fail with one of the first seeds.
func TestMutations(t *testing.T) {
	if *mutationSeeds == 0 {
		t.Skip("it takes -mutations")
	}
	matches, err := regexp.Compile(*mutationsFor)
	if err != nil {
		t.Fatal(err)
	}
	names, err := exec.CommandContext(t.Context(), "go", "run", "./overlay", "-mutations").Output()
	if err != nil {
		t.Fatal(err)
	}
	// One directory for all: what is compiled depends on where the overlay is, and the standard library is compiled once.
	dir := t.TempDir()
	var table strings.Builder
	table.WriteString("| what was broken | found by | virtual time | real time | what it said |\n| --- | --- | --- | --- | --- |\n")
	for line := range strings.Lines(string(names)) {
		name, test, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !matches.MatchString(name) {
			continue
		}
		row := seekMutation(t, dir, name, test)
		t.Log(row)
		table.WriteString(row + "\n")
	}
	if *tableFlag == "" {
		return
	}
	text := fmt.Sprintf("# Broken variants\n\nWritten by `make sim-mutations`. Each variant is built, and found by the test that is named, or by seeds from 1 on, %d at most:\n"+
		"odd ones with much load, even ones with little. Real time is without building. See [reliability.md](reliability.md).\n\n", *mutationSeeds)
	if err := os.WriteFile(*tableFlag, []byte(text+table.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// seekMutation returns a row of the table for a variant, and fails the test if nothing finds it.
func seekMutation(t *testing.T, dir, name, test string) string {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	output, err := command(t, "go", "run", "./overlay", "-mutation", name, dir)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
	flags := []string{"-tags", "hashicorpmetrics repeat", "-overlay", filepath.Join(dir, "overlay.json")}
	if module := filepath.Join(dir, "go.mod"); exists(module) {
		flags = append(flags, "-modfile", module)
	}
	if test != "" {
		return testMutation(t, name, test, flags)
	}
	program := filepath.Join(dir, "sim.test")
	if output, err := command(t, "go", append(append([]string{"test", "-c", "-o", program}, flags...), ".")...); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
	begun := time.Now()
	for seed := uint64(1); seed <= *mutationSeeds; seed++ {
		r := chosen(t, seed)
		if seed%2 == 0 && *loadFlag == "" {
			r.load = loads["night"]
			r.span = r.load.span
		}
		found := runSeedOf(t, program, mutantPatience, r)
		if !found.failed {
			continue
		}
		after := "-"
		if found.lasted > 0 {
			after = fmt.Sprintf("%.1f s", found.lasted.Seconds())
		}
		return fmt.Sprintf("| %s | seed %d | %s | %.0f s | %s |", name, seed, after, time.Since(begun).Seconds(), complaint(found))
	}
	t.Errorf("%d seeds did not find: %s", *mutationSeeds, name)
	return fmt.Sprintf("| %s | none of %d | | %.0f s | |", name, *mutationSeeds, time.Since(begun).Seconds())
}

// testMutation has a test find a variant.
func testMutation(t *testing.T, name, test string, flags []string) string {
	t.Helper()
	where, which, _ := strings.Cut(test, " ")
	begun := time.Now()
	output, err := command(t, "go", append(append([]string{"test", "-count=1", "-run", "^" + which + "$"}, flags...), filepath.Join("../..", where))...)
	said := failureOf.FindStringSubmatch(output)
	if err == nil || said == nil {
		t.Errorf("%s did not find: %s (%v)\n%s", which, name, err, output)
		return fmt.Sprintf("| %s | not by %s | | | |", name, which)
	}
	return fmt.Sprintf("| %s | %s | - | %.0f s with building | %s |", name, which, time.Since(begun).Seconds(), said[1])
}

func command(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := c.CombinedOutput()
	return string(output), err
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

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
