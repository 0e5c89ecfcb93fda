package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// HostPort is "host:port" in canonical form: names in lower case, IP addresses as [netip.Addr] writes them (IPv6 in
// brackets), the port from 1 to 65535 without leading zeros. The host is empty only in a listening address, where it
// means every address. Within one Config equal addresses are therefore equal strings.
type HostPort string

// String is the address as net.Dial and net.Listen take it.
func (h HostPort) String() string { return string(h) }

// Host returns the part before the port, an IPv6 address without its brackets.
func (h HostPort) Host() string { host, _, _ := net.SplitHostPort(string(h)); return host }

// Port returns the port; 0 only for the zero value.
func (h HostPort) Port() int {
	_, port, _ := net.SplitHostPort(string(h))
	n, _ := strconv.Atoi(port)
	return n
}

const (
	listenAllowed    = "host:port with a port from 1 to 65535 and a name or an IP address (IPv6 in brackets); no host means every address"
	reachableAllowed = "host:port with a port from 1 to 65535 and a name or an IP address (IPv6 in brackets), not 0.0.0.0 or ::"
)

func address(at func(*Config) *HostPort, parse func(string) (HostPort, bool), allowed string) kind {
	return one(at, parse, HostPort.String, allowed)
}

func addresses(at func(*Config) *[]HostPort) kind {
	return many(at, parseReachable, HostPort.String, reachableAllowed, 64)
}

// parseListen reads an address to listen on.
func parseListen(text string) (HostPort, bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", false
	}
	// This refuses port 0 too: the others could not know the port that the system would choose.
	if _, err := strconv.ParseUint(port, 10, 16); err != nil || port[0] == '0' {
		return "", false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	} else if host = strings.ToLower(host); host != "" && !isName(host) {
		return "", false
	}
	return HostPort(net.JoinHostPort(host, port)), true
}

// parseReachable reads an address that another machine can dial.
func parseReachable(text string) (HostPort, bool) {
	h, ok := parseListen(text)
	if !ok || h.unspecified() {
		return "", false
	}
	// A zone means something on one machine only, and nobody listens on a multicast address.
	ip, err := netip.ParseAddr(h.Host())
	return h, err != nil || (ip.Zone() == "" && !ip.IsMulticast())
}

// onlyIP refuses names.
func onlyIP(parse func(string) (HostPort, bool)) func(string) (HostPort, bool) {
	return func(text string) (HostPort, bool) {
		h, ok := parse(text)
		if !ok {
			return "", false
		}
		_, err := netip.ParseAddr(h.Host())
		return h, err == nil
	}
}

// isName tells whether host can be a machine's name. One that ends in a number cannot: it is a mistyped address,
// and some resolvers read "0" or "127.1" as one.
func isName(host string) bool {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			label[0] == '-' {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(host) <= 253 && strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// unspecified tells whether the address stands for all of a machine's addresses.
func (h HostPort) unspecified() bool {
	if h == "" {
		return false
	}
	ip, err := netip.ParseAddr(h.Host())
	return h.Host() == "" || (err == nil && ip.IsUnspecified())
}

// loopback tells whether the address certainly is reachable from its own machine only.
func (h HostPort) loopback() bool {
	ip, err := netip.ParseAddr(h.Host())
	return h.Host() == "localhost" || (err == nil && ip.IsLoopback())
}

// overlaps tells whether listening on both addresses is impossible.
func (h HostPort) overlaps(o HostPort) bool {
	local := func(h HostPort) string {
		if h.Host() == "localhost" {
			return "127.0.0.1"
		}
		return h.Host()
	}
	return h.Port() == o.Port() && (local(h) == local(o) || h.unspecified() || o.unspecified())
}

func isIP(h HostPort) bool { _, err := netip.ParseAddr(h.Host()); return err == nil }
