package trail

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// taking is a target that takes all rows, and keeps their numbers.
type taking struct{ rows []uint64 }

func (x *taking) Open(context.Context) (uint64, error) { return 0, nil }

func (x *taking) Write(rows []Passed, _ time.Duration) error {
	for _, row := range rows {
		x.rows = append(x.rows, row.Seq)
	}
	return nil
}

func (x *taking) Settled() (uint64, error) {
	if len(x.rows) == 0 {
		return 0, nil
	}
	return x.rows[len(x.rows)-1], nil
}

func (x *taking) Close(time.Duration) {}

// FuzzCursor: whatever the file holds that says how far a copy is, the copy goes on behind that row, or begins anew and says so; and
// the next one goes on behind what was copied.
func FuzzCursor(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, fileName(1)), sample(f), 0o600); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "{}", `{"row":6}` + "\n", `{"row":8}`, `{"row":18446744073709551615}`, `{"row":-1}`, `{"row":"6"}`, `{"row":6`, `{"row":6}{`, `{"row":6,"row":"6"}`, "null", "6", "\x00"} {
		f.Add([]byte(seed))
	}
	ended, end := context.WithCancel(context.Background())
	end()
	f.Fuzz(func(t *testing.T, text []byte) {
		target, faults := new(taking), 0
		c := &Copier{
			Dir: dir, Name: "fuzz", Target: target,
			Failed: func(error) { faults++ }, Recovered: func() {}, Lost: func(uint64, uint64) {},
		}
		if err := os.WriteFile(c.path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		last, err := c.load()
		c.Run(ended) // it copies what there is
		if err != nil && last != 0 || (err != nil) != (faults > 0) {
			t.Errorf("row %d, %v, told %d times", last, err, faults)
		}
		want := max(last+1, 5)
		for _, row := range target.rows {
			if row != want {
				t.Errorf("row %d instead of %d", row, want)
			}
			want++
		}
		if want != 9 && last < 8 {
			t.Errorf("%d rows were copied after row %d", len(target.rows), last)
		}
		if next, err := c.load(); len(target.rows) > 0 && (err != nil || next != 8) {
			t.Errorf("the next copy begins after row %d: %v", next, err)
		}
	})
}
