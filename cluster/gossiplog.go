package cluster

import (
	stdlog "log"
	"regexp"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// gossipLog takes memberlist's log. Memberlist reports each message that it could not
// send, or not read, as an error, though the other end is as likely at fault. Here that is
// one warning when it begins, and the rest is for debugging. Safe for concurrent use.
type gossipLog struct {
	log  hclog.Logger
	news *news
}

func newGossipLog(log hclog.Logger) *stdlog.Logger {
	return stdlog.New(gossipLog{log, newNews()}, "", 0)
}

var (
	gossipLine = regexp.MustCompile(`^(?:\[(\w+)\] |(Err): )?(?:memberlist: )?(.*)`)
	// gossipPort is another each time.
	gossipPort = regexp.MustCompile(`:\d+`)
)

// Write implements io.Writer, for one line.
func (l gossipLog) Write(line []byte) (int, error) {
	parts := gossipLine.FindStringSubmatch(strings.TrimSpace(string(line)))
	text, level := parts[3], hclog.Info
	switch parts[1] + parts[2] {
	case "DEBUG":
		level = hclog.Debug
	case "ERR", "ERROR", "Err", "WARN":
		level = l.news.level("", gossipPort.ReplaceAllString(text, ""))
	}
	l.log.Log(level, text)
	return len(line), nil
}
