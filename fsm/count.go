package fsm

// Count is how many of something a state holds.
type Count struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// Counts is how many rows of each kind the view holds, for whoever looks into a state.
func (v *View) Counts() []Count {
	return []Count{
		{"contracts", v.contracts.len()},
		{"instances", v.instances.len()},
		{"accounts", v.accounts.len()},
		{"pools", v.pools.len()},
		{"leases", v.leases.len()},
		{"projects", v.projects.len()},
		{"tickets", v.tickets.len()},
		{"license requests", v.requests.len()},
		{"notices", v.notices.len()},
		{"tokens", v.tokens.len()},
		{"staged lists", v.stagings.Len()},
		{"hours of usage", v.usage.len()},
		{"audit rows", v.writes.len()},
	}
}

// LeaseCount is how many leases there are that do not linger, by whatever is in the state: one that is due counts until
// its end is applied. This and the other counts cost the same however many there are.
func (v *View) LeaseCount() int { return v.leases.len() - v.lingering.keys.Len() }

// WaitingCount is how many tickets wait for an offer.
func (v *View) WaitingCount() int { return v.waiting.keys.Len() }

// ProjectCount is how many projects are open.
func (v *View) ProjectCount() int { return v.projects.len() }
