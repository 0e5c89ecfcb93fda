package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Epoch is when scripts begin.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// StateUsage is what the word state takes.
const StateUsage = "state contract ID in-force|ended; state signer-of ID in-force|revoked; state vendor-key NAME in-force|revoked|unknown; " +
	"state instance NAME works|ended|removed; state pool NAME active|inactive|ended|gone"

// Need wants n arguments at least.
func Need(ts *testscript.TestScript, args []string, n int, usage string) {
	if len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

// Pairs reads name=value arguments.
func Pairs(ts *testscript.TestScript, args []string) map[string]string {
	m := map[string]string{}
	for _, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			ts.Fatalf("%q is not name=value", a)
		}
		m[name] = value
	}
	return m
}

// Number reads a whole number.
func Number(ts *testscript.TestScript, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	ts.Check(err)
	return n
}

// Quantities reads AREA=N arguments.
func Quantities(ts *testscript.TestScript, args []string) map[string]uint64 {
	m := map[string]uint64{}
	for name, value := range Pairs(ts, args) {
		m[name] = Number(ts, value)
	}
	return m
}

// Moment reads 2026-01-01 or 2026-01-01T00:00:00Z.
func Moment(ts *testscript.TestScript, text string) time.Time {
	if !strings.Contains(text, "T") {
		text += "T00:00:00Z"
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	ts.Check(err)
	return t.UTC()
}

// Seconds reads a bare number of seconds, or a duration.
func Seconds(ts *testscript.TestScript, text string) uint32 {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return uint32(n)
	}
	d, err := time.ParseDuration(text)
	ts.Check(err)
	return uint32(d / time.Second)
}

// Expect holds what is so against what should be.
func Expect[T comparable](ts *testscript.TestScript, what string, got, want T) {
	if got != want {
		ts.Fatalf("%s: %v instead of %v", what, got, want)
	}
}

// YesNo is how scripts write a truth.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Names spells out u1..u12, which stands for twelve names.
func Names(ts *testscript.TestScript, args []string) (names []string) {
	for _, name := range args {
		first, last, isRange := strings.Cut(name, "..")
		if !isRange {
			names = append(names, name)
			continue
		}
		prefix := strings.TrimRight(first, "0123456789")
		for n := Number(ts, first[len(prefix):]); n <= Number(ts, strings.TrimPrefix(last, prefix)); n++ {
			names = append(names, fmt.Sprint(prefix, n))
		}
	}
	return names
}

// Repeated spells out word*3, which stands for three in a row.
func Repeated(args []string) (words []string) {
	for _, word := range args {
		word, times, _ := strings.Cut(word, "*")
		n, _ := strconv.Atoi(times)
		for range max(n, 1) {
			words = append(words, word)
		}
	}
	return words
}

// Row is a line of a list of accounts.
type Row struct {
	Name, Area string
	Blocked    bool
	// Line is where it stands in the file; the header is line 1.
	Line uint32
}

// Rows reads a file of the script: lines of name,area,Yes or No after a header.
func Rows(ts *testscript.TestScript, file string) (list []Row) {
	for n, line := range strings.Split(strings.TrimSpace(ts.ReadFile(file)), "\n") {
		fields := strings.Split(line, ",")
		Need(ts, fields, 2, "name,area[,Yes|No]")
		if n > 0 {
			list = append(list, Row{Name: fields[0], Area: fields[1], Blocked: len(fields) > 2 && fields[2] == "No", Line: uint32(n + 1)})
		}
	}
	return list
}
