package main

// mutation is a fault that is put into licet, or into Raft, to see that simulations find it. Files are those of the repository, or of a module
// that is named before them.
type mutation struct {
	name  string
	edits []edit
	// test is a package and one of its tests that is to fail, empty if simulations are to find it.
	test string
}

const inRaft = "github.com/hashicorp/raft "

var mutations = []mutation{
	// Reads.
	{name: "a leader that is cut off answers reads", edits: []edit{
		{"cluster/vouch.go", "if missing <= 0 {\n\t\treturn nil", "if missing <= 0 || ctx != nil {\n\t\treturn nil"},
	}},
	{name: "a read waits for no index", edits: []edit{
		{"cluster/read.go", "index := n.committed()", "index := uint64(0)"},
	}},
	{name: "a follower asks no leader for a read", edits: []edit{
		{"cluster/read.go", "address := n.leader.address()\n", "if view := n.replica.view.Load(); view != nil {\n\t\treturn view.Index(), nil\n\t}\n\taddress := n.leader.address()\n"},
	}},
	{name: "a read is answered one entry early", edits: []edit{
		{"cluster/replica.go", "if v := r.view.Load(); v.Index() >= index {\n\t\treturn v, nil\n\t}\n\tdone :=", "if v := r.view.Load(); v.Index()+1 >= index {\n\t\treturn v, nil\n\t}\n\tdone :="},
	}},
	// Writes.
	{name: "a request is carried out again when it is repeated", edits: []edit{
		{"fsm/state.go", "if outcome != nil && !stray {\n\t\treturn outcome\n\t}", "if !stray {\n\t\toutcome = nil\n\t}"},
	}},
	{name: "outcomes are forgotten after a moment", edits: []edit{
		{"fsm/write.go", "return t.clock.WallMs - int64(t.meta.Settings.RequestTTL)*1000", "return t.clock.WallMs - min(int64(t.meta.Settings.RequestTTL)*1000, 500)"},
	}},
	{name: "an entry's outcomes go to each other's callers", edits: []edit{
		{"cluster/proposer.go", "p.done <- answer{outcome: outcomes[i]}", "p.done <- answer{outcome: outcomes[len(outcomes)-1-i]}"},
	}},
	{name: "an entry is not waited for", edits: []edit{
		{"cluster/proposer.go", "done, err := appliedOf(future)\n", "done, err := &applied{outcomes: make([]*fsmpb.Outcome, len(commands))}, error(nil)\n\tfor i := range done.outcomes {\n\t\tdone.outcomes[i] = &fsmpb.Outcome{Index: n.replica.view.Load().Index()}\n\t}\n"},
	}},
	// The state machine.
	{name: "the state depends on when it is stepped", edits: []edit{
		{"fsm/clock.go", "PauseMs: c.PauseMs + pause}", "PauseMs: c.PauseMs + pause*(time.Now().UnixNano()%2)}"},
	}},
	{name: "the wall clock goes back", edits: []edit{
		{"fsm/clock.go", "wall := max(c.WallMs, stampMs)", "wall := stampMs"},
	}, test: "./fsm TestRules"},
	{name: "the lease clock goes on without a leader", edits: []edit{
		{"fsm/clock.go", "PauseMs: c.PauseMs + pause}", "PauseMs: c.PauseMs + 0*pause}"},
	}},
	{name: "a jump of the leader's clock is time that leases had", edits: []edit{
		{"cluster/proposer.go", "PauseMs: pauseMs + jumped", "PauseMs: pauseMs + 0*jumped"},
	}},
	{name: "a lease ends half a TTL early", edits: []edit{
		{"fsm/lease.go", "l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*1000", "l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*500"},
	}},
	{name: "a renewal moves no end", edits: []edit{
		{"fsm/lease.go", "next.EndsMs = max(l.EndsMs, s.clock.LeaseMs()+int64(ttl)*1000)", "next.EndsMs = l.EndsMs"},
	}},
	{name: "a pool has a seat more than it has", edits: []edit{
		{"fsm/use.go", "case total.used+who.count > p.Size:", "case total.used+who.count > p.Size+1:"},
		{"fsm/use.go", "case total.used+who.count+total.unused-own > p.Size:", "case total.used+who.count+total.unused-own > p.Size+1:"},
		{"fsm/use.go", "case u.used+who.count > most:", "case u.used+who.count > most+1:"},
		{"fsm/use.go", "case u.used+who.count+u.unused-own > most:", "case u.used+who.count+u.unused-own > most+1:"},
	}},
	{name: "a cap is not looked at", edits: []edit{
		{"fsm/use.go", "case u.used+who.count > most:", "case u.used+who.count > most+p.Size:"},
		{"fsm/use.go", "case u.used+who.count+u.unused-own > most:", "case u.used+who.count+u.unused-own > most+p.Size:"},
	}},
	{name: "a lease that ends frees its seats twice", edits: []edit{
		{"fsm/lease.go", "s.take(p, l.Product, l.shift().negative())", "s.take(p, l.Product, l.shift().negative())\n\t\tif s.use(p).used >= l.held.count {\n\t\t\ts.take(p, l.Product, l.shift().negative())\n\t\t}"},
	}},
	{name: "a lease that ends frees no seats", edits: []edit{
		{"fsm/lease.go", "s.take(p, l.Product, l.shift().negative())", "_ = p"},
	}},
	{name: "an offer holds no seat", edits: []edit{
		{"fsm/queue.go", "by.offered = by.used\n", "by.offered, by.used = by.used, 0\n"},
	}},
	{name: "some tickets are passed over", edits: []edit{
		{"fsm/queue.go", "if lack == nil && !q.t.ticketOver(ticket) {", "if lack == nil && !q.t.ticketOver(ticket) && ticket.ID%5 != 0 {"},
		{"fsm/queue.go", "b.add(who, lack == nil || lack.whole)", "if ticket.ID%5 != 0 {\n\t\t\tb.add(who, lack == nil || lack.whole)\n\t\t}"},
	}},
	{name: "a seat that was claimed stays on offer", edits: []edit{
		{"fsm/queue.go", "\ts.removeTicket(p, t)\n\tvar l *Lease\n", "\tvar l *Lease\n"},
	}},
	{name: "a fence is given twice", edits: []edit{
		{"fsm/lease.go", "s.counters.lastLease++\n", "if s.counters.lastLease%50 != 49 || s.leases.len() == 0 {\n\t\ts.counters.lastLease++\n\t}\n"},
	}},
	{name: "a snapshot says that its clock is another", edits: []edit{
		{"fsm/snapshot.go", "s.clock = Clock{WallMs: header.WallMs, PauseMs: header.PauseMs}", "s.clock = Clock{WallMs: header.WallMs}"},
	}},
	{name: "a snapshot lacks the tickets", edits: []edit{
		{"fsm/snapshot.go", "\twriteTable(&out, v.tickets)\n", ""},
	}},
	{name: "a snapshot lacks what was answered", edits: []edit{
		{"fsm/snapshot.go", "\twriteTable(&out, v.writes)\n", ""},
	}},
	// The cluster.
	{name: "time stands still where a leader's clock is behind", edits: []edit{
		{"cluster/clock.go", "\teven := c.evenly(now, steady)\n\tif lead", "\teven := now\n\tif before := c.even.Add(steady.Sub(c.evenAt)); before.Before(now) {\n\t\teven = before\n\t}\n\tif lead"},
	}, test: "./e2e/sim TestElectionsExtendNoLease"},
	{name: "requests are forwarded to whoever led first", edits: []edit{
		{"cluster/leader.go", "func (w *leaderWatch) address() string {\n\tw.mu.Lock()\n\tdefer w.mu.Unlock()\n\treturn w.current\n", "var former = map[*leaderWatch]string{}\n\nfunc (w *leaderWatch) address() string {\n\tw.mu.Lock()\n\tdefer w.mu.Unlock()\n\tif former[w] == \"\" {\n\t\tformer[w] = w.current\n\t}\n\treturn former[w]\n"},
	}},
	{name: "a node whose admission died with the leader does not ask again", edits: []edit{
		{"cluster/membership.go", "default:\n\t\t\tn.joinAgain()", "default:"},
	}, test: "./cluster TestNodeJoinsAgainWhoseAdmissionWasLost"},
	{name: "nodes vote without asking whether they would win", edits: []edit{
		{"cluster/node.go", "\tc.NoLegacyTelemetry = true\n", "\tc.NoLegacyTelemetry, c.PreVoteDisabled = true, true\n"},
	}, test: "./e2e/sim TestComebackUnseatsNobody"},
	// Raft and its store.
	{name: "votes are not written to disk", edits: []edit{
		{"cluster/store.go", "err := s.do(\"write a vote\", func() error { return s.bolt.Set(key, value) })", "var err error"},
	}},
	{name: "terms are not written to disk", edits: []edit{
		{"cluster/store.go", "err := s.do(\"write a term\", func() error { return s.bolt.SetUint64(key, value) })", "var err error"},
	}},
	{name: "entries count as committed that one node has", edits: []edit{
		{inRaft + "commitment.go", "quorumMatchIndex := matched[(len(matched)-1)/2]", "quorumMatchIndex := matched[len(matched)-1]"},
	}},
	{name: "a node votes as often as it is asked", edits: []edit{
		{inRaft + "raft.go", "if lastVoteTerm == req.Term && lastVoteCandBytes != nil {", "if lastVoteTerm == req.Term && lastVoteCandBytes == nil {"},
	}},
	{name: "a node votes for whoever lacks entries", edits: []edit{
		{inRaft + "raft.go", "\t// Check if we've voted in this election before\n", "\treq.LastLogTerm, req.LastLogIndex = 1<<62, 1<<62\n"},
		{inRaft + "raft.go", "\t// This could happen when a node, previously voter, is converted to non-voter\n\tif len(", "\treq.LastLogTerm, req.LastLogIndex = 1<<62, 1<<62\n\tif len("},
	}},
	{name: "a node takes entries whatever it has before them", edits: []edit{
		{inRaft + "raft.go", "if a.PrevLogTerm != prevLogTerm {", "if a.PrevLogTerm > prevLogTerm+1<<40 {"},
	}},
	{name: "a node keeps entries that its leader has not", edits: []edit{
		{inRaft + "raft.go", "if entry.Term != storeEntry.Term {", "if entry.Term > storeEntry.Term+1<<40 {"},
	}},
}
