package api

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// FuzzReadAccounts: of a file of any bytes there are accounts within their bounds, which are the same when they are written and read
// again, or a problem that says what is wrong and is bounded.
func FuzzReadAccounts(f *testing.F) {
	for _, seed := range []string{
		"", "name,area\n", "name,area\nann,primary\n", "\ufeffname,area,account state\r\nann@acme.example,primary,Yes\r\n\"Zoë, 2\",secondary,No\r\n",
		"area,name\nprimary,ann\n", "name,area\nann\n", "name,area\n\"ann,primary\n", "name,area\n=cmd(),primary\n", "name,area\n\"a\nb\",primary\n", "name,name\na,b\n",
		"name,area\n\xff,primary\n", "name;area\nann;primary\n", "name,area,account state\nann,primary,maybe\nbob,,No\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := readAccounts(text)
		if err != nil {
			if p := problemOf(err); list != nil || p.code != apiv1.CodeBadRequest || p.detail == "" || len(p.rows) > maxRows {
				t.Fatalf("%d accounts, problem %s with %d rows: %s", len(list), p.code, len(p.rows), p.detail)
			}
			return
		}
		if len(list) == 0 || len(list) > fsm.MaxListed {
			t.Fatalf("%d accounts", len(list))
		}
		var again bytes.Buffer
		w := csv.NewWriter(&again)
		_ = w.Write(csvColumns) // it is memory
		line := uint32(1)
		for _, a := range list {
			if fsm.CheckAccountName("name", a.Name) != nil || signed.CheckName("area", a.Area) != nil || a.Line <= line || strings.ContainsAny(a.Name[:1], "=+-@\t\r") {
				t.Fatalf("%+v after line %d", a, line)
			}
			line = a.Line
			_ = w.Write([]string{a.Name, a.Area, map[bool]string{false: "Yes", true: "No"}[a.Blocked]})
		}
		w.Flush()
		second, err := readAccounts(again.Bytes())
		same := func(a, b *fsmpb.ListedAccount) bool {
			c := proto.Clone(b).(*fsmpb.ListedAccount)
			c.Line = a.Line
			return proto.Equal(a, c)
		}
		if err != nil || !slices.EqualFunc(list, second, same) {
			t.Fatalf("%v; %v became %v", err, list, second)
		}
	})
}
