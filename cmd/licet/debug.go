package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/urfave/cli/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/config"
	"github.com/licet/licet/fsm"
)

func debugCommand(streams Streams) *cli.Command {
	return group("debug", "look into files without a cluster; nothing is changed",
		verb{
			name: "backup", usage: "check a backup and say what it holds", args: []string{"FILE"}, run: debugBackup,
			flags: []cli.Flag{&cli.StringFlag{Name: "public-key", Usage: "`FILE` with the cluster's keys (`licet keys --out`): that one of them sealed it"}},
			about: "Exit code 3 says that it is damaged, of a newer version, or not sealed by one of the keys.",
		}.command(streams),
		verb{
			name: "data", usage: "say what the data directory of a stopped node holds", args: []string{"DIRECTORY"}, run: debugData,
			flags: []cli.Flag{&cli.StringFlag{Name: "last", Usage: "show the last `N` entries of the log, up to 1000 (default 10)"}},
			about: "A directory that a running node uses is refused. The state is that after the whole log; its last entries need not have been committed.",
		}.command(streams),
	)
}

func debugBackup(s *session) error {
	file, err := os.Open(s.args[0])
	if err != nil {
		return s.usagef("FILE: %v", pathError(err))
	}
	defer func() { _ = file.Close() }() // it was only read
	b, err := s.openBackup(file)
	if err != nil {
		return err
	}
	summary := describe(s.args[0], b)
	if s.IsSet("public-key") {
		summary.Seal = "verified"
	}
	return s.printOwn(summary, func(p *page) {
		p.fields("cluster", b.Cluster, "written by", fmt.Sprintf("node %s, version %s", b.Node, b.Version), "at", when(b.Created),
			"index", number(b.Index), "term", number(b.Term), "state's clock", when(summary.Clock), "digest", b.Digest, "sha256", b.SHA256,
			"seal", map[string]string{"own": "fits; name --public-key to see whose it is", "verified": "by one of the keys named"}[summary.Seal])
		showCounts(p, summary.Counts)
	})
}

func showCounts(p *page, counts []fsm.Count) {
	p.line("")
	var rows [][]string
	for _, c := range counts {
		rows = append(rows, []string{c.Name, number(uint64(c.N))}) //nolint:gosec // G115: a count or a length is not negative
	}
	p.table([]string{"HOLDS", "NUMBER"}, rows)
}

// dataSummary is what is said of a data directory.
type dataSummary struct {
	Directory string            `json:"directory"`
	Node      string            `json:"node"`
	Cluster   string            `json:"cluster,omitempty"`
	Left      bool              `json:"left,omitempty"`
	Term      uint64            `json:"term"`
	VotedTerm uint64            `json:"voted_term,omitempty"`
	VotedFor  string            `json:"voted_for,omitempty"`
	First     uint64            `json:"first_index"`
	Last      uint64            `json:"last_index"`
	Index     uint64            `json:"index"`
	Digest    string            `json:"digest"`
	Clock     time.Time         `json:"clock"`
	Members   []memberSummary   `json:"members"`
	Snapshots []snapshotSummary `json:"snapshots"`
	Counts    []fsm.Count       `json:"counts"`
	Tokens    []tokenSummary    `json:"tokens,omitempty"`
	Entries   []entrySummary    `json:"entries"`
}

type memberSummary struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Role    string `json:"role"`
}

type snapshotSummary struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	Bytes int64  `json:"bytes"`
	Fault string `json:"fault,omitempty"`
}

type entrySummary struct {
	Index    uint64           `json:"index"`
	Term     uint64           `json:"term"`
	Type     string           `json:"type"`
	Time     *time.Time       `json:"time,omitempty"`
	Commands []commandSummary `json:"commands,omitempty"`
}

type commandSummary struct {
	Kind      string `json:"kind"`
	Actor     string `json:"actor,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

func debugData(s *session) error {
	last := uint64(10)
	if s.IsSet("last") {
		var err error
		if last, err = whole(s.String("last"), 0, 1000); err != nil {
			return s.usagef("--last: %v", err)
		}
	}
	i, err := cluster.Inspect(s.args[0], int(last))
	if err != nil {
		return badData(err, "If the node can't use it either, wipe it and let the node join again under a new id.")
	}
	d := summarise(s.args[0], i)
	return s.printOwn(d, func(p *page) { showData(p, d) })
}

// badData is why a data directory can't be looked into; next is for one that is damaged.
func badData(err error, next string) error {
	switch {
	case errors.Is(err, cluster.ErrInUse):
		return failf(exitRefused, "Stop the node, or ask it while it runs: `licet status`.", "%v", err)
	case errors.Is(err, cluster.ErrNoData):
		return failf(exitUsage, "Name the directory that node.data_dir names.", "%.400s", err.Error())
	}
	return failf(exitInternal, next, "%v", err)
}

func summarise(dir string, i *cluster.Inspection) dataSummary {
	d := dataSummary{
		Directory: dir, Node: i.Node, Cluster: i.Cluster, Left: i.Left, Term: i.Term, VotedTerm: i.VotedTerm, VotedFor: i.VotedFor,
		First: i.FirstIndex, Last: i.LastIndex, Index: i.View.Index(), Digest: i.View.Digest().String(), Clock: i.View.Clock().Wall(), Counts: i.View.Counts(), Tokens: tokensOf(i.View),
	}
	for _, m := range i.Members {
		d.Members = append(d.Members, memberSummary{ID: m.ID, Address: m.Address, Role: memberRoleOf(m.Voter)})
	}
	for _, f := range i.Snapshots {
		d.Snapshots = append(d.Snapshots, snapshotSummary{ID: f.ID, Index: f.Index, Term: f.Term, Bytes: f.Bytes, Fault: f.Fault})
	}
	for _, e := range i.Entries {
		x := entrySummary{Index: e.Index, Term: e.Term, Type: e.Type}
		if !e.Stamp.IsZero() {
			x.Time = &e.Stamp
		}
		for _, c := range e.Commands {
			x.Commands = append(x.Commands, commandSummary(c))
		}
		d.Entries = append(d.Entries, x)
	}
	return d
}

func memberRoleOf(voter bool) string {
	if voter {
		return "voter"
	}
	return "non-voter"
}

func showData(p *page, d dataSummary) {
	left := ""
	if d.Left {
		left = "the node left its cluster"
	}
	voted := ""
	if d.VotedFor != "" {
		voted = fmt.Sprintf("in term %d for %s", d.VotedTerm, d.VotedFor)
	}
	p.fields("node", d.Node, "cluster", d.Cluster, "left", left, "term", number(d.Term), "voted", voted,
		"log", fmt.Sprintf("entries %d to %d", d.First, d.Last), "state", fmt.Sprintf("at index %d", d.Index), "digest", d.Digest, "state's clock", when(d.Clock))
	var rows [][]string
	for _, m := range d.Members {
		rows = append(rows, []string{m.ID, m.Role, m.Address})
	}
	p.line("")
	p.table([]string{"MEMBER", "ROLE", "ADDRESS"}, rows)
	rows = nil
	for _, f := range d.Snapshots {
		state := "whole"
		if f.Fault != "" {
			state = f.Fault
		}
		rows = append(rows, []string{f.ID, number(f.Index), mebibytes(f.Bytes), state})
	}
	p.line("")
	p.table([]string{"SNAPSHOT", "INDEX", "SIZE", "STATE"}, rows)
	showCounts(p, d.Counts)
	showTokens(p, d.Tokens)
	rows = nil
	for _, e := range d.Entries {
		at := ""
		if e.Time != nil {
			at = when(*e.Time)
		}
		rows = append(rows, []string{number(e.Index), number(e.Term), at, entryText(e)})
	}
	p.line("")
	p.table([]string{"ENTRY", "TERM", "TIME", "WHAT"}, rows)
}

// entryText says what an entry is, of many commands the first ones.
func entryText(e entrySummary) string {
	if len(e.Commands) == 0 {
		return e.Type
	}
	const shown = 3
	var list []string
	for _, c := range e.Commands[:min(shown, len(e.Commands))] {
		text := c.Kind
		if c.Actor != "" {
			text += " by " + c.Actor + " (" + c.RequestID + ")"
		}
		list = append(list, text)
	}
	if n := len(e.Commands) - shown; n > 0 {
		list = append(list, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(list, ", ")
}

func recoverCommand(streams Streams) *cli.Command {
	return verb{
		name: "recover", usage: "make a stopped node the only member, when the majority is lost for good", run: clusterRecover,
		flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "configuration `FILE` of the node", Required: true},
			&cli.BoolFlag{Name: "accept-loss", Usage: "do it; without it the command only says what there is and what may be lost"},
		},
		about: "Choose the node with the highest term, then the highest index. Writes that only the lost nodes had are lost, also acknowledged ones.\n" +
			"The other nodes must stay stopped; afterwards wipe them and let them join under new ids.",
	}.command(streams)
}

func clusterRecover(s *session) error {
	c, err := loadConfig(s, s.String("config"))
	if err != nil {
		return err
	}
	i, err := cluster.Inspect(c.Node.DataDir, 0)
	if err != nil {
		return badData(err, "Choose another node to recover from, or restore a backup into a new cluster.")
	}
	d := summarise(c.Node.DataDir, i)
	if !s.Bool("accept-loss") {
		if err := s.printOwn(d, func(p *page) { showLoss(p, d) }); err != nil {
			return err
		}
		return failf(exitRefused, "Compare with `licet debug data` on the other nodes that can still be read; then run it again with --accept-loss on the best one.", "nothing was changed")
	}
	dropped, err := cluster.Recover(recoverOptions(c, hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: s.Err})))
	if err != nil {
		return failf(exitInternal, "See to the cause, and run the same command again.", "the node could not be recovered: %v", err)
	}
	return s.printOwn(map[string]any{"node": d.Node, "cluster": d.Cluster, "dropped": dropped}, func(p *page) {
		p.line("Node %s is now the only member of cluster %s. Start it.", d.Node, d.Cluster)
		for _, id := range dropped {
			p.line("Node %s was left behind: wipe its data directory before it starts again, under a new id.", id)
		}
	})
}

func recoverOptions(c config.Config, log hclog.Logger) cluster.Options {
	return cluster.Options{
		ID: c.Node.ID, DataDir: c.Node.DataDir, Advertise: c.Node.Advertise.String(), MaxClockSkew: c.Limits.MaxClockSkew,
		TrailFileBytes: int64(c.Audit.FileBytes), TrailTotalBytes: int64(c.Audit.TotalBytes), Log: log,
	}
}

func showLoss(p *page, d dataSummary) {
	var others []string
	for _, m := range d.Members {
		if m.ID != d.Node {
			others = append(others, m.ID)
		}
	}
	p.fields("node", d.Node, "cluster", d.Cluster, "term", number(d.Term), "log up to", number(d.Last), "state", fmt.Sprintf("index %d at %s", d.Index, when(d.Clock)))
	p.line("")
	p.line("If this node is recovered:")
	p.line("- Writes that only %s had are lost, also those that were acknowledged: this node has nothing after index %d, %s.", orNobody(others), d.Last, when(d.Clock))
	p.line("- Its last entries are taken as decided, also if no majority had them.")
	p.line("- Seats that the others gave out after that are free here, and may be out twice until their leases and borrows end.")
	p.line("- %s must not start again before their data directories are wiped; they join under new ids.", orNobody(others))
}

func orNobody(ids []string) string {
	if len(ids) == 0 {
		return "no other member"
	}
	return strings.Join(ids, " and ")
}
