package api

import (
	"time"

	"github.com/licet/licet/api/apiv1"
)

// maxScrapes is how many scrapes are answered at a time.
const maxScrapes = 2

// Meter is told of exchanges, and tells all that the node measures. All methods are called concurrently.
type Meter interface {
	// Began counts a request that is under way until it is Served.
	Began()
	// Served notes an exchange: the method and path of its route as in the document, empty if there is none, the
	// status, 0 if nothing was answered, and how long it took.
	Served(route string, status int, took time.Duration)
	// Refused counts a request, wait or connection that a limit refused: one of RefusalKinds.
	Refused(kind string)
	// Text is everything measured, in Prometheus' text format (version 0.0.4).
	Text() ([]byte, error)
}

// unmetered measures nothing.
type unmetered struct{}

func (unmetered) Began()                            {}
func (unmetered) Served(string, int, time.Duration) {}
func (unmetered) Refused(string)                    {}
func (unmetered) Text() ([]byte, error)             { return nil, nil }

// getMetrics answers a scrape. Few are answered at a time: each reads all pools.
func (s *service) getMetrics(*call) (*answer, error) {
	select {
	case s.scrapes <- struct{}{}:
		defer func() { <-s.scrapes }()
	default:
		p := problemf(apiv1.CodeOverloaded, "%d scrapes are being answered, as many as may.", maxScrapes)
		p.next = "Scrape this node from one or two places, each 5 s or less often."
		return nil, p
	}
	text, err := s.Meter.Text()
	if err != nil {
		return nil, err
	}
	return ok(document{"text/plain; version=0.0.4; charset=utf-8", text}), nil
}
