package api

import (
	"fmt"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

const (
	// maxUsage and defaultUsage are how many hours one answer has.
	maxUsage, defaultUsage = 1000, 24
	hourMs                 = 3_600_000
)

func (s *service) getUsage(c *call) (*answer, error) {
	product := c.query.name("product", signed.CheckName)
	from, to := s.hours(c.query)
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, pool, err := s.pool(c)
	if err != nil {
		return nil, err
	}
	if product != "" && productOf(pool, product) == nil {
		return nil, refusal(&fsmpb.Refusal{Code: string(fsm.ProductNotInPool), Facts: []*fsmpb.Fact{
			{Name: "pool", Value: &fsmpb.Fact_Text{Text: pool.Name}}, {Name: "product", Value: &fsmpb.Fact_Text{Text: product}},
		}})
	}
	now := s.Node.Wall().UnixMilli() / hourMs
	from = max(from, pool.CreatedMs/hourMs, now-int64(v.Settings().UsageHours)+1) //nolint:gosec // G115: it was held to its bounds when it was read
	return ok(apiv1.Usage{Pool: pool.Name, Product: product, Hours: usageOf(v, pool, product, from, min(to, now+1))}), nil
}

// hours reads which hours are asked for: from the first one up to, not including, the second.
func (s *service) hours(q *query) (from, to int64) {
	// The hour that has just begun is listed, too.
	now := s.Node.Wall().Add(time.Millisecond)
	at := func(name string, absent time.Time) time.Time {
		at := absent
		q.name(name, func(field, text string) (err error) {
			at, err = parseTime(field, text)
			return err
		})
		return at
	}
	end := at("to", now)
	to = (end.UnixMilli() + hourMs - 1) / hourMs
	from = at("from", end.Add(-(defaultUsage-1)*time.Hour)).UnixMilli() / hourMs
	switch {
	case from > to:
		q.fault("from", "from: it is after to")
	case to-from > maxUsage:
		q.fault("from", fmt.Sprintf("from: %d hours are more than %d", to-from, maxUsage))
	}
	return from, to
}

func productOf(p fsm.PoolStatus, name string) *fsmpb.PoolProduct {
	for _, x := range p.Products {
		if x.Name == name {
			return x
		}
	}
	return nil
}

// usageOf fills in the hours that have no row: until the next row, use was what that row opens
// with, and after the last one it is what it is now.
func usageOf(v *fsm.View, pool fsm.PoolStatus, product string, from, to int64) []apiv1.UsageHour {
	hours := make([]apiv1.UsageHour, 0, max(0, to-from))
	of, rest := product, map[int64]*fsm.Usage{}
	if product == "" && len(pool.Products) == 1 {
		// The only product's use is that of the pool, which has rows of its own for denials alone.
		of = pool.Products[0].Name
		for _, row := range v.Usage(pool.Name, "", from, to, maxUsage+1) {
			rest[row.Hour] = row
		}
	}
	rows := v.Usage(pool.Name, of, from, 1<<40, maxUsage+1)
	for h := from; h < to; h++ {
		out := apiv1.UsageHour{Hour: time.UnixMilli(h * hourMs).UTC(), HighWater: usedNow(pool, of), Denials: map[string]uint64{}}
		if len(rows) > 0 {
			out.HighWater = rows[0].Open
		}
		if len(rows) > 0 && rows[0].Hour == h {
			out.HighWater = rows[0].HighWater
			addDenials(out.Denials, rows[0])
			rows = rows[1:]
		}
		addDenials(out.Denials, rest[h])
		hours = append(hours, out)
	}
	return hours
}

func addDenials(to map[string]uint64, row *fsm.Usage) {
	if row != nil {
		for _, q := range row.Denials {
			to[q.Name] += q.N
		}
	}
}

func usedNow(pool fsm.PoolStatus, product string) uint64 {
	if product == "" {
		return pool.Use.Used
	}
	for _, x := range pool.Use.Products {
		if x.Name == product {
			return x.Used
		}
	}
	return 0
}
