package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// result is one sample and where it is from.
type result struct {
	system string
	round  int
	load   loadName
	sample sample
}

// results are all samples of a run.
type results []result

func (r *results) add(system string, round int, of loadName, s sample) {
	*r = append(*r, result{system, round, of, s})
	fmt.Fprintf(os.Stderr, "round %d  %-16s %-36s %9.0f/s  p50 %8s  p99 %8s  p99.9 %8s\n", round, system, of, s.rate(), short(s.P50), short(s.P99), short(s.P999))
}

// keys are the systems and loads of which there are samples, in the order in which they were taken first.
func (r results) keys() []result {
	var keys []result
	for _, each := range r {
		if !slices.ContainsFunc(keys, func(k result) bool { return k.system == each.system && k.load == each.load }) {
			keys = append(keys, result{system: each.system, load: each.load})
		}
	}
	return keys
}

// of are the samples of a system and a load, by round.
func (r results) of(system string, load loadName) []sample {
	var list []sample
	for _, each := range r {
		if each.system == system && each.load == load {
			list = append(list, each.sample)
		}
	}
	return list
}

// median of what samples are measured by.
func median(list []sample, by func(sample) float64) float64 {
	values := make([]float64, len(list))
	for i, s := range list {
		values[i] = by(s)
	}
	return middle(values)
}

// middle is the median; of an even number of values the lower one of the two in the middle, of none 0.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

func micros(of func(sample) time.Duration) func(sample) float64 {
	return func(s sample) float64 { return float64(of(s).Nanoseconds()) / 1000 }
}

func perOperation(of func(sample) float64) func(sample) float64 {
	return func(s sample) float64 { return of(s) / float64(max(s.Done, 1)) }
}

// print writes a table of medians.
func (r results) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "load\tsystem\tper second\tp50 ms\tp99 ms\tp99.9 ms\tnodes' CPU µs\tcaller's CPU µs\tbytes written\trounds\t")
	for _, key := range r.keys() {
		list := r.of(key.system, key.load)
		ms := func(d func(sample) time.Duration) float64 { return median(list, micros(d)) / 1000 }
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%d\t\n", key.load, key.system, median(list, sample.rate),
			ms(func(s sample) time.Duration { return s.P50 }), ms(func(s sample) time.Duration { return s.P99 }),
			ms(func(s sample) time.Duration { return s.P999 }),
			median(list, perOperation(micros(func(s sample) time.Duration { return s.Processor }))),
			median(list, perOperation(micros(func(s sample) time.Duration { return s.Callers }))),
			median(list, perOperation(func(s sample) float64 { return float64(s.Written) })), len(list))
	}
	_ = t.Flush()
}

// short writes a duration with three digits or so.
func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// writeCSV writes one line a sample.
func (r results) writeCSV(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := csv.NewWriter(f)
	lines := [][]string{{"system", "round", "load", "place", "callers", "done", "seconds", "p50_us", "p99_us", "p999_us", "longest_us",
		"nodes_cpu_us", "callers_cpu_us", "written_bytes"}}
	for _, each := range r {
		s := each.sample
		us := func(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
		lines = append(lines, []string{each.system, strconv.Itoa(each.round), string(each.load.what), string(each.load.at),
			strconv.Itoa(each.load.callers), strconv.Itoa(s.Done), strconv.FormatFloat(s.Elapsed.Seconds(), 'f', 3, 64),
			us(s.P50), us(s.P99), us(s.P999), us(s.Longest), us(s.Processor), us(s.Callers), strconv.FormatInt(s.Written, 10)})
	}
	return w.WriteAll(lines)
}
