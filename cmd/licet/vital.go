package main

import (
	"fmt"
	"math"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// From where on something is worth a word. The alerts of deploy/prometheus/alerts.yaml have the same bounds.
const (
	// lowShare and lowBytes are the least space, of the whole and in bytes, that a disk should have.
	lowShare, lowBytes = 0.1, 1 << 30
	// certificateSoon is how long before its end a certificate should be renewed.
	certificateSoon = 14 * 24 * time.Hour
	// clockShare is the part of the allowed difference from which on clocks are worth a look.
	clockShare = 5
	// contactLate is how long ago a follower that is well has heard of its leader at most, in milliseconds.
	contactLate = 2000
)

// vitals reports what is wrong with a node by its own account.
func (f *findings) vitals(v *apiv1.NodeStatus, now time.Time) {
	if behind := v.Consensus.CommitIndex - min(v.Consensus.CommitIndex, v.Consensus.AppliedIndex); behind > lag {
		f.add("Wait, if it has just started; else look at its processor and its disk.", "%s has %d committed entries still to apply", v.ID, behind)
	}
	if ms := v.Consensus.LastContactMs; ms != nil && *ms > contactLate && v.Leader != "" {
		f.add("Look at the link between it and the leader.", "%s last heard of its leader %s ago", v.ID, span(time.Duration(*ms)*time.Millisecond))
	}
	if v.Queue.Limit > 0 && 2*v.Queue.Waiting > v.Queue.Limit {
		f.add("Find out who sends so many writes, and whether disks or links are slow: `licet doctor`.", "%s has %d of at most %d writes waiting", v.ID, v.Queue.Waiting, v.Queue.Limit)
	}
	if v.Disk != nil && spaceLow(v.Disk.FreeBytes, v.Disk.SizeBytes) {
		f.add("Make room where node.data_dir is, or enlarge it: a node whose disk is full stops.", "%s has %s of disk left, %s", v.ID, amountOf(v.Disk.FreeBytes), shareOf(v.Disk))
	}
	for _, c := range []struct {
		name string
		ends *time.Time
	}{{"certificate towards other nodes", v.CertificateEnds}, {"API's certificate", v.HTTPCertificateEnds}} {
		if c.ends != nil && c.ends.Sub(now) < certificateSoon {
			f.add("Issue a new one, put it in its place and send the node SIGHUP.", "%s's %s %s", v.ID, c.name, ending(*c.ends, now))
		}
	}
}

// usualSkew is the default of limits.max_clock_skew, in milliseconds: members do not say their own.
const usualSkew = 5000

// allowedSkew is by how much clocks may differ, in milliseconds, as a node says.
func allowedSkew(nodes []seen) int64 {
	for _, x := range nodes {
		if x.value != nil && x.value.Clock != nil {
			return x.value.Clock.LimitMs
		}
	}
	return usualSkew
}

// clocks reports members whose clocks are apart from that of the node that was asked, where limit is allowed.
func (f *findings) clocks(limit int64, members []apiv1.Member) {
	for _, m := range members {
		if m.ClockOffsetMs == nil {
			continue
		}
		if offset := *m.ClockOffsetMs; max(offset, -offset) > limit/clockShare {
			f.add("See to the time service of both (`chronyc tracking`).",
				"%s's clock is %s from that of the node that was asked; %s is allowed", m.ID, signedMs(offset), span(time.Duration(limit)*time.Millisecond))
		}
	}
}

// quorum reports how many voters may still fail.
func (f *findings) quorum(members []apiv1.Member) {
	voters, healthy := 0, 0
	for _, m := range members {
		if m.Voter {
			voters++
			if m.Healthy {
				healthy++
			}
		}
	}
	needed := voters/2 + 1
	switch {
	case voters < 3:
	case healthy < needed:
		f.add("Start nodes, or mend the links between them.", "%d of %d voters are well; %d are needed to write", healthy, voters, needed)
	case healthy == needed && healthy < voters:
		f.add("Bring the missing ones back before anything else is done to the cluster.", "%d of %d voters are well: if one more fails, nothing can be written", healthy, voters)
	}
}

func spaceLow(free, size uint64) bool {
	return size > 0 && (float64(free) < lowShare*float64(size) || free < lowBytes)
}

func shareOf(d *apiv1.DiskSpace) string {
	if d.SizeBytes == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", math.Floor(100*float64(d.FreeBytes)/float64(d.SizeBytes)))
}

// amountOf is a number of bytes for people.
func amountOf(bytes uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if bytes >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(bytes)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", bytes)
}

// span is a time for people, with two digits that count.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
}

func signedMs(ms int64) string {
	if ms < 0 {
		return "-" + span(time.Duration(-ms)*time.Millisecond)
	}
	return "+" + span(time.Duration(ms)*time.Millisecond)
}

func ending(ends, now time.Time) string {
	if left := ends.Sub(now); left > 0 {
		return "ends in " + span(left)
	}
	return "ended " + span(now.Sub(ends)) + " ago"
}
