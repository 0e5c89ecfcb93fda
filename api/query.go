package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// maxTimeout is the longest Licet-Timeout-Ms that is not taken for a mistake.
const maxTimeout = time.Hour

// query is a request's query parameters, each at most once, and what is wrong with them.
type query struct {
	values url.Values
	faults []fault
}

// parseQuery refuses parameters that the route does not have, and repeated ones.
func parseQuery(raw string, allowed []string) (*query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, malformed([]fault{{"query", "the query is not well-formed"}})
	}
	q := &query{values: values}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(allowed, name) {
			q.fault(name, strconv.QuoteToASCII(clip(name))+" is no parameter of this path")
		} else if n := len(values[name]); n > 1 {
			q.fault(name, name+": it stands there "+strconv.Itoa(n)+" times")
		}
	}
	return q, malformed(q.faults)
}

// clip shortens what a message quotes.
func clip(text string) string { return text[:min(len(text), 80)] }

func (q *query) fault(name, text string) { q.faults = append(q.faults, fault{name, text}) }

func (q *query) number(name string, least, most, absent uint64) uint64 {
	if !q.values.Has(name) {
		return absent
	}
	n, err := parseWhole(q.values.Get(name), least, most)
	if err != nil {
		q.fault(name, name+": "+err.Error())
	}
	return n
}

// name reads a name, empty if it is absent.
func (q *query) name(name string, check func(field, text string) error) string {
	if !q.values.Has(name) {
		return ""
	}
	text := q.values.Get(name)
	if err := check(name, text); err != nil {
		q.fault(name, fmt.Sprintf("%.200s", err.Error()))
	}
	return text
}

// limit reads the length of a page.
func (q *query) limit() int {
	return int(q.number("limit", 1, maxLimit, defaultLimit)) //nolint:gosec // G115: it was held to its bounds when it was read
}

// wait reads how many seconds a request shall last, at most maxWait.
func (q *query) wait(name string, least, absent uint64) time.Duration {
	return time.Duration(q.number(name, least, uint64(maxWait/time.Second), absent)) * time.Second //nolint:gosec // G115: it was held to its bounds when it was read
}

// choice reads one of a few words, the first of them if it is absent.
func (q *query) choice(name string, words ...string) string {
	if !q.values.Has(name) {
		return words[0]
	}
	word := q.values.Get(name)
	if !slices.Contains(words, word) {
		q.fault(name, name+": "+strconv.QuoteToASCII(clip(word))+" is neither "+words[0]+" nor "+words[1])
	}
	return word
}

// read reads the parameters that every read has.
func (q *query) read() Read {
	return Read{
		Stale:    q.choice("consistency", string(apiv1.ConsistencyLinearizable), string(apiv1.ConsistencyStale)) == string(apiv1.ConsistencyStale),
		MinIndex: q.number("min_index", 0, maxSerial, 0),
	}
}

func (q *query) dryRun() bool { return q.choice("dry_run", "false", "true") == "true" }

func (q *query) done() error { return malformed(q.faults) }

// requestKey is the request id of a write (rule E1), a new one if the caller has none.
func requestKey(h http.Header) (string, error) {
	keys := h.Values("Idempotency-Key")
	switch len(keys) {
	case 0:
		return ulid.Make().String(), nil
	case 1:
		if err := fsm.CheckRequestID(keys[0]); err != nil {
			return "", malformed([]fault{{"Idempotency-Key", fmt.Sprintf("Idempotency-Key: %.200s", err.Error())}})
		}
		return keys[0], nil
	}
	return "", malformed([]fault{{"Idempotency-Key", "Idempotency-Key: it stands there " + strconv.Itoa(len(keys)) + " times"}})
}

// ifMatch reads the revision that a request is for (RFC 9110), 0 for any. Where it has no meaning it is refused: a
// change must not be made whose condition nobody looked at.
func ifMatch(h http.Header, has bool) (uint64, error) {
	tags := h.Values("If-Match")
	refused := func(why string) (uint64, error) {
		return 0, malformed([]fault{{"If-Match", "If-Match: " + why}})
	}
	switch {
	case len(tags) == 0:
		return 0, nil
	case !has:
		return refused("this path takes none")
	case len(tags) > 1:
		return refused("it stands there " + strconv.Itoa(len(tags)) + " times")
	case tags[0] == "*":
		return 0, nil
	}
	digits, opened := strings.CutPrefix(tags[0], `"`)
	digits, closed := strings.CutSuffix(digits, `"`)
	n, err := parseWhole(digits, 1, maxSerial)
	if !opened || !closed || err != nil {
		return refused(strconv.QuoteToASCII(clip(tags[0])) + ` is not one entity tag as a read of it gives, such as "1742"`)
	}
	return n, nil
}

// etag is the entity tag of a revision.
func etag(revision uint64) string { return strconv.Quote(strconv.FormatUint(revision, 10)) }

// timeout is how long a request may take: what the caller waits, but at most limit.
func timeout(h http.Header, limit time.Duration) (time.Duration, error) {
	values := h.Values("Licet-Timeout-Ms")
	if len(values) == 0 {
		return limit, nil
	}
	ms, err := parseWhole(values[0], 1, uint64(maxTimeout/time.Millisecond))
	if err != nil || len(values) > 1 {
		return 0, malformed([]fault{{"Licet-Timeout-Ms", "Licet-Timeout-Ms: " + strconv.QuoteToASCII(clip(values[0])) + " is not one whole number from 1 to 3600000"}})
	}
	return min(limit, time.Duration(ms)*time.Millisecond), nil //nolint:gosec // G115: it was held to its bounds when it was read
}
