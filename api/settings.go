package api

import (
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

func (s *service) getSettings(c *call) (*answer, error) {
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	x := v.Settings()
	return ok(apiv1.Settings{RequestTTLSeconds: x.RequestTTL, RequestLimit: x.RequestLimit}), nil
}

func (s *service) updateSettings(c *call) (*answer, error) {
	// Zero, which the bounds exclude, leaves a setting as it is.
	changes := &fsmpb.Settings{
		RequestTtlSeconds: c.form.number("request_ttl_seconds", fsm.MinRequestTTL, fsm.MaxRequestTTL),
		RequestLimit:      c.form.number("request_limit", fsm.MinRequestLimit, fsm.MaxRequestLimit),
	}
	if len(c.form.fields) == 0 {
		c.form.fault("body", "no setting is named")
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_PutSettings{PutSettings: &fsmpb.PutSettings{Settings: changes}}})
	if err != nil {
		return nil, err
	}
	x := o.GetSettings()
	return ok(apiv1.Settings{RequestTTLSeconds: x.GetRequestTtlSeconds(), RequestLimit: x.GetRequestLimit()}), nil
}
