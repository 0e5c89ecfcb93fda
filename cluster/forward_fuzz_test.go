package cluster

import (
	"bytes"
	"crypto/ed25519"
	"strconv"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/protobuf/proto"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// forwardMs is the wall time at which frames come.
const forwardMs = 1_780_000_000_000

// stopped is a clock that says that time always.
type stopped struct{}

func (stopped) Now() (wall, steady time.Time) {
	return time.UnixMilli(forwardMs), time.UnixMilli(forwardMs)
}

// tokenState is the state of a cluster with four tokens: an operator's, an auditor's, one that was revoked, and one that has ended.
func tokenState(t testing.TB) *fsm.View {
	t.Helper()
	s := fsm.New()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	commands := []*fsmpb.Command{command(t, "", "", &fsmpb.Body{Kind: &fsmpb.Body_Initialise{Initialise: &fsmpb.Initialise{
		ClusterId: "test", VendorKeys: [][]byte{key}, SigningKey: key,
	}}})}
	for i, role := range []fsm.Role{fsm.Operator, fsm.Auditor, fsm.Operator, fsm.Operator} {
		commands = append(commands, command(t, formerOperator, "make-"+strconv.Itoa(i), &fsmpb.Body{Kind: &fsmpb.Body_CreateToken{CreateToken: &fsmpb.CreateToken{
			Name: "t", Role: string(role), Hash: bytes.Repeat([]byte{byte(i + 1)}, 32), ExpiryMs: map[int]int64{3: forwardMs - 1}[i],
		}}}))
	}
	commands = append(commands, command(t, formerOperator, "revoke", &fsmpb.Body{Kind: &fsmpb.Body_RevokeToken{RevokeToken: &fsmpb.RevokeToken{Token: 3}}}))
	data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 1, WallMs: forwardMs - 1000, Commands: commands})
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := s.Apply(1, 1, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range outcomes {
		if o.Refusal != nil {
			t.Fatal(o.Refusal)
		}
	}
	return s.View()
}

func command(t testing.TB, actor, id string, body *fsmpb.Body) *fsmpb.Command {
	t.Helper()
	c, err := fsm.NewCommand(actor, id, body)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forwardSeeds are frames as nodes send them, and as they never would: of each kind of principal, under its own name and under another.
func forwardSeeds(t testing.TB) (seeds [][]byte) {
	t.Helper()
	body := &fsmpb.Body{Kind: &fsmpb.Body_RemoveInstance{RemoveInstance: &fsmpb.RemoveInstance{Serial: 1}}}
	frames := [][]*clusterpb.Forwarded{
		{nil, {}},
		{{Command: command(t, formerOperator, "a", body)}, {Command: command(t, "nobody", "b", body)}},
		{{Command: &fsmpb.Command{Actor: formerOperator, RequestId: "a", Body: []byte{0xff}}, TimeoutMs: -1 << 63, Traceparent: "00-"}},
	}
	for _, p := range []fsm.Principal{
		{Kind: fsm.ByFile, ID: formerOperator, Role: fsm.Root},
		{Kind: fsm.ByProcess, ID: "lyon", Role: fsm.Root},
		{Kind: "x", ID: "y", Role: fsm.Root},
		{Kind: fsm.ByToken, ID: "1", Role: fsm.Operator},
		{Kind: fsm.ByToken, ID: "2", Role: fsm.Operator},
		{Kind: fsm.ByToken, ID: "3", Role: fsm.Operator},
		{Kind: fsm.ByToken, ID: "4", Role: fsm.Operator},
		{Kind: fsm.ByToken, ID: "1", Role: fsm.Root},
		{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Operator},
		{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Root},
		{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Operator, Scope: fsm.Scope{Site: "lyon"}},
		{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.SiteOperator, Scope: fsm.Scope{Site: "lyon"}},
		{Kind: fsm.ByIssuer, Role: fsm.Auditor},
	} {
		var list []*clusterpb.Forwarded
		for _, actor := range []string{p.Actor(), "another"} {
			list = append(list, &clusterpb.Forwarded{
				Command: command(t, actor, "r-"+strconv.Itoa(len(frames)), body), TimeoutMs: 1000, Principal: principalProto(p),
				Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			})
		}
		frames = append(frames, list)
	}
	for _, list := range frames {
		text, err := proto.Marshal(&clusterpb.ForwardRequest{Commands: list})
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, text)
	}
	return seeds
}

// FuzzForward gives the leader a frame of another node, of any bytes. What it takes stops no replica, and is somebody's who may.
func FuzzForward(f *testing.F) {
	view := tokenState(f)
	n := &Node{
		options: Options{ID: "lyon", Tracer: noop.NewTracerProvider().Tracer("")}, clock: newClock(stopped{}, time.Second), replica: newReplica(time.Now, nil),
	}
	n.replica.view.Store(view)
	for _, seed := range forwardSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		request := new(clusterpb.ForwardRequest)
		if proto.Unmarshal(frame, request) != nil {
			return
		}
		var taken []*fsmpb.Command
		for _, sent := range request.Commands {
			p := received(n, sent, time.Now())
			if p.command == nil || n.checkCommand(p.command) != nil || n.judge(p) != nil {
				continue
			}
			checkTaken(t, view, p)
			taken = append(taken, p.command)
		}
		data, err := fsm.EncodeEntry(&fsmpb.Entry{Term: 2, WallMs: forwardMs, Commands: taken})
		if err != nil {
			t.Fatal(err)
		}
		if outcomes, err := view.Fork().Apply(view.Index()+1, 2, data); err != nil || len(outcomes) != len(taken) {
			t.Fatalf("what the leader takes stops replicas: %d outcomes of %d, %v", len(outcomes), len(taken), err)
		}
	})
}

// checkTaken sees that a command is that of somebody who may have one decided.
func checkTaken(t *testing.T, view *fsm.View, p *proposal) {
	t.Helper()
	who := p.principal
	if who.Kind == fsm.ByProcess {
		return // nodes believe each other
	}
	if p.command.Actor != who.Actor() {
		t.Fatalf("%+v has a command of %q decided", who, p.command.Actor)
	}
	role := who.Role
	switch who.Kind {
	case fsm.ByFile:
		return
	case fsm.ByToken:
		id, err := strconv.ParseUint(who.ID, 10, 64)
		token := view.Token(id)
		if err != nil || token == nil || token.Expired(forwardMs) {
			t.Fatalf("a token that is none, or has ended: %+v", who)
		}
		role = token.Principal().Role
	case fsm.ByCertificate, fsm.ByIssuer:
		if err := who.Check(); err != nil {
			t.Fatalf("%+v: %v", who, err)
		}
	default:
		t.Fatalf("nothing proves %+v", who)
	}
	if role == fsm.Root || role == fsm.Auditor || role == fsm.Scraper || role == "" {
		t.Fatalf("the role %q has a command decided: %+v", role, who)
	}
}
