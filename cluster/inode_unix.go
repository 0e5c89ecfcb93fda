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
