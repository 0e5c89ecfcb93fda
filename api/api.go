// Package api serves licet's HTTP interface, which openapi.yaml describes.
//
// Requests are decoded strictly and checked in full before a command goes to the
// node, so that malformed input never costs a log entry. Every failure is
// answered as an RFC 9457 problem with a stable code.
package api

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/trace"

	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

// Defaults of Options.
const (
	DefaultMaxBody        = 1 << 20
	DefaultMaxBackup      = 8 << 30
	DefaultRequestTimeout = 10 * time.Second
	DefaultMaxWaits       = 1000
	DefaultMaxWaitsEach   = 250
)

// Options say what New serves and to whom.
type Options struct {
	// Node is the node behind the interface.
	Node Node
	// Tokens are those of the node's configuration.
	Tokens []Token
	// Certified says whom a verified certificate of a client stands for; ErrNoRole if for nobody. Nil: certificates have no roles.
	Certified func(*x509.Certificate) (fsm.Principal, error)
	// Issued says whom the token of an issuer of OpenID Connect stands for. Its errors are NodeErrors: unauthorized, forbidden, or
	// not_ready while the issuer can't be asked. Nil: there is no issuer.
	Issued func(ctx context.Context, token string) (fsm.Principal, error)
	// Meter is told what is served; nil measures nothing.
	Meter Meter
	// Tracer takes a span of each exchange whose sender is known; nil takes none.
	Tracer trace.Tracer
	// Log gets each exchange at debug level and faults at error level; nil discards.
	Log hclog.Logger
	// MaxBody is the longest body of a request, in bytes; 0 means DefaultMaxBody.
	MaxBody int64
	// MaxBackup is the longest backup that is restored, in bytes; 0 means DefaultMaxBackup.
	MaxBackup int64
	// RequestTimeout bounds every request; 0 means DefaultRequestTimeout. A
	// request's Licet-Timeout-Ms can only shorten it.
	RequestTimeout time.Duration
	// Rates bound how often somebody asks; zero values do not.
	Rates Rates
	// MaxWaits is how many requests wait for a ticket or take a CPU profile at most, all together; MaxWaitsEach those of one principal, and those of one
	// address. 0 means DefaultMaxWaits and DefaultMaxWaitsEach.
	MaxWaits, MaxWaitsEach int
	// Profiling has the node take profiles of itself for operators.
	Profiling bool
}

// service is what handlers share.
type service struct {
	// Options do not change.
	Options
	waiters waiters
	limits  atomic.Pointer[limits]
	uses    uses
	// backups has a place for each backup that is written.
	backups chan struct{}
	// scrapes bounds those that are being answered.
	scrapes chan struct{}
	// profiles has a place for the one that is being taken.
	profiles chan struct{}
	// maxBody is Options.MaxBody at first.
	maxBody atomic.Int64
	// drained is closed once the server is about to stop.
	drained chan struct{}
	drain   sync.Once
}

// Handler serves the whole interface. It is safe for concurrent use.
type Handler struct {
	http.Handler
	service *service
}

// Drain has the handler answer what is under way, at once what waits for a ticket, and refuse what
// comes from now on with shutting_down, so that clients go to another node. Only what tells of the node
// itself is answered still. It does not wait.
func (h *Handler) Drain() { h.service.drain.Do(func() { close(h.service.drained) }) }

// SetMaxBody changes Options.MaxBody for requests from now on; it must be positive.
func (h *Handler) SetMaxBody(n int64) { h.service.maxBody.Store(n) }

func (s *service) draining() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

// New returns the handler of the whole interface.
func New(o Options) (*Handler, error) {
	if o.Node == nil {
		return nil, errors.New("api: no node")
	}
	for _, t := range o.Tokens {
		if err := signed.CheckName("actor", t.Principal.Actor()); err != nil {
			return nil, fmt.Errorf("api: token: %w", err)
		}
	}
	if o.MaxBody < 0 || o.RequestTimeout < 0 {
		return nil, fmt.Errorf("api: max body %d, request timeout %s: they must not be negative", o.MaxBody, o.RequestTimeout)
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxBackup <= 0 {
		o.MaxBackup = DefaultMaxBackup
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	o.MaxWaits, o.MaxWaitsEach = cmp.Or(o.MaxWaits, DefaultMaxWaits), cmp.Or(o.MaxWaitsEach, DefaultMaxWaitsEach)
	if o.Meter == nil {
		o.Meter = unmetered{}
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	s := &service{
		Options: o, drained: make(chan struct{}),
		backups: make(chan struct{}, maxBackups), scrapes: make(chan struct{}, maxScrapes), profiles: make(chan struct{}, 1),
	}
	s.maxBody.Store(o.MaxBody)
	s.limits.Store(newLimits(o.Rates))
	return &Handler{s.observed(s.rated(s.routed(routes))), s}, nil
}
