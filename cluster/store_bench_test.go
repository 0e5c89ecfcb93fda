package cluster

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// BenchmarkAppend is the longest that an append to Raft's log waits while a snapshot is written beside it or the log behind
// it is deleted: as the node does it, and as Raft and bbolt would by themselves.
func BenchmarkAppend(b *testing.B) {
	const compacted = 8192
	for _, c := range []struct {
		name   string
		beside func(b *testing.B, s store)
	}{
		{"alone", func(b *testing.B, _ store) { <-time.After(time.Second) }},
		{"snapshot-synced-at-its-end", func(b *testing.B, _ store) { writeSnapshot(b, 1<<40) }},
		{"snapshot-synced-steadily", func(b *testing.B, _ store) { writeSnapshot(b, steadyBytes) }},
		{"compaction-at-once", func(b *testing.B, s store) { succeed(b, s.bolt.DeleteRange(1, compacted)) }},
		{"compaction-in-parts", func(b *testing.B, s store) { succeed(b, s.DeleteRange(1, compacted)) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			var waits []time.Duration
			for range b.N {
				s, err := openStore(b.TempDir(), func(err error) { b.Error(err) })
				succeed(b, err)
				fill(b, s, compacted+10_240)
				waits = append(waits, appendDuring(b, s, func() { c.beside(b, s) })...)
				succeed(b, s.bolt.Close())
			}
			slices.Sort(waits)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(waits[len(waits)-1]), "longest-ms")
			b.ReportMetric(ms(waits[len(waits)/2]), "p50-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func succeed(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}

// entry is one of 16 commands or so.
func entry(index uint64) *raft.Log { return &raft.Log{Index: index, Term: 1, Data: make([]byte, 2000)} }

func fill(b *testing.B, s store, n uint64) {
	b.Helper()
	for next := uint64(1); next <= n; {
		var batch []*raft.Log
		for ; len(batch) < 512 && next <= n; next++ {
			batch = append(batch, entry(next))
		}
		succeed(b, s.StoreLogs(batch))
	}
}

// appendDuring appends entry by entry until the work is done, and returns how long each took.
func appendDuring(b *testing.B, s store, work func()) (waits []time.Duration) {
	b.Helper()
	last, err := s.LastIndex()
	succeed(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	for {
		last++
		begun := time.Now()
		succeed(b, s.StoreLog(entry(last)))
		waits = append(waits, time.Since(begun))
		select {
		case <-done:
			return waits
		default:
		}
	}
}

// writeSnapshot writes a file of 200 MB as fast as a state is encoded, synced each time that so many bytes are written.
func writeSnapshot(b *testing.B, every int) {
	f, err := os.Create(filepath.Join(b.TempDir(), "state.bin"))
	succeed(b, err)
	chunk := make([]byte, 256<<10)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for written, synced := 0, 0; written < 200_000_000; written += len(chunk) {
		<-tick.C
		_, err := f.Write(chunk)
		succeed(b, err)
		if written-synced >= every {
			synced = written
			succeed(b, f.Sync())
		}
	}
	succeed(b, f.Sync())
	succeed(b, f.Close())
}
