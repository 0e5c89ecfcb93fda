package fsm

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tidwall/btree"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// MaxAccountName is the longest name of an account, in bytes.
const MaxAccountName = 254

// Reasons why an account is blocked.
const (
	notBlocked     = fsmpb.BlockReason_BLOCK_REASON_UNSPECIFIED
	blockedByAdmin = fsmpb.BlockReason_BLOCK_REASON_ADMIN
	blockedByLimit = fsmpb.BlockReason_BLOCK_REASON_LIMIT
)

// Account is one account of an instance that keeps its accounts here, immutable (rule A1).
type Account struct {
	Serial uint64
	// Name is as it was given when the account was created; see CheckAccountName.
	Name, Area string
	// Blocked says why the account is blocked; unspecified while it is active.
	Blocked fsmpb.BlockReason
	// BlockedSeq orders accounts by when they were blocked (rule A3); 0 while active.
	BlockedSeq uint64
	// CreatedMs and ChangedMs are wall clock milliseconds.
	CreatedMs, ChangedMs int64
	hashed
}

// Active reports whether the account counts (rule A1).
func (a *Account) Active() bool { return a.Blocked == notBlocked }

// Reason is why the account is blocked, in a word: admin or limit; empty while it is active.
func (a *Account) Reason() string {
	switch a.Blocked {
	case blockedByAdmin:
		return "admin"
	case blockedByLimit:
		return "limit"
	}
	return ""
}

func (a *Account) message(*encoder) (recordKind, message) { return 20, a.proto() }

func (a *Account) proto() *fsmpb.AccountRecord {
	return &fsmpb.AccountRecord{
		Serial: a.Serial, Name: a.Name, Area: a.Area, Blocked: a.Blocked, BlockedSeq: a.BlockedSeq,
		CreatedMs: a.CreatedMs, ChangedMs: a.ChangedMs,
	}
}

func accountFromProto(r *fsmpb.AccountRecord) *Account {
	return &Account{
		Serial: r.GetSerial(), Name: r.GetName(), Area: r.GetArea(), Blocked: r.GetBlocked(), BlockedSeq: r.GetBlockedSeq(),
		CreatedMs: r.GetCreatedMs(), ChangedMs: r.GetChangedMs(),
	}
}

// key orders accounts by instance, then by folded name.
func (a *Account) key() string { return accountKey(a.Serial, a.Name) }

func accountKey(serial uint64, name string) string {
	b := make([]byte, 8, 8+len(name))
	binary.BigEndian.PutUint64(b, serial)
	return string(append(b, lower(name)...))
}

// CheckAccountName refuses what is no name of an account: 1 to MaxAccountName bytes of
// printable UTF-8 without a slash, starting with a letter, a digit or an underscore and not
// ending with a space. Errors begin with the field's name.
//
// Slashes would be read as parts of a path, and other starts as formulas by a spreadsheet
// that opens an export.
func CheckAccountName(field, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s: it is missing", field)
	case len(name) > MaxAccountName:
		return fmt.Errorf("%s: %d bytes are more than %d", field, len(name), MaxAccountName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s: it is not UTF-8", field)
	}
	for _, r := range name {
		if unprintable(r) || r == '/' {
			return fmt.Errorf("%s: %q holds %q, which no name may", field, name, r)
		}
	}
	first := lower(name[:1])[0]
	if !('a' <= first && first <= 'z' || '0' <= first && first <= '9' || first == '_' || first >= utf8.RuneSelf) || name[len(name)-1] == ' ' {
		return fmt.Errorf("%s: %q does not start with a letter, digit or _, or ends with a space", field, name)
	}
	return nil
}

// unprintable characters are listed here because the tables of package unicode grow with Go.
func unprintable(r rune) bool {
	switch {
	case r < ' ', 0x7f <= r && r <= 0xa0, r == 0xad:
		return true
	case 0x2000 <= r && r <= 0x200f, 0x2028 <= r && r <= 0x202f, 0x205f <= r && r <= 0x206f, r == 0x3000:
		// Spaces, joiners and marks of direction, by which different names would look alike.
		return true
	}
	return 0xd800 <= r && r <= 0xf8ff || r == 0xfeff || r >= 0xfff0 && r <= 0xffff || r >= 0xe0000
}

// counts are the accounts that an instance, or all instances of a contract, have per area.
type counts struct{ active, blocked Quantities }

func (u counts) empty() bool { return len(u.active)+len(u.blocked) == 0 }

func (u counts) plus(more counts) counts {
	return counts{active: combined(u.active, more.active, Quantities.plus), blocked: combined(u.blocked, more.blocked, Quantities.plus)}
}

func (u counts) minus(less counts) counts {
	return counts{active: combined(u.active, less.active, Quantities.minus), blocked: combined(u.blocked, less.blocked, Quantities.minus)}
}

// combined spares the copy where nothing changes, which is one of the two each time.
func combined(q, other Quantities, op func(a, b Quantities) Quantities) Quantities {
	if len(other) == 0 {
		return q
	}
	return op(q, other)
}

// setCounts keeps no row for nothing.
func setCounts[K cmp.Ordered](m *btree.Map[K, counts], k K, u counts) {
	if u.empty() {
		m.Delete(k)
		return
	}
	m.Set(k, u)
}

// countsOf is what one account adds.
func countsOf(a *Account) counts {
	one := Quantities{{a.Area, 1}}
	if a.Active() {
		return counts{active: one}
	}
	return counts{blocked: one}
}

// addCounts keeps the totals of an instance and of its contract, so that nobody has to walk accounts.
func (t *tables) addCounts(i *Instance, more counts) {
	u, _ := t.counted.Get(i.Serial)
	setCounts(t.counted, i.Serial, u.plus(more))
	c, _ := t.contractCounts.Get(i.Contract)
	setCounts(t.contractCounts, i.Contract, c.plus(more))
}

func (t *tables) dropCounts(i *Instance, less counts) {
	u, _ := t.counted.Get(i.Serial)
	setCounts(t.counted, i.Serial, u.minus(less))
	c, _ := t.contractCounts.Get(i.Contract)
	setCounts(t.contractCounts, i.Contract, c.minus(less))
}

// putAccount writes a row that may replace another.
func (s *State) putAccount(i *Instance, old, next *Account) {
	if old != nil {
		s.dropCounts(i, countsOf(old))
	}
	s.addCounts(i, countsOf(next))
	s.accounts.set(&s.digest, next.key(), next)
}

// keeper finds an instance whose accounts are kept here. One that reports them keeps
// its own: its counts and ours would contradict each other (rules A1, I5).
func (t *tables) keeper(serial uint64) (*Instance, *fsmpb.Refusal) {
	i, refusal := t.instance(serial)
	if refusal == nil && i.Reports {
		return nil, refuse(InstanceReports, "serial", serial)
	}
	return i, refusal
}

// openKeeper is keeper for what can make accounts active: the contract has started and not ended (rule C5).
func (s *State) openKeeper(serial uint64) (*Instance, *fsmpb.Refusal) {
	i, refusal := s.keeper(serial)
	if refusal != nil {
		return nil, refusal
	}
	if _, refusal := s.startedContract(i.Contract); refusal != nil {
		return nil, refusal
	}
	return i, nil
}

// keepsAccounts refuses a report of an instance whose accounts are kept here.
func (s *State) keepsAccounts(i *Instance) *fsmpb.Refusal {
	u, _ := s.counted.Get(i.Serial)
	if i.Reports || u.empty() {
		return nil
	}
	return refuse(InstanceKeepsAccounts, "serial", i.Serial, "accounts", u.active.sum()+u.blocked.sum())
}

// reported counts what an instance reports into the totals of its contract (rule A5).
func (s *State) reported(i *Instance, before Quantities) {
	s.dropCounts(i, counts{active: before})
	s.addCounts(i, counts{active: i.Active})
	for _, x := range before.above(i.Active) {
		s.freed(i, x.Name)
	}
}

// account finds an account of an instance.
func (t *tables) account(serial uint64, name string) (*Account, *fsmpb.Refusal) {
	a, ok := t.accounts.get(accountKey(serial, name))
	if !ok {
		return nil, refuse(AccountNotFound, "serial", serial, "account", name)
	}
	return a, nil
}

// areaOf refuses an area that the instance's allocation does not name, so that areas can't be piled up.
func areaOf(i *Instance, area string) *fsmpb.Refusal {
	if !i.Allocation.has(area) {
		return refuse(AreaNotFound, "serial", i.Serial, "area", area)
	}
	return nil
}

// room is how many accounts can become active in an area (rules A2, I6).
func (t *tables) room(i *Instance, area string) uint64 {
	u, _ := t.counted.Get(i.Serial)
	active, most := u.active.Get(area), i.Allocation.Get(area)
	return most - min(active, most)
}

// seatLimit refuses an account that would become active without a seat, and notifies (rules A2, A6, I6).
func (s *State) seatLimit(i *Instance, area string) *fsmpb.Refusal {
	if s.room(i, area) > 0 {
		return nil
	}
	s.stopped(i, area, SeatLimitReached)
	u, _ := s.counted.Get(i.Serial)
	return refuse(SeatLimitReached, "serial", i.Serial, "area", area, "active", u.active.Get(area),
		"allocation", i.Allocation.Get(area), "blocked", u.blocked.Get(area))
}

// createAccount adds an account, active unless it is to be blocked (rules A1, A2).
func (s *State) createAccount(o *fsmpb.Outcome, cmd *fsmpb.CreateAccount) {
	if err := errors.Join(CheckAccountName("name", cmd.Name), signed.CheckName("area", cmd.Area)); err != nil {
		o.Refusal = invalid(err)
		return
	}
	i, refusal := s.openKeeper(cmd.Serial)
	if refusal == nil {
		refusal = areaOf(i, cmd.Area)
	}
	if _, taken := s.accounts.get(accountKey(cmd.Serial, cmd.Name)); refusal == nil && taken {
		refusal = refuse(AccountExists, "serial", cmd.Serial, "account", cmd.Name)
	}
	if refusal == nil && !cmd.Blocked {
		refusal = s.seatLimit(i, cmd.Area)
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	o.Result = s.accountResult(i, s.newAccount(i, cmd.Name, cmd.Area, blockedIf(cmd.Blocked)))
}

func blockedIf(blocked bool) fsmpb.BlockReason {
	if blocked {
		return blockedByAdmin
	}
	return notBlocked
}

// newAccount writes an account that is known to be in order.
func (s *State) newAccount(i *Instance, name, area string, blocked fsmpb.BlockReason) *Account {
	a := &Account{Serial: i.Serial, Name: name, Area: area, CreatedMs: s.clock.WallMs, ChangedMs: s.clock.WallMs}
	s.block(a, blocked)
	s.putAccount(i, nil, a)
	return a
}

// block sets why an account, not yet in the table, is blocked. An account that stays
// blocked keeps its place in the order of first blocking (rule A3).
func (s *State) block(a *Account, why fsmpb.BlockReason) {
	switch {
	case why == notBlocked:
		a.BlockedSeq = 0
	case a.BlockedSeq == 0:
		s.counters.lastBlock++
		a.BlockedSeq = s.counters.lastBlock
	}
	a.Blocked = why
}

// changeAccount replaces an account by one in a possibly other area and state.
func (s *State) changeAccount(i *Instance, a *Account, area string, blocked fsmpb.BlockReason) *Account {
	if a.Area == area && a.Blocked == blocked {
		return a
	}
	next := edit(a)
	next.Area, next.ChangedMs = area, s.clock.WallMs
	s.block(next, blocked)
	s.putAccount(i, a, next)
	return next
}

// namedAccount checks and finds what commands on one account name.
func (s *State) namedAccount(serial uint64, name string) (*Instance, *Account, *fsmpb.Refusal) {
	if err := CheckAccountName("name", name); err != nil {
		return nil, nil, invalid(err)
	}
	i, refusal := s.keeper(serial)
	if refusal != nil {
		return nil, nil, refusal
	}
	a, refusal := s.account(serial, name)
	return i, a, refusal
}

// blockAccount keeps an account and frees its seat, at any time (rule A4).
func (s *State) blockAccount(o *fsmpb.Outcome, cmd *fsmpb.BlockAccount) {
	i, a, refusal := s.namedAccount(cmd.Serial, cmd.Name)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	next := s.changeAccount(i, a, a.Area, blockedByAdmin)
	if a.Active() {
		s.freed(i, a.Area)
	}
	o.Result = s.accountResult(i, next)
}

// unblockAccount makes an account active if there is a seat (rule A2).
func (s *State) unblockAccount(o *fsmpb.Outcome, cmd *fsmpb.UnblockAccount) {
	i, a, refusal := s.namedAccount(cmd.Serial, cmd.Name)
	if refusal == nil && !a.Active() {
		if _, refusal = s.openKeeper(cmd.Serial); refusal == nil {
			refusal = s.seatLimit(i, a.Area)
		}
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	o.Result = s.accountResult(i, s.changeAccount(i, a, a.Area, notBlocked))
}

// moveAccount moves an account to another area; an active one needs a seat there (rule A2).
func (s *State) moveAccount(o *fsmpb.Outcome, cmd *fsmpb.MoveAccount) {
	if err := signed.CheckName("area", cmd.Area); err != nil {
		o.Refusal = invalid(err)
		return
	}
	i, a, refusal := s.namedAccount(cmd.Serial, cmd.Name)
	if refusal == nil {
		refusal = areaOf(i, cmd.Area)
	}
	if refusal == nil && a.Area != cmd.Area && a.Active() {
		if _, refusal = s.openKeeper(cmd.Serial); refusal == nil {
			refusal = s.seatLimit(i, cmd.Area)
		}
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	next := s.changeAccount(i, a, cmd.Area, a.Blocked)
	if a.Active() && a.Area != next.Area {
		s.freed(i, a.Area)
	}
	o.Result = s.accountResult(i, next)
}

// deleteAccount removes an account for good, at any time (rule A4).
func (s *State) deleteAccount(o *fsmpb.Outcome, cmd *fsmpb.DeleteAccount) {
	i, a, refusal := s.namedAccount(cmd.Serial, cmd.Name)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	s.accounts.delete(&s.digest, a.key())
	s.dropCounts(i, countsOf(a))
	if a.Active() {
		s.freed(i, a.Area)
	}
	result := s.accountResult(i, a)
	result.Account.Deleted = true
	o.Result = result
}

func (s *State) accountResult(i *Instance, a *Account) *fsmpb.Outcome_Account {
	u, _ := s.counted.Get(i.Serial)
	return &fsmpb.Outcome_Account{Account: &fsmpb.AccountStatus{
		Account: a.proto(), Allocation: i.Allocation.Get(a.Area), Active: u.active.Get(a.Area), Blocked: u.blocked.Get(a.Area),
	}}
}

// AccountFromProto reads the account that an outcome carries.
func AccountFromProto(p *fsmpb.AccountRecord) *Account { return accountFromProto(p) }

// Account returns an account, or the refusal that says why there is none.
func (v *View) Account(serial uint64, name string) (*Account, *fsmpb.Refusal) {
	if _, refusal := v.keeper(serial); refusal != nil {
		return nil, refusal
	}
	return v.account(serial, name)
}

// Accounts returns up to limit accounts of an instance whose names come after the given one, in order.
func (v *View) Accounts(serial uint64, after string, limit int) ([]*Account, *fsmpb.Refusal) {
	if _, refusal := v.keeper(serial); refusal != nil {
		return nil, refusal
	}
	var list []*Account
	if limit <= 0 {
		return nil, nil
	}
	start := accountKey(serial, after)
	v.accounts.rows.Ascend(start, func(key string, a *Account) bool {
		if a.Serial != serial {
			return false
		}
		if key != start {
			list = append(list, a)
		}
		return len(list) < limit
	})
	return list, nil
}

// Totals are how many accounts there are in one area (rule A5).
type Totals struct {
	Area string
	// Maximum is the instance's allocation, or what the contract grants.
	Maximum, Active, Blocked uint64
}

// totalsOf lists all areas that appear anywhere, sorted.
func totalsOf(most Quantities, u counts) []Totals {
	named := make(Quantities, 0, len(most))
	for _, x := range most {
		named = append(named, Quantity{x.Name, 1})
	}
	var list []Totals
	for _, x := range named.plus(u.active).plus(u.blocked) {
		list = append(list, Totals{Area: x.Name, Maximum: most.Get(x.Name), Active: u.active.Get(x.Name), Blocked: u.blocked.Get(x.Name)})
	}
	return list
}

// InstanceTotals are the totals of an instance by area, kept here or reported (rule A5).
func (v *View) InstanceTotals(serial uint64) ([]Totals, *fsmpb.Refusal) {
	i, refusal := v.instance(serial)
	if refusal != nil {
		return nil, refusal
	}
	u, _ := v.counted.Get(serial)
	return totalsOf(i.Allocation, u), nil
}

// ContractTotals are the totals over all instances of a contract by area (rule A5).
func (v *View) ContractTotals(id string) ([]Totals, *fsmpb.Refusal) {
	c, ok := v.contracts.get(id)
	if !ok {
		return nil, refuse(ContractNotFound, "contract", id)
	}
	u, _ := v.contractCounts.Get(id)
	return totalsOf(c.Users, u), nil
}
