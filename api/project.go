package api

import (
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listProjects(c *call) (*answer, error) {
	after, limit := c.query.name("after", fsm.CheckLine), c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, pool, err := s.pool(c)
	if err != nil {
		return nil, err
	}
	found := v.Projects(pool.Name, after, limit+1)
	page := apiv1.ProjectList{Projects: make([]apiv1.Project, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Projects = append(page.Projects, projectOf(x.Proto()))
	}
	if len(found) > limit {
		page.Next = page.Projects[limit-1].Project
	}
	return ok(page), nil
}

func (s *service) convertProject(c *call) (*answer, error) {
	pool, err := poolName(c)
	if err != nil {
		return nil, err
	}
	command := &fsmpb.ConvertProject{
		Pool: pool, Project: c.form.checked("project", fsm.CheckLine), Product: c.form.checked("product", signed.CheckName),
		Lease: c.form.must("lease", maxSerial), Holder: c.form.holder(),
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_ConvertProject{ConvertProject: command}})
	if err != nil {
		return nil, err
	}
	return ok(projectOf(o.GetProject().GetProject())), nil
}

func projectOf(x *fsmpb.ProjectRecord) apiv1.Project {
	return apiv1.Project{
		Pool: x.GetPool(), Project: x.GetProject(), Product: x.GetProduct(), Connections: x.GetConnections(),
		Since: time.UnixMilli(x.GetSinceMs()).UTC(), Reservation: x.GetReservation(),
	}
}
