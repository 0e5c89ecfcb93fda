package cluster_test

import (
	"os"
	"path/filepath"
	"testing"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// TestFounderThatDiedWhileItBootstrapped: Raft had stored the first term, but not the
// first entry. The founder goes on with the cluster that the others are promised to.
func TestFounderThatDiedWhileItBootstrapped(t *testing.T) {
	list := sites(t, 3)
	for _, s := range list {
		s.start()
	}
	oneCluster(t, list)
	before := list[0].node.Status().View.ClusterID()
	for _, s := range list {
		s.stop()
		// All are promised, and none has a log yet.
		for _, name := range []string{"raft.db", "snapshots", "audit"} {
			if err := os.RemoveAll(filepath.Join(s.options.DataDir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	store, err := raftboltdb.NewBoltStore(filepath.Join(list[0].options.DataDir, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		s.start()
	}
	oneCluster(t, list)
	if after := list[0].node.Status().View.ClusterID(); after != before {
		t.Errorf("the cluster is %s; the others were promised to %s", after, before)
	}
	sameDigests(t, list)
}
