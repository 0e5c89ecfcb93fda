package trail

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/licet/licet/fsm/signed"
)

const (
	// checkpointFile has a directory's checkpoints, a signed document a line; olderCheckpoints is what it was called when it was full.
	checkpointFile   = "checkpoints"
	olderCheckpoints = "checkpoints.1"
	// maxCheckpoints bounds each of the two, in bytes; some 2,500 checkpoints.
	maxCheckpoints = 1 << 20
	// MaxCheckpointFile bounds a file of checkpoints that was kept elsewhere, in bytes.
	MaxCheckpointFile = 16 << 20
)

// Anchors are what shows that a chain is the cluster's own: a whole trail that somebody made anew has a chain without a flaw, too.
type Anchors struct {
	// Keys are the cluster's public signing keys, also those that were replaced.
	Keys []ed25519.PublicKey
	// Kept are checkpoints that were kept elsewhere, beside those of the directories.
	Kept []string
}

// Signed is how far a directory's rows are certified.
type Signed struct {
	// Row is the last row that a checkpoint certifies, Issued when it did, Node which node.
	Row    uint64    `json:"row"`
	Issued time.Time `json:"issued"`
	Node   string    `json:"node"`
	// Checkpoints is how many fit.
	Checkpoints int `json:"checkpoints"`
}

// AppendCheckpoint adds a document to those of a directory; it is on disk when it returns. Not safe for concurrent use.
func AppendCheckpoint(dir, document string) error {
	path := filepath.Join(dir, checkpointFile)
	if info, err := os.Stat(path); err == nil && info.Size() >= maxCheckpoints {
		if err := os.Rename(path, filepath.Join(dir, olderCheckpoints)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCheckpoints))
	if err == nil {
		// A line that a crash cut off gives way to this one.
		err = f.Truncate(int64(len(whole(text))))
	}
	if err == nil {
		_, err = f.WriteAt([]byte(document+"\n"), int64(len(whole(text))))
	}
	return errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
}

// whole is a text without a last line that has no end.
func whole(text []byte) []byte { return text[:bytes.LastIndexByte(text, '\n')+1] }

// checkpoints reads a directory's own.
func checkpoints(dir string) (list []string, err error) {
	for _, name := range []string{olderCheckpoints, checkpointFile} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		list = append(list, SplitCheckpoints(string(whole(text)))...)
	}
	return list, nil
}

// SplitCheckpoints returns the documents of a file, one a line.
func SplitCheckpoints(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
}

// hold holds the rows of a directory against checkpoints: its own, which were read before its rows, and those kept elsewhere.
func (r *Report) hold(own []string, a *Anchors) error {
	for i, document := range slices.Concat(own, a.Kept) {
		if err := r.holdOne(document, i < len(own), a.Keys); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) holdOne(document string, own bool, keys []ed25519.PublicKey) error {
	c, err := signed.VerifyCheckpoint(document, keys)
	switch {
	case err != nil:
		r.fault(Fault{Text: fmt.Sprintf("a checkpoint is not genuine: %v", err)})
		return nil
	// A copy may have been made before the checkpoint.
	case c.Row > r.Last && (own || c.Node == r.Node) && !r.copied:
		r.fault(Fault{Row: c.Row, Text: fmt.Sprintf("%s missing at the end: the checkpoint of %s certifies row %d",
			isAre(Gap{From: r.Last + 1, To: c.Row}), c.Issued.Format(time.RFC3339), c.Row)})
		return nil
	case c.Row > r.Last || c.Row < r.First:
		return nil
	}
	chain, known, err := ChainAt(r.Dir, c.Row)
	if err != nil || !known {
		return err
	}
	if hex.EncodeToString(chain[:]) != c.Chain {
		r.fault(Fault{Row: c.Row, Text: fmt.Sprintf("the rows up to row %d are not those that the checkpoint of %s certifies: one was altered, and the chain behind it made anew",
			c.Row, c.Issued.Format(time.RFC3339))})
		return nil
	}
	if r.Signed == nil {
		r.Signed = new(Signed)
	}
	r.Signed.Checkpoints++
	if c.Row >= r.Signed.Row {
		r.Signed.Row, r.Signed.Issued, r.Signed.Node = c.Row, c.Issued, c.Node
	}
	return nil
}

func (r *Report) fault(f Fault) {
	if len(r.Damage) == maxDamage {
		r.MoreDamage++
		return
	}
	r.Damage = append(r.Damage, f)
}
