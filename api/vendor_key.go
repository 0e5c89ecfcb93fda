package api

import (
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listVendorKeys(c *call) (*answer, error) {
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	list := apiv1.VendorKeyList{VendorKeys: []apiv1.VendorKey{}}
	for _, k := range v.VendorKeys() {
		key, err := vendorKeyOf(k)
		if err != nil {
			return nil, err
		}
		list.VendorKeys = append(list.VendorKeys, *key)
	}
	return ok(list), nil
}

func (s *service) changeVendorKeys(c *call) (*answer, error) {
	statement := c.form.text("statement", signed.MaxDocument)
	if err := c.form.done(); err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_ChangeVendorKeys{ChangeVendorKeys: &fsmpb.ChangeVendorKeys{Statement: statement}}})
	if err != nil {
		return nil, err
	}
	var changed apiv1.VendorKeyChange
	for record, into := range map[*fsmpb.VendorKeyRecord]**apiv1.VendorKey{
		o.GetVendorKeys().GetAdded(): &changed.Added, o.GetVendorKeys().GetRevoked(): &changed.Revoked,
	} {
		if record == nil {
			continue
		}
		if *into, err = vendorKeyOf(fsm.VendorKeyFromProto(record)); err != nil {
			return nil, err
		}
	}
	return ok(changed), nil
}

func vendorKeyOf(k fsm.VendorKey) (*apiv1.VendorKey, error) {
	text, err := signed.EncodePublicKey(k.Key)
	out := &apiv1.VendorKey{
		ID: k.ID(), Pem: string(text), State: apiv1.VendorKeyStateInForce, Name: k.Name,
		AddedBy: k.AddedBy, AddedWith: k.AddedWith, RevokedBy: k.RevokedBy, RevokedWith: k.RevokedWith,
	}
	if k.AddedWith != "" {
		at := time.UnixMilli(k.AddedMs).UTC()
		out.Added = &at
	}
	if k.Revoked() {
		at := time.UnixMilli(k.RevokedMs).UTC()
		out.Revoked, out.State = &at, apiv1.VendorKeyStateRevoked
	}
	return out, err
}
