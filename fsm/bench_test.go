package fsm

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
)

// instancesPerContract is how the instances of a benchmark's state are spread.
const instancesPerContract = 1000

// sizes are the instances in a benchmark's state.
var sizes = []struct {
	name string
	n    int
}{{"1k", 1_000}, {"100k", 100_000}, {"1M", 1_000_000}}

var benchViews = map[int]*View{}

// benchView is a state with n instances, made once. Rows go straight into the
// tables: what is measured is commands on top of it.
func benchView(b *testing.B, n int) *View {
	b.Helper()
	if v := benchViews[n]; v != nil {
		return v
	}
	r := &replica{t: b, s: New(), now: testEpoch}
	r.must(initialiseBody())
	s := r.s
	for c := range (n + instancesPerContract - 1) / instancesPerContract {
		document := mustSign(b, testContract(benchContract(c), 1, map[string]uint64{"primary": 1_000_000_000}), vendorKey)
		contract, err := s.newContract(document)
		if err != nil {
			b.Fatal(err)
		}
		s.contracts.set(&s.digest, contract.Doc.ID, contract)
		s.indexContract(contract)
	}
	for i := range n {
		x := &Instance{
			Serial: uint64(i + 1), Contract: benchContract(i / instancesPerContract), Name: fmt.Sprint("n", i),
			Allocation: Quantities{{"primary", 15}}, KeyBase: 1, CreatedMs: testEpoch.UnixMilli(), Reports: true, Active: Quantities{{"primary", 12}},
		}
		s.instances.set(&s.digest, x.Serial, x)
		s.indexInstance(x)
	}
	s.counters.lastSerial = uint64(n)
	benchViews[n] = s.View()
	return benchViews[n]
}

func benchContract(n int) string { return fmt.Sprintf("contract-%05d", n) }

// benchAccounts is a state whose instance 1 keeps n accounts here, 1,000 of them blocked for want of a seat.
func benchAccounts(b *testing.B, n int) *State {
	b.Helper()
	r := &replica{t: b, s: New(), now: testEpoch}
	r.must(initialiseBody())
	r.must(contractBody(mustSign(b, testContract("bench", 1, map[string]uint64{"primary": 1_000_000_000}), vendorKey)))
	r.must(createBody("bench", "intranet", primary(uint64(2*n))))
	i, _ := r.s.instances.get(1)
	for k := range n {
		why := notBlocked
		if k < 1000 {
			why = blockedByLimit
		}
		r.s.newAccount(i, fmt.Sprint("u", k), "primary", why)
	}
	return r.s
}

// BenchmarkAccounts steps commands on accounts in instances of several sizes. A sync lists 1,000 users: who
// waits, who is there, who is new.
func BenchmarkAccounts(b *testing.B) {
	for _, size := range sizes {
		v := benchAccounts(b, size.n).View()
		for _, step := range []struct {
			kind string
			body func(i int) *fsmpb.Body
		}{
			{"create", func(i int) *fsmpb.Body { return accountBody(1, fmt.Sprint("new", i), "primary") }},
			{"block", func(i int) *fsmpb.Body { return blockBody(1, fmt.Sprint("u", i*7919%size.n)) }},
			{"sync", func(i int) *fsmpb.Body {
				return syncBody(1, append(manyListed("primary", "u", 500), manyListed("primary", fmt.Sprint("s", i, "-"), 500)...))
			}},
		} {
			b.Run(step.kind+"/"+size.name, func(b *testing.B) {
				s := v.Fork()
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					b.StopTimer()
					body := step.body(i)
					command := mustCommand(b, fmt.Sprint("b", i), body)
					b.StartTimer()
					s.index++
					s.Step(command, body)
				}
			})
		}
	}
}

// BenchmarkLargestSync is one sync of as many users as there may be.
func BenchmarkLargestSync(b *testing.B) {
	r := claro(b)
	r.fill(MaxListed)
	r.must(resizeBody(1, primary(2*MaxListed)))
	for _, c := range []struct {
		name string
		list []*fsmpb.ListedAccount
	}{{"unchanged", manyListed("primary", "u", MaxListed)}, {"new", manyListed("primary", "n", MaxListed)}} {
		b.Run(c.name, func(b *testing.B) {
			body := syncBody(1, c.list)
			command := mustCommand(b, "b", body)
			for b.Loop() {
				b.StopTimer()
				s := r.s.View().Fork()
				b.StartTimer()
				s.Step(command, body)
			}
		})
	}
}

// benchSteps are a command of each kind; i counts, n is how many instances there are.
var benchSteps = []struct {
	kind string
	body func(b *testing.B, i, n int) *fsmpb.Body
}{
	{"initialise", func(*testing.B, int, int) *fsmpb.Body { return initialiseBody() }},
	{"expire", func(*testing.B, int, int) *fsmpb.Body { return expireBody() }},
	{"settings", func(*testing.B, int, int) *fsmpb.Body { return settingsBody(3600, 250_000) }},
	{"contract", func(b *testing.B, i, _ int) *fsmpb.Body { return contractBody(benchDocument(b, i)) }},
	{"create", func(_ *testing.B, i, n int) *fsmpb.Body {
		return createBody(benchContract(i%(n/instancesPerContract)), fmt.Sprint("new", i), primary(1))
	}},
	{"resize", func(_ *testing.B, i, n int) *fsmpb.Body {
		return resizeBody(uint64(i*7919%n+1), primary(uint64(20+i/n)))
	}},
	{"remove", func(_ *testing.B, i, n int) *fsmpb.Body { return removeBody(uint64(i%n + 1)) }},
	{"activate", func(b *testing.B, i, _ int) *fsmpb.Body {
		return activateBody(benchKey(b), true, primary(uint64(i%12)))
	}},
}

var benchDocuments = sync.OnceValue(func() []string {
	list := make([]string, 500)
	for i := range list {
		list[i], _ = testContract("bench", uint64(i+1), map[string]uint64{"primary": 30}).Sign(vendorKey)
	}
	return list
})

func benchDocument(b *testing.B, i int) string {
	b.Helper()
	return benchDocuments()[i%500]
}

var benchKeys string

// benchKey is the key in force of the first instance: activations all come from it.
func benchKey(b *testing.B) string {
	if benchKeys == "" {
		benchKeys = keyInForce(b, benchView(b, sizes[0].n), 1)
	}
	return benchKeys
}

// BenchmarkStep steps one command of each kind on states of several sizes. It includes
// remembering the request, not decoding the entry.
func BenchmarkStep(b *testing.B) {
	for _, size := range sizes {
		for _, step := range benchSteps {
			b.Run(step.kind+"/"+size.name, func(b *testing.B) {
				s := benchView(b, size.n).Fork()
				s.clock.WallMs++
				commands := make([]*fsmpb.Command, b.N)
				bodies := make([]*fsmpb.Body, b.N)
				for i := range b.N {
					bodies[i] = step.body(b, i, size.n)
					commands[i] = mustCommand(b, fmt.Sprint("b", i), bodies[i])
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					if step.kind == "remove" && i > 0 && i%size.n == 0 {
						// All are removed: begin again.
						b.StopTimer()
						s = benchView(b, size.n).Fork()
						b.StartTimer()
					}
					s.index++
					s.Step(commands[i], bodies[i])
				}
			})
		}
	}
}

func renewEntries(b *testing.B, entries, commands, n int) [][]byte {
	list := make([][]byte, entries)
	for e := range list {
		batch := make([]*fsmpb.Command, commands)
		for c := range batch {
			i := e*commands + c
			batch[c] = mustCommand(b, fmt.Sprint("r", i), renewBody(i*7919%n))
		}
		list[e] = mustEntry(b, 1, testEpoch.Add(time.Second), batch...)
	}
	return list
}

func applyBench(b *testing.B, s *State, data []byte) {
	if _, err := s.Apply(s.index+1, 1, data); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkView publishes a view after each change, as a replica does; the copying that
// the next change then pays for is in it.
func BenchmarkView(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			s := benchView(b, size.n).Fork()
			b.ReportAllocs()
			for b.Loop() {
				_ = s.View()
			}
		})
	}
}

// BenchmarkSnapshot writes a state with a million live leases.
func BenchmarkSnapshot(b *testing.B) {
	b.Run("1M-leases", func(b *testing.B) {
		v := seatView(b, 1_000_000)
		var size countingWriter
		b.ReportAllocs()
		for b.Loop() {
			size = 0
			if err := v.Snapshot(&size); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(size))
		b.ReportMetric(float64(size)/(1<<20), "MiB")
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	})
}

type countingWriter int64

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

// BenchmarkRestore reads it again.
func BenchmarkRestore(b *testing.B) {
	b.Run("1M-leases", func(b *testing.B) {
		snapshot := snapshotBytes(b, seatView(b, 1_000_000))
		b.SetBytes(int64(len(snapshot)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Restore(bytes.NewReader(snapshot)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	})
}

// BenchmarkSnapshotStall is the longest time that a writer of entries with 8 renewals
// waits for one, with a snapshot of 1 M live leases being written meanwhile and without.
func BenchmarkSnapshotStall(b *testing.B) {
	const n = 1_000_000
	for _, c := range []struct {
		name     string
		snapshot bool
	}{{"1M-leases/without", false}, {"1M-leases/with", true}} {
		b.Run(c.name, func(b *testing.B) {
			v := seatView(b, n)
			entries := renewEntries(b, 20_000, 8, n)
			var pauses []time.Duration
			for range b.N {
				pauses = append(pauses, writeDuring(b, v.Fork(), entries, c.snapshot)...)
			}
			slices.Sort(pauses)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(pauses[len(pauses)-1]), "longest-ms")
			b.ReportMetric(ms(pauses[len(pauses)*99/100]), "p99-ms")
			b.ReportMetric(float64(len(pauses))/float64(b.N), "entries")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// writeDuring applies entries until the snapshot is written, or half of them
// without one, and returns how long each took.
func writeDuring(b *testing.B, s *State, entries [][]byte, snapshot bool) (pauses []time.Duration) {
	written := make(chan error, 1)
	if snapshot {
		v := s.View()
		go func() { written <- v.Snapshot(io.Discard) }()
	}
	for _, data := range entries {
		start := time.Now()
		applyBench(b, s, data)
		_ = s.View()
		pauses = append(pauses, time.Since(start))
		select {
		case err := <-written:
			if err != nil {
				b.Fatal(err)
			}
			return pauses
		default:
			if !snapshot && len(pauses) == len(entries)/2 {
				return pauses
			}
		}
	}
	if snapshot {
		b.Fatalf("the snapshot was not written within %d entries", len(pauses))
	}
	return pauses
}
