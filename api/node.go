package api

import (
	"context"
	"io"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Node is what the interface needs of the node that serves it. All methods are
// called concurrently and return soon after their context ends.
//
// Errors that a caller should tell apart implement NodeError. A context's own
// error from Propose means that the outcome is unknown (rule E2), from any
// other method that nothing was done.
type Node interface {
	// ProposeFor has a command of a principal decided by the cluster, through whichever node leads (rule E3); the leader
	// judges again whether the principal may.
	ProposeFor(ctx context.Context, p fsm.Principal, c *fsmpb.Command) (*fsmpb.Outcome, error)
	// Note has a command decided that nodes propose on their own.
	Note(ctx context.Context, body *fsmpb.Body) error
	// View is the state as far as the node has applied it. It never waits.
	View() *fsm.View
	// TokenSecret is the secret of the API token that a request makes: the same on every node, derived anew each time.
	TokenSecret(actor, requestID string) ([]byte, error)
	// DryRun tells what a command would come to (rule K7), changing nothing.
	DryRun(ctx context.Context, c *fsmpb.Command) (*fsmpb.Outcome, error)
	// Read returns a view and, for a stale read, the age of its data.
	Read(ctx context.Context, r Read) (*fsm.View, time.Duration, error)
	// Trail returns up to limit rows of the audit trail that come after a number: from the view, or from the node's
	// files if the view has forgotten them. Rows that the node has not are left out.
	Trail(ctx context.Context, v *fsm.View, after uint64, limit int) ([]*fsm.Write, error)
	// SignLicenseKey signs with the cluster's key.
	SignLicenseKey(ctx context.Context, k *signed.LicenseKey) (string, error)
	// SignBorrow signs with the cluster's key (rule K4).
	SignBorrow(ctx context.Context, b *signed.Borrow) (string, error)
	// Handle is the secret handle of what one item of a request takes: the same on
	// every node, derived anew each time (rule K6).
	Handle(actor, requestID string, item int) (string, error)
	// Wall is the node's wall clock.
	Wall() time.Time
	// Status is what the node knows of itself. It never fails and never waits.
	Status(ctx context.Context) apiv1.NodeStatus
	// Ready says why the node can't serve now; nil if it can.
	Ready() error
	// Members lists the members as the leader sees them, sorted by id.
	Members(ctx context.Context) (apiv1.MemberList, error)
	// RemoveMember removes a member for good. Of this and the like the leader judges again whether who asks may.
	RemoveMember(ctx context.Context, id string, who fsm.Principal) error
	// TransferLeadership moves leadership to a voter, any if to is empty.
	TransferLeadership(ctx context.Context, to string, who fsm.Principal) error
	// GossipKeys says which gossip keys each member has, sorted by id.
	GossipKeys(ctx context.Context) (apiv1.GossipKeyList, error)
	// RotateGossipKey has all members use a new gossip key. Repeating is safe.
	RotateGossipKey(ctx context.Context, who fsm.Principal) (apiv1.GossipKeyRotation, error)
	// SigningKeys says which signing keys the cluster has, and which members have the private half of the current one, sorted by id.
	SigningKeys(ctx context.Context) (apiv1.SigningKeyList, error)
	// RotateSigningKey has the cluster sign with a new key; the leader judges whether the principal may. Repeating is safe.
	RotateSigningKey(ctx context.Context, p fsm.Principal, requestID string) (apiv1.SigningKeyRotation, error)
	// SignJoinToken makes a token with which the node of an id can join for a time.
	SignJoinToken(ctx context.Context, id string, lasts time.Duration) (token string, expires time.Time, err error)
	// Leave has this node leave the cluster.
	Leave(ctx context.Context, who fsm.Principal) error
	// Backup writes a backup of a view, with or without the private half of the signing key.
	Backup(w io.Writer, v *fsm.View, withKey bool) error
	// Restore replaces the contents of cluster into by those of a backup, which cluster from wrote; an empty from means the same.
	Restore(ctx context.Context, backup io.Reader, into, from, actor, requestID string) (apiv1.Restored, error)
	// ID is the node's id.
	ID() string
}

// Read says how new a view must be.
type Read struct {
	// Stale is satisfied with what the node has; otherwise the read is linearizable.
	Stale bool
	// MinIndex is the least index of the view; the node waits for it.
	MinIndex uint64
}

// NodeError is an error of a Node that callers of the interface get to see. Its
// text says what happened, with numbers, and holds no secrets.
type NodeError interface {
	error
	// Code is one of the codes of the OpenAPI document.
	Code() string
	// Next says what to do about it.
	Next() string
	// RetryAfter says when trying again may help; 0 leaves it to the caller.
	RetryAfter() time.Duration
}
