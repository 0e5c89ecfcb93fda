package fsm

import (
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Project is an open project: it holds one token of a pool as long as somebody is
// connected (rules T1 to T4). Immutable.
type Project struct {
	Pool, Project string
	// Product is the one whose token it holds.
	Product     string
	Connections uint64
	SinceMs     int64
	held        seats
	hashed
}

func (x *Project) message(*encoder) (recordKind, message) { return 42, x.Proto() }

// Proto is the project as outcomes and snapshots have it.
func (x *Project) Proto() *fsmpb.ProjectRecord {
	return &fsmpb.ProjectRecord{
		Pool: x.Pool, Project: x.Project, Product: x.Product, Connections: x.Connections, SinceMs: x.SinceMs,
		Reserved: x.held.reserved, Reservation: x.held.reservation,
	}
}

func projectFromProto(r *fsmpb.ProjectRecord) *Project {
	return &Project{
		Pool: r.Pool, Project: r.Project, Product: r.Product, Connections: r.Connections, SinceMs: r.SinceMs,
		held: seats{1, r.Reserved, r.Reservation},
	}
}

func projectKey(pool, project string) string { return pool + "\x00" + project }

// projectLease lists the connections of a project.
type projectLease struct {
	pool, project string
	id            uint64
}

func (a projectLease) less(b projectLease) bool {
	if a.pool != b.pool {
		return a.pool < b.pool
	}
	if a.project != b.project {
		return a.project < b.project
	}
	return a.id < b.id
}

// connect makes a lease that is a connection; the first one takes the project's token (rule T1).
func (s *State) connect(r *request, token seats) *Lease {
	next := r.project
	if next == nil {
		next = &Project{Pool: r.pool.Name, Project: r.ask.Project, Product: r.product.Name, SinceMs: s.clock.WallMs, held: token}
		s.take(r.pool, next.Product, token.taken())
	}
	next = edit(next)
	next.Connections++
	s.setProject(next)
	return s.addLease(r, seats{})
}

func (s *State) setProject(x *Project) {
	s.projects.set(&s.digest, projectKey(x.Pool, x.Project), x)
}

// disconnect ends a connection; the last one returns the token (rule T1).
func (s *State) disconnect(p *Pool, l *Lease) {
	x, _ := s.projects.get(projectKey(l.Pool, l.Project))
	if x.Connections > 1 {
		next := edit(x)
		next.Connections--
		s.setProject(next)
		return
	}
	s.projects.delete(&s.digest, projectKey(l.Pool, l.Project))
	s.take(p, x.Product, x.held.freed())
}

// convertProject switches an open project to a product of the other model (rule T5).
func (s *State) convertProject(o *fsmpb.Outcome, cmd *fsmpb.ConvertProject) {
	l, refusal := s.heldLease(cmd.Lease, cmd.Holder)
	if refusal == nil && (l.Pool != cmd.Pool || l.Project == "" || l.Project != cmd.Project) {
		refusal = refuse(NotHolder, "lease", cmd.Lease)
	}
	if refusal != nil {
		o.Refusal = refusal
		return
	}
	x, _ := s.projects.get(projectKey(cmd.Pool, cmd.Project))
	r := &request{t: &s.tables, ask: &fsmpb.Checkout{
		Pool: cmd.Pool, Product: cmd.Product, User: l.User, Client: l.Client, Project: cmd.Project, Count: 1, Holder: cmd.Holder,
	}}
	if cmd.Product != x.Product {
		if o.Refusal = s.convertible(r, x); o.Refusal != nil {
			return
		}
		x = s.convert(r, x)
	}
	o.Result = &fsmpb.Outcome_Project{Project: &fsmpb.ProjectStatus{Project: x.Proto()}}
}

// convertible checks the conditions of a conversion as if the present token were returned first.
func (s *State) convertible(r *request, x *Project) *fsmpb.Refusal {
	for _, check := range []func(*request) *fsmpb.Refusal{
		(*request).checkPool, (*request).checkContract, (*request).checkEnd, (*request).checkActive,
		(*request).checkProduct, (*request).checkRestriction, (*request).checkModel,
	} {
		if refusal := check(r); refusal != nil {
			return refusal
		}
	}
	if now := s.model(r.pool, x.Product); r.model == now {
		return refuse(openAs[now], "project", x.Project, "pool", x.Pool, "product", x.Product, "connections", x.Connections)
	}
	if r.model == signed.Mono && x.Connections > 1 {
		return refuse(ProjectShared, "project", x.Project, "connections", x.Connections)
	}
	s.shiftUse(r.pool, x.Product, x.held.freed())
	defer s.shiftUse(r.pool, x.Product, x.held.taken())
	refusal := r.checkCount()
	if refusal == nil {
		refusal = r.checkSeats()
	}
	// The seat in the pool stays taken: only who waits for the same product was there before.
	if u := s.use(r.pool).of(r.product.Name); refusal == nil && u.waiting > 0 {
		refusal = refuse(QueueAhead, "pool", r.pool.Name, "product", r.product.Name, "asked", uint64(1),
			"used", u.used, "limit", r.pool.Size, "offered", u.offered, "ahead", u.waiting)
	}
	return refusal
}

// convert swaps the token of a project. There is one connection, if the project is or becomes mono.
func (s *State) convert(r *request, x *Project) *Project {
	s.take(r.pool, x.Product, x.held.freed())
	s.take(r.pool, r.product.Name, r.seats.taken())
	next := edit(x)
	next.Product, next.held = r.product.Name, r.seats
	s.setProject(next)
	for _, id := range s.connections(x) {
		old, _ := s.leases.get(id)
		moved := edit(old)
		moved.Product = r.product.Name
		s.leases.set(&s.digest, id, moved)
	}
	s.schedule(r.pool)
	return next
}

func (t *tables) connections(x *Project) (ids []uint64) {
	t.byProject.keys.Ascend(projectLease{x.Pool, x.Project, 0}, func(k projectLease) bool {
		if k.pool != x.Pool || k.project != x.Project {
			return false
		}
		ids = append(ids, k.id)
		return true
	})
	return ids
}

// Project returns an open project of a pool; false if it is not open.
func (v *View) Project(pool, project string) (*Project, bool) {
	return v.projects.get(projectKey(pool, project))
}

// Projects returns up to limit open projects of a pool whose names come after the given one.
func (v *View) Projects(pool, after string, limit int) []*Project {
	var list []*Project
	if limit <= 0 {
		return nil
	}
	v.projects.rows.Ascend(projectKey(pool, after), func(_ string, x *Project) bool {
		if x.Pool != pool {
			return false
		}
		if x.Project != after {
			list = append(list, x)
		}
		return len(list) < limit
	})
	return list
}
