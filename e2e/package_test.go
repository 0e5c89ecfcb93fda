//go:build docker

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	packages = flag.String("package", "", "the `DIRECTORY` with the Debian package; `make package-test` gives it")
	nfpm     = flag.String("nfpm", "", "the nfpm `PROGRAM`, for a second version of the package")
)

// machine is what the Vagrantfile says of one, as .ci/vagrant.rb prints it.
type machine struct {
	ID, Hostname, Network, IP, Kind, Path string
	Args                                  []string
}

// machines are containers that boot Debian, in place of those that Vagrant would start.
type machines struct {
	t    *testing.T
	list []machine
	// source is what Vagrant shows each machine as /vagrant.
	source string
}

const (
	machineNetwork = "licet-package-test"
	// bootDebian lets systemd write below the container's own control groups, and nowhere else.
	bootDebian = "for group in /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,rw $group 2>/dev/null; done; exec /sbin/init"
)

// startMachines does what `make vagrant-up` does, with containers.
func startMachines(t *testing.T) *machines {
	t.Helper()
	if *packages == "" {
		t.Fatal("there is no package: run `make package-test`")
	}
	dir := t.TempDir()
	m := &machines{t: t, source: dir}
	t.Cleanup(m.remove)
	m.must("cp", "-r", "../Vagrantfile", "../deploy", *packages, dir)
	m.must("sh", "-c", `cd "$1" && LICET="$2" deploy/make-secrets licet-vagrant/secrets $(sed -n 's/^  "\(.*\)" => "\(.*\)",/\1=\2/p' Vagrantfile)`, "sh", dir, program)
	for line := range strings.Lines(m.must("ruby", "../.ci/vagrant.rb", filepath.Join(dir, "Vagrantfile"))) {
		var one machine
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		m.list = append(m.list, one)
	}
	if len(m.list) != 3 {
		t.Fatalf("the Vagrantfile has %d machines", len(m.list))
	}
	subnet := m.list[0].IP[:strings.LastIndex(m.list[0].IP, ".")] + ".0/24"
	m.must("docker", "network", "create", "--internal", "--subnet", subnet, machineNetwork)
	for _, one := range m.list {
		m.must("docker", "run", "-d", "--name", one.container(), "--hostname", one.Hostname, "--network", machineNetwork, "--ip", one.IP,
			"--stop-signal", "SIGRTMIN+3", "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
			"--cgroupns", "private", "--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp",
			"-v", dir+":/vagrant:ro", "licet-debian:12", "sh", "-c", bootDebian)
	}
	for _, one := range m.list {
		eventually(t, one.ID+" has booted", func() error {
			if out, err := m.run("docker", "exec", one.container(), "systemctl", "is-system-running"); out != "running\n" {
				return fmt.Errorf("%s, %w", out, err)
			}
			return nil
		})
	}
	return m
}

func (one machine) container() string { return machineNetwork + "-" + one.ID }

func (m *machines) remove() {
	for _, one := range m.list {
		if m.t.Failed() {
			out, _ := m.run("docker", "exec", one.container(), "journalctl", "--no-pager", "-n", "60", "-u", "licet")
			m.t.Logf("journal of %s:\n%s", one.ID, out)
		}
		_, _ = m.run("docker", "rm", "-f", "-v", one.container())
	}
	_, _ = m.run("docker", "network", "rm", machineNetwork)
}

func (m *machines) run(args ...string) (string, error) {
	command := exec.Command(args[0], args[1:]...)
	command.Env = cleanEnvironment()
	out, err := command.CombinedOutput()
	return string(out), err
}

func (m *machines) must(args ...string) string {
	m.t.Helper()
	out, err := m.run(args...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// on runs a command as root on a machine, with what an operator sets to use licet there.
func (m *machines) on(one machine, args ...string) string {
	m.t.Helper()
	return m.must(append(one.exec(), args...)...)
}

func (one machine) exec() []string {
	return []string{
		"docker", "exec", "-e", "LICET_ENDPOINTS=https://" + one.IP + ":7001", "-e", "LICET_CA=/etc/licet/ca.pem",
		"-e", "LICET_TOKEN_FILE=/etc/licet/token", one.container(),
	}
}

// provision runs what the Vagrantfile names, as Vagrant does.
func (m *machines) provision(one machine) {
	m.t.Helper()
	if one.Kind != "shell" {
		m.t.Fatalf("%s is provisioned by %s", one.ID, one.Kind)
	}
	m.on(one, append([]string{"/vagrant/" + one.Path}, one.Args...)...)
}

func (m *machines) serves(list ...machine) {
	m.t.Helper()
	for _, one := range list {
		eventually(m.t, one.ID+" serves", func() error {
			if out, err := m.run(append(one.exec(), "licet", "ready")...); err != nil {
				return errors.New(out)
			}
			return nil
		})
	}
}

func (m *machines) instances(one machine) int {
	m.t.Helper()
	var list struct{ Instances []json.RawMessage }
	if err := json.Unmarshal([]byte(m.on(one, "licet", "instance", "list", "-o", "json")), &list); err != nil {
		m.t.Fatal(err)
	}
	return len(list.Instances)
}

// TestPackageOnVagrantMachines: three machines are provisioned as the Vagrantfile says, and form a cluster. To do it again changes nothing.
func TestPackageOnVagrantMachines(t *testing.T) {
	m := startMachines(t)
	for _, one := range m.list {
		m.provision(one)
	}
	m.serves(m.list...)
	first := m.list[0]
	look := func() string {
		return m.on(first, "sha256sum", "/etc/licet/licet.yaml", "/etc/licet/token") + m.on(first, "systemctl", "show", "-P", "MainPID", "licet")
	}
	before := look()
	m.provision(first)
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// TestPackageInstalled: three machines are installed with the commands of docs/operations.md and form a cluster of
// hardened services; they are upgraded with those commands, one is lost, and the package leaves as it should.
func TestPackageInstalled(t *testing.T) {
	m := startMachines(t)
	page := machineCommands(t)
	m.install(page["Installing"])
	first, second, third := m.list[0], m.list[1], m.list[2]
	contract := filepath.Join(m.source, "acme.yaml")
	if err := os.WriteFile(contract, []byte(contractYAML("acme", 1, 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	m.must("docker", "cp", first.container()+":/root/secrets/vendor.key", m.source)
	mustRun(t, "vendor", "sign", contract, "--key", filepath.Join(m.source, "vendor.key"), "--out", filepath.Join(m.source, "acme.contract"))
	m.on(first, "licet", "contract", "apply", "/vagrant/acme.contract")
	m.on(second, "licet", "instance", "create", "acme", "one", "--allocate", "primary=5")
	if n := m.instances(third); n != 1 {
		t.Errorf("paris reads %d instances", n)
	}
	t.Run("unit", func(t *testing.T) { m.unit(t, first) })
	t.Run("files", func(t *testing.T) { m.files(t, first) })
	t.Run("reload", func(t *testing.T) {
		m.on(first, "systemctl", "reload", "licet")
		eventually(t, "the certificates are read anew", func() error {
			if out := m.on(first, "journalctl", "--no-pager", "-u", "licet"); !regexp.MustCompile(`\[INFO\].* reloaded: .*valid_until=`).MatchString(out) {
				return errors.New("nothing in the journal says so")
			}
			return nil
		})
	})
	t.Run("upgrade", func(t *testing.T) { m.upgrade(t, page["Upgrading"]) })
	t.Run("a machine is lost", func(t *testing.T) {
		m.must("docker", "kill", second.container())
		eventually(t, "a write without lyon", func() error {
			out, err := m.run(append(third.exec(), "licet", "instance", "create", "acme", "two", "--allocate", "primary=5", "--request-id", "two")...)
			if err != nil {
				return errors.New(out)
			}
			return nil
		})
		if n := m.instances(first); n != 2 {
			t.Errorf("bordeaux reads %d instances", n)
		}
	})
	t.Run("removal", func(t *testing.T) { m.removal(t, first) })
}

// machineCommands are the blocks of commands of the parts of the runbook that are for machines.
func machineCommands(t *testing.T) map[string][]string {
	t.Helper()
	parts := map[string][]string{}
	_, machines := mustReadRunbook(t)
	for _, part := range machines {
		for _, f := range part.fences {
			if f.language != "sh" || f.before != nil || f.repeat {
				t.Fatalf("%s: here are commands alone", f)
			}
			parts[part.title] = append(parts[part.title], f.text)
		}
	}
	return parts
}

// install follows the page: its blocks are the build, the package, the secrets, a node's configuration, and a look.
func (m *machines) install(blocks []string) {
	m.t.Helper()
	if len(blocks) != 5 {
		m.t.Fatalf("the page has %d blocks of commands on installing", len(blocks))
	}
	if blocks[0] != "make package\n" {
		m.t.Errorf("the package is built with %q", blocks[0])
	}
	first := m.list[0]
	for _, one := range m.list {
		m.on(one, "sh", "-c", "cp /vagrant/dist/*.deb /root")
		m.block(one, blocks[1])
	}
	m.block(first, blocks[2])
	m.must("docker", "cp", first.container()+":/root/secrets", m.source+"/handed-over")
	for _, one := range m.list {
		if one.ID != first.ID {
			m.on(one, "mkdir", "/root/secrets")
			for _, name := range []string{"ca.pem", "vendor.pub", "token", "gossip.key", one.ID + ".pem", one.ID + "-key.pem"} {
				m.on(one, "cp", "/vagrant/handed-over/"+name, "/root/secrets/")
			}
		}
		m.block(one, strings.Replace(blocks[3], " "+first.ID+" ", " "+one.ID+" ", 1))
	}
	if out := m.block(first, blocks[4]); !strings.Contains(out, "3 of 3 nodes answered") {
		m.t.Errorf("licet status says\n%s", out)
	}
}

// block pastes commands into a shell of root, which ends at the first that fails.
func (m *machines) block(one machine, commands string) string {
	m.t.Helper()
	return m.must("docker", "exec", "-w", "/root", one.container(), "sh", "-euc", "export HOME=/root; timeout 120 sh -euc \"$1\"", "sh", commands)
}

// unit: systemd finds nothing wrong with it, and it is closed.
func (m *machines) unit(t *testing.T, one machine) {
	m.on(one, "systemd-analyze", "verify", "--man=no", "licet.service")
	said := m.on(one, "systemd-analyze", "security", "--no-pager", "licet.service")
	exposure := regexp.MustCompile(`exposure level for licet.service: ([0-9.]+)`).FindStringSubmatch(said)
	if exposure == nil {
		t.Fatalf("systemd-analyze security says\n%s", said)
	}
	if level, err := strconv.ParseFloat(exposure[1], 64); err != nil || level > 1.5 {
		t.Errorf("the exposure is %s; 1.5 is the most", exposure[1])
	}
	pid := strings.TrimSpace(m.on(one, "systemctl", "show", "-P", "MainPID", "licet"))
	status := m.on(one, "cat", "/proc/"+pid+"/status")
	for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("of the process, %q is not in\n%s", want, status)
		}
	}
	if who := m.on(one, "ps", "-o", "user=", "-p", pid); strings.TrimSpace(who) != "licet" {
		t.Errorf("it runs as %s", who)
	}
}

// files: keys are the service's alone; the manual and the runbook are there.
func (m *machines) files(t *testing.T, one machine) {
	for line := range strings.Lines(m.on(one, "find", "/etc/licet", "/var/lib/licet", "-printf", "%U:%m %y %p\n")) {
		if !regexp.MustCompile(`^[1-9][0-9]*:(700 d|600 f) `).MatchString(line) {
			t.Errorf("others can reach, or the service does not own: %s", line)
		}
	}
	if out := m.on(one, "ls", "/etc/licet"); strings.Contains(out, "ca-key") || strings.Contains(out, "vendor.key") || strings.Contains(out, "lyon") {
		t.Errorf("the node has what is not its own:\n%s", out)
	}
	m.on(one, "sh", "-c", "zcat /usr/share/man/man8/licet.8.gz | head -1 | grep -q LICET")
	m.on(one, "sh", "-c", "zcat /usr/share/doc/licet/operations.md.gz | grep -q '^## Installing'")
}

// upgrade installs the next version on one machine after the other, as "Upgrading" in docs/operations.md does.
func (m *machines) upgrade(t *testing.T, blocks []string) {
	command := exec.Command("../deploy/package", filepath.Join(m.source, "next"), "0.1.0+next")
	command.Env = append(cleanEnvironment(), "NFPM="+*nfpm)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(blocks) != 2 {
		t.Fatalf("the page has %d blocks of commands on upgrading", len(blocks))
	}
	for _, one := range m.list {
		m.on(one, append([]string{"sh", "-euc"}, blocks[0])...)
		before := m.on(one, "systemctl", "show", "-P", "MainPID", "licet")
		m.on(one, "cp", "-r", "/vagrant/next", "/root")
		m.block(one, blocks[1])
		if after := m.on(one, "systemctl", "show", "-P", "MainPID", "licet"); after == before {
			t.Errorf("%s still runs the process from before the upgrade", one.ID)
		}
		if version := m.on(one, "dpkg-query", "-W", "-f", "${Version}", "licet"); version != "0.1.0+next" {
			t.Errorf("%s has version %s", one.ID, version)
		}
	}
	m.serves(m.list...)
}

// removal: the service stops; configuration and data stay, also when the package is purged.
func (m *machines) removal(t *testing.T, one machine) {
	m.on(one, "apt-get", "purge", "-q", "-y", "licet")
	if out, err := m.run(append(one.exec(), "systemctl", "is-active", "licet")...); err == nil {
		t.Errorf("the service is %s", out)
	}
	m.on(one, "test", "-s", "/etc/licet/licet.yaml")
	m.on(one, "test", "-s", "/var/lib/licet/raft.db")
	if out, err := m.run(append(one.exec(), "licet", "version")...); err == nil {
		t.Errorf("the program is still there: %s", out)
	}
}
