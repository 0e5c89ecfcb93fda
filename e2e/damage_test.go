//go:build linux && faults

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// damageLog alters the log of a node that does not run, in one of several ways that a draw decides, and says what it did.
func damageLog(dir string, draw *rand.Rand) (string, error) {
	path := filepath.Join(dir, "raft.db")
	switch draw.IntN(3) {
	case 0:
		return "the log is cut off", os.Truncate(path, 20_000)
	case 1:
		// Each begins a page: a header of 16 bytes, then what its checksum covers.
		return "a bit of both heads of the log is flipped", overwrite(path, 16+draw.IntN(56), draw, 0, int64(os.Getpagesize()))
	default:
		entry, err := newestEntry(path)
		if err != nil {
			return "", err
		}
		index, places, err := findEntry(path, entry)
		if err != nil {
			return "", err
		}
		// Of an entry without data the middle may be what no checksum covers, and nobody misses: when it was appended.
		at := len(entry) / 2
		if len(entry) < 150 {
			at = bytes.Index(entry, []byte("Term"))
		}
		return fmt.Sprintf("a bit of entry %d is flipped", index), overwrite(path, at, draw, places...)
	}
}

// newestEntry is the last entry of Raft's log, as it is stored.
func newestEntry(path string) (entry []byte, err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("logs"))
		if bucket == nil {
			return errors.New("there is no log")
		}
		key, value := bucket.Cursor().Last()
		if len(key) != 8 {
			return errors.New("the log is empty")
		}
		entry = append(bytes.Clone(key), value...)
		return nil
	})
	return entry, errors.Join(err, db.Close())
}

// findEntry is where in the file an entry is, also where it was copied from.
func findEntry(path string, entry []byte) (index uint64, places []int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, nil, err
	}
	for at := 0; ; {
		found := bytes.Index(text[at:], entry)
		if found < 0 {
			break
		}
		places = append(places, int64(at+found))
		at += found + 1
	}
	if len(places) == 0 {
		err = errors.New("the newest entry is not in the file")
	}
	return binary.BigEndian.Uint64(entry), places, err
}

// overwrite flips one bit at each place, so many bytes on.
func overwrite(path string, on int, draw *rand.Rand, places ...int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	bit := byte(1) << draw.IntN(8)
	for _, place := range places {
		one := make([]byte, 1)
		if _, err = f.ReadAt(one, place+int64(on)); err == nil {
			one[0] ^= bit
			_, err = f.WriteAt(one, place+int64(on))
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}

// errNothingToDamage says that a node has no such file yet.
var errNothingToDamage = errors.New("there is no such file yet")

// damageSnapshots flips a bit in each snapshot that was finished.
func damageSnapshots(dir string, draw *rand.Rand) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(filepath.Dir(file), ".tmp") })
	if err == nil && len(files) == 0 {
		err = errNothingToDamage
	}
	for _, file := range files {
		var info os.FileInfo
		if info, err = os.Stat(file); err == nil {
			err = overwrite(file, 0, draw, draw.Int64N(info.Size()))
		}
		if err != nil {
			break
		}
	}
	return fmt.Sprintf("a bit of each of %d snapshots is flipped", len(files)), err
}

// damageTrail flips a bit of the audit trail, in its first half, so that whole rows come after it.
func damageTrail(dir string, draw *rand.Rand) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "audit", "*.jsonl"))
	if err == nil && len(files) == 0 {
		err = errNothingToDamage
	}
	if err != nil {
		return "", err
	}
	newest := files[len(files)-1]
	info, err := os.Stat(newest)
	if err != nil {
		return "", err
	}
	if info.Size() < 4096 {
		return "", errNothingToDamage
	}
	at := draw.Int64N(info.Size() / 2)
	return fmt.Sprintf("a bit of byte %d of the audit trail is flipped", at), overwrite(newest, 0, draw, at)
}
