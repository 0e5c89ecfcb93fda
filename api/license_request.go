package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

func (s *service) listRequests(c *call) (*answer, error) {
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
	found := v.LicenseRequests(contract, after, limit+1)
	page := apiv1.LicenseRequestList{Requests: make([]apiv1.LicenseRequest, 0, min(limit, len(found)))}
	for _, r := range found[:min(limit, len(found))] {
		page.Requests = append(page.Requests, licenseRequestOf(r))
	}
	if len(found) > limit {
		page.Next = page.Requests[limit-1].ID
	}
	return ok(page), nil
}

// licenseRequestID reads the request in the path.
func licenseRequestID(c *call) (uint64, error) {
	n, err := parseWhole(c.PathValue("request"), 1, maxSerial)
	if err != nil {
		return 0, malformed([]fault{{"request", "request: " + err.Error()}})
	}
	return n, nil
}

func (s *service) getRequest(c *call) (*answer, error) {
	id, err := licenseRequestID(c)
	if err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	r, refused := v.LicenseRequest(id)
	if refused != nil {
		return nil, refusal(refused)
	}
	return ok(licenseRequestOf(r)), nil
}

func (s *service) openRequest(c *call) (*answer, error) {
	command := &fsmpb.OpenLicenseRequest{
		Contract: c.form.checked("contract", signed.CheckName), Area: c.form.checked("area", signed.CheckName), Note: c.form.note(),
	}
	if !c.form.has("seats") {
		c.form.fault("seats", "seats: it is missing")
	}
	command.Seats = c.form.number("seats", 1, signed.MaxQuantity)
	if c.form.has("from") {
		command.From = c.form.checked("from", signed.CheckName)
	}
	if command.From != "" && command.From == command.Area {
		c.form.fault("from", "from: it is the same area")
	}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	r, err := s.decideRequest(c, &fsmpb.Body{Kind: &fsmpb.Body_OpenLicenseRequest{OpenLicenseRequest: command}})
	if err != nil || c.dryRun {
		return ok(r), err
	}
	c.header.Set("Location", "/v1/requests/"+strconv.FormatUint(r.ID, 10))
	return &answer{http.StatusCreated, r}, nil
}

func (s *service) closeRequest(c *call) (*answer, error) {
	id, err := licenseRequestID(c)
	if err != nil {
		return nil, err
	}
	command := &fsmpb.CloseLicenseRequest{Id: id, Withdrawn: c.form.word("as", "rejected", "withdrawn") == "withdrawn", Note: c.form.note()}
	if err := c.form.done(); err != nil {
		return nil, err
	}
	r, err := s.decideRequest(c, &fsmpb.Body{Kind: &fsmpb.Body_CloseLicenseRequest{CloseLicenseRequest: command}})
	return ok(r), err
}

// note reads the optional note.
func (f *form) note() string {
	if !f.has("note") {
		return ""
	}
	return f.checked("note", fsm.CheckNote)
}

func (s *service) decideRequest(c *call, body *fsmpb.Body) (apiv1.LicenseRequest, error) {
	o, err := s.decide(c, body)
	if err != nil {
		return apiv1.LicenseRequest{}, err
	}
	return licenseRequestOf(fsm.LicenseRequestFromProto(o.GetLicenseRequest())), nil
}

func licenseRequestOf(r *fsm.LicenseRequest) apiv1.LicenseRequest {
	out := apiv1.LicenseRequest{
		ID: r.ID, Contract: r.Contract, Area: r.Area, Seats: r.Seats, From: r.From, Note: r.Note, State: r.StateName(),
		Opened: time.UnixMilli(r.OpenedMs).UTC(), Revision: r.Revision, Answer: r.Answer,
	}
	if r.ClosedMs != 0 {
		closed := time.UnixMilli(r.ClosedMs).UTC()
		out.Closed = &closed
	}
	return out
}
