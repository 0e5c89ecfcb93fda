package main

import "syscall"

// withParent has a node stop when the program that started it is gone, however that ended.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// endsWithParent has the kernel ask a program to end when the licet that started it was killed.
func endsWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
