//go:build linux && faults

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// fiveNodes are three that found and two that can take a place.
var fiveNodes = []string{"bordeaux", "lyon", "paris", "quimper", "rennes"}

// onOwnDisk gives a node a file system of its own, in a file, that becomes read-only when the kernel finds an error in it: what
// Debian sets up.
func onOwnDisk(n *Node) {
	t := n.c.t
	t.Helper()
	err := os.Mkdir(n.dataDir(), 0o700)
	if err == nil {
		err = os.WriteFile(n.image(), nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(n.image(), 256<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	n.tool("mkfs.ext4", "-q", "-F", n.image())
	n.mount()
	t.Cleanup(func() { _ = syscall.Unmount(n.dataDir(), syscall.MNT_DETACH) })
}

func (n *Node) image() string { return n.c.path(n.id + ".img") }

func (n *Node) mount() {
	n.c.t.Helper()
	n.tool("mount", "-o", "loop,errors=remount-ro", n.image(), n.dataDir())
	if err := os.Chmod(n.dataDir(), 0o700); err != nil {
		n.c.t.Fatal(err)
	}
}

func (n *Node) tool(args ...string) {
	n.c.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		n.c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// device is the block device below the node's file system.
func (n *Node) device() string {
	n.c.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		n.c.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == n.dataDir() {
			return strings.TrimPrefix(f[0], "/dev/")
		}
	}
	n.c.t.Fatalf("%s is not mounted", n.dataDir())
	return ""
}

// ends wants the node to end by itself, with exit code 1 and reasons in its log.
func (n *Node) ends(from int, reasons ...string) {
	n.c.t.Helper()
	eventually(n.c.t, n.id+" has ended by itself", n.endedOrNot)
	if code := n.exitCode(); code != 1 {
		n.c.t.Errorf("the exit code of %s is %d instead of 1", n.id, code)
	}
	for _, reason := range reasons {
		if !contains(n.log()[from:], reason) {
			n.c.t.Errorf("the log of %s does not say %q:\n%s", n.id, reason, lastLines(n.log(), 5))
		}
	}
}

// TestFaultDiskReadOnly: the kernel makes a node's disk read-only, a follower's and then the leader's. The node ends, the others
// go on. If nothing was lost on the way to the disk, the node comes back with its data once the disk is mended; otherwise it says
// that another one has to take its place, and that is done. A node does not start on a disk that was mounted read-only.
func TestFaultDiskReadOnly(t *testing.T) {
	u := startUnderFaults(t, setup{nodes: fiveNodes, expect: 3, prepare: onOwnDisk})
	for i, which := range []func() *Node{u.c.Follower, u.c.Leader} {
		n := which()
		from := len(n.log())
		n.breakDisk()
		n.ends(from)
		u.goesOn()
		n.mendDisk()
		switch said := grep(n.log()[from:], "licet: "); {
		case contains(said, "read-only file system; the data directory can't be written: see to the disk and its mount, then start the node again"):
			n.Start()
			u.c.WaitReady(n)
		case contains(said, "input/output error; wipe the data directory and join again under a new node id"):
			u.replaceNode(n, u.c.nodes[3+i])
		default:
			t.Errorf("%s said %q", n.id, said)
		}
		u.members(3)
		u.goesOn()
	}
	n := u.c.Follower()
	n.Stop()
	n.tool("mount", "-o", "remount,ro", n.dataDir())
	from := len(n.log())
	n.Start()
	n.ends(from, "read-only file system")
	n.tool("mount", "-o", "remount,rw", n.dataDir())
	n.Start()
	u.c.WaitReady(n)
	u.end()
}

// breakDisk has the kernel find an error in the file system of a node, and make it read-only.
func (n *Node) breakDisk() {
	n.c.t.Helper()
	if err := os.WriteFile("/sys/fs/ext4/"+n.device()+"/trigger_fs_error", []byte("1"), 0o200); err != nil {
		n.c.t.Fatal(err)
	}
}

// mendDisk repairs the file system of a node that has ended.
func (n *Node) mendDisk() {
	n.c.t.Helper()
	n.tool("umount", n.dataDir())
	n.tool("sh", "-c", "e2fsck -fy "+n.image()+" || [ $? = 1 ]")
	n.mount()
}

// TestFaultDiskFails: a leader's disk fails, so that whatever it writes or flushes is an I/O error. It ends, the others go on, and a node with a new
// disk and a new id takes its place. Then the same of a follower.
func TestFaultDiskFails(t *testing.T) {
	u := startUnderFaults(t, setup{nodes: fiveNodes, expect: 3, prepare: onOwnDisk})
	for i, which := range []func() *Node{u.c.Leader, u.c.Follower} {
		n := which()
		from := len(n.log())
		n.shutDownDisk()
		n.ends(from, "input/output error", "wipe the data directory and join again under a new node id")
		u.goesOn()
		u.replaceNode(n, u.c.nodes[3+i])
	}
	u.end()
}

// shutDownDisk has the file system answer everything from now on with an I/O error, without writing anything back.
func (n *Node) shutDownDisk() {
	n.c.t.Helper()
	const (
		shutDown = 0x8004587d // FS_IOC_SHUTDOWN of linux/fs.h
		noFlush  = 2
	)
	dir, err := os.Open(n.dataDir())
	if err != nil {
		n.c.t.Fatal(err)
	}
	defer dir.Close()
	how := uint32(noFlush)
	if _, _, failed := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutDown, uintptr(unsafe.Pointer(&how))); failed != 0 {
		n.c.t.Fatal(failed)
	}
}

// TestFaultSyncFails: what is written is taken, and the flush to the disk is an I/O error: of entries on a leader (fdatasync), then of
// audit trail and files that grow on the next one (fsync). Nothing that was acknowledged relies on it; the node ends and another takes its place.
func TestFaultSyncFails(t *testing.T) {
	u := startUnderFaults(t, setup{nodes: fiveNodes, expect: 3})
	for i, call := range []string{"fdatasync", "fsync"} {
		n := u.c.Leader()
		from := len(n.log())
		stop := n.failing(call)
		n.ends(from, "input/output error")
		stop()
		u.goesOn()
		u.replaceNode(n, u.c.nodes[3+i])
	}
	u.end()
}

// failing has a system call of the node's process fail with an I/O error from now on.
func (n *Node) failing(call string) (stop func()) {
	n.c.t.Helper()
	ctx, cancel := context.WithCancel(n.c.t.Context())
	pid := n.cmd.Process.Pid
	var said lockedBuffer
	tracer := exec.CommandContext(ctx, "strace", "-f", "-o", "/dev/null", "-e", "trace="+call, "-e", "inject="+call+":error=EIO", "-p", strconv.Itoa(pid))
	tracer.Stderr = &said
	if err := tracer.Start(); err != nil {
		n.c.t.Fatal(err)
	}
	eventually(n.c.t, "strace has attached", func() error {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err == nil && strings.Contains(string(status), "TracerPid:\t0\n") {
			err = errors.New(said.String())
		}
		if errors.Is(err, os.ErrNotExist) {
			// It has ended already, which is what is wanted.
			err = nil
		}
		return err
	})
	return func() {
		cancel()
		// How it ended tells nothing: its process is gone.
		_ = tracer.Wait()
	}
}
