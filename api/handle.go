package api

import (
	"crypto/sha256"

	"github.com/licet/licet/fsm"
)

// maxHandle is more than any handle has, in bytes.
const maxHandle = 128

// holder is what the state keeps of a secret handle (rule K6).
func holder(handle string) []byte {
	sum := sha256.Sum256([]byte(handle))
	return sum[:fsm.HolderSize]
}

// newHandle makes the handle of what one item of the request takes.
func (s *service) newHandle(c *call, item int) (string, error) {
	return s.Node.Handle(c.actor, c.requestKey, item)
}

// shown keeps a dry run from giving a handle, which would be that of the real request.
func (c *call) shown(handle string) string {
	if c.dryRun {
		return ""
	}
	return handle
}
