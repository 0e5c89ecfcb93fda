package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/cluster"
)

// Exit codes. Scripts rely on them; docs/cli.md and `licet help exit-codes` list them.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitRefused     = 3
	exitNotFound    = 4
	exitUnknown     = 5
	exitUnreachable = 6
	exitQueued      = 7
	exitNotMember   = 8
	exitSeatLost    = 9
	// Those that shells give.
	exitNotExecutable = 126
	exitNoProgram     = 127
)

const exitCodesHelp = `Exit codes:
  0  done
  1  an error of licet or of this machine (a file that can't be written, a fault of a node)
  2  wrong usage: flags, arguments, input files, configuration, a missing or wrong token
  3  refused by a rule, or a document, license key or token that is not genuine or has ended
  4  not found, or removed
  5  it is not known whether the request was carried out: repeat it with the --request-id that is named
  6  unreachable: no node answered, there is no leader, the cluster is overloaded or not ready, or this client asks too often
  7  queued: there are no seats yet, but a ticket
  8  licet server: the node was removed from its cluster or has left it, and does not start again with this data
  9  licet run: the seat was lost, and the program was ended
  126  licet run: the program can't be executed
  127  licet run: there is no such program
  128+N  licet run: signal N ended the program; any other code is the program's own, once it has started
`

// failure is an error with an exit code.
type failure struct {
	code int
	// word is the problem's code in JSON.
	word, detail, next string
	cause              error
}

func (f *failure) Error() string { return f.detail }

func (f *failure) Unwrap() error { return f.cause }

// failf is an error with an exit code; next says what to do.
func failf(code int, next, format string, args ...any) error {
	words := map[int]string{exitUsage: "usage", exitRefused: "refused", exitNotFound: "not_found", exitUnreachable: "unreachable", exitQueued: "queued"}
	word := words[code]
	if word == "" {
		word = "internal"
	}
	return &failure{code: code, word: word, detail: fmt.Sprintf(format, args...), next: next}
}

// exitCode is the exit code for a problem.
func exitCode(e *client.Error) int {
	switch e.Code {
	case apiv1.CodeOutcomeUnknown:
		return exitUnknown
	case client.CodeUnreachable, client.CodeBadAnswer, apiv1.CodeTimeout, apiv1.CodeIndexTimeout:
		return exitUnreachable
	case apiv1.CodeBadRequest, apiv1.CodeInvalid, apiv1.CodeUnauthorized, apiv1.CodeBodyTooLarge, apiv1.CodeUnsupportedMediaType:
		return exitUsage
	case apiv1.CodeRouteNotFound, apiv1.CodeMethodNotAllowed, apiv1.CodeInternal, apiv1.CodeUnsupported:
		return exitInternal
	}
	switch {
	case e.Status == http.StatusNotFound, e.Status == http.StatusGone:
		return exitNotFound
	case e.Status == http.StatusServiceUnavailable, e.Status == http.StatusTooManyRequests, e.Status == http.StatusGatewayTimeout:
		return exitUnreachable
	case e.Status >= 400 && e.Status < 500:
		return exitRefused
	}
	return exitInternal
}

// asFailure gives any error what is reported of it.
func asFailure(err error) (*failure, []byte) {
	var f *failure
	if errors.As(err, &f) {
		return f, f.json()
	}
	var e *client.Error
	if errors.As(err, &e) {
		f := &failure{code: exitCode(e), word: string(e.Code), detail: e.Detail, next: e.Next}
		switch {
		case e.Code == apiv1.CodeOutcomeUnknown && e.RequestID != "":
			f.next = "Run the same command again with --request-id " + e.RequestID + moreFlags(err) + ": it is done once at most."
		case e.Code == apiv1.CodeUnauthorized:
			f.next = "Name the file with a token that is in force in --token-file or LICET_TOKEN_FILE; operators make them with `licet token create`."
		}
		return f, e.JSON()
	}
	f = &failure{code: exitInternal, word: "internal", detail: err.Error()}
	if errors.Is(err, cluster.ErrNotMember) {
		f.code, f.word = exitNotMember, "not_member"
		f.next = "Don't start it again. To bring the machine back, empty the data directory and join under a new node.id."
	}
	var usage usageError
	if errors.As(err, &usage) {
		f.code, f.word = exitUsage, "usage"
	}
	return f, f.json()
}

// repeatedWith is an error of a request that is the same only with further flags.
type repeatedWith struct {
	error
	flags string
}

func (r repeatedWith) Unwrap() error { return r.error }

func moreFlags(err error) string {
	var r repeatedWith
	if errors.As(err, &r) {
		return " " + r.flags
	}
	return ""
}

// usageError marks an error as one of how the program was called or configured.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func (f *failure) json() []byte {
	text, err := json.Marshal(apiv1.Problem{
		Type: "urn:licet:problem:" + f.word, Title: strings.ToUpper(f.word[:1]) + strings.ReplaceAll(f.word[1:], "_", " "),
		Code: apiv1.Code(f.word), Detail: f.detail, Next: f.next,
	})
	if err != nil {
		return []byte(`{"code":"internal"}`)
	}
	return text
}

// report says what went wrong and returns the exit code.
func report(err error, asJSON bool, w io.Writer) int {
	f, text := asFailure(err)
	if asJSON {
		fmt.Fprintf(w, "%s\n", strings.TrimSpace(string(text)))
		return f.code
	}
	for i, line := range strings.Split(f.detail, "\n") {
		prefix := "licet: "
		if i > 0 {
			prefix = "       "
		}
		fmt.Fprintln(w, prefix+clean(line))
	}
	if f.next != "" {
		fmt.Fprintln(w, "next: "+clean(f.next))
	}
	return f.code
}

// clean keeps what others wrote from steering the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, r) {
			return '?'
		}
		return r
	}, text)
}
