package cluster_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/trail"
)

// flood proposes n writes at once, so that few entries take them.
func flood(t *testing.T, list []*site, n int) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c, err := fsm.NewCommand("operator", ulid.Make().String(), createInstance(fmt.Sprintf("flood-%s", ulid.Make()), 1))
			if err == nil {
				_, err = list[i%len(list)].node.Propose(t.Context(), c)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// sameFiles stops all nodes and compares their files with each other and with the state.
func sameFiles(t *testing.T, list []*site) *trail.Sum {
	t.Helper()
	sameDigests(t, list)
	view := list[0].node.Status().View
	last, head, _ := view.Chain()
	var dirs []string
	for _, s := range list {
		s.stop()
		dirs = append(dirs, trail.Directory(s.options.DataDir))
	}
	sum, err := trail.Verify(dirs, &trail.Anchors{Keys: view.SigningKeys()})
	if err != nil || sum.Damaged() || sum.First != 1 {
		t.Fatalf("%+v %v", sum, err)
	}
	for _, r := range sum.Reports {
		if r.Last != last || r.Chain != fmt.Sprintf("%x", head) {
			t.Errorf("%s ends with row %d and chain %s; the state with %d and %x", r.Dir, r.Last, r.Chain, last, head)
		}
		if r.Signed == nil || r.Signed.Row != last {
			t.Errorf("%s: a node that stops certifies its rows up to %d: %+v", r.Dir, last, r.Signed)
		}
	}
	return sum
}

func TestTrailIsTheSameOnAllNodesAfterFailover(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.options.TrailFileBytes = 8 << 10
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 1000))
	flood(t, list, 50)
	leader := leaderOf(t, list)
	leader.stop()
	var survivors []*site
	for _, s := range list {
		if s != leader {
			survivors = append(survivors, s)
		}
	}
	flood(t, survivors, 50)
	leader.start()
	flood(t, survivors, 20)
	sum := sameFiles(t, list)
	for _, r := range sum.Reports {
		if len(r.Gaps) > 0 || r.Rows != r.Last || r.Last < 122 {
			t.Errorf("%+v", r)
		}
	}
	// All of them go on, and write nothing twice.
	for _, s := range list {
		s.start()
	}
	flood(t, list, 10)
	if sum := sameFiles(t, list); sum.Incomplete() || sum.Last < 132 {
		t.Errorf("%+v", sum)
	}
}

// What a node misses for good is a gap in its files, and the other nodes fill it.
func TestTrailAfterASnapshotHasAGap(t *testing.T) {
	list, log := sites(t, 3), new(lines)
	for _, s := range list {
		s.options.SnapshotThreshold, s.options.TrailingLogs, s.options.SnapshotInterval = 5, 2, 50*time.Millisecond
		s.options.Log = hclog.New(&hclog.LoggerOptions{Name: s.options.ID, Level: hclog.Warn, Output: log, IndependentLevels: true})
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 10_000))
	lagging := list[2]
	if leaderOf(t, list) == lagging {
		if err := lagging.node.Transfer(t.Context(), list[0].options.ID, byOperator); err != nil {
			t.Fatal(err)
		}
	}
	sameDigests(t, list)
	had, _, _ := lagging.node.Status().View.Chain()
	missed := lagging.node.Status().LastIndex + 1
	lagging.stop()
	list[0].propose(&fsmpb.Body{Kind: &fsmpb.Body_PutSettings{PutSettings: &fsmpb.PutSettings{Settings: &fsmpb.Settings{RequestLimit: fsm.MinRequestLimit}}}})
	flood(t, list[:2], 1500)
	forgotten := max(list[0].node.Status().LastIndex, list[1].node.Status().LastIndex)
	eventually(t, "a snapshot that has forgotten rows", func() error {
		list[0].propose(createInstance(ulid.Make().String(), 1))
		for _, s := range list[:2] {
			status := s.node.Status()
			// An entry has many rows: a snapshot of a few entries before may still have them all.
			if status.SnapshotIndex < forgotten {
				return fmt.Errorf("%s has one of index %d, not of %d", s.options.ID, status.SnapshotIndex, forgotten)
			}
			// The log is cut some time after the snapshot is there.
			first, err := s.node.FirstIndex()
			if err == nil && first <= missed {
				err = fmt.Errorf("the log of %s begins at %d", s.options.ID, first)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	lagging.start()
	sum := sameFiles(t, list)
	if sum.Incomplete() {
		t.Errorf("the others do not fill the gap: %+v", sum)
	}
	r := sum.Reports[2]
	if len(r.Gaps) != 1 || r.Gaps[0].From != had+1 || r.Rows != r.Last-(r.Gaps[0].To-had) {
		t.Errorf("%+v, and it had %d rows", r, had)
	}
	if told := log.with("never had a part of the audit trail"); len(told) != 1 {
		t.Errorf("told %d times: %v", len(told), told)
	}
}

// A node whose audit trail can't be written ends; the others go on.
func TestTrailThatCannotBeWrittenEndsTheNode(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.options.TrailFileBytes = 4 << 10
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 1000))
	broken := list[2]
	dir := trail.Directory(broken.options.DataDir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	flood(t, list[:2], 50)
	select {
	case err := <-broken.node.Failed():
		if !strings.Contains(err.Error(), "the audit trail can't be written") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the node goes on")
	}
	if o := list[0].propose(createInstance("after", 1)); o.Refusal != nil {
		t.Error(fsm.Detail(o.Refusal))
	}
	if err := broken.node.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "the audit trail") {
		t.Errorf("it stopped with %v", err)
	}
	broken.node = nil
}

// Rows that the state has forgotten come out of the node's files.
func TestTrailIsReadFromStateAndFiles(t *testing.T) {
	list := startAll(t, 1)
	list[0].propose(putContract(t, 10_000))
	list[0].propose(&fsmpb.Body{Kind: &fsmpb.Body_PutSettings{PutSettings: &fsmpb.PutSettings{Settings: &fsmpb.Settings{RequestLimit: fsm.MinRequestLimit}}}})
	flood(t, list, 1500)
	view, _, err := list[0].node.Read(t.Context(), cluster.Read{})
	if err != nil {
		t.Fatal(err)
	}
	if view.OldestWrite() < 100 {
		t.Fatalf("the state has all from row %d on", view.OldestWrite())
	}
	last, _, _ := view.Chain()
	after := uint64(0)
	for after < last {
		rows, err := list[0].node.Trail(t.Context(), view, after, 333)
		if err != nil || len(rows) == 0 {
			t.Fatalf("after row %d: %v", after, err)
		}
		for _, row := range rows {
			if row.Seq != after+1 {
				t.Fatalf("row %d comes after row %d", row.Seq, after)
			}
			after++
		}
	}
	if rows, err := list[0].node.Trail(t.Context(), view, last, 10); err != nil || len(rows) > 0 {
		t.Errorf("%d rows after the last: %v", len(rows), err)
	}
}
