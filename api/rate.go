package api

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// maxRated is how many principals, and how many addresses, have a budget of their own. Whoever asked longest ago is forgotten
// for the next, and would begin with a full one.
const maxRated = 16_384

// Rate is how many requests somebody may make: so many a second in the long run, and Burst at once. A zero PerSecond is no limit.
type Rate struct {
	PerSecond, Burst int
}

// Rates are the limits of one node. It counts what comes to it over HTTP; what other nodes forward has been counted there.
type Rates struct {
	// Principal is of each who proved who he is, wherever he asks from; an operator by the node's own file has none.
	Principal Rate
	// Address is of each address, whoever asks: an IPv4 address or an IPv6 /64. The node's own machine has no limit.
	Address Rate
	// Unknown is of the requests of an address that did not say, or prove, who asks. Beyond it no token that people
	// choose is looked at, so that none is guessed.
	Unknown Rate
}

// Kinds of refusals, for the Meter.
const (
	refusedPrincipal   = "rate_principal"
	refusedAddress     = "rate_address"
	refusedUnknown     = "rate_unknown"
	refusedWait        = "waits"
	refusedConnection  = "connections"
	refusedConnections = "connections_of_address"
)

// RefusalKinds are all that a Meter is told of by Refused.
func RefusalKinds() []string {
	return []string{refusedPrincipal, refusedAddress, refusedUnknown, refusedWait, refusedConnection, refusedConnections}
}

// limits are the budgets under one set of Rates. A change of the Rates begins anew.
type limits struct {
	Rates
	principals budgets[string]
	addresses  budgets[netip.Prefix]
	unknown    budgets[netip.Prefix]
}

func newLimits(r Rates) *limits {
	return &limits{r, budgets[string]{rate: r.Principal}, budgets[netip.Prefix]{rate: r.Address}, budgets[netip.Prefix]{rate: r.Unknown}}
}

// budgets are token buckets by key, of those who asked last. The zero value has no limit. Safe for concurrent use.
type budgets[K comparable] struct {
	rate Rate
	mu   sync.Mutex
	all  *simplelru.LRU[K, *rate.Limiter]
}

// of is the budget of a key, nil if there is no limit.
func (b *budgets[K]) of(key K) *rate.Limiter {
	if b.rate.PerSecond == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		// It fails for sizes below one only.
		b.all, _ = simplelru.NewLRU[K, *rate.Limiter](maxRated, nil)
	}
	l, ok := b.all.Get(key)
	if !ok {
		l = rate.NewLimiter(rate.Limit(b.rate.PerSecond), b.rate.Burst)
		b.all.Add(key, l)
	}
	return l
}

// take spends n of a budget, or tells how long it is until it has them.
func (b *budgets[K]) take(key K, n int, now time.Time) (wait time.Duration, ok bool) {
	l := b.of(key)
	if l == nil {
		return 0, true
	}
	if l.AllowN(now, n) {
		return 0, true
	}
	return until(l, n, now), false
}

// spent tells how long it is until a budget has anything left, 0 if it has.
func (b *budgets[K]) spent(key K, now time.Time) time.Duration {
	if l := b.of(key); l != nil && l.TokensAt(now) < 1 {
		return until(l, 1, now)
	}
	return 0
}

func until(l *rate.Limiter, n int, now time.Time) time.Duration {
	missing := max(0, float64(n)-l.TokensAt(now))
	return max(1, time.Duration(math.Ceil(missing/float64(l.Limit())*float64(time.Second))))
}

// PrefixOf is what of a remote address ("host:port") has one budget: an IPv4 address, or the /64 of an IPv6 address, of which one client
// has all. What is no address has the zero Prefix, all together. X-Forwarded-For and the like are not believed: anybody can send them.
func PrefixOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() || ip.IsLoopback() {
		bits = ip.BitLen()
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}

// rated refuses addresses that ask too often, before anything else is looked at. Whether the node is well is always told.
func (s *service) rated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := s.limits.Load()
		from := PrefixOf(r.RemoteAddr)
		if !from.Addr().IsLoopback() && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			if wait, ok := l.addresses.take(from, 1, time.Now()); !ok {
				s.fail(w, r, s.tooMany(refusedAddress, "Address "+from.String(), l.Address, wait))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// rateUnknown finds out who asks, but refuses addresses that too often asked without proof. Secrets of API tokens are 256 random
// bits, which nobody guesses: such a token is looked at even then, so that one of a site does not lock the others out.
func (s *service) rateUnknown(c *call) (fsm.Principal, error) {
	l := s.limits.Load()
	if l.Unknown.PerSecond == 0 {
		return s.authenticate(c)
	}
	from, now := PrefixOf(c.RemoteAddr), time.Now()
	wait := l.unknown.spent(from, now)
	if wait > 0 && !c.unguessable() {
		return fsm.Principal{}, s.tooMany(refusedUnknown, "Address "+from.String(), l.Unknown, wait)
	}
	c.hurried = wait > 0
	p, err := s.authenticate(c)
	if err == nil {
		return p, nil
	}
	if wait > 0 {
		return fsm.Principal{}, s.tooMany(refusedUnknown, "Address "+from.String(), l.Unknown, wait)
	}
	l.unknown.take(from, 1, now)
	return p, err
}

// spend counts a request of a principal, before its body is read, and items beyond the first then. A bulk that is
// more than may come at once counts for as many. He who has the node's own file may do anything, this included.
func (s *service) spend(c *call, items int) error {
	l := s.limits.Load()
	if l.Principal.PerSecond == 0 || c.principal.Role == fsm.Root {
		return nil
	}
	n := 1
	if items > 1 {
		n = min(items, l.Principal.Burst) - 1
	}
	if wait, ok := l.principals.take(c.actor, n, time.Now()); !ok {
		return s.tooMany(refusedPrincipal, c.actor, l.Principal, wait)
	}
	return nil
}

// tooMany is the problem of who asks too often. Nothing was done.
func (s *service) tooMany(kind, who string, r Rate, wait time.Duration) *problem {
	s.Meter.Refused(kind)
	what := "requests"
	if kind == refusedUnknown {
		what = "requests without a valid token"
	}
	p := problemf(apiv1.CodeRateLimited, "%s makes more than %d %s a second (%d at once) of node %s.", who, r.PerSecond, what, r.Burst, s.Node.ID())
	p.next = fmt.Sprintf("Send the same request again in %d s, or ask another node; renew less often, and put many items into one bulk.", seconds(wait))
	if kind == refusedUnknown {
		p.next = fmt.Sprintf("Try again in %d s, with a token that is in force.", seconds(wait))
	}
	p.retryAfter = wait
	return p
}

// seconds is a time in whole seconds, rounded up, at least one.
func seconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

// SetRates changes Options.Rates for requests from now on. Budgets begin anew if something is different.
func (h *Handler) SetRates(r Rates) {
	if h.service.limits.Load().Rates != r {
		h.service.limits.Store(newLimits(r))
	}
}
