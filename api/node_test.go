package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Keys with fixed seeds, so that documents are the same in every run.
var (
	vendorKey   = testKey(1)
	clusterKey  = testKey(2)
	strangerKey = testKey(3)
)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

const clusterID = "test-cluster"

var epoch = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// fakeNode is a cluster of one replica: real rules, no Raft.
type fakeNode struct {
	mu        sync.Mutex
	state     *fsm.State
	index     uint64
	now       time.Time
	proposals int
	calls     []string
	members   apiv1.MemberList

	// fail is what every method that can fail answers, signFail what signing
	// does, refuse what rules do; hang waits for the end of the context.
	fail, signFail error
	refuse         *fsmpb.Refusal
	hang, panics   bool
}

func newNode(t testing.TB) *fakeNode {
	t.Helper()
	n := &fakeNode{state: fsm.New(), now: epoch, members: apiv1.MemberList{Leader: "lyon", Members: []apiv1.Member{
		{ID: "bordeaux", Address: "127.0.0.1:7101", Voter: true, Healthy: true},
		{ID: "lyon", Address: "127.0.0.1:7102", Voter: true, Leader: true, Healthy: true},
	}}}
	return n
}

func (n *fakeNode) initialise(t testing.TB) {
	t.Helper()
	n.mustApply(t, &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
		ClusterId: clusterID, VendorKeys: [][]byte{public(vendorKey)}, SigningKey: public(clusterKey),
	}}})
}

// expire ends what is due at the node's time, as a leader would.
func (n *fakeNode) expire(t testing.TB) {
	t.Helper()
	n.mustApply(t, &fsmpb.Body{Kind: &fsmpb.Body_Expire{Expire: &fsmpb.Expire{}}})
}

func (n *fakeNode) mustApply(t testing.TB, body *fsmpb.Body) {
	t.Helper()
	c, err := fsm.NewCommand("", "", body)
	if err != nil {
		t.Fatal(err)
	}
	o, err := n.apply(c)
	if err != nil || o.Refusal != nil {
		t.Fatalf("apply: %v, %v", err, o.GetRefusal())
	}
}

func (n *fakeNode) apply(c *fsmpb.Command) (*fsmpb.Outcome, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	entry, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 1, WallMs: n.now.UnixMilli(), Commands: []*fsmpb.Command{c}})
	if err != nil {
		return nil, err
	}
	n.index++
	outcomes, err := n.state.Apply(n.index, 1, entry)
	if err != nil {
		return nil, err
	}
	return outcomes[0], nil
}

func (n *fakeNode) view() *fsm.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state.View()
}

// fault is what a method that can fail fails with.
func (n *fakeNode) fault(ctx context.Context, call string) error {
	n.mu.Lock()
	n.calls = append(n.calls, call)
	n.mu.Unlock()
	if n.panics {
		panic("a bug in " + call + " (secret)")
	}
	if n.hang {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(30 * time.Second):
			return errors.New("nothing ended the wait")
		}
	}
	return n.fail
}

func (n *fakeNode) Propose(ctx context.Context, c *fsmpb.Command) (*fsmpb.Outcome, error) {
	if err := n.fault(ctx, "propose"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.proposals++
	n.mu.Unlock()
	if n.refuse != nil {
		return &fsmpb.Outcome{Index: n.index, Refusal: n.refuse}, nil
	}
	return n.apply(c)
}

func (n *fakeNode) DryRun(ctx context.Context, c *fsmpb.Command) (*fsmpb.Outcome, error) {
	if err := n.fault(ctx, "dry run"); err != nil {
		return nil, err
	}
	return n.view().DryRun(c, n.now.UnixMilli())
}

func (n *fakeNode) Read(ctx context.Context, r api.Read) (*fsm.View, time.Duration, error) {
	if err := n.fault(ctx, "read"); err != nil {
		return nil, 0, err
	}
	v := n.view()
	if r.MinIndex > v.Index() {
		return nil, 0, codedError{code: "index_timeout", text: "index not reached"}
	}
	if r.Stale {
		return v, 1500 * time.Millisecond, nil
	}
	return v, 0, nil
}

func (n *fakeNode) SignLicenseKey(ctx context.Context, k *signed.LicenseKey) (string, error) {
	if err := errors.Join(n.fault(ctx, "sign"), n.signFail); err != nil {
		return "", err
	}
	return k.Sign(clusterKey)
}

func (n *fakeNode) Status(context.Context) apiv1.NodeStatus {
	if n.panics {
		panic("a bug in status (secret)")
	}
	v := n.view()
	return apiv1.NodeStatus{
		ID: "lyon", Version: "test", Role: apiv1.RoleLeader, Ready: true, Started: epoch, Address: "127.0.0.1:7102", HTTP: "http://127.0.0.1:7002",
		State: apiv1.StateSummary{Index: v.Index(), Term: v.Term(), Digest: v.Digest().String(), Clock: v.Clock().Wall()},
	}
}

func (n *fakeNode) Ready() error {
	if n.panics {
		panic("a bug in ready (secret)")
	}
	return n.fail
}

func (n *fakeNode) Members(ctx context.Context) (apiv1.MemberList, error) {
	return n.members, n.fault(ctx, "members")
}

func (n *fakeNode) RemoveMember(ctx context.Context, id string) error {
	return n.fault(ctx, "remove "+id)
}

func (n *fakeNode) TransferLeadership(ctx context.Context, to string) error {
	return n.fault(ctx, "transfer to "+to)
}

func (n *fakeNode) Leave(ctx context.Context) error { return n.fault(ctx, "leave") }

func (n *fakeNode) ID() string { return "lyon" }

// codedError is an error that callers get to see.
type codedError struct {
	code, text string
	after      time.Duration
}

func (e codedError) Error() string             { return e.text }
func (e codedError) Code() string              { return e.code }
func (e codedError) Next() string              { return "Do something." }
func (e codedError) RetryAfter() time.Duration { return e.after }
