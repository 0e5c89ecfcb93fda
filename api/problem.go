package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// statuses maps every code that this version knows to its HTTP status.
var statuses = map[apiv1.Code]int{
	apiv1.CodeBadRequest:           http.StatusBadRequest,
	apiv1.CodeUnauthorized:         http.StatusUnauthorized,
	apiv1.CodeForbidden:            http.StatusForbidden,
	apiv1.CodeRouteNotFound:        http.StatusNotFound,
	apiv1.CodeMethodNotAllowed:     http.StatusMethodNotAllowed,
	apiv1.CodeBodyTooLarge:         http.StatusRequestEntityTooLarge,
	apiv1.CodeUnsupportedMediaType: http.StatusUnsupportedMediaType,
	apiv1.CodeInternal:             http.StatusInternalServerError,
	apiv1.CodeRateLimited:          http.StatusTooManyRequests,

	apiv1.CodeNoLeader:           http.StatusServiceUnavailable,
	apiv1.CodeOverloaded:         http.StatusServiceUnavailable,
	apiv1.CodeClockSkew:          http.StatusServiceUnavailable,
	apiv1.CodeNotReady:           http.StatusServiceUnavailable,
	apiv1.CodeShuttingDown:       http.StatusServiceUnavailable,
	apiv1.CodeOutcomeUnknown:     http.StatusGatewayTimeout,
	apiv1.CodeIndexTimeout:       http.StatusGatewayTimeout,
	apiv1.CodeTimeout:            http.StatusGatewayTimeout,
	apiv1.CodeMemberNotFound:     http.StatusNotFound,
	apiv1.CodeMemberRefused:      http.StatusConflict,
	apiv1.CodeGossipPlain:        http.StatusConflict,
	apiv1.CodeRotationIncomplete: http.StatusConflict,
	apiv1.CodeUnsupported:        http.StatusNotImplemented,
	apiv1.CodeLeaderOnly:         http.StatusConflict,
	apiv1.CodeWrongCluster:       http.StatusConflict,
	apiv1.CodeBackupInvalid:      http.StatusUnprocessableEntity,
	apiv1.CodeStorageFailed:      http.StatusServiceUnavailable,

	apiv1.CodeAuditRowNotFound: http.StatusNotFound,
	apiv1.CodeProfilingOff:     http.StatusNotFound,

	apiv1.CodeNotInitialised:      http.StatusServiceUnavailable,
	apiv1.CodeAlreadyInitialised:  http.StatusConflict,
	apiv1.CodeInvalid:             http.StatusUnprocessableEntity,
	apiv1.CodeIdempotencyMismatch: http.StatusUnprocessableEntity,
	// Nothing was done and the same request can be sent again at once.
	apiv1.CodeSuperseded: http.StatusServiceUnavailable,

	apiv1.CodeDocumentInvalid:    http.StatusUnprocessableEntity,
	apiv1.CodeRevisionStale:      http.StatusConflict,
	apiv1.CodeRevisionConflict:   http.StatusConflict,
	apiv1.CodeContractNotFound:   http.StatusNotFound,
	apiv1.CodeContractExhausted:  http.StatusConflict,
	apiv1.CodeContractNotStarted: http.StatusConflict,
	apiv1.CodeContractEnded:      http.StatusConflict,

	apiv1.CodeVendorKeyRevoked:      http.StatusConflict,
	apiv1.CodeVendorKeyNotFound:     http.StatusNotFound,
	apiv1.CodeVendorKeyOutranked:    http.StatusConflict,
	apiv1.CodeLastVendorKey:         http.StatusConflict,
	apiv1.CodeVendorKeyLimitReached: http.StatusConflict,

	apiv1.CodeSigningKeyNotFound:     http.StatusNotFound,
	apiv1.CodeSigningKeyInUse:        http.StatusConflict,
	apiv1.CodeSigningKeyLimitReached: http.StatusConflict,

	apiv1.CodeInstanceNotFound:   http.StatusNotFound,
	apiv1.CodeInstanceRemoved:    http.StatusGone,
	apiv1.CodeInstanceExists:     http.StatusConflict,
	apiv1.CodeKeyInvalid:         http.StatusUnprocessableEntity,
	apiv1.CodeKeyStale:           http.StatusConflict,
	apiv1.CodeAreaOverAllocation: http.StatusConflict,

	apiv1.CodePoolNotFound:          http.StatusNotFound,
	apiv1.CodePoolExists:            http.StatusConflict,
	apiv1.CodePoolChanged:           http.StatusPreconditionFailed,
	apiv1.CodePoolInUse:             http.StatusConflict,
	apiv1.CodePoolInactive:          http.StatusConflict,
	apiv1.CodePoolEnded:             http.StatusConflict,
	apiv1.CodeProductNotInPool:      http.StatusNotFound,
	apiv1.CodeProductNotGranted:     http.StatusConflict,
	apiv1.CodeUserBarred:            http.StatusForbidden,
	apiv1.CodeProjectRequired:       http.StatusConflict,
	apiv1.CodeProjectNotAllowed:     http.StatusConflict,
	apiv1.CodeTokenIsOne:            http.StatusConflict,
	apiv1.CodeTTLOutOfBounds:        http.StatusConflict,
	apiv1.CodeCountAboveLimit:       http.StatusConflict,
	apiv1.CodePoolFull:              http.StatusConflict,
	apiv1.CodeCapReached:            http.StatusConflict,
	apiv1.CodeSeatsReserved:         http.StatusConflict,
	apiv1.CodeQuantityReached:       http.StatusConflict,
	apiv1.CodeQueueAhead:            http.StatusConflict,
	apiv1.CodeQueueFull:             http.StatusConflict,
	apiv1.CodeClientLimitReached:    http.StatusConflict,
	apiv1.CodeBorrowNotAllowed:      http.StatusConflict,
	apiv1.CodeBorrowTooLong:         http.StatusConflict,
	apiv1.CodeBorrowLowWater:        http.StatusConflict,
	apiv1.CodeBorrowNotRenewable:    http.StatusConflict,
	apiv1.CodeBorrowTokenNeeded:     http.StatusConflict,
	apiv1.CodeBorrowTokenInvalid:    http.StatusUnprocessableEntity,
	apiv1.CodeProjectBusy:           http.StatusConflict,
	apiv1.CodeProjectOpenAsTeam:     http.StatusConflict,
	apiv1.CodeProjectOpenAsMono:     http.StatusConflict,
	apiv1.CodeProjectShared:         http.StatusConflict,
	apiv1.CodeLeaseNotFound:         http.StatusNotFound,
	apiv1.CodeLeaseEnded:            http.StatusGone,
	apiv1.CodeNotHolder:             http.StatusForbidden,
	apiv1.CodeTicketNotFound:        http.StatusNotFound,
	apiv1.CodeTicketGone:            http.StatusGone,
	apiv1.CodeNotTicketHolder:       http.StatusForbidden,
	apiv1.CodeNotOffered:            http.StatusConflict,
	apiv1.CodeInstanceReports:       http.StatusConflict,
	apiv1.CodeInstanceKeepsAccounts: http.StatusConflict,
	apiv1.CodeAreaNotFound:          http.StatusNotFound,
	apiv1.CodeSeatLimitReached:      http.StatusConflict,
	apiv1.CodeAccountNotFound:       http.StatusNotFound,
	apiv1.CodeAccountExists:         http.StatusConflict,
	apiv1.CodeAccountTwice:          http.StatusConflict,
	apiv1.CodeImportRefused:         http.StatusConflict,
	apiv1.CodeStagingNotFound:       http.StatusNotFound,
	apiv1.CodeStagingIncomplete:     http.StatusConflict,
	apiv1.CodeStagingMismatch:       http.StatusConflict,
	apiv1.CodeStagingLimitReached:   http.StatusConflict,
	apiv1.CodeRequestNotFound:       http.StatusNotFound,
	apiv1.CodeRequestClosed:         http.StatusConflict,
	apiv1.CodeRequestTooSmall:       http.StatusConflict,
	apiv1.CodeRequestTooLarge:       http.StatusConflict,
	apiv1.CodeRequestLimitReached:   http.StatusConflict,

	apiv1.CodeAlreadyBootstrapped: http.StatusConflict,
	apiv1.CodeTokenNotFound:       http.StatusNotFound,
	apiv1.CodeTokenExpired:        http.StatusConflict,
	apiv1.CodeTokenLimitReached:   http.StatusConflict,
	apiv1.CodeLastOperatorToken:   http.StatusConflict,
}

// hints say what to do about the codes that are this package's own.
var hints = map[apiv1.Code]string{
	apiv1.CodeBadRequest:           "Correct the request; /v1/openapi.yaml describes it.",
	apiv1.CodeUnauthorized:         "Send a token as `Authorization: Bearer TOKEN`; operators make them with `licet token create`.",
	apiv1.CodeRouteNotFound:        "/v1/openapi.yaml lists the paths.",
	apiv1.CodeMethodNotAllowed:     "Use one of the methods in the Allow header.",
	apiv1.CodeBodyTooLarge:         "Send a shorter body; stage a list of accounts in parts.",
	apiv1.CodeUnsupportedMediaType: "Send JSON with `Content-Type: application/json`, or `text/csv` where the document says so.",
	apiv1.CodeInternal:             "Look for the request id in the node's log. If this was a write, send it again with the same Idempotency-Key to learn its outcome.",
	apiv1.CodeNotInitialised:       "Wait until the nodes have found each other; `licet status` shows who is missing.",
	apiv1.CodeAuditRowNotFound:     "Ask the other nodes: each has the rows that the state has forgotten in files of its own, within the bound of audit.total_bytes.",
	apiv1.CodeProfilingOff:         "Set `http.profiling: true` in the node's configuration and restart it.",
	apiv1.CodeNotReady:             "Ask another node, or try again soon.",
	apiv1.CodeTimeout:              "Try again, with more time or on another node.",
	apiv1.CodeOutcomeUnknown:       "Send the request again with the same Idempotency-Key to learn its outcome.",
}

// problem is a failure as callers get to see it.
type problem struct {
	code         apiv1.Code
	detail, next string
	facts        map[string]apiv1.Fact
	rows         []apiv1.RejectedRow
	retryAfter   time.Duration
	// challenge is what WWW-Authenticate says.
	challenge string
	// cause is for the log only.
	cause error
}

func (p *problem) Error() string { return string(p.code) + ": " + p.detail }

func (p *problem) Unwrap() error { return p.cause }

func problemf(code apiv1.Code, format string, args ...any) *problem {
	return &problem{code: code, detail: fmt.Sprintf(format, args...), next: hints[code]}
}

// with adds a fact.
func (p *problem) with(name string, f apiv1.Fact) *problem {
	if p.facts == nil {
		p.facts = make(map[string]apiv1.Fact)
	}
	p.facts[name] = f
	return p
}

// status keeps to "refused by a rule" for codes of newer nodes.
func (p *problem) status() int {
	if status, ok := statuses[p.code]; ok {
		return status
	}
	return http.StatusConflict
}

// refusal is a rule's refusal as a problem.
func refusal(r *fsmpb.Refusal) *problem {
	p := &problem{code: apiv1.Code(r.Code), detail: fsm.Detail(r), next: fsm.Next(r)}
	for _, f := range r.Facts {
		if n, ok := f.Value.(*fsmpb.Fact_Number); ok {
			p = p.with(f.Name, apiv1.Number(n.Number))
		} else {
			p = p.with(f.Name, apiv1.Text(f.GetText()))
		}
	}
	return p
}

// problemOf turns any error into a problem. What it does not know is a fault,
// whose text stays in the log.
func problemOf(err error) *problem {
	var p *problem
	var known NodeError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &known):
		return &problem{
			code: apiv1.Code(known.Code()), detail: sentence(known.Error()), next: known.Next(),
			retryAfter: known.RetryAfter(), cause: err,
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p = problemf(apiv1.CodeTimeout, "The time for the request ran out; nothing was done.")
	default:
		p = problemf(apiv1.CodeInternal, "The node failed; its log says more under this request id.")
	}
	p.cause = err
	return p
}

// sentence makes an error's text a sentence.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(text[size:], ".") + "."
}

// title is what a code stands for, in words.
func title(code apiv1.Code) string {
	return strings.TrimSuffix(sentence(strings.ReplaceAll(string(code), "_", " ")), ".")
}

// body is the problem as RFC 9457 has it.
func (p *problem) body(requestID string) apiv1.Problem {
	return apiv1.Problem{
		Type: "urn:licet:problem:" + string(p.code), Title: title(p.code), Status: p.status(),
		Detail: p.detail, Code: p.code, RequestID: requestID, Next: p.next, Facts: p.facts, Rows: p.rows,
	}
}
