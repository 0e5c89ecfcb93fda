package trail

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/subject"
)

// Copy makes the lines of a copy of rows, which needs nothing beside itself to be read and verified: each line tells also the
// chain, what was asked, and the numbers of a refusal. The zero value begins with whichever row comes first. Not safe for
// concurrent use.
type Copy struct {
	// Node is whose rows they are.
	Node string
	// Next is the row that comes next; 0 takes any.
	Next uint64
}

// Header is the line that a file begins with, so that its first row can be verified: the row's number, and the chain before it.
func (c *Copy) Header(b []byte, first uint64, before Hash) []byte {
	return appendHeader(b, header{Version: Version, Node: c.Node, First: first, Before: hexHash(before), Oldest: first})
}

// Row appends the line of a row, and before it that of a gap if rows are left out; before is the chain before the row, nil if it is not known.
func (c *Copy) Row(b []byte, w *fsm.Write, before *Hash) ([]byte, error) {
	if c.Next != 0 && w.Seq > c.Next {
		b = appendGap(b, Gap{From: c.Next, To: w.Seq - 1, after: before})
	}
	c.Next = w.Seq + 1
	return appendCopy(b, w, nil)
}

// appendCopy appends a row as a line of a copy. Where this build does not know what was asked, it stands there as told.
func appendCopy(b []byte, w *fsm.Write, told json.RawMessage) ([]byte, error) {
	o, err := w.Decided()
	if err != nil {
		return nil, err
	}
	l := rowLine{
		Seq: w.Seq, Time: timeOf(w), Index: w.Index, Actor: w.Actor(), RequestID: w.RequestID(),
		Kind: kindOf(w), Outcome: outcomeOf(w), Facts: facts(o.GetRefusal()), Chain: hex.EncodeToString(w.Chain[:]), Row: new(fsm.RowEncoder).Encode(w),
	}
	if l.Subject, err = subject.Of(w); errors.Is(err, fsm.ErrUnknown) {
		l.Subject, err = told, nil
	}
	if err == nil && l.Subject != nil && !json.Valid(l.Subject) {
		err = fmt.Errorf("row %d: what was asked is no JSON", w.Seq)
	}
	if err != nil {
		return nil, err
	}
	return appendJSON(b, l), nil
}

func timeOf(w *fsm.Write) string { return time.UnixMilli(w.WallMs).UTC().Format(timeLayout) }

// shortCopy is a row as a line without its end, without what makes it long: what was asked, and the whole row. The chain shows which row it is.
func shortCopy(w *fsm.Write) []byte {
	text := appendJSON(nil, rowLine{
		Seq: w.Seq, Time: timeOf(w), Index: w.Index, Actor: w.Actor(), RequestID: w.RequestID(),
		Kind: kindOf(w), Outcome: outcomeOf(w), Chain: hex.EncodeToString(w.Chain[:]), Row: []byte{},
	})
	return text[:len(text)-1]
}

// facts are nil if nothing was refused.
func facts(r *fsmpb.Refusal) map[string]any {
	all := make(map[string]any)
	for _, f := range r.GetFacts() {
		if n, ok := f.Value.(*fsmpb.Fact_Number); ok {
			all[f.Name] = n.Number
		} else {
			all[f.Name] = f.GetText()
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
