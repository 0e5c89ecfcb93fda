package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// CheckFiles looks at every file that the configuration names: whether it is there, a regular file, readable by this
// process and, for secrets (private keys, the operator's token, the gossip key), readable by nobody but its owner.
// It reads no contents. The data directory may be absent, but not something else than a directory. All that is
// wrong is joined in one error, each on a line with its key; nil if nothing is.
func (c Config) CheckFiles() error {
	var all []error
	for i := range keys {
		k := &keys[i]
		if k.file == notAFile {
			continue
		}
		for _, name := range k.get(&c) {
			if name == "" && !k.mandatory {
				continue
			}
			if err := checkFile(k.file, name); err != nil {
				all = append(all, fmt.Errorf("%s: %w", k.name, err))
			}
		}
	}
	return errors.Join(all...)
}

func checkFile(kind fileKind, name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil && kind == directory && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && kind == secretFile:
		// Where no file is, the name may be the secret itself, pasted into the wrong place.
		return fmt.Errorf("%w (the name is not shown, in case it is the secret itself; the key takes a file's name, relative to the configuration file)", bare(err))
	case err != nil:
		return fmt.Errorf("%s: %w", name, bare(err))
	case kind == directory && !info.IsDir():
		return fmt.Errorf("%s: found something else than a directory", name)
	case kind == directory:
		return nil
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: found something else than a regular file", name)
	case kind == secretFile && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s: found mode %04o, which lets others at the secret; allowed: 0600 or less (chmod 600)",
			name, info.Mode().Perm())
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, bare(err))
	}
	return f.Close()
}

// bare is the system's error without the file's name.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
