package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/licet/licet/api/apiv1"
)

type (
	requestIDKey struct{}
	dryRunKey    struct{}
)

// WithRequestID has the write that is given this context use the request id
// instead of a new one: 1 to 64 of A-Z a-z 0-9 . _ : - (rule E1). Use it for one write
// only, to repeat it after its outcome was unknown.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// WithDryRun has writes answer what would happen and change nothing (rule K7).
// Changes of the cluster's members know no dry run and are refused with it.
func WithDryRun(ctx context.Context) context.Context {
	return context.WithValue(ctx, dryRunKey{}, true)
}

func isDryRun(ctx context.Context) bool {
	dry, _ := ctx.Value(dryRunKey{}).(bool)
	return dry
}

// ReadOption changes how new the answer to a read must be.
type ReadOption func(url.Values)

// Consistency asks for linearizable reads, which are the default, or stale ones.
func Consistency(level apiv1.Consistency) ReadOption {
	return func(q url.Values) { q.Set("consistency", string(level)) }
}

// Stale is satisfied with what the node that is asked has; Meta.Age says how
// old it may be. It is answered also by a node that is cut off.
func Stale() ReadOption { return Consistency(apiv1.ConsistencyStale) }

// MinIndex has the node wait until its state is at least as new as an index
// taken from Meta.Index.
func MinIndex(index uint64) ReadOption {
	return func(q url.Values) { q.Set("min_index", strconv.FormatUint(index, 10)) }
}
