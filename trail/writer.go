package trail

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/licet/licet/fsm"
)

// batch is how many rows are taken from the state at once.
const batch = 512

// Options say where a Writer writes and how much. All are required.
type Options struct {
	Dir string
	// Node is whose files they are.
	Node string
	// FileBytes is the size at which a file is followed by the next one; TotalBytes bounds all files together.
	FileBytes, TotalBytes int64
}

// Recovery is what Open repaired.
type Recovery struct {
	// Cut is how many bytes of unfinished lines were cut off, from File.
	Cut  int64
	File string
	// Aside is where a copy of the file is if whole rows came after what was cut, and Reason why it was.
	Aside  string
	Reason error
}

// Writer appends rows to the newest file of a directory. Not safe for concurrent use.
type Writer struct {
	Options
	file *os.File
	// size is the file's, with what is still in the buffer.
	size   int64
	buffer []byte
	// line is the memory of the row that is being added, lines what makes it.
	line  []byte
	lines rowLines
	// last is the last row that is accounted for, chain the chain after it.
	last  uint64
	chain Hash
	// follows is set once a row was seen to follow from the one before it.
	follows bool
	dirty   bool
}

// Open goes on after the last whole row in the directory, which it makes if it is not there. It
// says what it had to repair.
func Open(o Options) (*Writer, []Recovery, error) {
	w := &Writer{Options: o}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	list, _, err := files(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	var repairs []Recovery
	for len(list) > 0 && w.file == nil {
		newest := list[len(list)-1]
		found, err := w.resume(newest)
		if err != nil {
			return nil, repairs, fmt.Errorf("%s: %w", newest.path, err)
		}
		if found.Cut > 0 {
			repairs = append(repairs, found)
		}
		list = list[:len(list)-1]
	}
	// What a process wrote that was killed may not be on disk yet.
	w.dirty = w.file != nil
	return w, repairs, nil
}

// resume opens the newest file behind its last whole row. A file whose header is no good is put
// aside, and leaves the one before it as the newest.
func (w *Writer) resume(f file) (found Recovery, err error) {
	source, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return found, err
	}
	defer func() {
		if w.file != source {
			err = errors.Join(err, source.Close())
		}
	}()
	end, more, reason, err := w.replay(source, f.first)
	if err != nil {
		return found, err
	}
	if end == f.bytes && end > 0 {
		w.file, w.size = source, end
		return found, nil
	}
	found = Recovery{Cut: f.bytes - end, File: f.path, Reason: reason}
	if more {
		found.Aside = f.path + aside
		if err := copyFile(found.Aside, f.path); err != nil {
			return found, err
		}
	}
	if end == 0 {
		return found, os.Remove(f.path)
	}
	w.file, w.size = source, end
	return found, source.Truncate(end)
}

// replay reads a file up to the first line that is not right, which begins at end. more says that whole
// rows come after it: then it is not what a write that was cut off leaves.
func (w *Writer) replay(source io.Reader, first uint64) (end int64, more bool, reason, err error) {
	c := &checker{next: first}
	l := newLines(source)
	for {
		switch err := l.scan(); {
		case errors.Is(err, io.EOF):
			return end, more, reason, nil
		case err != nil:
			return end, more, reason, err
		}
		if reason != nil {
			if x, err := decode(l.text); l.whole && err == nil && x.row != nil {
				return end, true, reason, nil
			}
			continue
		}
		if reason = c.strict(l); errors.Is(reason, errNewer) {
			return end, false, reason, reason
		}
		if reason == nil {
			end, w.last, w.chain = l.next, c.next-1, c.chain
		}
	}
}

// Last is the number of the last row that is accounted for.
func (w *Writer) Last() uint64 { return w.last }

// Append writes the rows that a view has and the files have not. Rows that neither has become a gap, which it returns.
func (w *Writer) Append(v *fsm.View) (gap *Gap, err error) {
	for {
		rows := v.WritesAfter(w.last, batch)
		if len(rows) == 0 {
			return gap, w.flush()
		}
		if rows[0].Seq != w.last+1 {
			_, _, before := v.Chain()
			gap = &Gap{From: w.last + 1, To: rows[0].Seq - 1, after: &before}
			if err := w.add(appendGap(nil, *gap), gap.To, before); err != nil {
				return gap, err
			}
		}
		for _, row := range rows {
			if err := w.row(row); err != nil {
				return gap, err
			}
		}
	}
}

func (w *Writer) row(row *fsm.Write) error {
	// The state computed the chain between rows itself; only where files meet it may it not hold.
	if !w.follows && fsm.NextChain(w.chain, row.Proto()) != row.Chain {
		return fmt.Errorf("the audit trail in %s ends with row %d, from which row %d of the state does not follow: the files are of another cluster, or were altered; "+
			"keep them elsewhere and start the node without them", w.Dir, w.last, row.Seq)
	}
	w.follows = true
	w.line = w.lines.append(w.line[:0], row)
	return w.add(w.line, row.Seq, row.Chain)
}

// add adds a line, to the next file if this one is full.
func (w *Writer) add(text []byte, last uint64, chain Hash) error {
	if w.file == nil || w.size > 0 && w.size+int64(len(text)) > w.FileBytes && w.rows() {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	w.buffer = append(w.buffer, text...)
	w.size += int64(len(text))
	w.last, w.chain = last, chain
	if len(w.buffer) >= stride {
		return w.flush()
	}
	return nil
}

// rows reports whether the file has more than its header, so that no row is too long for any file.
func (w *Writer) rows() bool { return w.file.Name() != filepath.Join(w.Dir, fileName(w.last+1)) }

// rotate ends the file and begins the next one, then removes the oldest ones that are too much.
func (w *Writer) rotate() error {
	if w.file != nil {
		if err := errors.Join(w.Sync(), w.file.Close()); err != nil {
			return err
		}
		w.file = nil
	}
	list, damaged, err := files(w.Dir)
	if err != nil {
		return err
	}
	excess := w.excess(append(damaged, list...))
	oldest := w.last + 1
	if kept := list[min(len(list), max(0, excess-len(damaged))):]; len(kept) > 0 {
		oldest = kept[0].first
	}
	path := filepath.Join(w.Dir, fileName(w.last+1))
	if w.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	w.buffer = appendHeader(w.buffer[:0], header{Version: Version, Node: w.Node, First: w.last + 1, Before: hexHash(w.chain), Oldest: oldest})
	w.size = int64(len(w.buffer))
	// The new file says which ones there are, so it must be on disk before others go.
	if err := errors.Join(w.Sync(), syncDir(w.Dir)); err != nil {
		return err
	}
	for _, f := range append(damaged, list...)[:excess] {
		if err := os.Remove(f.path); err != nil {
			return err
		}
	}
	return nil
}

// excess is how many of the files, from the first on, must go so that one more fits.
func (w *Writer) excess(all []file) int {
	total := w.FileBytes
	for _, f := range all {
		total += f.bytes
	}
	n := 0
	for ; n < len(all) && total > w.TotalBytes; n++ {
		total -= all[n].bytes
	}
	return n
}

func (w *Writer) flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	w.dirty = true
	// gofail: var beforeTrailWrite struct{}
	_, err := w.file.WriteAt(w.buffer, w.size-int64(len(w.buffer)))
	w.buffer = w.buffer[:0]
	return err
}

// Sync returns once all rows are on disk.
func (w *Writer) Sync() error {
	if w.file == nil {
		return nil
	}
	if err := w.flush(); err != nil || !w.dirty {
		return err
	}
	w.dirty = false
	// gofail: var beforeTrailSync struct{}
	return w.file.Sync()
}

// Close writes what is left and closes the file.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.Sync(), w.file.Close())
	w.file = nil
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }() // it was only read
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Sync(), target.Close())
}
