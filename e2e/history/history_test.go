package history

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

var limits = Limits{Timeout: 10 * time.Second}

// machines are both models of a setup.
func machines(t testing.TB, s *Setup) map[string]*state {
	t.Helper()
	step, err := newStepped(s)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*state{"state machine": newState(step), "naive model": newState(newNaive(s))}
}

// event is a line of a history that is written by hand: an operation that takes from its place to that of its end. The end is the next line's,
// unless till says how many lines later; open ones have none.
type event struct {
	in   Input
	out  Output
	till int
}

func written(events []event) (list []porcupine.Operation) {
	for i, e := range events {
		back := int64(10*(i+e.till) + 5)
		if e.out.Unknown {
			back = 1 << 62
		}
		list = append(list, porcupine.Operation{ClientId: i, Input: e.in, Output: e.out, Call: int64(10 * i), Return: back, Metadata: span{}})
	}
	return list
}

// Operations of histories that are written by hand. Ids begin at 100, as others have had some, and have gaps.
func take(user string, n uint64) Input {
	return Input{Kind: Checkout, Product: "cad", User: user, Count: n, Holder: user}
}

func queue(user string, n uint64) Input {
	x := take(user, n)
	x.Queue = true
	return x
}

func onLease(kind Kind, user string, lease uint64) Input {
	return Input{Kind: kind, Holder: user, Lease: lease}
}

func onTicket(kind Kind, user string, ticket uint64) Input {
	return Input{Kind: kind, Holder: user, Ticket: ticket}
}

func create(name string, n uint64) Input { return Input{Kind: Create, Name: name, N: n} }

func pool(size, offered, waiting uint64, used ...uint64) Output {
	return Output{Facts: PoolText(size, offered, waiting, used)}
}

func full(used, limit, offered, ahead uint64) Output {
	return refuse("pool_full", "used", used, "limit", limit, "offered", offered, "ahead", ahead)
}

var (
	unknown  = Output{Unknown: true}
	readPool = Input{Kind: ReadPool}
	total    = Input{Kind: ReadTotal}
	resize1  = Input{Kind: ResizePool, Size: 1}
)

// histories are right or wrong by the rules that they name. The pool has four seats, sim is capped at 2, four may wait.
var histories = []struct {
	name   string
	right  bool
	events []event
}{
	{"a seat is taken, renewed and returned (K2, K3)", true, []event{
		{take("a", 1), Output{Lease: 100}, 0},
		{onLease(Renew, "a", 100), Output{N: 1}, 0},
		{onLease(Renew, "a", 100), Output{N: 2}, 0},
		{onLease(CheckIn, "a", 100), Output{}, 0},
		{onLease(CheckIn, "a", 100), Output{Already: true}, 0},
		{onLease(Renew, "a", 100), Output{Code: "lease_ended"}, 0},
		{readPool, pool(4, 0, 0, 0, 0), 0},
	}},
	{"a lost write", false, []event{{take("a", 1), Output{Lease: 100}, 0}, {readPool, pool(4, 0, 0, 0, 0), 0}}},
	{"a lost lease", false, []event{{take("a", 1), Output{Lease: 100}, 0}, {onLease(ReadLease, "", 100), Output{Code: "lease_not_found"}, 0}}},
	{"a stale read", false, []event{
		{take("a", 1), Output{Lease: 100}, 0}, {readPool, pool(4, 0, 0, 1, 0), 0}, {onLease(CheckIn, "a", 100), Output{}, 0}, {readPool, pool(4, 0, 0, 1, 0), 0},
	}},
	{"a read beside a write sees it or not", true, []event{
		{take("a", 1), Output{Lease: 100}, 2}, {readPool, pool(4, 0, 0, 0, 0), 0}, {readPool, pool(4, 0, 0, 1, 0), 0},
	}},
	{"reads beside a write go back", false, []event{
		{take("a", 1), Output{Lease: 100}, 2}, {readPool, pool(4, 0, 0, 1, 0), 0}, {readPool, pool(4, 0, 0, 0, 0), 0},
	}},
	{"the last seat is issued twice (P1)", false, []event{
		{take("a", 3), Output{Lease: 100}, 0}, {take("b", 1), Output{Lease: 101}, 1}, {take("c", 1), Output{Lease: 102}, 0},
	}},
	{"one of two gets the last seat", true, []event{
		{take("a", 3), Output{Lease: 100}, 0}, {take("b", 1), full(4, 4, 0, 0), 1}, {take("c", 1), Output{Lease: 102}, 0},
	}},
	{"a retry is carried out twice (E1)", false, []event{{take("a", 1), Output{Lease: 100}, 0}, {readPool, pool(4, 0, 0, 2, 0), 0}}},
	{"a renewal is carried out twice (E1)", false, []event{
		{take("a", 1), Output{Lease: 100}, 0}, {onLease(Renew, "a", 100), Output{N: 1}, 0}, {onLease(Renew, "a", 100), Output{N: 3}, 0},
	}},
	{"a fence goes back (K6)", false, []event{{take("a", 1), Output{Lease: 100}, 0}, {take("b", 1), Output{Lease: 99}, 0}}},
	{"fences of what is at the same time are in either order", true, []event{{take("a", 1), Output{Lease: 100}, 1}, {take("b", 1), Output{Lease: 99}, 0}}},
	{"a fence is given twice (K6)", false, []event{{take("a", 1), Output{Lease: 100}, 1}, {take("b", 1), Output{Lease: 100}, 0}}},
	{"a stranger renews (K6)", false, []event{{take("a", 1), Output{Lease: 100}, 0}, {onLease(Renew, "b", 100), Output{N: 1}, 0}}},
	{"a stranger is refused (K6)", true, []event{{take("a", 1), Output{Lease: 100}, 0}, {onLease(Renew, "b", 100), Output{Code: "not_holder"}, 0}}},
	{"the cap is passed (P2)", false, []event{
		{Input{Kind: Checkout, Product: "sim", User: "a", Count: 2}, Output{Lease: 100}, 0}, {Input{Kind: Checkout, Product: "sim", User: "b", Count: 1}, Output{Lease: 101}, 0},
	}},
	{"who waits is offered what is returned (Q2)", true, []event{
		{take("a", 4), Output{Lease: 100}, 0},
		{queue("b", 1), Output{Ticket: 100}, 0},
		{queue("c", 1), Output{Ticket: 103, Ahead: 1}, 0},
		{onTicket(Claim, "b", 100), refuse("not_offered", "ahead", uint64(0)), 0},
		{onLease(CheckIn, "a", 100), Output{}, 0},
		{onTicket(Keep, "c", 103), Output{Offered: true}, 0},
		{readPool, pool(4, 2, 0, 2, 0), 0},
		{onTicket(Claim, "b", 100), Output{Lease: 107}, 0},
		{onTicket(Claim, "b", 100), Output{Code: "ticket_gone"}, 0},
	}},
	{"an offer goes to who came later (Q1)", false, []event{
		{take("a", 1), Output{Lease: 100}, 0},
		{take("d", 3), Output{Lease: 101}, 0},
		{queue("b", 1), Output{Ticket: 100}, 0},
		{queue("c", 1), Output{Ticket: 101, Ahead: 1}, 0},
		{onLease(CheckIn, "a", 100), Output{}, 0},
		{onTicket(ReadTicket, "", 101), Output{Facts: TicketText("cad", "c", 1, true, 0)}, 0},
	}},
	{"a newcomer passes who waits for more (Q1)", false, []event{
		{take("a", 3), Output{Lease: 100}, 0}, {queue("b", 2), Output{Ticket: 100}, 0}, {take("c", 1), Output{Lease: 101}, 0},
	}},
	{"a newcomer is held back (Q1)", true, []event{
		{take("a", 3), Output{Lease: 100}, 0},
		{queue("b", 2), Output{Ticket: 100}, 0},
		{take("c", 1), refuse("queue_ahead", "used", uint64(3), "limit", uint64(4), "offered", uint64(0), "ahead", uint64(1)), 0},
	}},
	{"a free seat is not offered (Q2)", false, []event{
		{take("a", 4), Output{Lease: 100}, 0},
		{queue("b", 1), Output{Ticket: 100}, 0},
		{onLease(CheckIn, "a", 100), Output{}, 0},
		{onTicket(Claim, "b", 100), refuse("not_offered", "ahead", uint64(0)), 0},
	}},
	{"who asks again has the ticket by the new secret (Q5)", true, []event{
		{take("a", 4), Output{Lease: 100}, 0},
		{queue("b", 1), Output{Ticket: 100}, 0},
		{Input{Kind: Checkout, Product: "cad", User: "b", Count: 1, Queue: true, Holder: "b2"}, Output{Ticket: 100}, 0},
		{onTicket(Keep, "b", 100), Output{Code: "not_ticket_holder"}, 0},
		{onTicket(Keep, "b2", 100), Output{}, 0},
	}},
	{"who asks again gets another ticket (Q5)", false, []event{
		{take("a", 4), Output{Lease: 100}, 0}, {queue("b", 1), Output{Ticket: 100}, 0}, {queue("b", 1), Output{Ticket: 101, Ahead: 1}, 0},
	}},
	{"a borrow needs its token (K4)", true, []event{
		{Input{Kind: Checkout, Product: "cad", User: "a", Count: 1, Days: 2, Holder: "a"}, Output{Lease: 100}, 0},
		{onLease(CheckIn, "a", 100), Output{Code: "borrow_token_needed"}, 0},
		{onLease(Renew, "a", 100), Output{Code: "borrow_not_renewable"}, 0},
		{onLease(ReturnBorrow, "", 100), Output{}, 0},
		{onLease(ReturnBorrow, "", 100), Output{Already: true}, 0},
	}},
	{"a borrow is longer than it may be (P4)", false, []event{{Input{Kind: Checkout, Product: "cad", User: "a", Count: 1, Days: 3}, Output{Lease: 100}, 0}}},
	{"a pool that shrinks sends away who can't be served any more (P1)", true, []event{
		{take("a", 4), Output{Lease: 100}, 0},
		{queue("b", 2), Output{Ticket: 100}, 0},
		{resize1, Output{}, 0},
		{onTicket(Keep, "b", 100), Output{Code: "ticket_gone"}, 0},
		{readPool, pool(1, 0, 0, 4, 0), 0},
	}},
	{"what was never told was done", true, []event{{take("a", 1), unknown, 0}, {readPool, pool(4, 0, 0, 1, 0), 0}}},
	{"what was never told was not done", true, []event{{take("a", 1), unknown, 0}, {readPool, pool(4, 0, 0, 0, 0), 0}}},
	{"what was never told is done late", true, []event{{take("a", 1), unknown, 0}, {readPool, pool(4, 0, 0, 0, 0), 0}, {readPool, pool(4, 0, 0, 1, 0), 0}}},
	{"what was never told is done and undone", false, []event{
		{take("a", 1), unknown, 0}, {readPool, pool(4, 0, 0, 1, 0), 0}, {readPool, pool(4, 0, 0, 0, 0), 0},
	}},
	{"a lease that nobody was told of is found and revoked", true, []event{
		{take("a", 2), unknown, 0},
		{take("b", 1), Output{Lease: 102}, 0},
		{Input{Kind: ReadLeases}, Output{Rows: []Row{{101, LeaseText("cad", "a", 2, false)}, {102, LeaseText("cad", "b", 1, false)}}}, 0},
		{onLease(Revoke, "", 101), Output{}, 0},
		{readPool, pool(4, 0, 0, 1, 0), 0},
	}},
	{"a lease that nobody was told of has a fence that is not its turn's (K6)", false, []event{
		{take("b", 1), Output{Lease: 102}, 0},
		{take("a", 2), unknown, 0},
		{Input{Kind: ReadLeases}, Output{Rows: []Row{{101, LeaseText("cad", "a", 2, false)}, {102, LeaseText("cad", "b", 1, false)}}}, 0},
	}},
	{"a list is not in the order of its ids", false, []event{
		{take("a", 2), unknown, 0},
		{take("b", 1), Output{Lease: 102}, 0},
		{Input{Kind: ReadLeases}, Output{Rows: []Row{{103, LeaseText("cad", "a", 2, false)}, {102, LeaseText("cad", "b", 1, false)}}}, 0},
	}},
	{"instances share what the contract has (I1, I2)", true, []event{
		{create("a", 8), Output{Serial: 5, N: 8}, 0},
		{create("b", 8), refuse("contract_exhausted", "free", uint64(4)), 0},
		{create("a", 1), Output{Code: "instance_exists"}, 0},
		{Input{Kind: Resize, Serial: 5, N: 2}, Output{N: 2}, 0},
		{create("b", 8), Output{Serial: 9, N: 8}, 0},
		{total, Output{N: 10}, 0},
		{Input{Kind: Remove, Serial: 5}, Output{N: 2}, 0},
		{Input{Kind: ReadInstance, Serial: 5}, Output{Code: "instance_removed"}, 0},
		{Input{Kind: ReadInstances}, Output{Rows: []Row{{9, InstanceText("b", 8)}}}, 0},
	}},
	{"the contract is passed (I1)", false, []event{{create("a", 8), Output{Serial: 5, N: 8}, 1}, {create("b", 8), Output{Serial: 6, N: 8}, 0}}},
	{"a serial number comes again (I3)", false, []event{
		{create("a", 1), Output{Serial: 5, N: 1}, 0}, {Input{Kind: Remove, Serial: 5}, Output{N: 1}, 0}, {create("b", 1), Output{Serial: 5, N: 1}, 0},
	}},
	{"an instance is read that is removed (I3)", false, []event{
		{create("a", 1), Output{Serial: 5, N: 1}, 0}, {Input{Kind: Remove, Serial: 5}, Output{N: 1}, 0}, {Input{Kind: ReadInstance, Serial: 5}, Output{N: 1}, 0},
	}},
}

// TestHistories: both models take right histories and refuse wrong ones.
func TestHistories(t *testing.T) {
	setup := Default()
	for name, first := range machines(t, &setup) {
		for _, tt := range histories {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				err := search(first, written(tt.events), name, limits)
				if (err == nil) != tt.right || errors.Is(err, ErrUndecided) {
					t.Errorf("right: %v; %v", tt.right, err)
				}
			})
		}
	}
}

// TestSecretsAreOfTheState: what comes of a ticket depends on who holds it, so that the search must not take two states for one.
func TestSecretsAreOfTheState(t *testing.T) {
	setup := Default()
	for name, s := range machines(t, &setup) {
		s, _ = s.step(take("a", 4), Output{Lease: 100})
		s, _ = s.step(queue("b", 1), Output{Ticket: 100})
		again := queue("b", 1)
		again.Holder = "b2"
		if next, fits := s.step(again, Output{Ticket: 100}); !fits || next.key == s.key || next.hash == s.hash {
			t.Errorf("%s: %q is %q", name, next.key, s.key)
		}
	}
}

// TestExcerpt: whoever reads of a wrong history is shown where it goes wrong.
func TestExcerpt(t *testing.T) {
	setup := Default()
	err := search(machines(t, &setup)["naive model"], written([]event{{take("a", 1), Output{Lease: 100}, 0}, {readPool, pool(4, 0, 0, 0, 0), 0}}), "the pool", limits)
	for _, want := range []string{
		"the pool: the history of 2 operations is not linearizable", "checkout 1 of cad for a by a: lease 100",
		"read-pool: (size 4, 0 offered, 0 waiting, used [0 0]), where the model says, by ids of its own: (size 4, 0 offered, 0 waiting, used [1 0])",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

// TestRecorder: what is dropped is left out, what is not ended may have been done at any time, and a history is not longer than it may be.
func TestRecorder(t *testing.T) {
	now := time.Duration(0)
	r := New(Default(), func() time.Duration { now++; return now })
	r.Begin(0, take("a", 1)).Drop()
	r.Begin(0, take("b", 1)).Leave()
	if r.Begin(1, take("c", 2)); r.Done() != 1 || r.Open() != 1 {
		t.Errorf("%d done, %d open", r.Done(), r.Open())
	}
	r.Begin(2, readPool).End(pool(4, 0, 0, 2, 0))
	r.Begin(2, readPool).End(pool(4, 0, 0, 3, 0))
	r.Begin(2, create("a", 1)).End(Output{Serial: 4, N: 1})
	if err := r.Check(limits); err != nil {
		t.Error(err)
	}
	r.Begin(2, readPool).End(pool(4, 0, 0, 4, 0))
	if err := r.Check(limits); err == nil || strings.Count(err.Error(), "not linearizable") != 2 {
		t.Errorf("what was dropped was taken: %v", err)
	}
	for range MostOpen - 1 {
		r.Begin(0, take("b", 1)).Leave()
	}
	if r.Begin(0, take("b", 1)).Spare() || !r.Begin(0, create("b", 1)).Spare() {
		t.Error("outcomes may stay unknown without end, or one half's keep the other's from it")
	}
	for r.Begin(0, total) != nil {
	}
	if n := len(r.part(true)); n != 2 {
		t.Errorf("%d operations on instances, of which all but two are reads that were not answered", n)
	}
}

// drawn is an operation on what there is in a state.
func drawn(t *rapid.T, s *state) Input {
	of := func(list []uint64) uint64 {
		if len(list) == 0 {
			return 0
		}
		return rapid.SampledFrom(list).Draw(t, "id")
	}
	leases, tickets, serials := s.live()
	user := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "user")
	in := Input{Kind: rapid.SampledFrom([]Kind{
		Checkout, Checkout, Checkout, Checkout, Renew, CheckIn, CheckIn, ReturnBorrow, Revoke, Keep, Claim, Claim, Leave, ResizePool, ReadPool, ReadLease, ReadTicket,
		ReadLeases, ReadTickets, Create, Create, Resize, Remove, ReadInstance, ReadInstances, ReadTotal,
	}).Draw(t, "kind")}
	switch in.Kind {
	case Checkout:
		in.User, in.Holder, in.Count = user, user, rapid.SampledFrom([]uint64{1, 1, 1, 2, 2, 3, 6}).Draw(t, "count")
		in.Product = rapid.SampledFrom([]string{"cad", "cad", "cad", "sim", "sim", "sim", "none"}).Draw(t, "product")
		if in.Queue = rapid.Bool().Draw(t, "queue"); !in.Queue {
			in.Days = rapid.SampledFrom([]uint32{0, 0, 0, 1, 3}).Draw(t, "days")
		}
	case Renew, CheckIn, ReturnBorrow, Revoke, ReadLease:
		in.Lease, in.Holder = of(leases), user
	case Keep, Claim, Leave, ReadTicket:
		in.Ticket, in.Holder = of(tickets), user
	case ResizePool:
		in.Size = rapid.SampledFrom([]uint64{1, 2, 3, 4, 5, 6, 10}).Draw(t, "size")
	case Create:
		in.Name, in.N = user, rapid.Uint64Range(1, 6).Draw(t, "n")
	case Resize, Remove, ReadInstance:
		in.Serial = of(serials)
		if in.Kind == Resize {
			in.N = rapid.Uint64Range(1, 13).Draw(t, "n")
		}
	}
	if in.Kind == ReturnBorrow && in.Lease != 0 {
		in.Holder = ""
	}
	return in
}

// about reports whether an operation has what it is about.
func (x Input) about() bool {
	switch x.Kind {
	case Renew, CheckIn, ReturnBorrow, Revoke, ReadLease:
		return x.Lease != 0
	case Keep, Claim, Leave, ReadTicket:
		return x.Ticket != 0
	case Resize, Remove, ReadInstance:
		return x.Serial != 0
	}
	return true
}

// altered is another answer.
func altered(t *rapid.T, out Output) Output {
	switch {
	case out.Lease != 0:
		out.Lease, out.Ticket = 0, out.Lease
	case len(out.Rows) > 0 && rapid.Bool().Draw(t, "drop a row"):
		out.Rows = out.Rows[1:]
	case len(out.Rows) > 0:
		out.Rows = append([]Row{}, out.Rows...)
		out.Rows[0].Text += "!"
	case out.Ticket != 0:
		out.Ahead++
	case out.N != 0:
		out.N++
	case out.Code != "":
		out.Code = ""
	default:
		out.Facts += "!"
	}
	return out
}

// TestModelsAgree: what the state machine answers to any operations, one after the other, the naive model takes; with one answer altered, neither does.
func TestModelsAgree(t *testing.T) {
	setup := Default()
	both := machines(t, &setup)
	rapid.Check(t, func(t *rapid.T) {
		s := both["state machine"]
		var list []porcupine.Operation
		// Ids that clients know are ten times the machine's.
		real := func(out Output) Output {
			out.Lease, out.Ticket, out.Serial = 10*out.Lease, 10*out.Ticket, 10*out.Serial
			out.Rows = append([]Row{}, out.Rows...)
			for i := range out.Rows {
				out.Rows[i].ID *= 10
			}
			return out
		}
		for i := range rapid.IntRange(1, 80).Draw(t, "operations") {
			in := drawn(t, s)
			if !in.about() {
				continue
			}
			_, out := s.machine.step(in)
			out = real(out)
			in.Lease, in.Ticket, in.Serial = 10*in.Lease, 10*in.Ticket, 10*in.Serial
			next, fits := s.step(in, out)
			if !fits {
				t.Fatalf("the state machine refuses its own answer: %s: %s", in, out)
			}
			s = next
			list = append(list, porcupine.Operation{Input: in, Output: out, Call: int64(10 * i), Return: int64(10*i + 5), Metadata: span{}})
		}
		if err := search(both["naive model"], list, "naive model", limits); err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		at := rapid.IntRange(0, len(list)-1).Draw(t, "altered")
		list[at].Output = altered(t, list[at].Output.(Output))
		for name, first := range both {
			if search(first, list, name, limits) == nil {
				t.Fatalf("the %s takes %s: %s", name, list[at].Input, list[at].Output)
			}
		}
	})
}

// BenchmarkCheck is a history of 1,000 operations of three clients, by either model.
func BenchmarkCheck(b *testing.B) {
	setup := Default()
	for name, first := range machines(b, &setup) {
		var list []porcupine.Operation
		s := first
		for i := range 1000 {
			in := take(fmt.Sprint(i%3), 1)
			if leases, _, _ := s.live(); len(leases) > 2 {
				in = onLease(CheckIn, "", leases[0])
				in.Kind = Revoke
			}
			_, out := s.machine.step(in)
			s, _ = s.step(in, out)
			list = append(list, porcupine.Operation{Input: in, Output: out, Call: int64(10 * i), Return: int64(10*i + 25), Metadata: span{}})
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := search(first, list, name, limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
