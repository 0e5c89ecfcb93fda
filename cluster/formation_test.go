package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
)

// oneCluster fails unless all nodes belong to the same cluster.
func oneCluster(t *testing.T, list []*site) {
	t.Helper()
	ids := map[string]bool{}
	for _, s := range list {
		s.ready()
		ids[s.node.Status().View.ClusterID()] = true
	}
	if len(ids) != 1 {
		t.Fatalf("the nodes belong to %d clusters: %v", len(ids), ids)
	}
}

func TestNodesThatStartAtOddTimesFormOneCluster(t *testing.T) {
	list := sites(t, 3)
	list[2].start()
	list[0].start()
	// The founder waits: without its third peer it can't know that there is no cluster yet.
	eventually(t, "bordeaux and paris see each other", func() error {
		if list[0].node.Status().LastIndex != 0 {
			t.Fatal("two of three expected nodes formed a cluster")
		}
		return nil
	})
	list[2].stop()
	list[2].start()
	list[1].start()
	oneCluster(t, list)
	for _, s := range list {
		s.stop()
	}
	for _, s := range list {
		s.start()
	}
	oneCluster(t, list)
	sameDigests(t, list)
}

func TestNodesFormByGossipAlone(t *testing.T) {
	list := sites(t, 3)
	var seeds []string
	for _, s := range list {
		s.options.Peers = nil
		address := freeAddress(t)
		s.options.Gossip = &cluster.Gossip{Listen: address, Advertise: address, Key: make([]byte, 32)}
		seeds = append(seeds, address)
	}
	for _, s := range list {
		s.options.Gossip.Seeds = seeds[:1]
		s.start()
	}
	oneCluster(t, list)
}

func TestFourthNodeJoinsAndIsPromotedOnceItHasCaughtUp(t *testing.T) {
	all := sites(t, 4)
	list, fourth := all[:3], all[3]
	for _, s := range all {
		s.options.Expect = 3
		s.options.Peers = []string{all[0].listen, all[1].listen, all[2].listen}
	}
	for _, s := range list {
		s.start()
	}
	oneCluster(t, list)
	list[1].propose(putContract(t, 30))
	fourth.start()
	eventually(t, "the fourth node is a voter", func() error {
		if s := fourth.node.Status(); !s.Voter {
			return fmt.Errorf("it is %s, voter %v", s.Role, s.Voter)
		}
		return nil
	})
	if o := fourth.propose(createInstance("quimper", 3)); o.Refusal != nil {
		t.Fatal(fsm.Detail(o.Refusal))
	}
	sameDigests(t, all)

	t.Run("and leaves again, for good", func(t *testing.T) {
		if err := fourth.node.Leave(t.Context(), byOperator); err != nil {
			t.Fatal(err)
		}
		fourth.stop()
		members, err := list[0].node.Members(t.Context())
		if err != nil || len(members) != 3 {
			t.Fatalf("%d members, error %v", len(members), err)
		}
		if err := fourth.tryStart(); err == nil || !strings.Contains(err.Error(), "left its cluster") {
			t.Fatalf("a node that left started again: %v", err)
		}
	})
}

// TestNodeJoinsAgainWhoseAdmissionWasLost: a leader sends entries to a node before the others have decided to take it in, and loses its power.
// The others know of no such node, which has a log and belongs to no cluster yet.
func TestNodeJoinsAgainWhoseAdmissionWasLost(t *testing.T) {
	list, later := joiners(t, 3, 4)
	first, err := list[0].node.Entry(1)
	if err != nil {
		t.Fatal(err)
	}
	memory := memoryStore{raft.NewInmemStore()}
	if err := errors.Join(memory.StoreLog(first), memory.SetUint64([]byte("CurrentTerm"), first.Term)); err != nil {
		t.Fatal(err)
	}
	fourth := later[0]
	fourth.options.OpenStore = func() (cluster.Store, error) { return memory, nil }
	fourth.start()
	eventually(t, "the fourth node is a voter", fourth.voter)
	if o := fourth.propose(putContract(t, 30)); o.Refusal != nil {
		t.Fatal(fsm.Detail(o.Refusal))
	}
	sameDigests(t, append(list, fourth))
}

// TestNodeJoinsAgainWhoseAdmissionWasNotAnswered: a leader has the others take a node in, sends it entries, and dies before it answers. The node is
// a member that belongs to no cluster and has no signing key: until it has asked again, it does not become a voter.
func TestNodeJoinsAgainWhoseAdmissionWasNotAnswered(t *testing.T) {
	list, later := joiners(t, 3, 4)
	leader, fourth := leaderOf(t, list), later[0]
	reply, err := impersonate(t, fourth, leader).rpc.Join(t.Context(), &clusterpb.JoinRequest{Node: fourth.options.ID, Address: fourth.options.Advertise})
	if err != nil || reply.Fault != nil {
		t.Fatalf("%v, %v", reply, err)
	}
	first, err := list[0].node.Entry(1)
	if err != nil {
		t.Fatal(err)
	}
	memory := memoryStore{raft.NewInmemStore()}
	if err := errors.Join(memory.StoreLog(first), memory.SetUint64([]byte("CurrentTerm"), first.Term)); err != nil {
		t.Fatal(err)
	}
	fourth.options.OpenStore = func() (cluster.Store, error) { return memory, nil }
	fourth.start()
	eventually(t, "the fourth node is a voter", fourth.voter)
	if got, want := fourth.node.Belongs(), leader.node.Belongs(); got != want {
		t.Errorf("it belongs to cluster %q, the others to %q", got, want)
	}
	if err := leader.node.Transfer(t.Context(), fourth.options.ID, byOperator); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leads", func() error {
		if leaderOf(t, append(list, fourth)) != fourth {
			return errors.New("another one does")
		}
		return nil
	})
	if o := fourth.propose(putContract(t, 30)); o.Refusal != nil {
		t.Fatal(fsm.Detail(o.Refusal))
	}
	sameDigests(t, append(list, fourth))
}

// tryStart starts the node and returns why that failed.
func (s *site) tryStart() error {
	s.t.Helper()
	node, err := s.open()
	if err == nil {
		if err := node.Stop(context.Background()); err != nil {
			s.t.Error(err)
		}
	}
	return err
}

func TestLeaderLeavesAfterHandingOver(t *testing.T) {
	list := startAll(t, 3)
	leader := leaderOf(t, list)
	if err := leader.node.Leave(t.Context(), byOperator); err != nil {
		t.Fatal(err)
	}
	leader.stop()
	for _, s := range list {
		if s != leader {
			s.propose(putContract(t, 30))
			members, err := s.node.Members(t.Context())
			if err != nil || len(members) != 2 {
				t.Fatalf("%d members, error %v", len(members), err)
			}
			return
		}
	}
}

func TestRemovedNodeStopsItself(t *testing.T) {
	list := startAll(t, 3)
	leader := leaderOf(t, list)
	for _, s := range list {
		if s == leader {
			continue
		}
		if err := leader.node.Remove(t.Context(), s.options.ID, byOperator); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-s.node.Failed():
			if !strings.Contains(err.Error(), "was removed from the cluster") {
				t.Fatal(err)
			}
		case <-t.Context().Done():
		}
		return
	}
}

func TestLeaderRefusesImpossibleChanges(t *testing.T) {
	list := startAll(t, 3)
	leader := leaderOf(t, list)
	for name, c := range map[string]struct {
		do   func(*cluster.Node) error
		code cluster.Code
	}{
		"remove a stranger":         {func(n *cluster.Node) error { return n.Remove(t.Context(), "nobody", byOperator) }, cluster.MemberNotFound},
		"remove the leader":         {func(n *cluster.Node) error { return n.Remove(t.Context(), leader.options.ID, byOperator) }, cluster.MemberRefused},
		"lead through a stranger":   {func(n *cluster.Node) error { return n.Transfer(t.Context(), "nobody", byOperator) }, cluster.MemberNotFound},
		"the present leader is one": {func(n *cluster.Node) error { return n.Transfer(t.Context(), leader.options.ID, byOperator) }, ""},
	} {
		for _, s := range list {
			if got := codeOf(c.do(s.node)); got != c.code {
				t.Errorf("%s, asked of %s: code %q, want %q", name, s.options.ID, got, c.code)
			}
		}
	}
}

func codeOf(err error) cluster.Code {
	var e *cluster.Error
	if errors.As(err, &e) {
		return cluster.Code(e.Code())
	}
	if err != nil {
		return cluster.Code("other: " + err.Error())
	}
	return ""
}

func TestDataDirectoryIsRefused(t *testing.T) {
	list := startAll(t, 1)
	s := list[0]
	t.Run("while another process uses it", func(t *testing.T) {
		second := *s
		second.listen = freeAddress(t)
		if err := second.tryStart(); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Fatalf("got %v", err)
		}
	})
	s.stop()
	t.Run("when it is a copy", func(t *testing.T) {
		second := *s
		second.options.DataDir = t.TempDir() + "/copy"
		if out, err := exec.Command("cp", "-a", s.options.DataDir, second.options.DataDir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := second.tryStart(); err == nil || !strings.Contains(err.Error(), "copy of another") {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("when it is another node's", func(t *testing.T) {
		second := *s
		second.options.ID = "lyon"
		if err := second.tryStart(); err == nil || !strings.Contains(err.Error(), `belongs to node "bordeaux"`) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("when its identity is damaged", func(t *testing.T) {
		path := s.options.DataDir + "/identity.json"
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, whole[:len(whole)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.tryStart(); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Fatalf("got %v", err)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	s.start()
	s.ready()
}

// TestForeignPeersAreToldWhy: nodes whose certificates come from two authorities never
// find each other, and each says so once.
func TestForeignPeersAreToldWhy(t *testing.T) {
	list := sites(t, 2)
	list[1].files = sites(t, 2)[1].files
	logs := []*lines{new(lines), new(lines)}
	var refused [2]atomic.Int64
	for i, s := range list {
		s.options.Log = hclog.New(&hclog.LoggerOptions{Name: s.options.ID, Output: logs[i], IndependentLevels: true})
		s.rejected = func(net.Addr, error) { refused[i].Add(1) }
		s.start()
	}
	for i, s := range list {
		other := list[1-i].listen
		foreign := []string{s.options.ID + ".cluster", "no connection to node", other, "does not lead to the cluster's authority", "x509: certificate signed by unknown authority"}
		eventually(t, s.options.ID+" says why", func() error {
			if len(logs[i].with(foreign...)) == 0 {
				return fmt.Errorf("it logs %q", logs[i].with("no connection"))
			}
			return nil
		})
		before := refused[i].Load()
		eventually(t, other+" is asked again and again", func() error {
			if n := refused[i].Load() - before; n < 5 {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
		if told := logs[i].with("[WARN]", "no connection to node"); len(told) != 1 {
			t.Errorf("%s tells it %d times: %q", s.options.ID, len(told), told)
		}
		if told := logs[i].with("forming", "0 of 1 peers answer", other); len(told) != 1 {
			t.Errorf("%s tells that it waits %d times: %q", s.options.ID, len(told), told)
		}
	}
}
