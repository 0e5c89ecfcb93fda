//go:build linux && faults

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// On each host that has a proxy before its node: where others reach the node, and where the proxy takes orders.
const proxyPort, proxyOrders = 17100, 17101

// proxyOf names, in the environment, the address of the host for which this program is to be a proxy, and the node's port there.
const proxyOf = "E2E_PROXY_OF"

// A proxy has to run on its node's host, and so in a process of its own: this very program.
func init() {
	of := os.Getenv(proxyOf)
	if of == "" {
		return
	}
	host, port, _ := strings.Cut(of, " ")
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.New(io.Discard))
	proxy := toxiproxy.NewProxy(server, "node", fmt.Sprintf("%s:%d", host, proxyPort), host+":"+port)
	err := server.Collection.Add(proxy, true)
	if err == nil {
		err = server.Listen(fmt.Sprintf("%s:%d", host, proxyOrders))
	}
	fmt.Fprintln(os.Stderr, "the proxy has ended:", err)
	os.Exit(1)
}

// behindProxy puts a proxy between a node and those who connect to it.
func behindProxy(n *Node) {
	t := n.c.t
	t.Helper()
	args := append(slices.Clone(n.host.enter), os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	p, err := start("proxy of "+n.id, cmd, fmt.Sprintf("%s=%s %d", proxyOf, n.host.address, n.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	n.reached = proxyPort
	eventually(t, "the proxy of "+n.id+" takes orders", func() error { return n.proxyOrder("GET", "/proxies/node", nil) })
}

// proxyOrder sends an order to the proxy of a node.
func (n *Node) proxyOrder(method, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := ask(method, fmt.Sprintf("http://%s:%d%s", n.host.address, proxyOrders, path), string(text), "User-Agent: licet")
	if err == nil && r.status >= http.StatusBadRequest {
		err = errors.New(r.String())
	}
	return err
}

// toxic is something that a proxy does to the bytes that go through it.
type toxic struct {
	Type       string           `json:"type"`
	Attributes map[string]int64 `json:"attributes"`
}

// poison has a toxic work on all connections to a node, in both directions.
func (n *Node) poison(x toxic) error {
	var errs []error
	for _, stream := range []string{"upstream", "downstream"} {
		errs = append(errs, n.proxyOrder("POST", "/proxies/node/toxics", map[string]any{
			"type": x.Type, "attributes": x.Attributes, "stream": stream, "name": x.Type + "-" + stream,
		}))
	}
	return errors.Join(errs...)
}

// cleanse takes a toxic away.
func (n *Node) cleanse(x toxic) error {
	return errors.Join(n.proxyOrder("DELETE", "/proxies/node/toxics/"+x.Type+"-upstream", nil), n.proxyOrder("DELETE", "/proxies/node/toxics/"+x.Type+"-downstream", nil))
}
