// Command overlay derives from the installed Go toolchain what makes a simulation repeat: copies of a few files of its
// runtime in which what is drawn or measured comes from a seeded generator. It writes them and an overlay for go build's
// -overlay into a directory, and prints the overlay's path:
//
//	go test -c -tags repeat -overlay "$(go run ./e2e/sim/overlay .bin/sim)" ./e2e/sim
//
// The toolchain itself is not changed. One whose files are not as they are known here is refused.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// edit replaces a text, which is there exactly once, of a file of the standard library.
type edit struct{ file, old, next string }

var edits = []edit{
	// Random numbers: math/rand, maps.
	{"runtime/rand.go", "func rand() uint64 {\n\t// Note:", "func rand() uint64 {\n\tif !dst.on || getg().bubble != nil {\n\t\treturn dstRand()\n\t}\n\t// Note:"},
	// A thread more draws nothing: how many there are depends on the time that passes.
	{"runtime/rand.go", "mp.cheaprand = rand()", "mp.cheaprand = 0x9e3779b97f4a7c15"},
	// Which case of a select goes first.
	{"runtime/select.go", "j := cheaprandn(uint32(norder + 1))", "j := dstn(uint32(norder + 1))"},
	// Which of two timers of the same moment fires first.
	{"runtime/time.go", "t.rand = cheaprand()", "t.rand = dst32()"},
	// Who waits where in a semaphore's tree.
	{"runtime/sema.go", "s.ticket = cheaprand() | 1", "s.ticket = dst32() | 1"},
	// How maps hash.
	{"runtime/alg.go", "hashkey[i] = uintptr(bootstrapRand())", "hashkey[i] = uintptr(0x9e3779b97f4a7c15 & (1<<32 - 1) * uint64(i+1))"},
	{"runtime/alg.go", "\tkey[i] = bootstrapRand()", "\tkey[i] = 0x9e3779b97f4a7c15 * uint64(i+1)"},
	// Which goroutine goes on: not by the time that passes, but by the seed.
	{"runtime/proc.go", "const randomizeScheduler = raceenabled", "const randomizeScheduler = true"},
	{"runtime/proc.go", "if randomizeScheduler && next && randn(2) == 0 {", "if randomizeScheduler && next && dst.on && gp.bubble != nil && dstn(2) == 0 {"},
	{"runtime/proc.go", "j := cheaprandn(i + 1)\n\t\t\tbatch[i]", "j := dstn(i + 1)\n\t\t\tbatch[i]"},
	{"runtime/proc.go", "j := cheaprandn(i + 1)\n\t\t\tpp.runq[off(i)]", "j := dstn(i + 1)\n\t\t\tpp.runq[off(i)]"},
	{"runtime/proc.go", "if pp.schedtick%61 == 0 && !sched.runq.empty() {", "if !dst.on && pp.schedtick%61 == 0 && !sched.runq.empty() {"},
	{"runtime/proc.go", "func retake(now int64) uint32 {\n", "func retake(now int64) uint32 {\n\tif dstAlone() {\n\t\treturn 0\n\t}\n"},
	{"runtime/proc.go", "nmp := mget()\n\tif nmp == nil {", "nmp := dstIdleThread()\n\tif nmp == nil {"},
	// Where memory is, and so the order of maps whose keys are pointers.
	{"runtime/malloc.go", "randomizeHeapBase = goexperiment.RandomizedHeapBase64 &&", "randomizeHeapBase = false && goexperiment.RandomizedHeapBase64 &&"},
	// Nor is memory taken for the caches of type assertions, which grow by lot, and each thread has its own lots.
	{"runtime/iface.go", "if cheaprand()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\treturn tab", "if dstAlone() || cheaprand()&1023 != 0 {\n\t\treturn tab"},
	{"runtime/iface.go", "if cheaprand()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\t// This", "if dstAlone() || cheaprand()&1023 != 0 {\n\t\t// This"},
	// When a mutex is handed on.
	{"internal/sync/mutex.go", "waitStartTime = runtime_nanotime()", "waitStartTime = 1"},
	{"internal/sync/mutex.go", "runtime_nanotime()-waitStartTime > starvationThresholdNs", "waitStartTime < 0"},
}

// generator is added to package runtime. Random numbers come from it from the process's start on, with another seed, as maps that packages make
// when they are initialised would differ otherwise; so would they if goroutines that packages start took turns by the time that passes. Nothing
// else runs in a simulation's process, on its one processor, so that there is no lock.
const generator = `package runtime

import _ "unsafe"

var dst struct {
	on    bool
	state uint64
	draws uint64
}

//go:linkname dstSeed
func dstSeed(seed uint64, on bool) { dst.state, dst.draws, dst.on = seed, 0, on }

//go:linkname dstDraws
func dstDraws() uint64 { return dst.draws }

// dstRand is splitmix64.
//
//go:nosplit
func dstRand() uint64 {
	dst.draws++
	dst.state += 0x9e3779b97f4a7c15
	z := dst.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// dstThreads is how many threads there are, more than a simulation needs at once. The runtime makes one when none is idle at the moment, which
// depends on the time that passes, and takes memory for it: later objects would be elsewhere, and maps whose keys are pointers in another
// order. So all are made before there is anything else, and who finds none idle waits for one.
const dstThreads = 12

func init() {
	for dstAlone() && mcount() < dstThreads {
		systemstack(func() { newm(dstIdle, nil, -1) })
	}
}

// dstIdle has a new thread wait for work.
//
//go:nowritebarrierrec
func dstIdle() {
	lock(&sched.lock)
	mput(getg().m)
	unlock(&sched.lock)
	mPark()
}

// dstIdleThread returns an idle thread, nil if there may be more.
//
//go:nowritebarrierrec
func dstIdleThread() *m {
	mp := mget()
	for mp == nil && dstAlone() && mcount() >= dstThreads {
		unlock(&sched.lock)
		osyield()
		lock(&sched.lock)
		mp = mget()
	}
	return mp
}

// dstAlone reports whether this process has one processor, as a simulation's has.
//
//go:nosplit
func dstAlone() bool { return dst.on || gomaxprocs == 1 }

//go:nosplit
func dst32() uint32 {
	if !dstAlone() {
		return cheaprand()
	}
	return uint32(dstRand() >> 32)
}

//go:nosplit
func dstn(n uint32) uint32 { return uint32((uint64(dst32()) * uint64(n)) >> 32) }
`

func main() {
	mutation := flag.String("mutation", "", "add this fault, to see whether simulations find it")
	list := flag.Bool("mutations", false, "print which faults there are, and the test that is to find each if simulations are not, and do nothing else")
	flag.Parse()
	if *list {
		for _, m := range mutations {
			fmt.Printf("%s\t%s\n", m.name, m.test)
		}
		return
	}
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: overlay [-mutations] [-mutation NAME] DIRECTORY")
		os.Exit(2)
	}
	path, err := write(flag.Arg(0), *mutation)
	if err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

// errUnknown says what to do with a toolchain that is not known here.
var errUnknown = errors.New("this toolchain is not one that is known here (go1.26): without the overlay (no -tags repeat) simulations run, but seeds do not repeat")

// ask has the go command answer.
func ask(args ...string) (string, error) {
	output, err := exec.Command("go", args...).Output() //nolint:noctx // the arguments are ours, and it ends with this process
	return strings.TrimSpace(string(output)), err
}

func write(dir, mutation string) (string, error) {
	root, err := ask("env", "GOROOT")
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	texts := map[string]string{}
	for _, e := range edits {
		if err := e.apply(texts, filepath.Join(root, "src", e.file)); err != nil {
			return "", errors.Join(errUnknown, err)
		}
	}
	texts[filepath.Join(root, "src", "runtime", "dst.go")] = generator
	if mutation != "" {
		if err := mutate(dir, texts, mutation); err != nil {
			return "", err
		}
	}
	return save(dir, texts)
}

// apply changes a file's text, which it reads if nobody has changed it yet.
func (e edit) apply(texts map[string]string, path string) error {
	if texts[path] == "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		texts[path] = string(text)
	}
	if n := strings.Count(texts[path], e.old); n != 1 {
		return fmt.Errorf("%q is %d times in %s", e.old, n, path)
	}
	texts[path] = strings.Replace(texts[path], e.old, e.next, 1)
	return nil
}

// mutate changes texts of the repository as a mutation wants it, and those of a module in a copy: an overlay can't replace them, and so DIRECTORY
// then has a go.mod for -modfile that names the copy.
func mutate(dir string, texts map[string]string, name string) error {
	i := slices.IndexFunc(mutations, func(m mutation) bool { return m.name == name })
	if i < 0 {
		return fmt.Errorf("there is no mutation %q", name)
	}
	for _, e := range mutations[i].edits {
		module, file, other := strings.Cut(e.file, " ")
		if other {
			if err := mutateModule(dir, module, edit{file, e.old, e.next}); err != nil {
				return err
			}
			continue
		}
		root, err := ask("list", "-m", "-f", "{{.Dir}}")
		if err != nil {
			return err
		}
		if err := e.apply(texts, filepath.Join(root, e.file)); err != nil {
			return err
		}
	}
	return nil
}

func mutateModule(dir, module string, e edit) error {
	copied := filepath.Join(dir, "module")
	if _, err := os.Stat(copied); err != nil {
		if err := copyModule(dir, module, copied); err != nil {
			return err
		}
	}
	path := filepath.Join(copied, e.file)
	texts := map[string]string{}
	if err := e.apply(texts, path); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(texts[path]), 0o600)
}

func copyModule(dir, module, copied string) error {
	root, err := ask("list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		return err
	}
	own, err := ask("env", "GOMOD")
	if err != nil {
		return err
	}
	text, err := os.ReadFile(own)
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(filepath.Dir(own), "go.sum"))
	if err != nil {
		return err
	}
	text = fmt.Appendf(text, "\nreplace %s => %s\n", module, copied)
	return errors.Join(os.WriteFile(filepath.Join(dir, "go.mod"), text, 0o600), os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600))
}

// save writes the texts and the overlay that names them.
func save(dir string, texts map[string]string) (string, error) {
	replace := map[string]string{}
	for path, text := range texts {
		kept := filepath.Join(dir, strings.ReplaceAll(strings.Trim(path, "/"), "/", "_"))
		if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = kept
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
