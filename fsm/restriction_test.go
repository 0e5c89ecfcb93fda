package fsm

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/licet/licet/fsm/fsmpb"
)

// P5: who is kept out, and by which rule.
func TestBarred(t *testing.T) {
	list := func(s string) []string { return strings.Fields(s) }
	for name, c := range map[string]struct {
		inDomains, exDomains, inEmails, exEmails string
		// want is the rule for each user, "" for those who get in.
		want map[string]string
	}{
		"nothing said": {want: map[string]string{"ann@example.org": "", "root": ""}},
		"one domain": {inDomains: "example.org", want: map[string]string{
			"ann@example.org": "", "ann@EXAMPLE.ORG": "", "ann@sub.example.org": "not_included", "ann@badexample.org": "not_included",
			"ann@example.org.com": "not_included", "ann@org": "not_included", "example.org": "not_included", "root": "not_included", "@example.org": "",
		}},
		"subdomains": {inDomains: "*.example.org", want: map[string]string{
			"ann@a.example.org": "", "ann@A.b.Example.org": "", "ann@example.org": "not_included", "ann@aexample.org": "not_included",
		}},
		"a domain and its subdomains": {inDomains: "example.org *.example.org", want: map[string]string{"ann@example.org": "", "ann@a.example.org": ""}},
		"excluded beats included": {inDomains: "*.example.org", exDomains: "a.example.org", want: map[string]string{
			"ann@a.example.org": "exclude_domains", "ann@b.example.org": "", "ann@b.a.example.org": "",
		}},
		"excluded subdomains of an included domain": {inDomains: "example.org", exDomains: "*.example.org", want: map[string]string{
			"ann@example.org": "", "ann@a.example.org": "exclude_domains",
		}},
		"exclusion alone": {exDomains: "evil.com", want: map[string]string{
			"ann@evil.com": "exclude_domains", "ann@good.com": "", "ann@evil.com.": "exclude_domains", "a@b@evil.com": "exclude_domains", "root": "",
		}},
		"an address beats every domain": {
			inDomains: "example.org", exDomains: "evil.com", inEmails: "spy@evil.com", exEmails: "bad@example.org",
			want: map[string]string{
				"spy@evil.com": "", "SPY@evil.COM": "", "other@evil.com": "exclude_domains", "bad@example.org": "exclude_emails",
				"Bad@Example.org": "exclude_emails", "ann@example.org": "", "ann@example.com": "not_included",
			},
		},
		"addresses alone":          {inEmails: "ann@example.org", want: map[string]string{"ann@example.org": "", "bob@example.org": "not_included"}},
		"excluded addresses alone": {exEmails: "ann@example.org", want: map[string]string{"ann@example.org": "exclude_emails", "bob@example.org": ""}},
	} {
		r, err := normalRestriction("restriction", &fsmpb.Restriction{
			IncludeDomains: list(c.inDomains), ExcludeDomains: list(c.exDomains), IncludeEmails: list(c.inEmails), ExcludeEmails: list(c.exEmails),
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for user, want := range c.want {
			if got := barred(r, lower(user)); got != want {
				t.Errorf("%s: %s is kept out by %q instead of %q", name, user, got, want)
			}
		}
	}
}

// P5: lists are in lower case, sorted, each entry once; a restriction that says nothing is none.
func TestNormalRestriction(t *testing.T) {
	r, err := normalRestriction("restriction", &fsmpb.Restriction{IncludeDomains: []string{"B.org", "a.org", "b.ORG"}, IncludeEmails: []string{"Z@a.org"}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.IncludeDomains, []string{"a.org", "b.org"}) || !slices.Equal(r.IncludeEmails, []string{"z@a.org"}) {
		t.Errorf("the lists are %v", r)
	}
	for _, empty := range []*fsmpb.Restriction{nil, {}} {
		if r, err := normalRestriction("restriction", empty); r != nil || err != nil {
			t.Errorf("a restriction that says nothing is %v, %v", r, err)
		}
	}
}

// P5: "A list that contains and excludes the same entry is rejected when it is written."
func TestRefusedRestrictions(t *testing.T) {
	many := make([]string, maxEntries+1)
	for i := range many {
		many[i] = fmt.Sprintf("d%d.org", i)
	}
	for want, r := range map[string]*fsmpb.Restriction{
		"r: a.org is both included and excluded":             {IncludeDomains: []string{"b.org", "a.org"}, ExcludeDomains: []string{"A.org"}},
		"r: *.a.org is both included and excluded":           {IncludeDomains: []string{"*.A.org"}, ExcludeDomains: []string{"*.a.org"}},
		"r: x@a.org is both included and excluded":           {IncludeEmails: []string{"x@a.org"}, ExcludeEmails: []string{"X@a.org"}},
		`r.include_domains: "" is no domain`:                 {IncludeDomains: []string{""}},
		`r.include_domains: "*." is no domain`:               {IncludeDomains: []string{"*."}},
		`r.include_domains: "*" is no domain`:                {IncludeDomains: []string{"*"}},
		`r.include_domains: "a.*.org" is no domain`:          {IncludeDomains: []string{"a.*.org"}},
		`r.include_domains: ".a.org" is no domain`:           {IncludeDomains: []string{".a.org"}},
		`r.exclude_domains: "a..org" is no domain`:           {ExcludeDomains: []string{"a..org"}},
		`r.exclude_domains: "a.org." is no domain`:           {ExcludeDomains: []string{"a.org."}},
		`r.exclude_domains: "x@a.org" is no domain`:          {ExcludeDomains: []string{"x@a.org"}},
		`r.exclude_domains: "bücher.de" is no domain`:        {ExcludeDomains: []string{"bücher.de"}},
		`r.include_emails: "a.org" is no e-mail address`:     {IncludeEmails: []string{"a.org"}},
		`r.exclude_emails: "x@" is no e-mail address`:        {ExcludeEmails: []string{"x@"}},
		"r.include_domains: 1001 entries are more than 1000": {IncludeDomains: many},
	} {
		if _, err := normalRestriction("r", r); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v is refused with %v instead of %s", r, err, want)
		}
	}
	// The same entry in lists of different kinds is an exception, not a contradiction.
	if _, err := normalRestriction("r", &fsmpb.Restriction{ExcludeDomains: []string{"a.org"}, IncludeEmails: []string{"x@a.org"}}); err != nil {
		t.Error(err)
	}
}
