package cluster

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestGossipLog(t *testing.T) {
	var out bytes.Buffer
	l := newGossipLog(hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &out, DisableTime: true}))
	const cut = "[ERR] memberlist: Decrypt packet failed: No installed keys could decrypt the message from=10.0.0.1:"
	for _, c := range []struct{ line, want string }{
		{cut + "7201", "[WARN]  Decrypt packet failed: No installed keys could decrypt the message from=10.0.0.1:7201"},
		{cut + "41022", ""},
		{strings.Replace(cut, "10.0.0.1", "10.0.0.2", 1) + "7201", "[WARN]"},
		{"[INFO] memberlist: Suspect lyon has failed, no acks received", "[INFO]  Suspect lyon has failed"},
		{"[DEBUG] memberlist: Initiating push/pull sync with: lyon", ""},
		{"[WARN] memberlist: Refuting a dead message (from: lyon)", "[WARN]  Refuting"},
		{"Err: Could not set the deadline: closed", "[WARN]  Could not set the deadline: closed"},
		{"two\nlines", "[INFO]  two"},
		{"", "[INFO]"},
	} {
		out.Reset()
		l.Print(c.line)
		if got := out.String(); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q: got %q, want %q", c.line, got, c.want)
		}
	}
}
