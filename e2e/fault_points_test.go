//go:build linux && faults

package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// clockFailpoint sets a node's clock.
	clockFailpoint = "clockOffset"
	// ordered is how a log tells of a crash at a failpoint.
	ordered = "panic: failpoint panic: "
	// hold is for longer than any run takes, in milliseconds.
	hold = 3_600_000
)

var (
	// recoveredPoints are in goroutines in which a panic ends a request and not the process: there it is held up, and then killed.
	recoveredPoints = []string{"requestReceived", "beforeAnswer", "beforeReadWaits"}
	// installPoints are come by when a node takes a leader's snapshot, admissionPoints when a node joins, and termPoints when another one is to lead.
	installPoints   = []string{"beforeRestore", "restoreFails", "afterRestore"}
	admissionPoints = []string{"beforeAdmission", "afterAdmission"}
	// leaderPoints are come by on a leader alone, and followerPoints on the others.
	leaderPoints   = []string{"forwardReceived", "beforeForwardReply", "beforePropose", "afterCommit", "beforeProof", "afterProof"}
	followerPoints = []string{"beforeForward", "afterForward"}
	// readPoints are come by when a client reads, and snapshotPoints when a node takes a snapshot.
	readPoints     = []string{"beforeReadWaits", "beforeProof", "afterProof"}
	snapshotPoints = []string{"snapshotBegun", "snapshotFails", "snapshotWritten", "beforeSnapshotFile", "beforeSnapshotDurable", "afterSnapshotDurable", "beforeDelete"}
	termPoints     = []string{"beforeTerm", "afterTerm", "beforeVote", "afterVote", "beforeTermOpens", "afterTermOpens"}
)

// The faults at failpoints are not in the table: each run has one, and each failpoint has its turn.
var (
	pointKind     = faultKind{name: "failpoint", do: atPoint}
	installKind   = faultKind{name: "failpoint-install", alone: true, do: atInstall}
	admissionKind = faultKind{name: "failpoint-admission", alone: true, do: atAdmission}
)

// failpointKind is how a failpoint is come by.
func failpointKind(name string) *faultKind {
	switch {
	case slices.Contains(installPoints, name):
		return &installKind
	case slices.Contains(admissionPoints, name):
		return &admissionKind
	}
	return &pointKind
}

// order is what a failpoint is to do.
type order struct {
	point, what string
	// crash: the node ends, by itself or killed where it is held up.
	crash, held bool
}

// order draws what a failpoint does: it crashes the node, or holds it up for some time, or returns an error if it can.
func (r *faultRun) order(f *plannedFault) order {
	o := order{point: f.point}
	switch {
	case failpoints[f.point] == "string":
		o.what = `1*return("by order of a test")`
	case f.draw.IntN(3) == 0:
		o.what = fmt.Sprintf("%d*sleep(%d)", 1+f.draw.IntN(3), 50+f.draw.IntN(2000))
	case slices.Contains(recoveredPoints, f.point):
		o.crash, o.held, o.what = true, true, fmt.Sprintf("1*sleep(%d)", hold)
	default:
		o.crash, o.what = true, "1*panic"
	}
	return o
}

// kind names what an order does, for the tally.
func (o order) kind() string {
	switch {
	case o.crash:
		return "failpoint crash"
	case strings.Contains(o.what, "sleep"):
		return "failpoint stall"
	}
	return "failpoint error"
}

// reached returns whether a node came by a failpoint and did what was ordered there, the passes beforehand not counted.
func (r *faultRun) reached(n *Node, o order, before int, within time.Duration) bool {
	err := poll(within, func() error {
		if !n.alive() {
			return nil
		}
		count, err := n.passed(o.point)
		if err == nil && count <= before {
			err = fmt.Errorf("%s was not come by", o.point)
		}
		if err == nil && o.crash && !o.held {
			err = errors.New("it still runs")
		}
		return err
	})
	if err != nil {
		r.say("%s: %v", n.id, err)
		return false
	}
	if o.held {
		n.Kill()
	}
	r.all.count[o.kind()]++
	r.all.passes.acted[o.point]++
	r.say("%s came by %s: %s", n.id, o.point, o.what)
	return true
}

// over ends what a failpoint does.
func (r *faultRun) pointOver(n *Node, o order) {
	r.t.Helper()
	n.env = nil
	if !n.running() {
		// Nothing is wrong with its disk, whatever it says of an error that was ordered.
		r.start(n)
		return
	}
	if err := n.arm(o.point, "off"); err != nil && n.alive() {
		r.t.Fatal(err)
	}
	// One that ends just now is started by whoever looks after nodes that end by themselves; a store that failed by order is sound.
	if o.point == "storeFails" {
		if poll(2*time.Second, n.endedOrNot) == nil {
			r.start(n)
		}
	}
}

// atPoint arms a failpoint that nodes come by in ordinary work, or when another one leads.
func atPoint(r *faultRun, f *plannedFault) func() {
	n := r.target("")
	leader := r.leader()
	switch {
	case leader == nil || r.hurt[leader] > 0:
	case slices.Contains(leaderPoints, f.point):
		n = leader
	case slices.Contains(followerPoints, f.point) && n == leader:
		if n = r.another(leader); r.hurt[n] > 0 || !n.running() {
			n = nil
		}
	}
	if n == nil {
		return nil
	}
	o := r.order(f)
	before, _ := n.passed(o.point)
	r.all.passes.passed[o.point] += before
	if err := n.arm(o.point, o.what); err != nil {
		// It is stopped, or frozen.
		r.say("%s: %v", n.id, err)
		return nil
	}
	over := r.harm(n)
	if slices.Contains(termPoints, o.point) {
		if leader := r.leader(); leader == n {
			r.lead(r.another(n))
			r.lasts(500 * time.Millisecond)
		}
		r.lead(n)
	}
	if slices.Contains(readPoints, o.point) {
		ctx, cancel := context.WithTimeout(r.t.Context(), 3*time.Second)
		defer cancel()
		for range 4 {
			// What it comes to is of no interest.
			go func() { _, _ = n.client.Contract(ctx, "load") }()
		}
	}
	r.reached(n, o, 0, 5*time.Second)
	return func() {
		r.pointOver(n, o)
		over()
	}
}

// atInstall arms a failpoint on a node that takes a leader's snapshot: it was away for longer than the log reaches back.
func atInstall(r *faultRun, f *plannedFault) func() {
	leader := r.c.Leader()
	list := slices.DeleteFunc(slices.Clone(r.in), func(m *Node) bool { return m == leader || r.disks[m] == smallDisk })
	if len(list) == 0 {
		return nil
	}
	n, o := list[f.draw.IntN(len(list))], r.order(f)
	last := n.mustStatus().Consensus.LastIndex
	n.Kill()
	// As TestFollowerCatchesUpBySnapshot: threshold and trailing log of `snapshots`.
	eventually(r.t, "the others have left "+n.id+" behind", func() error {
		s, err := leader.status()
		if err == nil && s.Consensus.SnapshotIndex < last+50 {
			err = fmt.Errorf("the leader has a snapshot at %d, not yet at %d", s.Consensus.SnapshotIndex, last+50)
		}
		return err
	})
	before := 0
	if r.snapshotsOf(n) > 0 {
		// Its own is restored at the start, which is not meant.
		o.what, before = "1*off->"+o.what, 1
	}
	n.env = []string{"GOFAIL_FAILPOINTS=" + strings.Replace(passing(), o.point+"=off", o.point+"="+o.what, 1)}
	over := r.harm(n)
	r.start(n)
	r.reached(n, o, before, 20*time.Second)
	return func() {
		r.pointOver(n, o)
		over()
	}
}

// atAdmission arms a failpoint on a leader that admits a node.
func atAdmission(r *faultRun, f *plannedFault) func() {
	fresh := r.spare()
	if fresh == nil {
		return nil
	}
	n, o := r.c.Leader(), r.order(f)
	r.must(n.arm(o.point, o.what))
	over := r.harm(n)
	r.start(fresh)
	r.reached(n, o, 0, 20*time.Second)
	return func() {
		r.pointOver(n, o)
		over()
		r.joined(fresh)
	}
}
