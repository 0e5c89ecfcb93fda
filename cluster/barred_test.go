package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/transport"
)

// impostor speaks with a node's certificate and is no node.
type impostor struct {
	raft *raft.NetworkTransport
	rpc  clusterpb.NodeClient
}

func impersonate(t *testing.T, s, to *site) impostor {
	t.Helper()
	certificates, err := transport.LoadCertificates(s.files)
	if err != nil {
		t.Fatal(err)
	}
	port, err := transport.Listen(t.Context(), "127.0.0.1:0", transport.Options{Certificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	carrier := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: transport.NewRaftLayer[raft.ServerAddress](port, transport.RaftOptions{}), MaxPool: 1, Timeout: 10 * time.Second,
		Logger: testLog("impostor"), MsgpackUseNewTimeFormat: true,
	})
	conn, err := grpc.NewClient("passthrough:///"+to.options.Advertise, grpc.WithTransportCredentials(certificates.ClientCredentials("", nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(conn.Close(), carrier.Close(), port.Close()); err != nil {
			t.Error(err)
		}
	})
	return impostor{carrier, clusterpb.NewNodeClient(conn)}
}

// append sends what a leader of a term would.
func (i impostor) append(to *site, term uint64) error {
	message := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, Term: term}
	return i.raft.AppendEntries(raft.ServerID(to.options.ID), raft.ServerAddress(to.options.Advertise), message, new(raft.AppendEntriesResponse))
}

// Who has a removed member's certificate can neither speak Raft nor forward, nor get keys, nor come back; it can learn that it was removed.
// So it is with nodes that were down when it was removed, and after they were started again.
func TestRemovedNodeIsNotHeard(t *testing.T) {
	list := sites(t, 5)
	logs := map[*site]*lines{}
	for _, s := range list {
		logs[s] = new(lines)
		s.options.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: logs[s], IndependentLevels: true})
		s.start()
	}
	for _, s := range list {
		s.ready()
	}
	order := followers(t, list)
	gone, down, other, leader := order[0], order[1], order[2], order[4]
	leader.propose(putContract(t, 30))
	gone.stop()
	thief := impersonate(t, gone, other)
	// While it is a member it is heard; this term is of no leader.
	if err := thief.append(other, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := thief.rpc.GetKeyring(t.Context(), &clusterpb.GetKeyringRequest{}); status.Code(err) == codes.PermissionDenied {
		t.Fatal(err)
	}
	down.stop()
	if err := leader.node.Remove(t.Context(), gone.options.ID, byOperator); err != nil {
		t.Fatal(err)
	}
	down.start()
	down.ready()
	term := leader.node.Raft().CurrentTerm()
	for _, s := range []*site{other, down, leader} {
		eventually(t, "the open connection to "+s.options.ID+" ends and no other comes about", func() error {
			return refused(thief.append(s, 0))
		})
		if err := thief.append(s, term+100); err == nil {
			t.Errorf("%s believes a removed node that it leads", s.options.ID)
		}
	}
	for what, call := range map[string]func() error{
		"forwards": func() error { return second(thief.rpc.Forward(t.Context(), &clusterpb.ForwardRequest{})) },
		"reads":    func() error { return second(thief.rpc.ReadIndex(t.Context(), &clusterpb.ReadIndexRequest{})) },
		"has keys": func() error { return second(thief.rpc.GetKeyring(t.Context(), &clusterpb.GetKeyringRequest{})) },
		"removes": func() error {
			return second(thief.rpc.Remove(t.Context(), &clusterpb.RemoveRequest{Node: other.options.ID}))
		},
	} {
		if err := call(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "is no member any more") {
			t.Errorf("a removed node %s: %v", what, err)
		}
	}
	if _, err := thief.rpc.Probe(t.Context(), &clusterpb.ProbeRequest{Node: gone.options.ID}); err != nil {
		t.Errorf("a removed node can't ask who is there: %v", err)
	}
	back, err := impersonate(t, gone, leader).rpc.Join(t.Context(), &clusterpb.JoinRequest{Node: gone.options.ID, Address: gone.options.Advertise})
	if err != nil || back.GetFault().GetCode() != string(cluster.MemberRefused) {
		t.Errorf("joining again: %v, %v", back, err)
	}

	// The node itself comes up with its data, is told, and disturbs nobody.
	gone.start()
	endsAsNoMember(t, gone)
	if now := leader.node.Raft().CurrentTerm(); now != term || leaderOf(t, []*site{leader, other, down}) != leader {
		t.Errorf("%s has led in term %d, and now there is term %d", leader.options.ID, term, now)
	}
	if told := logs[other].with("is not heard", gone.options.ID); len(told) != 1 {
		t.Errorf("%s says %d times that it refuses %s: %q", other.options.ID, len(told), gone.options.ID, told)
	}
	other.stop()
	other.start()
	other.ready()
	if err := thief.append(other, 0); err == nil {
		t.Error("after it was started again a node hears one that was removed")
	}
}

func second[T any](_ T, err error) error { return err }

// refused is nil for what did not go through.
func refused(err error) error {
	if err == nil {
		return errors.New("it went through")
	}
	return nil
}
