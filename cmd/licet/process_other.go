//go:build !linux && unix

package main

import "syscall"

// withParent keeps the terminal's interrupt from reaching a node twice.
func withParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// endsWithParent: there is no such thing here; a program outlives a licet that was killed.
func endsWithParent() *syscall.SysProcAttr { return nil }
