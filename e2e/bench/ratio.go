package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// side is one of the two that a ratio compares: what a sample is measured by, times a factor.
type side struct {
	system string
	load   loadName
	by     func(sample) float64
	times  float64
}

// ratio compares two sides round by round. What is wanted is the least it should be, or the most.
type ratio struct {
	what        string
	of, to      side
	least, most float64
}

func rateOf(system string, what kind, at place, callers int, times float64) side {
	return side{system, loadName{what, at, callers}, sample.rate, times}
}

func waitOf(system string, what kind, at place, callers int, wait func(sample) time.Duration) side {
	return side{system, loadName{what, at, callers}, micros(wait), 1}
}

func p50(s sample) time.Duration { return s.P50 }
func p99(s sample) time.Duration { return s.P99 }

// ratios are what is aimed at.
var ratios = []ratio{
	{"check-outs at the leader to etcd, 64 callers", rateOf(licetName, checkout, leader, 64, 1), rateOf(etcdName, checkout, leader, 64, 1), 2, 0},
	{"the same, 256 callers", rateOf(licetName, checkout, leader, 256, 1), rateOf(etcdName, checkout, leader, 256, 1), 2, 0},
	{"their p99, 64 callers", waitOf(licetName, checkout, leader, 64, p99), waitOf(etcdName, checkout, leader, 64, p99), 0, 1},
	{"the same, 256 callers", waitOf(licetName, checkout, leader, 256, p99), waitOf(etcdName, checkout, leader, 256, p99), 0, 1},
	{"check-outs at a follower to the leader, 64 callers", rateOf(licetName, checkout, follower, 64, 1), rateOf(licetName, checkout, leader, 64, 1), 0.85, 0},
	{"the same, 256 callers", rateOf(licetName, checkout, follower, 256, 1), rateOf(licetName, checkout, leader, 256, 1), 0.85, 0},
	{"licet in process to bare raft, 256 callers", rateOf(string(inProcess), propose, inside, 256, 1), rateOf(string(bareRaft), propose, inside, 256, 1), 3, 0},
	{"the same, 1024 callers", rateOf(string(inProcess), propose, inside, 1024, 1), rateOf(string(bareRaft), propose, inside, 1024, 1), 3, 0},
	{"p50 of one client over HTTP to one caller of bare raft", waitOf(licetName, checkout, leader, 1, p50), waitOf(string(bareRaft), propose, inside, 1, p50), 0, 1.3},
	{"seats by bulks of 100 to etcd's transactions, 256 callers", rateOf(licetName, bulk, leader, 4, bulkItems), rateOf(etcdName, checkout, leader, 256, 1), 10, 0},
	{"linearizable reads at a follower to etcd's", rateOf(licetName, read, follower, 64, 1), rateOf(etcdName, read, follower, 64, 1), 1, 0},
}

// value is the median over the rounds that have both sides, and how many these are.
func (r ratio) value(all results) (float64, int) {
	of, to := all.of(r.of.system, r.of.load), all.of(r.to.system, r.to.load)
	var values []float64
	for i := range min(len(of), len(to)) {
		values = append(values, r.of.by(of[i])*r.of.times/(r.to.by(to[i])*r.to.times))
	}
	return middle(values), len(values)
}

// printRatios writes what is aimed at beside what came of it.
func (r results) printRatios(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ratio\twanted\tmedian\trounds\t")
	for _, each := range ratios {
		v, rounds := each.value(r)
		if rounds == 0 {
			continue
		}
		wanted, reached := fmt.Sprintf("at least %g", each.least), v >= each.least
		if each.most > 0 {
			wanted, reached = fmt.Sprintf("at most %g", each.most), v <= each.most
		}
		verdict := ""
		if !reached {
			verdict = "not reached"
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%d\t%s\n", each.what, wanted, v, rounds, verdict)
	}
	_ = t.Flush()
}
