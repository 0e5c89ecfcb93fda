package api

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// csvColumns are the columns of imports and exports (rule A5).
var csvColumns = []string{"name", "area", "account state"}

// maxRows is how many refused rows a problem names.
const maxRows = 1000

// csvReader takes RFC 4180: a header, then accounts.
type csvReader struct {
	r *csv.Reader
	// columns are the places of name, area and account state; the last is -1 if it is not there.
	columns [3]int
	faults  []fault
	rows    []apiv1.RejectedRow
}

// readAccounts reads a whole CSV file, and reports all rows that are no accounts.
func readAccounts(text []byte) ([]*fsmpb.ListedAccount, error) {
	// Spreadsheets put a mark before UTF-8.
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if !utf8.Valid(text) {
		return nil, malformed([]fault{{"body", "the file is not UTF-8"}})
	}
	in := &csvReader{r: csv.NewReader(bytes.NewReader(text))}
	in.r.ReuseRecord = true
	if err := in.header(); err != nil {
		return nil, malformed([]fault{{"line 1", "line 1: " + err.Error()}})
	}
	var list []*fsmpb.ListedAccount
	for {
		record, err := in.r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) && !errors.Is(err, csv.ErrFieldCount) {
			// What follows broken quotes can't be told apart into lines.
			in.fault(syntax.Line, syntax.Err)
			break
		}
		line, _ := in.r.FieldPos(0)
		if err != nil {
			in.fault(line, fmt.Errorf("%d fields instead of %d", len(record), in.r.FieldsPerRecord))
			continue
		}
		list = append(list, in.account(line, record))
	}
	switch {
	case len(in.faults) > 0:
		return nil, in.problem()
	case len(list) == 0 || len(list) > fsm.MaxListed:
		return nil, malformed([]fault{{"body", fmt.Sprintf("%d accounts are not in 1 to %d", len(list), fsm.MaxListed)}})
	}
	return list, nil
}

func (in *csvReader) header() error {
	record, err := in.r.Read()
	if err != nil {
		return fmt.Errorf("there is no header (%w)", err)
	}
	for i, name := range csvColumns {
		in.columns[i] = slices.Index(record, name)
	}
	known := 0
	for _, at := range in.columns {
		if at >= 0 {
			known++
		}
	}
	if in.columns[0] < 0 || in.columns[1] < 0 || known != len(record) {
		return fmt.Errorf("the header %.80q is not made of name, area and, if wanted, account state", strings.Join(record, ","))
	}
	return nil
}

func (in *csvReader) account(line int, record []string) *fsmpb.ListedAccount {
	a := &fsmpb.ListedAccount{Name: record[in.columns[0]], Area: record[in.columns[1]], Line: uint32(line)} //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	if err := errors.Join(fsm.CheckAccountName("name", a.Name), signed.CheckName("area", a.Area)); err != nil {
		in.fault(line, err)
		return nil
	}
	if at := in.columns[2]; at >= 0 {
		switch record[at] {
		case "Yes":
		case "No":
			a.Blocked = true
		default:
			in.fault(line, fmt.Errorf("account state: %.40q is neither Yes nor No", record[at]))
		}
	}
	return a
}

func (in *csvReader) fault(line int, err error) {
	name := fmt.Sprint("line ", line)
	in.faults = append(in.faults, fault{name, name + ": " + strings.ReplaceAll(clipped(err), "\n", "; ")})
	if len(in.rows) < maxRows {
		in.rows = append(in.rows, apiv1.RejectedRow{Line: uint32(line), Code: apiv1.CodeInvalid}) //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
	}
}

func (in *csvReader) problem() error {
	err := malformed(in.faults)
	var p *problem
	if errors.As(err, &p) {
		p.rows = in.rows
	}
	return err
}

// rejectedRows are the rows that a refused import names.
func rejectedRows(o *fsmpb.Outcome) []apiv1.RejectedRow {
	var rows []apiv1.RejectedRow
	for _, r := range o.GetImported().GetRejected() {
		rows = append(rows, apiv1.RejectedRow{Line: r.Line, Code: apiv1.Code(r.Code)})
	}
	return rows
}

// exportAccounts writes one state of the instance, page by page, so that it takes no memory.
func (s *service) exportAccounts(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	if _, refused := v.Accounts(n, "", 1); refused != nil {
		return nil, refusal(refused)
	}
	return ok(stream{"text/csv; charset=utf-8", func(w io.Writer) error { return writeAccounts(w, v, n) }}), nil
}

func writeAccounts(w io.Writer, v *fsm.View, serial uint64) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(csvColumns); err != nil {
		return err
	}
	for after := ""; ; {
		page, _ := v.Accounts(serial, after, maxLimit)
		for _, a := range page {
			state := "No"
			if a.Active() {
				state = "Yes"
			}
			if err := out.Write([]string{a.Name, a.Area, state}); err != nil {
				return err
			}
		}
		if len(page) < maxLimit {
			out.Flush()
			return out.Error()
		}
		after = page[len(page)-1].Name
	}
}
