package client

import (
	"context"
	"net/url"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

// Keys returns the public keys: those of vendors whose contracts are accepted, and the cluster's.
func (c *Client) Keys(ctx context.Context, options ...ReadOption) (*Answer[apiv1.Keys], error) {
	return call[apiv1.Keys](ctx, c, get("/v1/keys", options), nil)
}

// VendorKeys lists all keys of vendors, in force or revoked, the most senior first.
func (c *Client) VendorKeys(ctx context.Context, options ...ReadOption) (*Answer[apiv1.VendorKeyList], error) {
	return call[apiv1.VendorKeyList](ctx, c, get("/v1/vendor-keys", options), nil)
}

// ChangeVendorKeys has a vendor's statement carried out (rule C2).
func (c *Client) ChangeVendorKeys(ctx context.Context, statement string) (*Answer[apiv1.VendorKeyChange], error) {
	r, err := write(ctx, "POST", "/v1/vendor-keys", apiv1.VendorStatement{Statement: statement})
	return call[apiv1.VendorKeyChange](ctx, c, r, err)
}

// SigningKeys tells the cluster's signing keys, and which members can sign with the current one.
func (c *Client) SigningKeys(ctx context.Context) (*Answer[apiv1.SigningKeyList], error) {
	return call[apiv1.SigningKeyList](ctx, c, get("/v1/cluster/signing-key", nil), nil)
}

// RotateSigningKey has the cluster sign with a new key; what was signed stays good. An attempt whose outcome is unknown
// is not repeated: that could make a second key.
func (c *Client) RotateSigningKey(ctx context.Context) (*Answer[apiv1.SigningKeyRotation], error) {
	r, err := change(ctx, "POST", "/v1/cluster/signing-key/rotate", nil)
	if err == nil {
		r.once = true
	}
	return call[apiv1.SigningKeyRotation](ctx, c, r, err)
}

// RetireSigningKey ends what a former signing key of the cluster has signed.
func (c *Client) RetireSigningKey(ctx context.Context, id string) (*Answer[apiv1.SigningKey], error) {
	if err := signed.CheckKeyID("key", id); err != nil {
		return nil, refused(err)
	}
	r, err := write(ctx, "DELETE", "/v1/cluster/signing-key/"+url.PathEscape(id), nil)
	return call[apiv1.SigningKey](ctx, c, r, err)
}

// WithSigningKey has a backup hold the private half of the current signing key. It takes an operator.
func WithSigningKey() ReadOption { return func(q url.Values) { q.Set("signing_key", "true") } }
