package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/licet/licet/fsm/fsmpb"
)

// TestRules plays e2e/testdata/rules: one script for each rule, and the whole texts.
// README.md there explains the commands.
func TestRules(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:       filepath.Join("..", "e2e", "testdata", "rules"),
		Cmds:      ruleCommands(),
		Condition: func(name string) (bool, error) { return name == "state", nil },
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			w := newWorld(t)
			env.Values[worldKey{}] = w
			// Runs also after a script that failed; then there is nothing to add.
			t.Cleanup(func() {
				if !t.Failed() {
					w.finish()
				}
			})
			return nil
		},
	})
}

type worldKey struct{}

// world is a cluster of one state in a script's hands.
type world struct {
	t     tb
	s     *State
	log   []logged
	term  uint64
	now   time.Time
	pause time.Duration
	// stamped overrides the term in the next entry.
	stamped uint64
	actor   string
	// request overrides the id of the next command.
	request string
	ids     int

	dry     bool
	last    *fsmpb.Outcome
	serials map[string]uint64
	keys    map[string]string
	// seats are what scripts call by name, asked the one that the present command is about.
	seats map[string]*seat
	asked *seat
}

type logged struct {
	index, term uint64
	data        []byte
}

func newWorld(t tb) *world {
	w := &world{
		t: t, s: New(), term: 1, now: testEpoch, actor: testActor,
		serials: map[string]uint64{}, keys: map[string]string{}, seats: map[string]*seat{},
	}
	w.propose(initialiseBody())
	return w
}

// finish is checked after each script: replicas and snapshots agree to the last bit.
func (w *world) finish() {
	checkState(w.t, w.s)
	checkRestored(w.t, w.s)
	second := New()
	for _, e := range w.log {
		if _, err := second.Apply(e.index, e.term, e.data); err != nil {
			w.t.Fatalf("second replica: %v", err)
		}
	}
	if second.Digest() != w.s.Digest() {
		w.t.Fatal("a second replica, fed the same entries, has another digest")
	}
}

// propose has commands decided in one entry, or told by a dry run (K7).
func (w *world) propose(bodies ...*fsmpb.Body) *fsmpb.Outcome {
	w.t.Helper()
	var commands []*fsmpb.Command
	for _, body := range bodies {
		commands = append(commands, w.command(body))
	}
	before := licensing(w.s)
	if w.dry {
		w.last = w.dryRun(commands[0])
	} else {
		w.last = nil
		for _, o := range w.apply(commands) {
			w.last = o
		}
	}
	if w.last.GetRefusal() != nil || w.dry {
		checkRefusalText(w.t, w.last.Refusal)
		if len(bodies) == 1 && licensing(w.s) != before {
			w.t.Fatalf("refusal %s or dry run changed the state", w.last.Refusal.GetCode())
		}
	}
	w.dry = false
	return w.last
}

func (w *world) command(body *fsmpb.Body) *fsmpb.Command {
	id := w.request
	if w.request = ""; id == "" {
		w.ids++
		id = fmt.Sprintf("script-%d", w.ids)
	}
	c, err := NewCommand(w.actor, id, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) apply(commands []*fsmpb.Command) []*fsmpb.Outcome {
	e := &fsmpb.Entry{Term: w.term, WallMs: w.now.UnixMilli(), PauseMs: w.pause.Milliseconds(), Commands: commands}
	if w.stamped != 0 {
		e.Term = w.stamped
	}
	w.pause, w.stamped = 0, 0
	data, err := EncodeEntry(e)
	if err != nil {
		w.t.Fatal(err)
	}
	index := w.s.index + 1
	outcomes, err := w.s.Apply(index, w.term, data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = append(w.log, logged{index, w.term, data})
	return outcomes
}

func (w *world) dryRun(c *fsmpb.Command) *fsmpb.Outcome {
	v, before := w.s.View(), w.s.Digest()
	rows := snapshotBytes(w.t, v)
	o, err := v.DryRun(c, w.now.UnixMilli())
	if err != nil {
		w.t.Fatal(err)
	}
	if w.s.Digest() != before || !bytes.Equal(snapshotBytes(w.t, v), rows) {
		w.t.Fatal("K7: a dry run changed the state")
	}
	return o
}

// note keeps what later lines refer to by name: serial numbers and every key revision.
func (w *world) note(o *fsmpb.Outcome) {
	w.noteSeat(o)
	if o.GetInstance() == nil || w.dry {
		return
	}
	x := InstanceStatusFromProto(o.GetInstance())
	w.serials[x.Name] = x.Serial
	w.noteKey(x)
}

func (w *world) noteKey(x InstanceStatus) string {
	key, err := x.LicenseKey(testCluster).Sign(clusterKey)
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys[fmt.Sprintf("%s/%d", x.Name, x.KeyRevision)] = key
	return key
}

func (w *world) instance(ts *testscript.TestScript, name string) InstanceStatus {
	serial, ok := w.serials[name]
	if !ok {
		ts.Fatalf("no instance %q so far", name)
	}
	x, refusal := w.s.View().Instance(serial)
	if refusal != nil {
		ts.Fatalf("%s", Detail(refusal))
	}
	return x
}

func (w *world) contract(ts *testscript.TestScript, id string) ContractStatus {
	c, ok := w.s.View().Contract(id)
	if !ok {
		ts.Fatalf("no contract %q", id)
	}
	return c
}

// ruleCommands are the words of the scripts.
func ruleCommands() map[string]func(*testscript.TestScript, bool, []string) {
	words := map[string]func(w *world, ts *testscript.TestScript, args []string){
		// What happens.
		"at": (*world).cmdAt, "node-clock": (*world).cmdNodeClock, "outage": (*world).cmdOutage, "leader": (*world).cmdLeader, "stamped-in": (*world).cmdStampedIn,
		"actor": (*world).cmdActor, "request": (*world).cmdRequest, "dry-run": (*world).cmdDryRun, "requests": (*world).cmdRequests,
		// What must be so.
		"refused": (*world).cmdRefused, "repeated": (*world).cmdRepeated, "must-remove": (*world).cmdMustRemove, "key": (*world).cmdKey,
		"serial": (*world).cmdSerial, "free": (*world).cmdFree, "allocated": (*world).cmdAllocated, "over": (*world).cmdOver,
		"state": (*world).cmdState, "clock": (*world).cmdClock, "due": (*world).cmdDue, "remembered": (*world).cmdRemembered,
		"expired": (*world).cmdExpired,
	}
	maps.Copy(words, accountWords)
	maps.Copy(words, seatWords)
	cmds := map[string]func(*testscript.TestScript, bool, []string){}
	for word, run := range words {
		cmds[word] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("! is for what proposes a command, and dry-run")
			}
			run(ts.Value(worldKey{}).(*world), ts, args)
		}
	}
	for word, body := range writes {
		cmds[word] = func(ts *testscript.TestScript, neg bool, args []string) {
			w := ts.Value(worldKey{}).(*world)
			w.write(ts, neg, body(w, ts, args))
		}
	}
	return cmds
}

// write proposes and sees that it is refused exactly where the script says so, with a "!".
func (w *world) write(ts *testscript.TestScript, neg bool, body *fsmpb.Body) {
	dry := w.dry
	o := w.propose(body)
	switch {
	case o.Refusal != nil && !neg:
		ts.Fatalf("refused %s: %s", o.Refusal.Code, Detail(o.Refusal))
	case o.Refusal == nil && neg:
		ts.Fatalf("accepted: %v", o)
	case o.Refusal == nil && !dry:
		w.note(o)
	}
	w.asked = nil
}
