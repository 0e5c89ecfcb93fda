package api

import (
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) activate(c *call) (*answer, error) {
	command := &fsmpb.ActivateInstance{Key: c.form.text("key", signed.MaxDocument)}
	if c.form.has("active") {
		command.Reports, command.Active = true, c.form.quantities("active", 0)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_ActivateInstance{ActivateInstance: command}})
	if err != nil {
		return nil, err
	}
	return ok(instanceOf(fsm.InstanceStatusFromProto(o.GetInstance()))), nil
}
