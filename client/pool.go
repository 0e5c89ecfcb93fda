package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

// PoolPage says which pools to list, by name.
type PoolPage struct {
	// Contract lists the pools of that contract only; empty means all.
	Contract string
	// After is the name after which the page begins; empty means at the first.
	After string
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
}

// CreatePool creates a pool, which is inactive until it is activated (rules P1 to P7).
func (c *Client) CreatePool(ctx context.Context, definition apiv1.PoolDefinition) (*Answer[apiv1.PoolChange], error) {
	r, err := write(ctx, "POST", "/v1/pools", definition)
	return call[apiv1.PoolChange](ctx, c, r, err)
}

// ReplacePool replaces the definition of the pool of that name; what it does not name goes back to
// its default. A dry run says who is affected. To change what was read before, name its revision with
// IfRevision: else a change that somebody made in between is lost.
func (c *Client) ReplacePool(ctx context.Context, definition apiv1.PoolDefinition, options ...ReplaceOption) (*Answer[apiv1.PoolChange], error) {
	return c.changePool(ctx, "PUT", definition.Name, "", nil, definition, options...)
}

// ReplaceOption says when something may be replaced.
type ReplaceOption func(*request)

// IfRevision replaces only what is at that revision; it is refused otherwise (apiv1.CodePoolChanged, rule E4). 0 is any revision.
func IfRevision(revision uint64) ReplaceOption {
	return func(r *request) {
		if revision != 0 {
			r.match = strconv.Quote(strconv.FormatUint(revision, 10))
		}
	}
}

// ActivatePool lets a pool serve (rule P6).
func (c *Client) ActivatePool(ctx context.Context, pool string) (*Answer[apiv1.PoolChange], error) {
	return c.changePool(ctx, "POST", pool, "/activate", nil, nil)
}

// DeactivatePool stops new checkouts and offers of a pool; leases in use run on (rule P6).
func (c *Client) DeactivatePool(ctx context.Context, pool string) (*Answer[apiv1.PoolChange], error) {
	return c.changePool(ctx, "POST", pool, "/deactivate", nil, nil)
}

// DeletePool deletes a pool. With force it ends what the pool has out.
func (c *Client) DeletePool(ctx context.Context, pool string, force bool) (*Answer[apiv1.PoolChange], error) {
	q := url.Values{}
	if force {
		q.Set("force", "true")
	}
	return c.changePool(ctx, "DELETE", pool, "", q, nil)
}

func (c *Client) changePool(ctx context.Context, method, pool, rest string, q url.Values, body any, options ...ReplaceOption) (*Answer[apiv1.PoolChange], error) {
	path, err := poolPath(pool, rest)
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	r.add(q)
	for _, option := range options {
		option(r)
	}
	return call[apiv1.PoolChange](ctx, c, r, nil)
}

// Pool returns a pool and its use.
func (c *Client) Pool(ctx context.Context, pool string, options ...ReadOption) (*Answer[apiv1.Pool], error) {
	path, err := poolPath(pool, "")
	return call[apiv1.Pool](ctx, c, get(path, options), err)
}

// Pools lists one page of pools.
func (c *Client) Pools(ctx context.Context, page PoolPage, options ...ReadOption) (*Answer[apiv1.PoolList], error) {
	r := get("/v1/pools", append([]ReadOption{limit(page.Limit)}, options...))
	r.set("contract", page.Contract)
	r.set("after", page.After)
	return call[apiv1.PoolList](ctx, c, r, nil)
}

// UsageOf says whose usage is asked for, and of which hours.
type UsageOf struct {
	Pool string
	// Product is one of the pool's; empty means the pool as a whole.
	Product string
	// From is in the first hour, To after the last one's beginning; zero means the last 24 hours, up to now.
	From, To time.Time
}

// Usage returns the high-water mark and the denials of each hour.
func (c *Client) Usage(ctx context.Context, of UsageOf, options ...ReadOption) (*Answer[apiv1.Usage], error) {
	path, err := poolPath(of.Pool, "/usage")
	r := get(path, options)
	r.set("product", of.Product)
	for name, at := range map[string]time.Time{"from": of.From, "to": of.To} {
		if !at.IsZero() {
			r.set(name, at.UTC().Format(time.RFC3339))
		}
	}
	return call[apiv1.Usage](ctx, c, r, err)
}

func poolPath(pool, rest string) (string, error) {
	if err := signed.CheckName("pool", pool); err != nil {
		return "", refused(err)
	}
	return "/v1/pools/" + url.PathEscape(pool) + rest, nil
}

// set adds a parameter, if there is a value.
func (r *request) set(name, value string) {
	if value != "" {
		r.query.Set(name, value)
	}
}

func (r *request) add(q url.Values) {
	for name := range q {
		r.query.Set(name, q.Get(name))
	}
}

// numbered is the path of something that has a number.
func numbered(what string, n uint64, rest string) (string, error) {
	if n == 0 {
		return "", refused(fmt.Errorf("%s: it is missing", what))
	}
	return fmt.Sprintf("/v1/%ss/%d%s", what, n, rest), nil
}
