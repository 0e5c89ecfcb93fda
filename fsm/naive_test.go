package fsm

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// op is a command as the model understands it: nothing is encoded or signed.
type op struct {
	kind      string
	actor, id string
	// doc is the contract of a "contract"; badDoc and badKey have another key sign.
	doc            *signed.Contract
	badDoc, badKey bool
	contract, name string
	serial         uint64
	// areas are an allocation or a report; malformed makes the request one that has to be refused as such.
	areas      map[string]uint64
	malformed  bool
	revision   uint64
	reports    bool
	ttl, limit uint64
}

// content tells whether two commands with one request id are the same request.
func (o op) content() string {
	o.actor, o.id = "", ""
	doc := o.doc
	o.doc = nil
	return fmt.Sprintf("%+v %+v", o, doc)
}

// naive is the second implementation of the rules: slow, without a single total
// or index. It keeps the accepted commands and answers every question by going
// through all of them.
type naive struct {
	accepted []accepted
	// log order; the audit trail, out of which repeated requests are answered.
	writes      []naiveWrite
	wall, pause int64
	ttl, limit  uint64
	// entry counts entries.
	entry int
}

type accepted struct {
	op
	wall int64
}

type naiveWrite struct {
	actor, id, content, outcome string
	wall                        int64
	// answers is true if the row answers for its request id.
	answers bool
	entry   int
}

// requests is how many ids are remembered.
func (n *naive) requests() int {
	ids := map[string]bool{}
	for _, w := range n.writes {
		if w.answers {
			ids[w.actor+"/"+w.id] = true
		}
	}
	return len(ids)
}

type naiveInstance struct {
	serial         uint64
	contract, name string
	areas, active  map[string]uint64
	reports        bool
	revision       uint64
}

// tick is D2; an entry begins with it.
func (n *naive) tick(stamp, pause int64) {
	n.entry++
	if n.wall == 0 {
		n.wall = stamp
		return
	}
	passed := max(0, stamp-n.wall)
	n.pause += max(0, min(pause, passed))
	n.wall += passed
}

// do decides a command and says what it came to (E1).
func (n *naive) do(o op) (outcome string, repeated bool) {
	if o.kind == "expire" {
		n.forget()
		outcome = n.decide(o)
		n.writes = append(n.writes, naiveWrite{wall: n.wall, entry: n.entry})
		return outcome, false
	}
	if o.id == "" || o.actor == "" {
		return "refused invalid", false
	}
	row := naiveWrite{o.actor, o.id, o.content(), "", n.wall, true, n.entry}
	for _, w := range slices.Backward(n.writes) {
		if !w.answers || w.actor != o.actor || w.id != o.id {
			continue
		}
		if w.wall < n.wall-int64(n.ttl)*1000 {
			break
		}
		if w.content == o.content() {
			return w.outcome, true
		}
		row.outcome, row.answers = "refused idempotency_mismatch request_id="+o.id, false
		break
	}
	n.forget()
	if row.answers {
		row.outcome = n.decide(o)
	}
	n.writes = append(n.writes, row)
	return row.outcome, false
}

// forget drops what is too old or too much.
func (n *naive) forget() {
	for i := 0; i < 16 && len(n.writes) > 0; i++ {
		if n.writes[0].entry == n.entry || n.writes[0].wall >= n.wall-int64(n.ttl)*1000 && uint64(len(n.writes)) < n.limit {
			break
		}
		n.writes = n.writes[1:]
	}
}

func (n *naive) decide(o op) string {
	refusal, result := "", func() string { return "" }
	switch o.kind {
	case "settings":
		return n.settings(o)
	case "expire":
		due := n.due()
		n.accepted = append(n.accepted, accepted{o, n.wall})
		return fmt.Sprintf("expired %d", len(due)-len(n.due()))
	case "contract":
		refusal, result = n.contract(o)
	case "create":
		refusal = n.create(o)
		result = func() string { return n.show(n.serials()) }
	case "resize":
		refusal = n.resize(o)
		result = func() string { return n.show(o.serial) }
	case "remove":
		refusal = n.gone(o.serial)
		if refusal == "" {
			shown := n.show(o.serial)
			result = func() string { return shown }
		}
	case "activate":
		refusal = n.activate(o)
		result = func() string { return n.show(o.serial) }
	}
	if refusal != "" {
		return "refused " + refusal
	}
	n.accepted = append(n.accepted, accepted{o, n.wall})
	return result()
}

func (n *naive) settings(o op) string {
	ttl, limit := n.ttl, n.limit
	if o.ttl != 0 {
		ttl = o.ttl
	}
	if o.limit != 0 {
		limit = o.limit
	}
	if ttl < 60 || ttl > 604800 || limit < 1000 || limit > 10_000_000 {
		return "refused invalid"
	}
	n.ttl, n.limit = ttl, limit
	return fmt.Sprintf("settings %d %d", ttl, limit)
}

// contract is C2 and C3.
func (n *naive) contract(o op) (string, func() string) {
	show := func() string { return n.showContract(o.doc.ID) }
	if o.badDoc {
		return "document_invalid reason=unknown_key", nil
	}
	old := n.current(o.doc.ID)
	switch {
	case old == nil:
	case o.doc.Revision < old.Revision:
		return fmt.Sprintf("revision_stale contract=%s current=%d revision=%d", old.ID, old.Revision, o.doc.Revision), nil
	case o.doc.Revision == old.Revision && fmt.Sprint(*o.doc) != fmt.Sprint(*old):
		return fmt.Sprintf("revision_conflict contract=%s next=%d revision=%d", old.ID, old.Revision+1, old.Revision), nil
	}
	return "", show
}

// current is the latest accepted document of a contract.
func (n *naive) current(id string) *signed.Contract {
	var doc *signed.Contract
	for _, a := range n.accepted {
		if a.kind == "contract" && a.doc.ID == id {
			doc = a.doc
		}
	}
	return doc
}

// due are the contracts whose end nobody has applied since they were imported (D4).
func (n *naive) due() []string {
	due := map[string]bool{}
	for i, a := range n.accepted {
		switch a.kind {
		case "contract":
			// A repetition of the same revision changes nothing.
			before := &naive{accepted: n.accepted[:i]}
			if old := before.current(a.doc.ID); old != nil && old.Revision == a.doc.Revision {
				continue
			}
			due[a.doc.ID] = a.doc.Ends().UnixMilli() > a.wall
		case "expire":
			before := &naive{accepted: n.accepted[:i]}
			for id := range due {
				if before.current(id).Ends().UnixMilli() <= a.wall {
					due[id] = false
				}
			}
		}
	}
	maps.DeleteFunc(due, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(due))
}

func (n *naive) ended(id string) bool { return n.wall >= n.current(id).Ends().UnixMilli() }

// serials is how many instances were ever created; it is also the last serial number (I3).
func (n *naive) serials() (count uint64) {
	for _, a := range n.accepted {
		if a.kind == "create" {
			count++
		}
	}
	return count
}

// instances plays all accepted commands.
func (n *naive) instances() []*naiveInstance {
	var list []*naiveInstance
	docs := map[string]*signed.Contract{}
	var serial uint64
	for _, a := range n.accepted {
		switch a.kind {
		case "create":
			serial++
			list = append(list, &naiveInstance{
				serial: serial, contract: a.contract, name: a.name,
				areas: maps.Clone(a.areas), active: map[string]uint64{}, revision: 1,
			})
		case "contract":
			if old := docs[a.doc.ID]; old != nil && (old.Expiry != a.doc.Expiry || old.GraceDays != a.doc.GraceDays) {
				for _, i := range list {
					if i.contract == a.doc.ID {
						i.revision++
					}
				}
			}
			docs[a.doc.ID] = a.doc
		case "remove":
			list = slices.DeleteFunc(list, func(i *naiveInstance) bool { return i.serial == a.op.serial })
		case "resize", "activate":
			for _, i := range list {
				if i.serial == a.op.serial {
					i.take(a.op)
				}
			}
		}
	}
	return list
}

func (i *naiveInstance) take(o op) {
	into := i.areas
	if o.kind == "activate" {
		into = i.active
		i.reports = i.reports || o.reports
	}
	before := short(into)
	maps.Copy(into, o.areas)
	if o.kind == "resize" && short(into) != before {
		i.revision++
	}
}

func (n *naive) instance(serial uint64) *naiveInstance {
	for _, i := range n.instances() {
		if i.serial == serial {
			return i
		}
	}
	return nil
}

func (n *naive) allocated(contract string) map[string]uint64 {
	sums := map[string]uint64{}
	for _, i := range n.instances() {
		if i.contract == contract {
			for area, x := range i.areas {
				sums[area] += x
			}
		}
	}
	return sums
}

// gone is I3's answer for a serial number without an instance.
func (n *naive) gone(serial uint64) string {
	switch {
	case n.instance(serial) != nil:
		return ""
	case serial >= 1 && serial <= n.serials():
		return fmt.Sprintf("instance_removed serial=%d", serial)
	}
	return fmt.Sprintf("instance_not_found serial=%d", serial)
}

func (n *naive) create(o op) string {
	if o.malformed || len(o.areas) == 0 {
		return "invalid"
	}
	if n.current(o.contract) == nil {
		return "contract_not_found contract=" + o.contract
	}
	if n.ended(o.contract) {
		return n.endedRefusal(o.contract)
	}
	for _, i := range n.instances() {
		if i.contract == o.contract && i.name == o.name {
			return fmt.Sprintf("instance_exists contract=%s name=%s serial=%d", o.contract, o.name, i.serial)
		}
	}
	return n.exhausted(o.contract, nil, o.areas)
}

func (n *naive) endedRefusal(id string) string {
	return fmt.Sprintf("contract_ended contract=%s end=%s", id, n.current(id).Ends().Format(time.RFC3339))
}

// exhausted is I1, I2 and C4, area by area.
func (n *naive) exhausted(contract string, had, wanted map[string]uint64) string {
	sums, most := n.allocated(contract), n.current(contract).Users
	for _, area := range slices.Sorted(maps.Keys(wanted)) {
		others := sums[area] - had[area]
		if wanted[area] > had[area] && others+wanted[area] > most[area] {
			free := uint64(0)
			if most[area] > others {
				free = most[area] - others
			}
			return fmt.Sprintf("contract_exhausted allocated=%d area=%s asked=%d contract=%s free=%d line=%s max=%d of=area",
				sums[area], area, wanted[area], contract, free, area, most[area])
		}
	}
	return ""
}

func (n *naive) resize(o op) string {
	if o.malformed || len(o.areas) == 0 {
		return "invalid"
	}
	if gone := n.gone(o.serial); gone != "" {
		return gone
	}
	i := n.instance(o.serial)
	grows := false
	for area, x := range o.areas {
		grows = grows || x > i.areas[area]
	}
	if grows && n.ended(i.contract) {
		return n.endedRefusal(i.contract)
	}
	return n.exhausted(i.contract, i.areas, o.areas)
}

// activate is I4, I5 and I6.
func (n *naive) activate(o op) string {
	if o.malformed {
		return "invalid"
	}
	if o.badKey {
		return "key_invalid reason=unknown_key"
	}
	if gone := n.gone(o.serial); gone != "" {
		return gone
	}
	i := n.instance(o.serial)
	c := n.current(i.contract)
	switch {
	case n.ended(i.contract):
		return n.endedRefusal(i.contract)
	case n.wall < c.Start.UnixMilli():
		return fmt.Sprintf("contract_not_started contract=%s start=%s", c.ID, c.Start.Format(time.RFC3339))
	case o.revision != i.revision:
		return fmt.Sprintf("key_stale current=%d revision=%d serial=%d", i.revision, o.revision, i.serial)
	case !i.reports:
		return ""
	}
	for _, area := range slices.Sorted(maps.Keys(o.areas)) {
		if now, before, most := o.areas[area], i.active[area], i.areas[area]; now > most && now > before {
			return fmt.Sprintf("area_over_allocation active=%d allocation=%d area=%s before=%d excess=%d serial=%d", now, most, area, before, now-most, i.serial)
		}
	}
	return ""
}

func (n *naive) show(serial uint64) string {
	i := n.instance(serial)
	c := n.current(i.contract)
	excess := map[string]uint64{}
	for area, active := range i.active {
		if active > i.areas[area] {
			excess[area] = active - i.areas[area]
		}
	}
	return fmt.Sprintf("instance %d %s/%s revision=%d areas=%s active=%s reports=%t excess=%s expiry=%s+%dd ended=%t",
		i.serial, i.contract, i.name, i.revision, short(i.areas), short(i.active), i.reports, short(excess),
		c.Expiry.Format(time.RFC3339), c.GraceDays, n.ended(i.contract))
}

func (n *naive) showContract(id string) string {
	c := n.current(id)
	return fmt.Sprintf("contract %s revision=%d allocated=%s ended=%t", id, c.Revision, short(n.allocated(id)), n.ended(id))
}

// short prints a map without its zeros: an area at 0 and no area are the same.
func short(m map[string]uint64) string {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(_ string, x uint64) bool { return x == 0 })
	return fmt.Sprint(m)
}

// outcomeText prints an outcome of the state machine as the model prints its own.
func outcomeText(o *fsmpb.Outcome) string {
	switch r := o.Result.(type) {
	case *fsmpb.Outcome_Expired:
		return fmt.Sprintf("expired %d", r.Expired.Contracts)
	case *fsmpb.Outcome_Settings:
		return fmt.Sprintf("settings %d %d", r.Settings.RequestTtlSeconds, r.Settings.RequestLimit)
	case *fsmpb.Outcome_Instance:
		return instanceText(InstanceStatusFromProto(r.Instance))
	case *fsmpb.Outcome_Contract:
		return contractText(r.Contract.Id, r.Contract.Revision, QuantitiesFromProto(r.Contract.Allocated), r.Contract.Ended)
	}
	words := []string{}
	for _, f := range o.Refusal.GetFacts() {
		words = append(words, f.Name+"="+factText(f))
	}
	sort.Strings(words)
	return strings.Join(append([]string{"refused", o.Refusal.GetCode()}, words...), " ")
}

func instanceText(x InstanceStatus) string {
	return fmt.Sprintf("instance %d %s/%s revision=%d areas=%s active=%s reports=%t excess=%s expiry=%s+%dd ended=%t",
		x.Serial, x.Contract, x.Name, x.KeyRevision, short(x.Allocation.Map()), short(x.Active.Map()), x.Reports, short(x.Excess().Map()),
		x.Expiry.Format(time.RFC3339), x.GraceDays, x.Ended)
}

func contractText(id string, revision uint64, allocated Quantities, ended bool) string {
	return fmt.Sprintf("contract %s revision=%d allocated=%s ended=%t", id, revision, short(allocated.Map()), ended)
}
