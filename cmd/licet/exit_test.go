package main

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

// exits are the exit codes of all problems that the interface has.
var exits = map[apiv1.Code]struct{ status, exit int }{
	apiv1.CodeAlreadyInitialised:   {409, exitRefused},
	apiv1.CodeAreaOverAllocation:   {409, exitRefused},
	apiv1.CodeBadRequest:           {400, exitUsage},
	apiv1.CodeBodyTooLarge:         {413, exitUsage},
	apiv1.CodeClockSkew:            {503, exitUnreachable},
	apiv1.CodeContractEnded:        {409, exitRefused},
	apiv1.CodeContractExhausted:    {409, exitRefused},
	apiv1.CodeContractNotFound:     {404, exitNotFound},
	apiv1.CodeContractNotStarted:   {409, exitRefused},
	apiv1.CodeDocumentInvalid:      {422, exitRefused},
	apiv1.CodeIdempotencyMismatch:  {422, exitRefused},
	apiv1.CodeIndexTimeout:         {504, exitUnreachable},
	apiv1.CodeInstanceExists:       {409, exitRefused},
	apiv1.CodeInstanceNotFound:     {404, exitNotFound},
	apiv1.CodeInstanceRemoved:      {410, exitNotFound},
	apiv1.CodeInternal:             {500, exitUnknown},
	apiv1.CodeInvalid:              {422, exitUsage},
	apiv1.CodeKeyInvalid:           {422, exitRefused},
	apiv1.CodeKeyStale:             {409, exitRefused},
	apiv1.CodeMemberNotFound:       {404, exitNotFound},
	apiv1.CodeMemberRefused:        {409, exitRefused},
	apiv1.CodeMethodNotAllowed:     {405, exitInternal},
	apiv1.CodeNoLeader:             {503, exitUnreachable},
	apiv1.CodeNotInitialised:       {503, exitUnreachable},
	apiv1.CodeNotReady:             {503, exitUnreachable},
	apiv1.CodeOutcomeUnknown:       {504, exitUnknown},
	apiv1.CodeOverloaded:           {503, exitUnreachable},
	apiv1.CodeRevisionConflict:     {409, exitRefused},
	apiv1.CodeRevisionStale:        {409, exitRefused},
	apiv1.CodeRouteNotFound:        {404, exitInternal},
	apiv1.CodeShuttingDown:         {503, exitUnreachable},
	apiv1.CodeSuperseded:           {503, exitUnreachable},
	apiv1.CodeTimeout:              {504, exitUnreachable},
	apiv1.CodeUnauthorized:         {401, exitUsage},
	apiv1.CodeUnsupported:          {501, exitInternal},
	apiv1.CodeUnsupportedMediaType: {415, exitUsage},
	"a_newer_rule":                 {409, exitRefused},
	"a_newer_absence":              {404, exitNotFound},
}

func TestExitCodes(t *testing.T) {
	for code, want := range exits {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			body := `{"type":"t","title":"T","status":1,"detail":"Because of it.","code":"` + string(code) + `","request_id":"X","next":"Do."}`
			f := newFake(t, want.status, body)
			f.header = map[string]string{"Retry-After": "60"}
			environ := append(at(f.Server), "LICET_TIMEOUT=300ms")
			got := run(t, environ, "instance", "remove", "7", "--request-id", "one")
			if got.code != want.exit || got.out != "" || !strings.HasPrefix(got.err, "licet: ") || !strings.Contains(got.err, "Because of it") {
				t.Errorf("exit %d, %q, want %d", got.code, got.err, want.exit)
			}
			if hint := "Run the same command again with --request-id one"; strings.Contains(got.err, hint) != (want.exit == exitUnknown) {
				t.Errorf("E2: %q", got.err)
			}
			if asJSON := run(t, environ, "instance", "remove", "7", "-o", "json"); want.exit != exitUnknown && asJSON.err != body+"\n" || asJSON.code != want.exit {
				t.Errorf("as JSON: exit %d, %q", asJSON.code, asJSON.err)
			}
		})
	}
}

// Nothing is left to the default: a new code is a decision.
func TestExitCodesAreComplete(t *testing.T) {
	for code := range exits {
		if !code.Valid() && !strings.HasPrefix(string(code), "a_newer_") {
			t.Errorf("%s is no code", code)
		}
	}
	if n := len(exits); n != 36+2 {
		t.Errorf("%d codes", n)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"LICET_ENDPOINTS=http://" + l.Addr().String(), "LICET_TIMEOUT=200ms"}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"contract list", "instance remove 7", "cluster members", "status", "keys"} {
		got := run(t, environ, strings.Fields(args)...)
		if got.code != exitUnreachable || !strings.Contains(got.err+got.out, "connection refused") || !strings.Contains(got.err, "\nnext: ") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// E2: a write whose connection breaks is neither a failure nor a success.
func TestOutcomeUnknown(t *testing.T) {
	f := newFake(t, 200, "")
	f.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	environ := append(at(f.Server), "LICET_TIMEOUT=300ms")
	got := run(t, environ, "instance", "remove", "7")
	if got.code != exitUnknown || !strings.Contains(got.err, "It is not known whether the request was carried out") || !strings.Contains(got.err, "with --request-id 01") {
		t.Errorf("%+v", got)
	}
	if got := run(t, environ, "cluster", "leave"); got.code != exitUnknown || strings.Contains(got.err, "--request-id") {
		t.Errorf("%+v", got)
	}
	if got := run(t, environ, "instance", "remove", "7", "--dry-run"); got.code != exitUnreachable {
		t.Errorf("%+v", got)
	}
}

// What others wrote does not steer the terminal.
func TestControlCharacters(t *testing.T) {
	const evil = "\\u001b[2Jx\\u202ey\\u0000"
	f := newFake(t, 409, `{"detail":"a`+evil+`b","code":"key_stale","next":"`+evil+`"}`)
	if got := run(t, at(f.Server), "instance", "remove", "7"); got.code != exitRefused || got.err != "licet: a?[2Jx?y?b\nnext: ?[2Jx?y?\n" {
		t.Errorf("%+v", got)
	}
	f = newFake(t, 200, `{"contracts":[{"id":"a`+evil+`","customer":"`+evil+`"}]}`)
	if got := run(t, at(f.Server), "contract", "list"); got.code != exitOK || strings.ContainsAny(got.out, "\x1b\x00") || strings.Contains(got.out, "\u202e") {
		t.Errorf("%+v", got)
	}
}
