package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

const backupType = "application/vnd.licet.backup"

func streaming(t *testing.T, handlers ...http.HandlerFunc) *client.Client {
	t.Helper()
	var endpoints []string
	for _, h := range handlers {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		endpoints = append(endpoints, s.URL)
	}
	c, err := client.New(client.Options{Endpoints: endpoints, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func whole(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", backupType)
	w.Header().Set("Licet-Node", "lyon")
	_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
}

func halfOf(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", backupType)
	_, _ = io.WriteString(w, "half")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func overloaded(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(503)
	_, _ = io.WriteString(w, `{"type":"urn:licet:problem:overloaded","title":"Overloaded","status":503,"code":"overloaded","detail":"Full.","next":"Wait."}`)
}

// A node that does not begin is passed over; one that breaks off is not followed by another, whose backup would be
// written behind the half.
func TestBackupComesWholeOrNot(t *testing.T) {
	var b bytes.Buffer
	a, err := streaming(t, overloaded, whole).Backup(t.Context(), &b)
	if err != nil || a.Node != "lyon" || b.Len() != 1<<20 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
	b.Reset()
	if _, err := streaming(t, halfOf, whole).Backup(t.Context(), &b); err == nil || !strings.Contains(err.Error(), "broke off after 4 bytes") || b.String() != "half" {
		t.Errorf("%q, %v", b.String(), err)
	}
	full := errors.New("the disk is full")
	if _, err := streaming(t, whole).Backup(t.Context(), failing{full}); err == nil {
		t.Error("a sink that fails is not told of")
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// A restoration is sent once, to one endpoint; if its answer is lost, its outcome is unknown.
func TestRestoreIsSentOnce(t *testing.T) {
	// The server may still write it when the client has its error.
	var asked atomic.Int32
	c := streaming(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		text, _ := io.ReadAll(r.Body)
		if string(text) != "a backup" || r.URL.RawQuery != "from=old&into=new" || r.Header.Get("Content-Type") != backupType {
			t.Errorf("%s with %q", r.URL, text)
		}
		panic(http.ErrAbortHandler)
	})
	_, err := c.Restore(t.Context(), client.RestoreOf{Into: "new", From: "old", Backup: strings.NewReader("a backup"), Bytes: 8})
	if client.CodeOf(err) != apiv1.CodeOutcomeUnknown || asked.Load() != 1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
	if _, err := streaming(t, whole, whole).Restore(t.Context(), client.RestoreOf{Into: "new", Backup: strings.NewReader("")}); err == nil {
		t.Error("two endpoints were taken")
	}
}
