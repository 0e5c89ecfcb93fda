package trail

import (
	"cmp"
	"fmt"
	"os"
	"slices"

	"github.com/licet/licet/fsm"
)

// Sum is what several directories, of nodes of one cluster, hold together.
type Sum struct {
	Reports []*Report `json:"directories"`
	// First and Last are the first and last row that any directory has.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Gaps are what no directory has of the rows between.
	Gaps []Gap `json:"gaps,omitempty"`
	// Conflicts tell where directories hold different rows.
	Conflicts []Fault `json:"conflicts,omitempty"`
}

// Damaged reports whether a row is altered, missing, out of order, or not the same everywhere.
func (s *Sum) Damaged() bool {
	return len(s.Conflicts) > 0 || slices.ContainsFunc(s.Reports, func(r *Report) bool { return len(r.Damage) > 0 })
}

// Incomplete reports whether all is right as far as it goes, and rows are not there.
func (s *Sum) Incomplete() bool {
	unfinished := func(r *Report) bool { return r.Unfinished != 0 && r.Unfinished > s.Last }
	return len(s.Gaps) > 0 || slices.ContainsFunc(s.Reports, unfinished)
}

// Verify follows the chain over each directory, or file of copied rows, compares them, sees that one goes on where another ends, and fills the
// gaps of one from the others. With anchors it holds them against checkpoints; nil looks at none.
func Verify(dirs []string, a *Anchors) (*Sum, error) {
	s := new(Sum)
	for _, dir := range dirs {
		r, err := checkAgainst(dir, a)
		if err != nil {
			return nil, err
		}
		s.Reports = append(s.Reports, r)
		if r.First != 0 && (s.First == 0 || r.First < s.First) {
			s.First = r.First
		}
		s.Last = max(s.Last, r.Last)
	}
	for i, r := range s.Reports {
		for _, other := range s.Reports[:i] {
			if err := s.compare(other, r); err != nil {
				return nil, err
			}
		}
	}
	between, err := s.joints()
	s.gaps(between)
	return s, err
}

// joints sees that rows go on from one directory to the next where they have none in common, and returns those between that are in neither.
func (s *Sum) joints() (between []Gap, err error) {
	var before *Report
	sorted := slices.SortedStableFunc(slices.Values(s.Reports), func(a, b *Report) int { return cmp.Compare(a.First, b.First) })
	for _, r := range sorted {
		switch {
		case r.First == 0:
			continue
		case before == nil || r.First <= before.Last:
		case r.First > before.Last+1:
			between = append(between, Gap{From: before.Last + 1, To: r.First - 1})
		default:
			if err := s.joint(before, r); err != nil {
				return between, err
			}
		}
		if before == nil || r.Last > before.Last {
			before = r
		}
	}
	return between, nil
}

// joint sees that the first row of a directory follows from the last one of another.
func (s *Sum) joint(a, b *Report) error {
	end, known, err := ChainAt(a.Dir, a.Last)
	if err != nil || !known {
		return err
	}
	rows, err := Rows(b.Dir, a.Last, 1)
	if err == nil && len(rows) > 0 && rows[0].Seq == b.First && fsm.NextChain(end, rows[0].Proto()) != rows[0].Chain {
		s.Conflicts = append(s.Conflicts, Fault{Row: b.First, Text: fmt.Sprintf("row %d of %s does not follow from row %d of %s", b.First, b.Dir, a.Last, a.Dir)})
	}
	return err
}

// checkAgainst checks a directory and, with anchors, its rows against checkpoints. A node that runs signs rows that it has, so the
// checkpoints are read first.
func checkAgainst(dir string, a *Anchors) (*Report, error) {
	if info, err := os.Stat(dir); a == nil || err == nil && !info.IsDir() {
		r, err := Check(dir)
		if a == nil || err != nil {
			return r, err
		}
		return r, r.hold(nil, a)
	}
	own, err := checkpoints(dir)
	if err != nil {
		return nil, err
	}
	r, err := Check(dir)
	if err != nil {
		return nil, err
	}
	return r, r.hold(own, a)
}

// gaps takes what the nodes never had and what is missing between directories, and what the others have out of it.
func (s *Sum) gaps(left []Gap) {
	for _, r := range s.Reports {
		for _, g := range r.Gaps {
			left = append(left, Gap{From: g.From, To: g.To})
		}
	}
	for _, r := range s.Reports {
		for _, run := range r.runs {
			var rest []Gap
			for _, g := range left {
				rest = append(rest, without(g, run)...)
			}
			left = rest
		}
	}
	slices.SortFunc(left, func(a, b Gap) int { return cmp.Compare(a.From, b.From) })
	for _, g := range left {
		if end := len(s.Gaps) - 1; end >= 0 && s.Gaps[end].To >= g.From-1 {
			s.Gaps[end].To = max(s.Gaps[end].To, g.To)
			continue
		}
		s.Gaps = append(s.Gaps, g)
	}
}

// compare finds the first row that two directories hold differently. The chain says at each
// row whether all rows before were the same, so that halving finds it.
func (s *Sum) compare(a, b *Report) error {
	low, high := max(a.First, b.First), min(a.Last, b.Last)
	if low == 0 || low > high {
		return nil
	}
	same, known, err := sameAt(a.Dir, b.Dir, high)
	if err != nil || !known || same {
		return err
	}
	for low < high {
		middle := low + (high-low)/2
		same, known, err := sameAt(a.Dir, b.Dir, middle)
		if err != nil {
			return err
		}
		if same || !known {
			low = middle + 1
		} else {
			high = middle
		}
	}
	s.Conflicts = append(s.Conflicts, Fault{Row: high, Text: fmt.Sprintf("%s and %s hold different rows from row %d on", a.Dir, b.Dir, high)})
	return nil
}

func sameAt(a, b string, row uint64) (same, known bool, err error) {
	one, known, err := ChainAt(a, row)
	if err != nil || !known {
		return false, false, err
	}
	other, known, err := ChainAt(b, row)
	return one == other, known, err
}

// ChainAt is the chain after a row of a directory; known is false if the row is not there.
func ChainAt(dir string, row uint64) (chain Hash, known bool, err error) {
	if row == 0 {
		return Hash{}, true, nil
	}
	rows, err := Rows(dir, row-1, 1)
	if err != nil || len(rows) == 0 || rows[0].Seq != row {
		return Hash{}, false, err
	}
	return rows[0].Chain, true, nil
}
