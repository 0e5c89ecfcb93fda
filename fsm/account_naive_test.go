package fsm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
)

// accountOp is a command on accounts as the model understands it.
type accountOp struct {
	kind       string
	serial     int
	name, area string
	blocked    bool
	list       []listEntry
	seats      int
}

type listEntry struct {
	name, area string
	blocked    bool
}

// naiveSite is an instance in the model: a list of accounts in no order, counted anew for each question.
type naiveSite struct {
	seats    map[string]int
	accounts []naiveAccount
	// stopped are the areas in an episode.
	stopped map[string]bool
}

type naiveAccount struct {
	name, area string
	// blocked is "", "admin" or "limit"; since counts all blockings.
	blocked string
	since   int
}

// naiveAccounts is the second implementation of A1 to A4 and A6, without a total or an index.
type naiveAccounts struct {
	sites     map[int]*naiveSite
	blockings int
	notices   []string
}

func (n *naiveSite) find(name string) int {
	return slices.IndexFunc(n.accounts, func(a naiveAccount) bool { return strings.EqualFold(a.name, name) })
}

func (n *naiveSite) count(area string, active bool) (count int) {
	for _, a := range n.accounts {
		if a.area == area && (a.blocked == "") == active {
			count++
		}
	}
	return count
}

func (n *naiveSite) free(area string) int { return max(0, n.seats[area]-n.count(area, true)) }

// notify is A6: the first one stopped in an area writes a notice.
func (n *naiveAccounts) notify(serial int, area string) {
	site := n.sites[serial]
	if site.stopped[area] {
		return
	}
	site.stopped[area] = true
	n.notices = append(n.notices, fmt.Sprintf("%d %s %d/%d/%d", serial, area, site.count(area, true), site.seats[area], site.count(area, false)))
}

// left is A6: an account has left an area as an active one; with room there its episode is over.
func (n *naiveSite) left(area string) {
	if n.free(area) > 0 {
		delete(n.stopped, area)
	}
}

// do decides a command and says what it came to.
func (n *naiveAccounts) do(o accountOp) string {
	site := n.sites[o.serial]
	if site == nil {
		return "refused instance_removed"
	}
	switch o.kind {
	case "resize":
		grown := o.seats > site.seats[o.area]
		site.seats[o.area] = o.seats
		if grown {
			site.left(o.area)
		}
		return "resized"
	case "remove":
		delete(n.sites, o.serial)
		return "removed"
	case "import":
		return n.imports(o, site)
	case "sync":
		return n.sync(o, site)
	case "create":
		return n.create(o, site)
	}
	at := site.find(o.name)
	if at < 0 {
		return "refused account_not_found"
	}
	return n.change(o, site, &site.accounts[at], at)
}

func (n *naiveAccounts) create(o accountOp, site *naiveSite) string {
	switch {
	case o.area == "support":
		return "refused area_not_found"
	case site.find(o.name) >= 0:
		return "refused account_exists"
	case !o.blocked && site.free(o.area) == 0:
		n.notify(o.serial, o.area)
		return "refused seat_limit_reached"
	}
	n.add(site, o.name, o.area, map[bool]string{true: "admin"}[o.blocked])
	return site.show(site.accounts[len(site.accounts)-1])
}

func (n *naiveAccounts) add(site *naiveSite, name, area, blocked string) {
	a := naiveAccount{name: name, area: area, blocked: blocked}
	if blocked != "" {
		n.blockings++
		a.since = n.blockings
	}
	site.accounts = append(site.accounts, a)
}

func (n *naiveAccounts) change(o accountOp, site *naiveSite, a *naiveAccount, at int) string {
	before := *a
	switch o.kind {
	case "block":
		if a.blocked == "" {
			n.blockings++
			a.since = n.blockings
		}
		a.blocked = "admin"
	case "unblock":
		if a.blocked != "" && site.free(a.area) == 0 {
			n.notify(o.serial, a.area)
			return "refused seat_limit_reached"
		}
		a.blocked, a.since = "", 0
	case "move":
		if o.area == "support" {
			return "refused area_not_found"
		}
		if a.blocked == "" && a.area != o.area && site.free(o.area) == 0 {
			n.notify(o.serial, o.area)
			return "refused seat_limit_reached"
		}
		a.area = o.area
	case "delete":
		site.accounts = slices.Delete(site.accounts, at, at+1)
		if before.blocked == "" {
			site.left(before.area)
		}
		return site.show(before) + " deleted"
	}
	if before.blocked == "" && (a.blocked != "" || a.area != before.area) {
		site.left(before.area)
	}
	return site.show(*a)
}

func (n *naiveSite) show(a naiveAccount) string {
	return fmt.Sprintf("%s %s %q %d of %d, %d", a.name, a.area, a.blocked, n.count(a.area, true), n.seats[a.area], n.count(a.area, false))
}

// imports tries the rows one by one on a copy: all or nothing.
func (n *naiveAccounts) imports(o accountOp, site *naiveSite) string {
	trial := &naiveSite{seats: site.seats, accounts: slices.Clone(site.accounts)}
	var bad []string
	seen := map[string]bool{}
	blockings := n.blockings
	for line, e := range o.list {
		key, code := strings.ToLower(e.name), ""
		switch {
		case e.area == "support":
			code = "area_not_found"
		case site.find(e.name) >= 0:
			code = "account_exists"
		case seen[key]:
			code = "account_twice"
		case !e.blocked && trial.free(e.area) == 0:
			code = "seat_limit_reached"
			n.notify(o.serial, e.area)
		default:
			n.add(trial, e.name, e.area, map[bool]string{true: "admin"}[e.blocked])
		}
		seen[key] = true
		if code != "" {
			bad = append(bad, fmt.Sprintf("%d=%s", line+1, code))
		}
	}
	if len(bad) > 0 {
		n.blockings = blockings
		return "refused import_refused " + strings.Join(bad, " ")
	}
	site.accounts = trial.accounts
	return "imported"
}

// sync is A3, one step after the other.
func (n *naiveAccounts) sync(o accountOp, site *naiveSite) string {
	if refusal := wrongList(o.list); refusal != "" {
		return refusal
	}
	results := make([]string, len(o.list))
	var stopped, left []string
	for p, e := range o.list {
		at := site.find(e.name)
		switch {
		case at < 0:
			results[p] = "new"
		case site.accounts[at].blocked == "admin":
			site.accounts[at].area, results[p] = e.area, "admin_blocked"
		case site.accounts[at].blocked == "limit":
			site.accounts[at].area, results[p] = e.area, "still_blocked"
		case site.accounts[at].area == e.area:
			results[p] = "unchanged"
		}
	}
	site.activate(o.list, results)
	for p, e := range o.list {
		if results[p] != "" {
			continue
		}
		if site.free(e.area) == 0 {
			results[p], stopped = "not_moved", append(stopped, e.area)
			continue
		}
		a := &site.accounts[site.find(e.name)]
		left = append(left, a.area)
		a.area, results[p] = e.area, "moved"
	}
	site.activate(o.list, results)
	for p, e := range o.list {
		switch {
		case results[p] == "still_blocked":
			stopped = append(stopped, e.area)
		case results[p] == "new" && site.free(e.area) > 0:
			n.add(site, e.name, e.area, "")
			results[p] = "created_active"
		case results[p] == "new":
			n.add(site, e.name, e.area, "limit")
			results[p], stopped = "created_blocked", append(stopped, e.area)
		}
	}
	for _, area := range left {
		site.left(area)
	}
	slices.Sort(stopped)
	for _, area := range stopped {
		n.notify(o.serial, area)
	}
	return "synced " + strings.Join(results, " ")
}

func wrongList(list []listEntry) string {
	seen := map[string]bool{}
	for _, e := range list {
		if e.area == "support" {
			return "refused area_not_found"
		}
		if seen[strings.ToLower(e.name)] {
			return "refused account_twice"
		}
		seen[strings.ToLower(e.name)] = true
	}
	return ""
}

// activate gives each seat to whoever is blocked longest, is listed and can use it.
func (n *naiveSite) activate(list []listEntry, results []string) {
	for {
		best := -1
		for p, e := range list {
			if results[p] != "still_blocked" || n.free(e.area) == 0 {
				continue
			}
			if best < 0 || n.accounts[n.find(e.name)].since < n.accounts[n.find(list[best].name)].since {
				best = p
			}
		}
		if best < 0 {
			return
		}
		a := &n.accounts[n.find(list[best].name)]
		a.blocked, a.since, results[best] = "", 0, "activated"
	}
}

// accountOutcomeText prints an outcome of the state machine as the model prints its own.
func accountOutcomeText(o *fsmpb.Outcome) string {
	if o.Refusal != nil {
		text := "refused " + o.Refusal.Code
		for _, r := range o.GetImported().GetRejected() {
			text += fmt.Sprintf(" %d=%s", r.Line, r.Code)
		}
		return text
	}
	switch r := o.Result.(type) {
	case *fsmpb.Outcome_Account:
		a := r.Account
		text := fmt.Sprintf("%s %s %q %d of %d, %d", a.Account.Name, a.Account.Area, blockedText(a.Account.Blocked), a.Active, a.Allocation, a.Blocked)
		if a.Deleted {
			text += " deleted"
		}
		return text
	case *fsmpb.Outcome_Imported:
		return "imported"
	case *fsmpb.Outcome_Synced:
		text := "synced"
		for _, b := range r.Synced.Results {
			text += " " + strings.ToLower(strings.TrimPrefix(fsmpb.SyncResult(b).String(), "SYNC_RESULT_"))
		}
		return text
	}
	return fmt.Sprint(o)
}

func blockedText(why fsmpb.BlockReason) string {
	return map[fsmpb.BlockReason]string{notBlocked: "", blockedByAdmin: "admin", blockedByLimit: "limit"}[why]
}
