package main

import "testing"

func TestHeapGrowth(t *testing.T) {
	for live, want := range map[uint64]int{0: usualGrowth, bigHeap - 1: usualGrowth, bigHeap: slowGrowth, 1 << 40: slowGrowth} {
		if got := heapGrowth(live); got != want {
			t.Errorf("with %d bytes that live the heap grows by %d %%, not by %d %%", live, got, want)
		}
	}
}
