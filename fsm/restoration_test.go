package fsm

import (
	"crypto/ed25519"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// leased is a replica with an open lease, whose id it returns.
func leased(t *testing.T) (*replica, uint64) {
	r := seatReplica(t)
	o := r.must(checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "b", User: "ann", Client: "host", Holder: holder(1), Ttl: 600}))
	return r, o.GetLease().Lease.Id
}

func (r *replica) restored(backup []byte) *State {
	r.t.Helper()
	s := mustRestore(r.t, backup)
	present := r.s.View()
	err := s.Succeed(present, Restoration{Index: present.Index() + 1000, Term: 2, NowMs: r.now.UnixMilli(), Actor: testActor, RequestID: "restore", SHA256: strings.Repeat("0", 64)})
	if err != nil {
		r.t.Fatal(err)
	}
	checkState(r.t, s)
	checkRestored(r.t, s)
	return s
}

// D2, I3, K6: contents go back, and nothing else does.
func TestRestoredContentsFollowOnThePresent(t *testing.T) {
	r, lease := leased(t)
	r.must(createBodyOf(t, r))
	backup := snapshotBytes(t, r.s.View())
	before := r.s.View()
	r.now = r.now.Add(3 * time.Hour)
	r.must(expireBody())
	r.refused(LeaseEnded, renewalBody(lease, holder(1)))
	later := r.must(checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "b", User: "bob", Client: "host", Holder: holder(2), Ttl: 600})).GetLease().Lease.Id
	present := r.s.View()
	r.now = r.now.Add(time.Minute)
	s := r.restored(backup)
	v := s.View()
	if !v.Clock().Wall().Equal(r.now) || v.Clock().LeaseMs() != before.Clock().LeaseMs() {
		t.Errorf("the clock is %+v after %+v", v.Clock(), before.Clock())
	}
	if v.Index() != present.Index()+1000 || v.Term() != 2 {
		t.Errorf("index %d, term %d", v.Index(), v.Term())
	}
	r.s = s
	// The lease has the time that it had, however long the backup lay.
	if o := r.do2(renewalBody(lease, holder(1))); o.Refusal != nil {
		t.Errorf("the lease of the backup: %s", Detail(o.Refusal))
	}
	if o := r.do2(renewalBody(later, holder(2))); o.Refusal.GetCode() != string(LeaseEnded) {
		t.Errorf("a lease that came after the backup: %v", o.Refusal)
	}
	if o := r.do2(checkoutBody(&fsmpb.Checkout{Pool: "design", Product: "b", User: "eve", Client: "host", Holder: holder(3)})); o.GetLease().GetLease().GetId() != later+1 {
		t.Errorf("the next fence is %d; %d was given out", o.GetLease().GetLease().GetId(), later)
	}
}

// createBodyOf gives the replica's contract acme an area, for an instance of it.
func createBodyOf(t *testing.T, r *replica) *fsmpb.Body {
	t.Helper()
	c := testContract("users", 1, map[string]uint64{"primary": 5})
	r.must(contractBody(mustSign(t, c, vendorKey)))
	return createBody("users", "lyon", primary(1))
}

func renewalBody(lease uint64, holder []byte) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: lease, Holder: holder}}}
}

// do2 goes on in the term of a restoration.
func (r *replica) do2(body *fsmpb.Body) *fsmpb.Outcome {
	r.t.Helper()
	r.ids++
	outcomes, err := r.s.Apply(r.s.index+1, 2, mustEntry(r.t, 2, r.now, mustCommand(r.t, "after"+string(rune('a'+r.ids)), body)))
	if err != nil {
		r.t.Fatal(err)
	}
	return outcomes[0]
}

// The audit trail goes on with a row that tells of the restoration; what was asked before is forgotten.
func TestRestorationIsInTheAuditTrail(t *testing.T) {
	r := busy(t)
	backup := snapshotBytes(t, r.s.View())
	digest := r.s.Digest().String()
	index := r.s.View().Index()
	r.must(resizeBody(3, primary(1)))
	last, chain, _ := r.s.View().Chain()
	s := r.restored(backup)
	rows := s.View().WritesAfter(0, 10)
	if len(rows) != 1 || rows[0].Seq != last+1 || NextChain(chain, rows[0].Proto()) != rows[0].Chain {
		t.Fatalf("%d rows after row %d: %+v", len(rows), last, rows)
	}
	if w := rows[0]; w.KindName() != "restore_backup" || w.Actor() != testActor || w.RequestID() != "restore" {
		t.Errorf("%+v", w)
	}
	var told restoredBackup
	if err := json.Unmarshal(rows[0].Restored(), &told); err != nil || told.Digest != digest || told.Index != index || told.Cluster != testCluster {
		t.Errorf("%+v, %v", told, err)
	}
	r.s = s
	if o := r.do2(resizeBody(3, primary(1))); o.Refusal != nil || o.Repeated {
		t.Errorf("what was undone can't be done again: %v", o)
	}
}

// Another cluster's backup: this cluster's identity stays, both keys verify, and numbers are passed over that may be in use.
func TestRestoringAnotherClustersBackup(t *testing.T) {
	theirs := busy(t)
	key := theirs.key(1)
	backup := snapshotBytes(t, theirs.s.View())
	ours := &replica{t: t, s: New(), now: theirs.now.Add(time.Hour)}
	own := testKey(9)
	ours.must(&fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
		ClusterId: "new-cluster", VendorKeys: [][]byte{public(vendorKey)}, SigningKey: public(own),
	}}})
	serials := theirs.s.counters.lastSerial
	ours.s = ours.restored(backup)
	v := ours.s.View()
	keys := v.SigningKeys()
	if v.ClusterID() != "new-cluster" || len(keys) != 2 || !keys[0].Equal(public(own)) || !keys[1].Equal(public(clusterKey)) {
		t.Errorf("cluster %s with keys %v", v.ClusterID(), keys)
	}
	if _, err := signed.VerifyLicenseKey(key, keys); err != nil {
		t.Errorf("a key that the old cluster signed: %v", err)
	}
	o := ours.do2(createBody("themis", "nantes", primary(1)))
	if serial := o.GetInstance().GetInstance().GetSerial(); o.Refusal != nil || serial < serials+3_600_000*numbersAMs {
		t.Errorf("the next serial number is %d, after %d an hour before; %v", serial, serials, o.Refusal)
	}
}

// C2: not even a backup brings in contracts of a vendor that the cluster does not know.
func TestRestoringContractsOfAnotherVendor(t *testing.T) {
	backup := snapshotBytes(t, busy(t).s.View())
	ours := &replica{t: t, s: New(), now: testEpoch}
	ours.must(&fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
		ClusterId: "new-cluster", VendorKeys: [][]byte{strangerKey.Public().(ed25519.PublicKey)}, SigningKey: public(testKey(9)),
	}}})
	err := mustRestore(t, backup).Succeed(ours.s.View(), Restoration{Index: 10, Term: 1})
	if err == nil || !strings.Contains(err.Error(), "not signed by a vendor of this cluster") {
		t.Errorf("restored: %v", err)
	}
}

// No command may ever get the kind that marks restorations.
func TestNoCommandRestores(t *testing.T) {
	if slices.Contains(Known(), int32(kindRestore)) {
		t.Errorf("a command has kind %d", kindRestore)
	}
}

// No command ever gets the number, or the name, by which the audit trail tells of a restored backup.
func TestRestorationIsNoCommand(t *testing.T) {
	body := (&fsmpb.Body{}).ProtoReflect().Descriptor()
	if !body.ReservedRanges().Has(kindRestore) || !body.ReservedNames().Has(protoreflect.Name(KindName(kindRestore))) {
		t.Errorf("Body does not reserve %d, %s", kindRestore, KindName(kindRestore))
	}
}
