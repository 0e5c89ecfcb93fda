package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/client"
)

// killAfter is how long a program that has lost its seat may take to end once it was asked to.
const killAfter = 10 * time.Second

// What to do with the program when its seat is lost.
const (
	lossTerminate = "terminate"
	lossWarn      = "warn"
)

func runCommand(streams Streams) *cli.Command {
	return verb{
		name: "run", usage: "run a program with a seat: wait for one, keep it, and return it", args: []string{"POOL", "PRODUCT", "PROGRAM..."}, run: runProgram,
		flags: append(seatFlags(),
			&cli.StringFlag{Name: "wait", Usage: "give up when there is no seat within `TIME`, such as 10m; 0 does not queue at all (default: as long as it takes)"},
			&cli.StringFlag{Name: "on-loss", Usage: "when the seat is lost, terminate the program or only warn: `WHAT` (default terminate)"}),
		about: "Usage: licet run POOL PRODUCT --user USER --client NAME -- PROGRAM ARGUMENTS\n" +
			"Signals (HUP, INT, QUIT, TERM, USR1, USR2) are passed on to the program, and its exit code is that of licet;\n" +
			"128 and the signal's number if a signal ended it. If licet itself is killed, the seat is free within its TTL.",
	}.command(streams)
}

// ended is how a program that licet ran has ended: its exit code is passed on, and nothing said of it.
type ended struct{ code int }

func (e ended) Error() string { return fmt.Sprintf("the program ended with %d", e.code) }

// program is a program that runs with a seat.
type program struct {
	s       *session
	path    string
	seat    *client.Seat
	signals chan os.Signal
	onLoss  string
	// stopped: it was asked to end because the seat was lost.
	stopped bool
}

func runProgram(s *session) error {
	ask, err := s.ask()
	if err != nil {
		return err
	}
	p := program{s: s, onLoss: lossTerminate, signals: make(chan os.Signal, 16)}
	if s.IsSet("on-loss") {
		p.onLoss = s.String("on-loss")
	}
	if p.onLoss != lossTerminate && p.onLoss != lossWarn {
		return s.usagef("--on-loss: %.40q is neither terminate nor warn", p.onLoss)
	}
	var patience time.Duration
	if ask.Queue = s.String("wait") != "0"; ask.Queue && s.IsSet("wait") {
		if patience, err = s.patience(); err != nil {
			return err
		}
	}
	// A slip of the fingers is told before anybody waits.
	if p.path, err = exec.LookPath(s.args[2]); err != nil {
		return notStarted(s.args[2], err)
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	defer c.Close()
	signal.Notify(p.signals, passedOn...)
	defer signal.Stop(p.signals)
	// A signal is not the end of the seat, which lasts until the program has ended.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(s.context()))
	defer cancel(nil)
	if err := p.waitForSeat(ctx, cancel, c, ask, patience); err != nil {
		return err
	}
	err = p.run()
	if failed := p.seat.Close(); failed != nil {
		s.note("the seat could not be returned (%v); it is free one TTL after its last renewal", failed)
	}
	return err
}

// passedOn are the signals that the program gets.
var passedOn = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}

// notStarted has the exit codes that shells give for this.
func notStarted(name string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNoProgram
	}
	return failf(code, "", "%.200s can't be run: %v", name, err)
}

// waitForSeat ends when there is a seat, the patience is at its end, or a signal says so.
func (p *program) waitForSeat(ctx context.Context, cancel context.CancelCauseFunc, c *client.Client, ask apiv1.Checkout, patience time.Duration) error {
	got := make(chan error, 1)
	go func() {
		var err error
		p.seat, err = c.Hold(ctx, ask, p.sayTicket)
		got <- err
	}()
	var late <-chan time.Time
	if patience > 0 {
		late = time.After(patience)
	}
	for {
		select {
		case err := <-got:
			if context.Cause(ctx) == nil {
				return err
			}
			if p.seat != nil {
				_ = p.seat.Close() // it came in the same moment, and nobody wants it any more
			}
			return context.Cause(ctx)
		case <-late:
			cancel(failf(exitRefused, "Try again later, or wait for longer with --wait.", "there was no seat within %s", patience))
		case x := <-p.signals:
			cancel(ended{signalled + numberOf(x)})
		}
	}
}

// signalled is what shells add to a signal's number.
const signalled = 128

func numberOf(x os.Signal) int {
	n, _ := x.(syscall.Signal)
	return int(n)
}

func (p *program) sayTicket(t apiv1.Ticket) {
	if t.State == apiv1.TicketStateWaiting {
		p.s.note("waiting for a seat: position %d in the queue%s", t.Position, clause(estimateOf(t)))
	}
}

// run starts the program and stays with it until it has ended.
func (p *program) run() error {
	//nolint:gosec // G204: to run what the user names is what this command does.
	c := exec.CommandContext(context.WithoutCancel(p.s.context()), p.path, p.s.args[3:]...)
	c.Args[0], c.Stdin, c.Stdout, c.Stderr, c.Env = p.s.args[2], p.s.In, p.s.Out, p.s.Err, p.s.Environ
	if p.onLoss == lossTerminate {
		c.SysProcAttr = endsWithParent()
	}
	started, done := make(chan error), make(chan struct{})
	go func() {
		defer close(done)
		// The kernel takes the death of the thread that started a process for the death of its parent.
		runtime.LockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait() // how it ended is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		return notStarted(p.s.args[2], err)
	}
	p.watch(c, done)
	if p.stopped {
		return failf(exitSeatLost, "Run it again, or with --on-loss warn if it may go on without a seat.", "%v; the program was ended", p.seat.Err())
	}
	if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() > 0 {
		return ended{signalled + int(status.Signal())}
	}
	return ended{c.ProcessState.ExitCode()}
}

// watch passes signals on, and ends the program when the seat is lost.
func (p *program) watch(c *exec.Cmd, done <-chan struct{}) {
	lost := p.seat.Lost()
	var kill <-chan time.Time
	for {
		select {
		case x := <-p.signals:
			if !fromTerminal(x) {
				_ = c.Process.Signal(x) // if it has ended meanwhile, it needs none
			}
		case <-lost:
			lost = nil
			if p.onLoss == lossWarn {
				p.s.note("%v; the program goes on", p.seat.Err())
				continue
			}
			p.stopped = true
			p.s.note("%v; the program is asked to end, and killed after %s", p.seat.Err(), killAfter)
			_ = c.Process.Signal(syscall.SIGTERM)
			kill = time.After(killAfter)
		case <-kill:
			_ = c.Process.Kill()
		case <-done:
			return
		}
	}
}

// fromTerminal tells whether the program gets a signal anyway: a terminal sends its own to everybody in the foreground. Many
// programs take a second one for a demand to end at once.
func fromTerminal(x os.Signal) bool {
	if x != syscall.SIGINT && x != syscall.SIGQUIT {
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = terminal.Close() }() // it was only looked at
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
