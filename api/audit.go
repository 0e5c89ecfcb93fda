package api

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/fsm/subject"
)

const (
	// maxScan is how many rows one request looks at, so that a filter that fits none costs no more than a moment.
	maxScan = 20_000
	// scanRows is how many are taken at once.
	scanRows = 1000
	// maxRowBytes is how much rows of one page may hold before it ends, where they are given whole.
	maxRowBytes = 4 << 20
)

// auditFilter says which rows are wanted; empty fields fit all.
type auditFilter struct{ actor, kind, outcome, requestID string }

func (f *auditFilter) fits(w *fsm.Write) bool {
	if f.actor != "" && w.Actor() != f.actor || f.requestID != "" && w.RequestID() != f.requestID || f.kind != "" && w.KindName() != f.kind {
		return false
	}
	if f.outcome == "" {
		return true
	}
	o, err := w.Decided()
	return err == nil && outcomeName(o.GetRefusal().GetCode()) == f.outcome
}

func outcomeName(code string) string {
	if code == "" {
		return "ok"
	}
	return code
}

// auditScan collects the rows of one page.
type auditScan struct {
	filter auditFilter
	limit  int
	// whole: rows are given as the chain has them, too; bytes is how much they hold.
	whole bool
	bytes int
	read  func(after uint64, limit int) ([]*fsm.Write, error)
	// oldest and last are those of the view.
	oldest, last uint64

	rows    []*fsm.Write
	missing []apiv1.AuditRange
	// scanned is how many rows were looked at; begin and end are the first and the last of the part that was.
	scanned    int
	begin, end uint64
}

// forward goes from a row on towards the newest.
func (s *auditScan) forward(after uint64) error {
	s.begin, s.end = after+1, after
	for s.end < s.last && s.scanned < maxScan {
		rows, err := s.read(s.end, scanRows)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			s.gap(s.end+1, s.last)
			s.end = s.last
			return nil
		}
		for _, w := range rows {
			s.gap(s.end+1, w.Seq-1)
			s.end = w.Seq
			if s.take(w); s.full() {
				return nil
			}
		}
	}
	return nil
}

// backward goes from a row towards the oldest, window by window, and leaves the rows in their order.
func (s *auditScan) backward(before uint64) error {
	s.end = min(before-1, s.last)
	s.begin = s.end + 1
	for s.begin > 1 && s.scanned < maxScan && !s.full() {
		from := s.begin - min(s.begin-1, scanRows)
		rows, err := s.read(from-1, int(s.begin-from)) //nolint:gosec // G115: it was held to its bounds when it was read
		if err != nil {
			return err
		}
		for len(rows) > 0 && rows[len(rows)-1].Seq >= s.begin {
			rows = rows[:len(rows)-1]
		}
		for i := len(rows) - 1; i >= 0 && !s.full(); i-- {
			s.gap(rows[i].Seq+1, s.begin-1)
			s.begin = rows[i].Seq
			s.take(rows[i])
		}
		if !s.full() {
			s.gap(from, s.begin-1)
			s.begin = from
		}
		// A window without any row counts too: there may be millions of them.
		s.scanned += scanRows - len(rows)
	}
	reverse(s.rows)
	reverse(s.missing)
	return nil
}

func reverse[T any](list []T) {
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
}

func (s *auditScan) take(w *fsm.Write) {
	s.scanned++
	if s.filter.fits(w) {
		s.rows = append(s.rows, w)
		s.bytes += len(w.Body()) + len(w.Outcome())
	}
}

func (s *auditScan) full() bool { return len(s.rows) >= s.limit || s.whole && s.bytes >= maxRowBytes }

// gap notes rows that are not to be had, if there are any, joined to those noted before.
func (s *auditScan) gap(from, to uint64) {
	if from > to {
		return
	}
	if n := len(s.missing); n > 0 && s.missing[n-1].From == to+1 {
		s.missing[n-1].From = from
		return
	}
	s.missing = append(s.missing, apiv1.AuditRange{From: from, To: to})
}

func (s *service) listAudit(c *call) (*answer, error) {
	after := c.query.number("after", 0, maxSerial, 0)
	before := c.query.number("before", 1, maxSerial, maxSerial)
	forward := c.query.values.Has("after")
	if forward && c.query.values.Has("before") {
		c.query.fault("before", "before: it does not go together with after")
	}
	scan := &auditScan{
		limit: c.query.limit(),
		whole: c.query.choice("row", "false", "true") == "true",
		filter: auditFilter{
			actor: c.query.name("actor", signed.CheckName), kind: c.query.name("kind", checkWord),
			outcome: c.query.name("outcome", checkWord), requestID: c.query.name("request_id", checkRequestID),
		},
	}
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	last, chain, _ := v.Chain()
	scan.oldest, scan.last = v.OldestWrite(), last
	scan.read = func(after uint64, limit int) ([]*fsm.Write, error) { return s.Node.Trail(c.ctx, v, after, limit) }
	if forward {
		err = scan.forward(after)
	} else {
		err = scan.backward(before)
	}
	if err != nil {
		return nil, err
	}
	return scan.page(hex.EncodeToString(chain[:]))
}

func (s *auditScan) page(chain string) (*answer, error) {
	page := apiv1.AuditList{Rows: make([]apiv1.AuditRow, 0, len(s.rows)), Last: s.last, Chain: chain, Oldest: s.oldest, Missing: s.missing}
	for _, w := range s.rows {
		row, err := auditRowOf(w, s.oldest)
		if err != nil {
			return nil, err
		}
		if s.whole {
			row.Row = new(fsm.RowEncoder).Encode(w)
		}
		page.Rows = append(page.Rows, row)
	}
	if s.end < s.last {
		page.Next = s.end
	}
	if s.begin > 1 {
		page.Previous = s.begin
	}
	return ok(page), nil
}

func checkWord(field, text string) error {
	if text == "" || len(text) > 64 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") != "" || text[0] == '_' {
		return fmt.Errorf("%s: it is not 1 to 64 of a-z and _", field)
	}
	return nil
}

func checkRequestID(field, text string) error {
	if err := fsm.CheckRequestID(text); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

func (s *service) getAuditRow(c *call) (*answer, error) {
	seq, err := parseWhole(c.PathValue("seq"), 1, maxSerial)
	if err != nil {
		return nil, malformed([]fault{{"seq", "seq: " + err.Error()}})
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	last, _, _ := v.Chain()
	if seq > last {
		return nil, problemf(apiv1.CodeAuditRowNotFound, "There is no row %d; the newest is %d.", seq, last).with("last", apiv1.Number(int64(last))) //nolint:gosec // G115: a number of rows, entries or terms, which never comes near 2^63
	}
	rows, err := s.Node.Trail(c.ctx, v, seq-1, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 || rows[0].Seq != seq {
		return nil, problemf(apiv1.CodeAuditRowNotFound, "Node %s no longer has row %d: the state has rows from %d on, and the files of this node don't have it.", s.Node.ID(), seq, v.OldestWrite())
	}
	row, err := auditRowOf(rows[0], v.OldestWrite())
	if err != nil {
		return nil, err
	}
	return ok(row), nil
}

// auditRowOf shows a row, and why it was refused if it was.
func auditRowOf(w *fsm.Write, oldest uint64) (apiv1.AuditRow, error) {
	o, err := w.Decided()
	if err != nil {
		return apiv1.AuditRow{}, err
	}
	row := apiv1.AuditRow{
		Seq: w.Seq, Index: w.Index, Time: time.UnixMilli(w.WallMs).UTC(), Actor: w.Actor(), RequestID: w.RequestID(),
		Kind: w.KindName(), Outcome: outcomeName(o.GetRefusal().GetCode()), Chain: hex.EncodeToString(w.Chain[:]), Source: apiv1.AuditSourceState,
	}
	if row.Kind == "" {
		row.Kind = "kind " + strconv.FormatUint(uint64(w.Kind), 10)
	}
	if w.Seq < oldest {
		row.Source = apiv1.AuditSourceFile
	}
	if o.Refusal != nil {
		p := refusal(o.Refusal)
		row.Detail, row.Next, row.Facts = p.detail, p.next, p.facts
	}
	if row.Subject, err = subject.Of(w); errors.Is(err, fsm.ErrUnknown) {
		err = nil
	}
	return row, err
}
