package cluster

import (
	"time"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm/signed"
)

// SignJoinToken returns a token with which a node of that id can join this cluster for a time. It is
// signed with the cluster's key, stored nowhere, and bound to the id; the node's certificate is
// needed besides. Errors are *Error. Safe for concurrent use.
func (n *Node) SignJoinToken(node string, lasts time.Duration) (token string, expiry time.Time, err error) {
	v := n.replica.view.Load()
	signing, fault := n.signingKey(v)
	if fault != nil {
		return "", time.Time{}, fault
	}
	if _, member := n.server(node); member {
		return "", time.Time{}, errorf(MemberRefused, "Node id %s belongs to a member; an id is used once.", node)
	}
	expiry = n.clock.wall().Add(lasts).UTC().Truncate(time.Second)
	j := &signed.JoinToken{Cluster: v.ClusterID(), Node: node, Expiry: expiry}
	if token, err = j.Sign(signing); err != nil {
		return "", time.Time{}, err
	}
	n.log.Info("join token issued", "for", node, "expiry", expiry)
	return token, expiry, nil
}

// checkJoinToken refuses who has no valid token, where one is required. Its answers name no part of the token.
func (n *Node) checkJoinToken(r *clusterpb.JoinRequest) *Error {
	if !n.policy.Load().RequireJoinToken {
		return nil
	}
	if r.Token == "" {
		return errorf(joinRefused, "Node %s has no join token, and this cluster requires one.", r.Node)
	}
	j, err := signed.VerifyJoinToken(r.Token, n.replica.view.Load().SigningKeys())
	if err != nil {
		return errorf(joinRefused, "The join token of node %s is not one of this cluster.", r.Node)
	}
	cluster, _ := n.identity.cluster()
	switch {
	case j.Cluster != cluster:
		return errorf(joinRefused, "The join token of node %s is one of cluster %s.", r.Node, j.Cluster)
	case j.Node != r.Node:
		return errorf(joinRefused, "Node %s came with the join token of node %s.", r.Node, j.Node)
	}
	if late := n.clock.wall().Sub(j.Expiry); late >= 0 {
		return errorf(joinRefused, "The join token of node %s ended %s ago.", r.Node, late.Round(time.Second))
	}
	return nil
}
