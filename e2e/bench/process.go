package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopTime is how long a process has to end by itself.
const stopTime = 20 * time.Second

// process is a program that runs until it is stopped. Its output is in a file.
type process struct {
	command *exec.Cmd
	log     string
	ended   chan struct{}
}

// startProcess starts a program that dies with this one.
func startProcess(dir, name string, argv ...string) (*process, error) {
	log := filepath.Join(dir, name+".out")
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir, c.Stdout, c.Stderr = dir, out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p := &process{command: c, log: log, ended: make(chan struct{})}
	go func() {
		// How it ended is in ProcessState.
		_ = c.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.command.Process.Pid }

// stop asks the process to end, and then makes it.
func (p *process) stop() error {
	_ = p.command.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.ended
	return fmt.Errorf("%s did not end in %s; see %s", p.command.Path, stopTime, p.log)
}

// await returns when a condition holds, or an error with the last reason why not.
func (p *process) await(ctx context.Context, what string, holds func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("%s: the process ended (%s); see %s", what, p.command.ProcessState, p.log)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
		}
	}
}
