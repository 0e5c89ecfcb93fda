package cluster_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/licet/licet/cluster"
)

// The way back from one surviving node of three: it goes on alone with what it has, the others are wiped
// and join under new ids, and one that comes back unwiped is not heard.
func TestRecoverFromOneSurvivor(t *testing.T) {
	five := sites(t, 5)
	list, more := five[:3], five[3:]
	for _, s := range five {
		s.options.Expect, s.options.Peers = 3, five[0].options.Peers[:3]
	}
	for _, s := range list {
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	list[0].propose(putContract(t, 30))
	last := list[0].propose(createInstance("kept", 1))
	sameDigests(t, list)
	id, index := list[0].node.Status().View.ClusterID(), list[0].node.Status().View.Index()
	survivor := list[0]
	if _, err := cluster.Inspect(survivor.options.DataDir, 1); !errors.Is(err, cluster.ErrInUse) {
		t.Errorf("a running node's directory: %v", err)
	}
	if _, err := cluster.Recover(survivor.options); !errors.Is(err, cluster.ErrInUse) {
		t.Errorf("a running node was recovered: %v", err)
	}
	for _, s := range list {
		s.stop()
	}
	before, err := cluster.Inspect(survivor.options.DataDir, 3)
	if err != nil {
		t.Fatal(err)
	}
	if before.Node != survivor.options.ID || before.Cluster != id || before.View.Index() < index || len(before.Members) != 3 || len(before.Entries) != 3 {
		t.Errorf("%+v", before)
	}
	dropped, err := cluster.Recover(survivor.options)
	if err != nil || !slices.Equal(dropped, []string{"lyon", "paris"}) {
		t.Fatal(dropped, err)
	}
	survivor.start()
	survivor.ready()
	if names := survivor.names(); !slices.Equal(names, []string{"kept"}) || survivor.node.Status().View.ClusterID() != id {
		t.Errorf("after the recovery: %q of cluster %s", names, survivor.node.Status().View.ClusterID())
	}
	next := survivor.propose(createInstance("next", 1))
	if serial := next.GetInstance().Instance.Serial; serial <= last.GetInstance().Instance.Serial+1000 {
		t.Errorf("the next serial number is %d; the lost nodes may have given it out", serial)
	}

	// The two others are a majority of the old members.
	for _, s := range list[1:] {
		s.start()
	}
	eventually(t, "the old members lead each other", func() error {
		for _, s := range list[1:] {
			if s.node.Status().Leader != "" {
				return nil
			}
		}
		return fmt.Errorf("no leader")
	})
	for _, s := range list[1:] {
		s.stop()
	}
	if s := survivor.node.Status(); s.Role != cluster.Leader || s.View.Index() < next.Index {
		t.Errorf("the recovered node was led astray: %+v", s)
	}

	for _, s := range more {
		s.options.Peers = []string{survivor.options.Advertise}
		s.start()
		s.ready()
	}
	all := append(more, survivor)
	eventually(t, "three voters", func() error {
		for _, s := range all {
			if !s.node.Status().Voter {
				return fmt.Errorf("%s does not vote", s.options.ID)
			}
		}
		return nil
	})
	more[1].propose(createInstance("with-all", 1))
	sameDigests(t, all)
	for _, s := range all {
		s.stop()
	}
	soundTrails(t, all)
}

// What can't be recovered is refused, and stays as it is.
func TestRecoverRefuses(t *testing.T) {
	s := sites(t, 1)[0]
	if _, err := cluster.Recover(s.options); !errors.Is(err, cluster.ErrNoData) {
		t.Errorf("a directory that is not there was recovered: %v", err)
	}
	if _, err := os.Stat(s.options.DataDir); !os.IsNotExist(err) {
		t.Errorf("a directory was made: %v", err)
	}
}
