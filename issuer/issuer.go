// Package issuer takes tokens of an issuer of OpenID Connect for principals: it verifies them with the issuer's keys, and
// finds in their claims which role they have.
//
// The issuer is asked for its keys when there is a token to verify, never before, by one request at a time, for a bounded time, and
// not again before a pause. So an issuer that is down, slow or hostile holds up nobody but who comes with its tokens.
package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/fsm"
)

// MaxToken is the longest token that is looked at, in bytes.
const MaxToken = 12 << 10

// Options say whom to trust, and for what.
type Options struct {
	// Name is the issuer, a URL, exactly as its tokens and its discovery document have it.
	Name string
	// Audience is what tokens must be for.
	Audience string
	// Authorities are those that the issuer's certificate leads to; nil means the system's.
	Authorities *x509.CertPool
	// Claim names the groups of a token's subject: a string, or a list of strings. If there is none of the name,
	// dots lead into objects.
	Claim string
	// Roles say which group has which role. The first that fits counts.
	Roles []Role
	// Log is told when the issuer can't be asked, and when it can again; nil discards.
	Log hclog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Issuer verifies tokens. It is safe for concurrent use.
type Issuer struct {
	options Options
	client  *http.Client
	// trust is what is known of the issuer; nil until it was asked.
	trust   atomic.Pointer[trust]
	waiting atomic.Int32

	mu sync.Mutex
	// asking is closed when the issuer has answered, or has not; nil while nobody asks.
	asking chan struct{}
	// Nobody asks before next, pause after the last attempt.
	pause time.Duration
	next  time.Time
	// failed: the last attempt did.
	failed bool
}

// New returns the verifier of an issuer, which is not asked yet.
func New(o Options) (*Issuer, error) {
	if o.Name == "" || o.Audience == "" || o.Claim == "" || len(o.Roles) == 0 {
		return nil, errors.New("issuer: name, audience, claim and roles are needed")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	transport := &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		TLSClientConfig: &tls.Config{RootCAs: o.Authorities, MinVersion: tls.VersionTLS12},
		// One connection an attempt: there are few, and an idle one would be all that is known of an issuer that has moved.
		DisableKeepAlives: true,
	}
	return &Issuer{options: o, client: &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects") },
	}}, nil
}

// Error is why a token is not taken for anybody. It holds nothing of the token but what its verified claims say.
type Error struct {
	code, text, next string
	retry            time.Duration
}

func (e *Error) Error() string { return e.text }

// Code is unauthorized for a token that is not good, forbidden for a good one that has no role, and not_ready if the
// issuer must be asked and can't be.
func (e *Error) Code() string { return e.code }

// Next says what to do about it.
func (e *Error) Next() string { return e.next }

// RetryAfter is when trying again may help; 0 if another token is needed.
func (e *Error) RetryAfter() time.Duration { return e.retry }

func refuse(next, format string, args ...any) *Error {
	return &Error{code: "unauthorized", text: fmt.Sprintf(format, args...), next: next}
}

// anotherToken is what helps against most that can be wrong with one.
const anotherToken = "Get another token from the issuer, for the audience that oidc.audience names."

// Principal is whom a token stands for. It waits for the issuer if it has to be asked. Errors are *Error.
func (i *Issuer) Principal(ctx context.Context, token string) (fsm.Principal, error) {
	if len(token) > MaxToken {
		return fsm.Principal{}, refuse(anotherToken, "The token has %d bytes, more than %d.", len(token), MaxToken)
	}
	known, fault := i.current(ctx)
	if fault != nil {
		return fsm.Principal{}, fault
	}
	id, err := known.verify(ctx, token, &i.options)
	if errors.Is(err, errUnknownKey) {
		// The issuer may have a new key.
		if known, fault = i.ask(ctx); fault != nil {
			return fsm.Principal{}, fault
		}
		id, err = known.verify(ctx, token, &i.options)
	}
	if err != nil {
		return fsm.Principal{}, i.refusal(err)
	}
	p, fault := i.principal(id)
	if fault != nil {
		return fsm.Principal{}, fault
	}
	return p, nil
}

// refusal says in our words what is wrong with a token: go-oidc's repeat what stands in it, verified or not.
func (i *Issuer) refusal(err error) *Error {
	var expired *oidc.TokenExpiredError
	switch {
	case errors.Is(err, errUnknownKey):
		return refuse(fmt.Sprintf("If the issuer has changed its keys just now, try again in %s; otherwise get another token from it.", newKeysEvery),
			"The token is signed with a key that %s does not list.", i.options.Name)
	case errors.As(err, &expired):
		return refuse(anotherToken, "The token ended at %s.", expired.Expiry.UTC().Format(time.RFC3339))
	}
	return refuse(anotherToken, "The token is not one that %s made for %s and that is good now.", i.options.Name, i.options.Audience)
}
