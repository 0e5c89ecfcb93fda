package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// request is a call of a route, the same over all attempts.
type request struct {
	method, path string
	query        url.Values
	body         []byte
	// key is the request id of a write.
	key string
	// match is the entity tag that the request is for; empty means any.
	match string
	// kind is the media type of the body; empty means JSON.
	kind string
	// accept is the media type of a success with a body; empty means JSON.
	accept string
	// changes: the request may change something, so an attempt that broke has an unknown outcome.
	changes bool
	// once: an attempt with unknown outcome must not be repeated.
	once bool
	// here: the node that is asked is meant, so there is no use in waiting.
	here bool
	// wait is how long the node itself may wait before it answers, besides the time that any answer takes.
	wait time.Duration
	// sink takes the body of a success as it comes; source is the body to send, of a length.
	sink   io.Writer
	source io.Reader
	length int64
}

const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
	csvType     = "text/csv"
)

func get(path string, options []ReadOption) *request {
	q := url.Values{}
	for _, option := range options {
		option(q)
	}
	return &request{method: "GET", path: path, query: q}
}

// local asks the node itself.
func local(path string) *request { return &request{method: "GET", path: path, here: true} }

// write is a request with a request id.
func write(ctx context.Context, method, path string, body any) (*request, error) {
	r := &request{method: method, path: path, query: url.Values{}, changes: true}
	id, given := ctx.Value(requestIDKey{}).(string)
	if !given {
		id = ulid.Make().String()
	}
	if err := CheckRequestID(id); err != nil {
		return nil, refused(err)
	}
	r.key = id
	if isDryRun(ctx) {
		r.query.Set("dry_run", "true")
		r.changes = false
	}
	if body != nil {
		var err error
		if r.body, err = json.Marshal(body); err != nil {
			return nil, refused(err)
		}
	}
	return r, nil
}

// change is a change of the cluster itself, which has no request id.
func change(ctx context.Context, method, path string, body any) (*request, error) {
	if isDryRun(ctx) {
		return nil, refused(fmt.Errorf("%s %s knows no dry run", method, path))
	}
	r := &request{method: method, path: path, changes: true}
	if body != nil {
		var err error
		if r.body, err = json.Marshal(body); err != nil {
			return nil, refused(err)
		}
	}
	return r, nil
}

func (r *request) url(endpoint string) string {
	u := endpoint + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	return u
}

// CheckRequestID refuses what is no request id: 1 to 64 of A-Z a-z 0-9 . _ : -
func CheckRequestID(id string) error {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._:-", r))
	}
	if len(id) < 1 || len(id) > 64 || strings.ContainsFunc(id, bad) {
		return fmt.Errorf("%.80q is no request id (1 to 64 letters, digits and . _ : -)", id)
	}
	return nil
}
