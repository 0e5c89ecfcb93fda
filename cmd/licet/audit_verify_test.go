package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// chainFake is a node whose trail ends with a row; it answers for the rows that are named, and for no other.
func chainFake(t *testing.T, node string, last int, chain string, rows map[int]string) string {
	t.Helper()
	f := newFake(t, 200, "")
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Licet-Node", node)
		w.Header().Set("Content-Type", "application/json")
		var seq int
		if _, err := fmt.Sscanf(r.URL.Path, "/v1/audit/%d", &seq); err != nil {
			_, _ = fmt.Fprintf(w, `{"rows":[],"last":%d,"chain":%q,"oldest":1}`, last, chain)
			return
		}
		switch rows[seq] {
		case "":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"code":"audit_row_not_found","detail":"There is no such row."}`)
		case "dies":
			panic(http.ErrAbortHandler)
		default:
			_, _ = fmt.Fprintf(w, `{"seq":%d,"chain":%q}`, seq, rows[seq])
		}
	})
	return f.URL
}

// Only what was verified is called whole: of a node that does not answer nothing is known.
func TestAuditVerifyServer(t *testing.T) {
	paris := chainFake(t, "paris", 9, "99", map[int]string{7: "77", 5: "dies"})
	silent := newFake(t, 200, "")
	silent.Close()
	for _, c := range []struct {
		name, other, state, say string
		exit                    int
	}{
		{"the same end", chainFake(t, "lyon", 9, "99", nil), "whole", "", exitOK},
		{"behind", chainFake(t, "lyon", 7, "77", nil), "whole", "", exitOK},
		{"nothing yet", chainFake(t, "lyon", 0, "00", nil), "whole", "", exitOK},
		{"other rows", chainFake(t, "lyon", 7, "66", nil), "damaged", "up to row 7 node paris and node lyon hold different rows", exitRefused},
		{"no answer", silent.URL, "unverified", silent.URL + " did not say what they have", exitUnreachable},
		{"a node that dies meanwhile", chainFake(t, "lyon", 5, "55", nil), "unverified", paris + " did not say what they have", exitUnreachable},
		{"a row that is gone", chainFake(t, "lyon", 6, "66", nil), "unverified", "row 6, the last of one, is no longer on the other", exitUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			environ := []string{"LICET_ENDPOINTS=" + paris + "," + c.other, "LICET_TIMEOUT=300ms"}
			got := run(t, environ, "audit", "verify", "--server")
			if got.code != c.exit || !strings.HasSuffix(got.out, "\n"+c.state+"\n") || !strings.Contains(got.out+got.err, c.say) {
				t.Errorf("%+v", got)
			}
			asJSON := run(t, environ, "audit", "verify", "--server", "-o", "json")
			if asJSON.code != c.exit || !strings.HasPrefix(asJSON.out, `{"state":"`+c.state+`"`) {
				t.Errorf("%+v", asJSON)
			}
		})
	}
	// What is damaged is damaged, whoever else is silent.
	environ := []string{"LICET_ENDPOINTS=" + strings.Join([]string{paris, chainFake(t, "lyon", 9, "66", nil), silent.URL}, ","), "LICET_TIMEOUT=300ms"}
	if got := run(t, environ, "audit", "verify", "--server"); got.code != exitRefused || !strings.HasSuffix(got.out, "\ndamaged\n") {
		t.Errorf("%+v", got)
	}
	environ = []string{"LICET_ENDPOINTS=" + silent.URL, "LICET_TIMEOUT=300ms"}
	if got := run(t, environ, "audit", "verify", "--server"); got.code != exitUnreachable || got.out != "" {
		t.Errorf("%+v", got)
	}
}
