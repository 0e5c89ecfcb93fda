package fsm

import (
	"bytes"
	"time"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

const dayMs = 24 * hourMs

// Lease is what a checkout yields, immutable (rules K2 to K6).
type Lease struct {
	// ID is the fence, too: it only grows (rule K6).
	ID                  uint64
	Pool, Product, User string
	// pool is the pool's number.
	pool            uint64
	Client, Project string
	// held are the seats of the lease itself: none for a connection to a project, whose token holds one.
	held    seats
	Holder  [HolderSize]byte
	SinceMs int64
	// TTL is in seconds, 0 for a borrow.
	TTL uint32
	// EndsMs is on the lease clock, or on the wall clock for a borrow.
	EndsMs            int64
	Borrow, Lingering bool
	Renewals          uint64
	// apiToken is the number of the API token that took it, if that has limits.
	apiToken uint64
	hashed
}

func (l *Lease) message(e *encoder) (recordKind, message) { return 41, l.record(&e.lease) }

func (l *Lease) record(into *fsmpb.LeaseRecord) *fsmpb.LeaseRecord {
	*into = fsmpb.LeaseRecord{
		Id: l.ID, Pool: l.Pool, Product: l.Product, User: l.User, Client: l.Client, Count: l.held.count, Reserved: l.held.reserved,
		Reservation: l.held.reservation, Project: l.Project, Holder: l.Holder[:], SinceMs: l.SinceMs, Ttl: l.TTL, EndsMs: l.EndsMs,
		Borrow: l.Borrow, Lingering: l.Lingering, Renewals: l.Renewals, ApiToken: l.apiToken,
	}
	return into
}

// leaseFromProto shares the pool's names with it: a million leases have the same few.
func leaseFromProto(r *fsmpb.LeaseRecord, p *Pool) *Lease {
	l := &Lease{
		ID: r.Id, Pool: p.Name, pool: p.ID, Product: r.Product, User: r.User, Client: r.Client, Project: r.Project,
		held: seats{r.Count, r.Reserved, r.Reservation}, SinceMs: r.SinceMs, TTL: r.Ttl, EndsMs: r.EndsMs,
		Borrow: r.Borrow, Lingering: r.Lingering, Renewals: r.Renewals, apiToken: r.ApiToken,
	}
	copy(l.Holder[:], r.Holder)
	if x := p.product(r.Product); x != nil {
		l.Product = x.Name
		if own := reservationNamed(x, r.Reservation); own != nil {
			l.held.reservation = own.Name
		}
	}
	return l
}

// leaseKey lists leases by pool and user, of whom it has the hash.
type leaseKey struct{ pool, user, id uint64 }

func (a leaseKey) less(b leaseKey) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	if a.user != b.user {
		return a.user < b.user
	}
	return a.id < b.id
}

func (l *Lease) key() leaseKey { return leaseKey{l.pool, hash64(l.User), l.ID} }

// shift is what the lease takes.
func (l *Lease) shift() shift {
	by := l.held.taken()
	if l.Borrow {
		by.borrowed = int64(l.held.count) //nolint:gosec // G115: a quantity, or a sum of them, is far below 2^63
	}
	return by
}

// plus adds changes of which at most one has to do with a reservation, or both with the same.
func (x shift) plus(y shift) shift {
	name := x.reservation
	if name == "" {
		name = y.reservation
	}
	return shift{x.used + y.used, x.offered + y.offered, x.borrowed + y.borrowed, x.waiting + y.waiting, name, x.reserved + y.reserved}
}

func (x shift) negative() shift {
	return shift{-x.used, -x.offered, -x.borrowed, -x.waiting, x.reservation, -x.reserved}
}

// indexLease keeps what is derived from leases, but for the seats.
func (t *tables) indexLease(l *Lease) {
	t.byUser.keys.Set(l.key())
	t.setLeaseDue(l)
	t.hold(l.apiToken, 1, 0)
	if l.Lingering {
		t.lingering.keys.Set(l.lingerer())
	}
	if l.Project != "" {
		t.byProject.keys.Set(projectLease{l.Pool, l.Project, l.ID})
	}
}

func (t *tables) setLeaseDue(l *Lease) {
	if l.Borrow {
		t.due.keys.Set(borrowDeadline(l))
	} else {
		t.leaseDue.keys.Set(l.deadline())
	}
}

func (t *tables) dropLeaseDue(l *Lease) {
	if l.Borrow {
		t.due.keys.Delete(borrowDeadline(l))
	} else {
		t.leaseDue.keys.Delete(l.deadline())
	}
}

// newLease is a lease for what was asked, not in any table yet. Its end is never past that of pool and contract (rule C5).
func (s *State) newLease(r *request, held seats) *Lease {
	s.counters.lastLease++
	l := &Lease{
		ID: s.counters.lastLease, Pool: r.pool.Name, pool: r.pool.ID, Product: r.product.Name, User: r.ask.User, Client: r.ask.Client, Project: r.ask.Project,
		held: held, SinceMs: s.clock.WallMs, TTL: r.ask.Ttl, apiToken: r.by.number(),
	}
	copy(l.Holder[:], r.ask.Holder)
	if days := r.ask.BorrowDays; days > 0 {
		l.Borrow, l.TTL = true, 0
		l.EndsMs = min(s.clock.WallMs+int64(days)*dayMs, r.ends)
		return l
	}
	if l.TTL == 0 {
		l.TTL = r.pool.TtlDefault
	}
	l.EndsMs = s.clock.LeaseMs() + int64(l.TTL)*1000
	return l
}

func (s *State) addLease(r *request, held seats) *Lease {
	l := s.newLease(r, held)
	s.leases.set(&s.digest, l.ID, l)
	s.indexLease(l)
	if held.count > 0 {
		s.take(r.pool, l.Product, l.shift())
	}
	return l
}

// removeLease ends a lease for good, without offering what it frees.
func (s *State) removeLease(p *Pool, l *Lease) {
	s.leases.delete(&s.digest, l.ID)
	s.byUser.keys.Delete(l.key())
	s.dropLeaseDue(l)
	s.hold(l.apiToken, -1, 0)
	if l.held.count > 0 {
		s.take(p, l.Product, l.shift().negative())
	}
	if l.Project != "" {
		s.byProject.keys.Delete(projectLease{l.Pool, l.Project, l.ID})
		s.disconnect(p, l)
	}
	if l.Lingering {
		s.lingering.keys.Delete(l.lingerer())
	}
	s.unmarkEnding(p)
}

// endLease frees a lease's seats and offers them.
func (s *State) endLease(l *Lease) {
	p := s.poolNumbered(l.pool)
	s.removeLease(p, l)
	s.schedule(p)
}

// lease finds a lease that is in force. An id that was given out and is not there any more has ended.
func (t *tables) lease(id uint64) (*Lease, *fsmpb.Refusal) {
	l, ok := t.leases.get(id)
	switch {
	case ok && !l.Lingering && !t.leaseOver(l):
		return l, nil
	case ok || id != 0 && id <= t.counters.lastLease:
		return nil, refuse(LeaseEnded, "lease", id)
	}
	return nil, refuse(LeaseNotFound, "lease", id)
}

// leaseOver reports whether a lease has reached its end, applied or not: what is over never revives (rule K2).
func (t *tables) leaseOver(l *Lease) bool {
	now := t.clock.LeaseMs()
	if l.Borrow {
		now = t.clock.WallMs
	}
	p := t.poolNumbered(l.pool)
	return now >= l.EndsMs || t.over(p)
}

// heldLease finds a lease in force for who shows its handle (rule K6).
func (t *tables) heldLease(id uint64, holder []byte) (*Lease, *fsmpb.Refusal) {
	if err := checkHolder(holder); err != nil {
		return nil, invalid(err)
	}
	l, refusal := t.lease(id)
	if refusal == nil && !bytes.Equal(l.Holder[:], holder) {
		return nil, refuse(NotHolder, "lease", id)
	}
	return l, refusal
}

// renew moves the end of a lease (rule K2).
func (s *State) renew(o *fsmpb.Outcome, cmd *fsmpb.Renew) {
	l, refusal := s.heldLease(cmd.Lease, cmd.Holder)
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	if l.Borrow {
		o.Refusal = refuse(BorrowNotRenewable, "lease", l.ID)
		return
	}
	p := s.poolNumbered(l.pool)
	ttl := cmd.Ttl
	if ttl == 0 {
		// The pool's bounds may have changed since.
		ttl = min(max(l.TTL, p.TtlMin), p.TtlMax)
	} else if ttl < p.TtlMin || ttl > p.TtlMax {
		o.Refusal = refuse(TTLOutOfBounds, "pool", p.Name, "ttl", uint64(ttl), "min", uint64(p.TtlMin), "max", uint64(p.TtlMax))
		return
	}
	next := edit(l)
	next.TTL = ttl
	// A shorter TTL takes nothing back that was promised.
	next.EndsMs = max(l.EndsMs, s.clock.LeaseMs()+int64(ttl)*1000)
	next.Renewals++
	s.replaceLease(l, next)
	// The holder knows the rest, and outcomes are remembered.
	told := &fsmpb.LeaseRecord{Id: next.ID, Ttl: next.TTL, Renewals: next.Renewals}
	o.Result = &fsmpb.Outcome_Lease{Lease: &fsmpb.LeaseStatus{Lease: told, EndsMs: s.leaseEndsMs(p, next)}}
}

// replaceLease is for changes that move no seats.
func (s *State) replaceLease(old, next *Lease) {
	s.dropLeaseDue(old)
	s.leases.set(&s.digest, next.ID, next)
	s.setLeaseDue(next)
}

// checkIn returns a lease (rule K3). To return what has ended already is no fault.
func (s *State) checkIn(o *fsmpb.Outcome, cmd *fsmpb.CheckIn) {
	l, refusal := s.heldLease(cmd.Lease, cmd.Holder)
	switch {
	case refusal.GetCode() == string(LeaseEnded):
		s.endedResult(o, cmd.Lease, true)
	case refusal != nil:
		o.Refusal = refusal
	case l.Borrow:
		o.Refusal = refuse(BorrowTokenNeeded, "lease", l.ID)
	default:
		s.letGo(l)
		s.endedResult(o, l.ID, false)
	}
}

// letGo frees a lease's seats at once, or after the pool's linger.
func (s *State) letGo(l *Lease) {
	p := s.poolNumbered(l.pool)
	if p.Linger == 0 || l.Project != "" {
		s.endLease(l)
		return
	}
	next := edit(l)
	next.Lingering, next.Holder = true, [HolderSize]byte{}
	next.EndsMs = s.clock.LeaseMs() + int64(p.Linger)*1000
	s.replaceLease(l, next)
	s.lingering.keys.Set(next.lingerer())
}

// lingerer finds the leases of a user that linger.
type lingerer struct {
	pool, product, user string
	id                  uint64
}

func (a lingerer) less(b lingerer) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	if a.product != b.product {
		return a.product < b.product
	}
	if a.user != b.user {
		return a.user < b.user
	}
	return a.id < b.id
}

func (l *Lease) lingerer() lingerer { return lingerer{l.Pool, l.Product, l.User, l.ID} }

// lingeringOf finds a user's lingering lease of a product. One that is over lingers for nobody: its seats are for the queue.
func (t *tables) lingeringOf(pool, product, user string) (found *Lease) {
	t.lingering.keys.Ascend(lingerer{pool, product, user, 0}, func(k lingerer) bool {
		if k.pool != pool || k.product != product || k.user != user {
			return false
		}
		if l, _ := t.leases.get(k.id); t.clock.LeaseMs() < l.EndsMs {
			found = l
		}
		return found == nil
	})
	return found
}

// fitBeside is fit as if the user's own lingering lease were gone.
func (t *tables) fitBeside(p *Pool, who claimant, own *Lease) (seats, *lack) {
	if own == nil {
		return t.fit(p, who)
	}
	t.shiftUse(p, own.Product, own.shift().negative())
	defer t.shiftUse(p, own.Product, own.shift())
	return t.fit(p, who)
}

// returnBorrow ends a borrow early, for who has its token (rule K4).
func (s *State) returnBorrow(o *fsmpb.Outcome, cmd *fsmpb.ReturnBorrow) {
	token, err := signed.VerifyBorrow(cmd.Token, s.meta.SigningKeys)
	if err != nil {
		o.Refusal = refuse(TokenInvalid, "reason", documentFault(err))
		o.Refusal.Hint = err.Error()
		return
	}
	l, refusal := s.lease(token.Lease)
	switch {
	case refusal.GetCode() == string(LeaseEnded):
		s.endedResult(o, token.Lease, true)
	case refusal != nil:
		o.Refusal = refusal
	default:
		s.endLease(l)
		s.endedResult(o, l.ID, false)
	}
}

// revoke is an operator's forced return, whoever holds the lease (rule K6).
func (s *State) revoke(o *fsmpb.Outcome, cmd *fsmpb.Revoke) {
	if cmd.Reason != "" {
		if err := CheckLine("reason", cmd.Reason); err != nil {
			o.Refusal = invalid(err)
			return
		}
	}
	l, ok := s.leases.get(cmd.Lease)
	if !ok {
		_, o.Refusal = s.lease(cmd.Lease)
		return
	}
	s.endLease(l)
	s.endedResult(o, l.ID, false)
}

func (s *State) endedResult(o *fsmpb.Outcome, lease uint64, already bool) {
	o.Result = &fsmpb.Outcome_LeaseEnded{LeaseEnded: &fsmpb.LeaseEnded{Lease: lease, Already: already}}
}

func (s *State) leaseResult(o *fsmpb.Outcome, p *Pool, l *Lease) {
	o.Result = &fsmpb.Outcome_Lease{Lease: s.leaseStatus(p, l)}
}

func (t *tables) leaseStatus(p *Pool, l *Lease) *fsmpb.LeaseStatus {
	// One piece of memory for what lives and goes together.
	var x struct {
		fsmpb.LeaseStatus
		lease fsmpb.LeaseRecord
	}
	x.Lease, x.EndsMs = l.record(&x.lease), t.leaseEndsMs(p, l)
	// The state compares it; nobody else needs it.
	x.lease.Holder = nil
	return &x.LeaseStatus
}

// leaseEndsMs is when a lease ends if it is not renewed, on the wall clock.
func (t *tables) leaseEndsMs(p *Pool, l *Lease) int64 {
	c, _ := t.contracts.get(p.Contract)
	ends := l.EndsMs
	if !l.Borrow {
		ends += t.clock.PauseMs
	}
	return min(ends, p.endsMs(c))
}

// BorrowToken is the content of the token of a borrow (rule K4).
func BorrowToken(cluster string, x *fsmpb.LeaseStatus) *signed.Borrow {
	return &signed.Borrow{
		Cluster: cluster, Lease: x.Lease.Id, Pool: x.Lease.Pool, Product: x.Lease.Product, User: x.Lease.User, Client: x.Lease.Client,
		Count: x.Lease.Count, Issued: time.UnixMilli(x.Lease.SinceMs).UTC().Truncate(time.Second), Expiry: time.UnixMilli(x.EndsMs).UTC().Truncate(time.Second),
	}
}

func (t *tables) poolLeases(p *Pool, limit int) (list []*Lease) {
	if limit <= 0 {
		return nil
	}
	t.byUser.keys.Ascend(leaseKey{pool: p.ID}, func(k leaseKey) bool {
		if k.pool != p.ID {
			return false
		}
		l, _ := t.leases.get(k.id)
		list = append(list, l)
		return len(list) < limit
	})
	return list
}

func (t *tables) hasLeases(p *Pool) bool { return len(t.poolLeases(p, 1)) > 0 }

// Lease returns a lease by its id, or the refusal that says why there is none.
func (v *View) Lease(id uint64) (*fsmpb.LeaseStatus, *fsmpb.Refusal) {
	l, refusal := v.lease(id)
	if refusal != nil {
		return nil, refusal
	}
	return v.statusOf(l), nil
}

func (v *View) statusOf(l *Lease) *fsmpb.LeaseStatus {
	p := v.poolNumbered(l.pool)
	return v.leaseStatus(p, l)
}

// LeaseFilter chooses leases; what is empty chooses all.
type LeaseFilter struct {
	Pool, User, Project string
	// After is the id after which the list begins, Limit its length.
	After uint64
	Limit int
}

func (f *LeaseFilter) takes(l *Lease) bool {
	return l.ID > f.After && (f.Pool == "" || l.Pool == f.Pool) && (f.User == "" || l.User == f.User) && (f.Project == "" || l.Project == f.Project)
}

// Leases returns leases, lingering ones included: in the order of their ids.
func (v *View) Leases(f LeaseFilter) []*fsmpb.LeaseStatus {
	var list []*fsmpb.LeaseStatus
	f.User = lower(f.User)
	take := func(id uint64) bool {
		if l, ok := v.leases.get(id); ok && f.takes(l) {
			list = append(list, v.statusOf(l))
		}
		return len(list) < f.Limit
	}
	switch {
	case f.Limit <= 0:
	case f.Pool != "" && f.Project != "":
		v.byProject.keys.Ascend(projectLease{f.Pool, f.Project, f.After + 1}, func(k projectLease) bool {
			return k.pool == f.Pool && k.project == f.Project && take(k.id)
		})
	case f.Pool != "" && f.User != "":
		p, _ := v.pools.get(f.Pool)
		if p == nil {
			return nil
		}
		from := leaseKey{p.ID, hash64(f.User), f.After + 1}
		v.byUser.keys.Ascend(from, func(k leaseKey) bool {
			return k.pool == from.pool && k.user == from.user && take(k.id)
		})
	default:
		v.leases.rows.Ascend(f.After+1, func(id uint64, _ *Lease) bool { return take(id) })
	}
	return list
}
