package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/fsm/signed"
)

// C1: everything that is wrong with a contract is said, with its line.
func TestContractFaults(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"nothing", contractYAML, "", "c.yaml: there are 0 documents in the file instead of one"},
		{"no mapping", contractYAML, "- id: x", "c.yaml:1: a list instead of a contract's fields"},
		{"no YAML", contractYAML, "id: [x", "c.yaml:1: not YAML: "},
		{"bytes", contractYAML, "id: \xff", "c.yaml: the file is not UTF-8 text"},
		{"two documents", "id: themis", "id: a\n---\nid: themis", "there are 2 documents"},
		{"an unknown field", "revision: 2", "revison: 2", "c.yaml:2: revison: there is no such field\nc.yaml: revision: it must be at least 1"},
		{"a field twice", "revision: 2", "revision: 2\nrevision: 3", "c.yaml:3: revision: it stands there twice, first in line 2"},
		{"an area twice", "{primary: 30}", "{primary: 30, primary: 3}", "c.yaml:8: users.primary: it stands there twice, first in line 8"},
		{"a text for a number", "revision: 2", "revision: two", "c.yaml:2: revision: a text instead of a whole number"},
		{"a quoted number", "revision: 2", `revision: "2"`, "c.yaml:2: revision: a text instead of a whole number"},
		{"a fraction", "primary: 30", "primary: 30.5", "c.yaml:8: users.primary: a number instead of a whole number"},
		{"a negative number", "primary: 30", "primary: -30", "c.yaml:8: users.primary: -30 is no whole number"},
		{"an octal number", "primary: 30", "primary: 030", "c.yaml:8: users.primary: 030 is no whole number"},
		{"a hexadecimal number", "primary: 30", "primary: 0x30", "c.yaml:8: users.primary: 0x30 is no whole number"},
		{"a huge number", "primary: 30", "primary: 1000000001", "c.yaml:8: users.primary: 1000000001 is more than 1000000000"},
		{"a number beyond all", "primary: 30", "primary: 99999999999999999999", "c.yaml:8: users.primary: "},
		{"grace beyond 32 bits", "grace_days: 14", "grace_days: 4294967297", "c.yaml:7: grace_days: 4294967295 is more than 3650"},
		{"no customer", "customer: ACME SARL\n", "", "c.yaml: customer: it is missing"},
		{"an empty customer", "customer: ACME SARL", "customer:", "c.yaml:3: customer: nothing instead of a text"},
		{"a list for a text", "customer: ACME SARL", "customer: [ACME]", "c.yaml:3: customer: a list instead of a text"},
		{"true for a text", "id: themis", "id: true", "c.yaml:1: id: true or false instead of a text"},
		{"a bad id", "id: themis", "id: ../themis", `c.yaml:1: id: "../themis" is no name`},
		{"a bad area", "{primary: 30}", `{"a b": 30}`, `c.yaml:8: users: "a b" is no name`},
		{"a bad address", "licenses@acme.example", "nobody", `c.yaml:4: email: "nobody" is no e-mail address`},
		{"a bad date", "2026-12-31", "31.12.2026", `c.yaml:6: expiry: "31.12.2026" is neither a date`},
		{"a day that is none", "2026-12-31", "2026-02-30", `c.yaml:6: expiry: "2026-02-30" is neither a date`},
		{"a fraction of a second", "2026-12-31", "2026-12-31T00:00:00.5Z", "c.yaml:6: expiry: 2026-12-31T00:00:00.5Z is not in UTC and whole seconds"},
		{"an end before the start", "2026-12-31", "2025-12-31", "c.yaml:6: expiry: 2026-01-01T00:00:00Z is not after start 2026-01-01T00:00:00Z"},
		{"no users", "{primary: 30}", "30", "c.yaml:8: users: a number instead of names with values"},
		{"an unknown model", "model: floating", "model: sinking", `c.yaml:10: products.editor.model: "sinking" is none of floating, mono, team`},
		{"no quantity", "quantity: 10, ", "", "c.yaml:10: products.editor.quantity: it is missing"},
		{"an unknown field of a product", "overdraft: 2", "overdrive: 2", "c.yaml:10: products.editor.overdrive: there is no such field"},
		{"an alias", "users: {primary: 30}", "users: &u {primary: 30}\nx: *u", "c.yaml:8: users: an anchor, alias or tag instead of names"},
		{"a merge", "{primary: 30}", "{<<: {primary: 30}}", "merging (<<) is not supported"},
		{"a tag", "revision: 2", "revision: !!str 2", "c.yaml:2: revision: an anchor, alias or tag instead of a whole number"},
		{"many brackets", contractYAML, strings.Repeat("[", 3000), "there are more than 2000 brackets"},
		{"many keys", contractYAML, strings.Repeat("a:\n", 7000), "there are more than 6000 colons"},
		{"many lists", contractYAML, strings.Repeat("- ", 3000), "there are more than 1000 items"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(contractYAML, tt.old, tt.new, 1)
			c, err := parseContract("c.yaml", []byte(text))
			if err == nil || c != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	many := strings.NewReplacer("revision: 2", "revision: 0", "licenses@", "licenses", "floating", "sinking").Replace(contractYAML)
	if _, err := parseContract("c.yaml", []byte(many)); strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not everything is said: %v", err)
	}
}

// C1: the largest contract that a document can be fits into a file.
func TestLargestContract(t *testing.T) {
	var text strings.Builder
	text.WriteString(strings.Split(contractYAML, "users:")[0] + "users:\n")
	for i := range signed.MaxAreas {
		fmt.Fprintf(&text, "  area-%058d: 1000000000\n", i)
	}
	text.WriteString("products:\n")
	for i := range signed.MaxProducts {
		fmt.Fprintf(&text, "  product-%055d: {model: floating, quantity: 10, overdraft: 1}\n", i)
	}
	c, err := parseContract("c.yaml", []byte(text.String()))
	if err != nil || text.Len() > maxContractFile || len(c.Products) != signed.MaxProducts || len(c.Users) != signed.MaxAreas {
		t.Errorf("%d bytes: %v", text.Len(), err)
	}
}

// Plain dates hold whole days: from the first moment to the last one (C5).
func TestContractDates(t *testing.T) {
	for _, tt := range []struct{ start, expiry, wantStart, wantExpiry string }{
		{"2026-01-01", "2026-12-31", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"2026-02-28", "2028-02-29", "2026-02-28T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"2026-01-01", "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		{`"2026-01-01T08:00:00+02:00"`, "2026-12-31T18:00:00Z", "2026-01-01T06:00:00Z", "2026-12-31T18:00:00Z"},
	} {
		text := strings.NewReplacer("start: 2026-01-01", "start: "+tt.start, "expiry: 2026-12-31", "expiry: "+tt.expiry).Replace(contractYAML)
		c, err := parseContract("c.yaml", []byte(text))
		if err != nil || c.Start.Format(time.RFC3339) != tt.wantStart || c.Expiry.Format(time.RFC3339) != tt.wantExpiry {
			t.Errorf("%s to %s: %+v, %v", tt.start, tt.expiry, c, err)
		}
	}
}

func FuzzContractFile(f *testing.F) {
	f.Add(contractYAML)
	f.Add("")
	f.Add("id: {<<: *a}")
	f.Add("? [a]\n: b")
	f.Add("users: {1: 2, 1.0: 3, true: 4, null: 5}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseContract("c.yaml", []byte(text))
		if (c == nil) == (err == nil) {
			t.Fatal("neither a contract nor an error, or both")
		}
		if c != nil && c.Validate() != nil {
			t.Fatalf("accepted: %v", c.Validate())
		}
	})
}

func FuzzArguments(f *testing.F) {
	f.Add("instance create a b --allocate x=1 -o json")
	f.Add("-- -x --=--")
	f.Add("help help --help -h= -")
	f.Fuzz(func(t *testing.T, text string) {
		app := newApp(Streams{})
		arranged, err := arrange(app, strings.Fields(text))
		if err != nil && arranged != nil {
			t.Fatal("both arguments and an error")
		}
	})
}
