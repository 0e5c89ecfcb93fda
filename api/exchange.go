package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/ulid/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/api/apiv1"
)

// exchange is what the log says about a request and its answer.
type exchange struct {
	http.ResponseWriter
	id     string
	actor  string
	route  string
	status int
	bytes  int64
	code   apiv1.Code
	began  time.Time
	// span is nil unless the exchange is traced.
	span trace.Span
}

type exchangeKey struct{}

// exchangeOf finds the exchange that a context belongs to.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	n, err := x.ResponseWriter.Write(p)
	x.bytes += int64(n)
	return n, err
}

// observed gives every exchange an id, the headers that all answers have, an
// answer even if its handler panics, and a line in the log.
func (s *service) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		x := &exchange{ResponseWriter: w, id: ulid.Make().String(), began: began}
		h := x.Header()
		h.Set("Licet-Request-Id", x.id)
		h.Set("Licet-Node", s.Node.ID())
		// Answers hold license keys.
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		s.Meter.Began()
		// gofail: var requestReceived struct{}
		defer func() {
			x.endSpan()
			s.Meter.Served(x.route, x.status, time.Since(began))
			s.Log.Debug("request", "request_id", x.id, "method", r.Method, "path", r.URL.Path, "status", x.status,
				"code", x.code, "bytes", x.bytes, "actor", x.actor, "remote", r.RemoteAddr, "took", time.Since(began))
		}()
		defer s.recovered(x, r)
		next.ServeHTTP(x, r)
	})
}

// recovered answers for a handler that panicked.
func (s *service) recovered(x *exchange, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(fault)
	}
	s.Log.Error("a handler panicked", "request_id", x.id, "method", r.Method, "path", r.URL.Path, "panic", fault, "stack", string(debug.Stack()))
	if x.status != 0 {
		// Half an answer must not look whole.
		panic(http.ErrAbortHandler)
	}
	s.fail(x, r, problemf(apiv1.CodeInternal, "The node failed; its log says more under this request id."))
}

// reply answers with a success.
func (s *service) reply(w http.ResponseWriter, r *http.Request, a *answer) {
	if document, ok := a.body.(document); ok {
		w.Header().Set("Content-Type", document.kind)
		send(w, a.status, document.text)
		return
	}
	if flow, ok := a.body.(stream); ok {
		w.Header().Set("Content-Type", flow.kind)
		w.WriteHeader(a.status)
		if err := flow.write(w); err != nil {
			// Half an answer must not look whole.
			panic(http.ErrAbortHandler)
		}
		return
	}
	if a.body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	text, err := encode(a.body)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	send(w, a.status, text)
}

// document is an answer that is not JSON.
type document struct {
	kind string
	text []byte
}

// stream is an answer that is written as it is made.
type stream struct {
	kind  string
	write func(io.Writer) error
}

// fail answers with a problem.
func (s *service) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	x := exchangeOf(r.Context())
	x.code = p.code
	h := w.Header()
	status := p.status()
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		if p.challenge != "" {
			h.Set("WWW-Authenticate", p.challenge)
		}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.FormatInt(seconds(p.retryAfter), 10))
	}
	if status >= http.StatusInternalServerError && p.cause != nil {
		s.logFault(r, x, p)
	}
	text, err := encode(p.body(x.id))
	if err != nil {
		panic(err)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Del("Location")
	send(w, status, text)
}

// logFault says what the answer does not. What the node reports as its ordinary
// answer, under load or without a leader, is no fault.
func (s *service) logFault(r *http.Request, x *exchange, p *problem) {
	level := hclog.Warn
	var known NodeError
	switch {
	case p.code == apiv1.CodeInternal:
		level = hclog.Error
	case errors.As(p.cause, &known):
		level = hclog.Debug
	}
	s.Log.Log(level, "request failed", "request_id", x.id, "method", r.Method, "path", r.URL.Path, "code", p.code, "error", p.cause)
}

func send(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	// gofail: var beforeAnswer struct{}
	w.WriteHeader(status)
	// A client that is gone is no fault.
	_, _ = w.Write(text) //nolint:gosec // G705: it is JSON or this package's own document, never HTML, and nosniff is set.
}

func encode(body any) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(body)
	return text.Bytes(), err
}
