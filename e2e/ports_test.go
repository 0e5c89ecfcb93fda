package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken below those that the system gives to outgoing connections,
// so that nothing but another listener can take one while a node is down.
const (
	firstPort = 18000
	lastPort  = 31999
)

// portBook remembers which ports this run gave out: a test's nodes are down at times.
var portBook = struct {
	sync.Mutex
	given map[int]bool
}{given: map[int]bool{}}

// portSet are ports of 127.0.0.1, free for TCP and UDP, held until release.
type portSet struct {
	ports []int
	held  []io.Closer
}

// holdPorts collects n ports.
func holdPorts(n int) (*portSet, error) {
	portBook.Lock()
	defer portBook.Unlock()
	s := new(portSet)
	for range 100 * n {
		if len(s.ports) == n {
			return s, nil
		}
		if port := firstPort + rand.IntN(lastPort-firstPort+1); !portBook.given[port] && s.hold(port) {
			portBook.given[port] = true
			s.ports = append(s.ports, port)
		}
	}
	return nil, errors.Join(fmt.Errorf("%d free ports were not found between %d and %d", n, firstPort, lastPort), s.release())
}

func (s *portSet) hold(port int) bool {
	tcp, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return false
	}
	udp, err := net.ListenPacket("udp", loopback(port))
	if err != nil {
		_ = tcp.Close()
		return false
	}
	s.held = append(s.held, tcp, udp)
	return true
}

// release lets go of the ports, for those who listen on them next.
func (s *portSet) release() error {
	var errs []error
	for _, c := range s.held {
		errs = append(errs, c.Close())
	}
	s.held = nil
	return errors.Join(errs...)
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
