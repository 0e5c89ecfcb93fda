package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// call has a request carried out and decodes the answer.
func call[T any](ctx context.Context, c *Client, r *request, err error) (*Answer[T], error) {
	if err != nil {
		return nil, err
	}
	got, failed := c.do(ctx, r)
	if failed != nil {
		return nil, failed
	}
	a := &Answer[T]{Meta: got.meta, Raw: got.body}
	if len(got.body) == 0 {
		return a, nil
	}
	if text, ok := any(&a.Value).(*[]byte); ok {
		*text, a.Raw = got.body, nil
		return a, nil
	}
	if err := json.Unmarshal(got.body, &a.Value); err != nil {
		return nil, undecodable(r, got.meta, err)
	}
	return a, nil
}

// undecodable is a success that the client can't read: of a write it is not to
// be taken for a failure.
func undecodable(r *request, meta Meta, err error) *Error {
	e := &Error{
		Code: CodeBadAnswer, Detail: fmt.Sprintf("%s: the answer is not what was expected: %v.", meta.Endpoint, err),
		Next: "Check that client and nodes are of versions that fit.", RequestID: r.key, Meta: meta, cause: err,
	}
	if r.changes {
		e.Code = apiv1.CodeOutcomeUnknown
	}
	return e
}

// history is what a call's attempts came to.
type history struct {
	attempts, internal int
	// doubt is the last attempt that may have been carried out.
	doubt *fault
	// last is the last fault, told the last that came with an answer.
	last, told *fault
	// silent are the endpoints that did not answer, and why.
	silent map[string]string
}

func (h *history) add(endpoint string, f *fault) {
	h.last = f
	if f.unknown {
		h.doubt = f
	}
	if f.Code == apiv1.CodeInternal {
		h.internal++
	}
	if f.Code != CodeUnreachable {
		h.told = f
		return
	}
	if h.silent == nil {
		h.silent = make(map[string]string)
	}
	h.silent[endpoint] = f.Detail
}

// do asks one endpoint after the other until the request is answered for good
// or its time is up.
func (c *Client) do(parent context.Context, r *request) (*reply, *Error) {
	ctx, cancel := context.WithTimeout(parent, c.timeout+r.wait)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if r.streams() {
		ctx = parent
	}
	t := newTour(c.endpoints, int(c.preferred.Load()))
	h := new(history)
	for {
		now := time.Now()
		s, wait := t.next(now)
		over := s == nil || r.here && s.failed > 0 || h.internal > 2*len(c.endpoints)
		if over || !now.Add(wait).Before(deadline) || !sleep(ctx, wait) {
			return nil, h.verdict(parent, r, c)
		}
		h.attempts++
		got, f := c.try(ctx, s.endpoint, r)
		if f == nil {
			c.preferred.Store(t.index(s))
			got.meta.Attempts = h.attempts
			return got, nil
		}
		h.add(s.endpoint, f)
		s.failure(time.Now(), f.after)
		s.out = f.elsewhere
		if !f.again {
			return h.settle(r)
		}
	}
}

// settle ends a call with an answer that another attempt would not better.
func (h *history) settle(r *request) (*reply, *Error) {
	f := h.last
	f.Meta.Attempts = h.attempts
	switch {
	case h.doubt == nil || f.decided:
		return nil, f.Error
	case r.gone(f):
		return &reply{meta: f.Meta}, nil
	default:
		return nil, h.outcomeUnknown(r)
	}
}

// gone tells whether a removal that broke is now known to be done.
func (r *request) gone(f *fault) bool {
	return r.method == "DELETE" && r.key == "" && f.Code == apiv1.CodeMemberNotFound
}

// verdict ends a call whose time is up, or that has nobody left to ask.
func (h *history) verdict(ctx context.Context, r *request, c *Client) *Error {
	if h.doubt != nil {
		return h.outcomeUnknown(r)
	}
	if h.told != nil {
		h.told.Meta.Attempts = h.attempts
		return h.told.Error
	}
	e := &Error{
		Code: CodeUnreachable, Detail: h.silence(c), RequestID: r.key, Meta: Meta{RequestID: r.key, Attempts: h.attempts}, cause: ctx.Err(),
		Next: "Check that the nodes run, and that the endpoints are right.",
	}
	if h.last != nil {
		e.cause = errors.Join(e.cause, h.last.cause)
	}
	return e
}

// silence says per endpoint why there is no answer.
func (h *history) silence(c *Client) string {
	var reasons []string
	for _, endpoint := range c.endpoints {
		if reason, ok := h.silent[endpoint]; ok {
			reasons = append(reasons, endpoint+": "+reason)
		}
	}
	switch {
	case len(reasons) == 0:
		return "The time was up before a node could be asked."
	case len(c.endpoints) == 1:
		return c.endpoints[0] + " does not answer (" + h.silent[c.endpoints[0]] + ")."
	}
	return "No node answered (" + strings.Join(reasons, "; ") + ")."
}

// outcomeUnknown tells of the attempt that is in doubt; what came later changed nothing.
func (h *history) outcomeUnknown(r *request) *Error {
	why := strings.TrimSuffix(h.doubt.Detail, ".")
	if h.doubt.Code == CodeUnreachable {
		why = h.doubt.Meta.Endpoint + ": " + why
	}
	e := &Error{
		Code: apiv1.CodeOutcomeUnknown, Status: h.doubt.Status, RequestID: r.key, Meta: h.doubt.Meta, cause: h.doubt.Error,
		Detail: "It is not known whether the request was carried out (" + why + ").",
		Next:   "Send the same request again with request id " + r.key + ": it is done once at most.",
	}
	if r.key == "" {
		e.Next = "Look at the members, and send the request again if it still is needed."
	}
	e.Meta.RequestID, e.Meta.Attempts = r.key, h.attempts
	return e
}

// sleep waits; false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
