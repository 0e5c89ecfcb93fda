package api

import (
	"net/http"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// FillWaiters has as many wait as may, for nothing.
func FillWaiters(h http.Handler, n Node) (leave func()) {
	w := &h.(*Handler).service.waiters
	var all []func()
	for range maxWaiters {
		_, out := w.join(n, func(*fsm.View) bool { return false })
		all = append(all, out)
	}
	return func() {
		for _, out := range all {
			out()
		}
	}
}

// Routes are all served operations as "METHOD path".
func Routes() []string {
	var list []string
	for _, rt := range routes {
		list = append(list, rt.method+" "+rt.path)
	}
	return list
}

// KnownCodes are all codes that have a status.
func KnownCodes() []string {
	var list []string
	for code := range statuses {
		list = append(list, string(code))
	}
	return list
}

// StatusOf is a code's status.
func StatusOf(code apiv1.Code) int { return statuses[code] }
