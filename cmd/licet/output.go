package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/licet/licet/client"
)

// Forms of output.
const (
	outputTable = "table"
	outputJSON  = "json"
	// outputCSV is for lists alone.
	outputCSV = "csv"
)

// page collects what a verb prints, so that it is written at once or not at all.
type page struct {
	bytes.Buffer
	// csv: it holds tables as CSV (RFC 4180), and nothing else.
	csv bool
}

// table adds a table, its columns aligned.
func (p *page) table(header []string, rows [][]string) {
	if p.csv {
		p.commas(header, rows)
		return
	}
	w := tabwriter.NewWriter(&p.Buffer, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cell = clean(cell); cell == "" {
				cell = "-"
			}
			cells[i] = cell
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // a Buffer takes everything
}

// commas adds a table as CSV. What a spreadsheet would take for a formula is quoted for it.
func (p *page) commas(header []string, rows [][]string) {
	w := csv.NewWriter(&p.Buffer)
	for _, row := range append([][]string{header}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = clean(cell); strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "+") || strings.HasPrefix(cell, "-") || strings.HasPrefix(cell, "@") {
				cells[i] = "'" + cells[i]
			}
		}
		_ = w.Write(cells) // a Buffer takes everything
	}
	w.Flush()
}

// fields adds names and values, one pair a line.
func (p *page) fields(pairs ...string) {
	if p.csv {
		return
	}
	w := tabwriter.NewWriter(&p.Buffer, 0, 8, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", pairs[i], clean(pairs[i+1]))
		}
	}
	_ = w.Flush()
}

func (p *page) line(format string, args ...any) {
	if !p.csv {
		fmt.Fprintf(p, format+"\n", args...)
	}
}

// write prints to the output.
func (s *session) write(text []byte) error {
	if _, err := s.Out.Write(text); err != nil {
		return failf(exitInternal, "", "the output could not be written: %v", err)
	}
	return nil
}

func (s *session) json() bool { return s.output() == outputJSON }

// printAnswer prints the API's own JSON, or what table makes of the value.
func printAnswer[T any](s *session, a *client.Answer[T], table func(*page, T)) error {
	if s.json() {
		if a.Raw == nil {
			return nil
		}
		return s.write(append(bytes.TrimSpace(a.Raw), '\n'))
	}
	p := page{csv: s.output() == outputCSV}
	table(&p, a.Value)
	if err := s.write(p.Bytes()); err != nil {
		return err
	}
	switch {
	case a.DryRun:
		s.note("this was a dry run; nothing was changed")
	case a.Repeated:
		s.note("this is the recorded outcome of an earlier attempt or request with request id %s", a.RequestID)
	case a.Age > 0:
		s.note("this is node %s's own view, up to %s old", a.Node, a.Age)
	}
	return nil
}

// printOwn prints what no API has.
func (s *session) printOwn(value any, table func(*page)) error {
	var p page
	if !s.json() {
		table(&p)
		return s.write(p.Bytes())
	}
	e := json.NewEncoder(&p)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	return s.write(p.Bytes())
}

// note tells a person something beside the output.
func (s *session) note(format string, args ...any) {
	if !s.json() {
		fmt.Fprintln(s.Err, "note: "+clean(fmt.Sprintf(format, args...)))
	}
}

func when(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// wantsJSON guesses the form of errors, also where the arguments are wrong.
func wantsJSON(args []string, streams Streams) bool {
	for i, word := range args {
		switch {
		case word == "--":
			return streams.Getenv("LICET_OUTPUT") == outputJSON
		case word == "-o=json", word == "--output=json":
			return true
		case (word == "-o" || word == "--output") && i+1 < len(args):
			return args[i+1] == outputJSON
		case strings.HasPrefix(word, "-o="), strings.HasPrefix(word, "--output="):
			return false
		}
	}
	return streams.Getenv("LICET_OUTPUT") == outputJSON
}
