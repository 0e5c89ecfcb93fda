package fsm

import (
	"cmp"

	"github.com/tidwall/btree"

	"github.com/licet/licet/fsm/fsmpb"
)

// row is something that a snapshot holds.
type row interface{ record() *fsmpb.Record }

// table is a primary table: rows by key, counted into the digest. Rows are
// immutable; a change replaces the row.
type table[K cmp.Ordered, R row] struct {
	rows *btree.Map[K, R]
}

func newTable[K cmp.Ordered, R row]() table[K, R] {
	return table[K, R]{rows: new(btree.Map[K, R])}
}

func (t table[K, R]) copy() table[K, R] { return table[K, R]{rows: t.rows.Copy()} }

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
	requests  table[string, *request]

	// Derived, rebuilt by restore.
	allocated   *btree.Map[string, Quantities]
	byContract  index[contractInstance]
	byName      index[instanceName]
	due         index[deadline]
	requestsAge index[requestAge]
}

func newTables() tables {
	return tables{
		meta:        &meta{Settings: DefaultSettings},
		contracts:   newTable[string, *Contract](),
		instances:   newTable[uint64, *Instance](),
		requests:    newTable[string, *request](),
		allocated:   new(btree.Map[string, Quantities]),
		byContract:  newIndex(contractInstance.less),
		byName:      newIndex(instanceName.less),
		due:         newIndex(deadline.less),
		requestsAge: newIndex(requestAge.less),
	}
}

func (t *tables) copy() tables {
	c := *t
	c.digest.scratch = nil
	c.contracts = t.contracts.copy()
	c.instances = t.instances.copy()
	c.requests = t.requests.copy()
	c.allocated = t.allocated.Copy()
	c.byContract = t.byContract.copy()
	c.byName = t.byName.copy()
	c.due = t.due.copy()
	c.requestsAge = t.requestsAge.copy()
	return c
}
