package fsm

import (
	"testing"
)

// What a replica allocates for a command is bounded: memory is collected in the same processor time as commands are decided. The bounds
// are a fifth above what was counted.
func TestAllocationsOfHotKinds(t *testing.T) {
	const n, entries = 128, 10
	most := map[string]float64{"create": 23, "checkout": 34, "renew": 15, "check-in": 19}
	for _, hot := range hotKinds {
		t.Run(hot.kind, func(t *testing.T) {
			s := hotView(t).Fork()
			list := make([][]byte, entries+1)
			for e := range list {
				list[e] = hotEntry(t, hot.body, e, n)
			}
			next := 0
			each := testing.AllocsPerRun(entries, func() {
				outcomes, err := s.Apply(s.index+1, 1, list[next])
				if err != nil || outcomes[n-1].Refusal != nil || outcomes[n-1].Repeated {
					t.Fatal(outcomes, err)
				}
				_ = s.View()
				next++
			}) / n
			if each > most[hot.kind] {
				t.Errorf("%.1f allocations a command are more than %.0f", each, most[hot.kind])
			}
		})
	}
}

func TestAllocationsOfDecoding(t *testing.T) {
	for _, hot := range hotKinds {
		entry, body := hotEntry(t, hot.body, 0, 256), mustCommand(t, "x", hot.body(0)).Body
		// The entry, its text, its commands and their list, whatever their number.
		if n := testing.AllocsPerRun(100, func() { _, _ = DecodeEntry(entry) }); n > 5 {
			t.Errorf("%s: %.0f allocations for an entry", hot.kind, n)
		}
		// Two for the kind, and one for each message and text within it.
		if n := testing.AllocsPerRun(100, func() { _, _ = DecodeBody(body) }); n > 10 {
			t.Errorf("%s: %.0f allocations for a body", hot.kind, n)
		}
	}
}
