package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
)

func TestWritesGoOnWhenTheLeaderStops(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 1000))
	leader := leaderOf(t, list)
	var survivors []*site
	for _, s := range list {
		if s != leader {
			survivors = append(survivors, s)
		}
	}
	var writers sync.WaitGroup
	half := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := range 100 {
				if w == 0 && i == 20 {
					close(half)
				}
				s := survivors[(w+i)%2]
				c, err := fsm.NewCommand("operator", ulid.Make().String(), createInstance(fmt.Sprintf("i%d-%d", w, i), 1))
				if err != nil {
					t.Error(err)
					return
				}
				o, err := s.node.Propose(t.Context(), c)
				if err != nil || o.Refusal != nil {
					t.Errorf("write %d of writer %d: %v %v", i, w, err, o.GetRefusal())
				}
			}
		})
	}
	<-half
	leader.stop()
	writers.Wait()
	view, _, err := survivors[0].node.Read(t.Context(), cluster.Read{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(view.Instances("themis", 0, 1000)); n != 400 {
		t.Fatalf("%d instances after 400 acknowledged creations", n)
	}
	leader.start()
	sameDigests(t, list)
}

// E1: a repeat through any node returns the recorded outcome.
func TestE1RepeatThroughAnotherNode(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	c, err := fsm.NewCommand("operator", "the-same-id", createInstance("bordeaux", 15))
	if err != nil {
		t.Fatal(err)
	}
	first, err := list[0].node.Propose(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		again, err := s.node.Propose(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Repeated || again.Index != first.Index || again.GetInstance().GetInstance().GetSerial() != first.GetInstance().GetInstance().GetSerial() {
			t.Errorf("through %s: %v, first was %v", s.options.ID, again, first)
		}
	}
	other, err := fsm.NewCommand("operator", "the-same-id", createInstance("lyon", 10))
	if err != nil {
		t.Fatal(err)
	}
	o, err := list[1].node.Propose(t.Context(), other)
	if err != nil || fsm.Code(o.Refusal.GetCode()) != fsm.IdempotencyMismatch {
		t.Fatalf("the same id with another request: %v %v", o, err)
	}
}

func TestMinorityAnswersStaleReadsAndRefusesTheRestQuickly(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	sameDigests(t, list)
	last := list[2]
	list[0].stop()
	list[1].stop()
	eventually(t, "the node says that it is alone", func() error {
		if err := last.node.Ready(); err == nil || !strings.Contains(err.Error(), "It reaches 1 of 3 voters, and 2 are needed") {
			return fmt.Errorf("it says: %w", err)
		}
		return nil
	})
	view, age, err := last.node.Read(t.Context(), cluster.Read{Stale: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := view.Contract("themis"); !ok || age <= 0 {
		t.Errorf("stale read: contract there %v, age %s", ok, age)
	}
	// Longer than an election: from then on the answer is immediate.
	eventually(t, "a linearizable read is refused at once", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, _, err := last.node.Read(ctx, cluster.Read{})
		if codeOf(err) != cluster.NoLeader || ctx.Err() != nil {
			return fmt.Errorf("answered with code %q", codeOf(err))
		}
		return nil
	})
	c, err := fsm.NewCommand("operator", "a", createInstance("x", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.node.Propose(t.Context(), c); codeOf(err) != cluster.NoLeader {
		t.Errorf("a write: %v", err)
	}
	if _, err := last.node.DryRun(t.Context(), c); codeOf(err) != cluster.NoLeader {
		t.Errorf("a dry run: %v", err)
	}
}

func TestMinIndexWaitsForThatIndexOnly(t *testing.T) {
	list := startAll(t, 3)
	o := list[0].propose(putContract(t, 30))
	for _, s := range list {
		view, _, err := s.node.Read(t.Context(), cluster.Read{Stale: true, MinIndex: o.Index})
		if err != nil || view.Index() < o.Index {
			t.Fatalf("%s: %v", s.options.ID, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := list[1].node.Read(ctx, cluster.Read{Stale: true, MinIndex: o.Index + 1000}); codeOf(err) != cluster.IndexTimeout {
		t.Fatalf("an index that is not there: %v", err)
	}
}

func TestFollowerCatchesUpThroughASnapshot(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.options.SnapshotThreshold, s.options.TrailingLogs, s.options.SnapshotInterval = 20, 5, 50*time.Millisecond
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 10000))
	lagging := list[2]
	if leaderOf(t, list) == lagging {
		if err := lagging.node.Transfer(t.Context(), list[0].options.ID, byOperator); err != nil {
			t.Fatal(err)
		}
	}
	lagging.stop()
	for i := 0; ; i++ {
		list[i%2].propose(createInstance(fmt.Sprintf("i%d", i), 1))
		if leaderOf(t, list).node.Status().SnapshotIndex > 40 {
			break
		}
	}
	lagging.start()
	sameDigests(t, list)
	if s := lagging.node.Status(); s.SnapshotIndex == 0 {
		t.Errorf("the node caught up without a snapshot: %+v", s)
	}
}

// lines is a log's output.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// with returns the lines that hold all these.
func (l *lines) with(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			found = append(found, line)
		}
	}
	return found
}

func TestSilentPeerIsToldOnce(t *testing.T) {
	list := sites(t, 3)
	log := new(lines)
	for _, s := range list {
		s.options.Log = hclog.New(&hclog.LoggerOptions{Name: s.options.ID, Level: hclog.Debug, Output: log, IndependentLevels: true})
		s.start()
	}
	oneCluster(t, list)
	leader := leaderOf(t, list)
	down := list[0]
	if down == leader {
		down = list[1]
	}
	down.stop()
	repeated := []string{leader.options.ID + ".raft", "failed to heartbeat to", down.listen, "connection refused"}
	eventually(t, "heartbeats fail again and again", func() error {
		if n := len(log.with(append(repeated, "[DEBUG]")...)); n < 3 {
			return fmt.Errorf("%d failed", n)
		}
		return nil
	})
	if told := log.with(append(repeated, "[WARN]")...); len(told) != 1 {
		t.Errorf("it is told %d times: %q", len(told), told)
	}
	if errs := log.with("[ERROR]", "peer="); len(errs) > 0 {
		t.Errorf("an error of this node: %q", errs)
	}
}

// TestHandOver: leadership goes to another voter, and the node goes on as a follower. Where there is no other voter it stays.
func TestHandOver(t *testing.T) {
	list, later := joiners(t, 1, 2)
	lone, replica := list[0], later[0]
	replica.options.Nonvoter = true
	replica.start()
	replica.ready()
	lone.node.HandOver()
	if s := lone.node.Status(); s.Role != cluster.Leader {
		t.Errorf("the only voter is %s", s.Role)
	}
	three := startAll(t, 3)
	old := leaderOf(t, three)
	old.node.HandOver()
	if s := old.node.Status(); s.Role == cluster.Leader {
		t.Error("it still leads")
	}
	old.propose(putContract(t, 30))
}
