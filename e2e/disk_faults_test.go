//go:build linux && faults

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// onSmallDisk gives a node a disk of 256 MiB.
func onSmallDisk(n *Node) {
	t := n.c.t
	t.Helper()
	if err := os.Mkdir(n.dataDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", n.dataDir(), "tmpfs", 0, "mode=0700,size=256m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(n.dataDir(), syscall.MNT_DETACH) })
}

// fill leaves so many bytes on the node's disk.
func (n *Node) fill(left int64) {
	n.c.t.Helper()
	var stat syscall.Statfs_t
	if err := syscall.Statfs(n.dataDir(), &stat); err != nil {
		n.c.t.Fatal(err)
	}
	f, err := os.OpenFile(n.filler(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		n.c.t.Fatal(err)
	}
	_, err = f.Write(make([]byte, max(0, int64(stat.Bavail)*stat.Bsize-left)))
	if err = errors.Join(err, f.Close()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		n.c.t.Fatal(err)
	}
}

func (n *Node) filler() string { return filepath.Join(n.dataDir(), "filler") }

// A leader whose disk fills up gives its office away while there is room, and ends with one line when there is none; the others
// go on, and with room it comes back, all of its data with it.
func TestFaultDiskFull(t *testing.T) {
	_, c := startLabCluster(t, setup{prepare: onSmallDisk})
	c.putContract("load", 1_000_000)
	l := c.startLoad("load", 4, true)
	l.waitAcknowledged(20)
	full := c.Leader()
	from := len(full.log())
	full.fill(32 << 20)
	full.WaitLog(from, "the disk is almost full")
	eventually(t, "another node leads", func() error {
		n, err := c.leaderNow()
		if err == nil && n == full {
			err = errors.New("it still does")
		}
		return err
	})
	l.waitAcknowledged(20)
	full.fill(0)
	eventually(t, full.id+" has ended by itself", full.endedOrNot)
	if code := full.exitCode(); code != 1 {
		t.Errorf("its exit code is %d instead of 1", code)
	}
	if text := full.log()[from:]; !contains(text, "the disk is full: make room, then start the node again") {
		t.Error("its log does not say that the disk is full")
	}
	l.waitAcknowledged(50)
	if err := os.Remove(full.filler()); err != nil {
		t.Fatal(err)
	}
	full.Start()
	c.WaitReady(full)
	l.check(l.stop())
	c.Settled()
	for _, n := range c.nodes {
		n.Stop()
		if err := syscall.Unmount(n.dataDir(), 0); err != nil {
			t.Error(err)
		}
	}
}
