package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/licet/licet/cluster"
)

const (
	// diskWrites of diskWrite bytes are forced to disk one by one, within diskTime.
	diskWrites = 64
	diskWrite  = 4096
	diskTime   = 3 * time.Second
	// Each write to the cluster waits for such a write on a majority.
	diskSlow = 20 * time.Millisecond
	diskBad  = 200 * time.Millisecond
)

// examineDisk measures the disk of the data directory, or of where it will be made.
func (d *doctor) examineDisk(dir string) {
	if disk, err := cluster.DiskOf(dir); err != nil {
		d.warn("space", "Look at it with `df`.", "%s: %v", dir, err)
	} else {
		d.examineSpace(dir, disk)
	}
	where, err := existing(dir)
	if err == nil {
		err = d.measureDisk(where)
	}
	if err != nil {
		d.fail("disk", "The node must be able to write there: see to owner, mode and file system of the directory, and run this as the node's user.", "%v", err)
	}
}

func (d *doctor) examineSpace(dir string, disk cluster.Disk) {
	const next = "Make room there, or enlarge it: a node whose disk is full stops."
	text := fmt.Sprintf("%s of %s left for %s", amountOf(disk.Free), amountOf(disk.Size), dir)
	switch {
	case disk.Free < spaceLeast:
		d.fail("space", next, "%s", text)
	case spaceLow(disk.Free, disk.Size):
		d.warn("space", next, "%s", text)
	default:
		d.ok("space", "%s", text)
	}
}

// existing is the directory, or the nearest one above it that there is.
func existing(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is no directory", dir)
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir:
			return dir, err
		}
		dir = filepath.Dir(dir)
	}
}

func (d *doctor) measureDisk(dir string) (err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var took []time.Duration
	block := make([]byte, diskWrite)
	for began := time.Now(); len(took) < diskWrites && time.Since(began) < diskTime; {
		at := time.Now()
		if _, err := f.WriteAt(block, int64(len(took))*diskWrite); err != nil {
			return err
		}
		if err := syncData(f); err != nil {
			return err
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	text := fmt.Sprintf("writing 4 KiB to disk in %s takes %s, at worst %s, of %d", dir, precise(median), precise(worst), len(took))
	const next = "Put node.data_dir on a disk of its own, without neighbours that write much: every write waits for a majority of the disks."
	switch {
	case median > diskBad:
		d.fail("disk", next, "%s", text)
	case median > diskSlow || worst > diskBad:
		d.warn("disk", next, "%s", text)
	default:
		d.ok("disk", "%s", text)
	}
	return nil
}

func precise(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
