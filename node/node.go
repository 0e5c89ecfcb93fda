// Package node puts a node of a cluster behind the interface that package api serves.
package node

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/trail"
)

// unhealthyAfter is how long a member may not have heard of the leader.
const unhealthyAfter = 2 * time.Second

// Node is a cluster's node as the API knows it.
type Node struct {
	*cluster.Node
	// Left is called once the node has left its cluster.
	Left func()
	// APICertificate tells when the API's certificate ends; zero if it speaks plain HTTP.
	APICertificate func() time.Time
	// Copies are the running copies of the audit trail, by target.
	Copies map[string]*trail.Copier
}

var _ api.Node = Node{}

// Read implements api.Node.
func (n Node) Read(ctx context.Context, r api.Read) (*fsm.View, time.Duration, error) {
	return n.Node.Read(ctx, cluster.Read(r))
}

// SignLicenseKey implements api.Node.
func (n Node) SignLicenseKey(_ context.Context, k *signed.LicenseKey) (string, error) {
	return n.Node.SignLicenseKey(k)
}

// SignBorrow implements api.Node.
func (n Node) SignBorrow(_ context.Context, b *signed.Borrow) (string, error) {
	return n.Node.SignBorrow(b)
}

// RemoveMember implements api.Node.
func (n Node) RemoveMember(ctx context.Context, id string, who fsm.Principal) error {
	return n.Node.Remove(ctx, id, who)
}

// TransferLeadership implements api.Node.
func (n Node) TransferLeadership(ctx context.Context, to string, who fsm.Principal) error {
	return n.Node.Transfer(ctx, to, who)
}

// GossipKeys implements api.Node.
func (n Node) GossipKeys(ctx context.Context) (apiv1.GossipKeyList, error) {
	members, err := n.Node.GossipKeys(ctx)
	list := apiv1.GossipKeyList{Members: []apiv1.MemberGossipKey{}}
	for _, m := range members {
		list.Members = append(list.Members, apiv1.MemberGossipKey{ID: m.ID, Answers: m.Answered, Key: m.Key, Other: m.Other, Generation: m.Generation})
	}
	return list, err
}

// RotateGossipKey implements api.Node.
func (n Node) RotateGossipKey(ctx context.Context, who fsm.Principal) (apiv1.GossipKeyRotation, error) {
	key, err := n.Node.RotateGossipKey(ctx, who)
	return apiv1.GossipKeyRotation{Key: key.ID, Generation: key.Generation, Reached: key.Reached, Missed: missedOf(key.Missed)}, err
}

// SigningKeys implements api.Node.
func (n Node) SigningKeys(ctx context.Context) (apiv1.SigningKeyList, error) {
	v, list := n.View(), apiv1.SigningKeyList{Keys: []apiv1.SigningKey{}, Members: []apiv1.SigningKeyHolder{}}
	for i, key := range v.SigningKeys() {
		state := apiv1.SigningKeyStateFormer
		if i == 0 {
			state = apiv1.SigningKeyStateCurrent
		}
		list.Keys = append(list.Keys, apiv1.SigningKey{ID: signed.KeyID(key), State: state})
	}
	for _, key := range v.RetiredKeys() {
		list.Keys = append(list.Keys, apiv1.SigningKey{ID: signed.KeyID(key), State: apiv1.SigningKeyStateRetired})
	}
	holders, err := n.SigningKeyHolders(ctx)
	for _, h := range holders {
		list.Members = append(list.Members, apiv1.SigningKeyHolder{
			ID: h.ID, Answers: h.Answered, Current: len(list.Keys) > 0 && slices.Contains(h.Keys, list.Keys[0].ID),
		})
	}
	return list, err
}

// RotateSigningKey implements api.Node.
func (n Node) RotateSigningKey(ctx context.Context, p fsm.Principal, requestID string) (apiv1.SigningKeyRotation, error) {
	r, err := n.Node.RotateSigningKey(ctx, p, requestID)
	return apiv1.SigningKeyRotation{Key: r.ID, Reached: r.Reached, Missed: missedOf(r.Missed)}, err
}

// missedOf lists members that did not answer, sorted by id.
func missedOf(missed map[string]string) (list []apiv1.MissedMember) {
	for _, id := range slices.Sorted(maps.Keys(missed)) {
		list = append(list, apiv1.MissedMember{ID: id, Reason: missed[id]})
	}
	return list
}

// SignJoinToken implements api.Node.
func (n Node) SignJoinToken(_ context.Context, id string, lasts time.Duration) (string, time.Time, error) {
	return n.Node.SignJoinToken(id, lasts)
}

// Leave implements api.Node.
func (n Node) Leave(ctx context.Context, who fsm.Principal) error {
	err := n.Node.Leave(ctx, who)
	if err == nil {
		n.Left()
	}
	return err
}

// Restore implements api.Node.
func (n Node) Restore(ctx context.Context, backup io.Reader, into, from, actor, requestID string) (apiv1.Restored, error) {
	r, err := n.Node.Restore(ctx, backup, cluster.Restore{Into: into, From: from, Actor: actor, RequestID: requestID})
	if err != nil {
		return apiv1.Restored{}, err
	}
	return apiv1.Restored{
		Cluster: r.Cluster, Node: r.Node, Created: r.Created, Index: r.Index, Digest: r.Digest,
		NowIndex: r.Now.Index(), NowDigest: r.Now.Digest().String(),
	}, nil
}

// Status implements api.Node.
func (n Node) Status(context.Context) apiv1.NodeStatus {
	s := n.Node.Status()
	clock := s.View.Clock()
	status := apiv1.NodeStatus{
		ID: s.ID, Site: s.Site, Version: s.Version, Address: s.Address, HTTP: s.HTTPAddress, Started: s.Started.UTC(),
		Cluster: s.View.ClusterID(), Role: roleOf(s), Leader: s.Leader, LeaderHTTP: s.LeaderHTTP,
		Ready: s.Fault == nil,
		Consensus: apiv1.Consensus{
			Term: s.Term, LastIndex: s.LastIndex, CommitIndex: s.CommitIndex, AppliedIndex: s.View.Index(), SnapshotIndex: s.SnapshotIndex,
		},
		Queue: apiv1.Queue{Waiting: s.Waiting, Limit: s.QueueLimit},
		State: apiv1.StateSummary{
			Index: s.View.Index(), Term: s.View.Term(), Digest: s.View.Digest().String(),
			Clock: clock.Wall(), LeaseClockMs: clock.LeaseMs(), Requests: uint64(s.View.Requests()), //nolint:gosec // G115: a count or a length is not negative
		},
	}
	status.Clock = clockOf(s.Clock)
	if s.Fault != nil {
		status.NotReady = s.Fault.Error()
	}
	n.addVitals(&status)
	if s.Role != cluster.Leader {
		ms := s.Age.Milliseconds()
		status.Consensus.LastContactMs = &ms
	}
	return status
}

// addVitals fills in what an operator watches.
func (n Node) addVitals(status *apiv1.NodeStatus) {
	v := n.Node.Vitals()
	if v.Disk.Size > 0 {
		status.Disk = &apiv1.DiskSpace{FreeBytes: v.Disk.Free, SizeBytes: v.Disk.Size}
	}
	ends := v.CertificateEnds.UTC()
	status.CertificateEnds = &ends
	if ends := n.apiCertificate().UTC(); !ends.IsZero() {
		status.HTTPCertificateEnds = &ends
	}
}

// clockOf is nil until clocks were compared.
func clockOf(s cluster.ClockStatus) *apiv1.ClockStatus {
	if s.Others == nil {
		return nil
	}
	node, ahead := s.Worst()
	c := &apiv1.ClockStatus{
		Believed: s.Fault == nil, LimitMs: s.Limit.Milliseconds(), AgeMs: s.Age.Milliseconds(), Worst: node, WorstMs: ahead.Milliseconds(),
	}
	if s.Fault != nil {
		c.Reason = s.Fault.Error()
	}
	return c
}

func roleOf(s cluster.Status) apiv1.Role {
	switch {
	case s.Role == cluster.Stopped:
		return apiv1.RoleStopping
	case s.LastIndex == 0:
		return apiv1.RoleStarting
	case s.Role == cluster.Leader:
		return apiv1.RoleLeader
	case s.Role == cluster.Candidate:
		return apiv1.RoleCandidate
	case !s.Voter:
		return apiv1.RoleNonvoter
	default:
		return apiv1.RoleFollower
	}
}

// Members implements api.Node.
func (n Node) Members(ctx context.Context) (apiv1.MemberList, error) {
	members, err := n.Node.Members(ctx)
	if err != nil {
		return apiv1.MemberList{}, err
	}
	list := apiv1.MemberList{Members: []apiv1.Member{}}
	for _, m := range members {
		member := apiv1.Member{
			ID: m.ID, Address: m.Address, HTTP: m.HTTPAddress, Site: m.Site, Version: m.Version, Voter: m.Voter, Replica: m.Replica, Leader: m.Leader,
			Healthy: m.Reachable && (m.Leader || m.Contact >= 0 && m.Contact < unhealthyAfter),
		}
		if m.Leader {
			list.Leader = m.ID
		}
		if m.Reachable {
			contact := max(0, m.Contact.Milliseconds())
			offset := m.ClockDifference.Milliseconds()
			member.Index, member.LastContactMs, member.ClockOffsetMs = &m.LastIndex, &contact, &offset
		}
		list.Members = append(list.Members, member)
	}
	slices.SortFunc(list.Members, func(a, b apiv1.Member) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}
