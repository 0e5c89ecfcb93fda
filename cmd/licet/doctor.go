package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/licet/licet/client"
	"github.com/licet/licet/config"
)

func doctorCommand(streams Streams) *cli.Command {
	return verb{
		name: "doctor", usage: "examine the cluster and, with --config, this machine and its node, and say what to do",
		about: "Without --config it asks the cluster through --endpoints. With --config it also examines the node of this machine, whether it\n" +
			"runs or not: configuration, certificates, data directory, ports, disk, and the nodes that it names, which it asks with the\n" +
			"node's certificate. It changes nothing but a file in the data directory, which it writes to measure the disk and removes.\n" +
			"It exits with 0 if nothing failed, with or without warnings, and with 1 if something did.\n" +
			"As JSON it prints {\"checks\": [{\"result\", \"check\", \"detail\", \"next\"}]}.",
		flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "configuration `FILE` of this machine's node"},
			&cli.StringSliceFlag{Name: "set", Usage: "override `KEY=VALUE` of the configuration, such as log.level=debug; repeatable"},
		},
		run: runDoctor,
	}.command(streams)
}

// grade is what a check came to.
type grade string

const (
	fine   grade = "ok"
	warned grade = "warn"
	failed grade = "fail"
)

// checked is one line of a report.
type checked struct {
	Result grade  `json:"result"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"`
}

// doctor collects what checks came to.
type doctor struct {
	*session
	Checks []checked `json:"checks"`
	// unborn is true if neither this machine's node nor any that it names belongs to a cluster yet.
	unborn bool
}

func (d *doctor) ok(check, format string, args ...any) {
	d.Checks = append(d.Checks, checked{fine, check, fmt.Sprintf(format, args...), ""})
}

func (d *doctor) warn(check, next, format string, args ...any) {
	d.Checks = append(d.Checks, checked{warned, check, fmt.Sprintf(format, args...), next})
}

func (d *doctor) fail(check, next, format string, args ...any) {
	d.Checks = append(d.Checks, checked{failed, check, fmt.Sprintf(format, args...), next})
}

// took reports what a group of checks found: each of it is a warning, and nothing is fine.
func (d *doctor) took(check string, f findings, format string, args ...any) {
	for _, wrong := range f.wrong {
		d.warn(check, wrong.next, "%s", wrong.what)
	}
	if len(f.wrong) == 0 {
		d.ok(check, format, args...)
	}
}

func runDoctor(s *session) error {
	if s.String("config") == "" && len(s.StringSlice("set")) > 0 {
		return s.usagef("--set overrides keys of the configuration that --config names; give --config too, or neither")
	}
	d := &doctor{session: s}
	o, err := s.clientOptions()
	if err != nil {
		return err
	}
	if s.String("config") != "" {
		d.examineNode(&o)
	}
	if d.unborn {
		d.warn("cluster", "Start the nodes: they form the cluster when they have found each other.", "there is none yet, as far as the nodes of the configuration know")
	} else {
		d.examineCluster(o)
	}
	bad := d.count(failed)
	if err := s.printOwn(map[string]any{"checks": d.Checks}, d.show); err != nil || bad == 0 {
		return err
	}
	return &failure{
		code: exitInternal, word: "unhealthy", detail: fmt.Sprintf("%d of %d checks failed.", bad, len(d.Checks)),
		next: "Do what stands below each line that says fail, from the top, and run it again.",
	}
}

func (d *doctor) count(v grade) (n int) {
	for _, c := range d.Checks {
		if c.Result == v {
			n++
		}
	}
	return n
}

func (d *doctor) show(p *page) {
	for _, c := range d.Checks {
		p.line("%-4s  %-13s %s", c.Result, c.Check, clean(c.Detail))
		if c.Next != "" {
			p.line("      next: %s", clean(c.Next))
		}
	}
	p.line("\n%d checks: %d ok, %d warnings, %d failed", len(d.Checks), d.count(fine), d.count(warned), d.count(failed))
}

// examineCluster asks the nodes at the endpoints, and what they say of the others.
func (d *doctor) examineCluster(o client.Options) {
	c, err := client.New(o)
	if err != nil {
		d.fail("cluster", "Name nodes' addresses with --endpoints.", "%v", err)
		return
	}
	defer c.Close()
	nodes := askAll(d.context(), c, c.Endpoints())
	members := membersOf(d.context(), c, nodes)
	nodes = append(nodes, askAll(d.context(), c, unasked(nodes, members))...)
	whole := examine(nodes, members)
	if whole.code != exitOK {
		d.fail("cluster", whole.next, "%s", whole.summary)
	} else {
		d.ok("cluster", "%s", whole.summary)
	}
	d.examineAnswers(nodes)
	if members == nil {
		d.warn("members", "Mend what is above first.", "nobody knows who the members are, so that quorum, versions and clocks were not compared")
		return
	}
	var absent, quorum, clocks findings
	absent.absent(nodes, members)
	d.took("members", absent, "all %d are there", len(members))
	quorum.quorum(members)
	d.took("quorum", quorum, "%s", quorumText(len(voters(members))))
	clocks.clocks(allowedSkew(nodes), members)
	d.took("clocks", clocks, "%d members within %s of each other", len(members), worstClock(members))
	versions := versionsOf(members)
	if len(versions) > 1 {
		d.warn("versions", "Finish the upgrade of all nodes.", "the members run %s", strings.Join(versions, ", "))
	} else {
		d.ok("versions", "all members run %s", strings.Join(versions, ""))
	}
	d.examineContracts(c)
}

// examineAnswers reports each node by what it says of itself.
func (d *doctor) examineAnswers(nodes []seen) {
	var all findings
	contradiction := all.compare(nodes)
	for _, wrong := range all.wrong {
		if contradiction {
			d.fail("replicas", wrong.next, "%s", wrong.what)
		} else {
			d.warn("replicas", wrong.next, "%s", wrong.what)
		}
	}
	for _, x := range nodes {
		if x.value == nil {
			e, _ := asFailure(x.err)
			d.fail("node", e.next, "%s", describeSilence(x.Endpoint, e.detail))
			continue
		}
		var f findings
		if !x.value.Ready {
			f.add("Wait a moment, then look at its log.", "%s is not ready: %s", x.value.ID, x.value.NotReady)
		}
		f.vitals(x.value, time.Now())
		d.took("node", f, "%s is ready, %s", x.value.ID, strings.Join(strengths(x), ", "))
	}
}

// within bounds a part of the examination.
func (d *doctor) within(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(d.context(), limit)
}

// loadForDoctor is loadConfig whose error becomes a line.
func (d *doctor) loadForDoctor(file string) (config.Config, bool) {
	c, err := loadConfig(d.session, file)
	if err == nil {
		d.ok("config", "%s is right, and so are the files that it names: node %s", file, c.Node.ID)
		return c, true
	}
	f, _ := asFailure(err)
	d.fail("config", f.next, "%s", strings.ReplaceAll(f.detail, "\n", "; "))
	return c, false
}
