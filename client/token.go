package client

import (
	"context"

	"github.com/licet/licet/api/apiv1"
)

// CreateToken makes an API token. The answer is the only one that has its secret.
func (c *Client) CreateToken(ctx context.Context, token apiv1.TokenCreation) (*Answer[apiv1.Token], error) {
	r, err := write(ctx, "POST", "/v1/tokens", token)
	return call[apiv1.Token](ctx, c, r, err)
}

// BootstrapTokens makes the first operator's token, once; an empty name leaves it to the node. The client needs the
// token of a node's configuration, or an operator's certificate.
func (c *Client) BootstrapTokens(ctx context.Context, name string) (*Answer[apiv1.Token], error) {
	var body apiv1.TokenBootstrap
	if name != "" {
		body.Name = &name
	}
	r, err := write(ctx, "POST", "/v1/tokens/bootstrap", body)
	return call[apiv1.Token](ctx, c, r, err)
}

// RevokeToken revokes a token; the answer is the token as it was. A node refuses it as soon as it has applied that.
func (c *Client) RevokeToken(ctx context.Context, id uint64) (*Answer[apiv1.Token], error) {
	path, err := numbered("token", id, "")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "DELETE", path, nil)
	return call[apiv1.Token](ctx, c, r, err)
}

// Token returns a token, without its secret.
func (c *Client) Token(ctx context.Context, id uint64, options ...ReadOption) (*Answer[apiv1.Token], error) {
	path, err := numbered("token", id, "")
	return call[apiv1.Token](ctx, c, get(path, options), err)
}

// Tokens lists one page of tokens, by number.
func (c *Client) Tokens(ctx context.Context, page NumberPage, options ...ReadOption) (*Answer[apiv1.TokenList], error) {
	return call[apiv1.TokenList](ctx, c, page.request("/v1/tokens", options), nil)
}

// Principal says whom the cluster takes the client for.
func (c *Client) Principal(ctx context.Context, options ...ReadOption) (*Answer[apiv1.Principal], error) {
	return call[apiv1.Principal](ctx, c, get("/v1/tokens/self", options), nil)
}
