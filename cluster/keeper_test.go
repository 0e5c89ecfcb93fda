package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/trail"
)

// writer makes entries of rows that the leader writes of its own.
type writer struct {
	t     *testing.T
	state *fsm.State
	index uint64
	now   time.Time
}

func (w *writer) entry(after time.Duration, n int) *fsm.View {
	w.t.Helper()
	w.now = w.now.Add(after)
	c, err := fsm.NewCommand("", "", &fsmpb.Body{Kind: &fsmpb.Body_Expire{Expire: &fsmpb.Expire{}}})
	if err != nil {
		w.t.Fatal(err)
	}
	e := &fsmpb.Entry{Term: 1, WallMs: w.now.UnixMilli()}
	for range n {
		e.Commands = append(e.Commands, c)
	}
	data, err := fsm.EncodeEntry(e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.index++
	if _, err := w.state.Apply(w.index, 1, data); err != nil {
		w.t.Fatal(err)
	}
	return w.state.View()
}

// idleKeeper is a keeper whose goroutine the test plays.
func idleKeeper(t *testing.T) (k *keeper, w *writer, failed *error) {
	t.Helper()
	failed = new(error)
	k, err := openKeeper(trail.Options{Dir: t.TempDir(), Node: "lyon", FileBytes: 4 << 10, TotalBytes: 1 << 20}, hclog.NewNullLogger(), func(err error) { *failed = err })
	if err != nil {
		t.Fatal(err)
	}
	return k, &writer{t: t, state: fsm.New(), now: time.UnixMilli(1_780_000_000_000)}, failed
}

// TestApplyWaitsForRowsThatWouldBeForgotten: the state has forgotten rows that only the view before has,
// and that is not written yet.
func TestApplyWaitsForRowsThatWouldBeForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, w, _ := idleKeeper(t)
		first := w.entry(0, 20)
		if err := k.keep(first); err != nil {
			t.Fatal(err)
		}
		// What is only newer takes its place at once.
		if err := k.keep(w.entry(time.Second, 1)); err != nil {
			t.Fatal(err)
		}
		second := w.entry(2*time.Hour, 2)
		if second.OldestWrite() < 10 {
			t.Fatalf("the state still has row %d", second.OldestWrite())
		}
		applied := false
		go func() {
			if err := k.keep(second); err != nil {
				t.Error(err)
			}
			applied = true
		}()
		synctest.Wait()
		if applied {
			t.Error("the entry was applied although rows would be lost")
		}
		k.write()
		synctest.Wait()
		if !applied {
			t.Error("the entry still waits although nothing is in its way")
		}
		k.write()
		if err := k.files.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := trail.Check(k.dir)
		if err != nil || len(r.Gaps) > 0 || len(r.Damage) > 0 || r.First != 1 || r.Last != 23 {
			t.Errorf("%+v %v", r, err)
		}
	})
}

// A disk that fails ends the node, and nobody waits for it.
func TestTrailErrorsEndTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, w, failed := idleKeeper(t)
		if err := k.keep(w.entry(0, 5)); err != nil {
			t.Fatal(err)
		}
		k.write()
		if err := os.RemoveAll(k.dir); err != nil {
			t.Fatal(err)
		}
		v := w.entry(time.Second, 200)
		if err := k.keep(v); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		waiting := map[string]error{}
		wait := func(name string, do func() error) {
			err := do()
			mu.Lock()
			defer mu.Unlock()
			waiting[name] = err
		}
		go wait("settle", func() error { return k.settle(v) })
		go wait("await", func() error { return k.await(context.Background(), 205) })
		late := w.entry(2*time.Hour, 1)
		go wait("keep", func() error { return k.keep(late) })
		synctest.Wait()
		if len(waiting) > 0 {
			t.Fatalf("not waited: %v", waiting)
		}
		k.write()
		synctest.Wait()
		for _, name := range []string{"settle", "await"} {
			if !errors.Is(waiting[name], os.ErrNotExist) {
				t.Errorf("%s: %v", name, waiting[name])
			}
		}
		if !errors.Is(*failed, os.ErrNotExist) || fmt.Sprint(*failed)[:len("the audit trail can't be written")] != "the audit trail can't be written" {
			t.Errorf("the node was told %v", *failed)
		}
		if err := k.keep(w.entry(time.Second, 1)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the next entry: %v", err)
		}
	})
}

// A snapshot is not taken before the rows that it is to replace the log of are on disk.
func TestSnapshotWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, w, _ := idleKeeper(t)
		v := w.entry(0, 5)
		if err := k.keep(v); err != nil {
			t.Fatal(err)
		}
		settled := false
		go func() {
			if err := k.settle(v); err != nil {
				t.Error(err)
			}
			settled = true
		}()
		synctest.Wait()
		k.write()
		synctest.Wait()
		if settled || !k.behind() {
			t.Error("it was taken with rows that are only written")
		}
		k.sync()
		synctest.Wait()
		if !settled || k.behind() {
			t.Error("it still waits")
		}
		if err := k.files.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Readers wait for rows that are on their way, as long as they like.
func TestReadersWaitForRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, w, _ := idleKeeper(t)
		if err := k.keep(w.entry(0, 5)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.await(ctx, 5); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("rows that nobody writes: %v", err)
		}
		k.write()
		if err := k.await(t.Context(), 5); err != nil {
			t.Error(err)
		}
		if err := k.files.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// watchedFiles counts what is forced to disk, and fails if it is told to.
type watchedFiles struct {
	trailFiles
	synced     int
	sync, shut error
}

func (f *watchedFiles) Sync() error {
	f.synced++
	return errors.Join(f.sync, f.trailFiles.Sync())
}

func (f *watchedFiles) Close() error { return errors.Join(f.shut, f.trailFiles.Close()) }

// What is called synced was, and a disk that fails at it ends the node.
func TestRowsAreForcedToDisk(t *testing.T) {
	k, w, failed := idleKeeper(t)
	files := &watchedFiles{trailFiles: k.files}
	k.files = files
	v := w.entry(0, 5)
	if err := k.keep(v); err != nil {
		t.Fatal(err)
	}
	k.write()
	if k.sync(); files.synced != 1 || k.synced != 5 {
		t.Errorf("synced %d times, up to row %d", files.synced, k.synced)
	}
	files.sync = errors.New("the disk is gone")
	if err := k.keep(w.entry(time.Second, 5)); err != nil {
		t.Fatal(err)
	}
	k.write()
	if k.sync(); !errors.Is(*failed, files.sync) || k.synced != 5 {
		t.Errorf("the node was told %v; rows up to %d count as synced", *failed, k.synced)
	}
	if err := k.files.Close(); err != nil {
		t.Fatal(err)
	}
}

// A node that stops has written what was handed over, and says so if it could not.
func TestStopWritesWhatIsLeft(t *testing.T) {
	for _, broken := range []error{nil, errors.New("the disk is gone")} {
		k, w, failed := idleKeeper(t)
		k.files = &watchedFiles{trailFiles: k.files, shut: broken}
		if err := k.keep(w.entry(0, 5)); err != nil {
			t.Fatal(err)
		}
		// It is told to stop before it has seen that there is something to do.
		<-k.wake
		go k.run()
		if err := k.close(); !errors.Is(err, broken) || !errors.Is(*failed, broken) {
			t.Errorf("stopped with %v, the node was told %v", err, *failed)
		}
		if r, err := trail.Check(k.dir); err != nil || r.Last != 5 || len(r.Damage) > 0 {
			t.Errorf("%+v %v", r, err)
		}
	}
}
