package client

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// ClockMark keeps the latest time that an application has seen, so that a clock that was turned back is noticed also after a restart.
// What is kept is a short line of text; where is the application's own: a file, the registry, a row of its database.
// A Verifier calls one method at a time; processes that share a mark may overwrite each other's, which costs no more than the time between
// two of their verifications.
type ClockMark interface {
	// Load returns what was stored last, nil if nothing ever was. Not to find what once was there must be an error, where
	// the store can tell.
	Load() ([]byte, error)
	// Store keeps a mark, whole or not at all, instead of the one before.
	Store(mark []byte) error
}

// FileMark keeps the mark in a file, which is replaced whole and is readable by its owner alone. A file that is not there is taken for the
// first run: it can't be told from one that was removed.
func FileMark(path string) ClockMark { return fileMark(path) }

type fileMark string

// maxMark is more than any mark has, in bytes.
const maxMark = 128

// Load implements ClockMark.
func (f fileMark) Load() ([]byte, error) {
	file, err := os.Open(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxMark+1))
	if err == nil && text == nil {
		text = []byte{}
	}
	return text, err
}

// Store implements ClockMark. The new file is on disk before it takes the place of the old one.
func (f fileMark) Store(mark []byte) (err error) {
	// Not renameio: it does not build on Windows, where applications run, too.
	file, err := os.CreateTemp(filepath.Dir(string(f)), "."+filepath.Base(string(f))+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(mark)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), string(f))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

const markVersion = "licet-mark-v1"

// encodeMark writes a time with a checksum: what was cut or altered by accident is noticed. Who alters it on purpose can make the checksum, too.
func encodeMark(t time.Time) []byte {
	text := fmt.Appendf(nil, "%s %s", markVersion, t.UTC().Format(time.RFC3339))
	return fmt.Appendf(text, " %08x\n", crc32.ChecksumIEEE(text))
}

func decodeMark(mark []byte) (time.Time, error) {
	fields := bytes.Fields(mark)
	if len(fields) == 3 {
		if t, err := time.Parse(time.RFC3339, string(fields[1])); err == nil && bytes.Equal(encodeMark(t), mark) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.60q is no mark of version 1", mark)
}
