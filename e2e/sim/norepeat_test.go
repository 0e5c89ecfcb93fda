//go:build !repeat

package sim

const repeats = false

func seedRuntime(uint64, bool) {}

func runtimeDraws() uint64 { return 0 }
