package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/raft"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

const announcedFile = "announced.json"

// foundingKinds are known to every build whose formats this one reads. A voter that was never heard of may be as old.
var foundingKinds = []int32{
	1, 2, 3, 4, 5, 6, 7, 8,
	20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
	40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
}

// foundingSnapshot is the snapshot version that all of those builds read.
const foundingSnapshot = 1

// announcement is what a node says that it can read.
type announcement struct {
	Version string `json:"version"`
	// Kinds are the numbers of command kinds.
	Kinds []int32 `json:"kinds"`
	// Words are hashes of the names of all fields within commands; none from builds that did not say.
	Words []uint32 `json:"words"`
	// Snapshot is the newest version of snapshots that it reads.
	Snapshot uint32 `json:"snapshot_version"`
	// lacks are the words of this build that the node does not know.
	lacks map[string]bool
}

func announcementOf(r *clusterpb.ProbeReply) announcement {
	return announcement{Version: r.Version, Kinds: r.Kinds, Words: r.Words, Snapshot: r.SnapshotVersion}
}

func (a announcement) equal(b announcement) bool {
	return a.Version == b.Version && a.Snapshot == b.Snapshot && slices.Equal(a.Kinds, b.Kinds) && slices.Equal(a.Words, b.Words)
}

// unheard is what a member surely reads that never told.
var unheard = announcement{Version: "unknown", Kinds: foundingKinds, Snapshot: foundingSnapshot}.compared()

// compared is the announcement with what this build has ahead of it.
func (a announcement) compared() announcement {
	a.lacks = map[string]bool{}
	for _, w := range ownWords {
		known := len(a.Words) == 0 || slices.Contains(a.Words, w.hash)
		if w.kind != 0 {
			known = slices.Contains(a.Kinds, w.kind)
		}
		if !known {
			a.lacks[w.name] = true
		}
	}
	return a
}

// vocabulary remembers what the other members announced, also while they or this node
// are down: during an upgrade nobody may write what another member could not read.
// Safe for concurrent use.
type vocabulary struct {
	node, path string
	own        atomic.Pointer[announcement]

	// members are replaced, never changed in place; changing is held while they and the file are.
	members  atomic.Pointer[map[string]announcement]
	changing sync.Mutex
}

// openVocabulary reads what an earlier process learnt. A damaged file counts as none.
func openVocabulary(dir, node, version string) (*vocabulary, error) {
	v := &vocabulary{node: node, path: filepath.Join(dir, announcedFile)}
	own := announcement{Version: version, Kinds: fsm.Known(), Snapshot: fsm.SnapshotVersion}
	for _, w := range ownWords {
		own.Words = append(own.Words, w.hash)
	}
	v.own.Store(&own)
	members := map[string]announcement{}
	v.members.Store(&members)
	text, err := os.ReadFile(v.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, nil
	case err != nil:
		return nil, err
	case json.Unmarshal(text, &members) != nil:
		clear(members)
	}
	for id, a := range members {
		members[id] = a.compared()
	}
	return v, nil
}

// of is what a member announced last.
func (v *vocabulary) of(id string) announcement {
	if id == v.node {
		return *v.own.Load()
	}
	if a, ok := (*v.members.Load())[id]; ok {
		return a
	}
	return unheard
}

// hear takes a member's announcement. What is news is on disk before it returns; whoever is no member is forgotten then.
func (v *vocabulary) hear(id string, a announcement, isMember func(string) bool) error {
	if before, ok := (*v.members.Load())[id]; ok && before.equal(a) {
		return nil
	}
	v.changing.Lock()
	defer v.changing.Unlock()
	members := maps.Clone(*v.members.Load())
	maps.DeleteFunc(members, func(id string, _ announcement) bool { return !isMember(id) })
	members[id] = a.compared()
	v.members.Store(&members)
	text, err := json.Marshal(members)
	if err != nil {
		return err
	}
	err = renameio.WriteFile(v.path, append(text, '\n'), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // The directory is being removed.
	}
	return err
}

// gate holds back what some voters don't know; it is nil, and nothing needs a look, if all know all.
type gate map[string]announcement

func (v *vocabulary) gate(voters []string) gate {
	var g gate
	for _, id := range voters {
		if a := v.of(id); len(a.lacks) > 0 {
			if g == nil {
				g = gate{}
			}
			g[id] = a
		}
	}
	return g
}

// refuse says which voters must be upgraded before a command can be proposed, nil if none must.
func (g gate) refuse(body *fsmpb.Body) *Error {
	var behind []string
	missing := ""
	for _, id := range slices.Sorted(maps.Keys(g)) {
		if name := foreign(body.ProtoReflect(), g[id].lacks); name != "" {
			missing = strings.TrimPrefix(name, "licet.fsm.v1.")
			behind = append(behind, fmt.Sprintf("%s (version %s)", id, g[id].Version))
		}
	}
	if behind == nil {
		return nil
	}
	return errorf(Unsupported, "The command needs %s, which not every voter knows yet; to be upgraded: %s. Nothing was done.", missing, strings.Join(behind, ", "))
}

// refuseEncoded is refuse for a command whose body was checked before.
func (g gate) refuseEncoded(c *fsmpb.Command) *Error {
	if g == nil {
		return nil
	}
	body, err := fsm.DecodeBody(c.GetBody())
	if err != nil {
		return errorf(Unsupported, "The command can't be read: %v.", err)
	}
	return g.refuse(body)
}

// gate holds back what some voter does not know now.
func (n *Node) gate() gate {
	var voters []string
	for _, m := range n.members() {
		if m.Suffrage == raft.Voter {
			voters = append(voters, string(m.ID))
		}
	}
	return n.vocabulary.gate(voters)
}

// dropUnreadable answers those whose commands some voter could not read, before anything was done for them.
func (n *Node) dropUnreadable(batch []*proposal) []*proposal {
	g := n.gate()
	if g == nil {
		return batch
	}
	kept := batch[:0]
	for _, p := range batch {
		if fault := g.refuseEncoded(p.command); fault != nil {
			p.done <- answer{err: fault}
		} else {
			kept = append(kept, p)
		}
	}
	return kept
}

// hear takes note of what a member can read.
func (n *Node) hear(r *clusterpb.ProbeReply) {
	list, members := n.members(), map[string]bool{}
	for _, m := range list {
		members[string(m.ID)] = true
	}
	if !members[r.Node] || r.Node == n.options.ID {
		return
	}
	n.progress.note(r.Node, r.AppliedIndex, list)
	if err := n.vocabulary.hear(r.Node, announcementOf(r), func(id string) bool { return members[id] }); err != nil {
		n.fail(fmt.Errorf("the data directory can't be written: %w; %s", err, remedy(err)))
	}
}

// snapshotReadable returns an error while a member could not read a snapshot of this build.
func (n *Node) snapshotReadable() error {
	var members []string
	for _, m := range n.members() {
		members = append(members, string(m.ID))
	}
	return n.vocabulary.readableByAll(members)
}

// readableByAll returns an error that names the members which could not read a snapshot of this build.
func (v *vocabulary) readableByAll(members []string) error {
	var behind []string
	for _, id := range members {
		if a := v.of(id); a.Snapshot < fsm.SnapshotVersion {
			behind = append(behind, fmt.Sprintf("%s (version %s) up to %d", id, a.Version, a.Snapshot))
		}
	}
	if behind == nil {
		return nil
	}
	return fmt.Errorf("no snapshot is written while members could not read its version %d; to be upgraded: %s", fsm.SnapshotVersion, strings.Join(behind, ", "))
}
