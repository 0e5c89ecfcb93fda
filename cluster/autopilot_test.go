package cluster

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// TestPromotionOfWhoIsGone: autopilot decides by what it saw up to a second ago. A
// node that was removed meanwhile does not come back as a voter.
func TestPromotionOfWhoIsGone(t *testing.T) {
	r, address := loneRaft(t)
	if err := r.AddNonvoter("quimper", "nowhere", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	if err := r.RemoveServer("quimper", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	g := guardedRaft{r, new(sync.Mutex)}
	for _, id := range []raft.ServerID{"quimper", loneID} {
		if err := g.AddVoter(id, "nowhere", 0, 0).Error(); !errors.Is(err, errNoNonvoter) {
			t.Errorf("the promotion of %s: %v", id, err)
		}
	}
	if left := r.GetConfiguration().Configuration().Servers; len(left) != 1 || left[0].Address != address {
		t.Errorf("the members are %v", left)
	}
}

const loneID = "bordeaux"

// loneRaft is Raft in memory that leads a cluster of itself.
func loneRaft(t *testing.T) (*raft.Raft, raft.ServerAddress) {
	t.Helper()
	c := raft.DefaultConfig()
	c.LocalID = loneID
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	c.Logger = hclog.NewNullLogger()
	address, carrier := raft.NewInmemTransport("")
	store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	r, err := raft.NewRaft(c, newReplica(time.Now, func(error) {}), store, store, snapshots, carrier)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	})
	if err := r.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: c.LocalID, Address: address}}}).Error(); err != nil {
		t.Fatal(err)
	}
	<-r.LeaderCh()
	return r, address
}
