package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/trail"
)

// exportRows is how many rows are asked for at once.
const exportRows = 1000

func auditExportVerb() verb {
	return verb{
		name: "export", usage: "write the audit trail as JSON lines that can be verified", run: auditExport,
		flags: readFlags(
			&cli.StringFlag{Name: "dir", Usage: "out of the files of the data `DIRECTORY` of a node, or of a copy of its directory audit, instead of asking the cluster"},
			&cli.StringFlag{Name: "after", Usage: "the rows after row `N` only"},
			&cli.StringFlag{Name: "from", Usage: "the rows from `TIME` on only (2026-12-31T18:00:00Z, or 2026-12-31 for the day's beginning)"},
			&cli.StringFlag{Name: "to", Usage: "the rows before `TIME` only"},
			&cli.StringFlag{Name: "out", Usage: "write `FILE`, whole or not at all and readable by you alone, instead of the output"}),
		about: "Each line has a row: its number, time, index, actor, request id, kind and outcome, the numbers of a refusal, what was asked, the chain, and the\n" +
			"whole row, of which the chain is made. `licet audit verify --file FILE` verifies it. It ends with the row that is the newest when it begins.",
	}
}

// export writes rows as they come.
type export struct {
	out      io.Writer
	lines    trail.Copy
	from, to time.Time
	buffer   []byte
	// first and last are the rows that were written, skipped is whether rows that are no longer there were asked for.
	first, last uint64
	err         error
}

// row takes a row, and says whether those behind it are wanted.
func (e *export) row(w *fsm.Write, before *trail.Hash) (more bool) {
	at := time.UnixMilli(w.WallMs)
	if at.Before(e.from) {
		e.lines.Next = w.Seq + 1
		return true
	}
	if !e.to.IsZero() && !at.Before(e.to) {
		return false
	}
	e.buffer = e.buffer[:0]
	if gap := e.lines.Next != 0 && w.Seq > e.lines.Next; e.first == 0 && !gap && before != nil {
		e.buffer = e.lines.Header(e.buffer, w.Seq, *before)
	}
	if e.buffer, e.err = e.lines.Row(e.buffer, w, before); e.err != nil {
		return false
	}
	if e.first == 0 {
		e.first = w.Seq
	}
	e.last = w.Seq
	_, e.err = e.out.Write(e.buffer)
	return e.err == nil
}

func auditExport(s *session) (err error) {
	e, after, err := s.newExport()
	if err != nil {
		return err
	}
	dir := s.String("dir")
	if dir != "" {
		if dir, err = trailIn(dir); err != nil {
			return s.usagef("--dir: %v", pathError(err))
		}
	}
	out, finish, err := s.exportTo(s.String("out"))
	if err != nil {
		return err
	}
	sink := &local{Writer: out}
	buffered := bufio.NewWriterSize(sink, 64<<10)
	e.out = buffered
	if dir != "" {
		err = trail.Walk(dir, after, e.row)
	} else {
		err = e.pages(s, after)
	}
	if err = errors.Join(err, e.err); err == nil {
		err = buffered.Flush()
	}
	done := finish(err == nil)
	switch {
	case sink.err != nil || err == nil && done != nil:
		return failf(exitInternal, "Look whether the disk is full, or choose another place.", "the rows could not be written: %v", pathError(errors.Join(sink.err, done)))
	case err != nil && dir != "":
		return failf(exitInternal, "", "the files can't be read: %v", pathError(err))
	case err != nil:
		return err
	case e.first == 0:
		s.note("there are no such rows")
	default:
		s.note("rows %d to %d were exported", e.first, e.last)
	}
	return nil
}

func (s *session) newExport() (e *export, after uint64, err error) {
	e = new(export)
	if s.IsSet("after") {
		if after, err = whole(s.String("after"), 0, maxExact-1); err != nil {
			return nil, 0, s.usagef("--after: %v", err)
		}
		e.lines.Next = after + 1
	}
	if s.IsSet("from") {
		if e.from, err = s.moment("from"); err != nil {
			return nil, 0, err
		}
	}
	if s.IsSet("to") {
		if e.to, err = s.moment("to"); err != nil {
			return nil, 0, err
		}
		if !e.from.Before(e.to) {
			return nil, 0, s.usagef("--from, --to: the first must be before the second")
		}
	}
	return e, after, nil
}

// exportTo is where rows go, and what ends it: a file that is not whole leaves what was there before.
func (s *session) exportTo(name string) (out io.Writer, finish func(whole bool) error, err error) {
	if name == "" {
		return s.Out, func(bool) error { return nil }, nil
	}
	file, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return nil, nil, failf(exitInternal, "Choose another place.", "%.200s could not be written: %v", name, pathError(err))
	}
	return file, func(whole bool) error {
		if !whole {
			return file.Cleanup()
		}
		return errors.Join(file.CloseAtomicallyReplace(), file.Cleanup())
	}, nil
}

// pages asks the cluster for the rows, up to the one that is the newest now.
func (e *export) pages(s *session, after uint64) error {
	_, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.AuditList], error) {
		before, last := chainBefore(s, c, after), uint64(0)
		for {
			a, err := c.Audit(s.context(), client.AuditPage{After: &after, Limit: exportRows, Whole: true}, o...)
			if err != nil {
				return nil, err
			}
			if last == 0 {
				last = a.Value.Last
			}
			var more bool
			if before, after, more, err = e.page(a, before, after, last); err != nil || !more {
				return a, err
			}
			if a.Value.Next > after {
				before, after = nil, a.Value.Next
			}
			if a.Value.Next == 0 || after >= last {
				return a, nil
			}
		}
	})
	return err
}

// page takes the rows of a page up to the last one, behind the row after, at which the chain is before. It returns the same of the
// row that it came to, and whether those behind it are wanted.
func (e *export) page(a *client.Answer[apiv1.AuditList], before *trail.Hash, after, last uint64) (*trail.Hash, uint64, bool, error) {
	for i := range a.Value.Rows {
		row := &a.Value.Rows[i]
		w, err := wholeRow(row)
		if err != nil {
			return nil, 0, false, failf(exitInternal, "Check that client and nodes are of versions that fit.", "row %d, of node %s: %v", row.Seq, a.Node, err)
		}
		if w.Seq > last || !e.row(w, chainAfter(before, after, w)) {
			return nil, 0, false, nil
		}
		before, after = &w.Chain, w.Seq
	}
	return before, after, true, nil
}

// chainAfter is the chain before a row, if the row that before belongs to is the one before it.
func chainAfter(before *trail.Hash, after uint64, w *fsm.Write) *trail.Hash {
	if w.Seq == after+1 {
		return before
	}
	return nil
}

// chainBefore is the chain at a row, nil if nobody has it any more.
func chainBefore(s *session, c *client.Client, row uint64) *trail.Hash {
	if row == 0 {
		return new(trail.Hash)
	}
	a, err := c.AuditRow(s.context(), row)
	if err != nil {
		return nil
	}
	chain, err := hex.DecodeString(a.Value.Chain)
	if err != nil || len(chain) != len(trail.Hash{}) {
		return nil
	}
	return (*trail.Hash)(chain)
}

// wholeRow is a row as the chain has it; what is told beside it must be the same.
func wholeRow(row *apiv1.AuditRow) (*fsm.Write, error) {
	if len(row.Row) == 0 {
		return nil, errors.New("the node does not give whole rows; its version is older")
	}
	w, err := trail.DecodeRow(row.Row)
	if err == nil && w.Seq != row.Seq {
		err = errors.New("it holds another row")
	}
	return w, err
}
