package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
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
	// behind is what the node has applied, if that is not all.
	behind *fsm.View
	// noted is how often uses of tokens were noted.
	noted int
	// changed is closed when an entry is applied.
	changed chan struct{}
	calls   []string
	members apiv1.MemberList
	// files are rows that the node has besides those of the state.
	files []*fsm.Write

	// fail is what every method that can fail answers, signFail what signing
	// does, refuse what rules do; hang waits for the end of the context.
	fail, signFail, trailFail error
	refuse                    *fsmpb.Refusal
	hang, panics              bool
	// backupFail is what writing a backup fails with; restored is what was restored last.
	backupFail error
	// backupHeld gets a value when a backup begins; it goes on when backupGoesOn has one.
	backupHeld, backupGoesOn chan struct{}
	restored                 string
}

func newNode(t testing.TB) *fakeNode {
	t.Helper()
	n := &fakeNode{state: fsm.New(), now: epoch, changed: make(chan struct{}), members: apiv1.MemberList{Leader: "lyon", Members: []apiv1.Member{
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

// propose has commands decided in one entry, whatever comes of them.
func (n *fakeNode) propose(t testing.TB, bodies ...*fsmpb.Body) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &fsmpb.Entry{Term: 1, WallMs: n.now.UnixMilli()}
	n.index++
	for i, body := range bodies {
		c, err := fsm.NewCommand("operator", fmt.Sprintf("%d-%d", n.index, i), body)
		if err != nil {
			t.Fatal(err)
		}
		e.Commands = append(e.Commands, c)
	}
	data, err := fsm.EncodeEntry(e)
	if err == nil {
		_, err = n.state.Apply(n.index, 1, data)
	}
	if err != nil {
		t.Fatal(err)
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
	defer func() {
		close(n.changed)
		n.changed = make(chan struct{})
	}()
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

// ProposeFor judges like a leader.
func (n *fakeNode) ProposeFor(ctx context.Context, p fsm.Principal, c *fsmpb.Command) (*fsmpb.Outcome, error) {
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

func (n *fakeNode) Note(ctx context.Context, body *fsmpb.Body) error {
	n.mu.Lock()
	n.noted += len(body.GetNoteTokenUses().GetTokens())
	n.mu.Unlock()
	c, err := fsm.NewCommand("", "", body)
	if err == nil {
		_, err = n.apply(c)
	}
	return err
}

func (n *fakeNode) usesNoted() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.noted
}

func (n *fakeNode) View() *fsm.View {
	if n.behind != nil {
		return n.behind
	}
	return n.view()
}

func (n *fakeNode) TokenSecret(actor, requestID string) ([]byte, error) {
	sum := sha256.Sum256([]byte("token " + actor + " " + requestID))
	return sum[:], n.signFail
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
	v, err := n.await(ctx, r.MinIndex)
	if err != nil {
		return nil, 0, err
	}
	if r.Stale {
		return v, 1500 * time.Millisecond, nil
	}
	return v, 0, nil
}

// reads is how often the state was read.
func (n *fakeNode) reads() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, call := range n.calls {
		if call == "read" {
			count++
		}
	}
	return count
}

// waitReads waits until the state was read so often.
func (n *fakeNode) waitReads(t testing.TB, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); n.reads() < want; {
		if time.Now().After(deadline) {
			t.Fatalf("%d reads instead of %d", n.reads(), want)
		}
		runtime.Gosched()
	}
}

// await is a short one: what tests wait for is applied at once, or never.
func (n *fakeNode) await(ctx context.Context, index uint64) (*fsm.View, error) {
	patience := time.After(20 * time.Millisecond)
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		if v := n.view(); v.Index() >= index {
			return v, nil
		}
		select {
		case <-changed:
		case <-patience:
			return nil, codedError{code: "index_timeout", text: "index not reached"}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (n *fakeNode) Trail(ctx context.Context, v *fsm.View, after uint64, limit int) ([]*fsm.Write, error) {
	if err := errors.Join(n.fault(ctx, "trail"), n.trailFail); err != nil {
		return nil, err
	}
	var rows []*fsm.Write
	for _, w := range n.files {
		if w.Seq > after && w.Seq < v.OldestWrite() && len(rows) < limit {
			rows = append(rows, w)
		}
	}
	return append(rows, v.WritesAfter(max(after, v.OldestWrite()-1), limit-len(rows))...), nil
}

func (n *fakeNode) SignLicenseKey(ctx context.Context, k *signed.LicenseKey) (string, error) {
	if err := errors.Join(n.fault(ctx, "sign"), n.signFail); err != nil {
		return "", err
	}
	return k.Sign(clusterKey)
}

func (n *fakeNode) SignBorrow(ctx context.Context, b *signed.Borrow) (string, error) {
	if err := errors.Join(n.fault(ctx, "sign"), n.signFail); err != nil {
		return "", err
	}
	return b.Sign(clusterKey)
}

func (n *fakeNode) Handle(actor, requestID string, item int) (string, error) {
	if n.panics {
		panic("a bug in handle (secret)")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", actor, requestID, item))
	return base64.RawURLEncoding.EncodeToString(sum[:24]), nil
}

func (n *fakeNode) Wall() time.Time { return n.now }

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

func (n *fakeNode) RemoveMember(ctx context.Context, id string, who fsm.Principal) error {
	return n.fault(ctx, "remove "+id+" for "+who.Actor())
}

func (n *fakeNode) TransferLeadership(ctx context.Context, to string, who fsm.Principal) error {
	return n.fault(ctx, "transfer to "+to+" for "+who.Actor())
}

func (n *fakeNode) GossipKeys(ctx context.Context) (apiv1.GossipKeyList, error) {
	return apiv1.GossipKeyList{Members: []apiv1.MemberGossipKey{{ID: "lyon", Answers: true, Key: "5f70bf18a086", Generation: 3}}}, n.fault(ctx, "gossip keys")
}

func (n *fakeNode) RotateGossipKey(ctx context.Context, who fsm.Principal) (apiv1.GossipKeyRotation, error) {
	return apiv1.GossipKeyRotation{Key: "5f70bf18a086", Generation: 3, Reached: []string{"lyon"}}, n.fault(ctx, "rotate for "+who.Actor())
}

func (n *fakeNode) SigningKeys(ctx context.Context) (apiv1.SigningKeyList, error) {
	return apiv1.SigningKeyList{
		Keys:    []apiv1.SigningKey{{ID: "6a3803d5f059902a", State: apiv1.SigningKeyStateCurrent}},
		Members: []apiv1.SigningKeyHolder{{ID: "lyon", Answers: true, Current: true}},
	}, n.fault(ctx, "signing keys")
}

func (n *fakeNode) RotateSigningKey(ctx context.Context, p fsm.Principal, _ string) (apiv1.SigningKeyRotation, error) {
	return apiv1.SigningKeyRotation{Key: "6a3803d5f059902a", Reached: []string{"lyon"}}, n.fault(ctx, "rotate signing key for "+p.Actor())
}

func (n *fakeNode) SignJoinToken(ctx context.Context, id string, lasts time.Duration) (string, time.Time, error) {
	if n.signFail != nil {
		return "", time.Time{}, n.signFail
	}
	return "join-" + id, n.now.Add(lasts), n.fault(ctx, fmt.Sprintf("join token of %s for %s", id, lasts))
}

func (n *fakeNode) Leave(ctx context.Context, who fsm.Principal) error {
	return n.fault(ctx, "leave for "+who.Actor())
}

func (n *fakeNode) Backup(w io.Writer, v *fsm.View, withKey bool) error {
	if n.backupHeld != nil {
		n.backupHeld <- struct{}{}
		<-n.backupGoesOn
	}
	if n.backupFail != nil {
		fmt.Fprint(w, "half")
		return n.backupFail
	}
	if withKey {
		fmt.Fprint(w, "private ")
	}
	_, err := fmt.Fprintf(w, "backup of %s", v.Digest())
	return err
}

func (n *fakeNode) Restore(ctx context.Context, backup io.Reader, into, from, actor, requestID string) (apiv1.Restored, error) {
	if err := n.fault(ctx, "restore"); err != nil {
		return apiv1.Restored{}, err
	}
	text, err := io.ReadAll(backup)
	if err != nil {
		return apiv1.Restored{}, err
	}
	n.restored = fmt.Sprintf("%s into %s from %s by %s", text, into, from, actor)
	return apiv1.Restored{Cluster: from, Node: "lyon", Created: epoch, Digest: "d", NowDigest: "e"}, nil
}

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
