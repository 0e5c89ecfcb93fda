package main

import (
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// The example names every field, and is right.
func TestPoolExample(t *testing.T) {
	text := strings.ReplaceAll(poolExample, "\n#", "\n")
	text = strings.Replace(text, "\n Times are in seconds.", "", 1)
	d, err := parsePool("pool.yaml", []byte(strings.TrimPrefix(text, "# A pool, for `licet pool create FILE`. It is inactive until `licet pool activate`.\n")))
	if err != nil {
		t.Fatal(err)
	}
	cad := d.Products["cad"]
	if d.Name != "design" || d.Size != 10 || !d.Shared || d.ValidUntil.Format("2006-01-02") != "2027-01-01" || cad.Cap != 3 || cad.MaxCheckoutDays != 7 ||
		cad.LowWater != 1 || cad.Reservations[0].Seats != 1 || cad.Reservations[0].Groups[0] != "managers" || d.Restriction.IncludeDomains[1] != "*.acme.example" ||
		d.TTLMin != 30 || d.TTLMax != 86400 || d.TTLDefault != 300 || d.QueueLimit != 100 || d.OfferTTL != 60 || d.TicketTTL != 120 {
		t.Errorf("%+v", d)
	}
	if got := run(t, nil, "pool", "example"); got.out != poolExample || got.code != exitOK {
		t.Errorf("%+v", got)
	}
}

// All that is wrong is said, with its line.
func TestPoolFileFaults(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\ncontract: b\nsize: ten\nproducts: {cad: {}}\n": "p.yaml:3: size: a text instead of a whole number",
		"name: a\nname: b\n": "p.yaml:2: name: it stands there twice, first in line 1",
		"name: a\ncontract: b\nsize: 1\nproducts: [cad]\n":                                          "p.yaml:4: products: a list instead of names with values",
		"name: a\ncontract: b\nsize: 1\nproducts:\n  cad: {colour: red}\n":                          "p.yaml:5: products.cad.colour: there is no such field",
		"name: a\ncontract: b\nsize: 1\nproducts: {cad: {}}\nshared: 1\n":                           "p.yaml:5: shared: a number instead of true or false",
		"name: a\ncontract: b\nsize: 1\nproducts: {cad: {}}\nlinger: 99999999999\n":                 "p.yaml:5: linger: 99999999999 is too great",
		"name: a\ncontract: b\nsize: 1\nproducts: {cad: {}}\nrestriction: {include_domains: a.b}\n": "p.yaml:5: restriction.include_domains: a text instead of a list",
		"name: a\n":                    "p.yaml: size: it is missing",
		"x: &a {}\n":                   "p.yaml:1: x: there is no such field",
		"- a\n":                        "p.yaml:1: a list instead of a pool's fields",
		"name: a\nproducts: {cad: }\n": "p.yaml: contract: it is missing",
	} {
		if _, err := parsePool("p.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if d, err := parsePool("p.yaml", []byte("name: a\ncontract: b\nsize: 1\nproducts: {cad: , cam: {cap: 1}}\n")); err != nil || d.Products["cad"].Cap != (apiv1.PoolProduct{}).Cap || len(d.Products) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}
