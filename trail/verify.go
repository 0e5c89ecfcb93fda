package trail

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/licet/licet/fsm"
)

// maxDamage is how many faults of a directory are told; one altered file could have as many as it has lines.
const maxDamage = 100

// Fault is something that is wrong with files.
type Fault struct {
	// Row is the row that it is about, 0 if that can't be told.
	Row uint64 `json:"row,omitempty"`
	// File and Line are where, if it is at one place.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

func (f Fault) String() string {
	if f.File == "" {
		return f.Text
	}
	return fmt.Sprintf("%s, line %d: %s", f.File, f.Line, f.Text)
}

// Report is what one directory was found to hold.
type Report struct {
	Dir  string `json:"dir"`
	Node string `json:"node,omitempty"`
	// First and Last are the first and last row; both are 0 if there is none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Rows  uint64 `json:"rows"`
	// Chain is the chain after the last row, in hexadecimal digits.
	Chain string `json:"chain,omitempty"`
	// Gaps are what the node itself recorded that it never had.
	Gaps []Gap `json:"gaps,omitempty"`
	// Unfinished is the row in the middle of which the last file ends, 0 if there is none. It is being written, or
	// the node was killed meanwhile; it completes the row when it starts.
	Unfinished uint64 `json:"unfinished,omitempty"`
	// Aside are copies of files that the node found damaged when it started.
	Aside []string `json:"aside,omitempty"`
	// Signed is how far checkpoints certify the rows; nil if none does, or none was to be looked at.
	Signed *Signed `json:"signed,omitempty"`
	// Damage is empty if every row follows from the one before.
	Damage []Fault `json:"damage,omitempty"`
	// MoreDamage is how many faults there are that Damage does not tell.
	MoreDamage int `json:"more_damage,omitempty"`

	// runs are the rows that were seen to follow from each other.
	runs []Gap
	// copied: it is one file of copied rows.
	copied bool
}

// Check follows the chain over the files of one directory, also of a node that runs, or over one file of copied rows.
func Check(dir string) (*Report, error) {
	list, damaged, err := files(dir)
	if err != nil {
		return nil, err
	}
	v := &verifier{Report: Report{Dir: dir}}
	for _, f := range damaged {
		v.Aside = append(v.Aside, filepath.Base(f.path))
	}
	for i, f := range list {
		v.copied = f.copied
		err := v.file(f, i == len(list)-1)
		if errors.Is(err, fs.ErrNotExist) && !v.begun {
			v.vanished = true // it gave way to the bound meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	v.finish()
	return &v.Report, nil
}

// verifier goes through a directory and, unlike a checker, goes on after a fault.
type verifier struct {
	Report
	checker
	begun, vanished bool
	// oldest is what the newest header says the first row of all files is.
	oldest uint64
	// first is where the first file begins.
	first   uint64
	missing []Gap
	at      string
	line    int
}

func (v *verifier) fault(row uint64, format string, args ...any) {
	v.Report.fault(Fault{row, v.at, v.line, fmt.Sprintf(format, args...)})
}

func (v *verifier) file(f file, newest bool) error {
	source, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	v.at = filepath.Base(f.path)
	if !v.begun {
		v.begun, v.next, v.first = true, f.first, f.first
	}
	l := newLines(source)
	for {
		if err := l.scan(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		v.line = l.n
		if err := v.take(l, f, newest); err != nil {
			return err
		}
	}
	switch {
	case l.next > 0:
	case newest:
		v.Unfinished = v.next
	default:
		v.fault(f.first, "the file is empty; it began with row %d", f.first)
	}
	return nil
}

func (v *verifier) take(l *lines, f file, newest bool) error {
	x, err := decode(l.text)
	switch {
	case errors.Is(err, errNewer):
		return fmt.Errorf("line %d: %w", l.n, err)
	case !l.whole && newest:
		v.Unfinished = v.next
	case err != nil:
		v.unreadable(number(l.text), err)
	case x.header != nil:
		v.header(x.header, f)
	default:
		if l.n == 1 && !f.copied {
			v.fault(f.first, "the file has no header; it began with row %d", f.first)
		}
		if x.gap != nil {
			v.gap(x.gap)
		} else {
			v.row(x.row)
		}
	}
	return nil
}

// unreadable notes a line that is no more what was written.
func (v *verifier) unreadable(row uint64, err error) {
	if row == v.next {
		v.fault(row, "row %d is altered: %v", row, err)
		v.next, v.known = v.next+1, false
		return
	}
	v.fault(row, "the line can't be read: %v", err)
}

func (v *verifier) header(h *header, f file) {
	if h.First != f.first || v.line != 1 {
		v.fault(h.First, "the header is that of the file that begins with row %d", h.First)
		return
	}
	v.Node, v.oldest = h.Node, h.Oldest
	v.expect(h.First)
	if v.known && v.chain != Hash(h.Before) {
		v.fault(h.First, "the file does not go on where the one before ends: row %d, or the header, is altered", h.First-1)
	}
	if !v.known {
		v.chain, v.known = Hash(h.Before), true
	}
}

// expect notes the rows that should have come before a number.
func (v *verifier) expect(n uint64) {
	if n > v.next {
		v.missing = append(v.missing, Gap{From: v.next, To: n - 1})
		v.next, v.known = n, false
	}
}

func (v *verifier) gap(g *Gap) {
	v.expect(g.From)
	if g.From < v.next {
		v.fault(g.From, "a gap from row %d on stands behind row %d", g.From, v.next-1)
		return
	}
	v.Gaps = append(v.Gaps, *g)
	v.skip(g)
}

func (v *verifier) row(w *fsm.Write) {
	v.expect(w.Seq)
	if w.Seq < v.next {
		v.late(w.Seq)
		return
	}
	v.Rows++
	if v.First == 0 {
		v.First = w.Seq
	}
	v.Last, v.Chain = w.Seq, fmt.Sprintf("%x", w.Chain)
	sound := v.known
	if !v.follows(w) {
		v.fault(w.Seq, "row %d is altered: it does not follow from row %d", w.Seq, w.Seq-1)
		return
	}
	switch end := len(v.runs) - 1; {
	case !sound:
	case end >= 0 && v.runs[end].To == w.Seq-1:
		v.runs[end].To = w.Seq
	default:
		v.runs = append(v.runs, Gap{From: w.Seq, To: w.Seq})
	}
}

// late notes a row that stands behind later ones.
func (v *verifier) late(row uint64) {
	for i, m := range v.missing {
		if m.From <= row && row <= m.To {
			v.missing = slices.Replace(v.missing, i, i+1, without(m, Gap{From: row, To: row})...)
			v.fault(row, "row %d is out of order: it stands behind row %d", row, v.next-1)
			return
		}
	}
	v.fault(row, "row %d stands there twice", row)
}

// without is what is left of a range when another one is taken out.
func without(from, out Gap) []Gap {
	var rest []Gap
	if from.From < out.From {
		rest = append(rest, Gap{From: from.From, To: min(from.To, out.From-1)})
	}
	if from.To > out.To {
		rest = append(rest, Gap{From: max(from.From, out.To+1), To: from.To})
	}
	return rest
}

func (v *verifier) finish() {
	v.at, v.line = "", 0
	if v.oldest != 0 && v.oldest < v.first && !v.vanished {
		v.missing = append(v.missing, Gap{From: v.oldest, To: v.first - 1})
	}
	for _, m := range v.missing {
		v.fault(m.From, "%s missing", isAre(m))
	}
	slices.SortStableFunc(v.Damage, func(a, b Fault) int { return cmp.Compare(a.Row, b.Row) })
}

func isAre(g Gap) string {
	if g.From == g.To {
		return g.String() + " is"
	}
	return g.String() + " are"
}
