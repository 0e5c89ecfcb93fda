//go:build linux || darwin

package cluster

import (
	"os"
	"syscall"
)

func statfs(dir string) (Disk, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return Disk{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	block := uint64(s.Bsize) //nolint:gosec // G115: sizes of files and disks are below 2^63
	return Disk{Free: s.Bavail * block, Size: s.Blocks * block}, nil
}
