package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// exportFake is a node that has rows 1 to 6 but for the third, gives two on a page, and has come to row 7 meanwhile.
func exportFake(t *testing.T, whole bool) *fake {
	t.Helper()
	var rows []apiv1.AuditRow
	var chain [32]byte
	for seq := uint64(1); seq <= 7; seq++ {
		p := &fsmpb.WriteRecord{Seq: seq, Index: seq, WallMs: int64(seq) * 86_400_000, Kind: 7, Fingerprint: make([]byte, 32)}
		chain = fsm.NextChain(chain, p)
		p.Chain = chain[:]
		row, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		r := apiv1.AuditRow{Seq: seq, Chain: hex.EncodeToString(chain[:])}
		if whole {
			r.Row = row
		}
		rows = append(rows, r)
	}
	rows = slices.Delete(rows, 2, 3)
	f := newFake(t, 200, "")
	asked := 0
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var seq, after uint64
		if _, err := fmt.Sscanf(r.URL.Path, "/v1/audit/%d", &seq); err == nil {
			i := slices.IndexFunc(rows, func(r apiv1.AuditRow) bool { return r.Seq == seq })
			_ = json.NewEncoder(w).Encode(rows[i])
			return
		}
		_, _ = fmt.Sscan(r.URL.Query().Get("after"), &after)
		asked++
		page := apiv1.AuditList{Last: 6, Rows: []apiv1.AuditRow{}}
		if asked > 1 {
			page.Last = 7
		}
		for _, row := range rows {
			if row.Seq > after && row.Seq <= page.Last && len(page.Rows) < 2 {
				page.Rows, page.Next = append(page.Rows, row), row.Seq
			}
		}
		if page.Next == page.Last {
			page.Next = 0
		}
		_ = json.NewEncoder(w).Encode(page)
	})
	return f
}

// The rows come page by page, up to the one that was the newest at first; what nobody has is a gap.
func TestAuditExport(t *testing.T) {
	for _, c := range []struct{ args, first, seqs string }{
		{"", `{"licet_audit":1,"node":"","first":1,"before":"0000`, "1 2 4 5 6"},
		{"--after 4", `{"licet_audit":1,"node":"","first":5,`, "5 6"},
		{"--after 2", `{"gap":{"from":3,"to":3}}`, "4 5 6"},
		{"--from 1970-01-03 --to 1970-01-06", `{"licet_audit":1,"node":"","first":2,`, "2 4"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		got := run(t, at(exportFake(t, true).Server), append([]string{"audit", "export", "--out", out}, strings.Fields(c.args)...)...)
		text, err := os.ReadFile(out)
		if got.code != exitOK || err != nil || !strings.HasPrefix(string(text), c.first) {
			t.Fatalf("%s: %+v %v\n%s", c.args, got, err, text)
		}
		var seqs []string
		for _, line := range strings.Split(string(text), "\n") {
			if seq, ok := strings.CutPrefix(line, `{"seq":`); ok {
				seqs = append(seqs, seq[:strings.Index(seq, ",")])
			}
		}
		if strings.Join(seqs, " ") != c.seqs {
			t.Errorf("%s: rows %v", c.args, seqs)
		}
		want := exitOK
		if strings.Contains(string(text), `"gap"`) {
			want = exitNotFound
		}
		if verified := run(t, nil, "audit", "verify", "--file", out); verified.code != want {
			t.Errorf("%s: %+v", c.args, verified)
		}
	}
	// A node that gives no whole rows; what was in the file stays there.
	out := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, at(exportFake(t, false).Server), "audit", "export", "--out", out)
	if text, err := os.ReadFile(out); got.code != exitInternal || !strings.Contains(got.err, "does not give whole rows") || err != nil || string(text) != "before" {
		t.Errorf("%+v %q %v", got, text, err)
	}
}
