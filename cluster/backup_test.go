package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/licet/licet/backup"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/trail"
)

// backup takes a linearizable backup through a node.
func (s *site) backup() []byte {
	s.t.Helper()
	v, _, err := s.node.Read(s.t.Context(), cluster.Read{})
	if err != nil {
		s.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.node.Backup(&b, v, false); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

func (s *site) restore(text []byte, from string) (*cluster.Restored, error) {
	s.t.Helper()
	return s.node.Restore(s.t.Context(), bytes.NewReader(text), cluster.Restore{
		Into: s.node.Status().View.ClusterID(), From: from, Actor: "operator", RequestID: "the-restoration",
	})
}

func (s *site) names() (names []string) {
	s.t.Helper()
	v, _, err := s.node.Read(s.t.Context(), cluster.Read{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range v.Instances("themis", 0, math.MaxInt) {
		names = append(names, i.Name)
	}
	return names
}

// soundTrails sees that no node's files contradict the chain or another node's.
func soundTrails(t *testing.T, list []*site) *trail.Sum {
	t.Helper()
	var dirs []string
	for _, s := range list {
		dirs = append(dirs, trail.Directory(s.options.DataDir))
	}
	sum, err := trail.Verify(dirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range sum.Reports {
		for _, f := range r.Damage {
			t.Errorf("%s: %s", r.Dir, f)
		}
	}
	for _, f := range sum.Conflicts {
		t.Errorf("%s", f)
	}
	return sum
}

// What a member could not read is not restored: it would be sent a snapshot that stops it (ADR 17).
func TestRestoreWaitsForUpgrades(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	leader := leaderOf(t, list)
	text := leader.backup()
	old := followersOf(list, leader)[0]
	old.node.Announce(nil, nil, fsm.SnapshotVersion-1)
	eventually(t, "the leader heard of it", func() error {
		if err := leader.node.Raft().Snapshot().Error(); err == nil || !strings.Contains(err.Error(), old.options.ID) {
			return errors.New("a snapshot comes to " + fmt.Sprint(err))
		}
		return nil
	})
	leader.propose(createInstance("since", 1))
	before := leader.node.Status()
	if _, err := leader.restore(text, ""); codeOf(err) != cluster.Unsupported || !strings.Contains(err.Error(), old.options.ID+" (version 0.0.1-old)") {
		t.Errorf("a backup that %s could not read comes to %v", old.options.ID, err)
	}
	if after := leader.node.Status(); after.View.Digest() != before.View.Digest() || after.LastIndex != before.LastIndex {
		t.Error("the cluster was changed")
	}
	old.stop()
	old.start()
	old.ready()
	eventually(t, "it is restored once all can read it", func() error {
		_, err := leaderOf(t, list).restore(text, "")
		return err
	})
	sameDigests(t, list)
}

// A running cluster goes back to a backup's contents on all nodes, one that was away included, and no
// index, number or audit row goes back.
func TestRestoreIntoTheRunningCluster(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	list[0].propose(createInstance("kept", 1))
	leader := leaderOf(t, list)
	i := slices.Index(list, leader)
	follower, away := list[(i+1)%3], list[(i+2)%3]
	text := follower.backup()
	b, err := backup.Read(bytes.NewReader(text))
	if err != nil || b.Node != follower.options.ID || b.Cluster != leader.node.Status().View.ClusterID() {
		t.Fatalf("%+v: %v", b, err)
	}

	refuse := func(name string, s *site, text []byte, r cluster.Restore, want cluster.Code) {
		t.Helper()
		before := leader.node.Status()
		if _, err := s.node.Restore(t.Context(), bytes.NewReader(text), r); codeOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
		if after := leader.node.Status(); after.View.Digest() != before.View.Digest() || after.LastIndex != before.LastIndex {
			t.Errorf("%s changed the cluster", name)
		}
	}
	into := cluster.Restore{Into: b.Cluster, Actor: "operator", RequestID: "x"}
	refuse("a truncated backup", leader, text[:len(text)-1], into, cluster.BackupInvalid)
	flipped := bytes.Clone(text)
	flipped[len(flipped)/2] ^= 1
	refuse("an altered backup", leader, flipped, into, cluster.BackupInvalid)
	refuse("the wrong cluster", leader, text, cluster.Restore{Into: "another", Actor: "operator", RequestID: "x"}, cluster.WrongCluster)
	refuse("another source", leader, text, cluster.Restore{Into: b.Cluster, From: "another", Actor: "operator", RequestID: "x"}, cluster.WrongCluster)
	refuse("a follower", follower, text, into, cluster.LeaderOnly)

	away.stop()
	lost := leader.propose(createInstance("lost", 2))
	before := leader.node.Status().View
	last, _, _ := before.Chain()
	restored, err := leader.restore(text, "")
	if err != nil {
		t.Fatal(err)
	}
	if restored.Now.Index() <= before.Index() || restored.Now.Clock().WallMs < before.Clock().WallMs {
		t.Errorf("index %d, clock %+v; before: %d, %+v", restored.Now.Index(), restored.Now.Clock(), before.Index(), before.Clock())
	}
	// Whoever reads from now on, through whichever node, sees the backup's contents.
	if names := follower.names(); !slices.Equal(names, []string{"kept"}) {
		t.Errorf("instances after the restoration: %q", names)
	}
	away.start()
	away.ready()
	for n, s := range list {
		o := s.propose(createInstance(fmt.Sprint("new", n), 1))
		if o.Refusal != nil {
			t.Fatal(fsm.Detail(o.Refusal))
		}
		if serial := o.GetInstance().Instance.Serial; serial <= lost.GetInstance().Instance.Serial {
			t.Errorf("serial number %d is used twice", serial)
		}
	}
	sameDigests(t, list)
	for _, s := range list {
		s.stop()
	}
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	if names := list[0].names(); !slices.Equal(names, []string{"kept", "new0", "new1", "new2"}) {
		t.Errorf("instances after a restart: %q", names)
	}
	sameDigests(t, list)
	for _, s := range list {
		s.stop()
	}
	rows, err := trail.Rows(soundTrails(t, list).Reports[i].Dir, last, 1)
	if err != nil || len(rows) != 1 || rows[0].KindName() != "restore_backup" || rows[0].Actor() != "operator" {
		t.Errorf("the row after row %d: %+v, %v", last, rows, err)
	}
}

// A new cluster takes the contents of one that was lost, if it is told whose they are.
func TestRestoreIntoANewCluster(t *testing.T) {
	old := startAll(t, 1)[0]
	old.propose(putContract(t, 30))
	serial := old.propose(createInstance("kept", 1)).GetInstance().Instance.Serial
	text := old.backup()
	id := old.node.Status().View.ClusterID()
	keys := old.node.Status().View.SigningKeys()
	old.stop()
	list := sites(t, 3)
	// The founder finds the lost cluster's key.
	key, err := os.ReadFile(filepath.Join(old.options.DataDir, "signing.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(list[0].options.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(list[0].options.DataDir, "signing.key"), key)
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	leader := leaderOf(t, list)
	if _, err := leader.restore(text, ""); codeOf(err) != cluster.WrongCluster {
		t.Fatalf("another cluster's backup: %v", err)
	}
	if _, err := leader.restore(text, id); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if names := s.names(); !slices.Equal(names, []string{"kept"}) {
			t.Errorf("%s has %q", s.options.ID, names)
		}
	}
	if next := list[1].propose(createInstance("next", 1)).GetInstance().Instance.Serial; next <= serial+1000 {
		t.Errorf("the next serial number is %d; the lost cluster may have used it", next)
	}
	if now := list[2].node.Status().View.SigningKeys(); len(now) != 1 || !now[0].Equal(keys[0]) {
		t.Errorf("the signing keys are %x; that of the lost cluster is %x", now, keys)
	}
	sameDigests(t, list)
	for _, s := range list {
		s.stop()
	}
	soundTrails(t, list)
}

// Under load every write is before a restoration or after it: what was acknowledged after it is there, what was before is gone,
// and no audit row is lost or written twice.
func TestRestoreUnderLoad(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 1_000_000))
	list[0].propose(createInstance("kept", 1))
	leader := leaderOf(t, list)
	text := leader.backup()
	var mu sync.Mutex
	decided := map[string]uint64{}
	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 6 {
		writers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("w%d-%d", w, i)
				c, err := fsm.NewCommand("operator", name, createInstance(name, 1))
				if err != nil {
					t.Error(err)
					return
				}
				// The outcome of one that a restoration cuts off is unknown.
				if o, err := list[w%3].node.Propose(ctx, c); err == nil && o.Refusal == nil {
					mu.Lock()
					decided[name] = o.Index
					mu.Unlock()
				}
			}
		})
	}
	acknowledged := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(decided)
	}
	var restored *cluster.Restored
	// Many times: what holds entries up is missed in some of them only.
	for range 20 {
		before := acknowledged()
		eventually(t, "more writes", func() error {
			if acknowledged() < before+10 {
				return errors.New("not enough")
			}
			return nil
		})
		var err error
		if restored, err = leader.restore(text, ""); err != nil {
			t.Fatal(err)
		}
	}
	before := acknowledged()
	eventually(t, "writes afterwards", func() error {
		if acknowledged() < before+50 {
			return errors.New("not enough")
		}
		return nil
	})
	stop()
	writers.Wait()
	sameDigests(t, list)
	have := map[string]bool{}
	view := list[1].node.Status().View
	for _, i := range view.Instances("themis", 0, 1_000_000) {
		have[i.Name] = true
	}
	for name, index := range decided {
		if after := index > restored.Now.Index(); have[name] != after {
			t.Errorf("%s was decided at index %d; the restoration is at %d, and it is there: %t", name, index, restored.Now.Index(), have[name])
		}
	}
	for _, s := range list {
		s.stop()
	}
	if sum := soundTrails(t, list); len(sum.Gaps) > 0 {
		t.Errorf("rows that no node has: %v", sum.Gaps)
	}
}
