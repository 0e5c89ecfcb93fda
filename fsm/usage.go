package fsm

import (
	"encoding/binary"

	"github.com/licet/licet/fsm/fsmpb"
)

const hourMs = 3_600_000

// Usage is one hour of a product in a pool, or of a whole pool, immutable. Hours in which
// nothing changed have no row: until the next row, use was what that row opens with.
type Usage struct {
	Pool string
	// Product is empty for the pool as a whole, which has rows of its own if it has more than one product.
	Product string
	// Hour counts from 1970-01-01 UTC.
	Hour int64
	// HighWater is the most seats in use at once, Open how many were before the hour's first change.
	HighWater, Open uint64
	// Denials are checkouts that were denied, by code.
	Denials Quantities
	hashed
}

func (u *Usage) message(*encoder) (recordKind, message) { return 44, u.Proto() }

// Proto is the row as snapshots hold it.
func (u *Usage) Proto() *fsmpb.UsageRecord {
	return &fsmpb.UsageRecord{Pool: u.Pool, Product: u.Product, Hour: u.Hour, HighWater: u.HighWater, Open: u.Open, Denials: u.Denials.proto()}
}

func usageFromProto(p *fsmpb.UsageRecord) *Usage {
	return &Usage{Pool: p.Pool, Product: p.Product, Hour: p.Hour, HighWater: p.HighWater, Open: p.Open, Denials: QuantitiesFromProto(p.Denials)}
}

func (u *Usage) key() string { return usageKey(u.Pool, u.Product, u.Hour) }

func usageKey(pool, product string, hour int64) string {
	b := make([]byte, 0, 96)
	b = append(append(b, pool...), 0)
	b = append(append(b, product...), 0)
	return string(binary.BigEndian.AppendUint64(b, uint64(hour))) //nolint:gosec // G115: a duration or a time after 1970, which is not negative
}

// usageAge orders rows by hour, for forgetting.
type usageAge struct {
	hour int64
	key  string
}

func (a usageAge) less(b usageAge) bool {
	if a.hour != b.hour {
		return a.hour < b.hour
	}
	return a.key < b.key
}

func (s *State) hour() int64 { return s.clock.WallMs / hourMs }

// noteUse keeps the high-water mark of this hour; before is what was in use before the change.
func (s *State) noteUse(p *Pool, product string, before uint64) {
	u := s.use(p).part(product)
	if u.hour == s.hour() && u.used <= u.highWater {
		return
	}
	key := usageKey(p.Name, product, s.hour())
	row, ok := s.usage.get(key)
	if !ok {
		row = s.newUsage(p.Name, product, before)
	}
	if !ok || u.used > row.HighWater {
		row = edit(row)
		row.HighWater = max(row.HighWater, u.used)
		s.usage.set(&s.digest, key, row)
	}
	s.know(p, product, row.Hour, row.HighWater)
}

// know spares the next change a look at the hour's row.
func (t *tables) know(p *Pool, product string, hour int64, highWater uint64) {
	if product == "" {
		u := edit(t.use(p))
		u.hour, u.highWater = hour, highWater
		t.uses.Set(p.ID, u)
		return
	}
	u, own := t.use(p).edit(product)
	own.hour, own.highWater = hour, highWater
	t.setUse(u, own)
}

// newUsage is the row of an hour that begins with so many seats in use. Its caller puts it into the table.
func (s *State) newUsage(pool, product string, used uint64) *Usage {
	s.forgetUsage()
	row := &Usage{Pool: pool, Product: product, Hour: s.hour(), HighWater: used, Open: used}
	s.usageAge.keys.Set(usageAge{row.Hour, row.key()})
	return row
}

// noteDenial counts a denied checkout.
func (s *State) noteDenial(p *Pool, product string, code string) {
	if p.product(product) == nil {
		product = ""
	}
	key := usageKey(p.Name, product, s.hour())
	row, ok := s.usage.get(key)
	if !ok {
		row = s.newUsage(p.Name, product, s.use(p).part(product).used)
	}
	row = edit(row)
	row.Denials = row.Denials.plus(Quantities{{code, 1}})
	s.usage.set(&s.digest, key, row)
}

// forgetUsage drops rows that are too old or too many, and leaves room for one more.
func (s *State) forgetUsage() {
	limits := s.meta.Settings
	for range forgetAtOnce {
		oldest, ok := s.usageAge.keys.Min()
		if !ok || oldest.hour > s.hour()-int64(limits.UsageHours) && uint64(s.usage.len()) < limits.UsageLimit { //nolint:gosec // G115: it was held to its bounds when it was read
			return
		}
		s.forgetHour(oldest)
	}
}

func (s *State) forgetHour(oldest usageAge) {
	row, _ := s.usage.get(oldest.key)
	s.usage.delete(&s.digest, oldest.key)
	s.usageAge.keys.Delete(oldest)
	if p, ok := s.pools.get(row.Pool); ok && row.Hour == s.hour() {
		s.know(p, row.Product, 0, 0)
	}
}

// Usage returns the rows of a product in a pool, or of the pool as a whole, for hours in [from, to), at most limit.
func (v *View) Usage(pool, product string, from, to int64, limit int) []*Usage {
	var rows []*Usage
	if limit <= 0 || from < 0 {
		return nil
	}
	end := usageKey(pool, product, to)
	v.usage.rows.Ascend(usageKey(pool, product, from), func(key string, row *Usage) bool {
		if key >= end {
			return false
		}
		rows = append(rows, row)
		return len(rows) < limit
	})
	return rows
}
