package api

import (
	"crypto/ed25519"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) getKeys(c *call) (*answer, error) {
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	keys := apiv1.Keys{Cluster: v.ClusterID()}
	if keys.VendorKeys, err = publicKeys(v.VendorKeysInForce()); err != nil {
		return nil, err
	}
	if keys.SigningKeys, err = publicKeys(v.SigningKeys()); err != nil {
		return nil, err
	}
	return ok(keys), nil
}

func publicKeys(keys []ed25519.PublicKey) ([]apiv1.PublicKey, error) {
	list := make([]apiv1.PublicKey, len(keys))
	for i, key := range keys {
		text, err := signed.EncodePublicKey(key)
		if err != nil {
			return nil, err
		}
		list[i] = apiv1.PublicKey{ID: signed.KeyID(key), Pem: string(text)}
	}
	return list, nil
}
