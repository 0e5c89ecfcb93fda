package cluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/fsm"
)

// kept is a log that can be read while it is written.
type kept struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text.Write(p)
}

// lines are those of package cluster itself that are worth an operator's while.
func (k *kept) lines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, text := range strings.Split(strings.TrimSpace(k.text.String()), "\n") {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if line["@module"] == "cluster" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Who joins, votes, leads or is removed is told once, by the leader, with who asked for it.
func TestChangesOfMembersAreLogged(t *testing.T) {
	list, logs := sites(t, 4), map[string]*kept{}
	for _, s := range list {
		logs[s.options.ID] = new(kept)
		s.options.Expect, s.options.Log = 3, hclog.New(&hclog.LoggerOptions{Level: hclog.Info, JSONFormat: true, Output: logs[s.options.ID], IndependentLevels: true})
		s.options.Peers = s.options.Peers[:3]
	}
	for _, s := range list[:3] {
		s.start()
	}
	for _, s := range list[:3] {
		s.ready()
	}
	fourth := list[3]
	once := func(message, by string, more map[string]any) {
		t.Helper()
		want := map[string]any{"by": by}
		maps.Copy(want, more)
		eventually(t, message, func() error {
			var found []string
			for _, id := range slices.Sorted(maps.Keys(logs)) {
				for _, line := range logs[id].lines(t) {
					if line["@message"] == message {
						for key, value := range want {
							if line[key] != value {
								return fmt.Errorf("%s: %s is %v, not %v", message, key, line[key], value)
							}
						}
						found = append(found, id)
					}
				}
			}
			led := func(line map[string]any) bool { return line["@message"] == "leading" }
			if len(found) != 1 || !slices.ContainsFunc(logs[found[0]].lines(t), led) {
				return fmt.Errorf("%q is told by %v", message, found)
			}
			return nil
		})
	}
	fourth.start()
	fourth.ready()
	once("node admitted as non-voter", "node "+fourth.options.ID, map[string]any{"node": fourth.options.ID, "address": fourth.options.Advertise})
	once("member promoted to voter", "autopilot", map[string]any{"node": fourth.options.ID})
	// Through a node that does not lead.
	if err := fourth.node.Remove(t.Context(), fourth.options.ID, fsm.Principal{Kind: fsm.ByCertificate, ID: "ann", Role: fsm.Operator}); err != nil {
		t.Fatal(err)
	}
	once("member removed", "cert-ann", map[string]any{"node": fourth.options.ID, "voter": true})
	next := another(list[:3], leaderOf(t, list[:3]))
	if err := next.node.Transfer(t.Context(), next.options.ID, fsm.Principal{Kind: fsm.ByCertificate, ID: "bob", Role: fsm.Operator}); err != nil {
		t.Fatal(err)
	}
	once("leadership handed over", "cert-bob", map[string]any{"to": next.options.ID, "reason": "asked for"})
	eventually(t, "the next one leads", func() error {
		if next.node.Status().Role != cluster.Leader {
			return fmt.Errorf("%s does not lead", next.options.ID)
		}
		return nil
	})
	for _, id := range slices.Sorted(maps.Keys(logs)) {
		for _, line := range logs[id].lines(t) {
			if text := fmt.Sprint(line["@message"]); strings.Contains(text, "Promoting") || strings.Contains(text, "Transferring") {
				t.Errorf("%s tells it again: %v", id, line)
			}
		}
	}
}
