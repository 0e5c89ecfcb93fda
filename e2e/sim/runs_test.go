package sim

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	forFlag    = flag.Duration("for", 0, "for how long to run fresh seeds; 0: two short ones")
	fromFlag   = flag.Uint64("from", 0, "the first fresh seed; 0: any")
	replayFlag = flag.Uint64("replay", 0, "run this seed alone, as it was run before")
	soakFlag   = flag.Bool("soak", false, "have loads of all kinds, on all processors, and run few seeds twice")
)

// shortSpan is the span of seeds that run with all other tests.
const shortSpan = 10 * time.Second

// twice is of how many seeds one is run a second time, to see that it repeats; in a soak it is soakTwice.
const (
	twice     = 10
	soakTwice = 50
)

// failedSeeds has the seeds that ever failed, one a line, before what it was that they found.
const failedSeeds = "testdata/failed.txt"

// run is all that what happens follows from, in one build.
type run struct {
	seed uint64
	load load
	span time.Duration
	keep string
}

// String is how to have it again.
func (r run) String() string {
	flags := ""
	if r.load.name != "busy" {
		flags += " -load=" + r.load.name
	}
	if r.span != r.load.span {
		flags += " -span=" + r.span.String()
	}
	if r.keep != "all" {
		flags += " -keep=" + r.keep
	}
	if flags != "" {
		flags = fmt.Sprintf(" SIMFLAGS='%s'", flags[1:])
	}
	return fmt.Sprint("make sim SEED=", r.seed, flags)
}

// chosen is a run of a seed, as the flags have it.
func chosen(t *testing.T, seed uint64) run {
	t.Helper()
	l := loads["busy"]
	switch {
	case *loadFlag != "":
		var known bool
		if l, known = loads[*loadFlag]; !known {
			t.Fatalf("there is no load %q", *loadFlag)
		}
	case *soakFlag:
		l = soaked(seed)
	}
	r := run{seed, l, l.span, *keepFlag}
	if *spanFlag != 0 {
		r.span = *spanFlag
	}
	return r
}

// result is what the process of a seed said.
type result struct {
	run
	failed bool
	output string
	trace  string
	faults int
	lasted time.Duration
	took   time.Duration
}

var (
	traceOf  = regexp.MustCompile(`(?m)^seed \d+: .* trace ([0-9a-f]{16})`)
	faultsOf = regexp.MustCompile(`(?m)^seed \d+: .* of (\d+) faults`)
	lastedOf = regexp.MustCompile(`(?m)^seed \d+: \d nodes, (\S+) of virtual time`)
)

// runSeed runs a seed in a process of its own: repeating takes one processor, and neither garbage collection nor preemption.
func runSeed(t *testing.T, r run) result {
	t.Helper()
	return runSeedOf(t, os.Args[0], 10*time.Minute, r)
}

// runSeedOf has a program run a seed, for as long at most. Whoever starts it wherever, arguments, environment and all names of files are the
// same: with others, what follows would be elsewhere in memory, and maps whose keys are pointers or names of files in another order.
func runSeedOf(t *testing.T, program string, most time.Duration, of run) result {
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
		"-seed=" + strconv.FormatUint(of.seed, 10), "-load=" + of.load.name, "-span=" + of.span.String(), "-keep=" + of.keep,
		"-events=" + strconv.FormatBool(*verbose),
	}
	c.Dir = dir
	c.Env = []string{"GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1"}
	output, err := c.CombinedOutput()
	r := result{run: of, failed: err != nil, output: string(bytes.TrimSpace(output)), took: time.Since(begun)}
	if m := traceOf.FindStringSubmatch(r.output); m != nil {
		r.trace = m[1]
	}
	if m := faultsOf.FindStringSubmatch(r.output); m != nil {
		r.faults, _ = strconv.Atoi(m[1])
	}
	if m := lastedOf.FindStringSubmatch(r.output); m != nil {
		r.lasted, _ = time.ParseDuration(m[1])
	}
	if !r.failed && r.trace == "" {
		t.Fatalf("seed %d ran, and said nothing:\n%s", of.seed, r.output)
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
		if r := runSeed(t, chosen(t, *replayFlag)); r.failed {
			t.Error(r.output)
		} else {
			t.Log(r.output)
		}
		return
	}
	if *forFlag == 0 && *spanFlag == 0 {
		*spanFlag = shortSpan
	}
	s := &series{end: time.Now().Add(*forFlag), most: math.MaxUint64, twice: twice, sums: map[string]int{}}
	switch {
	case *forFlag == 0:
		s.most = 2
	case !*soakFlag:
		for _, seed := range failedBefore(t) {
			judge(t, runSeed(t, chosen(t, seed)))
		}
	}
	from := *fromFlag
	if from == 0 {
		from = anySeed()
	}
	s.from = from
	workers := 1
	if *soakFlag {
		s.twice, workers = soakTwice, runtime.NumCPU()
	}
	t.Run("seeds", func(t *testing.T) {
		for range workers {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				s.work(t)
			})
		}
	})
	t.Log(s)
}

// series are runs of one seed after the other. Safe for concurrent use by workers.
type series struct {
	from uint64
	// next is how many seeds have begun, of most.
	next atomic.Uint64
	most uint64
	end  time.Time
	// twice is of how many seeds one is run again.
	twice uint64

	mu   sync.Mutex
	sums map[string]int
	// lasted is virtual time.
	lasted         time.Duration
	seeds, equal   int
	faults, failed int
}

// work runs seeds until it is time to end, or one fails.
func (s *series) work(t *testing.T) {
	for {
		n := s.next.Add(1) - 1
		if n >= s.most || s.most == math.MaxUint64 && !time.Now().Before(s.end) || s.hasFailed() {
			return
		}
		r := runSeed(t, chosen(t, s.from+n))
		judge(t, r)
		equal := false
		if repeats && !r.failed && n/10%s.twice == n%10 {
			again := runSeed(t, r.run)
			if equal = again.trace == r.trace; !equal {
				t.Errorf("%s: it does not repeat, its traces are %s and %s", r.run, r.trace, again.trace)
			}
		}
		s.add(t, r, equal)
	}
}

func (s *series) hasFailed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed > 0
}

// add adds what a run came to, and says now and then what all came to.
func (s *series) add(t *testing.T, r result, equal bool) {
	s.mu.Lock()
	s.seeds++
	s.lasted += r.lasted
	s.faults += r.faults
	if r.failed || t.Failed() {
		s.failed++
	}
	if equal {
		s.equal++
	}
	if _, counts, found := strings.Cut(r.output, " draws: "); found {
		counts, _, _ = strings.Cut(counts, "\n")
		for pair := range strings.SplitSeq(counts, ", ") {
			if at := strings.LastIndexByte(pair, ' '); at > 0 {
				n, _ := strconv.Atoi(pair[at+1:])
				s.sums[pair[:at]] += n
			}
		}
	}
	tell := *soakFlag && s.seeds%100 == 0
	s.mu.Unlock()
	if tell {
		t.Log(s)
	}
}

// String is what all runs came to.
func (s *series) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var counts []string
	for _, what := range slices.Sorted(maps.Keys(s.sums)) {
		counts = append(counts, fmt.Sprintf("%s %d", what, s.sums[what]))
	}
	return fmt.Sprintf("SUM: %d seeds, %d of them twice with equal traces, %d failed, %.2f hours of virtual time, %d faults: %s",
		s.seeds, s.equal, s.failed, s.lasted.Hours(), s.faults, strings.Join(counts, ", "))
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
func judge(t *testing.T, r result) {
	t.Helper()
	if !r.failed {
		if !*soakFlag {
			t.Log(r.output)
		}
		return
	}
	t.Errorf("%s\nseed %d failed. To see it again: %s", r.output, r.seed, r.run)
	if !repeats {
		return
	}
	if fewer := shrink(t, r); fewer.keep != r.keep {
		t.Errorf("seed %d fails with fewer faults, too: %s", r.seed, fewer)
	}
}

// mostShrinking bounds the runs that shrinking takes.
const mostShrinking = 30

// shrink finds fewer faults with which a seed still fails.
func shrink(t *testing.T, r result) run {
	t.Helper()
	var all []string
	for i := range r.faults {
		all = append(all, strconv.Itoa(i))
	}
	shrunk := r.run
	if kept := fewest(all, func(some []string) bool {
		less := r.run
		less.keep = keepOf(some)
		return runSeed(t, less).failed
	}); len(kept) < len(all) {
		shrunk.keep = keepOf(kept)
	}
	return shrunk
}

// fewest leaves parts of a list out, by halves, quarters and so on, for as long as it fails without them.
func fewest(list []string, fails func([]string) bool) []string {
	runs := 0
	for part := (len(list) + 1) / 2; part > 0 && len(list) > 0; part /= 2 {
		for at := 0; at < len(list) && runs < mostShrinking; {
			fewer := append(append([]string{}, list[:at]...), list[min(at+part, len(list)):]...)
			runs++
			if fails(fewer) {
				list = fewer
			} else {
				at += part
			}
		}
	}
	return list
}

// TestFewest: what a failure takes is kept, and the rest is left out as far as the bound on runs allows.
func TestFewest(t *testing.T) {
	list := strings.Split("0,1,2,3,4,5,6,7,8,9", ",")
	for _, needed := range []string{"", "3", "0,9", "2,3,7"} {
		var runs int
		got := fewest(list, func(some []string) bool {
			runs++
			for one := range strings.SplitSeq(needed, ",") {
				if one != "" && !slices.Contains(some, one) {
					return false
				}
			}
			return true
		})
		if strings.Join(got, ",") != needed || runs > mostShrinking {
			t.Errorf("of what fails with %q, %v was kept after %d runs", needed, got, runs)
		}
	}
	if got := fewest(list, func([]string) bool { return false }); len(got) != len(list) {
		t.Errorf("of what fails with all alone, %v was kept", got)
	}
}

func keepOf(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprint(strings.Join(list, ","))
}
