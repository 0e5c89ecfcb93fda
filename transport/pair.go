package transport

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Pair is a certificate and its private key, each in PEM.
type Pair struct {
	Certificate []byte
	Key         []byte
}

// Write writes both files, or neither: each appears complete or not at all, a
// file that exists is never overwritten (the error wraps fs.ErrExist), and only
// the owner may read the key. The directory must exist, on a file system that
// has hard links. Errors name the file.
func (p Pair) Write(certificateFile, keyFile string) error {
	if err := writeNew(keyFile, p.Key, 0o600); err != nil {
		return err
	}
	if err := writeNew(certificateFile, p.Certificate, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	return nil
}

// WriteNew writes a public file under the terms of Pair.Write.
func WriteNew(file string, content []byte) error { return writeNew(file, content, 0o644) }

// WriteSecret writes a file that only the owner may read, under the same terms.
func WriteSecret(file string, content []byte) error { return writeNew(file, content, 0o600) }

// String keeps the key out of logs.
func (p Pair) String() string { return "certificate and key" }

// GoString is as String.
func (p Pair) GoString() string { return p.String() }

func (p Pair) authority(key crypto.Signer) (*Authority, error) {
	block, _ := pem.Decode(p.Certificate)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return &Authority{pair: p, certificate: certificate, key: key}, nil
}

// writeNew links a finished temporary file into place: unlike a rename, a link
// does not replace what is there.
func writeNew(file string, content []byte, mode fs.FileMode) (err error) {
	directory := filepath.Dir(file)
	temporary, err := os.CreateTemp(directory, "."+filepath.Base(file)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, os.Remove(temporary.Name())) }()
	if err := fill(temporary, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Link(temporary.Name(), file); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return syncDirectory(directory)
}

func fill(file *os.File, content []byte, mode fs.FileMode) error {
	_, err := file.Write(content)
	return errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
}

func syncDirectory(directory string) error {
	opened, err := os.Open(directory)
	if err != nil {
		return err
	}
	return errors.Join(opened.Sync(), opened.Close())
}
