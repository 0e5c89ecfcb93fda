//go:build unix

package cluster

import (
	"fmt"
	"io/fs"
	"syscall"
)

func inode(info fs.FileInfo) (uint64, error) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Ino), nil //nolint:unconvert // on some systems it is narrower
	}
	return 0, fmt.Errorf("%s has no inode", info.Name())
}

// freeSpace is how many bytes the disk of a directory has left for this process.
func freeSpace(dir string) (uint64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, err
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), nil //nolint:unconvert // on some systems they are of other types
}
