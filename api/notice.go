package api

import (
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listNotices(c *call) (*answer, error) {
	after := c.query.number("after", 0, maxSerial, 0)
	limit := c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found := v.Notices(after, limit+1)
	page := apiv1.NoticeList{Notices: make([]apiv1.Notice, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Notices = append(page.Notices, noticeOf(x))
	}
	if len(found) > limit {
		page.Next = page.Notices[limit-1].ID
	}
	return ok(page), nil
}

func noticeOf(x *fsm.Notice) apiv1.Notice {
	return apiv1.Notice{
		ID: x.ID, Time: time.UnixMilli(x.WallMs).UTC(), Kind: string(x.Kind), Contract: x.Contract, Address: x.Address,
		Serial: x.Serial, Instance: x.Instance, Area: x.Area, Allocation: x.Allocation, Active: x.Active, Blocked: x.Blocked,
	}
}

func (s *service) getResponsible(c *call) (*answer, error) {
	id, err := contractID(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	address, overridden, refused := v.Responsible(id)
	if refused != nil {
		return nil, refusal(refused)
	}
	return ok(apiv1.Responsible{Contract: id, Address: address, Overridden: overridden}), nil
}

func (s *service) setResponsible(c *call) (*answer, error) {
	id, err := contractID(c)
	if err != nil {
		return nil, err
	}
	address := c.form.checked("address", signed.CheckEmail)
	if err := c.form.done(); err != nil {
		return nil, err
	}
	return s.decideResponsible(c, id, address)
}

func (s *service) resetResponsible(c *call) (*answer, error) {
	id, err := contractID(c)
	if err != nil {
		return nil, err
	}
	return s.decideResponsible(c, id, "")
}

func (s *service) decideResponsible(c *call, id, address string) (*answer, error) {
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_SetResponsible{SetResponsible: &fsmpb.SetResponsible{Contract: id, Address: address}}})
	if err != nil {
		return nil, err
	}
	x := o.GetResponsible()
	return ok(apiv1.Responsible{Contract: x.GetContract(), Address: x.GetAddress(), Overridden: x.GetOverridden()}), nil
}
