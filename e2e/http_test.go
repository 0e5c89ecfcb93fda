package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// raw asks without the client's care: one attempt, any bytes.
var raw = &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// reply is an answer of any status.
type reply struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// code is the problem's, empty if it is none.
func (r reply) code() apiv1.Code {
	var p apiv1.Problem
	if r.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(r.body), &p) != nil {
		return ""
	}
	return p.Code
}

// ask sends one request with the operator's token; headers are "Name: value" and replace others.
func ask(method, url, body string, headers ...string) (reply, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	begin := time.Now()
	answer, err := raw.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, answer.Header, string(text), time.Since(begin)}, err
}

// mustAsk is for a node that must answer.
func mustAsk(t testing.TB, method, url, body string, headers ...string) reply {
	t.Helper()
	r, err := ask(method, url, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return r
}

func (r reply) String() string { return fmt.Sprintf("%d %s", r.status, strings.TrimSpace(r.body)) }

// fieldsOf are the names of an object's fields.
func fieldsOf(object string) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &fields); err != nil {
		panic(err)
	}
	return fields
}

// replaceField gives one field another value, which may be no JSON.
func replaceField(object, name, value string) string {
	var parts []string
	for field, old := range fieldsOf(object) {
		if field == name {
			old = json.RawMessage(value)
		}
		parts = append(parts, fmt.Sprintf("%q: %s", field, old))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
