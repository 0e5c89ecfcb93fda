package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm/signed"
)

func contractCommand(streams Streams) *cli.Command {
	return group("contract", "what a vendor grants a customer",
		verb{
			name: "apply", usage: "import a signed contract or its next revision", args: []string{"FILE"}, flags: writeFlags(), run: contractApply,
			about: "FILE is what `licet vendor sign` wrote; - is the input.",
		}.command(streams),
		verb{name: "list", usage: "list the contracts, by id", flags: readFlags(), run: contractList}.command(streams),
		verb{name: "show", usage: "show a contract", args: []string{"CONTRACT"}, flags: readFlags(), run: contractShow}.command(streams),
		verb{name: "totals", usage: "show maximum, active and blocked accounts over all instances", args: []string{"CONTRACT"}, flags: readFlags(), run: contractTotals}.command(streams),
		responsibleVerb().command(streams),
	)
}

func contractApply(s *session) error {
	document, err := s.readDocument("FILE", s.args[0])
	if err != nil {
		return err
	}
	if !strings.HasPrefix(document, signed.ContractKind+".") {
		return usagef("Sign the contract first: `licet vendor sign CONTRACT.yaml --key vendor.key --out contract.signed`.",
			"%s: %s holds no signed contract; one starts with %q", s.name(), s.args[0], signed.ContractKind+".")
	}
	a, err := change(s, func(ctx context.Context, c *client.Client) (*client.Answer[apiv1.Contract], error) {
		return c.PutContract(ctx, document)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showContract)
}

func contractShow(s *session) error {
	if err := signed.CheckName("CONTRACT", s.args[0]); err != nil {
		return s.usagef("%v", err)
	}
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.Contract], error) {
		return c.Contract(s.context(), s.args[0], o...)
	})
	if err != nil {
		return err
	}
	return printAnswer(s, a, showContract)
}

func contractList(s *session) error {
	all, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[apiv1.ContractList], error) {
		return pages(func(after string) (*client.Answer[apiv1.ContractList], error) {
			return c.Contracts(s.context(), client.ContractPage{After: after}, o...)
		}, func(l *apiv1.ContractList) string { return l.Next })
	})
	if err != nil {
		return err
	}
	return printAnswer(s, all, func(p *page, list apiv1.ContractList) {
		var rows [][]string
		for _, c := range list.Contracts {
			rows = append(rows, []string{c.ID, number(c.Revision), c.Customer, when(c.Expiry), when(c.Ends), contractState(c), allocatedOf(c)})
		}
		p.table([]string{"ID", "REVISION", "CUSTOMER", "EXPIRY", "ENDS", "STATE", "ALLOCATED"}, rows)
	})
}

// pages joins all pages of a list into the answer that one long page would be.
func pages[T any, K comparable](fetch func(after K) (*client.Answer[T], error), next func(*T) K) (*client.Answer[T], error) {
	var end, after K
	var first *client.Answer[T]
	var parts []json.RawMessage
	for {
		a, err := fetch(after)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = a
		}
		parts = append(parts, a.Raw)
		seen := after
		if after = next(&a.Value); after == end {
			return joinPages(first, parts)
		}
		if after == seen {
			return nil, failf(exitInternal, "Check that the endpoint is a licet node.", "%s: the list leads back to where it was", a.Endpoint)
		}
	}
}

// joinPages joins objects that have one list each.
func joinPages[T any](first *client.Answer[T], parts []json.RawMessage) (*client.Answer[T], error) {
	if len(parts) == 1 {
		return first, nil
	}
	joined := map[string][]json.RawMessage{}
	for _, part := range parts {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(part, &fields); err != nil {
			return nil, err
		}
		for name, field := range fields {
			var list []json.RawMessage
			if json.Unmarshal(field, &list) == nil {
				joined[name] = append(joined[name], list...)
			}
		}
	}
	text, err := json.Marshal(joined)
	if err != nil {
		return nil, err
	}
	all := &client.Answer[T]{Meta: first.Meta, Raw: text}
	return all, json.Unmarshal(text, &all.Value)
}

func showContract(p *page, c apiv1.Contract) {
	p.fields("contract", c.ID, "revision", number(c.Revision), "customer", c.Customer, "e-mail", c.Email,
		"start", when(c.Start), "expiry", when(c.Expiry), "grace", strconv.Itoa(int(c.GraceDays))+" days", "ends", when(c.Ends),
		"state", contractState(c), "vendor key", c.VendorKey+map[bool]string{true: " (revoked)"}[c.VendorKeyRevoked])
	if len(c.Areas) > 0 {
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(c.Areas)) {
			a := c.Areas[name]
			rows = append(rows, []string{name, number(a.Max), number(a.Allocated), number(a.Free), number(a.Over)})
		}
		p.line("")
		p.table([]string{"AREA", "MAX", "ALLOCATED", "FREE", "OVER"}, rows)
	}
	if len(c.Products) > 0 {
		var rows [][]string
		for _, name := range slices.Sorted(maps.Keys(c.Products)) {
			x := c.Products[name]
			rows = append(rows, []string{name, string(x.Model), number(x.Quantity), number(x.Overdraft), number(x.Promised), number(x.Used), number(x.Over), number(x.Overdrawn)})
		}
		p.line("")
		p.table([]string{"PRODUCT", "MODEL", "QUANTITY", "OVERDRAFT", "PROMISED", "USED", "OVER", "OVERDRAWN"}, rows)
	}
}

func contractState(c apiv1.Contract) string {
	switch {
	case c.Ended:
		return "ended"
	case c.OverAllocated:
		return "over_allocated"
	case c.VendorKeyRevoked:
		return "in force, its vendor key revoked"
	default:
		return "in force"
	}
}

// allocatedOf has the areas as "primary 25/30".
func allocatedOf(c apiv1.Contract) string {
	var areas []string
	for _, name := range slices.Sorted(maps.Keys(c.Areas)) {
		areas = append(areas, name+" "+number(c.Areas[name].Allocated)+"/"+number(c.Areas[name].Max))
	}
	return strings.Join(areas, ", ")
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
