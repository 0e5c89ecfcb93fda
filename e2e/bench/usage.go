package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what processes have used since they started.
type usage struct {
	processor time.Duration
	written   int64
	resident  int64
}

// clockTick is the unit of times in /proc (USER_HZ, which is 100 on every architecture that Go runs on).
const clockTick = time.Second / 100

// usageOf adds up what processes used, from /proc.
func usageOf(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		u, err := usageOfOne(pid)
		if err != nil {
			return usage{}, err
		}
		sum.processor += u.processor
		sum.written += u.written
		sum.resident += u.resident
	}
	return sum, nil
}

func usageOfOne(pid int) (usage, error) {
	var u usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// What stands before the last parenthesis is the program's name, which may hold spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const user, system, resident = 11, 12, 21
	if len(fields) <= resident {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	ticks := int64(0)
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, err
		}
		ticks += n
	}
	u.processor = time.Duration(ticks) * clockTick
	pages, err := strconv.ParseInt(fields[resident], 10, 64)
	if err != nil {
		return u, err
	}
	u.resident = pages * int64(os.Getpagesize())
	u.written, err = written(pid)
	return u, err
}

// written is what a process had the kernel send to the disk, in bytes.
func written(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if n, found := strings.CutPrefix(line, "write_bytes: "); found {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/io does not say what was written", pid)
}
