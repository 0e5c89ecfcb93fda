package main

// mutations are faults that are put into licet, or into Raft, to see that simulations find them: -mutation NAME adds one to the overlay. Files
// are those of the repository, or of a module that is named before them.
var mutations = map[string]edit{
	"a leader that is cut off answers reads": {
		"cluster/vouch.go", "if missing <= 0 {\n\t\treturn nil", "if missing <= 0 || ctx != nil {\n\t\treturn nil",
	},
	"a request is carried out again when it is repeated": {
		"fsm/state.go", "if outcome != nil && !stray {\n\t\treturn outcome\n\t}", "if !stray {\n\t\toutcome = nil\n\t}",
	},
	"entries count as committed that one node has": {
		"github.com/hashicorp/raft commitment.go", "quorumMatchIndex := matched[(len(matched)-1)/2]", "quorumMatchIndex := matched[len(matched)-1]",
	},
	"the lease clock goes on without a leader": {
		"fsm/clock.go", "PauseMs: c.PauseMs + pause}", "PauseMs: c.PauseMs + 0*pause}",
	},
	"votes are not written to disk": {
		"cluster/store.go", "return s.do(\"write a vote\", func() error { return s.bolt.Set(key, value) })", "return nil",
	},
	"a lease ends half a TTL early": {
		"fsm/lease.go", "l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*1000", "l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*500",
	},
	"a read waits for no index": {
		"cluster/read.go", "index := n.committed()", "index := uint64(0)",
	},
}
