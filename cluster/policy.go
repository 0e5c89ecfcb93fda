package cluster

import "time"

// Policy is how members come, lead and go. It can change while the node runs. The
// leader's counts, so that all nodes should have the same.
type Policy struct {
	// PreferredSites is the order in which sites should have the leader, best first. Sites
	// that it does not name come last, all alike; empty leaves leadership where it is.
	PreferredSites []string
	// Stabilisation is how long a non-voter must have been healthy before it is promoted.
	Stabilisation time.Duration
	// PreferredAfter is how long a voter of a better site must have been healthy, and the
	// present leader in office, before leadership moves there.
	PreferredAfter time.Duration
	// RemoveDeadAfter is how long a member must have been silent before the leader removes it; 0 is never.
	RemoveDeadAfter time.Duration
	// MinVoters is the number of voters below which the leader removes none by itself.
	MinVoters uint
	// RequireJoinToken: nodes join only with a token besides their certificate.
	RequireJoinToken bool
}

// preference is a site's place in an order, lower is better.
func preference(order []string, site string) int {
	for i, s := range order {
		if s == site {
			return i
		}
	}
	return len(order)
}

// SetPolicy changes the policy from now on. Safe for concurrent use.
func (n *Node) SetPolicy(p Policy) { n.policy.Store(&p) }
