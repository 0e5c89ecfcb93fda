package cluster_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A node whose directory is an older copy does not start: it has forgotten what it confirmed (E3). Its own data start it again.
func TestDirectoryTurnedBackIsRefused(t *testing.T) {
	for _, role := range []string{"leader", "follower"} {
		t.Run(role, func(t *testing.T) {
			list := startAll(t, 3)
			list[0].propose(putContract(t, 1000))
			victim := leaderOf(t, list)
			if role == "follower" {
				victim = list[(at(list, victim)+1)%3]
			}
			victim.stop()
			older := files(t, victim.options.DataDir)
			victim.start()
			victim.ready()
			for n := range 20 {
				victim.propose(createInstance(fmt.Sprintf("instance-%d", n), 1))
			}
			if role == "leader" {
				eventually(t, "it leads again", func() error { return victim.node.Transfer(t.Context(), victim.options.ID, byOperator) })
			}
			others := []*site{list[(at(list, victim)+1)%3], list[(at(list, victim)+2)%3]}
			index := victim.node.Status().View.Index()
			eventually(t, "one of the others knows how far it is", func() error {
				for _, s := range others {
					if s.node.Seen(victim.options.ID) >= index {
						return nil
					}
				}
				return fmt.Errorf("neither saw it at %d", index)
			})
			victim.stop()
			own := files(t, victim.options.DataDir)

			put(t, victim.options.DataDir, older)
			_, err := victim.open()
			if err == nil || !strings.Contains(err.Error(), "turned back in time") || !strings.Contains(err.Error(), "under a new node id") {
				t.Fatalf("with an older copy in its place: %v", err)
			}
			if o := others[0].propose(createInstance("without-it", 1)); o.Refusal != nil {
				t.Fatal(o.Refusal)
			}
			put(t, victim.options.DataDir, own)
			victim.start()
			victim.ready()
			sameDigests(t, list)
		})
	}
}

func at(list []*site, s *site) int {
	for i, other := range list {
		if other == s {
			return i
		}
	}
	return -1
}

// files reads Raft's files of a data directory.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || e.IsDir() || name != "raft.db" && !strings.HasPrefix(name, "snapshots") {
			return err
		}
		text, err := os.ReadFile(path)
		all[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// put replaces Raft's files, keeping the directory and its lock.
func put(t *testing.T, dir string, all map[string][]byte) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	for name, text := range all {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), text)
	}
}
