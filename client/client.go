package client

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Defaults of Options.
const (
	DefaultTimeout = 15 * time.Second
	DefaultAttempt = 5 * time.Second
)

// Options say whom a Client asks, and how.
type Options struct {
	// Endpoints are the addresses of nodes, "http://host:port" or "https://host:port", at
	// least one. They are asked in this order until one has answered.
	Endpoints []string
	// Token is an API token, or one of the nodes' configuration. It is sent to all endpoints; empty sends none.
	Token string
	// Timeout bounds every call with all its attempts and waits; a context may be
	// shorter. Zero means DefaultTimeout.
	Timeout time.Duration
	// Attempt bounds the wait for one node's answer, after which the next one is asked. Zero means
	// DefaultAttempt, or Timeout if that is shorter.
	Attempt time.Duration
	// CA is PEM with the certificates that an https endpoint's certificate must chain
	// to; nil means those of the operating system.
	CA []byte
	// Certificate and Key are PEM of a client's certificate and its private key, for nodes that
	// ask for one; both or neither.
	Certificate, Key []byte
	// HTTPClient sends the requests instead of one made for this Client. Its
	// Timeout and Jar should be unset; redirects are never followed. CA, Certificate
	// and Key must be nil then.
	HTTPClient *http.Client
}

// Client asks licet's nodes. It is safe for concurrent use; make one and share
// it, as it keeps connections open.
type Client struct {
	endpoints []string
	token     string
	timeout   time.Duration
	attempt   time.Duration
	http      *http.Client
	// preferred is the index of the endpoint that answered last.
	preferred *atomic.Int32
	clock     clock
}

// New checks the options. It contacts nobody. All that is wrong is joined in
// one error.
func New(o Options) (*Client, error) {
	endpoints, err := checkEndpoints(o.Endpoints)
	errs := []error{err, checkToken(o.Token)}
	if o.Timeout < 0 || o.Attempt < 0 {
		errs = append(errs, errors.New("timeout, attempt: they must not be negative"))
	}
	if o.HTTPClient != nil && (o.CA != nil || o.Certificate != nil || o.Key != nil) {
		errs = append(errs, errors.New("ca, certificate, key: with an HTTP client of your own, set them there"))
	}
	hc, err := newHTTP(o)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	timeout := cmp.Or(o.Timeout, DefaultTimeout)
	return &Client{
		endpoints: endpoints, token: o.Token, timeout: timeout, attempt: min(cmp.Or(o.Attempt, DefaultAttempt), timeout),
		http: hc, preferred: new(atomic.Int32), clock: newClock(),
	}, nil
}

// Endpoints are the addresses that the client was given.
func (c *Client) Endpoints() []string { return slices.Clone(c.endpoints) }

// At returns a client that asks one endpoint only and shares all else with c,
// connections included. The endpoint need not be one of c's; it gets c's token.
func (c *Client) At(endpoint string) (*Client, error) {
	endpoints, err := checkEndpoints([]string{endpoint})
	if err != nil {
		return nil, err
	}
	one := *c
	one.endpoints, one.preferred = endpoints, new(atomic.Int32)
	return &one, nil
}

// Close closes the connections that are not in use. The client stays usable; seats that it holds
// have a Close of their own, after which nothing of them runs.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func checkEndpoints(list []string) ([]string, error) {
	if len(list) == 0 {
		return nil, errors.New("endpoints: there is none")
	}
	var errs []error
	clean := make([]string, 0, len(list))
	for _, text := range list {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			errs = append(errs, fmt.Errorf("endpoints: %.100q is neither http://host:port nor https://host:port", text))
			continue
		case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
			errs = append(errs, fmt.Errorf("endpoints: that of host %.100q has more than scheme, host and port", u.Host))
			continue
		}
		endpoint := u.Scheme + "://" + u.Host
		if slices.Contains(clean, endpoint) {
			errs = append(errs, fmt.Errorf("endpoints: %s stands there twice", endpoint))
		}
		clean = append(clean, endpoint)
	}
	return clean, errors.Join(errs...)
}

// checkToken says nothing of the token itself.
func checkToken(token string) error {
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("token: it has characters that no token has (spaces, line breaks, non-ASCII)")
	}
	return nil
}

func newHTTP(o Options) (*http.Client, error) {
	// A redirect would carry the token, and a write, where nobody meant them to go.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if o.HTTPClient != nil {
		own := *o.HTTPClient
		own.CheckRedirect = stay
		return &own, nil
	}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 256,
		// Less than a node's own limit, so that it is not the node that closes while a request is under way.
		IdleConnTimeout: 90 * time.Second,
	}
	var err error
	if t.TLSClientConfig, err = tlsOf(o); err != nil {
		return nil, err
	}
	return &http.Client{Transport: t, CheckRedirect: stay}, nil
}

func tlsOf(o Options) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("ca: no certificate found in it")
		}
	}
	if o.Certificate != nil || o.Key != nil {
		pair, err := tls.X509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate, key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
