package api

import (
	"fmt"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// Bounds of lists.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

func (s *service) listContracts(c *call) (*answer, error) {
	after := c.query.name("after", signed.CheckName)
	limit := c.query.limit()
	if err := c.query.done(); err != nil {
		return nil, err
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	found := v.Contracts(after, limit+1)
	page := apiv1.ContractList{Contracts: make([]apiv1.Contract, 0, min(limit, len(found)))}
	for _, x := range found[:min(limit, len(found))] {
		page.Contracts = append(page.Contracts, contractOf(v, x, false))
	}
	if len(found) > limit {
		page.Next = page.Contracts[limit-1].ID
	}
	return ok(page), nil
}

func (s *service) getContract(c *call) (*answer, error) {
	id := c.PathValue("id")
	if err := signed.CheckName("id", id); err != nil {
		return nil, malformed([]fault{{"id", err.Error()}})
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	x, found := v.Contract(id)
	if !found {
		return nil, refusal(&fsmpb.Refusal{Code: string(fsm.ContractNotFound), Facts: []*fsmpb.Fact{{Name: "contract", Value: &fsmpb.Fact_Text{Text: id}}}})
	}
	return ok(contractOf(v, x, true)), nil
}

func (s *service) putContract(c *call) (*answer, error) {
	document := c.form.text("document", signed.MaxDocument)
	if err := c.form.done(); err != nil {
		return nil, err
	}
	v, err := s.identity(c)
	if err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_PutContract{PutContract: &fsmpb.PutContract{Document: document}}})
	if err != nil {
		return nil, err
	}
	x := o.GetContract()
	// Keys, and what pools make of the products, are as of the decision, if this node is there already.
	if after, _, err := s.Node.Read(c.ctx, Read{Stale: true, MinIndex: o.Index}); err == nil {
		v = after
	}
	accepted, err := v.ContractOf(document)
	if err != nil {
		return nil, fmt.Errorf("the contract accepted at index %d: %w", o.Index, err)
	}
	return ok(contractOf(v, fsm.ContractStatus{Contract: accepted, Allocated: fsm.QuantitiesFromProto(x.Allocated), Ended: x.Ended}, true)), nil
}

// contractOf shows a contract, with or without the signed document.
func contractOf(v *fsm.View, c fsm.ContractStatus, whole bool) apiv1.Contract {
	doc := c.Doc
	x := apiv1.Contract{
		ID: doc.ID, Revision: doc.Revision, Customer: doc.Customer, Email: doc.Email,
		Start: doc.Start, Expiry: doc.Expiry, GraceDays: doc.GraceDays, Ends: doc.Ends(), Ended: c.Ended,
		Areas: make(map[string]apiv1.ContractArea, len(doc.Users)), Products: make(map[string]apiv1.Product, len(doc.Products)),
		VendorKey: c.Signer, VendorKeyRevoked: c.KeyRevoked,
	}
	for area, most := range doc.Users {
		x.Areas[area] = apiv1.ContractArea{Max: most, Free: most}
	}
	for _, used := range c.Allocated {
		most := doc.Users[used.Name]
		area := apiv1.ContractArea{Max: most, Allocated: used.N, Free: most - min(most, used.N), Over: used.N - min(most, used.N)}
		x.Areas[used.Name] = area
		x.OverAllocated = x.OverAllocated || area.Over > 0
	}
	for _, p := range v.Products(c.Contract) {
		x.Products[p.Name] = apiv1.Product{
			Model: apiv1.Model(p.Model), Quantity: p.Quantity, Overdraft: p.Overdraft,
			Promised: p.Promised, Used: p.Used, Over: p.Over, Overdrawn: p.Overdrawn,
		}
		x.OverAllocated = x.OverAllocated || p.Over > 0
	}
	if whole {
		x.Document = c.Document
	}
	return x
}
