//go:build !linux && unix

package e2e

import "syscall"

func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
