package main

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"
)

// Every list can be had as CSV: one table, with as many cells in each row, and nothing beside it.
func TestListsAsCSV(t *testing.T) {
	lists := 0
	for _, g := range slices.Concat(goldens, accountGoldens) {
		words := strings.Fields(g.args)
		if !slices.Contains(words, "list") && g.name != "cluster-members" {
			continue
		}
		lists++
		f := newFake(t, 200, g.answer)
		got := run(t, at(f.Server), append(words, "-o", "csv")...)
		rows, err := csv.NewReader(strings.NewReader(got.out)).ReadAll()
		if got.code != exitOK || err != nil || len(rows) == 0 || len(rows[0]) < 3 {
			t.Errorf("%s: %v, %+v", g.args, err, got)
		}
	}
	if lists < 8 {
		t.Errorf("%d lists were tried", lists)
	}
	hostile := strings.Replace(leaseAnswer, "ann@acme.example", `=1+1,\"x\"`, 1)
	f := newFake(t, 200, `{"leases":[`+hostile+`]}`)
	want := "LEASE,POOL,PRODUCT,USER,CLIENT,COUNT,PROJECT,STATE,SINCE,ENDS\n" +
		`42,design,cad,"'=1+1,""x""",ws-17,1,,in use,2026-09-01T08:00:00Z,2026-09-01T08:05:00Z` + "\n"
	if got := run(t, at(f.Server), "lease", "list", "-o", "csv"); got.out != want {
		t.Errorf("%q, want %q", got.out, want)
	}
	f = newFake(t, 200, leaseAnswer)
	if got := run(t, at(f.Server), "lease", "show", "42", "-o", "csv"); got.code != exitUsage || !strings.Contains(got.err, "csv is for lists") || len(f.asked) > 0 {
		t.Errorf("%+v", got)
	}
	if got := run(t, append(at(f.Server), "LICET_OUTPUT=csv"), "lease", "show", "42"); got.code != exitOK || !strings.HasPrefix(got.out, "lease     42") {
		t.Errorf("%+v", got)
	}
}
