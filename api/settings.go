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
	return ok(settingsOf(v.Settings())), nil
}

func settingsOf(x fsm.Settings) apiv1.Settings {
	return apiv1.Settings{
		RequestTTLSeconds: x.RequestTTL, RequestLimit: x.RequestLimit, RequestBytes: x.RequestBytes,
		UsageHours: x.UsageHours, UsageLimit: x.UsageLimit,
	}
}

func (s *service) updateSettings(c *call) (*answer, error) {
	// Zero, which the bounds exclude, leaves a setting as it is.
	changes := &fsmpb.Settings{
		RequestTtlSeconds: c.form.number("request_ttl_seconds", fsm.MinRequestTTL, fsm.MaxRequestTTL),
		RequestLimit:      c.form.number("request_limit", fsm.MinRequestLimit, fsm.MaxRequestLimit),
		RequestBytes:      c.form.number("request_bytes", fsm.MinRequestBytes, fsm.MaxRequestBytes),
		UsageHours:        c.form.number("usage_hours", fsm.MinUsageHours, fsm.MaxUsageHours),
		UsageLimit:        c.form.number("usage_limit", fsm.MinUsageLimit, fsm.MaxUsageLimit),
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
	return ok(settingsOf(fsm.SettingsFromProto(o.GetSettings()))), nil
}
