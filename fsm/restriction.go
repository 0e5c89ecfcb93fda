package fsm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// maxEntries bounds each list of a restriction or reservation.
const maxEntries = 1000

// normalRestriction checks a restriction (rule P5) and returns it with its lists in
// lower case and sorted, each entry once.
func normalRestriction(field string, r *fsmpb.Restriction) (*fsmpb.Restriction, error) {
	if r == nil {
		return nil, nil
	}
	next := &fsmpb.Restriction{
		IncludeDomains: normalList(r.IncludeDomains), ExcludeDomains: normalList(r.ExcludeDomains),
		IncludeEmails: normalList(r.IncludeEmails), ExcludeEmails: normalList(r.ExcludeEmails),
	}
	for _, x := range []struct {
		name  string
		list  []string
		check func(field, entry string) error
	}{
		{".include_domains", next.IncludeDomains, checkDomain},
		{".exclude_domains", next.ExcludeDomains, checkDomain},
		{".include_emails", next.IncludeEmails, signed.CheckEmail},
		{".exclude_emails", next.ExcludeEmails, signed.CheckEmail},
	} {
		if err := checkList(field+x.name, x.list, x.check); err != nil {
			return nil, err
		}
	}
	for _, both := range [][2][]string{{next.IncludeDomains, next.ExcludeDomains}, {next.IncludeEmails, next.ExcludeEmails}} {
		for _, entry := range both[0] {
			if contains(both[1], entry) {
				return nil, fmt.Errorf("%s: %s is both included and excluded", field, entry)
			}
		}
	}
	if len(next.IncludeDomains)+len(next.ExcludeDomains)+len(next.IncludeEmails)+len(next.ExcludeEmails) == 0 {
		return nil, nil
	}
	return next, nil
}

func normalList(list []string) []string {
	next := make([]string, len(list))
	for i, entry := range list {
		next[i] = lower(entry)
	}
	slices.Sort(next)
	return slices.Compact(next)
}

func checkList(field string, list []string, check func(field, entry string) error) error {
	if len(list) > maxEntries {
		return fmt.Errorf("%s: %d entries are more than %d", field, len(list), maxEntries)
	}
	for _, entry := range list {
		if err := check(field, entry); err != nil {
			return err
		}
	}
	return nil
}

func contains(sorted []string, entry string) bool {
	_, found := slices.BinarySearch(sorted, entry)
	return found
}

// lower is strings.ToLower for ASCII alone: Unicode's tables differ between builds (rule D1).
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// checkDomain takes a domain, or one below "*." for its subdomains.
func checkDomain(field, domain string) error {
	rest := strings.TrimPrefix(domain, "*.")
	bad := func(c rune) bool {
		return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.')
	}
	if rest == "" || len(domain) > 253 || strings.ContainsFunc(rest, bad) || strings.HasPrefix(rest, ".") || strings.HasSuffix(rest, ".") || strings.Contains(rest, "..") {
		return fmt.Errorf("%s: %.80q is no domain (example.org, or *.example.org for its subdomains)", field, domain)
	}
	return nil
}

// domainOf is the domain of an e-mail address, empty for a user without one. A local part may hold an @, and
// a domain that ends with a dot is the same one.
func domainOf(user string) string {
	at := strings.LastIndexByte(user, '@')
	if at < 0 {
		return ""
	}
	return strings.TrimSuffix(user[at+1:], ".")
}

// matchDomain finds a user's domain in a sorted list: itself, or by "*." one that it is below.
func matchDomain(list []string, domain string) bool {
	if domain == "" || len(list) == 0 {
		return false
	}
	if contains(list, domain) {
		return true
	}
	for {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok {
			return false
		}
		if contains(list, "*."+parent) {
			return true
		}
		domain = parent
	}
}

// barred says by which rule a restriction keeps a user out, empty if it does not (rule P5).
func barred(r *fsmpb.Restriction, user string) string {
	domain := domainOf(user)
	switch {
	case r == nil:
		return ""
	case contains(r.ExcludeEmails, user):
		return "exclude_emails"
	case contains(r.IncludeEmails, user):
		return ""
	case matchDomain(r.ExcludeDomains, domain):
		return "exclude_domains"
	case matchDomain(r.IncludeDomains, domain):
		return ""
	case len(r.IncludeEmails)+len(r.IncludeDomains) > 0:
		return "not_included"
	}
	return ""
}
