package sim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	forFlag    = flag.Duration("for", 0, "for how long to run fresh seeds; 0: two short ones")
	fromFlag   = flag.Uint64("from", 0, "the first fresh seed; 0: any")
	replayFlag = flag.Uint64("replay", 0, "run this seed alone, as it was run before")
)

// shortSpan is the span of seeds that run with all other tests.
const shortSpan = 10 * time.Second

// twice is of how many seeds one is run a second time, to see that it repeats.
const twice = 10

// failedSeeds has the seeds that ever failed, one a line, before what it was that they found.
const failedSeeds = "testdata/failed.txt"

// result is what the process of a seed said.
type result struct {
	seed   uint64
	failed bool
	output string
	trace  string
	faults int
	took   time.Duration
}

var (
	traceOf  = regexp.MustCompile(`(?m)^seed \d+: .* trace ([0-9a-f]{16})`)
	faultsOf = regexp.MustCompile(`(?m)^seed \d+: .* of (\d+) faults`)
)

// runSeed runs a seed in a process of its own: repeating takes one processor, and neither garbage collection nor preemption.
func runSeed(t *testing.T, seed uint64, span time.Duration, keep string) result {
	t.Helper()
	return runSeedOf(t, os.Args[0], 10*time.Minute, seed, span, keep)
}

// runSeedOf has a program run a seed, for as long at most. Whoever starts it wherever, arguments, environment and all names of files are the
// same: with others, what follows would be elsewhere in memory, and maps whose keys are pointers or names of files in another order.
func runSeedOf(t *testing.T, program string, most time.Duration, seed uint64, span time.Duration, keep string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	dir := workDir(t)
	defer os.RemoveAll(dir)
	whole, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	// Package os looks its program's name up when it is initialised.
	program = filepath.Join(dir, "sim.test")
	if err := os.WriteFile(program, whole, 0o700); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	c := exec.CommandContext(ctx, program)
	c.Args = []string{
		"sim.test", "-test.run=^TestSeed$", "-test.timeout=10m",
		"-seed=" + strconv.FormatUint(seed, 10), "-span=" + span.String(), "-keep=" + keep, "-events=" + strconv.FormatBool(*verbose),
	}
	c.Dir = dir
	c.Env = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1"}
	output, err := c.CombinedOutput()
	r := result{seed: seed, failed: err != nil, output: string(bytes.TrimSpace(output)), took: time.Since(begun)}
	if m := traceOf.FindStringSubmatch(r.output); m != nil {
		r.trace = m[1]
	}
	if m := faultsOf.FindStringSubmatch(r.output); m != nil {
		r.faults, _ = strconv.Atoi(m[1])
	}
	if !r.failed && r.trace == "" {
		t.Fatalf("seed %d ran, and said nothing:\n%s", seed, r.output)
	}
	return r
}

// workDir is where a process works, in memory where that can be. Its name is always as long.
func workDir(t *testing.T) string {
	t.Helper()
	base := os.TempDir()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		base = "/dev/shm"
	}
	dir := filepath.Join(base, fmt.Sprintf("licet-sim-%08x", anySeed()&math.MaxUint32))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestSim runs the seeds that ever failed, and fresh ones.
func TestSim(t *testing.T) {
	if *replayFlag != 0 {
		if r := runSeed(t, *replayFlag, *spanFlag, *keepFlag); r.failed {
			t.Error(r.output)
		} else {
			t.Log(r.output)
		}
		return
	}
	span, count, end := *spanFlag, 2, time.Now().Add(*forFlag)
	if *forFlag == 0 {
		span = shortSpan
	} else {
		for _, seed := range failedBefore(t) {
			judge(t, runSeed(t, seed, span, "all"), span)
		}
		count = 1 << 30
	}
	from := *fromFlag
	if from == 0 {
		from = anySeed()
	}
	n := 0
	for seed := from; n < count && !t.Failed() && (*forFlag == 0 || time.Now().Before(end)); seed++ {
		r := runSeed(t, seed, span, "all")
		judge(t, r, span)
		if n++; repeats && n%twice == 1 && !r.failed {
			if again := runSeed(t, seed, span, "all"); again.trace != r.trace {
				t.Errorf("seed %d does not repeat: its traces are %s and %s", seed, r.trace, again.trace)
			}
		}
	}
	t.Logf("%d seeds from %d on, %s of virtual time each and some to recover; they repeat: %v", n, from, span, repeats)
}

// anySeed is a seed of which nobody knows anything. The overlay gives math/rand the same numbers in each run.
func anySeed() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return uint64(binary.BigEndian.Uint32(b[:])) + 1
}

// failedBefore are the seeds that ever failed.
func failedBefore(t *testing.T) (seeds []uint64) {
	t.Helper()
	text, err := os.ReadFile(failedSeeds)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		number, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", failedSeeds, err)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// judge fails the test for a seed that failed, and says with how little it still does.
func judge(t *testing.T, r result, span time.Duration) {
	t.Helper()
	if !r.failed {
		t.Log(r.output)
		return
	}
	t.Errorf("%s\nseed %d failed. To see it again: make sim SEED=%d", r.output, r.seed, r.seed)
	if !repeats {
		return
	}
	if keep := shrink(t, r, span); keep != "" {
		t.Errorf("seed %d fails with fewer faults, too: make sim SEED=%d SIMFLAGS=-keep=%s", r.seed, r.seed, keep)
	}
}

// mostShrinking bounds the runs that shrinking takes.
const mostShrinking = 30

// shrink leaves faults out, by halves, quarters and so on, for as long as the seed fails without them.
func shrink(t *testing.T, r result, span time.Duration) string {
	t.Helper()
	var kept []string
	for i := range r.faults {
		kept = append(kept, strconv.Itoa(i))
	}
	runs, before := 0, len(kept)
	for part := (len(kept) + 1) / 2; part > 0 && len(kept) > 0; part /= 2 {
		for at := 0; at < len(kept) && runs < mostShrinking; {
			fewer := append(append([]string{}, kept[:at]...), kept[min(at+part, len(kept)):]...)
			runs++
			if runSeed(t, r.seed, span, keepOf(fewer)).failed {
				kept = fewer
			} else {
				at += part
			}
		}
	}
	if len(kept) == before {
		return ""
	}
	return keepOf(kept)
}

func keepOf(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprint(strings.Join(list, ","))
}
