package api

import (
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listSigningKeys(c *call) (*answer, error) {
	list, err := s.Node.SigningKeys(c.ctx)
	if err != nil {
		return nil, err
	}
	return ok(list), nil
}

func (s *service) rotateSigningKey(c *call) (*answer, error) {
	rotated, err := s.Node.RotateSigningKey(c.ctx, c.principal, exchangeOf(c.Context()).id)
	if err != nil {
		return nil, unknown(err, "Look with `licet cluster signing-key show` which key is current, and rotate again if it still is the former one.")
	}
	return ok(rotated), nil
}

func (s *service) retireSigningKey(c *call) (*answer, error) {
	id := c.PathValue("key")
	if err := signed.CheckKeyID("key", id); err != nil {
		return nil, malformed([]fault{{"key", err.Error()}})
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_RetireSigningKey{RetireSigningKey: &fsmpb.RetireSigningKey{Key: id}}})
	if err != nil {
		return nil, err
	}
	return ok(apiv1.SigningKey{ID: signed.KeyID(o.GetSigningKey().GetKey()), State: apiv1.SigningKeyStateRetired}), nil
}

// exportSigningKey has the audit trail tell who asked for the private key, before he gets it.
func (s *service) exportSigningKey(c *call) error {
	body := &fsmpb.Body{Kind: &fsmpb.Body_ExportSigningKey{ExportSigningKey: &fsmpb.ExportSigningKey{}}}
	c.requestKey = exchangeOf(c.Context()).id
	_, err := s.decide(c, body)
	c.header.Del("Idempotency-Key")
	return err
}
