package fsm

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Keys with fixed seeds, so that documents and golden files are the same in every run.
var (
	vendorKey   = testKey(1)
	clusterKey  = testKey(2)
	strangerKey = testKey(3)
)

const (
	testCluster = "test-cluster"
	testActor   = "operator"
)

var testEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// tb is what helpers need of a test, a benchmark or a rapid check.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// testContract is a valid contract for a year from testEpoch; change it to taste.
func testContract(id string, revision uint64, users map[string]uint64) *signed.Contract {
	return &signed.Contract{
		ID: id, Revision: revision, Customer: "ProMyze customer", Email: "it@example.com",
		Start: testEpoch, Expiry: testEpoch.AddDate(1, 0, 0), Users: users,
	}
}

func mustSign(t tb, c *signed.Contract, key ed25519.PrivateKey) string {
	t.Helper()
	document, err := c.Sign(key)
	if err != nil {
		t.Fatalf("sign contract: %v", err)
	}
	return document
}

func areas(m map[string]uint64) []*fsmpb.Quantity { return QuantitiesOf(m).proto() }

func primary(n uint64) []*fsmpb.Quantity { return areas(map[string]uint64{"primary": n}) }

// Bodies of every kind.
func initialiseBody() *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
		ClusterId: testCluster, VendorKeys: [][]byte{public(vendorKey)}, SigningKey: public(clusterKey),
	}}}
}

func expireBody() *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_Expire{Expire: &fsmpb.Expire{}}}
}

func settingsBody(ttl, limit uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_PutSettings{PutSettings: &fsmpb.PutSettings{
		Settings: &fsmpb.Settings{RequestTtlSeconds: ttl, RequestLimit: limit},
	}}}
}

func contractBody(document string) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}}
}

func createBody(contract, name string, allocation []*fsmpb.Quantity) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: &fsmpb.CreateInstance{
		Contract: contract, Name: name, Allocation: allocation,
	}}}
}

func resizeBody(serial uint64, allocation []*fsmpb.Quantity) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ResizeInstance{ResizeInstance: &fsmpb.ResizeInstance{Serial: serial, Allocation: allocation}}}
}

func removeBody(serial uint64) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: serial}}}
}

func activateBody(key string, reports bool, active []*fsmpb.Quantity) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_ActivateInstance{ActivateInstance: &fsmpb.ActivateInstance{Key: key, Reports: reports, Active: active}}}
}

func mustCommand(t tb, id string, body *fsmpb.Body) *fsmpb.Command {
	t.Helper()
	c, err := NewCommand(testActor, id, body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustEntry(t tb, term uint64, now time.Time, commands ...*fsmpb.Command) []byte {
	t.Helper()
	data, err := EncodeEntry(&fsmpb.Entry{Term: term, WallMs: now.UnixMilli(), Commands: commands})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replica feeds a state as a log would, in term 1.
type replica struct {
	t   tb
	s   *State
	log [][]byte
	now time.Time
	ids int
}

func newReplica(t tb) *replica {
	t.Helper()
	r := &replica{t: t, s: New(), now: testEpoch}
	r.must(initialiseBody())
	return r
}

// do applies one command in an entry of its own, under a new request id.
func (r *replica) do(body *fsmpb.Body) *fsmpb.Outcome {
	r.t.Helper()
	r.ids++
	return r.send(fmt.Sprintf("r%d", r.ids), body)
}

func (r *replica) send(id string, body *fsmpb.Body) *fsmpb.Outcome {
	r.t.Helper()
	data := mustEntry(r.t, 1, r.now, mustCommand(r.t, id, body))
	outcomes, err := r.s.Apply(r.s.index+1, 1, data)
	if err != nil {
		r.t.Fatal(err)
	}
	r.log = append(r.log, data)
	checkRefusalText(r.t, outcomes[0].Refusal)
	return outcomes[0]
}

func (r *replica) must(body *fsmpb.Body) *fsmpb.Outcome {
	r.t.Helper()
	o := r.do(body)
	if o.Refusal != nil {
		r.t.Fatalf("refused: %s", Detail(o.Refusal))
	}
	return o
}

func (r *replica) refused(code Code, body *fsmpb.Body) *fsmpb.Refusal {
	r.t.Helper()
	o := r.do(body)
	if o.Refusal.GetCode() != string(code) {
		r.t.Fatalf("refusal %q instead of %q: %v", o.Refusal.GetCode(), code, o)
	}
	return o.Refusal
}

// key signs the key in force of an instance.
func (r *replica) key(serial uint64) string {
	r.t.Helper()
	return keyInForce(r.t, r.s.View(), serial)
}

func keyInForce(t tb, v *View, serial uint64) string {
	t.Helper()
	x, refusal := v.Instance(serial)
	if refusal != nil {
		t.Fatalf("instance %d: %s", serial, Detail(refusal))
	}
	key, err := x.LicenseKey(testCluster).Sign(clusterKey)
	if err != nil {
		t.Fatalf("sign the key of instance %d: %v", serial, err)
	}
	return key
}

// themis fills a replica with the contract and the three instances of the Themis text.
func themis(t tb) *replica {
	r := newReplica(t)
	r.must(contractBody(mustSign(t, testContract("themis", 1, map[string]uint64{"primary": 30}), vendorKey)))
	r.must(createBody("themis", "bordeaux", primary(15)))
	r.must(createBody("themis", "lyon", primary(10)))
	r.must(createBody("themis", "paris", primary(5)))
	return r
}

func snapshotBytes(t tb, v *View) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := v.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustRestore(t tb, snapshot []byte) *State {
	t.Helper()
	s, err := Restore(bytes.NewReader(snapshot))
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return s
}

// checkState holds what is derived against what it derives from: the digest, the indexes, the totals.
func checkState(t tb, s *State) {
	t.Helper()
	if got, want := s.digest.lanes, recomputedDigest(s).lanes; got != want {
		t.Fatalf("the running digest %x is not that of the rows, %x", got, want)
	}
	fresh := recomputedIndexes(s)
	equal(t, "index by contract", s.byContract.keys.Items(), fresh.byContract.keys.Items())
	equal(t, "names", s.byName.Keys(), fresh.byName.Keys())
	equal(t, "serial numbers by name", s.byName.Values(), fresh.byName.Values())
	equal(t, "request ids", s.answers.Keys(), fresh.answers.Keys())
	equal(t, "answers", s.answers.Values(), fresh.answers.Values())
	if s.writeBytes != fresh.writeBytes {
		t.Fatalf("the writes have %d bytes, not %d", fresh.writeBytes, s.writeBytes)
	}
	checkChain(t, s)
	equal(t, "contracts with allocations", s.allocated.Keys(), fresh.allocated.Keys())
	equal(t, "allocations", s.allocated.Values(), fresh.allocated.Values())
	checkAccounts(t, s)
}

func equal[T any](t tb, what string, got, want T) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		// Much faster than cmp, which explains.
		return
	}
	opts := cmp.AllowUnexported(deadline{}, contractInstance{}, hashed{}, leaseDeadline{}, contractPool{}, leaseKey{}, lingerer{}, projectLease{}, ticketKey{}, userTicket{}, waiter{}, usageAge{})
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func recomputedDigest(s *State) *digest {
	d := new(digest)
	d.add(s.meta)
	s.contracts.rows.Scan(func(_ string, c *Contract) bool { d.add(c); return true })
	s.instances.rows.Scan(func(_ uint64, i *Instance) bool { d.add(i); return true })
	s.pools.rows.Scan(func(_ string, p *Pool) bool { d.add(p); return true })
	s.leases.rows.Scan(func(_ uint64, l *Lease) bool { d.add(l); return true })
	s.projects.rows.Scan(func(_ string, x *Project) bool { d.add(x); return true })
	s.tickets.rows.Scan(func(_ uint64, x *Ticket) bool { d.add(x); return true })
	s.usage.rows.Scan(func(_ string, u *Usage) bool { d.add(u); return true })
	s.paces.rows.Scan(func(_ uint64, x *Pace) bool { d.add(x); return true })
	s.writes.rows.Scan(func(_ uint64, w *Write) bool { d.count(w); return true })
	countAccountRows(d, s)
	return d
}

// recomputedIndexes builds each index anew, not by the code under test.
func recomputedIndexes(s *State) tables {
	fresh := newTables()
	for _, i := range s.instances.rows.Values() {
		fresh.byContract.keys.Set(contractInstance{i.Contract, i.Serial})
		fresh.byName.Set(i.Contract+"\x00"+i.Name, i.Serial)
	}
	for _, c := range s.contracts.rows.Values() {
		if !c.Ended {
			fresh.due.keys.Set(deadline{ms: c.Doc.Ends().UnixMilli(), name: c.Doc.ID})
		}
		sums := map[string]uint64{}
		for _, i := range s.instances.rows.Values() {
			if i.Contract == c.Doc.ID {
				for _, x := range i.Allocation {
					sums[x.Name] += x.N
				}
			}
		}
		totals := slices.DeleteFunc(QuantitiesOf(sums), func(x Quantity) bool { return x.N == 0 })
		if len(totals) > 0 {
			fresh.allocated.Set(c.Doc.ID, totals)
		}
	}
	for _, w := range s.writes.rows.Values() {
		fresh.writeBytes += writeOverhead + uint64(len(w.Body())+len(w.Outcome()))
		if w.RequestID() != "" && !w.stray {
			fresh.answers.Set(w.Actor()+"\x00"+w.RequestID(), w.Seq)
		}
	}
	return fresh
}

// checkChain follows the audit trail from the oldest row that is kept to its head.
func checkChain(t tb, s *State) {
	t.Helper()
	last, head, chain := s.View().Chain()
	seq := last - uint64(s.View().Writes())
	for _, w := range s.View().WritesAfter(0, math.MaxInt) {
		if seq++; w.Seq != seq {
			t.Fatalf("write %d stands where %d belongs", w.Seq, seq)
		}
		if chain = NextChain(chain, w.Proto()); chain != w.Chain {
			t.Fatalf("write %d does not fit the chain", seq)
		}
	}
	if seq != last || chain != head {
		t.Fatalf("the trail ends with write %d instead of %d, chain %x instead of %x", seq, last, chain, head)
	}
}

// checkRestored holds a state against the one that its snapshot restores.
func checkRestored(t tb, s *State) *State {
	t.Helper()
	snapshot := snapshotBytes(t, s.View())
	restored := mustRestore(t, snapshot)
	if got, want := restored.Digest(), s.Digest(); got != want {
		t.Fatalf("the restored state has digest %s instead of %s", got, want)
	}
	if !bytes.Equal(snapshotBytes(t, restored.View()), snapshot) {
		t.Fatal("the restored state's snapshot has other bytes")
	}
	checkState(t, restored)
	checkDerived(t, s, restored)
	return restored
}

// licensing is the digest of everything but the audit trail, the count of denials and what
// A6 notes of them: a refusal leaves it as it was.
func licensing(s *State) lanes {
	d := recomputedDigest(s)
	s.writes.rows.Scan(func(_ uint64, w *Write) bool { d.remove(w); return true })
	s.usage.rows.Scan(func(_ string, u *Usage) bool { d.remove(u); return true })
	s.episodes.rows.Scan(func(_ string, e *Episode) bool { d.remove(e); return true })
	s.notices.rows.Scan(func(_ uint64, n *Notice) bool { d.remove(n); return true })
	return d.lanes
}

var placeholder = regexp.MustCompile(`\{[a-z_]*\}`)

// checkRefusalText sees that a refusal reads as sentences with nothing left open.
func checkRefusalText(t tb, r *fsmpb.Refusal) {
	t.Helper()
	if r == nil {
		return
	}
	for _, text := range []string{Detail(r), Next(r)} {
		if len(text) < 10 || placeholder.MatchString(text) || text[len(text)-1] != '.' {
			t.Fatalf("refusal %s reads %q", r.Code, text)
		}
	}
}

func sameMessage(t tb, what string, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Fatalf("%s is\n%s\ninstead of\n%s", what, prototext.Format(got), prototext.Format(want))
	}
}

func publicKeysOf(keys ...ed25519.PrivateKey) []ed25519.PublicKey {
	list := make([]ed25519.PublicKey, len(keys))
	for i, key := range keys {
		list[i] = public(key)
	}
	return list
}

// checkDerived sees that what a state keeps beside its tables is what a restored state computes anew.
func checkDerived(t tb, got, want *State) {
	t.Helper()
	equal(t, "ends on the wall clock", got.due.keys.Items(), want.due.keys.Items())
	equal(t, "ends on the lease clock", got.leaseDue.keys.Items(), want.leaseDue.keys.Items())
	equal(t, "pools that are ending", got.ending.Keys(), want.ending.Keys())
	equal(t, "pools by contract", got.poolsOf.keys.Items(), want.poolsOf.keys.Items())
	equal(t, "use", uses(got), uses(want))
	equal(t, "draws", draws(got), draws(want))
	equal(t, "leases by user", got.byUser.keys.Items(), want.byUser.keys.Items())
	equal(t, "lingering leases", got.lingering.keys.Items(), want.lingering.keys.Items())
	equal(t, "connections", got.byProject.keys.Items(), want.byProject.keys.Items())
	equal(t, "tickets by pool", got.byPool.keys.Items(), want.byPool.keys.Items())
	equal(t, "waiting tickets", got.waiting.keys.Items(), want.waiting.keys.Items())
	equal(t, "tickets by user", got.ticketUsers.keys.Items(), want.ticketUsers.keys.Items())
	equal(t, "lanes", got.waiters.keys.Items(), want.waiters.keys.Items())
	equal(t, "pools with queues", got.queues.keys.Items(), want.queues.keys.Items())
	equal(t, "usage by hour", got.usageAge.keys.Items(), want.usageAge.keys.Items())
}

func uses(s *State) (list []string) {
	for _, u := range s.uses.Values() {
		list = append(list, fmt.Sprintf("%d %s %+v", u.pool.ID, u.pool.Name, counted(u.use)))
		for _, x := range u.products {
			list = append(list, fmt.Sprintf("%d %s %+v %v", u.pool.ID, x.product, counted(x.use), x.out))
		}
		if row, _ := s.pools.get(u.pool.Name); row != u.pool {
			list = append(list, "another pool than that of the table: "+u.pool.Name)
		}
	}
	slices.Sort(list)
	return list
}

// counted leaves out what is only remembered.
func counted(u use) use {
	u.hour, u.highWater = 0, 0
	return u
}

func draws(s *State) (list []string) {
	for _, row := range s.draws.keys.Items() {
		list = append(list, fmt.Sprintf("%s %s %+v", row.contract, row.product, *row.draw))
	}
	return list
}
