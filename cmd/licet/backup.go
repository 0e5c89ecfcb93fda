package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/backup"
	"github.com/licet/licet/client"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
)

func backupCommand(streams Streams) *cli.Command {
	return verb{
		name: "backup", usage: "back the cluster up into a file", args: []string{"FILE"}, run: backUp,
		flags: readFlags(&cli.BoolFlag{Name: "with-signing-key", Usage: "put the private half of the cluster's signing key into it: for operators alone, and told in the audit trail"}),
		about: "Any node gives it, of one state, while the cluster goes on. FILE is written whole or not at all, readable by you alone, and read back\n" +
			"before it takes the place of an older one. It holds no private key, unless --with-signing-key is set: keep a copy of a node's signing.key, too. `licet debug backup FILE` looks into it.",
	}.command(streams)
}

func restoreCommand(streams Streams) *cli.Command {
	return verb{
		name: "restore", usage: "replace the cluster's contents by those of a backup", args: []string{"FILE"}, run: restore,
		flags: []cli.Flag{
			&cli.StringFlag{Name: "into", Usage: "`CLUSTER-ID` of the cluster whose contents are replaced", Required: true},
			&cli.StringFlag{Name: "from", Usage: "`CLUSTER-ID` of the cluster that wrote the backup, if it is another one"},
			&cli.StringFlag{Name: "public-key", Usage: "`FILE` with the keys of the cluster that wrote it (`licet keys --out`): another key's backup is refused"},
		},
		about: "What was decided since the backup is undone: contracts, instances, accounts, pools, leases, tickets and settings become the backup's.\n" +
			"The cluster's id, keys, clock, numbering and audit trail go on. All nodes take it over; none needs a restart.",
	}.command(streams)
}

// progress tells on a terminal how much went by.
type progress struct {
	w     io.Writer
	what  string
	total int64

	n    int64
	said time.Time
}

// progressOn is nil where nobody looks on.
func (s *session) progressOn(what string, total int64) *progress {
	file, ok := s.Err.(*os.File)
	if !ok || s.json() {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &progress{w: file, what: what, total: total}
}

func (p *progress) Write(b []byte) (int, error) {
	if p == nil {
		return len(b), nil
	}
	p.n += int64(len(b))
	if now := time.Now(); now.Sub(p.said) >= 200*time.Millisecond {
		p.said = now
		p.say()
	}
	return len(b), nil
}

func (p *progress) say() {
	of := ""
	if p.total > 0 {
		of = fmt.Sprintf(" of %s", mebibytes(p.total))
	}
	fmt.Fprintf(p.w, "\r%s: %s%s ", p.what, mebibytes(p.n), of)
}

// done ends the line.
func (p *progress) done() {
	if p != nil {
		p.say()
		fmt.Fprintln(p.w)
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// local remembers an error of this machine's disk, which is not the node's.
type local struct {
	io.Writer
	err error
}

func (l *local) Write(b []byte) (int, error) {
	n, err := l.Writer.Write(b)
	l.err = errors.Join(l.err, err)
	return n, err
}

func backUp(s *session) (err error) {
	if _, err := s.readOptions(); err != nil {
		return err
	}
	name := s.args[0]
	notWritten := func(err error) error {
		return failf(exitInternal, "What was there before is untouched. Look whether the disk is full, or choose another place.", "%.200s could not be written: %v", name, pathError(err))
	}
	file, err := renameio.NewPendingFile(name, renameio.WithPermissions(0o600), renameio.IgnoreUmask())
	if err != nil {
		return notWritten(err)
	}
	defer func() { err = errors.Join(err, file.Cleanup()) }()
	sink := &local{Writer: file}
	shown := s.progressOn("backup", 0)
	a, err := read(s, func(c *client.Client, o []client.ReadOption) (*client.Answer[struct{}], error) {
		if s.Bool("with-signing-key") {
			o = append(o, client.WithSigningKey())
		}
		return c.Backup(s.context(), io.MultiWriter(sink, shown), o...)
	})
	shown.done()
	switch {
	case sink.err != nil:
		return notWritten(sink.err)
	case err != nil:
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return notWritten(err)
	}
	b, err := backup.Read(file)
	if err != nil {
		return failf(exitInternal, "What was there before is untouched. Try again, through another node.", "what node %s sent is no whole backup: %v", a.Node, err)
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return notWritten(err)
	}
	return s.printOwn(describe(name, b), func(p *page) {
		p.line("%s is a backup of cluster %s at index %d, %s.", clean(name), b.Cluster, b.Index, mebibytes(int64(b.Bytes))) //nolint:gosec // G115: sizes of files and disks are below 2^63
		p.line("digest %s", b.Digest)
		p.line("sha256 %s", b.SHA256)
		if b.SigningKey != nil {
			p.line("It holds the cluster's private signing key: keep it secret.")
		}
	})
}

// backupSummary is what is said of a backup.
type backupSummary struct {
	File string `json:"file"`
	signed.BackupHeader
	Bytes  uint64      `json:"bytes"`
	SHA256 string      `json:"sha256"`
	Clock  time.Time   `json:"clock"`
	Counts []fsm.Count `json:"counts"`
	// Seal says by whose key it was found sealed: verified if the key was given, otherwise own.
	Seal string `json:"seal"`
	// PrivateKey reports that it holds the cluster's private signing key.
	PrivateKey bool `json:"private_key,omitempty"`
}

func describe(name string, b *backup.Backup) backupSummary {
	v := b.State.View()
	return backupSummary{File: name, BackupHeader: b.BackupHeader, Bytes: b.Bytes, SHA256: b.SHA256, Clock: v.Clock().Wall(), Counts: v.Counts(), Seal: "own", PrivateKey: b.SigningKey != nil}
}

// openBackup reads a backup whole, and verifies it if keys were named.
func (s *session) openBackup(file *os.File) (*backup.Backup, error) {
	b, err := backup.Read(file)
	switch {
	case errors.Is(err, backup.ErrDamaged), errors.Is(err, backup.ErrNewer), errors.Is(err, fsm.ErrSnapshotVersion):
		return nil, failf(exitRefused, "Take another copy of it, or the version of licet that wrote it.", "%.200s: %v", file.Name(), err)
	case err != nil:
		return nil, s.usagef("%v", pathError(err))
	}
	if !s.IsSet("public-key") {
		return b, nil
	}
	keys, err := s.readPublicKeys(s.String("public-key"))
	if err != nil {
		return nil, err
	}
	if err := b.Verify(keys); err != nil {
		return nil, failf(exitRefused, "Do not restore it, unless you know where it comes from.", "%.200s: %v", file.Name(), err)
	}
	return b, nil
}

// readPublicKeys reads one key or several.
func (s *session) readPublicKeys(name string) (keys []ed25519.PublicKey, err error) {
	text, err := s.readFile("--public-key", name, maxInput)
	if err != nil {
		return nil, err
	}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		key, err := signed.ParsePublicKey(pem.EncodeToMemory(block))
		if err != nil {
			return nil, s.usagef("--public-key: %s: %v", name, err)
		}
		keys, text = append(keys, key), rest
	}
	if len(keys) == 0 {
		return nil, s.usagef("--public-key: %s holds no public key", name)
	}
	return keys, nil
}

func restore(s *session) error {
	file, err := os.Open(s.args[0])
	if err != nil {
		return s.usagef("FILE: %v", pathError(err))
	}
	defer func() { _ = file.Close() }() // it was only read
	b, err := s.openBackup(file)
	if err != nil {
		return err
	}
	into, from := s.String("into"), s.String("from")
	switch {
	case b.Cluster != into && from == "":
		return failf(exitRefused, "If it is meant, add --from "+b.Cluster+".", "the backup is of cluster %s, not of %s", b.Cluster, into)
	case from != "" && b.Cluster != from:
		return failf(exitRefused, "Choose the right backup.", "the backup is of cluster %s, not of %s", b.Cluster, from)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return s.usagef("FILE: %v", pathError(err))
	}
	a, err := s.restoreThroughLeader(client.RestoreOf{Into: into, From: from, Bytes: int64(b.Bytes)}, file) //nolint:gosec // G115: sizes of files and disks are below 2^63
	if err != nil {
		return err
	}
	return printAnswer(s, a, func(p *page, r apiv1.Restored) {
		p.line("Cluster %s has the contents of the backup that node %s wrote at %s.", clean(into), clean(r.Node), when(r.Created))
		p.line("It goes on at index %d with digest %s.", r.NowIndex, r.NowDigest)
	})
}

func (s *session) restoreThroughLeader(o client.RestoreOf, file io.Reader) (*client.Answer[apiv1.Restored], error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	leader, err := s.leaderOf(s.context(), c)
	if err != nil {
		return nil, err
	}
	shown := s.progressOn("restore", o.Bytes)
	o.Backup = io.TeeReader(file, shown)
	a, err := leader.Restore(s.context(), o)
	shown.done()
	return a, err
}

// leaderOf finds the leader's endpoint by asking the nodes.
func (s *session) leaderOf(ctx context.Context, c *client.Client) (*client.Client, error) {
	var last error
	for _, endpoint := range c.Endpoints() {
		one, err := c.At(endpoint)
		if err != nil {
			return nil, s.usagef("%v", err)
		}
		a, err := one.Status(ctx)
		switch {
		case err != nil:
			last = err
		case a.Value.Role == apiv1.RoleLeader:
			return one, nil
		case a.Value.LeaderHTTP != "":
			return one.At(a.Value.LeaderHTTP)
		}
	}
	if last != nil {
		return nil, last
	}
	return nil, failf(exitUnreachable, "`licet status` shows which nodes reach each other.", "no node knows a leader")
}
