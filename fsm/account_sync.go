package fsm

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
)

// What a sync comes to for one account.
const (
	syncUnchanged      = fsmpb.SyncResult_SYNC_RESULT_UNCHANGED
	syncCreatedActive  = fsmpb.SyncResult_SYNC_RESULT_CREATED_ACTIVE
	syncCreatedBlocked = fsmpb.SyncResult_SYNC_RESULT_CREATED_BLOCKED
	syncActivated      = fsmpb.SyncResult_SYNC_RESULT_ACTIVATED
	syncStillBlocked   = fsmpb.SyncResult_SYNC_RESULT_STILL_BLOCKED
	syncAdminBlocked   = fsmpb.SyncResult_SYNC_RESULT_ADMIN_BLOCKED
	syncMoved          = fsmpb.SyncResult_SYNC_RESULT_MOVED
	syncNotMoved       = fsmpb.SyncResult_SYNC_RESULT_NOT_MOVED
)

// syncAccounts brings an instance to what a directory lists, all at once (rule A3). It is
// the one entry point of directories, whatever protocol they speak.
//
// Accounts that are not listed stay as they are: a directory that answers in part must
// not lock people out.
func (s *State) syncAccounts(o *fsmpb.Outcome, cmd *fsmpb.SyncAccounts) {
	i, refusal := s.openKeeper(cmd.Serial)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	list, refusal := s.listed(cmd.Serial, cmd.Accounts, cmd.Staged)
	if refusal == nil {
		refusal = checkSync(i, list)
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	run := &syncRun{s: s, i: i, list: list, results: make([]byte, len(list))}
	run.all()
	s.commitStaging(i.Serial, cmd.Staged)
	u, _ := s.counted.Get(i.Serial)
	o.Result = &fsmpb.Outcome_Synced{Synced: &fsmpb.SyncDone{
		Serial: i.Serial, Results: run.results, Active: u.active.proto(), Blocked: u.blocked.proto(),
	}}
}

// checkSync refuses a list that is wrong in itself; want of seats is no reason (rule A3).
func checkSync(i *Instance, list []*fsmpb.ListedAccount) *fsmpb.Refusal {
	// Looked up only, never walked: the order of maps differs (rule D1).
	names := make(map[string]bool, len(list))
	for n, a := range list {
		if a.Blocked {
			return invalid(fmt.Errorf("line %d: a sync lists accounts that should be active", lineOf(n, a)))
		}
		if refusal := areaOf(i, a.Area); refusal != nil {
			return refusal
		}
		key := accountKey(i.Serial, a.Name)
		if names[key] {
			return refuse(AccountTwice, "serial", i.Serial, "line", uint64(lineOf(n, a)))
		}
		names[key] = true
	}
	return nil
}

// syncRun is one sync under way.
type syncRun struct {
	s       *State
	i       *Instance
	list    []*fsmpb.ListedAccount
	results []byte
	// waiting are accounts that the limit blocked, moving active ones of another area, and
	// fresh those that are not there yet, as places in the list.
	waiting       []limited
	moving, fresh []int
	// short are the areas in which somebody got no seat, left those that somebody left, each once.
	short, left []string
}

type limited struct {
	place int
	seq   uint64
}

// all goes from those who have waited longest to those who are new.
func (r *syncRun) all() {
	for place := range r.list {
		r.classify(place)
	}
	slices.SortFunc(r.waiting, func(a, b limited) int { return cmp.Compare(a.seq, b.seq) })
	r.activate()
	r.move()
	// Whoever moved left a seat.
	r.activate()
	for _, w := range r.waiting {
		r.result(w.place, syncStillBlocked)
		r.wants(r.list[w.place].Area)
	}
	for _, place := range r.fresh {
		r.create(place)
	}
	// Episodes look at what the sync comes to, not at seats that were free for a moment within it.
	for _, area := range r.left {
		r.s.freed(r.i, area)
	}
	slices.Sort(r.short)
	for _, area := range r.short {
		r.s.stopped(r.i, area, SeatLimitReached)
	}
}

func (r *syncRun) result(place int, what fsmpb.SyncResult) { r.results[place] = byte(what) } //nolint:gosec // G115: the numbers of an enumeration

func (r *syncRun) existing(place int) (*Account, bool) {
	return r.s.accounts.get(accountKey(r.i.Serial, r.list[place].Name))
}

func (r *syncRun) wants(area string) { r.short = withArea(r.short, area) }

// withArea adds an area once; there are at most as many as an allocation names.
func withArea(list []string, area string) []string {
	if slices.Contains(list, area) {
		return list
	}
	return append(list, area)
}

// classify decides what needs no seat, and notes who needs one.
func (r *syncRun) classify(place int) {
	a, exists := r.existing(place)
	area := r.list[place].Area
	switch {
	case !exists:
		r.fresh = append(r.fresh, place)
	case a.Blocked == blockedByAdmin:
		r.s.changeAccount(r.i, a, area, a.Blocked)
		r.result(place, syncAdminBlocked)
	case a.Blocked == blockedByLimit:
		r.s.changeAccount(r.i, a, area, a.Blocked)
		r.waiting = append(r.waiting, limited{place, a.BlockedSeq})
	case a.Area != area:
		r.moving = append(r.moving, place)
	default:
		r.result(place, syncUnchanged)
	}
}

// activate gives seats to those who wait, in the order in which they were first blocked,
// and keeps in waiting who got none.
func (r *syncRun) activate() {
	var left []limited
	for _, w := range r.waiting {
		area := r.list[w.place].Area
		if r.s.room(r.i, area) == 0 {
			left = append(left, w)
			continue
		}
		a, _ := r.existing(w.place)
		r.s.changeAccount(r.i, a, area, notBlocked)
		r.result(w.place, syncActivated)
	}
	r.waiting = left
}

// move moves active accounts where there is a seat; the others stay active where they are.
func (r *syncRun) move() {
	for _, place := range r.moving {
		a, _ := r.existing(place)
		area := r.list[place].Area
		if r.s.room(r.i, area) == 0 {
			r.result(place, syncNotMoved)
			r.wants(area)
			continue
		}
		r.s.changeAccount(r.i, a, area, notBlocked)
		r.left = withArea(r.left, a.Area)
		r.result(place, syncMoved)
	}
}

// create adds an account, blocked if there is no seat for it.
func (r *syncRun) create(place int) {
	a, blocked, what := r.list[place], notBlocked, syncCreatedActive
	if r.s.room(r.i, a.Area) == 0 {
		blocked, what = blockedByLimit, syncCreatedBlocked
		r.wants(a.Area)
	}
	r.s.newAccount(r.i, a.Name, a.Area, blocked)
	r.result(place, what)
}
