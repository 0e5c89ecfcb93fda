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
		{"staged lists", v.stagings.Len()},
		{"hours of usage", v.usage.len()},
		{"audit rows", v.writes.len()},
	}
}
