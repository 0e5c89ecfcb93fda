//go:build !linux && !darwin

package cluster

import "errors"

func statfs(string) (Disk, error) {
	return Disk{}, errors.New("the space of a file system is not known on this system")
}
