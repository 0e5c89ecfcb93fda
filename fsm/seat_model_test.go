package fsm

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"sort"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// TestSeatModel holds pools, checkouts, borrowing, projects and the queue against a naive second
// model over random histories, and a list of rules against what each step left (rules C4, C5,
// D1, D2, D4, E1, K1–K7, P1–P7, Q1–Q5, T1–T5).
func TestSeatModel(t *testing.T) {
	t.Parallel()
	signatures := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		m := newSeatRun(t, signatures)
		for range 2 {
			m.play(t)
		}
	})
}

// TestSeatModelReaches sees that the histories of the model are worth something: every kind of
// command is accepted and refused in them, and what the queue is for happens.
func TestSeatModelReaches(t *testing.T) {
	t.Parallel()
	signatures, counts := map[string]string{}, map[string]int{}
	for seed := range 70 {
		rapid.Custom(func(r *rapid.T) int {
			m := newSeatRun(t, signatures)
			m.counts = counts
			for range 4 {
				m.play(r)
			}
			return 0
		}).Example(seed)
	}
	var names []string
	for name := range counts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		t.Logf("%6d %s", counts[name], name)
	}
	for _, name := range seatMilestones {
		if counts[name] < 4 {
			t.Errorf("only %d times: %s", counts[name], name)
		}
	}
}

var seatKinds = []string{
	"checkout", "renew", "check_in", "return_borrow", "revoke", "convert_project", "keep_ticket", "claim_offer", "leave_queue",
	"put_pool", "activate_pool", "delete_pool", "put_contract",
}

var seatMilestones = func() []string {
	list := []string{
		"expire accepted", "bulk accepted", "offer timed out", "ticket timed out", "lease timed out", "borrow", "borrow timed out", "ticket for many seats",
		"offer of many seats", "offer passed on", "team shared", "lingering seat taken again", "reserved seat taken", "more out than the pool has",
		"promises above the quantity", "overdraft used", "pool ended", "contract ended", "offer withdrawn", "repeated", "stray",
		"pool_full", "cap_reached", "seats_reserved", "quantity_reached", "queue_ahead", "queue_full", "borrow_low_water", "borrow_too_long", "project_busy",
		"project_open_as_team", "project_open_as_mono", "count_above_limit", "user_barred", "not_holder", "lease_ended", "ticket_gone",
		"not_ticket_holder", "not_offered", "contract_exhausted", "client_limit_reached", "pool_in_use", "pool_changed", "pool replaced at its revision", "contract_not_started",
	}
	for _, kind := range seatKinds {
		list = append(list, kind+" accepted", kind+" refused")
	}
	return list
}()

type seatRun struct {
	tb         tb
	s, twin    *State
	n          *seatNaive
	signatures map[string]string
	now        time.Time
	term       uint64
	sent       []seatOp
	ids        int
	watch      *seatWatch
	counts     map[string]int
}

func newSeatRun(t tb, signatures map[string]string) *seatRun {
	m := &seatRun{tb: t, s: New(), twin: New(), signatures: signatures, now: testEpoch, term: 1, counts: map[string]int{}, watch: new(seatWatch)}
	m.n = &seatNaive{ttl: int64(DefaultSettings.RequestTTL) * 1000, limit: 30}
	m.apply(&fsmpb.Entry{Term: 1, WallMs: m.now.UnixMilli(), Commands: []*fsmpb.Command{mustCommand(t, "", initialiseBody())}})
	m.n.tick(m.now.UnixMilli(), 0)
	m.n.write(seatWrite{wall: m.n.wall})
	for _, s := range []*State{m.s, m.twin} {
		// A limit that commands can't set, so that it is reached.
		meta := edit(s.meta)
		meta.Settings = DefaultSettings
		meta.Settings.RequestLimit = uint64(m.n.limit)
		s.setMeta(meta)
	}
	m.limitTokens()
	for i, o := range seatBeginning() {
		o.actor, o.id = "ann", fmt.Sprintf("first%d", i)
		m.entryOf([]seatOp{o}, 0)
	}
	return m
}

// limitTokens puts API tokens with limits into both states, and into the second model.
func (m *seatRun) limitTokens() {
	m.n.limits = map[string]seatLimit{"token-1": {1, 1, 1}, "token-2": {2, 3, 0}, "token-3": {3, 0, 2}}
	for _, s := range []*State{m.s, m.twin} {
		s.counters.lastToken = 4
		for _, x := range m.n.limits {
			s.setToken(&Token{
				ID: x.token, Name: fmt.Sprint("limited", x.token), Role: OfClient, Scope: Scope{Pools: []string{"p0"}}, MaxLeases: x.leases, MaxTickets: x.tickets,
			})
		}
		s.setToken(&Token{ID: 4, Name: "free", Role: OfClient, Scope: Scope{Pools: []string{"p0"}}})
	}
}

// seatActors ask by turns: some have limits, of token-4 none are counted.
var seatActors = []string{"ann", "ann", "ann", "ann", "token-1", "token-2", "token-3", "token-4"}

// seatBeginning is two contracts and four active pools: small, so that they are full soon.
func seatBeginning() []seatOp {
	acme := seatContractOf("c0", map[string]signed.Product{
		"f": {Model: signed.Floating, Quantity: 4, Overdraft: 1}, "g": {Model: signed.Floating, Quantity: 3},
		"m": {Model: signed.Mono, Quantity: 2}, "t": {Model: signed.Team, Quantity: 2},
	})
	other := seatContractOf("c1", map[string]signed.Product{"f": {Model: signed.Floating, Quantity: 2}})
	pools := []*fsmpb.Pool{
		seatPoolOf("p0", 3, &fsmpb.PoolProduct{Name: "f", Cap: 2, MaxCheckoutDays: 3}, &fsmpb.PoolProduct{Name: "g", MaxCheckoutDays: 3, LowWater: 1}),
		seatPoolOf("p1", 2, &fsmpb.PoolProduct{Name: "m", Cap: 1}, &fsmpb.PoolProduct{Name: "t", Cap: 1}),
		seatPoolOf("p2", 3, &fsmpb.PoolProduct{Name: "f"}, &fsmpb.PoolProduct{Name: "t"}),
		seatPoolOf("p3", 2, &fsmpb.PoolProduct{Name: "f"}),
	}
	pools[2].Shared, pools[0].Linger, pools[3].Linger = true, 20, 60
	pools[2].Products[0].Reservations = []*fsmpb.Reservation{{Name: "boss", Seats: 1, Users: []string{"ann@x.org"}}}
	ops := []seatOp{{doc: acme}, {doc: other}}
	for _, p := range pools {
		ops = append(ops, seatOp{body: poolBody(p, true)}, seatOp{body: activatePoolBody(p.Name, true)})
	}
	return ops
}

func seatContractOf(id string, products map[string]signed.Product) *signed.Contract {
	c := testContract(id, 1, nil)
	c.Start, c.Products = testEpoch.AddDate(0, 0, -1), products
	return c
}

// seatPoolOf says everything that may be left out, as the second model wants it.
func seatPoolOf(name string, size uint64, products ...*fsmpb.PoolProduct) *fsmpb.Pool {
	contract := "c0"
	if name == "p3" {
		contract = "c1"
	}
	return &fsmpb.Pool{
		Name: name, Contract: contract, Size: size, Products: products, TtlMin: 10, TtlMax: 600, TtlDefault: 30,
		QueueLimit: 5, OfferTtl: 20, TicketTtl: 40,
	}
}

func (m *seatRun) play(t *rapid.T) {
	t.Repeat(map[string]func(*rapid.T){
		"command":   m.single,
		"command 2": m.single,
		"command 3": m.single,
		"command 4": m.single,
		"command 5": m.single,
		"command 6": m.single,
		"batch":     m.batch,
		"stale":     m.staleEntry,
		"dry run":   m.dryRun,
		"restore":   func(*rapid.T) { m.s = checkRestored(m.tb, m.s) },
	})
}

func (m *seatRun) single(t *rapid.T) {
	m.advance(t)
	m.entryOf([]seatOp{m.op(t)}, m.pause(t))
}

// batch draws its commands before the first is applied.
func (m *seatRun) batch(t *rapid.T) {
	m.advance(t)
	var ops []seatOp
	for range rapid.IntRange(2, 5).Draw(t, "commands") {
		ops = append(ops, m.op(t))
	}
	m.entryOf(ops, m.pause(t))
}

func (m *seatRun) pause(t *rapid.T) int64 {
	return rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 0, 5_000, 1 << 40, -7}).Draw(t, "pause")
}

// advance moves the leader's clock: mostly on by little, at times back or far ahead.
func (m *seatRun) advance(t *rapid.T) {
	const day = 24 * time.Hour
	steps := []time.Duration{time.Second, 0, 3 * time.Second, 5 * time.Second, 9 * time.Second, 12 * time.Second, 25 * time.Second}
	if oneIn(t, 12, "jump") {
		steps = []time.Duration{61 * time.Second, 61 * time.Minute, 26 * time.Hour, 4 * day, -time.Minute, -2 * day}
	}
	m.now = m.now.Add(rapid.SampledFrom(steps).Draw(t, "clock step"))
	if m.now.Before(testEpoch) {
		m.now = testEpoch
	}
}

// entryOf applies a batch to both states and to the second model.
func (m *seatRun) entryOf(ops []seatOp, pause int64) {
	e := &fsmpb.Entry{Term: m.term, WallMs: m.now.UnixMilli(), PauseMs: pause}
	for i := range ops {
		e.Commands = append(e.Commands, m.command(&ops[i]))
	}
	before, counters := licensing(m.s), m.s.counters
	m.watch.before(m, ops)
	outcomes := m.apply(e)
	m.n.tick(e.WallMs, pause)
	refused := true
	for i, o := range ops {
		want := m.n.do(o)
		m.same(o, outcomes[i], want)
		m.sent = append(m.sent, o)
		m.count(o, outcomes[i])
		refused = refused && outcomes[i].Refusal != nil
	}
	counters.lastWrite, counters.chain, counters.chainBase = m.s.counters.lastWrite, m.s.counters.chain, m.s.counters.chainBase
	if refused && (licensing(m.s) != before || m.s.counters != counters) {
		m.tb.Fatalf("K1: refusals alone changed more than the trail and the denials: %v", outcomes)
	}
	m.compare()
	m.watch.after(m, outcomes)
}

// apply feeds an entry to a second replica, too (D1).
func (m *seatRun) apply(e *fsmpb.Entry) []*fsmpb.Outcome {
	data, err := EncodeEntry(e)
	if err != nil {
		m.tb.Fatal(err)
	}
	index := m.s.index + 1
	outcomes, err := m.s.Apply(index, m.term, data)
	if err != nil {
		m.tb.Fatal(err)
	}
	if _, err = m.twin.Apply(index, m.term, data); err != nil {
		m.tb.Fatal(err)
	}
	if a, b := m.s.Digest(), m.twin.Digest(); a != b {
		m.tb.Fatalf("D1: two replicas come to digests %s and %s", a, b)
	}
	return outcomes
}

// staleEntry lands in a later term than it was stamped in: nothing of it counts (D2).
func (m *seatRun) staleEntry(t *rapid.T) {
	m.term++
	o := m.op(t)
	before := m.s.digest.lanes
	e := &fsmpb.Entry{Term: m.term - 1, WallMs: m.now.Add(1000 * time.Hour).UnixMilli(), Commands: []*fsmpb.Command{m.command(&o)}}
	if code := m.apply(e)[0].Refusal.GetCode(); code != string(Superseded) || m.s.digest.lanes != before {
		m.tb.Fatalf("D2: a stale leader's entry came to %s", code)
	}
}

// dryRun tells what the same command then really comes to, and changes nothing (K7).
func (m *seatRun) dryRun(t *rapid.T) {
	m.advance(t)
	o := m.op(t)
	v, before := m.s.View(), m.s.Digest()
	rows := snapshotBytes(m.tb, v)
	told, err := v.DryRun(m.command(&o), m.now.UnixMilli())
	if err != nil {
		m.tb.Fatal(err)
	}
	if m.s.Digest() != before || !bytes.Equal(snapshotBytes(m.tb, v), rows) {
		m.tb.Fatalf("K7: a dry run of %v changed the state", o.body)
	}
	dry := m.n.clone()
	dry.tick(m.now.UnixMilli(), 0)
	m.same(o, told, dry.do(o))
	m.entryOf([]seatOp{o}, 0)
}

func (m *seatRun) same(o seatOp, got, want *fsmpb.Outcome) {
	m.tb.Helper()
	checkRefusalText(m.tb, got.Refusal)
	if got, want = plainOutcome(got), plainOutcome(want); !proto.Equal(got, want) {
		m.tb.Fatalf("wall %d, lease clock %d: %s\ncame to\n%s\ninstead of\n%s", m.n.wall, m.n.now(), prototext.Format(o.body), prototext.Format(got), prototext.Format(want))
	}
}

// plainOutcome leaves out where and with which words, and puts in order what has none.
func plainOutcome(o *fsmpb.Outcome) *fsmpb.Outcome {
	o = clone(o)
	o.Index, o.Term = 0, 0
	if o.Refusal != nil {
		o.Refusal.Hint = ""
		slices.SortFunc(o.Refusal.Facts, func(a, b *fsmpb.Fact) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	}
	for _, list := range [][]uint64{o.GetPool().GetLeases(), o.GetPool().GetTickets(), o.GetExpired().GetLeases(), o.GetExpired().GetOffers(), o.GetExpired().GetTickets()} {
		slices.Sort(list)
	}
	slices.Sort(o.GetPool().GetUsers())
	for i, item := range o.GetBulk().GetOutcomes() {
		o.GetBulk().Outcomes[i] = plainOutcome(item)
	}
	return o
}

func (m *seatRun) command(o *seatOp) *fsmpb.Command {
	switch {
	case o.doc != nil:
		o.body = contractBody(m.sign(fmt.Sprint(*o.doc), signer(o.bad, vendorKey), o.doc.Sign))
	case o.token != nil:
		token := m.sign(fmt.Sprint(*o.token), signer(o.bad, clusterKey), o.token.Sign)
		o.body = &fsmpb.Body{Kind: &fsmpb.Body_ReturnBorrow{ReturnBorrow: &fsmpb.ReturnBorrow{Token: token}}}
	}
	c, err := NewCommand(o.actor, o.id, o.body)
	if err != nil {
		m.tb.Fatal(err)
	}
	return c
}

func (m *seatRun) sign(content string, key ed25519.PrivateKey, sign func(ed25519.PrivateKey) (string, error)) string {
	return (&modelRun{tb: m.tb, signatures: m.signatures}).sign(content, key, sign)
}

// op draws a command, at times one that was sent before, or its id with another command.
func (m *seatRun) op(t *rapid.T) seatOp {
	if len(m.sent) > 0 && oneIn(t, 25, "again") {
		again := rapid.SampledFrom(m.sent[max(0, len(m.sent)-20):]).Draw(t, "repeated op")
		if again.id != "" && oneIn(t, 3, "another command") {
			o := m.fresh(t)
			o.actor, o.id = again.actor, again.id
			return o
		}
		return again
	}
	o := m.fresh(t)
	m.ids++
	o.actor, o.id = rapid.SampledFrom(seatActors).Draw(t, "actor"), fmt.Sprintf("q%d", m.ids)
	return o
}

// seatDraws are the kinds by how often they come.
var seatDraws = []string{
	"checkout", "checkout", "checkout", "checkout", "checkout", "checkout", "checkout", "check_in", "check_in", "check_in", "renew",
	"claim", "claim", "claim", "claim", "keep", "keep", "leave", "expire", "expire", "revoke", "return", "convert", "pool", "pool", "pool",
	"activate", "delete", "contract", "contract", "bulk",
}

// mend draws a command that brings back what earlier ones took away, or ends what is over: without it
// there would soon be nothing left to do.
func (m *seatRun) mend(t *rapid.T) (seatOp, bool) {
	var list []seatOp
	for _, c := range m.n.contracts {
		if m.n.wall >= c.doc.Ends().UnixMilli() || m.n.wall < c.doc.Start.UnixMilli() {
			doc := *c.doc
			doc.Revision++
			doc.Start, doc.Expiry = testEpoch, m.now.Add(5000*time.Hour)
			list = append(list, seatOp{doc: &doc})
		}
	}
	for _, o := range seatBeginning()[2:] {
		if p, activate := m.n.pool(o.body.GetPutPool().GetPool().GetName()), o.body.GetActivatePool(); activate == nil && p == nil {
			list = append(list, o)
		} else if p = m.n.pool(activate.GetPool()); p != nil && !p.active {
			list = append(list, o)
		}
	}
	if due := m.n.due(); due != 0 && due <= m.n.wall {
		list = append(list, seatOp{body: expireBody()})
	}
	if len(list) == 0 || !oneIn(t, 3, "mend") {
		return seatOp{}, false
	}
	return rapid.SampledFrom(list).Draw(t, "what is mended"), true
}

func (m *seatRun) fresh(t *rapid.T) seatOp {
	if o, ok := m.mend(t); ok {
		return o
	}
	kind := rapid.SampledFrom(seatDraws).Draw(t, "kind")
	if m.idle(kind) && !oneIn(t, 6, "for nothing") {
		kind = "checkout"
	}
	switch kind {
	case "checkout":
		return m.drawCheckout(t)
	case "check_in":
		return seatOp{body: m.drawCheckIn(t)}
	case "renew":
		return seatOp{body: m.drawRenew(t)}
	case "claim", "keep", "leave":
		return seatOp{body: m.drawTicket(t)}
	case "revoke":
		return seatOp{body: &fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: m.drawLease(t, anyLease).Id}}}}
	case "return":
		return m.drawReturn(t)
	case "convert":
		return seatOp{body: m.drawConvert(t)}
	case "pool":
		return m.drawPool(t)
	case "activate":
		pool := m.drawPoolName(t)
		for _, x := range m.n.tickets {
			if x.Offered {
				pool = x.Ask.Pool
			}
		}
		return seatOp{body: activatePoolBody(pool, oneIn(t, 2, "activate"))}
	case "delete":
		del := &fsmpb.DeletePool{Pool: m.drawPoolName(t), Force: oneIn(t, 4, "force")}
		return seatOp{body: &fsmpb.Body{Kind: &fsmpb.Body_DeletePool{DeletePool: del}}}
	case "contract":
		return m.drawContract(t)
	case "bulk":
		return seatOp{body: m.drawBulk(t)}
	}
	return seatOp{body: expireBody()}
}

// idle reports whether there is nothing to which a kind of command could be done.
func (m *seatRun) idle(kind string) bool {
	switch kind {
	case "claim", "keep", "leave":
		return len(m.n.tickets) == 0
	case "check_in", "renew", "revoke":
		return len(m.n.leases) == 0
	case "return":
		return !slices.ContainsFunc(m.n.leases, func(l *fsmpb.LeaseRecord) bool { return l.Borrow })
	case "convert":
		return len(m.n.projects) == 0
	}
	return false
}

func (m *seatRun) drawPoolName(t *rapid.T) string {
	return rapid.SampledFrom([]string{"p0", "p0", "p3", "p0", "p2", "p1", "p1", "p2", "p3", "p0", "p2", "p4"}).Draw(t, "pool")
}

var seatUsers = []string{"ann@x.org", "bob@x.org", "cy@lab.y.org", "dan"}

func (m *seatRun) drawCheckout(t *rapid.T) seatOp {
	ask := &fsmpb.Checkout{Pool: m.drawPoolName(t), Product: rapid.SampledFrom([]string{"f", "g", "m", "t"}).Draw(t, "product")}
	p := m.n.pool(ask.Pool)
	if p != nil && !oneIn(t, 12, "any product") {
		ask.Product = rapid.SampledFrom(p.Products).Draw(t, "product of the pool").Name
	}
	user := rapid.IntRange(0, len(seatUsers)-1).Draw(t, "user")
	ask.User, ask.Client = seatUsers[user], rapid.SampledFrom([]string{"h1", "h1", "h2"}).Draw(t, "client")
	ask.Holder = holder(byte(10 + user))
	ask.Count = rapid.SampledFrom([]uint64{1, 2, 1, 2, 1, 0, 3, 1, 2, 9}).Draw(t, "count")
	ask.Ttl = rapid.SampledFrom([]uint32{0, 0, 0, 0, 0, 60, 60, 10, 10, 20, 15, 601}).Draw(t, "ttl")
	ask.Queue = !oneIn(t, 4, "no queue")
	if oneIn(t, 4, "group") {
		ask.Groups = []string{"eng"}
	}
	token := ask.Product == "m" || ask.Product == "t"
	if token != oneIn(t, 20, "wrong model") {
		ask.Project, ask.Count = rapid.SampledFrom([]string{"j1", "j2"}).Draw(t, "project"), 1
	} else if oneIn(t, 5, "borrow") {
		ask.BorrowDays = rapid.SampledFrom([]uint32{1, 1, 3, 31}).Draw(t, "days")
	}
	o := seatOp{body: checkoutBody(ask), malformed: oneIn(t, 40, "malformed")}
	if o.malformed {
		ask.Holder = ask.Holder[1:]
	}
	return o
}

func anyLease(*fsmpb.LeaseRecord) bool { return true }

// drawLease is mostly one that is there, at times one that has ended or never was.
func (m *seatRun) drawLease(t *rapid.T, fit func(*fsmpb.LeaseRecord) bool) *fsmpb.LeaseRecord {
	list := []*fsmpb.LeaseRecord{}
	for _, l := range m.n.leases {
		if fit(l) {
			list = append(list, l)
		}
	}
	if len(list) > 0 && !oneIn(t, 6, "any lease") {
		return rapid.SampledFrom(list).Draw(t, "lease")
	}
	id := rapid.Uint64Range(0, m.n.leasesEver+1).Draw(t, "lease id")
	if l := m.n.leaseWith(id); l != nil {
		return l
	}
	return &fsmpb.LeaseRecord{Id: id, Holder: holder(10), Pool: "p1", Project: "j1", Product: "m", User: "dan", Client: "h1", Count: 1}
}

func (m *seatRun) drawHolder(t *rapid.T, right []byte) []byte {
	if oneIn(t, 8, "wrong handle") {
		return holder(99)
	}
	return right
}

func (m *seatRun) drawCheckIn(t *rapid.T) *fsmpb.Body {
	l := m.drawLease(t, anyLease)
	return &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: l.Id, Holder: m.drawHolder(t, l.Holder)}}}
}

func (m *seatRun) drawRenew(t *rapid.T) *fsmpb.Body {
	l := m.drawLease(t, anyLease)
	ttl := rapid.SampledFrom([]uint32{0, 0, 0, 10, 60, 601, 9}).Draw(t, "ttl")
	return &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: l.Id, Holder: m.drawHolder(t, l.Holder), Ttl: ttl}}}
}

func (m *seatRun) drawReturn(t *rapid.T) seatOp {
	l := m.drawLease(t, func(l *fsmpb.LeaseRecord) bool { return l.Borrow })
	token := &signed.Borrow{
		Cluster: testCluster, Lease: max(l.Id, 1), Pool: l.Pool, Product: l.Product, User: l.User, Client: l.Client, Count: max(l.Count, 1),
		Issued: testEpoch, Expiry: testEpoch.AddDate(1, 0, 0),
	}
	return seatOp{token: token, bad: oneIn(t, 8, "stranger's token")}
}

func (m *seatRun) drawConvert(t *rapid.T) *fsmpb.Body {
	l := m.drawLease(t, func(l *fsmpb.LeaseRecord) bool { return l.Project != "" })
	for _, other := range m.n.leases {
		if other.Project != "" && m.n.connections(other.Pool, other.Project) > 1 && oneIn(t, 3, "a shared project") {
			l = other
		}
	}
	to := map[string]string{"m": "t", "t": "m"}[l.Product]
	if to == "" || oneIn(t, 8, "any product") {
		to = rapid.SampledFrom([]string{"f", "m", "t"}).Draw(t, "to")
	}
	project := l.Project
	if project == "" || oneIn(t, 10, "another project") {
		project = "j2"
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_ConvertProject{ConvertProject: &fsmpb.ConvertProject{
		Pool: l.Pool, Project: project, Product: to, Lease: l.Id, Holder: m.drawHolder(t, l.Holder),
	}}}
}

// drawTicket keeps, claims or leaves: offers are mostly claimed.
func (m *seatRun) drawTicket(t *rapid.T) *fsmpb.Body {
	x := &fsmpb.TicketRecord{Id: rapid.Uint64Range(0, m.n.ticketsEver+1).Draw(t, "ticket id"), Ask: &fsmpb.Checkout{Holder: holder(10)}}
	if y := m.n.ticketWith(x.Id); y != nil {
		x = y
	}
	if len(m.n.tickets) > 0 && !oneIn(t, 8, "any ticket") {
		x = rapid.SampledFrom(m.n.tickets).Draw(t, "ticket")
	}
	for _, y := range m.n.tickets {
		if y.Offered && oneIn(t, 3, "an offer") {
			x = y
		}
	}
	kinds := []string{"keep", "keep", "keep", "claim", "leave"}
	if x.Offered {
		kinds = []string{"claim", "keep", "claim", "keep", "leave"}
	}
	h := m.drawHolder(t, x.Ask.Holder)
	switch rapid.SampledFrom(kinds).Draw(t, "what to do") {
	case "keep":
		return &fsmpb.Body{Kind: &fsmpb.Body_KeepTicket{KeepTicket: &fsmpb.KeepTicket{Ticket: x.Id, Holder: h}}}
	case "claim":
		return &fsmpb.Body{Kind: &fsmpb.Body_ClaimOffer{ClaimOffer: &fsmpb.ClaimOffer{Ticket: x.Id, Holder: h}}}
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_LeaveQueue{LeaveQueue: &fsmpb.LeaveQueue{Ticket: x.Id, Holder: h}}}
}

func (m *seatRun) drawBulk(t *rapid.T) *fsmpb.Body {
	bulk := new(fsmpb.Bulk)
	for range rapid.IntRange(1, 4).Draw(t, "items") {
		switch rapid.IntRange(0, 2).Draw(t, "item") {
		case 0:
			if o := m.drawCheckout(t); !o.malformed {
				bulk.Items = append(bulk.Items, o.body)
			}
		case 1:
			bulk.Items = append(bulk.Items, m.drawRenew(t))
		default:
			bulk.Items = append(bulk.Items, m.drawCheckIn(t))
		}
	}
	if len(bulk.Items) == 0 {
		bulk.Items = append(bulk.Items, m.drawRenew(t))
	}
	return &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: bulk}}
}

// drawPool mostly changes one thing of a pool that is there.
func (m *seatRun) drawPool(t *rapid.T) seatOp {
	name := m.drawPoolName(t)
	old := m.n.pool(name)
	if old == nil || oneIn(t, 15, "create again") {
		all := []*fsmpb.PoolProduct{{Name: "f", Cap: 1, MaxCheckoutDays: 3}, {Name: "g", Cap: 1}, {Name: "m", Cap: 1}, {Name: "t", Cap: 1}}
		if name == "p3" {
			all = all[:1]
		}
		return seatOp{body: poolBody(seatPoolOf(name, 2, all...), !oneIn(t, 10, "change what is not there"))}
	}
	p := clone(old.Pool)
	m.changePool(t, p)
	o := seatOp{body: poolBody(p, false)}
	if oneIn(t, 3, "if the pool is as it was") {
		o.body.GetPutPool().Expected = old.revision - min(old.revision, rapid.SampledFrom([]uint64{0, 0, 0, 1}).Draw(t, "behind"))
	}
	reserved := uint64(0)
	for _, x := range p.Products {
		seats := reservedSeats(x, nil, "")
		reserved += seats
		o.malformed = o.malformed || x.Cap != 0 && seats > x.Cap
	}
	o.malformed = o.malformed || reserved > p.Size || p.TtlDefault > p.TtlMax
	return o
}

func (m *seatRun) changePool(t *rapid.T, p *fsmpb.Pool) {
	x := rapid.SampledFrom(p.Products).Draw(t, "product to change")
	switch rapid.SampledFrom([]int{8, 0, 1, 2, 3, 4, 5, 6, 7, 9, 10}).Draw(t, "change") {
	case 0, 1:
		p.Size = rapid.SampledFrom([]uint64{1, 2, 2, 3, 4}).Draw(t, "size")
	case 2:
		x.Cap = rapid.SampledFrom([]uint64{0, 1, 1, 2, 3}).Draw(t, "cap")
	case 3:
		x.Reservations = rapid.SampledFrom([][]*fsmpb.Reservation{
			nil,
			{{Name: "boss", Seats: 1, Users: []string{"ann@x.org"}}},
			{{Name: "house", Seats: 1, Domains: []string{"*.y.org", "x.org"}}},
			{{Name: "boss", Seats: 1, Users: []string{"dan"}}, {Name: "eng", Seats: 1, Groups: []string{"eng"}}},
		}).Draw(t, "reservations")
	case 4:
		p.Shared = !p.Shared
	case 5:
		list := []*fsmpb.Restriction{nil, {ExcludeEmails: []string{"ann@x.org"}}, {IncludeDomains: []string{"x.org"}, IncludeEmails: []string{"cy@lab.y.org"}}, {ExcludeDomains: []string{"*.y.org"}}}
		if r := rapid.SampledFrom(list).Draw(t, "restriction"); oneIn(t, 2, "of the pool") {
			p.Restriction = r
		} else {
			x.Restriction = r
		}
	case 6:
		p.Linger = rapid.SampledFrom([]uint32{0, 20, 60}).Draw(t, "linger")
	case 7:
		p.QueueLimit = rapid.SampledFrom([]uint32{1, 0, 5}).Draw(t, "queue limit")
	case 8:
		until := m.now.Add(rapid.SampledFrom([]time.Duration{10 * time.Second, -time.Hour, time.Minute, 30 * time.Hour, 1000 * time.Hour}).Draw(t, "valid until")).UnixMilli()
		p.ValidUntilMs = rapid.SampledFrom([]int64{until, 0}).Draw(t, "with an end")
	case 9:
		p.TtlMax, p.TtlDefault = rapid.SampledFrom([]uint32{20, 600}).Draw(t, "ttl max"), rapid.SampledFrom([]uint32{10, 20, 30}).Draw(t, "ttl default")
		x.MaxCheckoutDays, x.LowWater = rapid.SampledFrom([]uint32{0, 3, 30}).Draw(t, "days"), rapid.Uint64Range(0, 2).Draw(t, "low water")
	default:
		m.changeProducts(t, p)
	}
}

func (m *seatRun) changeProducts(t *rapid.T, p *fsmpb.Pool) {
	name := rapid.SampledFrom([]string{"f", "g", "m", "t"}).Draw(t, "product to add or drop")
	at, found := slices.BinarySearchFunc(p.Products, name, func(x *fsmpb.PoolProduct, name string) int { return bytes.Compare([]byte(x.Name), []byte(name)) })
	switch {
	case !found:
		p.Products = slices.Insert(p.Products, at, &fsmpb.PoolProduct{Name: name, Cap: 1, MaxCheckoutDays: 3})
	case len(p.Products) > 1:
		p.Products = slices.Delete(p.Products, at, at+1)
	}
}

// drawContract mostly changes one thing of a contract that is there.
func (m *seatRun) drawContract(t *rapid.T) seatOp {
	doc := *m.n.contract(rapid.SampledFrom([]string{"c0", "c0", "c1"}).Draw(t, "contract")).doc
	doc.Revision = uint64(int64(doc.Revision) + rapid.SampledFrom([]int64{1, 1, 1, 1, 1, 2, 0, -1}).Draw(t, "revision"))
	doc.Revision = max(doc.Revision, 1)
	products := map[string]signed.Product{}
	for name, x := range doc.Products {
		products[name] = x
	}
	doc.Products = products
	const hour = time.Hour
	switch name := rapid.SampledFrom([]string{"f", "g", "m", "t"}).Draw(t, "line"); rapid.SampledFrom([]int{0, 6, 5, 1, 5, 3, 4, 7}).Draw(t, "revise") {
	case 0, 1:
		doc.Products[name] = signed.Product{Model: seatModels[name], Quantity: rapid.SampledFrom([]uint64{2, 4, 1, 3, 0, 6}).Draw(t, "quantity"), Overdraft: doc.Products[name].Overdraft}
	case 3:
		doc.Products[name] = signed.Product{Model: seatModels[name], Quantity: doc.Products[name].Quantity, Overdraft: rapid.Uint64Range(0, 2).Draw(t, "overdraft")}
	case 4:
		if delete(doc.Products, name); len(doc.Products) == 0 {
			doc.Products["g"] = signed.Product{Model: signed.Floating, Quantity: 1}
		}
	case 5:
		doc.Start = m.now.Add(rapid.SampledFrom([]time.Duration{20 * time.Second, -48 * hour}).Draw(t, "start"))
		doc.Expiry = doc.Start.Add(5000 * hour)
	default:
		doc.Expiry = m.now.Add(rapid.SampledFrom([]time.Duration{15 * time.Second, -hour, 5000 * hour, 2 * hour, 30 * hour, 5000 * hour}).Draw(t, "expiry"))
		doc.GraceDays = rapid.SampledFrom([]uint32{0, 0, 1}).Draw(t, "grace")
		doc.Start = testEpoch.Add(-48 * hour)
	}
	if !doc.Start.Before(doc.Expiry) {
		doc.Start = doc.Expiry.Add(-hour)
	}
	return seatOp{doc: &doc, bad: oneIn(t, 12, "bad signature")}
}

var seatModels = map[string]signed.Model{"f": signed.Floating, "g": signed.Floating, "m": signed.Mono, "t": signed.Team}

// compare holds all that can be seen of the state against the second model.
func (m *seatRun) compare() {
	v := m.s.View()
	if v.Clock() != (Clock{m.n.wall, m.n.pause}) {
		m.tb.Fatalf("D2: the clock is %v instead of %d, %d", v.Clock(), m.n.wall, m.n.pause)
	}
	var want []*fsmpb.LeaseStatus
	slices.SortFunc(m.n.leases, func(a, b *fsmpb.LeaseRecord) int { return int(a.Id) - int(b.Id) })
	for _, l := range m.n.leases {
		want = append(want, m.n.status(l))
	}
	sameList(m.tb, "leases", v.Leases(LeaseFilter{Limit: 1000}), want)
	for _, l := range m.n.leases {
		if got, _ := m.s.leases.get(l.Id); !bytes.Equal(got.Holder[:], l.Holder) {
			m.tb.Fatalf("K6: lease %d has handle %x instead of %x", l.Id, got.Holder, l.Holder)
		}
	}
	slices.SortFunc(m.n.pools, func(a, b *seatPool) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	if got := v.Pools("", "", 100); len(got) != len(m.n.pools) {
		m.tb.Fatalf("there are %d pools instead of %d", len(got), len(m.n.pools))
	}
	for _, p := range m.n.pools {
		m.comparePool(v, p)
	}
	for _, c := range m.n.contracts {
		m.compareContract(v, c)
	}
	// By how much something is overdue makes no difference.
	due, _ := v.NextDue()
	if want := m.n.due(); max(due, m.n.wall) != max(want, m.n.wall) {
		m.tb.Fatalf("D4: the next end is due at %d instead of %d", due, want)
	}
	m.compareUsage()
	checkState(m.tb, m.s)
	if m.s.index%4 == 0 {
		checkRestored(m.tb, m.s)
	}
}

func (m *seatRun) comparePool(v *View, p *seatPool) {
	got, _ := v.Pool(p.Name)
	sameMessage(m.tb, "pool "+p.Name, got.Pool.proto(), m.n.poolRecord(p))
	sameMessage(m.tb, "use of pool "+p.Name, got.Use, m.n.poolUse(p))
	if got.Ends.UnixMilli() != m.n.ends(p) || got.Over != m.n.over(p) {
		m.tb.Fatalf("P3, C5: pool %s ends at %d (over: %t) instead of %d", p.Name, got.Ends.UnixMilli(), got.Over, m.n.ends(p))
	}
	var tickets []*fsmpb.TicketStatus
	for _, t := range m.n.tickets {
		if t.Ask.Pool == p.Name {
			tickets = append(tickets, m.n.ticketStatus(t))
		}
	}
	sameList(m.tb, "tickets of pool "+p.Name, v.Tickets(p.Name, 0, 1000), tickets)
	var open, projects []*fsmpb.ProjectRecord
	for _, x := range v.Projects(p.Name, "", 100) {
		open = append(open, x.Proto())
	}
	slices.SortFunc(m.n.projects, func(a, b *fsmpb.ProjectRecord) int { return bytes.Compare([]byte(a.Project), []byte(b.Project)) })
	for _, x := range m.n.projects {
		if x.Pool == p.Name {
			projects = append(projects, m.n.showProject(x))
		}
	}
	sameList(m.tb, "projects of pool "+p.Name, open, projects)
}

func (m *seatRun) compareContract(v *View, c *seatContract) {
	status, _ := v.Contract(c.doc.ID)
	if status.Contract.Ended != c.ended {
		m.tb.Fatalf("D4: the end of contract %s is applied: %t instead of %t", c.doc.ID, status.Contract.Ended, c.ended)
	}
	for _, x := range v.Products(status.Contract) {
		promised, used := m.n.promised(c.doc.ID, x.Name), m.n.drawn(c.doc.ID, x.Name, false)
		over, overdrawn := promised-min(promised, x.Quantity), used-min(used, x.Quantity)
		if x.Promised != promised || x.Used != used || x.Over != over || x.Overdrawn != overdrawn {
			m.tb.Fatalf("P1, C4: contract %s, product %s is %+v instead of %d, %d, %d, %d", c.doc.ID, x.Name, x, promised, used, over, overdrawn)
		}
	}
}

// compareUsage sees that each hour in which something happened has its row. A row without a change is no fault, if it
// says nothing else.
func (m *seatRun) compareUsage() {
	rows := m.n.usage()
	oldest := m.n.wall/hourMs - int64(DefaultSettings.UsageHours)
	for _, got := range m.s.usage.rows.Values() {
		want := rows[got.key()]
		delete(rows, got.key())
		if want == nil && got.HighWater == got.Open && len(got.Denials) == 0 || got.Hour <= oldest {
			continue
		}
		if want == nil {
			m.tb.Fatalf("an hour of usage without a change: %v", got.Proto())
		}
		sameMessage(m.tb, "usage", got.Proto(), want)
	}
	for _, row := range rows {
		if row.Hour > oldest {
			m.tb.Fatalf("an hour of usage is missing: %v", row)
		}
	}
}

func sameList[M proto.Message](t tb, what string, got, want []M) {
	t.Helper()
	same := len(got) == len(want)
	for i := 0; same && i < len(got); i++ {
		same = proto.Equal(got[i], want[i])
	}
	if !same {
		t.Fatalf("%s are\n%v\ninstead of\n%v", what, got, want)
	}
}
