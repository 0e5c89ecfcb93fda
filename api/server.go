package api

import (
	"cmp"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
)

// MaxHeader is how many bytes of request line and headers a server reads, about.
const MaxHeader = 16 << 10

// Timeouts protect a server from slow clients, whose connections it closes.
// Zero values mean those of DefaultTimeouts.
type Timeouts struct {
	// Header bounds the arrival of request line and headers.
	Header time.Duration
	// Read bounds the arrival of a whole request, body included.
	Read time.Duration
	// Write bounds everything from the end of the headers to the end of the
	// answer; it must leave room for Read and the request's own time.
	Write time.Duration
	// Idle bounds the wait for the next request on a connection.
	Idle time.Duration
}

// DefaultTimeouts are those for requests that may take so long: 5 s for the
// headers, 15 s for the whole request, that and 5 s more for the answer, and two
// minutes between requests.
func DefaultTimeouts(request time.Duration) Timeouts {
	const read = 15 * time.Second
	return Timeouts{Header: 5 * time.Second, Read: read, Write: read + request + 5*time.Second, Idle: 2 * time.Minute}
}

// Server returns a server for the handler of New, bounded against slow clients.
// The caller sets Addr or TLSConfig, starts it and shuts it down.
func Server(h http.Handler, t Timeouts, log hclog.Logger) *http.Server {
	d := DefaultTimeouts(DefaultRequestTimeout)
	if log == nil {
		log = hclog.NewNullLogger()
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cmp.Or(t.Header, d.Header),
		ReadTimeout:       cmp.Or(t.Read, d.Read),
		WriteTimeout:      cmp.Or(t.Write, d.Write),
		IdleTimeout:       cmp.Or(t.Idle, d.Idle),
		MaxHeaderBytes:    MaxHeader,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		// OPTIONS * is answered like every other unknown path.
		DisableGeneralOptionsHandler: true,
	}
}
