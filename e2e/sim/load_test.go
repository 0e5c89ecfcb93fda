package sim

import "time"

// load is how much goes on in a run. Most is found where much goes on, and hours of little are what a cluster has most of.
type load struct {
	name string
	// span is for how long things go wrong.
	span time.Duration
	// pause is by how much longer clients wait between what they ask for, and apart by how much faults are further apart.
	pause, apart int
	// heartbeat is a node's setting of that name.
	heartbeat time.Duration
	// look is how often the witness looks at all nodes.
	look time.Duration
}

// loads are all that there are, by name: twenty requests a second, one a second, one in three seconds.
var loads = map[string]load{
	"busy":  {"busy", time.Minute, 1, 1, 300 * time.Millisecond, 20 * time.Millisecond},
	"day":   {"day", 4 * time.Minute, 25, 8, time.Second, 50 * time.Millisecond},
	"night": {"night", 450 * time.Second, 100, 20, 2 * time.Second, 100 * time.Millisecond},
}

// soaked is the load of a seed in a soak: of ten, one is busy, one a day and eight are nights.
func soaked(seed uint64) load {
	switch seed % 10 {
	case 0:
		return loads["busy"]
	case 1:
		return loads["day"]
	}
	return loads["night"]
}
