package main

// mutation is a fault that is put into licet, or into Raft, to see that simulations find it. Files are those of the repository, or of a module
// that is named before them.
type mutation struct {
	name  string
	edits []edit
}

const inRaft = "github.com/hashicorp/raft "

var mutations = []mutation{
	// Reads.
	{"a leader that is cut off answers reads", []edit{
		{"cluster/vouch.go", "if missing <= 0 {\n\t\treturn nil", "if missing <= 0 || ctx != nil {\n\t\treturn nil"},
	}},
	{"a read waits for no index", []edit{
		{"cluster/read.go", "index := n.committed()", "index := uint64(0)"},
	}},
	{"a follower asks no leader for a read", []edit{
		{"cluster/read.go", "address := n.leader.address()\n", "if view := n.replica.view.Load(); view != nil {\n\t\treturn view.Index(), nil\n\t}\n\taddress := n.leader.address()\n"},
	}},
	{"a node that asks speaks for the leader in whatever term it is", []edit{
		{"cluster/vouch.go", "n.witnesses(asking, at == term)", "n.witnesses(asking, at != 0)"},
	}},
	{"a read is answered one entry early", []edit{
		{"cluster/replica.go", "if v := r.view.Load(); v.Index() >= index {\n\t\treturn v, nil\n\t}\n\tdone :=", "if v := r.view.Load(); v.Index()+1 >= index {\n\t\treturn v, nil\n\t}\n\tdone :="},
	}},
	// Writes.
	{"a request is carried out again when it is repeated", []edit{
		{"fsm/state.go", "if outcome != nil && !stray {\n\t\treturn outcome\n\t}", "if !stray {\n\t\toutcome = nil\n\t}"},
	}},
	{"outcomes are forgotten after a moment", []edit{
		{"fsm/write.go", "return t.clock.WallMs - int64(t.meta.Settings.RequestTTL)*1000", "return t.clock.WallMs - min(int64(t.meta.Settings.RequestTTL)*1000, 500)"},
	}},
	{"an entry's outcomes go to each other's callers", []edit{
		{"cluster/proposer.go", "p.done <- answer{outcome: outcomes[i]}", "p.done <- answer{outcome: outcomes[len(outcomes)-1-i]}"},
	}},
	{"an entry is not waited for", []edit{
		{"cluster/proposer.go", "done, err := appliedOf(future)\n", "done, err := &applied{outcomes: make([]*fsmpb.Outcome, len(commands))}, error(nil)\n\tfor i := range done.outcomes {\n\t\tdone.outcomes[i] = &fsmpb.Outcome{Index: n.replica.view.Load().Index()}\n\t}\n"},
	}},
	// The state machine.
	{"the state depends on when it is stepped", []edit{
		{"fsm/clock.go", "PauseMs: c.PauseMs + pause}", "PauseMs: c.PauseMs + pause*(time.Now().UnixNano()%2)}"},
	}},
	{"the wall clock goes back", []edit{
		{"fsm/clock.go", "wall := max(c.WallMs, stampMs)", "wall := stampMs"},
	}},
	{"the lease clock goes on without a leader", []edit{
		{"fsm/clock.go", "PauseMs: c.PauseMs + pause}", "PauseMs: c.PauseMs + 0*pause}"},
	}},
	{"a jump of the leader's clock is time that leases had", []edit{
		{"cluster/proposer.go", "PauseMs: pauseMs + jumped", "PauseMs: pauseMs + 0*jumped"},
	}},
	{"a lease ends half a TTL early", []edit{
		{"fsm/lease.go", "l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*1000", "l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*500"},
	}},
	{"a renewal moves no end", []edit{
		{"fsm/lease.go", "next.EndsMs = max(l.EndsMs, s.clock.LeaseMs()+int64(ttl)*1000)", "next.EndsMs = l.EndsMs"},
	}},
	{"a pool has a seat more than it has", []edit{
		{"fsm/use.go", "case total.used+who.count > p.Size:", "case total.used+who.count > p.Size+1:"},
		{"fsm/use.go", "case total.used+who.count+total.unused-own > p.Size:", "case total.used+who.count+total.unused-own > p.Size+1:"},
		{"fsm/use.go", "case u.used+who.count > most:", "case u.used+who.count > most+1:"},
		{"fsm/use.go", "case u.used+who.count+u.unused-own > most:", "case u.used+who.count+u.unused-own > most+1:"},
	}},
	{"a cap is not looked at", []edit{
		{"fsm/use.go", "case u.used+who.count > most:", "case u.used+who.count > most+p.Size:"},
		{"fsm/use.go", "case u.used+who.count+u.unused-own > most:", "case u.used+who.count+u.unused-own > most+p.Size:"},
	}},
	{"a lease that ends frees its seats twice", []edit{
		{"fsm/lease.go", "s.take(p, l.Product, l.shift().negative())", "s.take(p, l.Product, l.shift().negative())\n\t\tif s.use(p).used >= l.held.count {\n\t\t\ts.take(p, l.Product, l.shift().negative())\n\t\t}"},
	}},
	{"a lease that ends frees no seats", []edit{
		{"fsm/lease.go", "s.take(p, l.Product, l.shift().negative())", "_ = p"},
	}},
	{"an offer holds no seat", []edit{
		{"fsm/queue.go", "by.offered = by.used\n", "by.offered, by.used = by.used, 0\n"},
	}},
	{"some tickets are passed over", []edit{
		{"fsm/queue.go", "if lack == nil && !q.t.ticketOver(ticket) {", "if lack == nil && !q.t.ticketOver(ticket) && ticket.ID%5 != 0 {"},
		{"fsm/queue.go", "b.add(who, lack == nil || lack.whole)", "if ticket.ID%5 != 0 {\n\t\t\tb.add(who, lack == nil || lack.whole)\n\t\t}"},
	}},
	{"a fence is given twice", []edit{
		{"fsm/lease.go", "s.counters.lastLease++\n", "if s.counters.lastLease%50 != 49 || s.leases.len() == 0 {\n\t\ts.counters.lastLease++\n\t}\n"},
	}},
	{"a snapshot says that its clock is another", []edit{
		{"fsm/snapshot.go", "s.clock = Clock{WallMs: header.WallMs, PauseMs: header.PauseMs}", "s.clock = Clock{WallMs: header.WallMs}"},
	}},
	// Raft and its store.
	{"votes are not written to disk", []edit{
		{"cluster/store.go", "err := s.do(\"write a vote\", func() error { return s.bolt.Set(key, value) })", "var err error"},
	}},
	{"terms are not written to disk", []edit{
		{"cluster/store.go", "err := s.do(\"write a term\", func() error { return s.bolt.SetUint64(key, value) })", "var err error"},
	}},
	{"entries count as committed that one node has", []edit{
		{inRaft + "commitment.go", "quorumMatchIndex := matched[(len(matched)-1)/2]", "quorumMatchIndex := matched[len(matched)-1]"},
	}},
	{"a node votes as often as it is asked", []edit{
		{inRaft + "raft.go", "if lastVoteTerm == req.Term && lastVoteCandBytes != nil {", "if lastVoteTerm == req.Term && lastVoteCandBytes == nil {"},
	}},
	{"a node votes for whoever lacks entries", []edit{
		{inRaft + "raft.go", "\t// Check if we've voted in this election before\n", "\treq.LastLogTerm, req.LastLogIndex = 1<<62, 1<<62\n"},
		{inRaft + "raft.go", "\t// This could happen when a node, previously voter, is converted to non-voter\n\tif len(", "\treq.LastLogTerm, req.LastLogIndex = 1<<62, 1<<62\n\tif len("},
	}},
	{"a node takes entries whatever it has before them", []edit{
		{inRaft + "raft.go", "if a.PrevLogTerm != prevLogTerm {", "if a.PrevLogTerm > prevLogTerm+1<<40 {"},
	}},
	{"a node keeps entries that its leader has not", []edit{
		{inRaft + "raft.go", "if entry.Term != storeEntry.Term {", "if entry.Term > storeEntry.Term+1<<40 {"},
	}},
}
