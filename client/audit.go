package client

import (
	"context"
	"errors"
	"strconv"

	"github.com/licet/licet/api/apiv1"
)

// AuditPage says which rows of the audit trail to list. Without After it ends with the newest row, or
// before the row Before.
type AuditPage struct {
	// After and Before are row numbers; at most one of them is given.
	After  *uint64
	Before uint64
	// Limit is the most that are listed, 1 to 1000; 0 leaves it to the node.
	Limit int
	// Actor, Kind (such as create_instance), Outcome (ok or a code) and RequestID restrict the list; empty means any.
	Actor, Kind, Outcome, RequestID string
	// Whole has each row given as the chain has it, too.
	Whole bool
}

// Audit lists a page of the audit trail in the order of decisions. Rows that the state has forgotten come out of
// the files of the node that answers.
func (c *Client) Audit(ctx context.Context, page AuditPage, options ...ReadOption) (*Answer[apiv1.AuditList], error) {
	r := get("/v1/audit", append([]ReadOption{limit(page.Limit)}, options...))
	if page.After != nil {
		r.query.Set("after", strconv.FormatUint(*page.After, 10))
	}
	if page.Before != 0 {
		r.query.Set("before", strconv.FormatUint(page.Before, 10))
	}
	for name, value := range map[string]string{"actor": page.Actor, "kind": page.Kind, "outcome": page.Outcome, "request_id": page.RequestID} {
		if value != "" {
			r.query.Set(name, value)
		}
	}
	if page.Whole {
		r.query.Set("row", "true")
	}
	return call[apiv1.AuditList](ctx, c, r, nil)
}

// AuditRow returns a row of the audit trail and, if the write was refused, why.
func (c *Client) AuditRow(ctx context.Context, seq uint64, options ...ReadOption) (*Answer[apiv1.AuditRow], error) {
	var err error
	if seq == 0 {
		err = refused(errors.New("seq: it is missing"))
	}
	return call[apiv1.AuditRow](ctx, c, get("/v1/audit/"+strconv.FormatUint(seq, 10), options), err)
}
