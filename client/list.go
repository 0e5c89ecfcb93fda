package client

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/licet/licet/api/apiv1"
)

// follow lists page by page what fetch answers, beginning after a place. split takes a page apart: what it lists, and
// the place after which the next one begins, which is zero on the last. compare puts places in the order of the list.
func follow[T, L any, K comparable](after K, fetch func(K) (*Answer[L], error), split func(*L) ([]T, K), compare func(a, b K) int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		var end K
		for after := after; ; {
			a, err := fetch(after)
			if err != nil {
				yield(none, err)
				return
			}
			list, next := split(&a.Value)
			for _, x := range list {
				if !yield(x, nil) {
					return
				}
			}
			switch {
			case next == end:
				return
			case compare(next, after) <= 0:
				yield(none, endless(a.Meta))
				return
			}
			after = next
		}
	}
}

// endless is a list whose pages lead back.
func endless(meta Meta) *Error {
	return &Error{
		Code: CodeBadAnswer, Detail: fmt.Sprintf("%s: the list leads back to where it was.", meta.Endpoint), Meta: meta,
		Next: "Check that the endpoint is a licet node and not something else, or in between.",
	}
}

// compareAccounts orders names of accounts, in which A to Z count as a to z.
func compareAccounts(a, b string) int {
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}
	return cmp.Compare(strings.Map(lower, a), strings.Map(lower, b))
}

// AllContracts lists the contracts page by page, each as new as its request.
// It ends after the first error.
func (c *Client) AllContracts(ctx context.Context, options ...ReadOption) iter.Seq2[apiv1.Contract, error] {
	fetch := func(after string) (*Answer[apiv1.ContractList], error) {
		return c.Contracts(ctx, ContractPage{After: after}, options...)
	}
	return follow("", fetch, func(l *apiv1.ContractList) ([]apiv1.Contract, string) { return l.Contracts, l.Next }, cmp.Compare)
}

// AllInstances lists the instances of a contract, or all if it is empty, page
// by page, each as new as its request. It ends after the first error.
func (c *Client) AllInstances(ctx context.Context, contract string, options ...ReadOption) iter.Seq2[apiv1.Instance, error] {
	fetch := func(after uint64) (*Answer[apiv1.InstanceList], error) {
		return c.Instances(ctx, InstancePage{Contract: contract, After: after}, options...)
	}
	return follow(0, fetch, func(l *apiv1.InstanceList) ([]apiv1.Instance, uint64) { return l.Instances, l.Next }, cmp.Compare)
}

// AllPools lists the pools of a contract, or all if it is empty, page by page,
// each as new as its request. It ends after the first error.
func (c *Client) AllPools(ctx context.Context, contract string, options ...ReadOption) iter.Seq2[apiv1.Pool, error] {
	fetch := func(after string) (*Answer[apiv1.PoolList], error) {
		return c.Pools(ctx, PoolPage{Contract: contract, After: after}, options...)
	}
	return follow("", fetch, func(l *apiv1.PoolList) ([]apiv1.Pool, string) { return l.Pools, l.Next }, cmp.Compare)
}

// AllLeases lists the leases that page chooses, from its After on, page by page of its
// length, each as new as its request. It ends after the first error.
func (c *Client) AllLeases(ctx context.Context, page LeasePage, options ...ReadOption) iter.Seq2[apiv1.Lease, error] {
	fetch := func(after uint64) (*Answer[apiv1.LeaseList], error) {
		page.After = after
		return c.Leases(ctx, page, options...)
	}
	return follow(page.After, fetch, func(l *apiv1.LeaseList) ([]apiv1.Lease, uint64) { return l.Leases, l.Next }, cmp.Compare)
}

// AllTickets lists the tickets of a pool in the order of the queue, page by page, each as
// new as its request. It ends after the first error.
func (c *Client) AllTickets(ctx context.Context, pool string, options ...ReadOption) iter.Seq2[apiv1.Ticket, error] {
	fetch := func(after uint64) (*Answer[apiv1.TicketList], error) {
		return c.Tickets(ctx, pool, after, 0, options...)
	}
	return follow(0, fetch, func(l *apiv1.TicketList) ([]apiv1.Ticket, uint64) { return l.Tickets, l.Next }, cmp.Compare)
}

// AllProjects lists the open projects of a pool page by page, each as new as its
// request. It ends after the first error.
func (c *Client) AllProjects(ctx context.Context, pool string, options ...ReadOption) iter.Seq2[apiv1.Project, error] {
	fetch := func(after string) (*Answer[apiv1.ProjectList], error) {
		return c.Projects(ctx, pool, after, 0, options...)
	}
	return follow("", fetch, func(l *apiv1.ProjectList) ([]apiv1.Project, string) { return l.Projects, l.Next }, cmp.Compare)
}

// AllAccounts lists the accounts of an instance page by page, each as new as its
// request. It ends after the first error.
func (c *Client) AllAccounts(ctx context.Context, serial uint64, options ...ReadOption) iter.Seq2[apiv1.Account, error] {
	fetch := func(after string) (*Answer[apiv1.AccountList], error) {
		return c.Accounts(ctx, serial, AccountPage{After: after}, options...)
	}
	return follow("", fetch, func(l *apiv1.AccountList) ([]apiv1.Account, string) { return l.Accounts, l.Next }, compareAccounts)
}

// AllNotices lists the notices page by page, the oldest first, each page as new as its
// request. It ends after the first error.
func (c *Client) AllNotices(ctx context.Context, options ...ReadOption) iter.Seq2[apiv1.Notice, error] {
	fetch := func(after uint64) (*Answer[apiv1.NoticeList], error) {
		return c.Notices(ctx, NumberPage{After: after}, options...)
	}
	return follow(0, fetch, func(l *apiv1.NoticeList) ([]apiv1.Notice, uint64) { return l.Notices, l.Next }, cmp.Compare)
}

// AllLicenseRequests lists the license requests of a contract, or all if it is empty, page
// by page, each as new as its request. It ends after the first error.
func (c *Client) AllLicenseRequests(ctx context.Context, contract string, options ...ReadOption) iter.Seq2[apiv1.LicenseRequest, error] {
	fetch := func(after uint64) (*Answer[apiv1.LicenseRequestList], error) {
		return c.LicenseRequests(ctx, contract, NumberPage{After: after}, options...)
	}
	return follow(0, fetch, func(l *apiv1.LicenseRequestList) ([]apiv1.LicenseRequest, uint64) { return l.Requests, l.Next }, cmp.Compare)
}

// AllAuditRows lists the rows of the audit trail that page chooses, in the order of decisions: those after its After,
// or from the first one that there is up to the newest. Each page is as new as its request. Rows that a node does not have
// are left out; Audit tells which. It ends after the first error.
func (c *Client) AllAuditRows(ctx context.Context, page AuditPage, options ...ReadOption) iter.Seq2[apiv1.AuditRow, error] {
	first := uint64(0)
	if page.After != nil {
		first = *page.After
	}
	fetch := func(after uint64) (*Answer[apiv1.AuditList], error) {
		page.After = &after
		return c.Audit(ctx, page, options...)
	}
	return follow(first, fetch, func(l *apiv1.AuditList) ([]apiv1.AuditRow, uint64) { return l.Rows, l.Next }, cmp.Compare)
}
