package rules_test

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/e2e/rules"
)

type (
	words map[string]func(*player, *testscript.TestScript, []string)
	// send has a request sent, by whichever client it is given.
	send func(context.Context, *client.Client) (reply, error)
	// writes are the words that send a write.
	writes map[string]func(*player, *testscript.TestScript, []string) send
)

// reply is what a request came to.
type reply struct {
	// value is one of apiv1's types, nil if the request was refused.
	value   any
	meta    client.Meta
	refusal *client.Error
}

// replied tells a refusal from a success, and both from all else.
func replied[T any](a *client.Answer[T], err error) (reply, error) {
	var e *client.Error
	switch {
	case err == nil:
		return reply{value: a.Value, meta: a.Meta}, nil
	case errors.As(err, &e) && (e.Status >= 400 && e.Status < 500 || e.Code == apiv1.CodeBadRequest):
		return reply{refusal: e, meta: e.Meta}, nil
	}
	return reply{}, err
}

type playerKey struct{}

// player plays a script on a cluster.
type player struct {
	*sites
	ctx context.Context
	// random says which node is asked; it is the same each time that the script is played.
	random *rand.Rand
	http   *http.Client

	actor string
	// request is the id of the next write, if a script gives one.
	request string
	dry     bool
	// outage is how long the time that passes next has no leader.
	outage time.Duration
	// paused is how long there was none so far, noted the state's clock when it was last looked at.
	paused time.Duration
	noted  time.Time
	last   reply

	serials map[string]uint64
	keys    map[string]string
	// seats are what scripts call by name, asked the one that the present command is about.
	seats map[string]*seat
	asked *seat

	// audited is the last row of the audit trail that was looked at, expired what the leader has ended since the last
	// expire, ended what the last one, or a change of a pool, told.
	audited uint64
	expired []*end
	ended   *end
}

func newPlayer(t testing.TB, script string) *player {
	name := fnv.New64a()
	_, _ = name.Write([]byte(script))
	carrier := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(carrier.CloseIdleConnections)
	return &player{
		sites: startSites(t), ctx: t.Context(), random: rand.New(rand.NewPCG(name.Sum64(), 0)), http: &http.Client{Transport: carrier},
		actor: "operator", noted: rules.Epoch, serials: map[string]uint64{}, keys: map[string]string{}, seats: map[string]*seat{},
	}
}

// client asks another node each time, and those after it if that one does not answer.
func (p *player) client(ts *testscript.TestScript, actor string) *client.Client {
	first := p.random.IntN(len(p.list))
	o := client.Options{Token: tokenOf(actor), Timeout: patience, Attempt: patience / 4, HTTPClient: p.http}
	for i := range p.list {
		o.Endpoints = append(o.Endpoints, p.list[(first+i)%len(p.list)].url())
	}
	c, err := client.New(o)
	ts.Check(err)
	return c
}

// reader is a client for reads.
func (p *player) reader(ts *testscript.TestScript) *client.Client { return p.client(ts, p.actor) }

// write sends, and sees that it is refused exactly where the script says so, with a "!".
func (p *player) write(ts *testscript.TestScript, neg bool, s send) {
	ctx := p.ctx
	if p.request != "" {
		ctx = client.WithRequestID(ctx, p.request)
	}
	dry := p.dry
	if dry {
		ctx = client.WithDryRun(ctx)
	}
	p.request, p.dry = "", false
	var err error
	if p.last, err = s(ctx, p.client(ts, p.actor)); err != nil {
		ts.Fatalf("%s: %v", client.CodeOf(err), err)
	}
	switch refusal := p.last.refusal; {
	case dry:
		p.noteEnd()
	case refusal != nil && !neg:
		ts.Fatalf("refused %s: %s", refusal.Code, refusal.Detail)
	case refusal == nil && neg:
		ts.Fatalf("accepted: %+v", p.last.value)
	case refusal == nil:
		p.noteInstance()
		p.noteSeat(p.last.value)
		p.noteEnd()
	}
	p.asked = nil
}

// play returns what testscript knows as the commands.
func play() map[string]func(*testscript.TestScript, bool, []string) {
	cmds := map[string]func(*testscript.TestScript, bool, []string){}
	for _, group := range []words{commonWords, timeWords, contractWords, seatWords, accountWords} {
		for word, run := range group {
			cmds[word] = func(ts *testscript.TestScript, neg bool, args []string) {
				if neg {
					ts.Fatalf("! is for what sends a write")
				}
				run(playerOf(ts), ts, args)
			}
		}
	}
	for word, sender := range allWrites() {
		cmds[word] = func(ts *testscript.TestScript, neg bool, args []string) {
			p := playerOf(ts)
			p.write(ts, neg, sender(p, ts, args))
		}
	}
	return cmds
}

func playerOf(ts *testscript.TestScript) *player {
	p := ts.Value(playerKey{}).(*player)
	p.fatalf = ts.Fatalf
	return p
}

func allWrites() writes {
	all := writes{}
	for _, group := range []writes{contractWrites, seatWrites, accountWrites} {
		maps.Copy(all, group)
	}
	return all
}

var commonWords = words{
	"actor": (*player).cmdActor, "request": (*player).cmdRequest, "dry-run": (*player).cmdDryRun, "requests": (*player).cmdRequests,
	"refused": (*player).cmdRefused, "says": (*player).cmdSays, "repeated": (*player).cmdRepeated, "remembered": (*player).cmdRemembered,
	"audit": (*player).cmdAudit,
}

func (p *player) cmdActor(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "actor NAME")
	if !slices.Contains(actors, args[0]) {
		ts.Fatalf("the nodes have no token of %s", args[0])
	}
	p.actor = args[0]
}

func (p *player) cmdRequest(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "request ID")
	p.request = args[0]
}

// cmdDryRun tells instead of doing: dry-run WRITE...; a refusal is then expected by "refused".
func (p *player) cmdDryRun(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "dry-run WRITE...")
	sender, ok := allWrites()[args[0]]
	if !ok {
		ts.Fatalf("%q is no write", args[0])
	}
	p.dry = true
	p.write(ts, false, sender(p, ts, args[1:]))
}

// cmdRequests sends N harmless requests under new ids, to all nodes at once.
func (p *player) cmdRequests(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "requests N")
	rest := int(rules.Number(ts, args[0]))
	for rest > 0 {
		n := min(rest, 64)
		rest -= n
		failures := make(chan error, n)
		for range n {
			c := p.client(ts, p.actor)
			go func() {
				a, err := replied(c.RemoveInstance(p.ctx, nowhere))
				if err == nil && a.refusal.Code != apiv1.CodeInstanceNotFound {
					err = a.refusal
				}
				failures <- err
			}()
		}
		for range n {
			ts.Check(<-failures)
		}
	}
}

// malformed are the codes of what no state machine gets to see, or has decoded.
var malformed = []apiv1.Code{apiv1.CodeInvalid, apiv1.CodeBadRequest}

func (p *player) cmdRefused(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "refused CODE [FACT=VALUE...]")
	e := p.last.refusal
	if e == nil {
		ts.Fatalf("the last answer is no refusal: %+v", p.last.value)
	}
	if want := apiv1.Code(args[0]); e.Code != want && (want != apiv1.CodeInvalid || !slices.Contains(malformed, e.Code)) {
		ts.Fatalf("refusal %q instead of %q: %s", e.Code, want, e.Detail)
	}
	for name, want := range rules.Pairs(ts, args[1:]) {
		if f, ok := e.Facts[name]; !ok || f.String() != want {
			ts.Fatalf("fact %s is not %q in %v", name, want, e.Facts)
		}
	}
}

// cmdSays holds the sentence of the last refusal against the script's.
func (p *player) cmdSays(ts *testscript.TestScript, args []string) {
	if p.last.refusal == nil {
		ts.Fatalf("the last answer is no refusal: %+v", p.last.value)
	}
	rules.Expect(ts, "the refusal", p.last.refusal.Detail, strings.Join(args, " "))
}

func (p *player) cmdRepeated(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "repeated yes|no")
	if p.last.meta.Repeated && p.last.meta.Attempts > 1 {
		return // The client itself had to repeat it.
	}
	rules.Expect(ts, "repeated", rules.YesNo(p.last.meta.Repeated), args[0])
}

// status is that of a node that has what was acknowledged.
func (p *player) status(ts *testscript.TestScript) apiv1.StateSummary {
	c := p.reader(ts)
	read, err := c.Settings(p.ctx)
	ts.Check(err)
	for {
		a, err := c.Status(p.ctx)
		ts.Check(err)
		if a.Value.State.Index >= read.Index {
			return a.Value.State
		}
	}
}

func (p *player) cmdRemembered(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "remembered N")
	rules.Expect(ts, "remembered requests", p.status(ts).Requests, rules.Number(ts, args[0]))
}

// cmdAudit holds the last row of the audit trail against what happened.
func (p *player) cmdAudit(ts *testscript.TestScript, args []string) {
	rules.Need(ts, args, 1, "audit KIND [refused=CODE] [actor=NAME]")
	list, err := p.reader(ts).Audit(p.ctx, client.AuditPage{Limit: 1})
	ts.Check(err)
	row := list.Value.Rows[0]
	more := rules.Pairs(ts, args[1:])
	want := "ok"
	if code, ok := more["refused"]; ok {
		want = code
	}
	rules.Expect(ts, "kind", row.Kind, args[0])
	rules.Expect(ts, "outcome", row.Outcome, want)
	if actor, ok := more["actor"]; ok {
		rules.Expect(ts, "actor", row.Actor, actor)
	}
}
