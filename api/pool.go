package api

import (
	"net/http"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listPools(c *call) (*answer, error) {
	contract, after := c.query.name("contract", signed.CheckName), c.query.name("after", signed.CheckName)
	limit := c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found := visible(after, limit, func(after string, n int) []fsm.PoolStatus { return v.Pools(contract, after, n) },
		func(x fsm.PoolStatus) string { return x.Name },
		func(x fsm.PoolStatus) bool { return c.sees(x.Site) })
	page := apiv1.PoolList{Pools: make([]apiv1.Pool, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Pools = append(page.Pools, poolStatusOf(x))
	}
	if len(found) > limit {
		page.Next = page.Pools[limit-1].Definition.Name
	}
	return ok(page), nil
}

// poolName reads the pool's name in the path.
func poolName(c *call) (string, error) {
	name := c.PathValue("pool")
	if err := signed.CheckName("pool", name); err != nil {
		return "", malformed([]fault{{"pool", err.Error()}})
	}
	return name, nil
}

// pool reads the pool in the path.
func (s *service) pool(c *call) (*fsm.View, fsm.PoolStatus, error) {
	name, err := poolName(c)
	if err != nil {
		return nil, fsm.PoolStatus{}, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, fsm.PoolStatus{}, err
	}
	x, refused := v.Pool(name)
	if refused != nil {
		return nil, fsm.PoolStatus{}, refusal(refused)
	}
	return v, x, nil
}

func (s *service) getPool(c *call) (*answer, error) {
	_, x, err := s.pool(c)
	if err != nil {
		return nil, err
	}
	c.header.Set("ETag", etag(x.Revision))
	return ok(poolStatusOf(x)), nil
}

func (s *service) createPool(c *call) (*answer, error) {
	command := &fsmpb.PutPool{Pool: c.form.pool(), Create: true}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	a, err := s.changePool(c, &fsmpb.Body{Kind: &fsmpb.Body_PutPool{PutPool: command}})
	if err != nil || c.dryRun {
		return a, err
	}
	c.header.Set("Location", "/v1/pools/"+command.Pool.Name)
	a.status = http.StatusCreated
	return a, nil
}

func (s *service) replacePool(c *call) (*answer, error) {
	name, err := poolName(c)
	if err != nil {
		return nil, err
	}
	command := &fsmpb.PutPool{Pool: c.form.pool(), Expected: c.expected}
	if len(c.form.faults) == 0 && command.Pool.Name != name {
		c.form.fault("name", "name: %s is not the path's %s", command.Pool.Name, name)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.changePool(c, &fsmpb.Body{Kind: &fsmpb.Body_PutPool{PutPool: command}})
}

func (s *service) activatePool(c *call) (*answer, error)   { return s.switchPool(c, true) }
func (s *service) deactivatePool(c *call) (*answer, error) { return s.switchPool(c, false) }

func (s *service) switchPool(c *call, active bool) (*answer, error) {
	name, err := poolName(c)
	if err != nil {
		return nil, err
	}
	return s.changePool(c, &fsmpb.Body{Kind: &fsmpb.Body_ActivatePool{ActivatePool: &fsmpb.ActivatePool{Pool: name, Active: active}}})
}

func (s *service) deletePool(c *call) (*answer, error) {
	force := c.query.choice("force", "false", "true") == "true"
	if err := c.query.done(); err != nil {
		return nil, err
	}
	name, err := poolName(c)
	if err != nil {
		return nil, err
	}
	return s.changePool(c, &fsmpb.Body{Kind: &fsmpb.Body_DeletePool{DeletePool: &fsmpb.DeletePool{Pool: name, Force: force}}})
}

// changePool decides a command whose outcome is a pool.
func (s *service) changePool(c *call, body *fsmpb.Body) (*answer, error) {
	o, err := s.decide(c, body)
	if err != nil {
		return nil, err
	}
	x := o.GetPool()
	return ok(apiv1.PoolChange{
		Pool: poolOf(x.GetPool(), x.GetUse()), Deleted: x.GetDeleted(),
		Tickets: append([]uint64{}, x.GetTickets()...), TicketsTotal: x.GetTicketsTotal(),
		Leases: append([]uint64{}, x.GetLeases()...), LeasesTotal: x.GetLeasesTotal(),
		Users: append([]string{}, x.GetUsers()...), UsersTotal: x.GetUsersTotal(),
	}), nil
}

func poolStatusOf(x fsm.PoolStatus) apiv1.Pool {
	record := &fsmpb.PoolRecord{Pool: x.Pool.Pool, Active: x.Active, Ended: x.Over, CreatedMs: x.CreatedMs, Deleting: x.Deleting, Revision: x.Revision}
	out := poolOf(record, x.Use)
	out.Ends = &x.Ends
	return out
}

// poolOf shows a pool as a change of it left it.
func poolOf(x *fsmpb.PoolRecord, use *fsmpb.PoolUse) apiv1.Pool {
	out := apiv1.Pool{
		Definition: definitionOf(x.GetPool()), Revision: x.GetRevision(), State: apiv1.PoolStateInactive, Created: time.UnixMilli(x.GetCreatedMs()).UTC(),
		Use: apiv1.PoolUse{Used: use.GetUsed(), Offered: use.GetOffered(), Waiting: use.GetWaiting(), Products: make(map[string]apiv1.ProductUse)},
	}
	for _, p := range use.GetProducts() {
		out.Use.Products[p.Name] = apiv1.ProductUse{Used: p.Used, Offered: p.Offered, Borrowed: p.Borrowed, Waiting: p.Waiting}
	}
	switch {
	case x.GetDeleting():
		out.State = apiv1.PoolStateDeleting
	case x.GetEnded():
		out.State = apiv1.PoolStateEnded
	case x.GetActive():
		out.State = apiv1.PoolStateActive
	}
	return out
}

// definitionOf is the reverse of form.pool, defaults filled in.
func definitionOf(x *fsmpb.Pool) apiv1.PoolDefinition {
	out := apiv1.PoolDefinition{
		Name: x.GetName(), Contract: x.GetContract(), Site: x.GetSite(), Size: x.GetSize(), Shared: x.GetShared(), Restriction: restrictionOf(x.GetRestriction()),
		TTLMin: x.GetTtlMin(), TTLMax: x.GetTtlMax(), TTLDefault: x.GetTtlDefault(), Linger: x.GetLinger(),
		QueueLimit: x.GetQueueLimit(), OfferTTL: x.GetOfferTtl(), TicketTTL: x.GetTicketTtl(),
		Products: make(map[string]apiv1.PoolProduct, len(x.GetProducts())),
	}
	if until := x.GetValidUntilMs(); until != 0 {
		at := time.UnixMilli(until).UTC()
		out.ValidUntil = &at
	}
	for _, p := range x.GetProducts() {
		product := apiv1.PoolProduct{Cap: p.Cap, MaxCheckoutDays: p.MaxCheckoutDays, LowWater: p.LowWater, Restriction: restrictionOf(p.Restriction)}
		for _, r := range p.Reservations {
			product.Reservations = append(product.Reservations, apiv1.Reservation{Name: r.Name, Seats: r.Seats, Users: r.Users, Domains: r.Domains, Groups: r.Groups})
		}
		out.Products[p.Name] = product
	}
	return out
}

func restrictionOf(r *fsmpb.Restriction) *apiv1.Restriction {
	if r == nil {
		return nil
	}
	return &apiv1.Restriction{
		IncludeDomains: r.IncludeDomains, ExcludeDomains: r.ExcludeDomains, IncludeEmails: r.IncludeEmails, ExcludeEmails: r.ExcludeEmails,
	}
}
