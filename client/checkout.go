package client

import (
	"context"
	"encoding/json"

	"github.com/licet/licet/api/apiv1"
)

// Checkout takes seats (rules K1 to K6): the answer has a lease, or a ticket if the checkout
// may queue and there are no seats. Its secret handle is all that proves who holds it: keep it.
func (c *Client) Checkout(ctx context.Context, ask apiv1.Checkout) (*Answer[apiv1.CheckoutDone], error) {
	r, err := write(ctx, "POST", "/v1/checkouts", ask)
	return call[apiv1.CheckoutDone](ctx, c, r, err)
}

// Explain walks all conditions of a checkout, changing nothing (rule K7).
func (c *Client) Explain(ctx context.Context, ask apiv1.Checkout, options ...ReadOption) (*Answer[apiv1.Explanation], error) {
	r := get("/v1/checkouts/explain", options)
	r.method = "POST"
	var err error
	if r.body, err = json.Marshal(ask); err != nil {
		return nil, refused(err)
	}
	return call[apiv1.Explanation](ctx, c, r, nil)
}

// Bulk has up to 1,000 checkouts, renewals and check-ins decided as one write, each on its own. The
// answer has a result, or a problem, for each in their order.
func (c *Client) Bulk(ctx context.Context, items []apiv1.BulkItem) (*Answer[apiv1.BulkDone], error) {
	r, err := write(ctx, "POST", "/v1/bulk", apiv1.Bulk{Items: items})
	return call[apiv1.BulkDone](ctx, c, r, err)
}
