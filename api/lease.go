package api

import (
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listLeases(c *call) (*answer, error) {
	f := fsm.LeaseFilter{
		Pool: c.query.name("pool", signed.CheckName), User: c.query.name("user", fsm.CheckLine), Project: c.query.name("project", fsm.CheckLine),
		After: c.query.number("after", 0, maxSerial, 0),
	}
	limit := c.query.limit()
	f.Limit = limit + 1
	if err := c.query.done(); err != nil {
		return nil, err
	}
	if c.principal.Scoped() {
		// It names one of its pools, or sees none.
		c.reach = &fsm.Reach{Right: fsm.MayList, Pool: f.Pool}
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found := v.Leases(f)
	page := apiv1.LeaseList{Leases: make([]apiv1.Lease, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Leases = append(page.Leases, leaseOf(x))
	}
	if len(found) > limit {
		page.Next = page.Leases[limit-1].ID
	}
	return ok(page), nil
}

// pathID reads a number in the path.
func pathID(c *call, name string) (uint64, error) {
	n, err := parseWhole(c.PathValue(name), 1, maxSerial)
	if err != nil {
		return 0, malformed([]fault{{name, name + ": " + err.Error()}})
	}
	return n, nil
}

func (s *service) getLease(c *call) (*answer, error) {
	id, err := pathID(c, "lease")
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	x, refused := v.Lease(id)
	if refused != nil {
		return nil, refusal(refused)
	}
	return ok(leaseOf(x)), nil
}

// holder reads a handle as the state knows it.
func (f *form) holder() []byte { return holder(f.text("handle", maxHandle)) }

// renewal reads what is said of a renewal besides the lease.
func (f *form) renewal() *fsmpb.Renew {
	return &fsmpb.Renew{Holder: f.holder(), Ttl: f.small("ttl", 1, fsm.MaxTTL)}
}

func (s *service) renewLease(c *call) (*answer, error) {
	id, err := pathID(c, "lease")
	if err != nil {
		return nil, err
	}
	command := c.form.renewal()
	command.Lease = id
	if err := c.form.done(); err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_Renew{Renew: command}})
	if err != nil {
		return nil, err
	}
	return ok(renewedOf(o.GetLease())), nil
}

func (s *service) returnLease(c *call) (*answer, error) {
	id, err := pathID(c, "lease")
	if err != nil {
		return nil, err
	}
	command := &fsmpb.CheckIn{Lease: id, Holder: c.form.holder()}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.endLease(c, &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: command}})
}

func (s *service) revokeLease(c *call) (*answer, error) {
	command := &fsmpb.Revoke{Reason: c.query.name("reason", fsm.CheckLine)}
	if err := c.query.done(); err != nil {
		return nil, err
	}
	var err error
	if command.Lease, err = pathID(c, "lease"); err != nil {
		return nil, err
	}
	return s.endLease(c, &fsmpb.Body{Kind: &fsmpb.Body_Revoke{Revoke: command}})
}

func (s *service) returnBorrow(c *call) (*answer, error) {
	command := &fsmpb.ReturnBorrow{Token: c.form.text("token", signed.MaxDocument)}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.endLease(c, &fsmpb.Body{Kind: &fsmpb.Body_ReturnBorrow{ReturnBorrow: command}})
}

// endLease decides a command that ends a lease.
func (s *service) endLease(c *call, body *fsmpb.Body) (*answer, error) {
	o, err := s.decide(c, body)
	if err != nil {
		return nil, err
	}
	x := o.GetLeaseEnded()
	return ok(apiv1.LeaseEnded{Lease: x.GetLease(), Already: x.GetAlready()}), nil
}

// leaseOf shows a lease, without its secrets.
func leaseOf(x *fsmpb.LeaseStatus) apiv1.Lease {
	l := x.GetLease()
	return apiv1.Lease{
		ID: l.GetId(), Pool: l.GetPool(), Product: l.GetProduct(), User: l.GetUser(), Client: l.GetClient(), Count: l.GetCount(),
		Project: l.GetProject(), Reservation: l.GetReservation(), Reserved: l.GetReserved(), TTL: l.GetTtl(),
		Since: time.UnixMilli(l.GetSinceMs()).UTC(), Ends: time.UnixMilli(x.GetEndsMs()).UTC(),
		Borrow: l.GetBorrow(), Lingering: l.GetLingering(), Renewals: l.GetRenewals(),
	}
}

func renewedOf(x *fsmpb.LeaseStatus) apiv1.Renewed {
	return apiv1.Renewed{
		Lease: x.GetLease().GetId(), TTL: x.GetLease().GetTtl(), Renewals: x.GetLease().GetRenewals(), Ends: time.UnixMilli(x.GetEndsMs()).UTC(),
	}
}
