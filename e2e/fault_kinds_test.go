//go:build linux && faults

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Disks of nodes in fault runs.
const (
	machineDisk = "machine" // that of the machine
	smallDisk   = "small"   // a tmpfs
	ownDisk     = "own"     // ext4 in a file
	orderedDisk = "ordered" // served by this process, see fuseDisk
)

// faultKind is something that can go wrong.
type faultKind struct {
	name string
	// disk is the one that a node must have for it, everywhere whether all must.
	disk       string
	everywhere bool
	// proxied: it is done by a proxy before a node.
	proxied bool
	// often: nodes take snapshots soon.
	often bool
	// alone: nothing else goes on meanwhile. replaces: it may take a node's data, so that another one takes its place.
	alone, replaces bool
	// do makes it happen, and returns what ends it; nil if there is nothing that it could happen to.
	do func(*faultRun, *plannedFault) (heal func())
}

// faultTable has a row for each kind of fault.
var faultTable = []faultKind{
	// Processes.
	{name: "kill", do: onNode("", func(r *faultRun, n *Node) func() { n.Kill(); return func() { r.start(n) } })},
	{name: "kill-majority", do: func(r *faultRun, _ *plannedFault) func() { return r.killMany(len(r.in)/2 + 1) }},
	{name: "kill-all", do: func(r *faultRun, _ *plannedFault) func() { return r.killMany(len(r.in)) }},
	{name: "stop", do: onNode("", func(r *faultRun, n *Node) func() { n.Stop(); return func() { r.start(n) } })},
	{name: "rolling-restart", alone: true, do: (*faultRun).restartAll},
	{name: "pause", do: onNode("", func(_ *faultRun, n *Node) func() {
		n.suspend(true)
		return func() { n.suspend(false) }
	})},
	{name: "stutter", do: onNode("", (*faultRun).stutter)},
	// Links: packets are dropped.
	{name: "cut", do: onNode("", func(r *faultRun, n *Node) func() { return r.cut(r.isolated(n, allTraffic)...) })},
	{name: "cut-in", do: onNode("", func(r *faultRun, n *Node) func() { return r.cut(r.oneWay(n, true)...) })},
	{name: "cut-out", do: onNode("", func(r *faultRun, n *Node) func() { return r.cut(r.oneWay(n, false)...) })},
	{name: "cut-link", do: onNode("", func(r *faultRun, n *Node) func() { return r.cut(both(n, r.another(n), allTraffic)...) })},
	{name: "cut-all", do: (*faultRun).cutAll},
	{name: "split", do: (*faultRun).split},
	{name: "flap", do: onNode("", (*faultRun).flap)},
	{name: "cut-gossip", do: (*faultRun).cutGossip},
	{name: "cut-node-port", do: onNode("", func(r *faultRun, n *Node) func() { return r.cut(r.isolated(n, nodeTraffic)...) })},
	{name: "loss", do: onNode("", func(r *faultRun, n *Node) func() {
		return r.cut(r.some(r.isolated(n, allTraffic), 10+r.draw.IntN(40))...)
	})},
	{name: "loss-everywhere", do: func(r *faultRun, _ *plannedFault) func() {
		return r.cut(r.some(r.everywhere(allTraffic), 5+r.draw.IntN(20))...)
	}},
	// Connections: a proxy is between.
	{name: "delay", proxied: true, do: poisoned(func(r *faultRun) toxic {
		return toxic{"latency", map[string]int64{"latency": 5 + r.draw.Int64N(300), "jitter": r.draw.Int64N(100)}}
	})},
	{name: "slow-link", proxied: true, do: poisoned(func(r *faultRun) toxic { return toxic{"bandwidth", map[string]int64{"rate": 2 + r.draw.Int64N(60)}} })},
	{name: "reset", proxied: true, do: poisoned(func(r *faultRun) toxic { return toxic{"reset_peer", map[string]int64{"timeout": r.draw.Int64N(300)}} })},
	{name: "slices", proxied: true, do: poisoned(func(r *faultRun) toxic {
		return toxic{"slicer", map[string]int64{"average_size": 1 + r.draw.Int64N(100), "size_variation": 1, "delay": r.draw.Int64N(2000)}}
	})},
	{name: "stalled-link", proxied: true, do: poisoned(func(*faultRun) toxic { return toxic{"timeout", map[string]int64{"timeout": 0}} })},
	{name: "cut-in-the-middle", proxied: true, do: poisoned(func(r *faultRun) toxic {
		return toxic{"limit_data", map[string]int64{"bytes": 500 + r.draw.Int64N(60_000)}}
	})},
	// Disks.
	{name: "disk-full", disk: smallDisk, do: onNode(smallDisk, (*faultRun).fillDisk)},
	{name: "disk-frozen", disk: ownDisk, do: freezeDisk},
	{name: "disk-error", disk: ownDisk, alone: true, replaces: true, do: onNode(ownDisk, (*faultRun).breakDisk)},
	{name: "disk-gone", disk: ownDisk, alone: true, replaces: true, do: onNode(ownDisk, func(r *faultRun, n *Node) func() {
		n.shutDownDisk()
		return r.loses(n, "input/output error")
	})},
	{name: "write-fails", disk: orderedDisk, alone: true, replaces: true, do: onNode(orderedDisk, func(r *faultRun, n *Node) func() {
		torn := r.draw.IntN(2) == 0
		r.fuse[n].set(func(d *fuseDisk) { d.writes, d.torn = syscall.EIO, torn })
		return r.loses(n, "input/output error")
	})},
	{name: "fsync-fails", disk: orderedDisk, alone: true, replaces: true, do: onNode(orderedDisk, func(r *faultRun, n *Node) func() {
		r.fuse[n].set(func(d *fuseDisk) { d.flushes = syscall.EIO })
		return r.loses(n, "input/output error")
	})},
	{name: "read-only", disk: orderedDisk, do: onNode(orderedDisk, func(r *faultRun, n *Node) func() {
		r.fuse[n].set(func(d *fuseDisk) { d.writes = syscall.EROFS })
		return r.mends(n, "read-only file system")
	})},
	{name: "write-without-room", disk: orderedDisk, do: onNode(orderedDisk, func(r *faultRun, n *Node) func() {
		torn := r.draw.IntN(2) == 0
		r.fuse[n].set(func(d *fuseDisk) { d.writes, d.torn = syscall.ENOSPC, torn })
		return r.mends(n, "no space left on device")
	})},
	{name: "disk-hangs", disk: orderedDisk, do: hangDisk},
	{name: "slow-disk", disk: orderedDisk, do: onNode(orderedDisk, func(r *faultRun, n *Node) func() {
		slow := time.Duration(5+r.draw.IntN(150)) * time.Millisecond
		r.fuse[n].set(func(d *fuseDisk) { d.slow = slow })
		return r.fuse[n].asUsual
	})},
	{name: "power-loss", disk: orderedDisk, do: onNode(orderedDisk, func(r *faultRun, n *Node) func() { return r.losePower(n) })},
	{name: "power-loss-of-all", disk: orderedDisk, everywhere: true, alone: true, do: (*faultRun).loseAllPower},
	// Files of a node that is stopped.
	{name: "damaged-log", alone: true, replaces: true, do: onNode("", func(r *faultRun, n *Node) func() { return r.damage(n, damageLog) })},
	{name: "damaged-snapshot", often: true, alone: true, replaces: true, do: onNode("", func(r *faultRun, n *Node) func() { return r.damage(n, damageSnapshots) })},
	{name: "damaged-audit-trail", alone: true, replaces: true, do: onNode("", (*faultRun).damageTrail)},
	{name: "older-copy", disk: machineDisk, alone: true, replaces: true, do: onNode(machineDisk, (*faultRun).turnBack)},
	// Clocks, which failpoints set.
	{name: "clock-off", alone: true, do: onNode("", func(r *faultRun, n *Node) func() { return r.setClock(n, 500+r.draw.IntN(3500)) })},
	{name: "clock-wrong", alone: true, do: onNode("", func(r *faultRun, n *Node) func() { return r.setClock(n, 10_000+r.draw.IntN(36_000_000)) })},
	// Members.
	{name: "transfer", do: onNode("", func(r *faultRun, n *Node) func() { r.lead(n); return func() {} })},
	{name: "join-and-remove", alone: true, do: (*faultRun).joinAndRemove},
	{name: "replaced", alone: true, replaces: true, do: onNode("", func(r *faultRun, n *Node) func() {
		n.Kill()
		r.lost[n] = true
		return func() { r.cure(n) }
	})},
}

// onNode is a fault of one node with a disk, or any disk.
func onNode(disk string, do func(*faultRun, *Node) func()) func(*faultRun, *plannedFault) func() {
	return func(r *faultRun, f *plannedFault) func() {
		n := r.target(disk)
		if n == nil {
			return nil
		}
		r.say("%s: %s", f.kind.name, n.id)
		over := r.harm(n)
		heal := do(r, n)
		if heal == nil {
			over()
			return nil
		}
		return func() {
			heal()
			over()
		}
	}
}

// must ends the test for an error of what makes faults.
func (r *faultRun) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *faultRun) killMany(count int) func() {
	var list []*Node
	for _, i := range r.draw.Perm(len(r.in)) {
		if n := r.in[i]; n.running() && len(list) < count && r.hurt[n] == 0 {
			list = append(list, n)
		}
	}
	if len(list) == 0 {
		return nil
	}
	r.c.Kill(list...)
	return func() {
		for _, n := range list {
			r.start(n)
		}
	}
}

// restartAll restarts one node after the other, the leader last, as operators do.
func (r *faultRun) restartAll(*plannedFault) func() {
	leader := r.leader()
	list := slices.DeleteFunc(slices.Clone(r.in), func(n *Node) bool { return n == leader })
	if leader != nil {
		list = append(list, leader)
	}
	for _, n := range list {
		n.Stop()
		r.start(n)
		r.ready(n)
	}
	return func() {}
}

// suspend has a process stand still, or go on, unless it has ended.
func (n *Node) suspend(yes bool) {
	s := syscall.SIGCONT
	if yes {
		s = syscall.SIGSTOP
	}
	_ = n.signal(s)
}

// stutter has a node stand still and go on again and again.
func (r *faultRun) stutter(n *Node) func() {
	for range 5 {
		n.suspend(true)
		r.lasts(time.Duration(100+r.draw.IntN(500)) * time.Millisecond)
		n.suspend(false)
		r.lasts(time.Duration(20+r.draw.IntN(200)) * time.Millisecond)
	}
	return func() {}
}

// oneWay is all that a node is sent, or all that it sends.
func (r *faultRun) oneWay(n *Node, in bool) (all []loss) {
	for _, m := range r.c.nodes {
		switch {
		case m == n:
		case in:
			all = append(all, loss{from: m, to: n})
		default:
			all = append(all, loss{from: n, to: m})
		}
	}
	return all
}

// another is a member that is not this one.
func (r *faultRun) another(n *Node) *Node {
	list := slices.DeleteFunc(slices.Clone(r.in), func(m *Node) bool { return m == n })
	return list[r.draw.IntN(len(list))]
}

// everywhere is loss between all nodes.
func (r *faultRun) everywhere(what traffic) (all []loss) {
	for _, n := range r.c.nodes {
		for _, m := range r.c.nodes {
			if n != m {
				all = append(all, loss{from: n, to: m, what: what})
			}
		}
	}
	return all
}

// some has only a part of the packets be lost.
func (r *faultRun) some(all []loss, percent int) []loss {
	for i := range all {
		all[i].percent = percent
	}
	return all
}

func (r *faultRun) cutAll(*plannedFault) func() { return r.cut(r.everywhere(allTraffic)...) }

func (r *faultRun) cutGossip(*plannedFault) func() { return r.cut(r.everywhere(gossipTraffic)...) }

// split cuts the nodes in two halves of which one has a majority.
func (r *faultRun) split(*plannedFault) func() {
	draw := r.draw.Perm(len(r.in))
	minority := map[*Node]bool{}
	for _, i := range draw[:(len(r.in)-1)/2] {
		minority[r.in[i]] = true
	}
	var all []loss
	for _, x := range r.everywhere(allTraffic) {
		if minority[x.from] != minority[x.to] {
			all = append(all, x)
		}
	}
	return r.cut(all...)
}

// flap cuts a node off and heals it again and again.
func (r *faultRun) flap(n *Node) func() {
	for range 5 {
		over := r.cut(r.isolated(n, allTraffic)...)
		r.lasts(time.Duration(100+r.draw.IntN(1200)) * time.Millisecond)
		over()
		r.lasts(time.Duration(50+r.draw.IntN(500)) * time.Millisecond)
	}
	return func() {}
}

// poisoned has a toxic work on the connections to one node, or to all.
func poisoned(of func(*faultRun) toxic) func(*faultRun, *plannedFault) func() {
	return func(r *faultRun, f *plannedFault) func() {
		x, list := of(r), slices.Clone(r.in)
		if r.draw.IntN(3) > 0 {
			list = []*Node{list[r.draw.IntN(len(list))]}
		}
		r.say("%s: %+v to %d nodes, among them %s", f.kind.name, x, len(list), list[0].id)
		for i, n := range list {
			if err := n.poison(x); err != nil {
				// The same is done already.
				r.say("%v", err)
				list = slices.Delete(slices.Clone(list), i, len(list))
				break
			}
		}
		return func() {
			for _, n := range list {
				r.must(n.cleanse(x))
			}
		}
	}
}

// fillDisk leaves no room on a disk, or so little that a leader gives its office away.
func (r *faultRun) fillDisk(n *Node) func() {
	n.fill(int64(r.draw.IntN(2)) * (32 << 20))
	return func() {
		if err := os.Remove(n.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		r.cure(n)
	}
}

// longHang is longer than a node waits for its disk, which is 15 s.
const longHang = 17 * time.Second

// hangs says whether a disk is to hang until the node ends: one of six times, as that takes long.
func (r *faultRun) hangs(f *plannedFault) bool {
	if r.draw.IntN(6) > 0 {
		return false
	}
	f.lasts = longHang
	return true
}

// freezeDisk has the kernel hold up all that is written to a file system.
func freezeDisk(r *faultRun, f *plannedFault) func() {
	long := r.hangs(f)
	return onNode(ownDisk, func(r *faultRun, n *Node) func() {
		n.tool("fsfreeze", "--freeze", n.dataDir())
		thaw := func() error { return exec.Command("fsfreeze", "--unfreeze", n.dataDir()).Run() }
		// Nothing that is frozen can be taken away.
		r.t.Cleanup(func() { _ = thaw() })
		return func() {
			r.must(thaw())
			r.thawed(n, long)
		}
	})(r, f)
}

// hangDisk is the same, of reads as well.
func hangDisk(r *faultRun, f *plannedFault) func() {
	long := r.hangs(f)
	return onNode(orderedDisk, func(r *faultRun, n *Node) func() {
		r.fuse[n].hang()
		return func() {
			r.fuse[n].asUsual()
			r.thawed(n, long)
		}
	})(r, f)
}

// thawed is what a node does after its disk has hung: it ends if that was long.
func (r *faultRun) thawed(n *Node, long bool) {
	if long {
		n.ends(r.from[n], "the disk did not")
		r.start(n)
	}
}

// breakDisk has the kernel find an error in a file system.
func (r *faultRun) breakDisk(n *Node) func() {
	n.breakDisk()
	return func() {
		n.ends(r.from[n])
		n.mendDisk()
		if contains(grep(n.log()[r.from[n]:], "licet: "), "wipe the data directory and join again under a new node id") {
			r.lost[n] = true
		}
		r.cure(n)
	}
}

// loses is for a node whose disk fails: it ends by itself, says that its data can't be relied upon, and is replaced.
func (r *faultRun) loses(n *Node, reason string) func() {
	n.ends(r.from[n], reason, "wipe the data directory and join again under a new node id")
	r.lost[n] = true
	return func() { r.cure(n) }
}

// mends is for a node whose disk takes nothing for some time: it ends by itself if it is to write, and is started when the disk is as usual.
func (r *faultRun) mends(n *Node, reason string) func() {
	return func() {
		// A node that is cut off has nothing to write.
		if err := poll(5*time.Second, n.endedOrNot); err == nil {
			n.ends(r.from[n], reason)
		}
		r.fuse[n].asUsual()
		r.cure(n)
	}
}

// losePower kills a node and takes back what was not flushed.
func (r *faultRun) losePower(nodes ...*Node) func() {
	r.c.Kill(nodes...)
	for _, n := range nodes {
		lost, err := r.fuse[n].losePower(r.draw.IntN)
		r.must(err)
		r.say("%s lost %d writes with its power", n.id, lost)
	}
	return func() {
		for _, n := range nodes {
			r.start(n)
		}
	}
}

// loseAllPower is the same of all nodes at once.
func (r *faultRun) loseAllPower(*plannedFault) func() {
	for _, n := range r.in {
		if r.fuse[n] == nil {
			return nil
		}
	}
	return r.losePower(slices.Clone(r.in)...)
}

// alter has files of a node altered that does not run.
func (r *faultRun) alter(n *Node, how func(dir string, draw *rand.Rand) (string, error)) (string, error) {
	d := r.fuse[n]
	if d == nil {
		return how(n.dataDir(), r.draw)
	}
	did, err := how(d.below, r.draw)
	// The kernel remembers what was in the files before.
	_, failed := d.losePower(func(all int) int { return all - 1 })
	r.must(failed)
	return did, err
}

// damage alters files of a node while it is stopped: it refuses to start, says what to do, and that brings it back.
func (r *faultRun) damage(n *Node, how func(dir string, draw *rand.Rand) (string, error)) func() {
	n.Kill()
	did, err := r.alter(n, how)
	if errors.Is(err, errNothingToDamage) {
		r.say("%s: %v", n.id, err)
		return func() { r.start(n) }
	}
	r.must(err)
	r.say("%s: %s", n.id, did)
	r.start(n)
	n.ends(r.from[n], "wipe the data directory and join again under a new node id")
	r.lost[n] = true
	return func() { r.cure(n) }
}

// damageTrail alters the audit trail of a node while it is stopped: it says so, and takes the rows from the state.
func (r *faultRun) damageTrail(n *Node) func() {
	n.Kill()
	did, err := r.alter(n, damageTrail)
	if !errors.Is(err, errNothingToDamage) {
		r.must(err)
	}
	r.say("%s: %s (%v)", n.id, did, err)
	r.start(n)
	return func() {
		// A bit that makes a field of a row one that this build does not know can't be told from a newer build's row: the node refuses to start.
		const newer = "a newer version of licet wrote it"
		eventually(r.t, n.id+" is ready, or has ended", func() error {
			if !n.alive() {
				return nil
			}
			_, err := n.probe.Ready(r.t.Context())
			return err
		})
		said := n.log()[r.from[n]:]
		switch {
		case !n.alive() && contains(said, newer):
			r.say("%s takes the damaged row for a newer build's", n.id)
			r.lost[n] = true
			r.cure(n)
		case !n.alive():
			r.cure(n)
		case err == nil && !contains(said, "the audit trail was damaged"):
			r.t.Errorf("%s does not say that its audit trail was damaged", n.id)
		}
	}
}

// turnBack puts an older copy of a node's data in the place of what it has: the others know better.
func (r *faultRun) turnBack(n *Node) func() {
	older := r.c.path(n.id + ".older")
	n.Kill()
	n.tool("cp", "-a", n.dataDir(), older)
	r.start(n)
	r.ready(n)
	r.load.waitAcknowledged(100)
	// Until the others have been told how far it is.
	r.lasts(2 * time.Second)
	n.Kill()
	says := "is a copy of another one"
	if r.draw.IntN(3) == 0 {
		r.must(errors.Join(os.RemoveAll(n.dataDir()), os.Rename(older, n.dataDir())))
	} else {
		// As a virtual machine or a file system that was turned back: the same files with what was in them.
		r.must(os.RemoveAll(filepath.Join(n.dataDir(), "snapshots")))
		n.tool("cp", "-a", older+"/.", n.dataDir())
		says = "was turned back in time"
	}
	r.start(n)
	n.ends(r.from[n], says)
	r.lost[n] = true
	return func() { r.cure(n) }
}

// setClock has a node's wall clock be off by so many milliseconds, in either direction.
func (r *faultRun) setClock(n *Node, ms int) func() {
	if r.draw.IntN(2) == 0 {
		ms = -ms
	}
	r.say("the clock of %s is off by %d ms", n.id, ms)
	r.must(n.arm(clockFailpoint, fmt.Sprintf("return(%d)", ms)))
	r.all.passes.acted[clockFailpoint]++
	return func() {
		// Started anew it has the right time.
		if err := n.arm(clockFailpoint, "off"); err != nil && n.alive() {
			r.t.Fatal(err)
		}
	}
}

// joinAndRemove has a node join, and then some node leave, or be removed.
func (r *faultRun) joinAndRemove(f *plannedFault) func() {
	fresh := r.spare()
	if fresh == nil {
		return nil
	}
	r.start(fresh)
	return func() {
		r.joined(fresh)
		gone := r.target("")
		r.say("%s has joined, %s goes", fresh.id, gone.id)
		if f.draw.IntN(2) == 0 {
			r.c.on(gone, "cluster", "leave")
		} else {
			if gone == r.c.Leader() {
				r.lead(fresh)
			}
			r.must(poll(patience, func() error {
				leader := r.c.Leader()
				if leader == gone {
					return errors.New("it leads")
				}
				code, out, errs := runLicet(r.t, []string{"LICET_ENDPOINTS=" + leader.URL(), "LICET_TOKEN_FILE=" + r.c.path("token")}, "cluster", "remove", gone.id)
				if code != 0 {
					return fmt.Errorf("exit code %d: %s%s", code, out, errs)
				}
				return nil
			}))
		}
		eventually(r.t, gone.id+" has ended", gone.endedOrNot)
		r.leave(gone)
	}
}

// joined returns when a node is a voter.
func (r *faultRun) joined(n *Node) {
	r.t.Helper()
	eventually(r.t, n.id+" is a voter", func() error {
		m, err := r.c.member(n.id)
		if err == nil && !m.Voter {
			err = errors.New("it is none yet")
		}
		return err
	})
	r.ready(n)
}

// snapshotsOf are those on a node's disk.
func (r *faultRun) snapshotsOf(n *Node) int {
	dir := n.dataDir()
	if d := r.fuse[n]; d != nil {
		dir = d.below
	}
	list, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	r.must(err)
	return len(list)
}
