package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// ask reads a checkout; its holder is not the form's to say.
func (f *form) ask() *fsmpb.Checkout {
	return &fsmpb.Checkout{
		Pool: f.checked("pool", signed.CheckName), Product: f.checked("product", signed.CheckName),
		User: f.checked("user", fsm.CheckLine), Client: f.checked("client", fsm.CheckLine), Count: f.number("count", 1, signed.MaxQuantity),
		Ttl: f.small("ttl", 1, fsm.MaxTTL), Project: f.optional("project", fsm.CheckLine), Groups: f.texts("groups", maxGroups, signed.CheckName),
		BorrowDays: f.small("borrow_days", 1, fsm.MaxCheckoutDays), Queue: f.flag("queue"),
	}
}

func (s *service) checkout(c *call) (*answer, error) {
	ask := c.form.ask()
	if err := c.form.done(); err != nil {
		return nil, err
	}
	handle, err := s.newHandle(c, 0)
	if err != nil {
		return nil, err
	}
	cluster, err := s.borrower(c, ask)
	if err != nil {
		return nil, err
	}
	ask.Holder = holder(handle)
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_Checkout{Checkout: ask}})
	if err != nil {
		return nil, err
	}
	done, err := s.granted(c, cluster, ask.Client, handle, o)
	if err != nil {
		return nil, err
	}
	return c.granted(done), nil
}

// granted answers with a lease or a ticket, and says where it is.
func (c *call) granted(done apiv1.CheckoutDone) *answer {
	switch {
	case c.dryRun:
		return ok(done)
	case done.Lease != nil:
		c.header.Set("Location", "/v1/leases/"+strconv.FormatUint(done.Lease.ID, 10))
		return &answer{http.StatusCreated, done}
	default:
		c.header.Set("Location", "/v1/tickets/"+strconv.FormatUint(done.Ticket.ID, 10))
		return &answer{http.StatusAccepted, done}
	}
}

// borrower is the cluster's id if any of the checkouts borrows, for the tokens.
func (s *service) borrower(c *call, asks ...*fsmpb.Checkout) (string, error) {
	for _, ask := range asks {
		if ask.GetBorrowDays() > 0 {
			v, err := s.identity(c)
			if err != nil {
				return "", err
			}
			return v.ClusterID(), nil
		}
	}
	return "", nil
}

// granted shows what a checkout came to, with the secrets that belong to it.
func (s *service) granted(c *call, cluster, client, handle string, o *fsmpb.Outcome) (done apiv1.CheckoutDone, err error) {
	switch x := o.GetResult().(type) {
	case *fsmpb.Outcome_Lease:
		lease := leaseOf(x.Lease)
		lease.Handle = c.shown(handle)
		if lease.Borrow && !c.dryRun {
			if lease.Token, err = s.Node.SignBorrow(c.ctx, fsm.BorrowToken(cluster, x.Lease)); err != nil {
				return done, unsigned(o, lease.ID, err)
			}
		}
		done.Lease = &lease
	case *fsmpb.Outcome_Ticket:
		ticket := ticketOf(x.Ticket)
		// Who waits already on another client holds the ticket there.
		if ticket.Client == client {
			ticket.Handle = c.shown(handle)
		}
		done.Ticket = &ticket
	default:
		return done, fmt.Errorf("the checkout decided at index %d came to %T", o.GetIndex(), x)
	}
	return done, nil
}

// unsigned: the write was done, so this must not read like a failure; its repeat brings the token.
func unsigned(o *fsmpb.Outcome, lease uint64, err error) error {
	p := problemf(apiv1.CodeOutcomeUnknown, "The request was carried out at index %d, but the token of lease %d was not signed.", o.GetIndex(), lease)
	p.cause = fmt.Errorf("sign the borrow of lease %d: %w", lease, err)
	return p
}

func (s *service) explainCheckout(c *call) (*answer, error) {
	ask := c.form.ask()
	if err := c.form.done(); err != nil {
		return nil, err
	}
	if c.principal.Scoped() {
		c.reach = &fsm.Reach{Right: fsm.MayReadSeats, Pool: ask.Pool, User: ask.User}
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	// Who holds what is granted makes no difference to whether it is.
	ask.Holder = make([]byte, fsm.HolderSize)
	conditions, err := v.Explain(ask, c.actor, s.Node.Wall().UnixMilli())
	if err != nil {
		return nil, malformed([]fault{{"body", err.Error()}})
	}
	x := apiv1.Explanation{Granted: true, Conditions: make([]apiv1.Condition, len(conditions))}
	for i, found := range conditions {
		x.Conditions[i] = conditionOf(found)
		x.Granted = x.Granted && x.Conditions[i].Outcome == apiv1.ConditionOutcomeHolds
	}
	return ok(x), nil
}

func conditionOf(x fsm.Condition) apiv1.Condition {
	out := apiv1.Condition{Name: x.Name, Outcome: apiv1.ConditionOutcomeHolds}
	switch {
	case !x.Checked:
		out.Outcome = apiv1.ConditionOutcomeNotChecked
	case x.Refusal != nil:
		p := refusal(x.Refusal)
		out.Outcome, out.Code, out.Detail, out.Next, out.Facts = apiv1.ConditionOutcomeFails, p.code, p.detail, p.next, p.facts
	}
	return out
}

// bulk decides many items as one write.
func (s *service) bulk(c *call) (*answer, error) {
	b := c.form.bulk()
	if err := c.form.done(); err != nil {
		return nil, err
	}
	if len(b.items) > 1 {
		if err := s.spend(c, len(b.items)); err != nil {
			return nil, err
		}
	}
	for i, ask := range b.asks {
		if ask == nil {
			continue
		}
		handle, err := s.newHandle(c, i)
		if err != nil {
			return nil, err
		}
		b.handles[i], ask.Holder = handle, holder(handle)
	}
	cluster, err := s.borrower(c, b.asks...)
	if err != nil {
		return nil, err
	}
	o, err := s.decide(c, &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: b.items}}})
	if err != nil {
		return nil, err
	}
	outcomes := o.GetBulk().GetOutcomes()
	if len(outcomes) != len(b.items) {
		return nil, fmt.Errorf("%d items came to %d outcomes at index %d", len(b.items), len(outcomes), o.Index)
	}
	done := apiv1.BulkDone{Results: make([]apiv1.BulkResult, len(outcomes))}
	for i, each := range outcomes {
		if done.Results[i], err = s.bulkResult(c, cluster, b, i, each); err != nil {
			return nil, err
		}
	}
	return ok(done), nil
}

// bulkItems are the items of a bulk, in order; asks and handles are those of its checkouts.
type bulkItems struct {
	items   []*fsmpb.Body
	asks    []*fsmpb.Checkout
	handles []string
}

func (f *form) bulk() *bulkItems {
	b := new(bulkItems)
	f.items("items", fsm.MaxBulk, func(path string, value any) {
		f.nested("items", path, value, func(inner *form) {
			item, ask := inner.bulkItem()
			b.items, b.asks, b.handles = append(b.items, item), append(b.asks, ask), append(b.handles, "")
		})
	})
	if len(b.items) == 0 && len(f.faults) == 0 {
		f.fault("items", "items: there is none")
	}
	return b
}

func (f *form) bulkItem() (item *fsmpb.Body, ask *fsmpb.Checkout) {
	item = new(fsmpb.Body)
	f.inner("checkout", func(inner *form) {
		ask = inner.ask()
		item.Kind = &fsmpb.Body_Checkout{Checkout: ask}
	})
	f.inner("renew", func(inner *form) {
		renewal := inner.renewal()
		renewal.Lease = inner.must("lease", maxSerial)
		item.Kind = &fsmpb.Body_Renew{Renew: renewal}
	})
	f.inner("check_in", func(inner *form) {
		item.Kind = &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Holder: inner.holder(), Lease: inner.must("lease", maxSerial)}}
	})
	if len(f.fields) != 1 {
		f.fault("items", "it has %d fields instead of one of checkout, renew and check_in", len(f.fields))
	}
	return item, ask
}

func (s *service) bulkResult(c *call, cluster string, b *bulkItems, i int, o *fsmpb.Outcome) (r apiv1.BulkResult, err error) {
	if o.Refusal != nil {
		p := refusal(o.Refusal).body(exchangeOf(c.Context()).id)
		return apiv1.BulkResult{Problem: &p}, nil
	}
	if ask := b.asks[i]; ask != nil {
		done, err := s.granted(c, cluster, ask.Client, b.handles[i], o)
		return apiv1.BulkResult{Lease: done.Lease, Ticket: done.Ticket}, err
	}
	switch x := o.GetResult().(type) {
	case *fsmpb.Outcome_Lease:
		renewed := renewedOf(x.Lease)
		r.Renewed = &renewed
	case *fsmpb.Outcome_LeaseEnded:
		r.Returned = &apiv1.LeaseEnded{Lease: x.LeaseEnded.Lease, Already: x.LeaseEnded.Already}
	default:
		err = errors.New("an item of a bulk came to nothing that is known")
	}
	return r, err
}
