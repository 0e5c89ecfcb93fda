//go:build !linux && unix

package main

import "syscall"

// withParent keeps the terminal's interrupt from reaching a node twice.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
