//go:build repeat

package sim

import _ "unsafe" // for go:linkname

// repeats: seeds repeat with the overlay only; see e2e/sim/overlay.
const repeats = true

//go:linkname seedRuntime runtime.dstSeed
func seedRuntime(seed uint64, on bool)

//go:linkname runtimeDraws runtime.dstDraws
func runtimeDraws() uint64
