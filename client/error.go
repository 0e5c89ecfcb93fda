package client

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/licet/licet/api/apiv1"
)

// Codes of the client's own, besides those of apiv1.
const (
	// CodeUnreachable: no node answered in time, and nothing was done.
	CodeUnreachable apiv1.Code = "unreachable"
	// CodeBadAnswer: what answered does not speak this interface.
	CodeBadAnswer apiv1.Code = "bad_answer"
)

// Error is why a call did not succeed. A Code other than outcome_unknown says
// that the call changed nothing.
type Error struct {
	// Code is stable: one of apiv1's, of this package's, or one that a newer node added.
	Code apiv1.Code
	// Status is the answer's HTTP status; 0 if no node answered.
	Status int
	// Detail says what happened, Next what to do about it.
	Detail, Next string
	// RequestID is the request id of the write (rule E1), with which it can be repeated; empty on reads.
	RequestID string
	// Facts are the numbers and names behind Detail.
	Facts map[string]apiv1.Fact
	// Rows are the rows of a list that were refused, up to 1,000 of them.
	Rows []apiv1.RejectedRow
	// Meta is that of the last answer; its RequestID is as above.
	Meta Meta
	// Raw is the problem as the node sent it; nil if the client made this error.
	Raw   json.RawMessage
	cause error
}

// Error is Detail.
func (e *Error) Error() string { return e.Detail }

// Unwrap is what the error was made of, such as a context's or a network error; often nil.
func (e *Error) Unwrap() error { return e.cause }

// JSON is the error as an RFC 9457 problem: the node's own words, or the same
// form filled by the client.
func (e *Error) JSON() []byte {
	if e.Raw != nil {
		return e.Raw
	}
	p := apiv1.Problem{
		Type: "urn:licet:problem:" + string(e.Code), Title: http.StatusText(e.Status), Status: e.Status, Detail: e.Detail,
		Code: e.Code, RequestID: e.Meta.ExchangeID, Next: e.Next, Facts: e.Facts,
	}
	if p.Title == "" {
		p.Title = "No answer"
	}
	text, err := json.Marshal(p)
	if err != nil {
		return []byte(`{"code":"internal"}`)
	}
	return text
}

// CodeOf is the code of an Error anywhere in err's chain; empty if there is none.
func CodeOf(err error) apiv1.Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// refused is a request that the client does not send.
func refused(cause error) *Error {
	return &Error{Code: apiv1.CodeBadRequest, Detail: cause.Error(), Next: "Correct the request; nothing was sent.", cause: cause}
}
