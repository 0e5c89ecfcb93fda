//go:build !linux

package main

import "os"

// syncData forces a file to disk.
func syncData(f *os.File) error { return f.Sync() }
