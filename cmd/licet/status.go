package main

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// statusTimeout bounds the wait for each node: one that is down must not hide the others.
const statusTimeout = 3 * time.Second

func statusCommand(streams Streams) *cli.Command {
	return verb{
		name: "status", usage: "show every node on one screen, what is wrong and what to do about it", run: showStatus,
		flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "ask also the members that are not among the endpoints, where they say they serve"}},
		about: "It exits with 0 if a leader was seen, with 6 if not, and with 1 if nodes contradict each other.\n" +
			"As JSON it prints {\"nodes\": [...]}, each with its endpoint and its status or the problem.",
	}.command(streams)
}

// seen is what became of asking one node.
type seen struct {
	Endpoint string          `json:"endpoint"`
	Status   json.RawMessage `json:"status,omitempty"`
	Problem  json.RawMessage `json:"problem,omitempty"`
	value    *apiv1.NodeStatus
	err      error
}

func showStatus(s *session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	nodes := askAll(s.context(), c, c.Endpoints())
	members := membersOf(s.context(), c, nodes)
	if s.Bool("all") {
		nodes = append(nodes, askAll(s.context(), c, unasked(nodes, members))...)
	}
	found := examine(nodes, members)
	err = s.printOwn(map[string]any{"nodes": nodes}, func(p *page) { showNodes(p, nodes, found) })
	if err != nil || found.code == exitOK {
		return err
	}
	return &failure{code: found.code, word: found.word, detail: found.summary, next: found.next}
}

// askAll asks nodes side by side; the result is in the order of the endpoints.
func askAll(ctx context.Context, c *client.Client, endpoints []string) []seen {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	nodes := make([]seen, len(endpoints))
	var asked sync.WaitGroup
	for i, endpoint := range endpoints {
		asked.Go(func() { nodes[i] = askOne(ctx, c, endpoint) })
	}
	asked.Wait()
	return nodes
}

func askOne(ctx context.Context, c *client.Client, endpoint string) seen {
	x := seen{Endpoint: endpoint}
	one, err := c.At(endpoint)
	if err == nil {
		var a *client.Answer[apiv1.NodeStatus]
		if a, err = one.Status(ctx); err == nil {
			x.Status, x.value = a.Raw, &a.Value
			return x
		}
	}
	_, x.Problem = asFailure(err)
	x.err = err
	return x
}

// membersOf asks who should be there; nil if nobody knows.
func membersOf(ctx context.Context, c *client.Client, nodes []seen) []apiv1.Member {
	if !slices.ContainsFunc(nodes, func(x seen) bool { return x.value != nil && x.value.Leader != "" }) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	a, err := c.Members(ctx)
	if err != nil {
		return nil
	}
	return a.Value.Members
}

// unasked are the addresses of members that no endpoint answered for.
func unasked(nodes []seen, members []apiv1.Member) []string {
	var more []string
	for _, m := range members {
		asked := slices.ContainsFunc(nodes, func(x seen) bool {
			return strings.TrimRight(m.HTTP, "/") == x.Endpoint || x.value != nil && x.value.ID == m.ID
		})
		if !asked && m.HTTP != "" {
			more = append(more, m.HTTP)
		}
	}
	return more
}

func showNodes(p *page, nodes []seen, found findings) {
	var rows [][]string
	for _, x := range nodes {
		if x.value == nil {
			rows = append(rows, []string{"", x.Endpoint, "", "", "", "", "", "", "no"})
			continue
		}
		v := x.value
		rows = append(rows, []string{
			v.ID, x.Endpoint, v.Site, string(v.Role), v.Leader, number(v.Consensus.Term), number(v.State.Index), short(v.State.Digest), yesNo(v.Ready),
		})
	}
	p.table([]string{"NODE", "ENDPOINT", "SITE", "ROLE", "LEADER", "TERM", "INDEX", "DIGEST", "READY"}, rows)
	showVitals(p, nodes)
	p.line("\n%s", clean(found.summary))
	found.show(p)
}

// show tells what is wrong and what to do.
func (f *findings) show(p *page) {
	for _, wrong := range f.wrong {
		p.line("- %s", clean(wrong.what))
		p.line("  next: %s", clean(wrong.next))
	}
}

// showVitals shows what a node is healthy by, of the nodes that answered.
func showVitals(p *page, nodes []seen) {
	var rows [][]string
	for _, x := range nodes {
		if v := x.value; v != nil {
			behind := v.Consensus.CommitIndex - min(v.Consensus.CommitIndex, v.Consensus.AppliedIndex)
			rows = append(rows, []string{
				v.ID, v.Version, number(behind), contact(v.Consensus.LastContactMs), strconv.Itoa(v.Queue.Waiting), trust(v.Clock), space(v.Disk), until(v.CertificateEnds),
			})
		}
	}
	if rows != nil {
		p.line("")
		p.table([]string{"NODE", "VERSION", "TO APPLY", "LAST CONTACT", "WAITING", "CLOCK", "DISK FREE", "CERTIFICATE"}, rows)
	}
}

func trust(c *apiv1.ClockStatus) string {
	switch {
	case c == nil:
		return ""
	case c.Believed:
		return "believed"
	}
	return "not believed"
}

func space(d *apiv1.DiskSpace) string {
	if d == nil {
		return ""
	}
	return amountOf(d.FreeBytes) + " (" + shareOf(d) + ")"
}

func until(ends *time.Time) string {
	if ends == nil {
		return ""
	}
	return ending(*ends, time.Now())
}

func short(digest string) string { return digest[:min(12, len(digest))] }
