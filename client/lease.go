package client

import (
	"context"
	"strconv"

	"github.com/licet/licet/api/apiv1"
)

// LeasePage says which leases to list, by id. What is empty chooses all.
type LeasePage struct {
	Pool, User, Project string
	// After is the id after which the page begins; 0 means at the first.
	After uint64
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
}

// Lease returns a lease, without its handle.
func (c *Client) Lease(ctx context.Context, id uint64, options ...ReadOption) (*Answer[apiv1.Lease], error) {
	path, err := numbered("lease", id, "")
	return call[apiv1.Lease](ctx, c, get(path, options), err)
}

// Leases lists one page of leases, without their handles.
func (c *Client) Leases(ctx context.Context, page LeasePage, options ...ReadOption) (*Answer[apiv1.LeaseList], error) {
	r := get("/v1/leases", append([]ReadOption{limit(page.Limit)}, options...))
	r.set("pool", page.Pool)
	r.set("user", page.User)
	r.set("project", page.Project)
	r.after(page.After)
	return call[apiv1.LeaseList](ctx, c, r, nil)
}

// Renew moves the end of a lease, for who has its handle (rule K2). A ttl of 0 seconds keeps that of before.
func (c *Client) Renew(ctx context.Context, id uint64, handle string, ttl uint32) (*Answer[apiv1.Renewed], error) {
	path, err := numbered("lease", id, "/renew")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, apiv1.Renewal{Handle: handle, TTL: ttl})
	return call[apiv1.Renewed](ctx, c, r, err)
}

// Return checks a lease in, for who has its handle (rule K3). To return what has ended is no fault.
func (c *Client) Return(ctx context.Context, id uint64, handle string) (*Answer[apiv1.LeaseEnded], error) {
	path, err := numbered("lease", id, "/return")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, apiv1.Held{Handle: handle})
	return call[apiv1.LeaseEnded](ctx, c, r, err)
}

// Revoke is an operator's forced return, whoever holds the lease (rule K6). The reason may be empty.
func (c *Client) Revoke(ctx context.Context, id uint64, reason string) (*Answer[apiv1.LeaseEnded], error) {
	path, err := numbered("lease", id, "")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "DELETE", path, nil)
	if err == nil {
		r.set("reason", reason)
	}
	return call[apiv1.LeaseEnded](ctx, c, r, err)
}

// ReturnBorrow returns a borrow early, for who has its token (rule K4).
func (c *Client) ReturnBorrow(ctx context.Context, token string) (*Answer[apiv1.LeaseEnded], error) {
	r, err := write(ctx, "POST", "/v1/borrows/return", apiv1.BorrowReturn{Token: token})
	return call[apiv1.LeaseEnded](ctx, c, r, err)
}

// after begins a page behind a number.
func (r *request) after(n uint64) {
	if n != 0 {
		r.query.Set("after", strconv.FormatUint(n, 10))
	}
}
