package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// namedNode is a node of which only the id is asked.
type namedNode struct{ Node }

func (namedNode) ID() string { return "lyon" }

// A panic after the answer has begun cuts the connection: half an answer must
// not look whole. So does a handler's own wish to cut it.
func TestPanicUnderWayCutsTheAnswer(t *testing.T) {
	s := &service{Options: Options{Meter: unmetered{}, Node: namedNode{}, Log: hclog.NewNullLogger()}}
	for name, h := range map[string]http.HandlerFunc{
		"late panic": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("half")); panic("late") },
		"abort":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("recovered %v", err)
				}
			}()
			s.observed(h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		})
	}
}
