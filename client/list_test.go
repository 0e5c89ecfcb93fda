package client_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// named is what an iterator lists, as text.
func named[T any](list iter.Seq2[T, error], name func(T) any) (text string, err error) {
	for x, err := range list {
		if err != nil {
			return text, err
		}
		text += fmt.Sprint(name(x), " ")
	}
	return text, nil
}

// Every list has an iterator that follows its pages to the end, asks again from where it was, and ends where they lead back.
func TestListsFollowTheirPages(t *testing.T) {
	seven := uint64(7)
	for _, tt := range []struct {
		name        string
		list        func(context.Context, *client.Client) (string, error)
		one, two    string
		uris, names string
	}{
		{
			"pools", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllPools(ctx, "acme", client.Stale()), func(x apiv1.Pool) any { return x.Definition.Name })
			},
			`{"pools":[{"definition":{"name":"a"}}],"next":"a"}`, `{"pools":[{"definition":{"name":"b"}}]}`,
			"/v1/pools?consistency=stale&contract=acme /v1/pools?after=a&consistency=stale&contract=acme ", "a b ",
		},
		{
			"leases", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllLeases(ctx, client.LeasePage{Pool: "design", User: "ann", After: 2, Limit: 1}), func(x apiv1.Lease) any { return x.ID })
			},
			`{"leases":[{"id":3}],"next":3}`, `{"leases":[{"id":9}]}`,
			"/v1/leases?after=2&limit=1&pool=design&user=ann /v1/leases?after=3&limit=1&pool=design&user=ann ", "3 9 ",
		},
		{
			"tickets", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllTickets(ctx, "design"), func(x apiv1.Ticket) any { return x.ID })
			},
			`{"tickets":[{"id":3}],"next":3}`, `{"tickets":[{"id":9}]}`, "/v1/pools/design/tickets /v1/pools/design/tickets?after=3 ", "3 9 ",
		},
		{
			"projects", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllProjects(ctx, "design"), func(x apiv1.Project) any { return x.Project })
			},
			`{"projects":[{"project":"a"}],"next":"a"}`, `{"projects":[{"project":"b"}]}`, "/v1/pools/design/projects /v1/pools/design/projects?after=a ", "a b ",
		},
		{
			// A to Z count as a to z: Bob comes after ann.
			"accounts", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllAccounts(ctx, 7), func(x apiv1.Account) any { return x.Name })
			},
			`{"accounts":[{"name":"ann"}],"next":"ann"}`, `{"accounts":[{"name":"Bob"}],"next":"Bob"}`,
			"/v1/instances/7/accounts /v1/instances/7/accounts?after=ann /v1/instances/7/accounts?after=Bob ", "ann Bob Bob ",
		},
		{
			"notices", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllNotices(ctx), func(x apiv1.Notice) any { return x.ID })
			},
			`{"notices":[{"id":3}],"next":3}`, `{"notices":[{"id":9}]}`, "/v1/notices /v1/notices?after=3 ", "3 9 ",
		},
		{
			"license requests", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllLicenseRequests(ctx, "acme"), func(x apiv1.LicenseRequest) any { return x.ID })
			},
			`{"requests":[{"id":3}],"next":3}`, `{"requests":[{"id":9}]}`, "/v1/requests?contract=acme /v1/requests?after=3&contract=acme ", "3 9 ",
		},
		{
			"audit rows from the first", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllAuditRows(ctx, client.AuditPage{Outcome: "ok"}), func(x apiv1.AuditRow) any { return x.Seq })
			},
			`{"rows":[],"last":9,"next":3}`, `{"rows":[{"seq":9}],"last":9}`, "/v1/audit?after=0&outcome=ok /v1/audit?after=3&outcome=ok ", "9 ",
		},
		{
			"audit rows after one", func(ctx context.Context, c *client.Client) (string, error) {
				return named(c.AllAuditRows(ctx, client.AuditPage{After: &seven}), func(x apiv1.AuditRow) any { return x.Seq })
			},
			`{"rows":[{"seq":8}],"last":9,"next":8}`, `{"rows":[{"seq":9}],"last":9}`, "/v1/audit?after=7 /v1/audit?after=8 ", "8 9 ",
		},
	} {
		t.Run(tt.name, func(t *testing.T) { checkList(t, tt.list, []string{tt.one, tt.two}, tt.uris, tt.names) })
	}
}

func checkList(t *testing.T, list func(context.Context, *client.Client) (string, error), pages []string, uris, names string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {fine(pages[0]), fine(pages[1]), fine(pages[1])}})
		got, err := list(t.Context(), n.client(t, client.Options{}, "a:1"))
		asked := ""
		for _, call := range n.seen() {
			asked += call.uri + " "
		}
		// The page of accounts that stays leads back to itself.
		if back := client.CodeOf(err) == client.CodeBadAnswer; got != names || asked != uris || err != nil && !back {
			t.Errorf("%v: %q by %q", err, got, asked)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {fine(pages[0])}})
		if got, err := list(t.Context(), n.client(t, client.Options{}, "a:1")); client.CodeOf(err) != client.CodeBadAnswer || len(n.seen()) != 2 {
			t.Errorf("a list that leads back: %v, %q after %d requests", err, got, len(n.seen()))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {problem(404, "pool_not_found")}})
		if got, err := list(t.Context(), n.client(t, client.Options{}, "a:1")); client.CodeOf(err) != apiv1.CodePoolNotFound || got != "" {
			t.Errorf("%v, %q", err, got)
		}
	})
}

// An iterator can be ranged over again: it begins anew.
func TestListsBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, map[string][]step{"a:1": {fine(`{"leases":[{"id":3},{"id":4}],"next":4}`)}})
		leases := n.client(t, client.Options{}, "a:1").AllLeases(t.Context(), client.LeasePage{})
		for range 2 {
			for x, err := range leases {
				if err != nil || x.ID != 3 {
					t.Errorf("%v, %v", x.ID, err)
				}
				break
			}
		}
		if seen := n.seen(); len(seen) != 2 || seen[1].uri != "/v1/leases" {
			t.Errorf("%+v", seen)
		}
	})
}
