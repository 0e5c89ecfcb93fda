package main

import (
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/licet/licet/fsm/signed"
)

const contractFileHelp = `CONTRACT.yaml has, and - is the input:

  id: acme-2026
  revision: 1             # a higher one replaces a lower one
  customer: Acme SA
  email: licenses@acme.example
  start: 2026-01-01       # from the beginning of that day
  expiry: 2026-12-31      # through the end of that day
  grace_days: 14          # everything still works for so long (default 0)
  users:                  # accounts per area
    primary: 30
  products:               # seats per product
    editor: {model: floating, quantity: 10, overdraft: 2}   # or mono, team
  answers: [3, 7]         # the license requests that this revision answers, if any

Dates are plain ones, in UTC, or exact to the second: 2026-12-31T18:00:00+01:00.`

// contractFile is one reading of a contract's file.
type contractFile struct {
	strictFile
	contract signed.Contract
}

// parseContract reads a contract's YAML strictly. The error has all that is
// wrong, each on a line with file and line number.
func parseContract(name string, text []byte) (*signed.Contract, error) {
	f := &contractFile{strictFile: newStrictFile(name, "a contract")}
	if root := f.parse(text); root != nil {
		f.fields(root, "", f.field)
		f.validate()
	}
	if len(f.faults) > 0 {
		return nil, f.error()
	}
	return &f.contract, nil
}

// field reads a field of the contract itself.
func (f *contractFile) field(path, _ string, value ast.Node) {
	c := &f.contract
	switch path {
	case "id":
		c.ID = f.text(path, value)
	case "revision":
		c.Revision = f.number(path, value)
	case "customer":
		c.Customer = f.text(path, value)
	case "email":
		c.Email = f.text(path, value)
	case "start":
		c.Start = f.time(path, value, false)
	case "expiry":
		c.Expiry = f.time(path, value, true)
	case "grace_days":
		// Beyond 32 bits it must not wrap around to something small.
		c.GraceDays = uint32(min(f.number(path, value), 1<<32-1))
	case "users":
		c.Users = map[string]uint64{}
		f.mapping(path, value, func(path, area string, value ast.Node) { c.Users[area] = f.number(path, value) })
	case "products":
		c.Products = map[string]signed.Product{}
		f.mapping(path, value, f.product)
	case "answers":
		c.Answers = f.numbers(path, value)
	default:
		f.fault(f.lines[path], "%.80s: there is no such field", path)
	}
}

func (f *contractFile) product(path, name string, value ast.Node) {
	var p signed.Product
	f.mapping(path, value, func(path, field string, value ast.Node) {
		switch field {
		case "model":
			p.Model = signed.Model(f.text(path, value))
		case "quantity":
			p.Quantity = f.number(path, value)
		case "overdraft":
			p.Overdraft = f.number(path, value)
		default:
			f.fault(f.lines[path], "%.80s: there is no such field; a product has model, quantity, overdraft", path)
		}
	})
	if _, ok := f.lines[path+".quantity"]; !ok {
		f.fault(f.lines[path], "%.80s.quantity: it is missing", path)
	}
	f.contract.Products[name] = p
}

// numbers reads a list of whole numbers.
func (f *contractFile) numbers(path string, value ast.Node) (all []uint64) {
	f.list(path, value, func(path string, value ast.Node) { all = append(all, f.number(path, value)) })
	return all
}

// validate adds what the contract itself finds wrong, where nothing was said of the field yet.
func (f *contractFile) validate() {
	said := map[int]bool{}
	for _, fault := range f.faults {
		said[fault.line] = true
	}
	err := f.contract.Validate()
	if err == nil {
		return
	}
	for _, text := range strings.Split(err.Error(), "\n") {
		field, _, _ := strings.Cut(text, ":")
		line := f.lines[field]
		for line == 0 && strings.Contains(field, ".") {
			field = field[:strings.LastIndexByte(field, '.')]
			line = f.lines[field]
		}
		if line == 0 || !said[line] {
			f.fault(line, "%s", text)
		}
	}
}
