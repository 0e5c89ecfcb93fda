//go:build runbook

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/licet/licet/api/apiv1"
)

// reader follows the runbook: with a shell in a directory, and a cluster that `licet dev` made there.
type reader struct {
	t *testing.T
	// dir is where the commands run, scratch where the test keeps what is its own.
	dir, scratch string
	base         int
	nodes        map[string]*process
	shell        *exec.Cmd
	input        io.WriteCloser
	ends         *bufio.Reader
	followed     int
	output       string
}

// TestRunbook follows docs/operations.md from top to bottom, on three real nodes, and fails where a command does. What it
// leaves to TestPackageInstalled is what that follows.
func TestRunbook(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "sed", "grep", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the runbook's commands need %s: install it", tool)
		}
	}
	here, machines := mustReadRunbook(t)
	r := newReader(t)
	for i, s := range here {
		if i == 0 || s.place == placeNew {
			r.newCluster()
		}
		for _, f := range s.fences {
			r.follow(f)
		}
	}
	r.lookThroughLogs()
	left := 0
	for _, s := range machines {
		left += len(s.fences)
	}
	page, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Count(string(page), "\n```") / 2; r.followed+left != all {
		t.Errorf("of %d fences %d were followed, and %d are for machines", all, r.followed, left)
	}
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{t: t, dir: filepath.Join(clusterDir(t), "work"), scratch: t.TempDir(), nodes: map[string]*process{}}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.makeCluster()
	r.startShell()
	t.Cleanup(func() {
		r.shellGone()
		for id := range r.nodes {
			r.kill(id)
		}
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(r.dir, "licet-dev", "*.log"))
			for _, name := range logs {
				text, _ := os.ReadFile(name)
				t.Logf("%s, its last lines:\n%s", filepath.Base(name), lastLines(string(text), 40))
			}
		}
	})
	return r
}

// makeCluster has `licet dev` make secrets and configurations, of which each cluster of the page is a fresh copy.
func (r *reader) makeCluster() {
	r.t.Helper()
	for range 5 {
		r.base = runbookPorts(r.t)
		var said lockedBuffer
		cmd := exec.Command(program, "dev", "--base-port", strconv.Itoa(r.base))
		cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, &said, &said
		p, err := start("licet dev", cmd)
		if err != nil {
			r.t.Fatal(err)
		}
		eventually(r.t, "licet dev has made a cluster", func() error {
			if p.alive() && !strings.Contains(said.String(), "Ctrl-C") {
				return errors.New(said.String())
			}
			return nil
		})
		_ = p.signal(syscall.SIGINT)
		if code := p.exitCode(); code != 0 && !strings.Contains(said.String(), "choose others with --base-port") {
			r.t.Fatalf("licet dev ended with %d:\n%s", code, said.String())
		} else if code == 0 {
			break
		}
	}
	made, kept := filepath.Join(r.dir, "licet-dev"), filepath.Join(r.scratch, "licet-dev")
	for _, id := range sites {
		r.remove(filepath.Join(made, id), filepath.Join(made, id+".log"))
	}
	r.copy(kept, made)
}

// copy copies the files of a directory, which are secret.
func (r *reader) copy(to, from string) {
	r.t.Helper()
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	for _, e := range entries {
		text, err2 := os.ReadFile(filepath.Join(from, e.Name()))
		err = errors.Join(err, err2, os.WriteFile(filepath.Join(to, e.Name()), text, 0o600))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// runbookPorts is a port that ends on 1, as that of `licet dev` does, which the page's sed counts on. Those of five nodes are free.
func runbookPorts(t *testing.T) int {
	t.Helper()
	portBook.Lock()
	defer portBook.Unlock()
	for range 100 {
		base := (firstPort+rand.IntN(lastPort-firstPort-300))/10*10 + 1
		set, free := new(portSet), true
		for i := range 15 {
			port := base + i/5*100 + i%5
			free = free && !portBook.given[port] && set.hold(port)
		}
		if err := set.release(); err != nil {
			t.Fatal(err)
		}
		if !free {
			continue
		}
		for i := range 15 {
			portBook.given[base+i/5*100+i%5] = true
		}
		return base
	}
	t.Fatal("no free ports")
	return 0
}

// newCluster wipes everything and starts three nodes.
func (r *reader) newCluster() {
	r.t.Helper()
	r.lookThroughLogs()
	r.prepare("kill all")
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		r.remove(filepath.Join(r.dir, e.Name()))
	}
	r.copy(filepath.Join(r.dir, "licet-dev"), filepath.Join(r.scratch, "licet-dev"))
	r.prepare("start all")
	r.well()
}

// well returns when the leader knows of the members that run that they are well, and of the others that they are not.
func (r *reader) well() {
	r.t.Helper()
	var endpoints []string
	for i := range sites {
		endpoints = append(endpoints, "http://"+loopback(r.base+i))
	}
	ask := []string{"cluster", "members", "-o", "json", "--endpoints", strings.Join(endpoints, ","), "--token-file", r.path("token")}
	eventually(r.t, "the leader knows which members are well", func() error {
		code, out, errs := runLicet(r.t, nil, ask...)
		if code != 0 {
			return errors.New(errs)
		}
		var list apiv1.MemberList
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		for _, m := range list.Members {
			if p := r.nodes[m.ID]; p != nil && p.alive() != m.Healthy {
				return fmt.Errorf("not yet of %s", m.ID)
			}
		}
		return nil
	})
}

func (r *reader) remove(names ...string) {
	r.t.Helper()
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *reader) path(name string) string { return filepath.Join(r.dir, "licet-dev", name) }

// startShell starts the one shell of the page. It ends at the first command that fails, and takes along what it started: also when
// the test is gone, as its input ends then.
func (r *reader) startShell() {
	r.t.Helper()
	r.shell = exec.Command("bash", "-euo", "pipefail")
	r.shell.Dir = r.dir
	r.shell.Env = append(cleanEnvironment(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "LICET_TIMEOUT=1m", "LC_ALL=C.UTF-8")
	r.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := r.shell.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	ends, err := r.shell.StdoutPipe()
	if err == nil {
		err = r.shell.Start()
	}
	if err == nil {
		_, err = fmt.Fprintln(input, `exec 3>&1; trap 'echo "ended with $?" >&3; kill -KILL 0' EXIT`)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.input, r.ends = input, bufio.NewReader(ends)
}

func (r *reader) shellGone() {
	_ = syscall.Kill(-r.shell.Process.Pid, syscall.SIGKILL)
	_ = r.shell.Wait()
}

// follow does what a reader of the page does with a fence.
func (r *reader) follow(f *fence) {
	r.t.Helper()
	for _, what := range f.before {
		r.prepare(what)
	}
	if f.before != nil && r.running() > 1 {
		r.well()
	}
	r.followed++
	switch f.language {
	case "text":
		if !looksLike(f.text, r.output) {
			r.t.Errorf("%s shows\n%s\nand the commands before it\n%s", f, f.text, r.output)
		}
	case "yaml":
		r.configure(f)
	case "sh":
		r.run(f)
	}
}

var endsWith = regexp.MustCompile(`(?m)^(.*?) +# ends with ([0-9]+)$`)

// run pastes commands into the shell.
func (r *reader) run(f *fence) {
	r.t.Helper()
	script, output := filepath.Join(r.scratch, "fence.sh"), filepath.Join(r.scratch, fmt.Sprint("output-", r.followed))
	text := endsWith.ReplaceAllString(f.text, `status=0; { $1; } || status=$$?; [ $$status = $2 ] || { echo "it ended with $$status instead of $2"; false; }`)
	text = strings.ReplaceAll(text, "127.0.0.1:700", fmt.Sprint("127.0.0.1:", r.base/10))
	if f.repeat {
		text = "until " + strings.TrimSpace(text) + "; do sleep 1; done\n"
	}
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	began := time.Now()
	if _, err := fmt.Fprintf(r.input, "source '%s' < /dev/null > '%s' 2>&1; echo done >&3\n", script, output); err != nil {
		r.t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		line, err := r.ends.ReadString('\n')
		if err != nil {
			line = err.Error()
		}
		said <- line
	}()
	end := "still under way"
	deadline := time.NewTimer(2 * patience)
	defer deadline.Stop()
	select {
	case end = <-said:
	case <-deadline.C:
	}
	shown, _ := os.ReadFile(output)
	r.output = string(shown)
	if end != "done\n" {
		r.t.Fatalf("%s: %s\n%s\nThey said:\n%s", f, strings.TrimSpace(end), f.text, r.output)
	}
	r.t.Logf("%s took %s", f, time.Since(began).Round(10*time.Millisecond))
}

// prepare brings about what the page says has happened before.
func (r *reader) prepare(what string) {
	r.t.Helper()
	verb, id, _ := strings.Cut(what, " ")
	ids := []string{id}
	if id == "all" {
		ids = r.known(verb)
	}
	for _, id := range ids {
		switch verb {
		case "kill":
			r.kill(id)
		case "stop":
			r.stop(id)
		case "wipe":
			r.remove(r.path(id))
		case "start":
			r.start(id)
		}
	}
}

// known are the nodes that all means: to be started, those of `licet dev`; otherwise also those that the page added.
func (r *reader) known(verb string) []string {
	r.t.Helper()
	if verb == "start" {
		return sites
	}
	files, err := filepath.Glob(r.path("*.pid"))
	if err != nil {
		r.t.Fatal(err)
	}
	var ids []string
	for _, name := range files {
		ids = append(ids, strings.TrimSuffix(filepath.Base(name), ".pid"))
	}
	return ids
}

// running counts the nodes of `licet dev` that run.
func (r *reader) running() (n int) {
	for _, p := range r.nodes {
		if p.alive() {
			n++
		}
	}
	return n
}

func (r *reader) start(id string) {
	r.t.Helper()
	log, err := os.OpenFile(r.path(id+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "server", "--config", "licet-dev/"+id+".yaml")
	cmd.Dir, cmd.Stdout, cmd.Stderr = r.dir, log, log
	p, err := start(id, cmd)
	if err == nil {
		r.nodes[id] = p
		err = os.WriteFile(r.path(id+".pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// kill ends a node with SIGKILL: one that the test started, or one whose process the page wrote down.
func (r *reader) kill(id string) { r.signal(id, syscall.SIGKILL) }

func (r *reader) stop(id string) {
	r.signal(id, syscall.SIGTERM)
	if p := r.nodes[id]; p != nil && p.exitCode() != 0 {
		r.t.Errorf("%s ended with %d after SIGTERM", id, p.exitCode())
	}
}

func (r *reader) signal(id string, s syscall.Signal) {
	r.t.Helper()
	if p := r.nodes[id]; p != nil {
		_ = p.signal(s)
		<-p.ended
		return
	}
	text, err := os.ReadFile(r.path(id + ".pid"))
	if errors.Is(err, fs.ErrNotExist) {
		r.t.Fatalf("the page tells of %s, which runs nowhere", id)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		r.t.Fatalf("%q is no process (%v)", text, err)
	}
	if r.group(pid) {
		_ = syscall.Kill(pid, s)
		eventually(r.t, id+" has ended", func() error {
			if r.group(pid) {
				return errors.New("it still runs")
			}
			return nil
		})
	}
}

// group says whether a process runs that the page's shell started, and no other that has its number by now.
func (r *reader) group(pid int) bool {
	group, err := syscall.Getpgid(pid)
	return err == nil && group == r.shell.Process.Pid
}

// configure puts the settings of a fence in the place of those that the files have.
func (r *reader) configure(f *fence) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, f.into))
	if err != nil || len(files) == 0 {
		r.t.Fatalf("%s: there is no %s (%v)", f, f.into, err)
	}
	changed := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		config := string(text)
		if !strings.Contains(config, "data_dir") {
			continue
		}
		heading := ""
		for line := range strings.Lines(f.text) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			if !strings.HasPrefix(line, " ") {
				heading = key
				continue
			}
			place := regexp.MustCompile(`(?m)(^` + heading + `:\n(?:  .*\n)*?  ` + key + `:).*$`)
			if !place.MatchString(config) {
				r.t.Fatalf("%s: %s has no %s.%s", f, name, heading, key)
			}
			config = place.ReplaceAllString(config, "${1}"+value)
			changed++
		}
		if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	if changed == 0 {
		r.t.Fatalf("%s changes nothing in %s", f, f.into)
	}
}

// lookThroughLogs wants no node to have crashed.
func (r *reader) lookThroughLogs() {
	r.t.Helper()
	logs, err := filepath.Glob(r.path("*.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, bad := range []string{"panic:", "fatal error:", "DATA RACE", "goroutine 1 ["} {
			if strings.Contains(string(text), bad) {
				r.t.Errorf("%s has %q:\n%s", filepath.Base(name), bad, lastLines(string(text), 60))
			}
		}
	}
}
