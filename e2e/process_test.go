package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// process is one run of the binary. It is reaped as soon as it ends.
type process struct {
	name string
	cmd  *exec.Cmd
	// ended is closed once the process is reaped.
	ended chan struct{}
}

// start runs a command whose environment holds nothing of licet's but what env adds.
func start(name string, c *exec.Cmd, env ...string) (*process, error) {
	c.Env = append(cleanEnvironment(), env...)
	c.SysProcAttr = withParent()
	p := &process{name: name, cmd: c, ended: make(chan struct{})}
	if err := running.start(p); err != nil {
		return nil, err
	}
	go func() {
		// How it ended is in ProcessState.
		_ = c.Wait()
		running.remove(p)
		close(p.ended)
	}()
	return p, nil
}

func cleanEnvironment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "LICET_") {
			env = append(env, entry)
		}
	}
	return env
}

// alive is false once the process is reaped.
func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// kill returns when the process is gone.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL)
	<-p.ended
}

// exitCode is that of an ended process, -1 if a signal ended it.
func (p *process) exitCode() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

// processes are all that run. Safe for concurrent use.
type processes struct {
	mu   sync.Mutex
	all  map[*process]bool
	jobs chan func()
}

var running = newProcesses()

// newProcesses keeps one thread for starting: the kernel takes the death of the
// thread that started a process for the death of its parent.
func newProcesses() *processes {
	r := &processes{all: map[*process]bool{}, jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range r.jobs {
			job()
		}
	}()
	return r
}

func (r *processes) start(p *process) error {
	started := make(chan error, 1)
	r.jobs <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[p] = true
	return nil
}

func (r *processes) remove(p *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, p)
}

// killAll ends what still runs and returns its names.
func (r *processes) killAll() []string {
	r.mu.Lock()
	var left []*process
	for p := range r.all {
		left = append(left, p)
	}
	r.mu.Unlock()
	var names []string
	for _, p := range left {
		p.kill()
		names = append(names, p.name)
	}
	return names
}
