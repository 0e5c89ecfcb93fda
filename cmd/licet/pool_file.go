package main

import (
	_ "embed" // the example of a pool's file

	"github.com/goccy/go-yaml/ast"

	"github.com/licet/licet/api/apiv1"
)

// poolExample is what `licet pool example` prints.
//
//go:embed pool.yaml
var poolExample string

// poolFile is one reading of a pool's definition. What its values may be, the cluster says.
type poolFile struct {
	strictFile
	pool apiv1.PoolDefinition
}

// parsePool reads a pool's YAML strictly. The error has all that is wrong, each on a
// line with file and line number.
func parsePool(name string, text []byte) (*apiv1.PoolDefinition, error) {
	f := &poolFile{strictFile: newStrictFile(name, "a pool")}
	if root := f.parse(text); root != nil {
		f.fields(root, "", f.field)
		for _, field := range []string{"name", "contract", "size", "products"} {
			if _, ok := f.lines[field]; !ok {
				f.fault(0, "%s: it is missing", field)
			}
		}
	}
	if len(f.faults) > 0 {
		return nil, f.error()
	}
	return &f.pool, nil
}

func (f *poolFile) field(path, _ string, value ast.Node) {
	p := &f.pool
	numbers := map[string]*uint32{
		"ttl_min": &p.TTLMin, "ttl_max": &p.TTLMax, "ttl_default": &p.TTLDefault, "linger": &p.Linger,
		"queue_limit": &p.QueueLimit, "offer_ttl": &p.OfferTTL, "ticket_ttl": &p.TicketTTL,
	}
	switch path {
	case "name":
		p.Name = f.text(path, value)
	case "contract":
		p.Contract = f.text(path, value)
	case "site":
		p.Site = f.text(path, value)
	case "size":
		p.Size = f.number(path, value)
	case "shared":
		p.Shared = f.flag(path, value)
	case "valid_until":
		if until := f.time(path, value, true); !until.IsZero() {
			p.ValidUntil = &until
		}
	case "restriction":
		p.Restriction = f.restriction(path, value)
	case "products":
		p.Products = map[string]apiv1.PoolProduct{}
		f.mapping(path, value, f.product)
	default:
		if number := numbers[path]; number != nil {
			*number = f.small(path, value)
			return
		}
		f.fault(f.lines[path], "%.80s: there is no such field", path)
	}
}

func (f *poolFile) product(path, name string, value ast.Node) {
	var x apiv1.PoolProduct
	if _, nothing := value.(*ast.NullNode); !nothing {
		f.mapping(path, value, func(path, field string, value ast.Node) {
			switch field {
			case "cap":
				x.Cap = f.number(path, value)
			case "max_checkout_days":
				x.MaxCheckoutDays = f.small(path, value)
			case "low_water":
				x.LowWater = f.number(path, value)
			case "restriction":
				x.Restriction = f.restriction(path, value)
			case "reservations":
				f.list(path, value, func(path string, value ast.Node) { x.Reservations = append(x.Reservations, f.reservation(path, value)) })
			default:
				f.fault(f.lines[path], "%.80s: there is no such field; a product has cap, max_checkout_days, low_water, restriction, reservations", path)
			}
		})
	}
	f.pool.Products[name] = x
}

func (f *poolFile) reservation(path string, value ast.Node) (r apiv1.Reservation) {
	f.mapping(path, value, func(path, field string, value ast.Node) {
		lists := map[string]*[]string{"users": &r.Users, "domains": &r.Domains, "groups": &r.Groups}
		switch {
		case field == "name":
			r.Name = f.text(path, value)
		case field == "seats":
			r.Seats = f.number(path, value)
		case lists[field] != nil:
			*lists[field] = f.texts(path, value)
		default:
			f.fault(f.lines[path], "%.80s: there is no such field; a reservation has name, seats, users, domains, groups", path)
		}
	})
	return r
}

func (f *poolFile) restriction(path string, value ast.Node) *apiv1.Restriction {
	r := new(apiv1.Restriction)
	lists := map[string]*[]string{
		"include_domains": &r.IncludeDomains, "exclude_domains": &r.ExcludeDomains, "include_emails": &r.IncludeEmails, "exclude_emails": &r.ExcludeEmails,
	}
	f.mapping(path, value, func(path, field string, value ast.Node) {
		if lists[field] == nil {
			f.fault(f.lines[path], "%.80s: there is no such field; a restriction has include_domains, exclude_domains, include_emails, exclude_emails", path)
			return
		}
		*lists[field] = f.texts(path, value)
	})
	return r
}
