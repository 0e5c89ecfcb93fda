package e2e

import "syscall"

// withParent has the kernel kill a process when the test that started it is
// gone, however that ended: a panic or a timeout runs no cleanup.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
