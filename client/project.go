package client

import (
	"context"

	"github.com/licet/licet/api/apiv1"
)

// Projects lists one page of the open projects of a pool, by name. Empty and 0 begin at the
// first and leave the length to the node.
func (c *Client) Projects(ctx context.Context, pool, after string, most int, options ...ReadOption) (*Answer[apiv1.ProjectList], error) {
	path, err := poolPath(pool, "/projects")
	r := get(path, append([]ReadOption{limit(most)}, options...))
	r.set("after", after)
	return call[apiv1.ProjectList](ctx, c, r, err)
}

// ConvertProject switches an open project of a pool to a product of the other model, for who has
// the handle of a connection to it (rule T5).
func (c *Client) ConvertProject(ctx context.Context, pool string, to apiv1.Conversion) (*Answer[apiv1.Project], error) {
	path, err := poolPath(pool, "/projects/convert")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "POST", path, to)
	return call[apiv1.Project](ctx, c, r, err)
}
