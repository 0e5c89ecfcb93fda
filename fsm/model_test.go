package fsm

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// TestModel holds the state machine against a naive second one, over random histories
// with repeated and mismatched requests, clock jumps, outages, stale leaders, dry
// runs and restores (rules C1–C5, I1–I6, D2, D4, E1, K7).
func TestModel(t *testing.T) {
	t.Parallel()
	signatures := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		m := newModelRun(t, signatures)
		t.Repeat(map[string]func(*rapid.T){
			"entry":   m.entry,
			"entry 2": m.entry,
			"entry 3": m.entry,
			"stale":   m.staleEntry,
			"dry run": m.dryRun,
			"restore": m.restore,
			"":        m.check,
		})
	})
}

type modelRun struct {
	tb         tb
	s          *State
	n          *naive
	signatures map[string]string
	now        time.Time
	term       uint64
	sent       []op
	before     bounds
}

// bounds are what a step may only move one way.
type bounds struct {
	wall, lease int64
	lastSerial  uint64
	revisions   map[uint64]uint64
	// over is the excess by contract and area, contracts their revisions.
	over      map[string]Quantities
	contracts map[string]uint64
}

func newModelRun(t *rapid.T, signatures map[string]string) *modelRun {
	m := &modelRun{tb: t, s: New(), n: &naive{}, signatures: signatures, now: testEpoch, term: 1}
	m.apply(&fsmpb.Entry{Term: 1, WallMs: m.now.UnixMilli(), Commands: []*fsmpb.Command{mustCommand(m.tb, "", initialiseBody())}})
	m.n.tick(m.now.UnixMilli(), 0)
	m.n.writes = []naiveWrite{{wall: m.n.wall, entry: m.n.entry}}
	// A limit that commands can't set, so that it is reached.
	limit := rapid.Uint64Range(1, 12).Draw(t, "request limit")
	meta := edit(m.s.meta)
	meta.Settings = DefaultSettings
	meta.Settings.RequestLimit = limit
	m.s.setMeta(meta)
	m.n.ttl, m.n.limit = 3600, limit
	// Something to begin with: most histories would not get so far by chance.
	m.both([]op{
		{kind: "contract", actor: "ann", id: "first", doc: testContract("c0", 1, map[string]uint64{"primary": 30, "extranet": 10})},
		{kind: "create", actor: "ann", id: "second", contract: "c0", name: "n0", areas: map[string]uint64{"primary": 15, "extranet": 5}},
		{kind: "create", actor: "ann", id: "third", contract: "c0", name: "n1", areas: map[string]uint64{"primary": 10}},
	}, 0)
	m.before = m.bounds()
	return m
}

func (m *modelRun) apply(e *fsmpb.Entry) []*fsmpb.Outcome {
	data, err := EncodeEntry(e)
	if err != nil {
		m.tb.Fatal(err)
	}
	outcomes, err := m.s.Apply(m.s.index+1, m.term, data)
	if err != nil {
		m.tb.Fatal(err)
	}
	return outcomes
}

// maxOps is how many commands an entry has at most. Its own rows stay beyond the limit.
const maxOps = 8

// entry applies a batch to both.
func (m *modelRun) entry(t *rapid.T) {
	m.advance(t)
	pause := rapid.SampledFrom([]int64{0, 0, 0, 5_000, 1 << 40, -7}).Draw(t, "pause")
	ops := rapid.SliceOfN(rapid.Custom(m.op), 1, maxOps).Draw(t, "ops")
	m.both(ops, pause)
}

func (m *modelRun) both(ops []op, pause int64) {
	e := &fsmpb.Entry{Term: m.term, WallMs: m.now.UnixMilli(), PauseMs: pause}
	for _, o := range ops {
		e.Commands = append(e.Commands, m.command(o))
	}
	outcomes := m.apply(e)
	m.n.tick(e.WallMs, pause)
	for i, o := range ops {
		want, repeated := m.n.do(o)
		m.compare(o, outcomes[i], want, repeated)
		m.sent = append(m.sent, o)
	}
}

func (m *modelRun) compare(o op, got *fsmpb.Outcome, want string, repeated bool) {
	m.tb.Helper()
	checkRefusalText(m.tb, got.Refusal)
	if text := outcomeText(got); text != want || got.Repeated != repeated {
		m.tb.Fatalf("%+v came to\n%s (repeated: %t)\ninstead of\n%s (repeated: %t)", o, text, got.Repeated, want, repeated)
	}
}

// advance moves the leader's clock: mostly on, at times back or far ahead.
func (m *modelRun) advance(t *rapid.T) {
	steps := []time.Duration{0, time.Second, time.Minute, 61 * time.Minute, 26 * time.Hour, -time.Hour, -30 * 24 * time.Hour, 12 * 24 * time.Hour}
	m.now = m.now.Add(rapid.SampledFrom(steps).Draw(t, "clock step"))
	if m.now.Year() < 2026 {
		m.now = testEpoch
	}
}

// staleEntry lands in a later term than it was stamped in: nothing of it counts.
func (m *modelRun) staleEntry(t *rapid.T) {
	m.term++
	o := m.op(t)
	before := m.s.digest.lanes
	outcomes := m.apply(&fsmpb.Entry{Term: m.term - 1, WallMs: m.now.Add(1000 * time.Hour).UnixMilli(), Commands: []*fsmpb.Command{m.command(o)}})
	if code := outcomes[0].Refusal.GetCode(); code != string(Superseded) || m.s.digest.lanes != before {
		t.Fatalf("a stale leader's entry came to %v", outcomes)
	}
}

// dryRun tells what the same command then really comes to, and changes nothing (K7).
func (m *modelRun) dryRun(t *rapid.T) {
	m.advance(t)
	o := m.op(t)
	v, before := m.s.View(), m.s.Digest()
	rows := snapshotBytes(m.tb, v)
	told, err := v.DryRun(m.command(o), m.now.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	if m.s.Digest() != before || !bytes.Equal(snapshotBytes(m.tb, v), rows) {
		t.Fatal("a dry run changed the state")
	}
	done := m.apply(&fsmpb.Entry{Term: m.term, WallMs: m.now.UnixMilli(), Commands: []*fsmpb.Command{m.command(o)}})[0]
	m.n.tick(m.now.UnixMilli(), 0)
	want, repeated := m.n.do(o)
	m.compare(o, told, want, repeated)
	m.compare(o, done, want, repeated)
	m.sent = append(m.sent, o)
}

// restore goes on with what a snapshot holds.
func (m *modelRun) restore(*rapid.T) { m.s = checkRestored(m.tb, m.s) }

// check is what must hold after every step.
func (m *modelRun) check(t *rapid.T) {
	checkState(m.tb, m.s)
	m.checkAgainstNaive(t)
	now, before := m.bounds(), m.before
	m.before = now
	if now.wall < before.wall || now.lease < before.lease || now.lease-before.lease > now.wall-before.wall {
		t.Fatalf("D2: the clocks moved from %d, %d to %d, %d", before.wall, before.lease, now.wall, now.lease)
	}
	if now.lastSerial < before.lastSerial {
		t.Fatalf("I3: the last serial number went from %d to %d", before.lastSerial, now.lastSerial)
	}
	for serial, revision := range now.revisions {
		if was, known := before.revisions[serial]; known && revision < was || !known && serial <= before.lastSerial {
			t.Fatalf("I3, I4: instance %d came with key revision %d after %d", serial, revision, was)
		}
	}
	for id, revision := range now.contracts {
		if grown := now.over[id].above(before.over[id]); revision == before.contracts[id] && len(grown) > 0 {
			t.Fatalf("I1, C4: without a new revision contract %s is over by %v more", id, grown)
		}
	}
	if got, most := m.s.View().Writes(), max(m.s.meta.Settings.RequestLimit, maxOps); uint64(got) > most {
		t.Fatalf("E1: %d writes are remembered, at most %d may be", got, most)
	}
}

func (m *modelRun) checkAgainstNaive(t *rapid.T) {
	v := m.s.View()
	if v.Clock() != (Clock{m.n.wall, m.n.pause}) {
		t.Fatalf("the clock is %v instead of %d, %d", v.Clock(), m.n.wall, m.n.pause)
	}
	var got, want []string
	for _, x := range v.Instances("", 0, 1000) {
		got = append(got, instanceText(x))
	}
	for _, i := range m.n.instances() {
		want = append(want, m.n.show(i.serial))
	}
	equal(m.tb, "instances", got, want)
	got, want = nil, nil
	for _, c := range v.Contracts("", 1000) {
		got = append(got, contractText(c.Doc.ID, c.Doc.Revision, c.Allocated, c.Ended)+" users="+short(c.Doc.Users))
		want = append(want, m.n.showContract(c.Doc.ID)+" users="+short(m.n.current(c.Doc.ID).Users))
	}
	equal(m.tb, "contracts", got, want)
	var due []string
	for _, c := range v.Contracts("", 1000) {
		if !c.Contract.Ended {
			due = append(due, c.Doc.ID)
		}
	}
	equal(m.tb, "contracts that will end", due, m.n.due())
	if v.Writes() != len(m.n.writes) || v.Requests() != m.n.requests() {
		t.Fatalf("%d writes and %d requests are remembered instead of %d and %d", v.Writes(), v.Requests(), len(m.n.writes), m.n.requests())
	}
}

func (m *modelRun) bounds() bounds {
	v := m.s.View()
	b := bounds{
		wall: v.Clock().WallMs, lease: v.Clock().LeaseMs(), lastSerial: m.s.counters.lastSerial,
		revisions: map[uint64]uint64{}, over: map[string]Quantities{}, contracts: map[string]uint64{},
	}
	for _, x := range v.Instances("", 0, 1000) {
		b.revisions[x.Serial] = x.KeyRevision
	}
	for _, c := range v.Contracts("", 1000) {
		b.over[c.Doc.ID], b.contracts[c.Doc.ID] = c.Over, c.Doc.Revision
	}
	return b
}

// op draws a command, at times one that was sent before.
func (m *modelRun) op(t *rapid.T) op {
	if len(m.sent) > 0 && oneIn(t, 10, "again") {
		return rapid.SampledFrom(m.sent).Draw(t, "repeated op")
	}
	o := op{
		kind:  rapid.SampledFrom([]string{"contract", "create", "create", "resize", "resize", "remove", "activate", "activate", "expire", "settings"}).Draw(t, "kind"),
		actor: rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "actor"),
		id:    fmt.Sprintf("q%d", rapid.IntRange(0, 1000).Draw(t, "request id")),
	}
	if oneIn(t, 50, "no id") {
		o.id = ""
	}
	m.fill(t, &o)
	return o
}

func (m *modelRun) fill(t *rapid.T, o *op) {
	contract := fmt.Sprintf("c%d", rapid.IntRange(0, 2).Draw(t, "contract"))
	switch o.kind {
	case "contract":
		o.doc, o.badDoc = m.contract(t, contract), oneIn(t, 10, "bad signature")
	case "create":
		o.contract, o.name = contract, fmt.Sprintf("n%d", rapid.IntRange(0, 4).Draw(t, "name"))
	case "settings":
		o.ttl = rapid.SampledFrom([]uint64{0, 60, 3600, 59}).Draw(t, "ttl")
		o.limit = rapid.SampledFrom([]uint64{0, 0, 0, 1000, 999}).Draw(t, "limit")
	case "resize", "remove", "activate":
		o.serial = m.serial(t)
	}
	switch o.kind {
	case "create", "resize", "activate":
		o.areas = m.areas(t)
		o.malformed = oneIn(t, 30, "malformed")
	}
	if o.kind == "activate" {
		o.reports = len(o.areas) > 0
		o.badKey = oneIn(t, 20, "bad key")
		o.serial = max(o.serial, 1)
		o.revision = 1
		if i := m.n.instance(o.serial); i != nil && !oneIn(t, 6, "first revision") {
			o.revision = i.revision
		}
	}
}

// oneIn is true about once in n times; rapid prefers small numbers and early samples.
func oneIn(t *rapid.T, n int, what string) bool {
	chances := make([]bool, n)
	chances[n/2] = true
	return rapid.SampledFrom(chances).Draw(t, what)
}

// serial is mostly that of an instance, at times of a removed one or of none.
func (m *modelRun) serial(t *rapid.T) uint64 {
	var serials []uint64
	for _, i := range m.n.instances() {
		serials = append(serials, i.serial, i.serial)
	}
	last := m.n.serials()
	return rapid.SampledFrom(append(serials, 0, 1+last/2, last, last+1)).Draw(t, "serial")
}

func (m *modelRun) areas(t *rapid.T) map[string]uint64 {
	counts := rapid.SampledFrom([]uint64{1, 2, 4, 5, 8, 10, 12, 16, 20, 0})
	areas := map[string]uint64{}
	for _, area := range rapid.SampledFrom([][]string{{"primary"}, {"extranet"}, {"primary", "extranet"}, {}}).Draw(t, "areas") {
		areas[area] = counts.Draw(t, area)
	}
	return areas
}

func (m *modelRun) contract(t *rapid.T, id string) *signed.Contract {
	c := testContract(id, rapid.Uint64Range(1, 12).Draw(t, "revision"), map[string]uint64{"primary": rapid.SampledFrom([]uint64{30, 40, 20, 12, 60, 5, 0}).Draw(t, "users")})
	if rapid.Bool().Draw(t, "second area") {
		c.Users["extranet"] = 10
	}
	c.Start = testEpoch.AddDate(0, 0, rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "start"))
	c.Expiry = testEpoch.AddDate(0, 0, rapid.SampledFrom([]int{400, 400, 60, 20, 5}).Draw(t, "expiry"))
	c.GraceDays = rapid.SampledFrom([]uint32{0, 0, 2}).Draw(t, "grace")
	return c
}

// command encodes and signs an op.
func (m *modelRun) command(o op) *fsmpb.Command {
	body := m.body(o)
	c, err := NewCommand(o.actor, o.id, body)
	if err != nil {
		m.tb.Fatal(err)
	}
	return c
}

func (m *modelRun) body(o op) *fsmpb.Body {
	q := areas(o.areas)
	if o.malformed {
		q = append(q, &fsmpb.Quantity{Name: "twice"}, &fsmpb.Quantity{Name: "twice"})
	}
	switch o.kind {
	case "contract":
		return contractBody(m.sign(fmt.Sprint(*o.doc), signer(o.badDoc, vendorKey), o.doc.Sign))
	case "create":
		return createBody(o.contract, o.name, q)
	case "resize":
		return resizeBody(o.serial, q)
	case "remove":
		return removeBody(o.serial)
	case "activate":
		return activateBody(m.key(o), o.reports, q)
	case "settings":
		return settingsBody(o.ttl, o.limit)
	}
	return expireBody()
}

func (m *modelRun) key(o op) string {
	k := &signed.LicenseKey{
		Cluster: testCluster, Serial: o.serial, Contract: "c", Revision: o.revision,
		Expiry: testEpoch.AddDate(1, 0, 0), Allocation: map[string]uint64{"primary": 1},
	}
	return m.sign(fmt.Sprint(*k), signer(o.badKey, clusterKey), k.Sign)
}

func signer(stranger bool, key ed25519.PrivateKey) ed25519.PrivateKey {
	if stranger {
		return strangerKey
	}
	return key
}

// sign signs each document once in all checks: that is most of the work.
func (m *modelRun) sign(content string, key ed25519.PrivateKey, sign func(ed25519.PrivateKey) (string, error)) string {
	name := string(key) + content
	if m.signatures[name] == "" {
		document, err := sign(key)
		if err != nil {
			m.tb.Fatal(err)
		}
		m.signatures[name] = document
	}
	return m.signatures[name]
}
