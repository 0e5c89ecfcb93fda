package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/transport"
)

// maxRemoved bounds the removed members that a node remembers; the oldest are forgotten.
const maxRemoved = 1000

// noteMembers keeps note, on disk, of who was a member and is none any more. A certificate outlives a membership, and
// who has it could go on to speak as a node. Whom this node has never known is no matter for it: a node that is behind
// does not know yet who leads it. A node that takes a snapshot in the place of the entry that removed somebody does not
// learn of it.
func (n *Node) noteMembers(index uint64, servers []raft.Server) {
	members := make([]string, len(servers))
	for i, m := range servers {
		members[i] = string(m.ID)
	}
	gone, err := n.identity.follow(index, members)
	if err != nil {
		n.fail(fmt.Errorf("the node's identity can't be written: %w", err))
	}
	if len(gone) > 0 {
		n.stream.Drop(n.identity.barred)
	}
}

// refuseBarred says once of each node why it is not heard.
func (n *Node) refuseBarred(node string) {
	if _, said := n.refused.LoadOrStore(node, true); said {
		return
	}
	if n.identity.dropped(node) {
		n.log.Error("a member that the recovery left behind runs again; wipe its data directory and let it join under a new node id", "node", node)
		return
	}
	n.log.Warn("a node that was removed from the cluster is not heard; it ends by itself, or else its certificate is in wrong hands", "node", node)
}

// admitCalls lets whom this node does not hear any more ask who is there and whether it may join, so that it learns
// that it was removed, and nothing else.
func (n *Node) admitCalls(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	caller, _ := transport.PeerNode(ctx)
	open := info.FullMethod == clusterpb.Node_Probe_FullMethodName || info.FullMethod == clusterpb.Node_Join_FullMethodName
	if !open && n.identity.barred(caller) {
		n.refuseBarred(caller)
		return nil, status.Errorf(codes.PermissionDenied, "node %s is no member any more, says node %s; to come back, wipe its data and join under a new node id", caller, n.options.ID)
	}
	return handle(ctx, request)
}

// follow takes note of a configuration that was decided at an index, unless a newer one is known, and returns who is no
// member any more, on disk before it returns.
func (i *identity) follow(index uint64, members []string) (gone []string, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if index <= i.is.MembersIndex {
		return nil, nil
	}
	for _, node := range i.is.Members {
		if !slices.Contains(members, node) {
			gone = append(gone, node)
		}
	}
	known := func(node string) bool { return slices.Contains(members, node) || slices.Contains(gone, node) }
	removed := append(slices.DeleteFunc(slices.Clone(i.is.Removed), known), gone...)
	i.is.Removed = removed[max(0, len(removed)-maxRemoved):]
	i.is.Members, i.is.MembersIndex = members, index
	return gone, i.save()
}

// barred reports a node that must not be heard: a removed member, or one that a recovery left behind.
func (i *identity) barred(node string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.is.Removed, node) || slices.Contains(i.is.Dropped, node)
}
