package sim

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// TestRaftLeavesATransferUnanswered is what simulations found in hashicorp/raft v1.7.3, reduced: whoever asks for another leader when Raft is being
// shut down may wait for ever, as a request that came after the main loop's last look at them is answered by nobody. Licet asks in
// goroutines that end with the process. If this test fails, simulate needs no recover any more.
func TestRaftLeavesATransferUnanswered(t *testing.T) {
	stays := ""
	func() {
		defer func() {
			if p := recover(); p != nil {
				stays = fmt.Sprint(p)
			}
		}()
		synctest.Test(t, func(t *testing.T) {
			c := raft.DefaultConfig()
			c.LocalID, c.Logger = "n", hclog.New(&hclog.LoggerOptions{Output: io.Discard})
			store := raft.NewInmemStore()
			_, transport := raft.NewInmemTransport("n")
			r, err := raft.NewRaft(c, nil, store, store, raft.NewDiscardSnapshotStore(), transport)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Shutdown().Error(); err != nil {
				t.Fatal(err)
			}
			// Which of two cases that are ready a select takes is drawn: one of these is enough.
			for range 64 {
				future := r.LeadershipTransfer()
				go func() { _ = future.Error() }()
			}
		})
	}()
	if !strings.Contains(stays, "main bubble goroutine has exited") {
		t.Errorf("all that asked are answered: %q", stays)
	}
}
