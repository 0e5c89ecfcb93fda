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
	// copied is a file that stands for itself: rows that were exported or copied.
	copied bool
}

func fileName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// files lists a directory's files in the order of their rows, and the copies of damaged ones. In place of a directory it takes a
// file of copied rows.
func files(dir string) (list, damaged []file, err error) {
	if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
		first, err := firstNumber(dir)
		return []file{{path: dir, first: first, bytes: info.Size(), copied: true}}, nil, err
	}
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
		f := file{path: filepath.Join(dir, e.Name()), first: first, bytes: info.Size()}
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

// firstNumber is the row with which a file of copied rows begins; 0 if that can't be told.
func firstNumber(path string) (uint64, error) {
	source, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = source.Close() }() // it was only read
	l := newLines(source)
	if err := l.scan(); err != nil {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	if h, err := decodeHeader(l.text); err == nil {
		return h.First, nil
	}
	return number(l.text), nil
}

// Rows returns up to limit rows of a directory, or of a file of copied rows, whose numbers come after the given one. Rows that
// are not there, and lines that can't be read, are passed over. It may be called while a Writer works.
func Rows(dir string, after uint64, limit int) ([]*fsm.Write, error) {
	var rows []*fsm.Write
	if limit <= 0 {
		return nil, nil
	}
	err := Walk(dir, after, func(w *fsm.Write, _ *Hash) bool {
		rows = append(rows, w)
		return len(rows) < limit
	})
	return rows, err
}

// Walk has the rows of a directory, or of a file of copied rows, visited that come after a number, each with the chain before it,
// nil where that is not known, until visit returns false. Rows that are not there, and lines that can't be read, are passed over. It may be
// called while a Writer works.
func Walk(dir string, after uint64, visit func(w *fsm.Write, before *Hash) bool) error {
	list, _, err := files(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	at := 0
	for i, f := range list {
		if f.first <= after+1 {
			at = i
		}
	}
	w := walk{after: after, visit: visit}
	for _, f := range list[min(at, len(list)):] {
		if err := w.file(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if w.done {
			break
		}
	}
	return nil
}

// walk goes through the files of a directory.
type walk struct {
	after uint64
	visit func(*fsm.Write, *Hash) bool
	done  bool
	// text is the line before the present one, row the row in it if it was visited.
	text []byte
	row  *fsm.Write
}

func (w *walk) file(f file) error {
	source, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	start, err := seek(source, f.bytes, w.after)
	if err != nil {
		return err
	}
	if _, err := source.Seek(start, io.SeekStart); err != nil {
		return err
	}
	for l := newLines(source); !w.done; w.text = append(w.text[:0], l.text...) {
		if err := l.scan(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		if number(l.text) <= w.after || !l.whole {
			continue
		}
		x, err := decode(l.text)
		if err == nil && x.row != nil {
			w.done = !w.visit(x.row, w.before(x.row))
		}
		w.row = x.row
	}
	return nil
}

// before is the chain before a row, as the line before it tells it.
func (w *walk) before(row *fsm.Write) *Hash {
	x, err := line{row: w.row}, error(nil)
	if w.row == nil {
		x, err = decode(w.text)
	}
	switch {
	case row.Seq == 1:
		return new(Hash)
	case err != nil:
	case x.header != nil && x.header.First == row.Seq:
		return (*Hash)(&x.header.Before)
	case x.gap != nil && x.gap.To+1 == row.Seq:
		return x.gap.after
	case x.row != nil && x.row.Seq+1 == row.Seq:
		return &x.row.Chain
	}
	return nil
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
