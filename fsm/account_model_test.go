package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/licet/licet/fsm/fsmpb"
)

// TestAccountModel holds accounts against a naive second implementation over random histories, dry
// runs and restores (rules A1–A6, I6). After every step counts, indexes and digest are computed anew.
func TestAccountModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newAccountRun(t)
		t.Repeat(map[string]func(*rapid.T){
			"op": m.step, "op 2": m.step, "op 3": m.step,
			"sync":    m.sync,
			"dry run": m.dryRun,
			"restore": func(*rapid.T) { m.r.s = checkRestored(m.r.t, m.r.s) },
			"sweep":   func(*rapid.T) { m.r.must(expireBody()) },
			"":        m.check,
		})
	})
}

type accountRun struct {
	r *replica
	n *naiveAccounts
	// active is what was active before the step, by instance and area.
	active map[string]int
}

var modelAreas = []string{"primary", "extranet"}

func newAccountRun(t *rapid.T) *accountRun {
	m := &accountRun{r: newReplica(t), n: &naiveAccounts{sites: map[int]*naiveSite{}}}
	m.r.must(contractBody(mustSign(t, testContract("claro", 1, map[string]uint64{"primary": 1000, "extranet": 1000}), vendorKey)))
	for serial := 1; serial <= 2; serial++ {
		seats := map[string]int{"primary": 3, "extranet": 2}
		m.n.sites[serial] = &naiveSite{seats: seats, stopped: map[string]bool{}}
		m.r.must(createBody("claro", fmt.Sprint("i", serial), areas(map[string]uint64{"primary": 3, "extranet": 2})))
	}
	m.active = m.actives()
	return m
}

// op draws a command, mostly on the first instance.
func (m *accountRun) op(t *rapid.T) accountOp {
	o := accountOp{
		kind:   rapid.SampledFrom([]string{"create", "create", "block", "unblock", "unblock", "move", "delete", "import", "resize", "remove"}).Draw(t, "kind"),
		serial: rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "serial"),
		name:   rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "A", "D"}).Draw(t, "name"),
		area:   m.area(t),
	}
	switch o.kind {
	case "create":
		o.blocked = oneIn(t, 5, "blocked")
	case "resize":
		o.area = rapid.SampledFrom(modelAreas).Draw(t, "area to resize")
		o.seats = rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 8}).Draw(t, "seats")
	case "remove":
		// The first one stays for the rest of the history.
		if o.serial = 2; !oneIn(t, 6, "remove") {
			o.kind = "block"
		}
	case "import":
		o.list = m.list(t, true)
	}
	return o
}

func (m *accountRun) area(t *rapid.T) string {
	if oneIn(t, 30, "no such area") {
		return "support"
	}
	return rapid.SampledFrom([]string{"primary", "primary", "extranet"}).Draw(t, "area")
}

func (m *accountRun) list(t *rapid.T, withBlocked bool) []listEntry {
	list := make([]listEntry, rapid.IntRange(1, 8).Draw(t, "rows"))
	names := rapid.Permutation([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "names")
	for n := range list {
		list[n] = listEntry{name: names[n], area: m.area(t), blocked: withBlocked && oneIn(t, 6, "blocked")}
	}
	if oneIn(t, 20, "twice") {
		list[len(list)-1].name = strings.ToUpper(list[0].name)
	}
	return list
}

func (m *accountRun) step(t *rapid.T) { m.apply(t, m.op(t)) }

func (m *accountRun) sync(t *rapid.T) {
	m.apply(t, accountOp{kind: "sync", serial: rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "serial"), list: m.list(t, false)})
}

func (m *accountRun) apply(t *rapid.T, o accountOp) {
	m.active = m.actives()
	m.compare(t, o, m.r.do(m.body(o)))
}

func (m *accountRun) compare(t *rapid.T, o accountOp, got *fsmpb.Outcome) {
	want := m.n.do(o)
	text := accountOutcomeText(got)
	if got.GetInstance() != nil {
		text = o.kind + "d"
	}
	if text != want {
		t.Fatalf("%+v came to\n%s\ninstead of\n%s", o, text, want)
	}
	if o.kind == "sync" && got.Refusal.GetCode() == string(SeatLimitReached) {
		t.Fatalf("A3: a sync failed for want of seats: %v", got)
	}
}

// dryRun tells what then happens, and changes nothing (K7).
func (m *accountRun) dryRun(t *rapid.T) {
	m.active = m.actives()
	o := m.op(t)
	before := m.r.s.Digest()
	told, err := m.r.s.View().DryRun(mustCommand(m.r.t, "dry", m.body(o)), m.r.now.UnixMilli())
	if err != nil || m.r.s.Digest() != before {
		t.Fatalf("a dry run changed the state, or failed: %v", err)
	}
	done := m.r.do(m.body(o))
	if got, want := accountOutcomeText(told), accountOutcomeText(done); got != want && done.GetInstance() == nil {
		t.Fatalf("the dry run told %s, and it came to %s", got, want)
	}
	m.compare(t, o, done)
}

func (m *accountRun) body(o accountOp) *fsmpb.Body {
	serial := uint64(o.serial)
	list := make([]*fsmpb.ListedAccount, len(o.list))
	for n, e := range o.list {
		list[n] = &fsmpb.ListedAccount{Name: e.name, Area: e.area, Blocked: e.blocked}
	}
	switch o.kind {
	case "create":
		if o.blocked {
			return blockedAccountBody(serial, o.name, o.area)
		}
		return accountBody(serial, o.name, o.area)
	case "block":
		return blockBody(serial, o.name)
	case "unblock":
		return unblockBody(serial, o.name)
	case "move":
		return moveBody(serial, o.name, o.area)
	case "delete":
		return deleteBody(serial, o.name)
	case "import":
		return importBody(serial, list)
	case "sync":
		return syncBody(serial, list)
	case "resize":
		return resizeBody(serial, areas(map[string]uint64{o.area: uint64(o.seats)}))
	}
	return removeBody(serial)
}

// check is what must hold after every step.
func (m *accountRun) check(t *rapid.T) {
	checkState(m.r.t, m.r.s)
	for serial := 1; serial <= 2; serial++ {
		m.checkSite(t, serial)
	}
	var notices []string
	for _, n := range m.r.s.View().Notices(0, 100_000) {
		notices = append(notices, fmt.Sprintf("%d %s %d/%d/%d", n.Serial, n.Area, n.Active, n.Allocation, n.Blocked))
	}
	equal(m.r.t, "notices", notices, m.n.notices)
}

func (m *accountRun) checkSite(t *rapid.T, serial int) {
	site := m.n.sites[serial]
	list, refusal := m.r.s.View().Accounts(uint64(serial), "", 1000)
	if site == nil {
		if refusal.GetCode() != string(InstanceRemoved) {
			t.Fatalf("I3: a removed instance has accounts: %v", list)
		}
		return
	}
	var got, want []string
	for _, a := range list {
		got = append(got, fmt.Sprintf("%s %s %q %d", a.Name, a.Area, blockedText(a.Blocked), a.BlockedSeq))
	}
	for _, a := range site.accounts {
		want = append(want, fmt.Sprintf("%s %s %q %d", a.name, a.area, a.blocked, a.since))
	}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	equal(m.r.t, "accounts", got, want)
	for _, area := range modelAreas {
		now, before := site.count(area, true), m.active[fmt.Sprint(serial, area)]
		if most := site.seats[area]; now > most && now > before {
			t.Fatalf("A2, I6: area %s of instance %d grew from %d to %d active with %d seats", area, serial, before, now, most)
		}
	}
}

// actives are the state's own counts.
func (m *accountRun) actives() map[string]int {
	all := map[string]int{}
	for serial := 1; serial <= 2; serial++ {
		if x, refusal := m.r.s.View().Instance(uint64(serial)); refusal == nil {
			for _, area := range modelAreas {
				all[fmt.Sprint(serial, area)] = int(x.Active.Get(area))
			}
		}
	}
	return all
}
