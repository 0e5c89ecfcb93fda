package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

const (
	// maxAccountFile bounds a file of accounts: as many as a sync may have, with long names.
	maxAccountFile = 32 << 20
	// maxWholeFile is up to where a file goes in one request; longer ones are staged.
	maxWholeFile = 128 << 10
	// maxShownRows is how many refused rows a person is shown.
	maxShownRows = 20
)

// readAccounts reads a file of accounts. Names are left to the node, which knows what a name is.
func (s *session) readAccounts(text []byte) ([]apiv1.StagedAccount, error) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	header, err := in.Read()
	name, area, state := slices.Index(header, "name"), slices.Index(header, "area"), slices.Index(header, "account state")
	if err != nil || name < 0 || area < 0 {
		return nil, s.usagef("%s: line 1: the header does not have the columns name and area", s.args[1])
	}
	var list []apiv1.StagedAccount
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, s.usagef("%s: %v", s.args[1], err)
		}
		line, _ := in.FieldPos(0)
		a := apiv1.StagedAccount{Name: record[name], Area: record[area], Line: uint32(line)} //nolint:gosec // G115: a length or a place in what is bounded far below 2^32
		if state >= 0 {
			switch record[state] {
			case "Yes":
			case "No":
				blocked := apiv1.AccountStateBlocked
				a.State = &blocked
			default:
				return nil, s.usagef("%s: line %d: account state %.40q is neither Yes nor No", s.args[1], line, record[state])
			}
		}
		list = append(list, a)
	}
}

// listedOf is a list as a sync takes it.
func listedOf(list []apiv1.StagedAccount) []apiv1.ListedAccount {
	out := make([]apiv1.ListedAccount, len(list))
	for i, a := range list {
		out[i] = apiv1.ListedAccount{Name: a.Name, Area: a.Area}
	}
	return out
}

// withRows adds to a refusal which rows of the file it is about.
func withRows(err error) error {
	var e *client.Error
	if !errors.As(err, &e) || len(e.Rows) == 0 {
		return err
	}
	told := *e
	lines := []string{e.Detail}
	for _, row := range e.Rows[:min(len(e.Rows), maxShownRows)] {
		lines = append(lines, fmt.Sprintf("line %d: %s", row.Line, row.Code))
	}
	if more := len(e.Rows) - maxShownRows; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more; -o json has them", more))
	}
	told.Detail = strings.Join(lines, "\n")
	return &told
}
