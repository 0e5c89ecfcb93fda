package trail_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/trail"
)

var (
	clusterKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	strangerKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
)

// checkpoint certifies the rows of a view in the name of a node.
func checkpoint(t testing.TB, v *fsm.View, node string, key ed25519.PrivateKey) string {
	t.Helper()
	last, head, _ := v.Chain()
	c := &signed.Checkpoint{
		Cluster: "c", Node: node, Issued: time.UnixMilli(v.Clock().WallMs).UTC().Truncate(time.Second),
		Index: v.Index(), Row: last, Chain: fmt.Sprintf("%x", head),
	}
	document, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func keep(t testing.TB, dir, document string) {
	t.Helper()
	if err := trail.AppendCheckpoint(dir, document); err != nil {
		t.Fatal(err)
	}
}

func anchors(kept ...string) *trail.Anchors {
	return &trail.Anchors{Keys: []ed25519.PublicKey{clusterKey.Public().(ed25519.PublicKey)}, Kept: kept}
}

// What the chain alone can't show, as whoever has the files can make it anew, checkpoints do.
func TestCheckpoints(t *testing.T) {
	const checkpoints = "checkpoints"
	anew := func(t *testing.T, dir string) {
		other := newHistory(t)
		other.now += 5
		elsewhere := options(t.TempDir())
		write(t, elsewhere, other.writes(30))
		for _, name := range names(t, elsewhere.Dir) {
			text, err := os.ReadFile(filepath.Join(elsewhere.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(t *testing.T, dir string) {
		files := names(t, dir)
		edit(t, filepath.Join(dir, files[len(files)-2]), func(l []string) []string { return l[:len(l)-1] })
	}
	change := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, checkpoints), func(l []string) []string {
				changed := strings.Replace(l[len(l)-1], from, to, 1)
				if changed == l[len(l)-1] {
					t.Fatalf("%q is not in %s", from, changed)
				}
				l[len(l)-1] = changed
				return l
			})
		}
	}
	without := func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, checkpoints)); err != nil {
			t.Fatal(err)
		}
	}
	both := func(a, b func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { a(t, dir); b(t, dir) }
	}
	for _, tt := range []struct {
		name string
		do   func(*testing.T, string)
		// kept: the last checkpoint was kept elsewhere, too.
		kept bool
		// want is the fault; empty if there is none, and then the rows are certified up to row.
		want string
		row  uint64
	}{
		{"as it was written", func(*testing.T, string) {}, true, "", 31},
		{"the chain made anew", anew, false, "the rows up to row 11 are not those that the checkpoint of 2026-06-01T12:00:10Z certifies", 0},
		{"the chain made anew, and no checkpoints", both(anew, without), false, "", 0},
		{"the same, and one kept elsewhere", both(anew, without), true, "the rows up to row 31 are not those", 0},
		{"the end cut off", cut, false, "row 31 is missing at the end: the checkpoint of 2026-06-01T12:00:30Z certifies row 31", 0},
		{"the end cut off, and one kept elsewhere", both(cut, without), true, "row 31 is missing at the end", 0},
		{"an altered checkpoint", change(".ey", ".eY"), false, "a checkpoint is not genuine: signature does not fit", 0},
		{"a stranger's", func(t *testing.T, dir string) {
			keep(t, dir, checkpoint(t, newHistory(t).writes(3), "lyon", strangerKey))
		}, false, "a checkpoint is not genuine: signed by an unknown key", 0},
		{"no document", func(t *testing.T, dir string) { keep(t, dir, "hello") }, false, "a checkpoint is not genuine: malformed", 0},
		{"the last one unfinished", change("\n", ""), false, "", 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, h := options(t.TempDir()), newHistory(t)
			keepAfter := func(n int) string {
				v := h.writes(n)
				write(t, o, v)
				document := checkpoint(t, v, "lyon", clusterKey)
				keep(t, o.Dir, document)
				return document
			}
			keepAfter(10)
			last := keepAfter(20)
			tt.do(t, o.Dir)
			a := anchors()
			if tt.kept {
				a = anchors(last)
			}
			s, err := trail.Verify([]string{o.Dir}, a)
			if err != nil {
				t.Fatal(err)
			}
			r := s.Reports[0]
			var row uint64
			if r.Signed != nil {
				row = r.Signed.Row
			}
			if found := fmt.Sprint(r.Damage); tt.want == "" && (len(r.Damage) > 0 || row != tt.row) || !strings.Contains(found, tt.want) {
				t.Errorf("signed up to %d, %s", row, found)
			}
			if without, err := trail.Verify([]string{o.Dir}, nil); err != nil || without.Reports[0].Signed != nil || without.Damaged() {
				t.Errorf("without a key checkpoints say nothing: %+v, %v", without, err)
			}
		})
	}
}

// A node that lags has less than another has certified.
func TestCheckpointOfAnotherNode(t *testing.T) {
	lyon, paris, h := options(t.TempDir()), options(t.TempDir()), newHistory(t)
	paris.Node = "paris"
	early := h.writes(10)
	late := h.writes(10)
	write(t, lyon, late)
	write(t, paris, early)
	kept := checkpoint(t, late, "lyon", clusterKey)
	keep(t, lyon.Dir, kept)
	s, err := trail.Verify([]string{lyon.Dir, paris.Dir}, anchors(kept))
	if err != nil || s.Damaged() || s.Reports[0].Signed == nil || s.Reports[1].Signed != nil {
		t.Errorf("%+v %v", s, err)
	}
}

// What a crash cut off gives way, and the file is bounded.
func TestCheckpointFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "checkpoints")
	if err := os.WriteFile(path, []byte("one\ntw"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep(t, dir, "two")
	if text, err := os.ReadFile(path); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q %v", text, err)
	}
	document := strings.Repeat("x", 300<<10)
	for range 12 {
		keep(t, dir, document)
	}
	var total int64
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if list := names(t, dir); len(list) != 2 || total > 3<<20 {
		t.Errorf("%q take %d bytes", list, total)
	}
}
