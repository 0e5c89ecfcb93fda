package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/licet/licet/fsm/signed"
)

// maxInput bounds the files that are read: none that is right comes near it.
const maxInput = 1 << 20

// maxExact is the largest number that the interface takes: JSON readers are exact up to there.
const maxExact = 1<<53 - 1

// readFile reads a file of bounded length, "-" being the input; what says in errors what it is.
func (s *session) readFile(what, name string, limit int64) ([]byte, error) {
	source := s.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, s.usagef("%s: %v", what, pathError(err))
		}
		defer func() { _ = f.Close() }() // it was only read
		source = f
	}
	text, err := io.ReadAll(io.LimitReader(source, limit+1))
	switch {
	case err != nil:
		return nil, s.usagef("%s: %v", what, pathError(err))
	case int64(len(text)) > limit:
		return nil, s.usagef("%s: %s has more than %d bytes", what, name, limit)
	}
	return text, nil
}

// readDocument reads a document of one line.
func (s *session) readDocument(what, name string) (string, error) {
	text, err := s.readFile(what, name, signed.MaxDocument+2)
	return strings.TrimSpace(string(text)), err
}

// readLicenseKey takes a license key itself, or the name of a file that has it.
func (s *session) readLicenseKey(what, given string) (string, error) {
	if strings.HasPrefix(given, signed.LicenseKeyKind+".") {
		return strings.TrimSpace(given), nil
	}
	return s.readDocument(what, given)
}

// readSigned takes a license key or a borrow token itself, or the name of a file that has it.
func (s *session) readSigned(what, given string) (string, error) {
	if strings.HasPrefix(given, signed.BorrowKind+".") {
		return strings.TrimSpace(given), nil
	}
	return s.readLicenseKey(what, given)
}

// pathError is the system's error without the system call. A name is cut: a whole
// document may have been pasted in its place.
func pathError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%.200s: %w", at.Path, at.Err)
	}
	return err
}

// replace writes a file whole or not at all.
func replace(name string, text []byte, mode fs.FileMode) error {
	if err := renameio.WriteFile(name, text, mode, renameio.IgnoreUmask()); err != nil {
		return failf(exitInternal, "", "%s could not be written: %v", name, pathError(err))
	}
	return nil
}

// whole reads a plain decimal integer.
func whole(text string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most || text[0] == '+' || len(text) > 1 && text[0] == '0' {
		return 0, fmt.Errorf("%.40q is no whole number from %d to %d", text, least, most)
	}
	return n, nil
}
