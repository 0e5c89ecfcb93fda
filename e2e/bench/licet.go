package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// licet is three nodes of the built program with its default configuration, as `licet dev` starts them: mutual TLS between
// nodes, HTTP without TLS for clients, the audit trail on every node.
type licet struct {
	dev    *process
	nodes  []int
	token  string
	client *client.Client
	// leader and follower are URLs.
	leader, follower string
	pools            map[loadName]string
}

const (
	licetPort = 27001
	bulkItems = 100
)

// buildLicet builds the program that is measured, of the module around this one and with what that requires.
func buildLicet(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/licet/licet").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	program := filepath.Join(dir, "licet.bin")
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags=hashicorpmetrics", "-o", program, "./cmd/licet")
	c.Dir = strings.TrimSpace(string(out))
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return program, nil
}

// startLicet returns a way to start the program.
func startLicet(program string) func(context.Context, string) (system, error) {
	return func(ctx context.Context, dir string) (system, error) {
		p, err := startProcess(dir, "licet", program, "dev", "--dir", "licet", "--base-port", strconv.Itoa(licetPort))
		if err != nil {
			return nil, err
		}
		l := &licet{dev: p, pools: map[loadName]string{}}
		if err := l.prepare(ctx, program, filepath.Join(dir, "licet")); err != nil {
			return nil, errors.Join(err, l.stop())
		}
		return l, nil
	}
}

// prepare waits until the nodes serve, and puts a contract that never runs out.
func (l *licet) prepare(ctx context.Context, program, dir string) error {
	var endpoints []string
	for i := range nodes {
		endpoints = append(endpoints, fmt.Sprintf("http://127.0.0.1:%d", licetPort+i))
	}
	err := l.dev.await(ctx, "licet's start", func() error {
		token, err := os.ReadFile(filepath.Join(dir, "token"))
		if err != nil {
			return err
		}
		l.token = strings.TrimSpace(string(token))
		l.client, err = client.New(client.Options{Endpoints: endpoints, Token: l.token})
		if err != nil {
			return err
		}
		return l.roles(ctx, endpoints)
	})
	if err != nil {
		return err
	}
	if l.nodes, err = childrenOf(l.dev.pid()); err != nil {
		return err
	}
	if len(l.nodes) != nodes {
		return fmt.Errorf("licet runs %d nodes instead of %d", len(l.nodes), nodes)
	}
	return l.putContract(ctx, program, dir)
}

// roles finds out which node leads.
func (l *licet) roles(ctx context.Context, endpoints []string) error {
	for _, endpoint := range endpoints {
		at, err := l.client.At(endpoint)
		if err != nil {
			return err
		}
		s, err := at.Status(ctx)
		switch {
		case err != nil:
			return err
		case !s.Value.Ready:
			return errors.New(s.Value.NotReady)
		case s.Value.Role == apiv1.RoleLeader:
			l.leader = endpoint
		default:
			l.follower = endpoint
		}
	}
	if l.leader == "" {
		return errors.New("there is no leader")
	}
	return nil
}

const benchContract = `id: bench
revision: 1
customer: ACME SARL
email: licenses@acme.example
start: 2026-01-01
expiry: 2099-12-31
grace_days: 14
products:
  cad: {model: floating, quantity: 1000000000}
`

func (l *licet) putContract(ctx context.Context, program, dir string) error {
	file := filepath.Join(dir, "bench.yaml")
	if err := os.WriteFile(file, []byte(benchContract), 0o600); err != nil {
		return err
	}
	document, err := exec.CommandContext(ctx, program, "vendor", "sign", file, "--key", filepath.Join(dir, "vendor.key")).Output()
	if err != nil {
		return fmt.Errorf("licet vendor sign: %w", err)
	}
	_, err = l.client.PutContract(ctx, string(document))
	return err
}

func (l *licet) pids() []int { return l.nodes }

func (l *licet) stop() error { return l.dev.stop() }

// operation is what licet does for a load. Each load has a pool of its own.
func (l *licet) operation(of loadName, callers int) (operation, error) {
	pool := fmt.Sprintf("pool-%d", len(l.pools)+1)
	l.pools[of] = pool
	ctx := context.Background()
	_, err := l.client.CreatePool(ctx, apiv1.PoolDefinition{
		Name: pool, Contract: "bench", Size: 10_000_000, Products: map[string]apiv1.PoolProduct{"cad": {}}, TTLDefault: 3600,
	})
	if err == nil {
		_, err = l.client.ActivatePool(ctx, pool)
	}
	if err != nil {
		return nil, err
	}
	at := l.leader
	if of.at == follower {
		at = l.follower
	}
	c, err := newCaller(at, l.token, callers)
	if err != nil {
		return nil, err
	}
	switch of.what {
	case checkout:
		return func(_ context.Context, _, n int) error { return c.checkout(pool, n) }, nil
	case pair:
		return func(_ context.Context, _, n int) error { return c.pair(pool, n) }, nil
	case bulk:
		return func(_ context.Context, _, n int) error { return c.bulk(pool, n) }, nil
	case renewals:
		return c.renewals(pool, callers)
	case read:
		if err := c.checkout(pool, 0); err != nil {
			return nil, err
		}
		return func(context.Context, int, int) error { return c.get("/v1/pools/" + pool) }, nil
	}
	return nil, errNotComparable
}

// count is how many seats a load has out.
func (l *licet) count(ctx context.Context, of loadName) (int, error) {
	a, err := l.client.Pool(ctx, l.pools[of])
	if err != nil {
		return 0, err
	}
	return int(a.Value.Use.Used), nil
}

// caller speaks HTTP to one node and costs little.
type caller struct {
	http   *fasthttp.HostClient
	url    string
	bearer string
	// run makes request ids unlike those of other callers.
	run string
}

// runs counts callers.
var runs int

func newCaller(at, token string, connections int) (*caller, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	runs++
	return &caller{
		http: &fasthttp.HostClient{Addr: u.Host, MaxConns: connections, DisablePathNormalizing: true, NoDefaultUserAgentHeader: true},
		url:  at, bearer: "Bearer " + token, run: fmt.Sprintf("bench-%d-%d-", os.Getpid(), runs),
	}, nil
}

// exchange asks and hands the answer's body to take, if that is not nil. Whatever is no success is an error.
func (c *caller) exchange(method, path, id string, body []byte, take func([]byte) error) error {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.SetMethod(method)
	request.SetRequestURI(c.url + path)
	request.Header.Set("Authorization", c.bearer)
	if body != nil {
		request.Header.SetContentType("application/json")
		request.Header.Set("Idempotency-Key", c.run+id)
		request.SetBodyRaw(body)
	}
	if err := c.http.Do(request, response); err != nil {
		return err
	}
	if status := response.StatusCode(); status/100 != 2 {
		return fmt.Errorf("%s %s: %d %s", method, path, status, response.Body())
	}
	if take == nil {
		return nil
	}
	return take(response.Body())
}

func (c *caller) get(path string) error { return c.exchange("GET", path, "", nil, nil) }

func appendCheckout(b []byte, pool string, n int) []byte {
	b = append(b, `{"pool":"`...)
	b = append(b, pool...)
	b = append(b, `","product":"cad","user":"user-`...)
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, `","client":"workstation-17"}`...)
}

func (c *caller) checkout(pool string, n int) error {
	return c.exchange("POST", "/v1/checkouts", strconv.Itoa(n), appendCheckout(nil, pool, n), nil)
}

// held is what a caller must know of a lease to do more with it.
type held struct {
	Lease struct {
		ID     uint64 `json:"id"`
		Handle string `json:"handle"`
	} `json:"lease"`
}

// pair checks a seat out and in.
func (c *caller) pair(pool string, n int) error {
	var h held
	id := strconv.Itoa(n)
	err := c.exchange("POST", "/v1/checkouts", id, appendCheckout(nil, pool, n), func(body []byte) error { return json.Unmarshal(body, &h) })
	if err != nil {
		return err
	}
	return c.exchange("POST", fmt.Sprintf("/v1/leases/%d/return", h.Lease.ID), id+"-in", fmt.Appendf(nil, `{"handle":%q}`, h.Lease.Handle), nil)
}

// bulk checks bulkItems seats out in one request.
func (c *caller) bulk(pool string, n int) error {
	return c.exchange("POST", "/v1/bulk", strconv.Itoa(n), bulkBody(pool, n), func(body []byte) error {
		_, err := bulkLeases(body)
		return err
	})
}

func bulkBody(pool string, n int) []byte {
	b := append(make([]byte, 0, bulkItems*100), `{"items":[`...)
	for i := range bulkItems {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"checkout":`...)
		b = appendCheckout(b, pool, n*bulkItems+i)
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// bulkLeases are the leases of a bulk's answer, all of which must have been granted.
func bulkLeases(body []byte) ([]held, error) {
	var done struct {
		Results []held `json:"results"`
	}
	if err := json.Unmarshal(body, &done); err != nil {
		return nil, err
	}
	if len(done.Results) != bulkItems || slices.ContainsFunc(done.Results, func(h held) bool { return h.Lease.ID == 0 }) {
		return nil, fmt.Errorf("of %d checkouts some were refused: %.500s", bulkItems, body)
	}
	return done.Results, nil
}

// renewals checks bulkItems seats out for each caller, who then renews his own, all in one request.
func (c *caller) renewals(pool string, callers int) (operation, error) {
	bodies := make([][]byte, callers)
	for i := range bodies {
		var leases []held
		err := c.exchange("POST", "/v1/bulk", fmt.Sprint("renew-", i), bulkBody(pool, i), func(body []byte) (err error) {
			leases, err = bulkLeases(body)
			return err
		})
		if err != nil {
			return nil, err
		}
		b := []byte(`{"items":[`)
		for j, h := range leases {
			if j > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, `{"renew":{"lease":%d,"handle":%q}}`, h.Lease.ID, h.Lease.Handle)
		}
		bodies[i] = append(b, `]}`...)
	}
	var one sync.Once
	return func(_ context.Context, caller, n int) error {
		return c.exchange("POST", "/v1/bulk", strconv.Itoa(n), bodies[caller], func(body []byte) (err error) {
			// What one answer says is looked into; the others are alike.
			one.Do(func() {
				if strings.Contains(string(body), `"problem"`) {
					err = fmt.Errorf("a renewal was refused: %.500s", body)
				}
			})
			return err
		})
	}, nil
}
