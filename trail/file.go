// Package trail keeps the audit trail in files of a node and verifies it.
//
// The state holds the newest rows; here is what it has forgotten. A directory has
// files of JSON lines, named after the first row in them: a header, then rows, and
// gaps where the node never had the rows. Each row holds the hash of all before it,
// so that files can be verified without the node, and those of several nodes against
// each other.
package trail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/licet/licet/fsm"
)

const (
	suffix = ".jsonl"
	// aside is the ending of a damaged file's copy.
	aside = ".damaged"
	// maxLine is more than any row takes: a Raft entry has 4 MiB at most.
	maxLine = 16 << 20
	// stride is how much of a file is read at once where looking for a row no longer pays.
	stride = 64 << 10
)

// Directory is where a node has its files, below its data directory.
func Directory(dataDir string) string { return filepath.Join(dataDir, "audit") }

// file is one file of a directory.
type file struct {
	path  string
	first uint64
	bytes int64
}

func fileName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// files lists a directory's files in the order of their rows, and the copies of damaged ones.
func files(dir string) (list, damaged []file, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		var first uint64
		name := strings.TrimSuffix(e.Name(), aside)
		if n, err := fmt.Sscanf(name, "%020d", &first); n != 1 || err != nil || name != fileName(first) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it gave way to the bound meanwhile
		}
		if err != nil {
			return nil, nil, err
		}
		f := file{filepath.Join(dir, e.Name()), first, info.Size()}
		if name == e.Name() {
			list = append(list, f)
		} else {
			damaged = append(damaged, f)
		}
	}
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return list, damaged, nil
}

// lines reads a file line by line.
type lines struct {
	source *bufio.Reader
	// text is the present line without its end; offset is where it begins, n its number.
	text   []byte
	offset int64
	n      int
	// whole is false for a last line without an end: it was cut off, or is being written.
	whole bool
	next  int64
}

func newLines(source io.Reader) *lines { return &lines{source: bufio.NewReaderSize(source, stride)} }

// scan goes on to the next line; io.EOF says that there is none.
func (l *lines) scan() error {
	l.offset, l.text = l.next, l.text[:0]
	l.n++
	for {
		part, err := l.source.ReadSlice('\n')
		l.text = append(l.text, part...)
		l.next += int64(len(part))
		switch {
		case err == nil:
			l.text, l.whole = l.text[:len(l.text)-1], true
			return nil
		case errors.Is(err, io.EOF) && len(l.text) > 0:
			l.whole = false
			return nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return err
		case len(l.text) > maxLine:
			return fmt.Errorf("line %d has more than %d bytes", l.n, maxLine)
		}
	}
}

// Rows returns up to limit rows of a directory whose numbers come after the given one. Rows that
// are not there, and lines that can't be read, are passed over. It may be called while a Writer works.
func Rows(dir string, after uint64, limit int) ([]*fsm.Write, error) {
	list, _, err := files(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	at := 0
	for i, f := range list {
		if f.first <= after+1 {
			at = i
		}
	}
	var rows []*fsm.Write
	for _, f := range list[min(at, len(list)):] {
		if rows, err = appendRows(rows, f, after, limit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(rows) >= limit {
			break
		}
	}
	return rows, nil
}

func appendRows(rows []*fsm.Write, f file, after uint64, limit int) ([]*fsm.Write, error) {
	source, err := os.Open(f.path)
	if err != nil {
		return rows, err
	}
	defer func() { _ = source.Close() }() // it was only read
	start, err := seek(source, f.bytes, after)
	if err != nil {
		return rows, err
	}
	if _, err := source.Seek(start, io.SeekStart); err != nil {
		return rows, err
	}
	for l := newLines(source); len(rows) < limit; {
		if err := l.scan(); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return rows, fmt.Errorf("%s: %w", f.path, err)
		}
		if number(l.text) <= after || !l.whole {
			continue
		}
		if x, err := decode(l.text); err == nil && x.row != nil {
			rows = append(rows, x.row)
		}
	}
	return rows, nil
}

// seek returns the place of a line at or before the first row after a number: rows are in order,
// so that halving finds it.
func seek(source io.ReaderAt, size int64, after uint64) (int64, error) {
	low, high := int64(0), size
	buffer := make([]byte, stride)
	for high-low > stride {
		middle := low + (high-low)/2
		n, err := source.ReadAt(buffer, middle)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		_, rest, found := bytes.Cut(buffer[:n], []byte{'\n'})
		first, _, whole := bytes.Cut(rest, []byte{','})
		// Where a line is longer than the buffer, what is before it is read from its beginning.
		if found && whole && number(first) <= after {
			low = middle + int64(n-len(rest))
		} else {
			high = middle
		}
	}
	return low, nil
}
