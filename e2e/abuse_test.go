package e2e

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// timed makes TestHostileClients assert times, which it prints otherwise: `make hostile`.
var timed = flag.Bool("timed", false, "assert latencies beside hostile clients; for a machine that does nothing else")

const (
	// hostileRounds are phases undisturbed, disturbed, undisturbed, each with so many checkouts and check-ins, or as many as the
	// machine does in the time of a phase.
	hostileRounds, hostileOps, hostilePhase = 3, 100, 1500 * time.Millisecond
	// hostilePace is between two attempts of one hostile client. The load is bounded, because on two cores whoever takes all of
	// the processor slows everybody, whatever the nodes do.
	hostilePace = 100 * time.Millisecond
	// undisturbedFactor is what hostile clients may make of a p99, unless it is below latencyFloor.
	undisturbedFactor, latencyFloor = 3, 50 * time.Millisecond
)

// TestHostileClients: while others send garbage, half handshakes, replayed frames, wrong tokens and floods to all ports of all
// nodes, each request of a well-behaved client succeeds; nothing of the others is left in state or nodes.
func TestHostileClients(t *testing.T) {
	// Limits that so few hostile clients reach, and the well-behaved one does not.
	c := seatsClusterOf(t, setup{set: map[string]string{
		"limits.rate_principal": "500", "limits.rate_principal_burst": "500", "limits.rate_unknown": "5", "limits.rate_unknown_burst": "5",
	}})
	c.putContract("load", 30)
	mustRun(t, "tls", "client", "desk", "--dir", c.dir)
	hostileToken := c.clientToken("hostile", apiv1.TokenCreation{Pools: []string{"busy"}})
	recorded := c.record()
	// From the same address: whoever guesses there does not lock out who has an API token.
	well, err := c.as(c.clientToken("well", apiv1.TokenCreation{Pools: []string{"busy"}})).At(c.Follower().URL())
	if err != nil {
		t.Fatal(err)
	}
	before, contents := c.vitals(), c.contents()

	calm, disturbed := new(latencies), new(latencies)
	for range hostileRounds {
		calm.run(t, well)
		stop := c.disturb(hostileToken, recorded)
		disturbed.run(t, well)
		stop()
		calm.run(t, well)
	}
	t.Logf("p99 of a well-behaved client, median of rounds: %s undisturbed, %s beside hostile clients", calm.p99(), disturbed.p99())
	if limit := max(undisturbedFactor*calm.p99(), latencyFloor); *timed && disturbed.p99() > limit {
		t.Errorf("%s beside hostile clients is more than %s", disturbed.p99(), limit)
	}
	c.recovered(before)
	if after := c.contents(); after != contents {
		t.Errorf("the state has changed to\n%s\nfrom\n%s", after, contents)
	}
	if left := c.open("busy"); len(left.leases)+len(left.tickets) > 0 {
		t.Errorf("left in the pool: %s", left)
	}
	for _, n := range c.nodes {
		if _, text := n.scrape(token); !strings.Contains(text, `licet_refused_total{kind="rate_principal"}`) || !strings.Contains(text, `licet_refused_total{kind="rate_unknown"}`) {
			t.Errorf("%s has refused nobody for asking too often", n.id)
		}
	}
}

// clientToken makes an API token of a client.
func (c *Cluster) clientToken(name string, wanted apiv1.TokenCreation) string {
	c.t.Helper()
	wanted.Name, wanted.Role = name, "client"
	a, err := c.http.CreateToken(c.t.Context(), wanted)
	if err != nil {
		c.t.Fatal(err)
	}
	return a.Value.Token
}

// latencies are the times of each round's requests.
type latencies struct{ rounds [][]time.Duration }

// run has a client check out and in; none of its requests fails.
func (l *latencies) run(t *testing.T, well *client.Client) {
	t.Helper()
	var took []time.Duration
	for i, end := 0, time.Now().Add(hostilePhase); i < hostileOps && (i < 5 || time.Now().Before(end)); i++ {
		began := time.Now()
		a, err := well.Checkout(t.Context(), apiv1.Checkout{Pool: "busy", Product: "cad", User: fmt.Sprint("well-", i), Client: "ws"})
		if err == nil {
			_, err = well.Return(t.Context(), a.Value.Lease.ID, a.Value.Lease.Handle)
		}
		if err != nil {
			t.Fatalf("a well-behaved request: %v", err)
		}
		took = append(took, time.Since(began)/2)
	}
	slices.Sort(took)
	l.rounds = append(l.rounds, took)
}

func (l *latencies) p99() time.Duration {
	var all []time.Duration
	for _, r := range l.rounds {
		all = append(all, r[len(r)*99/100])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// vitals are what a node has open, by its own account.
type vitals struct{ goroutines, files, memory float64 }

func (c *Cluster) vitals() map[*Node]vitals {
	c.t.Helper()
	all := make(map[*Node]vitals)
	for _, n := range c.nodes {
		var text string
		eventually(c.t, n.id+" tells its figures", func() error {
			var status int
			if status, text = n.scrape(token); status != http.StatusOK {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
		figure := func(name string) float64 {
			for line := range strings.Lines(text) {
				if value, ok := strings.CutPrefix(line, name+" "); ok {
					x, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
					if err != nil {
						c.t.Fatal(err)
					}
					return x
				}
			}
			return 0
		}
		all[n] = vitals{figure("go_goroutines"), figure("process_open_fds"), figure("process_resident_memory_bytes")}
	}
	return all
}

// recovered waits until the nodes have no more open than before, but for what comes and goes.
func (c *Cluster) recovered(before map[*Node]vitals) {
	c.t.Helper()
	eventually(c.t, "goroutines, files and memory are as before", func() error {
		for n, now := range c.vitals() {
			was := before[n]
			if now.goroutines > was.goroutines+20 || now.files > was.files+20 || now.memory > was.memory+100<<20 {
				return fmt.Errorf("%s: %+v, before %+v", n.id, now, was)
			}
		}
		return nil
	})
}

// recording is what others have sent before.
type recording struct {
	// packets and streams are of gossip, which is encrypted; node are the bytes of a node's TLS connection, with what it sent in it.
	packets, streams [][]byte
	node             [][]byte
}

// record stands in for a node that is down and keeps what the others send to it, and what a node's own certificate sends.
func (c *Cluster) record() *recording {
	t := c.t
	t.Helper()
	r := new(recording)
	for _, protocol := range []string{"h2", "licet-raft/1"} {
		r.node = append(r.node, c.recordNode(protocol))
	}
	down := c.Follower()
	// Not Stop: who leaves is not asked for any more.
	down.Kill()
	packets, err := net.ListenPacket("udp", down.at(down.gPort))
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	streams, err := net.Listen("tcp", down.at(down.gPort))
	if err != nil {
		t.Fatal(err)
	}
	defer streams.Close()
	got := make(chan []byte, 1000)
	go func() {
		for {
			c, err := streams.Accept()
			if err != nil {
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
			text, _ := io.ReadAll(c)
			_ = c.Close()
			select {
			case got <- text:
			default:
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for len(r.packets) < 3 {
		if err := packets.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		n, _, err := packets.ReadFrom(buffer)
		if err != nil {
			t.Fatalf("nobody gossips with a node that was stopped: %v", err)
		}
		r.packets = append(r.packets, slices.Clone(buffer[:n]))
	}
	// The others try TCP when UDP is not answered; if they do not in time, there is less to replay.
	select {
	case text := <-got:
		r.streams = append(r.streams, text)
	case <-time.After(2 * time.Second):
	}
	_ = streams.Close()
	_ = packets.Close()
	down.Start()
	c.WaitReady(down)
	return r
}

// recordNode keeps the bytes with which a node begins a connection.
func (c *Cluster) recordNode(protocol string) []byte {
	t := c.t
	t.Helper()
	id := c.nodes[0].id
	pair, err := tls.LoadX509KeyPair(c.path(id+".pem"), c.path(id+"-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Dial("tcp", loopback(c.nodes[1].port))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if err := plain.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	kept := &keeping{Conn: plain}
	conn := tls.Client(kept, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS13})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("a node's own certificate is not admitted: %v", err)
	}
	// How a connection for calls begins, or one for Raft: the first byte of entries to append.
	first := map[string]string{"h2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "licet-raft/1": "\x00"}
	if _, err := conn.Write([]byte(first[protocol])); err != nil {
		t.Fatal(err)
	}
	return kept.sent
}

// keeping keeps what is written.
type keeping struct {
	net.Conn
	sent []byte
}

func (k *keeping) Write(p []byte) (int, error) {
	k.sent = append(k.sent, p...)
	return k.Conn.Write(p)
}

// disturb has hostile clients at all ports of all nodes until it is stopped.
func (c *Cluster) disturb(bearer string, r *recording) (stop func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	var attempts atomic.Int64
	for _, n := range c.nodes {
		for _, attack := range c.attacks(n, bearer, r) {
			all.Go(func() {
				tick := time.NewTicker(hostilePace)
				defer tick.Stop()
				for {
					select {
					case <-done:
						return
					case <-tick.C:
						attack()
						attempts.Add(1)
					}
				}
			})
		}
	}
	return func() {
		close(done)
		all.Wait()
		c.t.Logf("%d hostile attempts", attempts.Load())
	}
}

// attacks are what hostile clients do to one node, each once. How it answers is not looked at here.
func (c *Cluster) attacks(n *Node, bearer string, r *recording) []func() {
	var noise [][]byte
	for _, bytes := range hostileBytes() {
		noise = append(noise, bytes[:min(len(bytes), 64<<10)])
	}
	ports := []int{n.httpPort, n.port, n.gPort}
	any := func(list [][]byte) []byte {
		if len(list) == 0 {
			return nil
		}
		return list[rand.IntN(len(list))]
	}
	desk, err := tls.LoadX509KeyPair(c.path("client-desk.pem"), c.path("client-desk-key.pem"))
	if err != nil {
		c.t.Fatal(err)
	}
	request := func(method, path, body, token string) {
		if q, err := http.NewRequest(method, n.URL()+path, strings.NewReader(body)); err == nil {
			q.Header.Set("Authorization", "Bearer "+token)
			q.Header.Set("Content-Type", "application/json")
			if a, err := raw.Do(q); err == nil {
				_, _ = io.Copy(io.Discard, a.Body)
				_ = a.Body.Close()
			}
		}
	}
	item := `{"check_in":{"lease":1,"handle":"stolen"}}`
	bulk := `{"items":[` + strings.Repeat(item+",", 499) + item + `]}`
	return []func(){
		func() { throw("tcp", loopback(ports[rand.IntN(len(ports))]), any(noise)) },
		// Half a handshake, a body that never comes, a length beyond everything, a frame of gossip of 4 GiB.
		func() { throw("tcp", loopback(n.port), []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00}) },
		func() {
			throw("tcp", loopback(n.httpPort), []byte("POST /v1/bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775807\r\n\r\n{"))
		},
		func() { throw("tcp", loopback(n.gPort), append([]byte{10, 0xff, 0xff, 0xff, 0xff}, any(noise)...)) },
		func() { throw("udp", loopback(n.gPort), any(noise)) },
		func() { throw("udp", loopback(n.gPort), any(r.packets)) },
		func() { throw("tcp", loopback(n.gPort), any(r.streams)) },
		func() { throw("tcp", loopback(n.port), any(r.node)) },
		func() {
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", loopback(n.port), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{desk}, NextProtos: []string{"h2"}})
			if err == nil {
				_ = conn.Close()
			}
		},
		func() { request("GET", "/v1/status", "", "guess-"+strconv.Itoa(rand.Int())) },
		func() { request("POST", "/v1/bulk", bulk, bearer) },
		func() { request("POST", "/v1/leases/1/renew", `{"handle":"stolen"}`, bearer) },
		func() { flood(loopback(n.httpPort), 20) },
	}
}

// throw writes and waits a moment for an answer.
func throw(network, address string, data []byte) {
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Write(data[:min(len(data), 64<<10)]); err == nil && network == "tcp" {
		_, _ = c.Read(make([]byte, 256))
	}
}

// flood opens connections and says nothing.
func flood(address string, n int) {
	var open []net.Conn
	for range n {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			open = append(open, c)
		}
	}
	for _, c := range open {
		_ = c.Close()
	}
}

// TestReplayedFrames: the bytes of a node's own connection open none a second time.
func TestReplayedFrames(t *testing.T) {
	t.Parallel()
	c := startCluster(t, setup{})
	c.putContract("load", 30)
	before := c.contents()
	for _, protocol := range []string{"h2", "licet-raft/1"} {
		if err := send(loopback(c.nodes[1].port), c.recordNode(protocol)); err != nil {
			t.Errorf("%s: %v", protocol, err)
		}
	}
	if after := c.contents(); after != before {
		t.Errorf("the state has changed to\n%s\nfrom\n%s", after, before)
	}
}

// TestStolenSecrets (K4, K6): a handle is a secret like a token, good for whoever also has a token that reaches the lease;
// a borrow token ends its lease once, for a token of its pool and user.
func TestStolenSecrets(t *testing.T) {
	t.Parallel()
	c := seatsCluster(t)
	desk := c.as(c.clientToken("desk", apiv1.TokenCreation{Pools: []string{"desk"}, User: "ann"}))
	same := c.as(c.clientToken("same", apiv1.TokenCreation{Pools: []string{"desk"}}))
	other := c.as(c.clientToken("other", apiv1.TokenCreation{Pools: []string{"desk"}, User: "eve"}))
	elsewhere := c.as(c.clientToken("elsewhere", apiv1.TokenCreation{Pools: []string{"busy"}}))
	ctx := t.Context()
	a, err := desk.Checkout(ctx, apiv1.Checkout{Pool: "desk", Product: "cad", User: "ann", Client: "ws"})
	if err != nil {
		t.Fatal(err)
	}
	lease := a.Value.Lease
	for name, thief := range map[string]*client.Client{"another user's token": other, "another pool's token": elsewhere} {
		if _, err := thief.Renew(ctx, lease.ID, lease.Handle, 0); client.CodeOf(err) != apiv1.CodeForbidden {
			t.Errorf("%s renews with a stolen handle: %v", name, err)
		}
		if _, err := thief.Return(ctx, lease.ID, lease.Handle); client.CodeOf(err) != apiv1.CodeForbidden {
			t.Errorf("%s returns with a stolen handle: %v", name, err)
		}
	}
	if _, err := same.Renew(ctx, lease.ID, lease.Handle+"x", 0); client.CodeOf(err) != apiv1.CodeNotHolder {
		t.Errorf("a wrong handle: %v", err)
	}
	if _, err := same.Renew(ctx, lease.ID, lease.Handle, 0); err != nil {
		t.Errorf("the handle with another token that reaches the lease: %v", err)
	}
	b, err := desk.Checkout(ctx, apiv1.Checkout{Pool: "desk", Product: "cad", User: "ann", Client: "ws", BorrowDays: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, thief := range map[string]*client.Client{"another user's token": other, "another pool's token": elsewhere} {
		if _, err := thief.ReturnBorrow(ctx, b.Value.Lease.Token); client.CodeOf(err) != apiv1.CodeForbidden {
			t.Errorf("%s returns a borrow: %v", name, err)
		}
	}
	for _, already := range []bool{false, true} {
		back, err := desk.ReturnBorrow(ctx, b.Value.Lease.Token)
		if err != nil || back.Value.Already != already {
			t.Errorf("returned: %+v, %v, already %v", back, err, already)
		}
	}
	if left := c.open("desk"); len(left.leases) != 1 {
		t.Errorf("left: %s", left)
	}
}

// as is a client with another token than the operator's.
func (c *Cluster) as(bearer string) *client.Client {
	c.t.Helper()
	cl, err := client.New(client.Options{Endpoints: c.Endpoints(), Token: bearer, Timeout: patience})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

// TestLimitsOfAClient: the lease too many is refused whichever node is asked, also after the leader is gone; what is
// returned makes room.
func TestLimitsOfAClient(t *testing.T) {
	t.Parallel()
	c := seatsCluster(t)
	two := uint64(2)
	limited := c.as(c.clientToken("limited", apiv1.TokenCreation{Pools: []string{"desk"}, MaxLeases: &two}))
	take := func(user string) (*apiv1.Lease, error) {
		a, err := limited.Checkout(t.Context(), apiv1.Checkout{Pool: "desk", Product: "cad", User: user, Client: "ws"})
		if err != nil {
			return nil, err
		}
		return a.Value.Lease, nil
	}
	var all sync.WaitGroup
	var granted, refused atomic.Int64
	var one atomic.Pointer[apiv1.Lease]
	for i := range 6 {
		all.Go(func() {
			switch x, err := take(fmt.Sprint("user-", i)); {
			case err == nil:
				granted.Add(1)
				one.Store(x)
			case client.CodeOf(err) == apiv1.CodeClientLimitReached:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if granted.Load() != 2 || refused.Load() != 4 {
		t.Fatalf("%d granted, %d refused", granted.Load(), refused.Load())
	}
	leader := c.Leader()
	leader.Kill()
	if _, err := take("again"); client.CodeOf(err) != apiv1.CodeClientLimitReached || !strings.Contains(err.Error(), "2 are the most") {
		t.Errorf("after the leader's death: %v", err)
	}
	if _, err := limited.Return(t.Context(), one.Load().ID, one.Load().Handle); err != nil {
		t.Error(err)
	}
	if _, err := take("again"); err != nil {
		t.Errorf("after one was returned: %v", err)
	}
	leader.Start()
	c.WaitReady(leader)
	if self, err := limited.Principal(t.Context()); err != nil || self.Value.Token.Leases != 2 || self.Value.Token.MaxLeases != 2 {
		t.Error(errors.Join(err, fmt.Errorf("%+v", self)))
	}
	c.Settled()
}
