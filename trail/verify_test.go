package trail_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/licet/licet/trail"
)

// edit changes the lines of a file.
func edit(t testing.TB, path string, change func([]string) []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	if err := os.WriteFile(path, []byte(strings.Join(change(lines[:len(lines)-1]), "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// swapRow gives row n of a file what another history has under that number.
func swapRow(t testing.TB, other string) func([]string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(other, "00000000000000000001.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return func(lines []string) []string {
		lines[5] = strings.SplitAfter(string(text), "\n")[5]
		return lines
	}
}

// Whatever is done to the files, the row is named.
func TestDamageIsNamed(t *testing.T) {
	other := options(t.TempDir())
	other.FileBytes = 1 << 20
	elsewhere := newHistory(t)
	elsewhere.now += 5
	write(t, other, elsewhere.writes(30))
	for _, tt := range []struct {
		name string
		// file is which one is changed; line 0 is the header, so that line n of file 0 is row n.
		file   int
		change func([]string) []string
		want   []string
	}{
		{"readable part altered", 0, func(l []string) []string {
			l[3] = strings.Replace(l[3], `"outcome":"`, `"outcome":"no_`, 1)
			return l
		}, []string{"row 3 is altered: what is readable"}},
		{"row of another history", 0, swapRow(t, other.Dir), []string{"row 5 is altered: it does not follow from row 4", "row 6 is altered: it does not follow from row 5"}},
		{"not even JSON", 0, func(l []string) []string { l[3] = `{"seq":3,"time":` + "\n"; return l }, []string{"row 3 is altered: "}},
		{"row of noise", 0, func(l []string) []string { l[3] = "noise\n"; return l }, []string{"the line can't be read", "row 3 is missing"}},
		{"row missing", 0, func(l []string) []string { return slices.Delete(l, 3, 4) }, []string{"row 3 is missing"}},
		{"rows missing", 0, func(l []string) []string { return slices.Delete(l, 3, 5) }, []string{"rows 3 to 4 are missing"}},
		{"rows reordered", 0, func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, []string{"row 3 is out of order: it stands behind row 4"}},
		{"row twice", 0, func(l []string) []string { return slices.Insert(l, 4, l[3]) }, []string{"row 3 stands there twice"}},
		{"row truncated", 0, func(l []string) []string { l[3] = l[3][:40] + "\n"; return l }, []string{"row 3 is altered: "}},
		{"file truncated", 0, func(l []string) []string { return l[:4] }, []string{" are missing"}},
		{"file emptied", 1, func([]string) []string { return nil }, []string{"the file is empty", "are missing"}},
		{"header altered", 1, func(l []string) []string { l[0] = strings.Replace(l[0], "lyon", "l", 1) + l[0]; return l }, []string{"header"}},
		{"header's chain altered", 1, func(l []string) []string {
			at := strings.Index(l[0], `"before":"`) + 10
			l[0] = l[0][:at] + strings.Repeat("ab", 32) + l[0][at+64:]
			return l
		}, []string{"does not go on where the one before ends"}},
		{"header gone", 1, func(l []string) []string { return l[1:] }, []string{"the file has no header"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t.TempDir())
			write(t, o, newHistory(t).writes(30))
			path := filepath.Join(o.Dir, names(t, o.Dir)[tt.file])
			edit(t, path, tt.change)
			r, err := trail.Check(o.Dir)
			if err != nil || len(r.Damage) != len(tt.want) {
				t.Fatalf("%+v %v", r, err)
			}
			for i, want := range tt.want {
				if !strings.Contains(r.Damage[i].String(), want) {
					t.Errorf("%q does not say %q", r.Damage[i], want)
				}
			}
		})
	}
}

func TestFilesTakenAway(t *testing.T) {
	for file, want := range map[int]string{0: "rows 1 to ", 1: "are missing"} {
		o := options(t.TempDir())
		write(t, o, newHistory(t).writes(30))
		if err := os.Remove(filepath.Join(o.Dir, names(t, o.Dir)[file])); err != nil {
			t.Fatal(err)
		}
		r, err := trail.Check(o.Dir)
		if err != nil || len(r.Damage) != 1 || !strings.Contains(r.Damage[0].Text, want) {
			t.Errorf("without file %d: %+v %v", file, r, err)
		}
	}
}

// The node's own gap is none where another node has the rows.
func TestGapsAreFilled(t *testing.T) {
	h := newHistory(t)
	early := h.writes(20)
	full, late := options(t.TempDir()), options(t.TempDir())
	write(t, full, early)
	h.forget()
	v := h.state.View()
	write(t, late, v)
	alone, err := trail.Verify([]string{late.Dir}, nil)
	if err != nil || alone.Damaged() || !alone.Incomplete() || len(alone.Gaps) != 1 || alone.Gaps[0].From != 1 || alone.Gaps[0].To != v.OldestWrite()-1 {
		t.Fatalf("%+v %v", alone, err)
	}
	both, err := trail.Verify([]string{late.Dir, full.Dir}, nil)
	if err != nil || both.Damaged() || len(both.Gaps) != 1 || both.Gaps[0].From != 22 {
		t.Fatalf("%+v %v", both, err)
	}
	// And when the other one has them all, nothing is left.
	h = newHistory(t)
	full, late = options(t.TempDir()), options(t.TempDir())
	w := open(t, full)
	for range 5 {
		if _, err := w.Append(h.writes(7)); err != nil {
			t.Fatal(err)
		}
	}
	h.entry(0)
	for h.state.View().Writes() > 1 {
		h.entry(7200e9, expire())
		if _, err := w.Append(h.state.View()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, late, h.state.View())
	both, err = trail.Verify([]string{full.Dir, late.Dir}, nil)
	if err != nil || both.Damaged() || both.Incomplete() || both.First != 1 {
		t.Fatalf("%+v %v", both, err)
	}
}

// Two directories that are each sound and yet not of one history.
func TestConflict(t *testing.T) {
	one, other := options(t.TempDir()), options(t.TempDir())
	h := newHistory(t)
	write(t, one, h.writes(10))
	write(t, other, h.state.View())
	write(t, one, h.writes(10))
	h = newHistory(t)
	h.writes(10)
	h.entry(5, expire())
	write(t, other, h.writes(12))
	s, err := trail.Verify([]string{one.Dir, other.Dir}, nil)
	if err != nil || !s.Damaged() || len(s.Conflicts) != 1 || s.Conflicts[0].Row != 12 {
		t.Errorf("%+v %v", s, err)
	}
}
