package fsm

import (
	"cmp"

	"github.com/tidwall/btree"
)

// table is a primary table: rows by key, counted into the digest.
type table[K cmp.Ordered, R row] struct {
	rows *btree.Map[K, R]
}

func newTable[K cmp.Ordered, R row]() table[K, R] {
	return table[K, R]{rows: new(btree.Map[K, R])}
}

func (t table[K, R]) copy() table[K, R] { return table[K, R]{rows: t.rows.Copy()} }

func (t table[K, R]) len() int { return t.rows.Len() }

func (t table[K, R]) get(k K) (R, bool) { return t.rows.Get(k) }

func (t table[K, R]) set(d *digest, k K, r R) {
	if old, ok := t.rows.Set(k, r); ok {
		d.remove(old)
	}
	d.add(r)
}

func (t table[K, R]) delete(d *digest, k K) {
	if old, ok := t.rows.Delete(k); ok {
		d.remove(old)
	}
}

// index is an ordered set of composite keys, derived from primary tables.
type index[T any] struct{ keys *btree.BTreeG[T] }

func newIndex[T any](less func(a, b T) bool) index[T] {
	return index[T]{keys: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

func (x index[T]) copy() index[T] { return index[T]{keys: x.keys.Copy()} }

// tables is all data of a state. Rows that exist once are plain fields.
type tables struct {
	index, term uint64
	clock       Clock
	meta        *meta
	counters    counters
	digest      digest

	contracts table[string, *Contract]
	instances table[uint64, *Instance]
	pools     table[string, *Pool]
	leases    table[uint64, *Lease]
	projects  table[string, *Project]
	tickets   table[uint64, *Ticket]
	usage     table[string, *Usage]
	// paces are by the pools' numbers.
	paces  table[uint64, *Pace]
	writes table[uint64, *Write]

	accounts     table[string, *Account]
	stages       table[string, *Stage]
	requests     table[uint64, *LicenseRequest]
	responsibles table[string, *Responsible]
	episodes     table[string, *Episode]
	notices      table[uint64, *Notice]
	tokens       table[uint64, *Token]

	// Derived, rebuilt by restore.
	allocated  *btree.Map[string, Quantities]
	byContract index[contractInstance]
	// byName leads from a contract and a name to a serial number.
	byName   *btree.Map[string, uint64]
	due      index[deadline]
	leaseDue index[leaseDeadline]
	// ending are the pools that are over and still have leases or tickets.
	ending  *btree.Map[string, struct{}]
	poolsOf index[contractPool]
	// uses are by the pools' numbers.
	uses      *btree.Map[uint64, *poolUse]
	draws     index[drawRow]
	byUser    index[leaseKey]
	lingering index[lingerer]
	byProject index[projectLease]
	// byPool are all tickets, waiting those without an offer.
	byPool, waiting index[ticketKey]
	ticketUsers     index[userTicket]
	waiters         index[waiter]
	// queues are the pools with waiting tickets.
	queues   index[contractPool]
	usageAge index[usageAge]
	// answers leads from actor and request id to the write that answers for them.
	answers    *btree.Map[string, uint64]
	writeBytes uint64
	// counted and contractCounts count accounts by instance and by contract; those of removed
	// instances, which are orphans, don't count.
	counted        *btree.Map[uint64, counts]
	contractCounts *btree.Map[string, counts]
	orphans        *btree.Map[uint64, bool]
	stagings       *btree.Map[string, staging]
	byRequest      index[contractRequest]
	// operators are the operators' tokens that do not expire.
	operators *btree.Map[uint64, struct{}]
	// holds count what API tokens with limits have, by their numbers.
	holds *btree.Map[uint64, tokenHold]
}

func newTables() tables {
	return tables{
		meta:        &meta{Settings: DefaultSettings},
		contracts:   newTable[string, *Contract](),
		instances:   newTable[uint64, *Instance](),
		pools:       newTable[string, *Pool](),
		leases:      newTable[uint64, *Lease](),
		projects:    newTable[string, *Project](),
		tickets:     newTable[uint64, *Ticket](),
		usage:       newTable[string, *Usage](),
		paces:       newTable[uint64, *Pace](),
		writes:      newTable[uint64, *Write](),
		allocated:   new(btree.Map[string, Quantities]),
		byContract:  newIndex(contractInstance.less),
		byName:      new(btree.Map[string, uint64]),
		due:         newIndex(deadline.less),
		leaseDue:    newIndex(leaseDeadline.less),
		ending:      new(btree.Map[string, struct{}]),
		poolsOf:     newIndex(contractPool.less),
		uses:        new(btree.Map[uint64, *poolUse]),
		draws:       newIndex(drawRow.less),
		byUser:      newIndex(leaseKey.less),
		lingering:   newIndex(lingerer.less),
		byProject:   newIndex(projectLease.less),
		byPool:      newIndex(ticketKey.less),
		waiting:     newIndex(ticketKey.less),
		ticketUsers: newIndex(userTicket.less),
		waiters:     newIndex(waiter.less),
		queues:      newIndex(contractPool.less),
		usageAge:    newIndex(usageAge.less),
		answers:     new(btree.Map[string, uint64]),

		accounts:       newTable[string, *Account](),
		stages:         newTable[string, *Stage](),
		requests:       newTable[uint64, *LicenseRequest](),
		responsibles:   newTable[string, *Responsible](),
		episodes:       newTable[string, *Episode](),
		notices:        newTable[uint64, *Notice](),
		tokens:         newTable[uint64, *Token](),
		counted:        new(btree.Map[uint64, counts]),
		contractCounts: new(btree.Map[string, counts]),
		orphans:        new(btree.Map[uint64, bool]),
		stagings:       new(btree.Map[string, staging]),
		byRequest:      newIndex(contractRequest.less),
		operators:      new(btree.Map[uint64, struct{}]),
		holds:          new(btree.Map[uint64, tokenHold]),
	}
}

func (t *tables) copy() tables {
	c := *t
	c.digest.scratch = nil
	c.contracts = t.contracts.copy()
	c.instances = t.instances.copy()
	c.pools = t.pools.copy()
	c.leases = t.leases.copy()
	c.projects = t.projects.copy()
	c.tickets = t.tickets.copy()
	c.usage = t.usage.copy()
	c.paces = t.paces.copy()
	c.writes = t.writes.copy()
	c.allocated = t.allocated.Copy()
	c.byContract = t.byContract.copy()
	c.byName = t.byName.Copy()
	c.due = t.due.copy()
	c.leaseDue = t.leaseDue.copy()
	c.ending = t.ending.Copy()
	c.poolsOf = t.poolsOf.copy()
	c.uses = t.uses.Copy()
	c.draws = t.draws.copy()
	c.byUser = t.byUser.copy()
	c.lingering = t.lingering.copy()
	c.byProject = t.byProject.copy()
	c.byPool = t.byPool.copy()
	c.waiting = t.waiting.copy()
	c.ticketUsers = t.ticketUsers.copy()
	c.waiters = t.waiters.copy()
	c.queues = t.queues.copy()
	c.usageAge = t.usageAge.copy()
	c.answers = t.answers.Copy()
	c.accounts = t.accounts.copy()
	c.stages = t.stages.copy()
	c.requests = t.requests.copy()
	c.responsibles = t.responsibles.copy()
	c.episodes = t.episodes.copy()
	c.notices = t.notices.copy()
	c.tokens = t.tokens.copy()
	c.operators = t.operators.Copy()
	c.holds = t.holds.Copy()
	c.counted = t.counted.Copy()
	c.contractCounts = t.contractCounts.Copy()
	c.orphans = t.orphans.Copy()
	c.stagings = t.stagings.Copy()
	c.byRequest = t.byRequest.copy()
	return c
}
