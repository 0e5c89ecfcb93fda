package trail

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/licet/licet/fsm"
)

const (
	// dialPatience bounds the making of a connection, TLS included.
	dialPatience = 5 * time.Second
	// unsure is how long rows count as under way after they were sent: syslog acknowledges nothing, but a connection that is broken is noticed by then.
	unsure = 10 * time.Second
	// maxDatagram is the longest message that is sent as a datagram, in bytes; longer ones go without the whole row, or what was asked.
	maxDatagram = 32_000
	// Facility "log audit" with the severities notice and informational (RFC 5424, section 6.2.1).
	refusedPriority, decidedPriority = "<109>", "<110>"
)

// Syslog is a receiver of syslog messages (RFC 5424), one for each row: over TLS (RFC 5425) and TCP with octet counting (RFC 6587), or as datagrams over
// UDP (RFC 5426) or a local socket.
type Syslog struct {
	// URL is tls://host:port, tcp://host:port, udp://host:port, or unix:///path.
	URL *url.URL
	// TLS is used for tls; nil means the system's authorities.
	TLS *tls.Config
	// Node is the name of the host in messages.
	Node string

	conn net.Conn
	// gone is closed once the other side has closed the connection.
	gone  chan struct{}
	lines Copy
	// settled is the last row that is no more under way; marks are the others, in their order.
	settled uint64
	marks   []sentMark
}

// sentMark says when rows up to one were sent.
type sentMark struct {
	row uint64
	at  time.Time
}

var _ Target = (*Syslog)(nil)

// Open implements Target.
func (s *Syslog) Open(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, dialPatience)
	defer cancel()
	var err error
	switch d := new(net.Dialer); s.URL.Scheme {
	case "unix":
		s.conn, err = d.DialContext(ctx, "unixgram", s.URL.Path)
	case "tls":
		s.conn, err = (&tls.Dialer{NetDialer: d, Config: s.TLS}).DialContext(ctx, "tcp", s.URL.Host)
	default:
		s.conn, err = d.DialContext(ctx, s.URL.Scheme, s.URL.Host)
	}
	if err != nil {
		return 0, err
	}
	s.gone, s.marks = make(chan struct{}), nil
	if s.streams() {
		go watchEnd(s.conn, s.gone)
	}
	return 0, nil
}

// watchEnd reads, as nothing else tells that the other side has gone. Receivers send nothing.
func watchEnd(conn net.Conn, gone chan<- struct{}) {
	defer close(gone)
	_, _ = io.Copy(io.Discard, conn)
}

func (s *Syslog) streams() bool { return s.URL.Scheme == "tcp" || s.URL.Scheme == "tls" }

// Write implements Target.
func (s *Syslog) Write(rows []Passed, within time.Duration) error {
	select {
	case <-s.gone:
		return errors.New("the receiver has closed the connection")
	default:
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	var all []byte
	for _, row := range rows {
		message, err := s.message(row.Write)
		if err != nil {
			return err
		}
		if s.streams() {
			all = append(strconv.AppendInt(all, int64(len(message)), 10), ' ')
			all = append(all, message...)
		} else if _, err := s.conn.Write(message); err != nil {
			return err
		}
	}
	if s.streams() {
		if _, err := s.conn.Write(all); err != nil {
			return err
		}
	}
	s.marks = append(s.marks, sentMark{rows[len(rows)-1].Seq, time.Now()})
	return nil
}

// message is a row as a syslog message. Its text is one line of JSON: no character of a row can end it, or begin another one.
func (s *Syslog) message(w *fsm.Write) ([]byte, error) {
	s.lines.Next = 0
	text, err := s.lines.Row(nil, w, nil)
	if err != nil {
		return nil, err
	}
	priority := decidedPriority
	if outcomeOf(w) != "ok" {
		priority = refusedPriority
	}
	head := fmt.Appendf(nil, "%s1 %s %s licet - audit - ", priority, timeOf(w), s.Node)
	text = bytes.TrimSuffix(text, []byte("\n"))
	if !s.streams() && len(head)+len(text) > maxDatagram {
		text = shortCopy(w)
	}
	return append(head, text...), nil
}

// Settled implements Target.
func (s *Syslog) Settled() (uint64, error) {
	for len(s.marks) > 0 && time.Since(s.marks[0].at) >= unsure {
		s.settled, s.marks = s.marks[0].row, s.marks[1:]
	}
	return s.settled, nil
}

// Close implements Target. A receiver that ends the connection after it was told that nothing more comes has read all.
func (s *Syslog) Close(within time.Duration) {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if ok && within > 0 && len(s.marks) > 0 && half.CloseWrite() == nil {
		select {
		case <-s.gone:
			s.settled, s.marks = s.marks[len(s.marks)-1].row, nil
		case <-time.After(within):
		}
	}
	_ = s.conn.Close()
}
