package main

import (
	"os"
	"syscall"
)

// syncData forces a file's contents to disk, and of what is about it no more than to read them again.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
