package client

import (
	"context"
	"errors"
	"strconv"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

// InstancePage says which instances to list, by serial number.
type InstancePage struct {
	// Contract lists the instances of that contract only; empty means all.
	Contract string
	// After is the serial number after which the page begins; 0 means at the first.
	After uint64
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
}

// CreateInstance creates an instance (rules I1, I4). The answer has the serial number and the license key.
func (c *Client) CreateInstance(ctx context.Context, contract, name string, allocation apiv1.Quantities) (*Answer[apiv1.Instance], error) {
	return c.CreateInstanceFor(ctx, apiv1.InstanceCreation{Contract: contract, Name: name, Allocation: allocation})
}

// CreateInstanceFor is CreateInstance with all that can be said, such as the site whose site-operators may change it.
func (c *Client) CreateInstanceFor(ctx context.Context, creation apiv1.InstanceCreation) (*Answer[apiv1.Instance], error) {
	r, err := write(ctx, "POST", "/v1/instances", creation)
	return call[apiv1.Instance](ctx, c, r, err)
}

// ResizeInstance changes the allocation of the areas that are named (rules I1,
// I2). The answer has the new license key; the old one is stale.
func (c *Client) ResizeInstance(ctx context.Context, serial uint64, allocation apiv1.Quantities) (*Answer[apiv1.Instance], error) {
	return c.ChangeInstance(ctx, serial, apiv1.InstanceChange{Allocation: allocation})
}

// ChangeInstance changes what is named: the allocation, as ResizeInstance does, or the site; an empty one takes it off.
func (c *Client) ChangeInstance(ctx context.Context, serial uint64, change apiv1.InstanceChange) (*Answer[apiv1.Instance], error) {
	path, err := instancePath(serial, "")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "PATCH", path, change)
	return call[apiv1.Instance](ctx, c, r, err)
}

// RemoveInstance removes an instance (rule I3). The answer is the instance as it was.
func (c *Client) RemoveInstance(ctx context.Context, serial uint64) (*Answer[apiv1.Instance], error) {
	path, err := instancePath(serial, "")
	if err != nil {
		return nil, err
	}
	r, err := write(ctx, "DELETE", path, nil)
	return call[apiv1.Instance](ctx, c, r, err)
}

// Activate presents an instance's license key (rules I4, I5, I6). A nil active
// reports no counts; otherwise areas that are not named keep what was reported
// last. The answer says per area how many accounts must go.
func (c *Client) Activate(ctx context.Context, key string, active apiv1.Quantities) (*Answer[apiv1.Instance], error) {
	body := apiv1.Activation{Key: key}
	if active != nil {
		body.Active = &active
	}
	r, err := write(ctx, "POST", "/v1/activations", body)
	return call[apiv1.Instance](ctx, c, r, err)
}

// Instance returns an instance.
func (c *Client) Instance(ctx context.Context, serial uint64, options ...ReadOption) (*Answer[apiv1.Instance], error) {
	path, err := instancePath(serial, "")
	return call[apiv1.Instance](ctx, c, get(path, options), err)
}

// InstanceKey returns the license key in force (rule I4).
func (c *Client) InstanceKey(ctx context.Context, serial uint64, options ...ReadOption) (*Answer[apiv1.LicenseKey], error) {
	path, err := instancePath(serial, "/key")
	return call[apiv1.LicenseKey](ctx, c, get(path, options), err)
}

// Instances lists one page of instances, without their keys.
func (c *Client) Instances(ctx context.Context, page InstancePage, options ...ReadOption) (*Answer[apiv1.InstanceList], error) {
	r := get("/v1/instances", append([]ReadOption{limit(page.Limit)}, options...))
	if page.Contract != "" {
		if err := signed.CheckName("contract", page.Contract); err != nil {
			return nil, refused(err)
		}
		r.query.Set("contract", page.Contract)
	}
	if page.After != 0 {
		r.query.Set("after", strconv.FormatUint(page.After, 10))
	}
	return call[apiv1.InstanceList](ctx, c, r, nil)
}

func instancePath(serial uint64, rest string) (string, error) {
	if serial == 0 {
		return "", refused(errors.New("serial: it is missing"))
	}
	return "/v1/instances/" + strconv.FormatUint(serial, 10) + rest, nil
}
