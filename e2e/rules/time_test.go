package rules_test

import (
	"errors"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/rules"
)

// timekeeper is who writes something where a script has time noted, and nothing else.
const timekeeper = "timekeeper"

// nowhere is an instance that there never is.
const nowhere = 1 << 40

var timeWords = words{
	"at": (*player).cmdAt, "node-clock": (*player).cmdNodeClock, "outage": (*player).cmdOutage, "leader": (*player).cmdLeader,
	"restart": (*player).cmdRestart, "expire": (*player).cmdExpire,
	"expired": (*player).cmdExpired, "clock": (*player).cmdClock, "due": (*player).cmdDue,
}

// cmdAt moves the nodes' clocks, has the cluster take note of it, and waits until nothing is due any more.
func (p *player) cmdAt(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "at TIME")
	to := rules.Moment(ts, args[0])
	if p.outage > 0 {
		p.withoutLeader(ts, to)
	}
	p.moveTo(ts, to)
}

func (p *player) moveTo(ts *testscript.TestScript, to time.Time) {
	p.move(ts, to)
	view := p.settled(p.note(ts))
	p.noted = view.Clock().Wall()
	// D2: however often leaders change, leases get the time that there was none, and no more.
	rules.Expect(ts, "time without a leader so far", time.Duration(view.Clock().PauseMs)*time.Millisecond, p.paused)
}

// move moves the clocks while there is a leader that serves: what a new one has not opened yet is no time of its own.
func (p *player) move(ts *testscript.TestScript, to time.Time) {
	p.serves(ts)
	p.clock.set(to)
}

// serves returns an index that was acknowledged, once there is a leader that has opened its term.
func (p *player) serves(ts *testscript.TestScript) uint64 {
	a, err := p.client(ts, timekeeper).Settings(p.ctx)
	ts.Check(err)
	return a.Index
}

// note writes what changes nothing, so that the state's clock moves. It returns the index.
func (p *player) note(ts *testscript.TestScript) uint64 {
	_, err := p.client(ts, timekeeper).RemoveInstance(p.ctx, nowhere)
	var e *client.Error
	if !errors.As(err, &e) || e.Status != 404 {
		ts.Fatalf("the timekeeper's write: %v", err)
	}
	return e.Meta.Index
}

// withoutLeader lets the last part of the time until then pass while all nodes are down.
func (p *player) withoutLeader(ts *testscript.TestScript, to time.Time) {
	down := p.outage
	p.outage = 0
	now := p.clock.now()
	down = max(0, min(down, to.Sub(now)))
	if to.After(now) {
		p.moveTo(ts, to.Add(-down))
	}
	p.agree()
	p.stop()
	if down > 0 {
		p.clock.set(to)
		// Where the clocks were put back before, the state's stood still meanwhile, and has less to make good.
		p.paused += max(0, min(down, to.Sub(p.noted)))
	}
	p.start()
}

func (p *player) cmdNodeClock(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "node-clock TIME")
	p.move(ts, rules.Moment(ts, args[0]))
}

// cmdOutage has an effect with the next at.
func (p *player) cmdOutage(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "outage DURATION")
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	p.outage = d
}

// cmdLeader hands leadership to another node. After an outage somebody is elected anyway.
func (p *player) cmdLeader(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "leader TERM")
	if p.outage > 0 {
		return
	}
	before := p.leader().node.Status()
	p.eventually("another leader", func() error {
		if now := p.leader().node.Status(); now.Term > before.Term {
			return nil
		}
		others := []string{}
		for _, x := range p.list {
			if x.options.ID != before.ID {
				others = append(others, x.options.ID)
			}
		}
		_, err := p.client(ts, "operator").TransferLeadership(p.ctx, others[p.random.IntN(len(others))])
		return errors.Join(errors.New("the same node leads"), err)
	})
	p.ready()
}

// cmdRestart stops all nodes and starts them again from their data directories.
func (p *player) cmdRestart(*testscript.TestScript, []string) {
	p.agree()
	p.stop()
	p.start()
}

// end is what an expiry ended, or the change of a pool.
type end struct {
	leases, offers, tickets []uint64
	contracts, pools        uint64
	more                    bool
}

// cmdExpire waits until the leader has ended what is due, and takes what it did since the last expire. Where
// that was done in parts, it takes one part.
func (p *player) cmdExpire(ts *testscript.TestScript, _ []string) {
	view := p.settled(p.serves(ts))
	for rows := view.WritesAfter(p.audited, 1000); len(rows) > 0; rows = view.WritesAfter(p.audited, 1000) {
		for _, row := range rows {
			p.audited = row.Seq
			if row.KindName() != "expire" {
				continue
			}
			o, err := row.Decided()
			ts.Check(err)
			x := o.GetExpired()
			p.expired = append(p.expired, &end{
				leases: x.GetLeases(), offers: x.GetOffers(), tickets: x.GetTickets(), contracts: x.GetContracts(), pools: x.GetPools(), more: x.GetMore(),
			})
		}
	}
	p.ended = p.part()
	p.last = reply{}
}

// part joins what was ended up to the first expiry that left something for the next.
func (p *player) part() *end {
	sum := new(end)
	for len(p.expired) > 0 && !sum.more {
		x := p.expired[0]
		p.expired = p.expired[1:]
		sum.leases, sum.offers, sum.tickets = append(sum.leases, x.leases...), append(sum.offers, x.offers...), append(sum.tickets, x.tickets...)
		sum.contracts, sum.pools, sum.more = sum.contracts+x.contracts, sum.pools+x.pools, x.more
	}
	return sum
}

func (p *player) cmdExpired(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "expired N")
	if p.ended == nil {
		ts.Fatalf("expired stands after expire")
	}
	rules.Expect(ts, "contracts ended", p.ended.contracts, rules.Number(ts, args[0]))
}

// cmdClock: clock wall=TIME lease=TIME, of a node that has what was acknowledged.
func (p *player) cmdClock(ts *testscript.TestScript, args []string) {
	clock := p.status(ts)
	for name, value := range rules.Pairs(ts, args) {
		switch name {
		case "wall":
			rules.Expect(ts, "wall clock", clock.Clock.UTC(), rules.Moment(ts, value))
		case "lease":
			rules.Expect(ts, "lease clock", time.UnixMilli(clock.LeaseClockMs).UTC(), rules.Moment(ts, value))
		default:
			ts.Fatalf("clock %s", name)
		}
	}
}

// cmdDue looks into a node: what is due next is the leader's business, and no interface tells it.
func (p *player) cmdDue(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "due nothing|TIME")
	got, want := "nothing", args[0]
	if ms, ok := p.settled(p.serves(ts)).NextDue(); ok {
		got = time.UnixMilli(ms).UTC().Format(time.RFC3339)
	}
	if want != "nothing" {
		want = rules.Moment(ts, want).Format(time.RFC3339)
	}
	rules.Expect(ts, "next due", got, want)
}
