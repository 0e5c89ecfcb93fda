package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestClosedBacklogKeepsNoConnection(t *testing.T) {
	queue := newBacklog(&net.TCPAddr{})
	var ours [2]net.Conn
	for i := range ours {
		var theirs net.Conn
		ours[i], theirs = net.Pipe()
		must(t, ours[i].SetReadDeadline(time.Now().Add(patience)))
		must(t, queue.push(&nodeConn{Conn: tls.Server(theirs, &tls.Config{})}))
	}
	must(t, queue.Close())
	must(t, queue.Close())
	for _, end := range ours {
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	}
	if err := queue.push(&nodeConn{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("took a connection after its end: %v", err)
	}
	if conn, err := queue.Accept(); conn != nil || !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, %v", conn, err)
	}
}
