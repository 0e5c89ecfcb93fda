package client

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Answer is a success.
type Answer[T any] struct {
	Meta
	Value T
	// Raw is the body as the node sent it; nil if there is none.
	Raw json.RawMessage
}

// Meta is what an answer says of itself. What a route does not tell is zero.
type Meta struct {
	// Index is the Raft index of the state that was read, or of the entry that decided the write.
	Index uint64
	// Term is the Raft term of the state that was read.
	Term uint64
	// Node is the id of the node that answered, Endpoint its address.
	Node, Endpoint string
	// RequestID is the write's request id (rule E1); empty on reads.
	RequestID string
	// ExchangeID names this attempt in the node's log.
	ExchangeID string
	// Age is how old the data of a stale read may be.
	Age time.Duration
	// Repeated says that this is the recorded outcome of an earlier attempt or request with the same request id.
	Repeated bool
	// DryRun says that nothing was changed.
	DryRun bool
	// Attempts is how many times nodes were asked until this answer.
	Attempts int
}

func metaOf(h http.Header) Meta {
	index, _ := strconv.ParseUint(h.Get("Licet-Index"), 10, 64)
	term, _ := strconv.ParseUint(h.Get("Licet-Term"), 10, 64)
	age, _ := strconv.ParseUint(h.Get("Licet-Age-Ms"), 10, 32)
	return Meta{
		Index: index, Term: term, Node: h.Get("Licet-Node"), RequestID: h.Get("Idempotency-Key"), ExchangeID: h.Get("Licet-Request-Id"),
		Age: time.Duration(age) * time.Millisecond, Repeated: h.Get("Licet-Repeated") == "true", DryRun: h.Get("Licet-Dry-Run") == "true",
	}
}
