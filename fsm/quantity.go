package fsm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Quantity is a number of something named: of accounts in an area, say.
type Quantity struct {
	Name string
	N    uint64
}

// Quantities are sorted by name, each name once, and never changed in place.
type Quantities []Quantity

// QuantitiesOf sorts a map.
func QuantitiesOf(m map[string]uint64) Quantities {
	q := make(Quantities, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		q = append(q, Quantity{name, m[name]})
	}
	return q
}

// Map is the reverse of QuantitiesOf.
func (q Quantities) Map() map[string]uint64 {
	m := make(map[string]uint64, len(q))
	for _, x := range q {
		m[x.Name] = x.N
	}
	return m
}

// Get returns the number under a name, 0 if there is none.
func (q Quantities) Get(name string) uint64 {
	if i, ok := slices.BinarySearchFunc(q, name, byQuantityName); ok {
		return q[i].N
	}
	return 0
}

// has reports whether a name stands there, be its number 0.
func (q Quantities) has(name string) bool {
	_, ok := slices.BinarySearchFunc(q, name, byQuantityName)
	return ok
}

func byQuantityName(x Quantity, name string) int { return cmp.Compare(x.Name, name) }

func (q Quantities) sum() (n uint64) {
	for _, x := range q {
		n += x.N
	}
	return n
}

// with returns q with the names of changes set to their numbers. A zero adds no
// name, so that names can't be piled up for nothing.
func (q Quantities) with(changes Quantities) Quantities {
	next := slices.Clone(q)
	for _, c := range changes {
		i, found := slices.BinarySearchFunc(next, c.Name, byQuantityName)
		switch {
		case found:
			next[i].N = c.N
		case c.N > 0:
			next = slices.Insert(next, i, c)
		}
	}
	return next
}

// plus returns q with more added name by name; minus undoes it. A name that
// comes to zero is dropped.
func (q Quantities) plus(more Quantities) Quantities {
	return q.combine(more, func(a, b uint64) uint64 { return a + b })
}

func (q Quantities) minus(less Quantities) Quantities {
	return q.combine(less, func(a, b uint64) uint64 { return a - b })
}

func (q Quantities) combine(other Quantities, op func(a, b uint64) uint64) Quantities {
	next := make(Quantities, 0, len(q)+len(other))
	for len(q) > 0 || len(other) > 0 {
		var x Quantity
		switch {
		case len(other) == 0 || len(q) > 0 && q[0].Name < other[0].Name:
			x, q = q[0], q[1:]
		case len(q) == 0 || other[0].Name < q[0].Name:
			x, other = Quantity{other[0].Name, op(0, other[0].N)}, other[1:]
		default:
			x, q, other = Quantity{q[0].Name, op(q[0].N, other[0].N)}, q[1:], other[1:]
		}
		if x.N != 0 {
			next = append(next, x)
		}
	}
	return next
}

// above returns by how much q passes limit, for the names where it does.
func (q Quantities) above(limit Quantities) Quantities {
	var over Quantities
	for _, x := range q {
		if most := limit.Get(x.Name); x.N > most {
			over = append(over, Quantity{x.Name, x.N - most})
		}
	}
	return over
}

func (q Quantities) proto() []*fsmpb.Quantity {
	p, all := make([]*fsmpb.Quantity, len(q)), make([]fsmpb.Quantity, len(q))
	for i, x := range q {
		p[i] = &all[i]
		p[i].Name, p[i].N = x.Name, x.N
	}
	return p
}

// QuantitiesFromProto trusts rows that this package wrote.
func QuantitiesFromProto(p []*fsmpb.Quantity) Quantities {
	q := make(Quantities, len(p))
	for i, x := range p {
		q[i] = Quantity{x.GetName(), x.GetN()}
	}
	return q
}

// checkAreas reads areas out of a command, in any order, each at most once.
func checkAreas(field string, p []*fsmpb.Quantity) (Quantities, error) {
	if len(p) > signed.MaxAreas {
		return nil, fmt.Errorf("%s: %d areas are more than %d", field, len(p), signed.MaxAreas)
	}
	q := QuantitiesFromProto(p)
	slices.SortFunc(q, func(a, b Quantity) int { return cmp.Compare(a.Name, b.Name) })
	for i, x := range q {
		if err := signed.CheckName(field, x.Name); err != nil {
			return nil, err
		}
		if i > 0 && q[i-1].Name == x.Name {
			return nil, fmt.Errorf("%s: area %s stands there twice", field, x.Name)
		}
		if x.N > signed.MaxQuantity {
			return nil, fmt.Errorf("%s.%s: %d is more than %d", field, x.Name, x.N, signed.MaxQuantity)
		}
	}
	return q, nil
}
