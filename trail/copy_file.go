package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// CopyFile is a file that rows are copied to. It may be moved away or cut to nothing meanwhile (logrotate): then a new one is begun.
// It is made readable by its owner alone; one that is there keeps its mode. The rows stand there once, in their order.
type CopyFile struct {
	Path string
	// Node is whose rows they are.
	Node string

	file  *os.File
	lines Copy
	// last is the last row that was written, settled the last one that is on disk.
	last, settled uint64
}

var _ Target = (*CopyFile)(nil)

// Open implements Target. An unfinished line at the end is cut off; a file that holds something else is refused.
func (f *CopyFile) Open(context.Context) (uint64, error) {
	if info, err := os.Stat(f.Path); err == nil && !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is no regular file", f.Path)
	}
	file, err := os.OpenFile(f.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	last, err := resumeCopy(file)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("%s: %w", f.Path, err), file.Close())
	}
	f.file, f.lines = file, Copy{Node: f.Node}
	if last != 0 {
		f.last, f.lines.Next = last, last+1
	}
	return last, nil
}

// resumeCopy returns the last row in a file, 0 if there is none.
func resumeCopy(file *os.File) (last uint64, err error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	l := newLines(io.NewSectionReader(file, 0, info.Size()))
	if err := l.scan(); err != nil {
		return 0, err
	}
	if _, err := decode(l.text); err != nil && (l.whole || !begun(l.text)) {
		return 0, fmt.Errorf("it holds something else than copied rows; move it away, or name another file: %w", err)
	}
	size := min(info.Size(), maxLine)
	tail := make([]byte, size)
	if _, err := file.ReadAt(tail, info.Size()-size); err != nil {
		return 0, err
	}
	kept := whole(tail)
	if cut := int64(len(tail) - len(kept)); cut > 0 {
		if err := file.Truncate(info.Size() - cut); err != nil {
			return 0, err
		}
	}
	kept = bytes.TrimSuffix(kept, []byte("\n"))
	x, err := decode(kept[bytes.LastIndexByte(kept, '\n')+1:])
	switch {
	case len(kept) == 0:
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("its last line is none of a copy: %w", err)
	case x.row != nil:
		return x.row.Seq, nil
	case x.gap != nil:
		return x.gap.To, nil
	}
	return x.header.First - 1, nil
}

// begun reports whether a text is the beginning of a line of a copy.
func begun(text []byte) bool {
	return slices.ContainsFunc([]string{`{"licet_audit":`, `{"gap":`, `{"seq":`}, func(start string) bool {
		n := min(len(start), len(text))
		return string(text[:n]) == start[:n]
	})
}

// Write implements Target.
func (f *CopyFile) Write(rows []Passed, _ time.Duration) error {
	if err := f.follow(); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	var text []byte
	if first := rows[0]; info.Size() == 0 && first.Before != nil {
		text = f.lines.Header(text, first.Seq, *first.Before)
		f.lines.Next = first.Seq
	}
	for _, row := range rows {
		if text, err = f.lines.Row(text, row.Write, row.Before); err != nil {
			return err
		}
	}
	if _, err := f.file.Write(text); err != nil {
		// Half a row would be in the way of the next one.
		return errors.Join(err, f.file.Truncate(info.Size()))
	}
	f.last = rows[len(rows)-1].Seq
	return nil
}

// follow begins a new file if the one in hand is no more the one of that name.
func (f *CopyFile) follow() error {
	now, err := os.Stat(f.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	own, ownErr := f.file.Stat()
	if ownErr != nil || err == nil && os.SameFile(now, own) {
		return ownErr
	}
	if err := errors.Join(f.file.Sync(), f.file.Close()); err != nil {
		return err
	}
	next, last := f.lines.Next, f.last
	if _, err := f.Open(context.Background()); err != nil {
		return err
	}
	// In a new file, what comes next comes after what is in the old one.
	if f.lines.Next == 0 {
		f.lines.Next = next
	}
	f.last = max(f.last, last)
	return nil
}

// Settled implements Target.
func (f *CopyFile) Settled() (uint64, error) {
	if f.file != nil {
		if err := f.file.Sync(); err != nil {
			return 0, err
		}
		f.settled = f.last
	}
	return f.settled, nil
}

// Close implements Target.
func (f *CopyFile) Close(time.Duration) {
	_ = f.file.Close() // what is not on disk is not settled, and written again
	f.file = nil
}
