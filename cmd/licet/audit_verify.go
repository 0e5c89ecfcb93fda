package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
	"github.com/licet/licet/trail"
)

func auditVerifyVerb() verb {
	return verb{
		name: "verify", usage: "verify the audit trail in the files of nodes, offline or against the cluster", run: auditVerify,
		flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "dir", Usage: "data `DIRECTORY` of a node, or a copy of its directory audit; with several, one fills the gaps of the other"},
			&cli.StringSliceFlag{Name: "file", Usage: "`FILE` of rows that were exported or copied; with several, one goes on where another ends"},
			&cli.StringFlag{Name: "public-key", Usage: "hold the files against the nodes' checkpoints; `FILE` has the cluster's public signing keys, as `licet keys --out FILE` writes it"},
			&cli.StringFlag{Name: "checkpoints", Usage: "and against those in `FILE`, a copy of a node's audit/checkpoints that was kept elsewhere"},
			&cli.BoolFlag{Name: "server", Usage: "compare also with the nodes that --endpoints names, and these with each other"},
		},
		about: "It follows the chain from row to row and names every row that is altered, missing or out of order. Nodes may run meanwhile.\n" +
			"Exit code 3 says that there is damage; 4 that all rows are right as far as they go, but some are not there:\n" +
			"gaps that a node recorded itself when it took a snapshot, or a last row that was cut off; 6 that nothing is wrong,\n" +
			"but that a node which was to be asked did not answer.",
	}
}

// verdictOfTrail is what is said of the audit trail.
type verdictOfTrail struct {
	State string `json:"state"`
	*trail.Sum
	// Nodes are what the cluster's nodes say, if they were asked.
	Nodes []nodeChain `json:"nodes,omitempty"`
	// anchored: the files were held against checkpoints.
	anchored bool
}

// nodeChain is the end of the trail as a node has it.
type nodeChain struct {
	Endpoint string `json:"endpoint"`
	Node     string `json:"node,omitempty"`
	Last     uint64 `json:"last"`
	Chain    string `json:"chain,omitempty"`
	// Oldest is the oldest row that its state has.
	Oldest  uint64 `json:"oldest"`
	Problem string `json:"problem,omitempty"`

	client *client.Client
}

func auditVerify(s *session) error {
	if len(s.StringSlice("dir"))+len(s.StringSlice("file")) == 0 && !s.Bool("server") {
		return s.usagef("--dir, --file or --server is missing")
	}
	var dirs []string
	for _, dir := range s.StringSlice("dir") {
		found, err := trailIn(dir)
		if err != nil {
			return s.usagef("--dir: %v", pathError(err))
		}
		dirs = append(dirs, found)
	}
	for _, file := range s.StringSlice("file") {
		info, err := os.Stat(file)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no regular file", file)
		}
		if err != nil {
			return s.usagef("--file: %v", pathError(err))
		}
		dirs = append(dirs, file)
	}
	anchors, err := s.anchors()
	if err != nil {
		return err
	}
	sum, err := trail.Verify(dirs, anchors)
	if err != nil {
		return failf(exitInternal, "", "the files can't be verified: %v", pathError(err))
	}
	v := verdictOfTrail{Sum: sum, anchored: anchors != nil}
	if s.Bool("server") {
		if v.Nodes, err = s.nodeChains(); err != nil {
			return err
		}
		for i := range v.Nodes {
			defer v.Nodes[i].client.Close() //nolint:revive // all of them, at the end
		}
		if err := v.compare(s); err != nil {
			return err
		}
	}
	return s.sayVerdict(&v)
}

// anchors are nil without --public-key.
func (s *session) anchors() (*trail.Anchors, error) {
	file, kept := s.String("public-key"), s.String("checkpoints")
	switch {
	case file == "" && kept != "":
		return nil, s.usagef("--checkpoints takes --public-key, too")
	case file == "":
		return nil, nil
	case len(s.StringSlice("dir"))+len(s.StringSlice("file")) == 0:
		return nil, s.usagef("--public-key: there are no files to hold against checkpoints without --dir or --file")
	}
	text, err := s.readFile("--public-key", file, maxInput)
	if err != nil {
		return nil, err
	}
	a := new(trail.Anchors)
	if a.Keys, err = client.ParsePublicKeys(text); err != nil {
		return nil, s.usagef("--public-key: %s: %v", file, err)
	}
	if kept == "" {
		return a, nil
	}
	text, err = s.readFile("--checkpoints", kept, trail.MaxCheckpointFile)
	if err != nil {
		return nil, err
	}
	if a.Kept = trail.SplitCheckpoints(string(text)); len(a.Kept) == 0 {
		return nil, s.usagef("--checkpoints: %s is empty", kept)
	}
	return a, nil
}

// trailIn finds the files in a data directory, or in what already is that of the trail.
func trailIn(dir string) (string, error) {
	below := trail.Directory(dir)
	if info, err := os.Stat(below); err == nil && info.IsDir() {
		return below, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if _, readErr := os.ReadDir(dir); readErr != nil {
		err = readErr
	}
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s holds no files of an audit trail", dir)
	}
	return dir, err
}

// nodeChains asks each endpoint for itself.
func (s *session) nodeChains() ([]nodeChain, error) {
	o, err := s.clientOptions()
	if err != nil {
		return nil, err
	}
	var list []nodeChain
	var last error
	answered := false
	for _, endpoint := range o.Endpoints {
		one := o
		one.Endpoints = []string{endpoint}
		c, err := client.New(one)
		if err != nil {
			return nil, s.usagef("%v", err)
		}
		n := nodeChain{Endpoint: endpoint, client: c}
		if a, err := c.Audit(s.context(), client.AuditPage{Limit: 1}, client.Stale()); err != nil {
			n.Problem, last = err.Error(), err
		} else {
			n.Node, n.Last, n.Chain, n.Oldest, answered = a.Node, a.Value.Last, a.Value.Chain, a.Value.Oldest, true
		}
		list = append(list, n)
	}
	if !answered {
		return nil, last
	}
	return list, nil
}

// chainAt is the chain after a row as a node has it; false if it no longer has the row, or can't say, which is then its problem.
func (n *nodeChain) chainAt(s *session, row uint64) (string, bool) {
	if row == n.Last {
		return n.Chain, true
	}
	a, err := n.client.AuditRow(s.context(), row, client.Stale())
	if err != nil {
		if client.CodeOf(err) != apiv1.CodeAuditRowNotFound {
			n.Problem = err.Error()
		}
		return "", false
	}
	return a.Value.Chain, true
}

// compare holds directories and nodes against the first node that answered, at the last row that both have.
func (v *verdictOfTrail) compare(s *session) error {
	var first *nodeChain
	for i := range v.Nodes {
		n := &v.Nodes[i]
		switch {
		case n.Problem != "":
		case first == nil:
			first = n
		default:
			v.compareNodes(s, first, n)
		}
	}
	for _, r := range v.Reports {
		if err := v.compareFiles(s, first, r); err != nil {
			return err
		}
	}
	return nil
}

func (v *verdictOfTrail) compareNodes(s *session, first, n *nodeChain) {
	row := min(first.Last, n.Last)
	if row == 0 {
		return
	}
	one, known := first.chainAt(s, row)
	other, alsoKnown := n.chainAt(s, row)
	switch {
	case known && alsoKnown:
		v.conflict(row, "node "+first.Node, one, "node "+n.Node, other)
	case first.Problem == "" && n.Problem == "":
		n.Problem = fmt.Sprintf("It can't be compared with node %s: row %d, the last of one, is no longer on the other.", first.Node, row)
	}
}

func (v *verdictOfTrail) compareFiles(s *session, first *nodeChain, r *trail.Report) error {
	row := min(first.Last, r.Last)
	if row == 0 {
		return nil
	}
	gap := r.Last+1 < first.Oldest && r.Last == v.Last
	if gap {
		v.Gaps = append(v.Gaps, trail.Gap{From: r.Last + 1, To: first.Oldest - 1})
	}
	ours, known, err := trail.ChainAt(r.Dir, row)
	if err != nil || !known {
		return err
	}
	theirs, known := first.chainAt(s, row)
	switch {
	case known:
		v.conflict(row, r.Dir, hex.EncodeToString(ours[:]), "node "+first.Node, theirs)
	case !gap && first.Problem == "":
		first.Problem = fmt.Sprintf("It can't be compared with %s: it no longer has row %d.", r.Dir, row)
	}
	return nil
}

// unverified are the nodes that did not say what they have.
func (v *verdictOfTrail) unverified() (list []string) {
	for _, n := range v.Nodes {
		if n.Problem != "" {
			list = append(list, n.Endpoint)
		}
	}
	return list
}

func (v *verdictOfTrail) conflict(row uint64, a, chainA, b, chainB string) {
	if chainA != chainB {
		v.Conflicts = append(v.Conflicts, trail.Fault{Row: row, Text: fmt.Sprintf("up to row %d %s and %s hold different rows: their chains are %.16s… and %.16s…", row, a, b, chainA, chainB)})
	}
}

func (s *session) sayVerdict(v *verdictOfTrail) error {
	v.State = "whole"
	switch {
	case v.Damaged():
		v.State = "damaged"
	case len(v.unverified()) > 0:
		v.State = "unverified"
	case v.Incomplete():
		v.State = "incomplete"
	}
	if err := s.printOwn(v, func(p *page) { showTrailVerdict(p, v) }); err != nil {
		return err
	}
	switch v.State {
	case "damaged":
		return failf(exitRefused, "Keep a copy of the files. Other nodes' directories show which rows are right: name them with further --dir.", "the audit trail is damaged")
	case "unverified":
		return failf(exitUnreachable, "Try again when they answer, or name with --endpoints those that are to be asked.",
			"not all was verified: %s did not say what they have", strings.Join(v.unverified(), ", "))
	case "incomplete":
		return failf(exitNotFound, "Name the directories of the other nodes with further --dir: they fill the gaps, if they have the rows.", "the audit trail is right as far as it goes, but rows are not there")
	}
	return nil
}

func showTrailVerdict(p *page, v *verdictOfTrail) {
	var rows [][]string
	for _, r := range v.Reports {
		rows = append(rows, []string{r.Dir, r.Node, number(r.First), number(r.Last), number(r.Rows), number(uint64(len(r.Gaps))), number(uint64(len(r.Damage) + r.MoreDamage))}) //nolint:gosec // G115: a count or a length is not negative
	}
	if len(rows) > 0 {
		p.table([]string{"FILES", "NODE", "FIRST", "LAST", "ROWS", "GAPS", "DAMAGE"}, rows)
	}
	rows = nil
	for _, n := range v.Nodes {
		rows = append(rows, []string{n.Endpoint, n.Node, number(n.Last), n.Chain, n.Problem})
	}
	if len(rows) > 0 {
		p.table([]string{"ENDPOINT", "NODE", "LAST", "CHAIN", "PROBLEM"}, rows)
	}
	for _, r := range v.Reports {
		showReport(p, r)
		if v.anchored {
			showSigned(p, r)
		}
	}
	for _, c := range v.Conflicts {
		p.line("damage: %s", clean(c.String()))
	}
	for _, g := range v.Gaps {
		p.line("gap: %s are in none of the files", g)
	}
	p.line("%s", v.State)
}

func showSigned(p *page, r *trail.Report) {
	if r.Signed == nil {
		p.line("note: %s: no checkpoint certifies its rows", clean(r.Dir))
		return
	}
	p.line("signed: %s: up to row %d, by node %s at %s (checkpoints: %d)",
		clean(r.Dir), r.Signed.Row, r.Signed.Node, when(r.Signed.Issued), r.Signed.Checkpoints)
}

func showReport(p *page, r *trail.Report) {
	for _, f := range r.Damage {
		p.line("damage: %s: %s", clean(r.Dir), clean(f.String()))
	}
	if r.MoreDamage > 0 {
		p.line("damage: %s: %d more", clean(r.Dir), r.MoreDamage)
	}
	for _, g := range r.Gaps {
		p.line("gap: %s: the node never had the %s", clean(r.Dir), g)
	}
	if r.Unfinished > 0 {
		p.line("note: %s: row %d is unfinished; the node completes it when it goes on", clean(r.Dir), r.Unfinished)
	}
	for _, name := range r.Aside {
		p.line("note: %s: %s is a copy of a file that was damaged when the node started", clean(r.Dir), clean(name))
	}
}
