package trail_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/trail"
)

// copied is what a file of copied rows holds: those of a directory that come after one and not after another.
func copied(t testing.TB, dir string, after, last uint64, header bool) []byte {
	t.Helper()
	var text []byte
	c := trail.Copy{Node: "lyon"}
	err := trail.Walk(dir, after, func(w *fsm.Write, before *trail.Hash) bool {
		if w.Seq > last {
			return false
		}
		if header && text == nil {
			text = c.Header(text, w.Seq, *before)
		}
		var err error
		if text, err = c.Row(text, w, before); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func save(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// trailOf is a directory with the rows 1 to 30, in several files.
func trailOf(t testing.TB) string {
	t.Helper()
	o := options(t.TempDir())
	write(t, o, newHistory(t).writes(29))
	return o.Dir
}

// A copy proves itself as the files do that it was made of.
func TestCopyIsWhole(t *testing.T) {
	dir := trailOf(t)
	for _, header := range []bool{true, false} {
		r, err := trail.Check(save(t, copied(t, dir, 7, 24, header)))
		if err != nil || len(r.Damage) > 0 || r.First != 8 || r.Last != 24 || r.Rows != 17 {
			t.Errorf("header %v: %+v %v", header, r, err)
		}
	}
	// Its parts, and the directory, are of one history.
	parts := []string{dir, save(t, copied(t, dir, 0, 10, true)), save(t, copied(t, dir, 10, 20, false)), save(t, copied(t, dir, 17, 30, true))}
	if s, err := trail.Verify(parts, nil); err != nil || s.Damaged() || s.Incomplete() || s.First != 1 || s.Last != 30 {
		t.Errorf("%+v %v", s, err)
	}
	if s, err := trail.Verify(parts[1:3], nil); err != nil || s.Damaged() || s.Incomplete() || s.First != 1 || s.Last != 20 {
		t.Errorf("%+v %v", s, err)
	}
	s, err := trail.Verify([]string{parts[1], save(t, copied(t, dir, 14, 30, true))}, nil)
	if err != nil || s.Damaged() || len(s.Gaps) != 1 || s.Gaps[0].From != 11 || s.Gaps[0].To != 14 {
		t.Errorf("rows between two parts: %+v %v", s, err)
	}
}

func TestDamageOfCopies(t *testing.T) {
	dir := trailOf(t)
	other := newHistory(t)
	other.now += 5
	elsewhere := options(t.TempDir())
	write(t, elsewhere, other.writes(29))
	swapped := strings.SplitAfter(string(copied(t, elsewhere.Dir, 12, 13, false)), "\n")[0]
	for _, tt := range []struct {
		name   string
		change func([]string) []string
		want   string
	}{
		{"the code", func(l []string) []string {
			l[3] = strings.Replace(l[3], "instance_not_found", "ok", 1)
			return l
		}, "row 13 is altered"},
		{"a number behind it", func(l []string) []string {
			l[3] = strings.Replace(l[3], `"facts":{"serial":12}`, `"facts":{"serial":13}`, 1)
			return l
		}, "row 13 is altered"},
		{"what was asked", func(l []string) []string {
			l[3] = strings.Replace(l[3], `"subject":{"serial":"12"}`, `"subject":{"serial":"13"}`, 1)
			return l
		}, "row 13 is altered"},
		{"the chain", func(l []string) []string {
			l[3] = strings.Replace(l[3], `"chain":"`, `"chain":"00`, 1)
			return l
		}, "row 13 is altered"},
		{"a field is gone", func(l []string) []string {
			at := strings.Index(l[3], `"subject"`)
			l[3] = l[3][:at] + l[3][strings.Index(l[3], `"chain"`):]
			return l
		}, "row 13 is altered"},
		{"another history's row", func(l []string) []string { l[3] = swapped; return l }, "row 13 is altered: it does not follow"},
		{"the first row", func(l []string) []string {
			l[1] = strings.SplitAfter(string(copied(t, elsewhere.Dir, 10, 11, false)), "\n")[0]
			return l
		}, "row 11 is altered: it does not follow"},
		{"a row is missing", func(l []string) []string { return slices.Delete(l, 3, 4) }, "row 13 is missing"},
		{"reordered", func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, "row 13 is out of order"},
		{"twice", func(l []string) []string { return slices.Insert(l, 4, l[3]) }, "row 13 stands there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := save(t, copied(t, dir, 10, 30, true))
			before, _ := os.ReadFile(path)
			edit(t, path, tt.change)
			if after, _ := os.ReadFile(path); bytes.Equal(before, after) {
				t.Fatal("nothing was changed")
			}
			r, err := trail.Check(path)
			if err != nil || len(r.Damage) == 0 || !strings.Contains(r.Damage[0].Text, tt.want) {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	// Parts that do not belong together.
	s, err := trail.Verify([]string{save(t, copied(t, dir, 0, 10, true)), save(t, copied(t, elsewhere.Dir, 10, 20, true))}, nil)
	if err != nil || len(s.Conflicts) != 1 || !strings.Contains(s.Conflicts[0].Text, "does not follow from row 10") {
		t.Errorf("%+v %v", s, err)
	}
	// A copy that ends in the middle of a row.
	text := copied(t, dir, 10, 30, true)
	if r, err := trail.Check(save(t, text[:len(text)-9])); err != nil || len(r.Damage) > 0 || r.Unfinished != 30 || r.Last != 29 {
		t.Errorf("%+v %v", r, err)
	}
}

// Rows that were not there when the copy was made are a gap, which another copy fills.
func TestGapOfACopy(t *testing.T) {
	dir := trailOf(t)
	var text []byte
	c := trail.Copy{Node: "lyon", Next: 5}
	err := trail.Walk(dir, 9, func(w *fsm.Write, before *trail.Hash) (more bool) {
		var err error
		if text, err = c.Row(text, w, before); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{text, bytes.Replace(text, text[bytes.Index(text, []byte(`,"after"`)):bytes.Index(text, []byte("}}\n"))], nil, 1)} {
		path := save(t, text)
		s, err := trail.Verify([]string{path}, nil)
		if err != nil || s.Damaged() || len(s.Gaps) != 1 || s.Gaps[0].From != 5 || s.Gaps[0].To != 9 || s.Last != 30 {
			t.Errorf("%+v %v", s, err)
		}
		if s, err = trail.Verify([]string{path, dir}, nil); err != nil || s.Damaged() || s.Incomplete() {
			t.Errorf("%+v %v", s, err)
		}
	}
}

// Checkpoints certify a copy, too; one that is newer than the copy says nothing against it.
func TestCheckpointsOfACopy(t *testing.T) {
	o := options(t.TempDir())
	h := newHistory(t)
	v := h.writes(20)
	early := checkpoint(t, v, "lyon", clusterKey)
	write(t, o, h.writes(9))
	late := checkpoint(t, h.writes(3), "lyon", clusterKey)
	path := save(t, copied(t, o.Dir, 0, 30, true))
	s, err := trail.Verify([]string{path}, anchors(early, late))
	if err != nil || s.Damaged() || s.Reports[0].Signed == nil || s.Reports[0].Signed.Row != 21 {
		t.Errorf("%+v %v", s.Reports[0], err)
	}
	other := newHistory(t)
	other.now += 5
	elsewhere := options(t.TempDir())
	write(t, elsewhere, other.writes(29))
	if s, err = trail.Verify([]string{save(t, copied(t, elsewhere.Dir, 0, 30, true))}, anchors(early)); err != nil || !s.Damaged() {
		t.Errorf("%+v %v", s.Reports[0], err)
	}
}

// Whatever stands in a row, it is one line, and holds no handle where it can be read.
func TestCopyIsOneLineARow(t *testing.T) {
	h := newHistory(t)
	holder := []byte("0123456789abcdef")
	hostile := "a\r\n<13>1 - - - - - - {\"seq\":1}\x00\u2028\x1b[2J\"\\"
	h.entry(0,
		&fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: 7, Holder: holder}}},
		&fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: &fsmpb.Revoke{Lease: 7, Reason: hostile}}})
	o := options(t.TempDir())
	write(t, o, h.state.View())
	text := copied(t, o.Dir, 1, 3, false)
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%d lines: %q", len(lines), text)
	}
	for _, l := range lines {
		var row map[string]json.RawMessage
		if err := json.Unmarshal(l, &row); err != nil {
			t.Fatal(err)
		}
		if bytes.IndexFunc(l, func(r rune) bool { return r < ' ' }) >= 0 || bytes.Contains(l, []byte("\u2028")) {
			t.Errorf("control characters: %q", l)
		}
		if s := string(row["subject"]); !strings.Contains(s, `"lease":"7"`) || strings.Contains(s, "holder") {
			t.Errorf("subject: %s", s)
		}
		if bytes.Contains(l, fmt.Appendf(nil, "%x", holder)) || bytes.Contains(l, holder) {
			t.Errorf("a handle: %s", l)
		}
	}
	if r, err := trail.Check(save(t, text)); err != nil || len(r.Damage) > 0 || r.Rows != 2 {
		t.Errorf("%+v %v", r, err)
	}
}

// longBulk is a command whose outcome is long.
func longBulk() *fsmpb.Body {
	item := &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: &fsmpb.Renew{Lease: 7, Holder: []byte("0123456789abcdef")}}}
	return &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: slices.Repeat([]*fsmpb.Body{item}, 1000)}}}
}
