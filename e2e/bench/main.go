// Command bench measures licet beside etcd on one machine: three nodes each, one system after the other on the same disk,
// several rounds, each with the same loads. What it prints are medians over the rounds and ratios; only the ratios say
// something of another machine. It is a module of its own, so that the product does not depend on what it compares with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type settings struct {
	rounds int
	each   time.Duration
	only   string
	dir    string
	csv    string
	// program is the path of a licet that was built before.
	program string
}

func main() {
	var s settings
	var callers int
	var inside, profile string
	number := flag.Int("serve-etcd", -1, "serve node `N` of etcd; for the program itself")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each system is started and measured")
	flag.DurationVar(&s.each, "time", 5*time.Second, "how long each load lasts")
	flag.StringVar(&s.only, "only", "", "measure this `system` alone: licet, etcd, bare raft, licet in process")
	flag.StringVar(&s.dir, "dir", "", "where nodes keep their data (default: a new temporary directory, removed at the end)")
	flag.StringVar(&s.csv, "csv", "", "write every sample into this `file`")
	flag.StringVar(&s.program, "program", "", "the licet to measure, a `file` (default: built from the tree around this module)")
	flag.StringVar(&inside, "inner", "", "measure this `system` in this process and print one sample: bare raft, licet in process")
	flag.IntVar(&callers, "callers", 256, "with -inner: how many wait for one answer each")
	flag.StringVar(&profile, "profile", "", "with -inner: write a profile of the processor into this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *number >= 0:
		err = serveEtcd(s.dir, *number)
	case inside != "":
		err = sampleInner(ctx, inner(inside), s.dir, load{Callers: callers, For: s.each}, profile, os.Stdout)
	default:
		err = s.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and prints.
func (s settings) run(ctx context.Context) (err error) {
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	}
	program := s.program
	if program == "" {
		if program, err = buildLicet(ctx, s.dir); err != nil {
			return err
		}
	}
	var all results
	for round := 1; round <= s.rounds; round++ {
		if err := s.round(ctx, round, program, &all); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	all.print(os.Stdout)
	fmt.Println()
	all.printRatios(os.Stdout)
	if s.csv == "" {
		return nil
	}
	return all.writeCSV(s.csv)
}

// round measures each system once, one after the other, each alone and in a directory of its own.
func (s settings) round(ctx context.Context, round int, program string, into *results) error {
	starts := map[string]func(context.Context, string) (system, error){licetName: startLicet(program), etcdName: startEtcd}
	for _, name := range []string{licetName, etcdName} {
		err := s.inDirectory(name, func(dir string) error {
			sys, err := starts[name](ctx, dir)
			if err != nil {
				return err
			}
			return errors.Join(s.measure(ctx, name, round, sys, into), sys.stop())
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, callers := range innerCallers {
		for _, i := range inners {
			err := s.inDirectory(string(i), func(dir string) error {
				got, err := i.measure(ctx, dir, load{Callers: callers, For: s.each})
				if err == nil {
					into.add(string(i), round, loadName{propose, inside, callers}, got)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// inDirectory has something done in a new directory, if its name is one that is asked for.
func (s settings) inDirectory(name string, do func(dir string) error) error {
	if s.only != "" && s.only != name {
		return nil
	}
	dir := filepath.Join(s.dir, strings.ReplaceAll(name, " ", "-"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := do(dir); err != nil {
		// What it left is for whoever looks for the reason.
		return err
	}
	return os.RemoveAll(dir)
}

// loads are measured in this order.
var loads = []loadName{
	{checkout, leader, 1}, {checkout, leader, 64}, {checkout, leader, 256},
	{checkout, follower, 64}, {checkout, follower, 256},
	{pair, leader, 64}, {bulk, leader, 4}, {renewals, leader, 4},
	{read, leader, 64}, {read, follower, 64},
}

// measure runs all loads against one system.
func (s settings) measure(ctx context.Context, name string, round int, sys system, into *results) error {
	for _, of := range loads {
		do, err := sys.operation(of, of.callers)
		if errors.Is(err, errNotComparable) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", of, err)
		}
		sample, err := measureOne(ctx, sys, load{Callers: of.callers, For: s.each}, do)
		if err != nil {
			return fmt.Errorf("%s: %w", of, err)
		}
		if err := account(ctx, sys, of, sample.Done); err != nil {
			return fmt.Errorf("%s: %w", of, err)
		}
		into.add(name, round, of, sample)
	}
	return nil
}

func measureOne(ctx context.Context, sys system, l load, do operation) (sample, error) {
	before, err := usageOf(sys.pids())
	if err != nil {
		return sample{}, err
	}
	own, err := usageOf([]int{os.Getpid()})
	if err != nil {
		return sample{}, err
	}
	got, err := l.run(ctx, do)
	if err != nil {
		return sample{}, err
	}
	after, err := usageOf(sys.pids())
	if err != nil {
		return sample{}, err
	}
	ownAfter, err := usageOf([]int{os.Getpid()})
	got.Processor, got.Written = after.processor-before.processor, after.written-before.written
	got.Callers = ownAfter.processor - own.processor
	return got, err
}

// account holds what was acknowledged against what is there: a rate is worth nothing if anything was lost or done twice.
func account(ctx context.Context, sys system, of loadName, done int) error {
	want := done
	switch of.what {
	case bulk:
		want *= bulkItems
	case pair:
		want = 0
	case read, renewals:
		return nil
	}
	got, err := sys.count(ctx, of)
	if err == nil && got != want {
		err = fmt.Errorf("%d were acknowledged, %d are there", want, got)
	}
	return err
}
