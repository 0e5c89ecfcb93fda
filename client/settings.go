package client

import (
	"context"

	"github.com/licet/licet/api/apiv1"
)

// Settings returns the replicated settings.
func (c *Client) Settings(ctx context.Context, options ...ReadOption) (*Answer[apiv1.Settings], error) {
	return call[apiv1.Settings](ctx, c, get("/v1/settings", options), nil)
}

// UpdateSettings changes the replicated settings that are named.
func (c *Client) UpdateSettings(ctx context.Context, change apiv1.SettingsChange) (*Answer[apiv1.Settings], error) {
	r, err := write(ctx, "PATCH", "/v1/settings", change)
	return call[apiv1.Settings](ctx, c, r, err)
}
