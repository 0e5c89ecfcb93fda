package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// Bounds of what is read of an answer.
const (
	maxAnswer  = 64 << 20
	maxProblem = 64 << 10
)

// reply is a node's success.
type reply struct {
	meta Meta
	body []byte
}

// fault is why an attempt brought no success.
type fault struct {
	*Error
	// unknown: the request may have been carried out.
	unknown bool
	// again: another attempt may succeed.
	again bool
	// elsewhere: this endpoint is of no use for the rest of the call.
	elsewhere bool
	// decided: the cluster refused this very request id.
	decided bool
	// after is when the node wants to be asked again.
	after time.Duration
}

// try asks one endpoint once.
func (c *Client) try(ctx context.Context, endpoint string, r *request) (*reply, *fault) {
	if r.streams() {
		return c.tryStream(ctx, endpoint, r)
	}
	limit := c.attempt
	if r.once {
		limit = c.timeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit+r.wait)
	defer cancel()
	var reached reach
	hr, err := c.build(reached.trace(ctx), endpoint, r)
	if err != nil {
		return nil, &fault{Error: refused(err)}
	}
	answer, err := c.http.Do(hr)
	if err != nil {
		return nil, broken(endpoint, r, err, reached.nothingSent())
	}
	defer func() {
		// A connection is used again only after its answer was read to the end.
		_, _ = io.CopyN(io.Discard, answer.Body, maxProblem)
		_ = answer.Body.Close()
	}()
	return read(endpoint, r, answer)
}

func (c *Client) build(ctx context.Context, endpoint string, r *request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	hr, err := http.NewRequestWithContext(ctx, r.method, r.url(endpoint), body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		hr.Header.Set("Authorization", "Bearer "+c.token)
	}
	if r.body != nil || r.source != nil {
		hr.Header.Set("Content-Type", cmp.Or(r.kind, jsonType))
	}
	if r.key != "" {
		hr.Header.Set("Idempotency-Key", r.key)
	}
	if r.match != "" {
		hr.Header.Set("If-Match", r.match)
	}
	if deadline, ok := ctx.Deadline(); ok && (!r.here || r.changes) {
		// The node is to answer before the client hangs up: its answer tells more.
		left := time.Until(deadline)
		left -= min(left/10, 250*time.Millisecond)
		hr.Header.Set("Licet-Timeout-Ms", strconv.FormatInt(min(max(left.Milliseconds(), 1), 3600_000), 10))
	}
	return hr, nil
}

// reach finds out how far a request came.
type reach struct{ wanted, got atomic.Bool }

func (s *reach) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { s.wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.got.Store(true) },
	})
}

// nothingSent is true only if it is certain: a transport that traces nothing may have sent anything.
func (s *reach) nothingSent() bool { return s.wanted.Load() && !s.got.Load() }

// broken is an attempt without an answer. Its detail is the bare reason.
func broken(endpoint string, r *request, err error, nothingSent bool) *fault {
	f := &fault{Error: &Error{Code: CodeUnreachable, Detail: reason(err), Meta: Meta{Endpoint: endpoint}, cause: err}}
	f.unknown = r.changes && !nothingSent
	f.again = !f.unknown || !r.once
	return f
}

// reason leaves out what others say better: method, address, system call.
func reason(err error) string {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err.Error()
}

// read reads an answer of any status.
func read(endpoint string, r *request, answer *http.Response) (*reply, *fault) {
	meta := metaOf(answer.Header)
	meta.Endpoint = endpoint
	if answer.StatusCode/100 != 2 {
		return nil, readProblem(r, answer, meta)
	}
	body, err := readBody(answer.Body, maxAnswer)
	switch {
	case errors.Is(err, errTooLong):
		return nil, strange(r, answer, meta, err.Error())
	case err != nil:
		return nil, broken(endpoint, r, err, false)
	case answer.StatusCode == http.StatusNoContent && len(body) == 0:
		return &reply{meta: meta}, nil
	}
	want := r.accept
	if want == "" {
		want = jsonType
	}
	if kind := mediaType(answer.Header); kind != want {
		return nil, strange(r, answer, meta, fmt.Sprintf("%.60q instead of %s", kind, want))
	}
	if want == jsonType && !json.Valid(body) {
		return nil, strange(r, answer, meta, "malformed JSON")
	}
	return &reply{meta: meta, body: body}, nil
}

var errTooLong = errors.New("a body longer")

func readBody(body io.Reader, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%w than %d bytes", errTooLong, limit)
	}
	return text, err
}

func mediaType(h http.Header) string {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind
}

// readProblem tells by a problem's code whether trying again helps.
func readProblem(r *request, answer *http.Response, meta Meta) *fault {
	body, err := readBody(answer.Body, maxProblem)
	var p apiv1.Problem
	switch kind := mediaType(answer.Header); {
	case kind != problemType:
		return strange(r, answer, meta, fmt.Sprintf("%.60q instead of %s", kind, problemType))
	case err != nil || json.Unmarshal(body, &p) != nil || p.Code == "":
		return strange(r, answer, meta, "an unreadable problem")
	}
	meta.RequestID = r.key
	f := &fault{Error: &Error{
		Code: p.Code, Status: answer.StatusCode, Detail: p.Detail, Next: p.Next, RequestID: r.key, Facts: p.Facts, Rows: p.Rows, Meta: meta, Raw: body,
	}}
	f.after = retryAfter(answer.Header)
	switch {
	case p.Code == apiv1.CodeOutcomeUnknown, p.Code == apiv1.CodeInternal:
		f.unknown = r.changes
		f.again = !f.unknown || !r.once
	case answer.StatusCode == http.StatusServiceUnavailable, answer.StatusCode == http.StatusTooManyRequests, p.Code == apiv1.CodeTimeout, p.Code == apiv1.CodeIndexTimeout:
		f.again = true
	case answer.StatusCode >= 500 && p.Code != apiv1.CodeUnsupported:
		// A newer node's code: nothing says that nothing was done.
		f.unknown = r.changes
	default:
		f.decided = r.key != "" && answer.Header.Get("Idempotency-Key") == r.key
	}
	return f
}

// strange is an answer that no node gives: a proxy's, or some other server's.
func strange(r *request, answer *http.Response, meta Meta, what string) *fault {
	f := &fault{Error: &Error{
		Code: CodeBadAnswer, Status: answer.StatusCode, RequestID: r.key, Meta: meta,
		Detail: fmt.Sprintf("%s answered %d with %s.", meta.Endpoint, answer.StatusCode, what),
		Next:   "Check that the endpoint is a licet node and not something else, or in between.",
	}}
	passed := answer.StatusCode < 300 || answer.StatusCode >= 500
	f.unknown = r.changes && passed
	f.again = !f.unknown || !r.once
	f.elsewhere = !passed
	return f
}

// retryAfter is 0 if the answer does not say.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
