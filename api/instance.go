package api

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listInstances(c *call) (*answer, error) {
	contract := c.query.name("contract", signed.CheckName)
	after := c.query.number("after", 0, maxSerial, 0)
	limit := c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found := visible(after, limit, func(after uint64, n int) []fsm.InstanceStatus { return v.Instances(contract, after, n) },
		func(x fsm.InstanceStatus) uint64 { return x.Serial },
		func(x fsm.InstanceStatus) bool { return c.sees(x.Site) })
	page := apiv1.InstanceList{Instances: make([]apiv1.Instance, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Instances = append(page.Instances, instanceOf(x))
	}
	if len(found) > limit {
		page.Next = page.Instances[limit-1].Serial
	}
	return ok(page), nil
}

// site reads a site, which is empty to take it off; nil if nothing is said of it.
func (f *form) site() *string {
	value, ok := f.take("site")
	if !ok {
		return nil
	}
	site := ""
	if value != "" {
		site = f.checked("site", signed.CheckName)
	}
	return &site
}

// serial reads the serial number in the path.
func serial(c *call) (uint64, error) {
	n, err := parseWhole(c.PathValue("serial"), 1, maxSerial)
	if err != nil {
		return 0, malformed([]fault{{"serial", "serial: " + err.Error()}})
	}
	return n, nil
}

// instance reads the instance in the path.
func (s *service) instance(c *call) (*fsm.View, fsm.InstanceStatus, error) {
	n, err := serial(c)
	if err != nil {
		return nil, fsm.InstanceStatus{}, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, fsm.InstanceStatus{}, err
	}
	x, refused := v.Instance(n)
	if refused != nil {
		return nil, fsm.InstanceStatus{}, refusal(refused)
	}
	return v, x, nil
}

func (s *service) getInstance(c *call) (*answer, error) {
	_, x, err := s.instance(c)
	if err != nil {
		return nil, err
	}
	return ok(instanceOf(x)), nil
}

func (s *service) getInstanceKey(c *call) (*answer, error) {
	v, x, err := s.instance(c)
	if err != nil {
		return nil, err
	}
	key, err := s.Node.SignLicenseKey(c.ctx, x.LicenseKey(v.ClusterID()))
	if err != nil {
		return nil, err
	}
	return ok(apiv1.LicenseKey{Serial: x.Serial, Revision: x.KeyRevision, Key: key}), nil
}

func (s *service) createInstance(c *call) (*answer, error) {
	command := &fsmpb.CreateInstance{
		Contract:   c.form.checked("contract", signed.CheckName),
		Name:       c.form.checked("name", signed.CheckName),
		Allocation: c.form.quantities("allocation", 1),
		Site:       c.form.optional("site", signed.CheckName),
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	x, err := s.decideWithKey(c, &fsmpb.Body{Kind: &fsmpb.Body_CreateInstance{CreateInstance: command}})
	if err != nil {
		return nil, err
	}
	if c.dryRun {
		return ok(x), nil
	}
	c.header.Set("Location", "/v1/instances/"+strconv.FormatUint(x.Serial, 10))
	return &answer{http.StatusCreated, x}, nil
}

func (s *service) resizeInstance(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	command := &fsmpb.ResizeInstance{Serial: n}
	command.Site = c.form.site()
	if command.Site == nil || c.form.has("allocation") {
		command.Allocation = c.form.quantities("allocation", 1)
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	x, err := s.decideWithKey(c, &fsmpb.Body{Kind: &fsmpb.Body_ResizeInstance{ResizeInstance: command}})
	if err != nil {
		return nil, err
	}
	return ok(x), nil
}

func (s *service) removeInstance(c *call) (*answer, error) {
	n, err := serial(c)
	if err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: n}}})
	if err != nil {
		return nil, err
	}
	x := instanceOf(fsm.InstanceStatusFromProto(o.GetInstance()))
	x.State = apiv1.InstanceStateRemoved
	return ok(x), nil
}

// decideWithKey decides a command that makes a new license key, and adds the
// key. A dry run gets none: it would be a valid key for what was never granted.
func (s *service) decideWithKey(c *call, body *fsmpb.Body) (apiv1.Instance, error) {
	v, err := s.identity(c)
	if err != nil {
		return apiv1.Instance{}, err
	}
	o, err := s.decide(c, body)
	if err != nil {
		return apiv1.Instance{}, err
	}
	status := fsm.InstanceStatusFromProto(o.GetInstance())
	x := instanceOf(status)
	if c.dryRun {
		return x, nil
	}
	if x.Key, err = s.Node.SignLicenseKey(c.ctx, status.LicenseKey(v.ClusterID())); err != nil {
		// The write was done, so this must not read like a failure: its repeat brings the key.
		p := problemf(apiv1.CodeOutcomeUnknown, "The request was carried out at index %d, but the license key of instance %d was not signed.", o.Index, x.Serial)
		p.cause = fmt.Errorf("sign the key of instance %d: %w", x.Serial, err)
		return apiv1.Instance{}, p
	}
	return x, nil
}

// instanceOf shows an instance, without its key.
func instanceOf(x fsm.InstanceStatus) apiv1.Instance {
	excess := x.Excess()
	out := apiv1.Instance{
		Serial: x.Serial, Contract: x.Contract, Name: x.Name, Site: x.Site, State: apiv1.InstanceStateActive,
		Areas: make(map[string]apiv1.InstanceArea, len(x.Allocation)), KeyRevision: x.KeyRevision,
		Expiry: x.Expiry, GraceDays: x.GraceDays, Ends: x.LicenseKey("").Ends(), Created: time.UnixMilli(x.CreatedMs).UTC(),
	}
	for _, q := range x.Allocation {
		out.Areas[q.Name] = apiv1.InstanceArea{Allocation: q.N}
	}
	for _, q := range x.Active {
		out.Areas[q.Name] = apiv1.InstanceArea{Allocation: x.Allocation.Get(q.Name), Active: &q.N, MustRemove: excess.Get(q.Name)}
	}
	for _, q := range x.Blocked {
		area := out.Areas[q.Name]
		if area.Active == nil {
			area.Active = new(uint64)
		}
		area.Blocked = q.N
		out.Areas[q.Name] = area
	}
	if x.ActivatedMs != 0 {
		at := time.UnixMilli(x.ActivatedMs).UTC()
		out.Activated, out.ActivatedRevision = &at, &x.ActivatedRevision
	}
	switch {
	case x.Ended:
		out.State = apiv1.InstanceStateEnded
	case len(excess) > 0:
		out.State = apiv1.InstanceStateOverAllocation
	case x.ActivatedMs == 0:
		out.State = apiv1.InstanceStateNotActivated
	}
	return out
}
