package trail_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/trail"
)

// history is a state that writes are made in.
type history struct {
	t     testing.TB
	state *fsm.State
	index uint64
	ids   int
	now   int64
}

func newHistory(t testing.TB) *history {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	h := &history{t: t, state: fsm.New(), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC).UnixMilli()}
	h.entry(0, &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{ClusterId: "c", VendorKeys: [][]byte{key}, SigningKey: key}}})
	return h
}

// entry applies one entry, in which each body is a write, after some time.
func (h *history) entry(after time.Duration, bodies ...*fsmpb.Body) {
	h.t.Helper()
	h.now += after.Milliseconds()
	e := &fsmpb.Entry{Term: 1, WallMs: h.now}
	for _, body := range bodies {
		h.ids++
		c, err := fsm.NewCommand(fmt.Sprintf("actor-%d", h.ids%3), fmt.Sprint("id-", h.ids), body)
		if err != nil {
			h.t.Fatal(err)
		}
		e.Commands = append(e.Commands, c)
	}
	data, err := fsm.EncodeEntry(e)
	if err != nil {
		h.t.Fatal(err)
	}
	h.index++
	if _, err := h.state.Apply(h.index, 1, data); err != nil {
		h.t.Fatal(err)
	}
}

// writes makes n refused writes, and returns the view after them.
func (h *history) writes(n int) *fsm.View {
	h.t.Helper()
	for i := range n {
		h.entry(time.Second, &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: uint64(i + 1)}}})
	}
	return h.state.View()
}

// forget has the state forget all but the newest rows.
func (h *history) forget() {
	h.t.Helper()
	for h.state.View().Writes() > 1 {
		h.entry(2*time.Hour, expire())
	}
}

func expire() *fsmpb.Body { return &fsmpb.Body{Kind: &fsmpb.Body_Expire{Expire: &fsmpb.Expire{}}} }

func options(dir string) trail.Options {
	return trail.Options{Dir: dir, Node: "lyon", FileBytes: 4 << 10, TotalBytes: 1 << 20}
}

func open(t testing.TB, o trail.Options) *trail.Writer {
	t.Helper()
	w, repairs, err := trail.Open(o)
	if err != nil || len(repairs) > 0 {
		t.Fatal(err, repairs)
	}
	return w
}

// write has all rows of a view written, in a run of the node of its own.
func write(t testing.TB, o trail.Options, v *fsm.View) *trail.Gap {
	t.Helper()
	w := open(t, o)
	gap, err := w.Append(v)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return gap
}

// names lists what is in a directory.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// sound checks a directory in which nothing is to be found.
func sound(t testing.TB, dir string, first, last uint64) *trail.Report {
	t.Helper()
	r, err := trail.Check(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) > 0 || len(r.Gaps) > 0 || r.Unfinished != 0 || r.First != first || r.Last != last || r.Rows != last-first+1 {
		t.Fatalf("%+v; want rows %d to %d without fault", r, first, last)
	}
	return r
}

func TestFilesFollowEachOther(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	v := h.writes(99)
	write(t, o, v)
	last, head, _ := v.Chain()
	r := sound(t, o.Dir, 1, last)
	if r.Chain != fmt.Sprintf("%x", head) {
		t.Errorf("the files end with chain %s, the state with %x", r.Chain, head)
	}
	list := names(t, o.Dir)
	if len(list) < 5 || list[0] != "00000000000000000001.jsonl" {
		t.Errorf("files %v", list)
	}
	for _, name := range list {
		info, err := os.Stat(filepath.Join(o.Dir, name))
		if err != nil || info.Size() > o.FileBytes || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	for _, after := range []uint64{0, 1, 17, 50, 98, 99, 100} {
		rows, err := trail.Rows(o.Dir, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		want := v.WritesAfter(after, 10)
		if !slices.EqualFunc(rows, want, func(a, b *fsm.Write) bool { return a.Seq == b.Seq && a.Chain == b.Chain }) {
			t.Errorf("after %d there are %d rows instead of %d", after, len(rows), len(want))
		}
	}
}

// Long files are searched by halves.
func TestRowsOfALongFile(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	o.FileBytes = 1 << 30
	v := h.writes(1999)
	write(t, o, v)
	if list := names(t, o.Dir); len(list) != 1 {
		t.Fatalf("files %v", list)
	}
	for after := uint64(0); after < 2000; after += 37 {
		rows, err := trail.Rows(o.Dir, after, 1)
		if err != nil || len(rows) != 1 || rows[0].Seq != after+1 {
			t.Fatalf("after %d: %v %v", after, rows, err)
		}
	}
}

// A node that starts again goes on, and writes nothing twice, whatever it replays.
func TestReplayWritesNothingTwice(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	early := h.writes(10)
	write(t, o, h.writes(10))
	write(t, o, early)
	w := open(t, o)
	if w.Last() != 21 {
		t.Errorf("it goes on after row %d", w.Last())
	}
	for _, v := range []*fsm.View{fsm.New().View(), early, h.state.View(), h.writes(5), early, h.writes(5)} {
		if _, err := w.Append(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, o.Dir, 1, 31)
}

func TestTotalIsBounded(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	o.TotalBytes = 4 * o.FileBytes
	w := open(t, o)
	for range 40 {
		if _, err := w.Append(h.writes(10)); err != nil {
			t.Fatal(err)
		}
		var total int64
		for _, name := range names(t, o.Dir) {
			info, err := os.Stat(filepath.Join(o.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > o.TotalBytes {
			t.Fatalf("the files take %d bytes of %d", total, o.TotalBytes)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := trail.Check(o.Dir)
	if err != nil || r.First < 100 {
		t.Fatalf("%+v %v", r, err)
	}
	sound(t, o.Dir, r.First, 401)
}

// What the last write before a crash left is cut off, and written again.
func TestTornTail(t *testing.T) {
	h := newHistory(t)
	v := h.writes(20)
	whole := options(t.TempDir())
	whole.FileBytes = 1 << 20
	write(t, whole, v)
	text, err := os.ReadFile(filepath.Join(whole.Dir, names(t, whole.Dir)[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range []int{1, 2, 100, 300, 700, len(text) - 10, len(text)} {
		for _, filler := range []string{"", strings.Repeat("\x00", 4096)} {
			o := whole
			o.Dir = t.TempDir()
			path := filepath.Join(o.Dir, "00000000000000000001.jsonl")
			if err := os.WriteFile(path, append(slices.Clone(text[:len(text)-tail]), filler...), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := trail.Check(o.Dir); err != nil || filler == "" && tail > 1 && tail < 300 && (r.Unfinished != 21 || len(r.Damage) > 0) {
				t.Errorf("before, %d bytes cut: %+v %v", tail, r, err)
			}
			w, repairs, err := trail.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(repairs) != 1 && tail+len(filler) != len(text) || len(repairs) == 1 && repairs[0].Aside != "" {
				t.Errorf("%d bytes cut: %+v", tail, repairs)
			}
			if _, err := w.Append(v); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			sound(t, o.Dir, 1, 21)
		}
	}
}

// Damage in front of whole rows is not what a crash leaves: a copy is kept before it is repaired.
func TestDamageIsKeptAside(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	o.FileBytes = 1 << 20
	v := h.writes(20)
	write(t, o, v)
	path := filepath.Join(o.Dir, names(t, o.Dir)[0])
	edit(t, path, func(lines []string) []string {
		lines[10] = strings.Replace(lines[10], "remove_instance", "create_instance", 1)
		return lines
	})
	w, repairs, err := trail.Open(o)
	if err != nil || len(repairs) != 1 || repairs[0].Aside != path+".damaged" || !strings.Contains(repairs[0].Reason.Error(), "row 10") {
		t.Fatalf("%+v %v", repairs, err)
	}
	if w.Last() != 9 {
		t.Errorf("it goes on after row %d", w.Last())
	}
	if _, err := w.Append(v); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if r := sound(t, o.Dir, 1, 21); len(r.Aside) != 1 {
		t.Errorf("%+v", r)
	}
}

// Rows that neither state nor files have are told as a gap, not as damage.
func TestGap(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	write(t, o, h.writes(5))
	h.writes(10)
	h.forget()
	v := h.state.View()
	gap := write(t, o, v)
	oldest := v.OldestWrite()
	if gap == nil || gap.From != 7 || gap.To != oldest-1 || gap.String() != fmt.Sprintf("rows 7 to %d", oldest-1) {
		t.Fatalf("gap %+v", gap)
	}
	if gap := write(t, o, h.writes(5)); gap != nil {
		t.Errorf("a second gap %+v", gap)
	}
	r, err := trail.Check(o.Dir)
	if err != nil || len(r.Damage) > 0 || len(r.Gaps) != 1 || r.Gaps[0].From != 7 || r.Gaps[0].To != oldest-1 {
		t.Fatalf("%+v %v", r, err)
	}
	// A node that joins by a snapshot has none of the rows before.
	fresh := options(t.TempDir())
	if gap := write(t, fresh, v); gap == nil || gap.From != 1 {
		t.Errorf("gap %+v", gap)
	}
	if list := names(t, fresh.Dir); list[0] != "00000000000000000001.jsonl" {
		t.Errorf("files %v", list)
	}
}

// Files of another history are not gone on with.
func TestForeignFiles(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	write(t, o, h.writes(5))
	other := newHistory(t)
	other.entry(time.Minute, expire())
	w := open(t, o)
	defer w.Close()
	if _, err := w.Append(other.writes(9)); err == nil || !strings.Contains(err.Error(), "row 7 of the state does not follow") {
		t.Errorf("%v", err)
	}
}

func TestUnwritableDirectory(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	w := open(t, o)
	if _, err := w.Append(h.writes(1)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(h.writes(100)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// Rows are in the files once they are appended: readers don't wait for the disk.
func TestAppendedRowsAreReadable(t *testing.T) {
	h, o := newHistory(t), options(t.TempDir())
	w := open(t, o)
	v := h.writes(3)
	if _, err := w.Append(v); err != nil {
		t.Fatal(err)
	}
	last, _, _ := v.Chain()
	if rows, err := trail.Rows(o.Dir, 0, 100); err != nil || uint64(len(rows)) != last {
		t.Errorf("%d rows of %d, %v", len(rows), last, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
