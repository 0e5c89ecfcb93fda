package fsm

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"
)

// D1: the same log yields the same bytes of state.
func TestSameLogSameBytes(t *testing.T) {
	r := busy(t)
	second := New()
	for i, data := range r.log {
		if _, err := second.Apply(uint64(i+1), 1, data); err != nil {
			t.Fatal(err)
		}
	}
	if r.s.Digest() != second.Digest() {
		t.Error("two replicas of one log have different digests")
	}
	if !bytes.Equal(snapshotBytes(t, r.s.View()), snapshotBytes(t, second.View())) {
		t.Error("two replicas of one log have different snapshots")
	}
	restored := checkRestored(t, r.s)
	next := mustEntry(t, 1, r.now.Add(time.Minute), mustCommand(t, "after", createBody("themis", "after", primary(1))))
	for _, s := range []*State{r.s, second, restored} {
		if _, err := s.Apply(uint64(len(r.log)+1), 1, next); err != nil {
			t.Fatal(err)
		}
		if s.Digest() != r.s.Digest() {
			t.Error("a replica goes another way")
		}
	}
}

// The digest tells states apart by index, clock and every row, but not by who computed it.
func TestDigestDiffers(t *testing.T) {
	base := themis(t)
	seen := map[Digest]string{base.s.Digest(): "base"}
	for name, change := range map[string]func(s *State){
		"index":      func(s *State) { s.index++ },
		"wall clock": func(s *State) { s.clock.WallMs++ },
		"pause":      func(s *State) { s.clock.PauseMs++ },
		"serial":     func(s *State) { s.counters.lastSerial++ },
		"write":      func(s *State) { _, w, _ := s.writes.rows.Min(); s.forget(w) },
		"contract": func(s *State) {
			c, _ := s.contracts.get("themis")
			c = edit(c)
			c.Terms++
			s.contracts.set(&s.digest, "themis", c)
		},
		"instance": func(s *State) {
			i, _ := s.instances.get(1)
			i = edit(i)
			i.Active = Quantities{{"primary", 1}}
			s.instances.set(&s.digest, 1, i)
		},
	} {
		s := base.s.View().Fork()
		change(s)
		if same, ok := seen[s.Digest()]; ok {
			t.Errorf("the digest after a change of %s is that of %s", name, same)
		}
		seen[s.Digest()] = name
	}
}

// busy is a replica with rows of every kind.
func busy(t tb) *replica {
	r := themis(t)
	r.must(activateBody(r.key(1), true, primary(12)))
	r.must(resizeBody(1, primary(10)))
	r.must(removeBody(2))
	r.now = r.now.Add(time.Hour)
	r.refused(ContractExhausted, createBody("themis", "nantes", primary(16)))
	other := testContract("other", 1, map[string]uint64{"primary": 5, "extranet": 2})
	other.Expiry = testEpoch.AddDate(0, 0, 1)
	r.must(contractBody(mustSign(t, other, vendorKey)))
	r.now = r.now.AddDate(0, 0, 1)
	r.must(expireBody())
	r.must(settingsBody(600, 0))
	r.must(resizeBody(3, primary(4)))
	r.refused(InstanceRemoved, removeBody(2))
	r.must(resizeBody(3, primary(5)))
	return r
}

// A view is immutable: nothing that the state, its forks or dry runs do shows in it.
func TestViewIsImmutable(t *testing.T) {
	r := busy(t)
	v := r.s.View()
	want, digest := snapshotBytes(t, v), v.Digest()
	for n := range 200 {
		r.must(contractBody(mustSign(t, testContract(fmt.Sprint("c", n), 1, map[string]uint64{"primary": 1}), vendorKey)))
		r.must(createBody(fmt.Sprint("c", n), "x", primary(1)))
	}
	r.must(removeBody(1))
	fork := v.Fork()
	if _, err := fork.Apply(v.Index()+1, 1, mustEntry(t, 1, r.now, mustCommand(t, "fork", removeBody(3)))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotBytes(t, v), want) || v.Digest() != digest {
		t.Error("the view changed")
	}
	if _, refusal := fork.View().Instance(3); refusal.GetCode() != string(InstanceRemoved) {
		t.Error("the fork did not go its own way")
	}
	if _, refusal := r.s.View().Instance(3); refusal != nil {
		t.Error("the fork changed the state that it came from")
	}
	checkState(t, r.s)
	checkState(t, fork)
}

// Readers, dry runs and snapshots work on one view while the state goes on; the race
// detector looks on.
func TestViewConcurrently(t *testing.T) {
	r := busy(t)
	v := r.s.View()
	want, digest := snapshotBytes(t, v), v.Digest()
	dry := mustCommand(t, "dry", createBody("themis", "dry", primary(1)))
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 30 {
				if o, err := v.DryRun(dry, r.now.UnixMilli()); err != nil || o.Refusal != nil {
					t.Errorf("dry run: %v %v", o, err)
				}
			}
		})
		readers.Go(func() {
			var b bytes.Buffer
			for range 30 {
				b.Reset()
				if err := v.Snapshot(&b); err != nil || !bytes.Equal(b.Bytes(), want) {
					t.Errorf("snapshot differs: %v", err)
				}
				if len(v.Instances("themis", 0, 10)) != 2 || len(v.Contracts("", 10)) != 2 || v.Digest() != digest {
					t.Error("a read differs")
				}
			}
		})
	}
	for n := range 300 {
		r.must(resizeBody(1, primary(uint64(n%10))))
		_ = r.s.View()
	}
	readers.Wait()
}

// Pages follow each other without gaps, whatever the bounds.
func TestPages(t *testing.T) {
	r := themis(t)
	r.must(contractBody(mustSign(t, testContract("aaa", 1, map[string]uint64{"primary": 30}), vendorKey)))
	r.must(createBody("aaa", "x", primary(1)))
	r.must(removeBody(2))
	v := r.s.View()
	for _, c := range []struct {
		contract string
		after    uint64
		limit    int
		want     string
	}{
		{"", 0, 10, "[1 3 4]"},
		{"", 0, 2, "[1 3]"},
		{"", 3, 2, "[4]"},
		{"", 4, 2, "[]"},
		{"", 0, 0, "[]"},
		{"", 0, -1, "[]"},
		{"", 1<<64 - 1, 10, "[]"},
		{"themis", 1<<64 - 1, 10, "[]"},
		{"themis", 0, 10, "[1 3]"},
		{"themis", 1, 10, "[3]"},
		{"themis", 0, 1, "[1]"},
		{"aaa", 0, 10, "[4]"},
		{"none", 0, 10, "[]"},
	} {
		got := []uint64{}
		for _, x := range v.Instances(c.contract, c.after, c.limit) {
			got = append(got, x.Serial)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("Instances(%q, %d, %d) = %v, want %s", c.contract, c.after, c.limit, got, c.want)
		}
	}
	for _, c := range []struct {
		after string
		limit int
		want  string
	}{{"", 10, "[aaa themis]"}, {"", 1, "[aaa]"}, {"aaa", 1, "[themis]"}, {"b", 9, "[themis]"}, {"themis", 9, "[]"}, {"", 0, "[]"}} {
		got := []string{}
		for _, x := range v.Contracts(c.after, c.limit) {
			got = append(got, x.Doc.ID)
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("Contracts(%q, %d) = %v, want %s", c.after, c.limit, got, c.want)
		}
	}
}

// What the view says of the cluster is what it was initialised with.
func TestViewOfCluster(t *testing.T) {
	empty := New().View()
	if empty.ClusterID() != "" || empty.Index() != 0 || empty.Settings() != DefaultSettings {
		t.Error("the empty state is not empty")
	}
	if _, ok := empty.NextDue(); ok {
		t.Error("something is due in the empty state")
	}
	v := themis(t).s.View()
	if v.ClusterID() != testCluster || !v.VendorKeysInForce()[0].Equal(public(vendorKey)) || !v.SigningKeys()[0].Equal(public(clusterKey)) {
		t.Error("identity differs")
	}
	if v.Index() != 5 || v.Term() != 1 || v.Settings() != DefaultSettings || v.Requests() != 4 {
		t.Errorf("index %d, term %d, settings %v, requests %d", v.Index(), v.Term(), v.Settings(), v.Requests())
	}
	if _, ok := v.Contract("none"); ok {
		t.Error("a contract that is not there was found")
	}
}
