//go:build docker

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// containers are three nodes, started as `make docker-up` starts them, beside any that run already.
type containers struct {
	t   *testing.T
	dir string
	// secrets is where make-secrets put them.
	secrets string
}

const (
	containerProject = "licet-test"
	containerPort    = 7811
)

var containerSites = []string{"bordeaux", "lyon", "paris"}

func startContainers(t *testing.T) *containers {
	t.Helper()
	dir := t.TempDir()
	c := &containers{t: t, dir: dir, secrets: filepath.Join(dir, "secrets")}
	t.Cleanup(func() {
		if t.Failed() {
			for _, site := range containerSites {
				out, _ := exec.Command("docker", "logs", "--tail", "50", containerProject+"-"+site).CombinedOutput()
				t.Logf("log of %s:\n%s", site, out)
			}
		}
		c.deploy("down")
	})
	c.deploy("up")
	return c
}

// deploy runs the script behind `make docker-up`.
func (c *containers) deploy(what string) {
	c.t.Helper()
	command := exec.Command("../deploy/containers", what)
	command.Env = append(cleanEnvironment(), "LICET="+program, "LICET_DIR="+c.dir, "LICET_PROJECT="+containerProject,
		"LICET_SUBNET=10.214.1", fmt.Sprint("LICET_PORT=", containerPort))
	if out, err := command.CombinedOutput(); err != nil {
		c.t.Errorf("deploy/containers %s: %v\n%s", what, err, out)
	}
}

func (c *containers) docker(args ...string) string {
	c.t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func endpointOf(site string) string {
	for i, s := range containerSites {
		if s == site {
			return fmt.Sprint("https://127.0.0.1:", containerPort+i)
		}
	}
	return ""
}

// through runs licet against one site's node.
func (c *containers) through(site string, args ...string) (int, string) {
	c.t.Helper()
	code, out, errs := runLicet(c.t, []string{
		"LICET_ENDPOINTS=" + endpointOf(site), "LICET_CA=" + filepath.Join(c.secrets, "ca.pem"),
		"LICET_TOKEN_FILE=" + filepath.Join(c.secrets, "token"),
	}, args...)
	return code, out + errs
}

func (c *containers) must(site string, args ...string) string {
	c.t.Helper()
	code, out := c.through(site, args...)
	if code != 0 {
		c.t.Fatalf("licet %s through %s: exit code %d\n%s", strings.Join(args, " "), site, code, out)
	}
	return out
}

// instances are how many instances a node says there are.
func (c *containers) instances(site string) int {
	c.t.Helper()
	var list struct{ Instances []json.RawMessage }
	if err := json.Unmarshal([]byte(c.must(site, "instance", "list", "--contract", "acme", "-o", "json")), &list); err != nil {
		c.t.Fatal(err)
	}
	return len(list.Instances)
}

// leader is the site whose node leads, asked of another one.
func (c *containers) leader(asked string) string {
	c.t.Helper()
	leader := ""
	eventually(c.t, "a leader", func() error {
		code, out := c.through(asked, "cluster", "members", "-o", "json")
		var list struct{ Leader string }
		if code != 0 {
			return errors.New(out)
		}
		err := json.Unmarshal([]byte(out), &list)
		if leader = list.Leader; err == nil && leader == "" {
			err = errors.New("nobody leads")
		}
		return err
	})
	return leader
}

// TestDocker: three containers on networks of their own; a write through one is read through the others, one is killed, and
// the rest goes on.
func TestDocker(t *testing.T) {
	c := startContainers(t)
	contract := filepath.Join(c.dir, "acme.yaml")
	if err := os.WriteFile(contract, []byte(contractYAML("acme", 1, 30)), 0o600); err != nil {
		t.Fatal(err)
	}
	signed := filepath.Join(c.dir, "acme.contract")
	mustRun(t, "vendor", "sign", contract, "--key", filepath.Join(c.secrets, "vendor.key"), "--out", signed)
	c.must("bordeaux", "contract", "apply", signed)
	for i, site := range containerSites {
		c.must(site, "instance", "create", "acme", "of-"+site, "--allocate", "primary=5")
		if n := c.instances(containerSites[(i+1)%3]); n != i+1 {
			t.Fatalf("after %d writes another site reads %d instances", i+1, n)
		}
	}
	t.Run("health", c.health)
	t.Run("hardened", c.hardened)
	t.Run("networks", c.networks)

	killed := c.leader("lyon")
	c.docker("kill", containerProject+"-"+killed)
	var left []string
	for _, site := range containerSites {
		if site != killed {
			left = append(left, site)
		}
	}
	for i, site := range left {
		c.must(site, "instance", "create", "acme", "after-"+site, "--allocate", "primary=5")
		if n := c.instances(left[(i+1)%2]); n != 4+i {
			t.Errorf("without %s, %d instances are read instead of %d", killed, n, 4+i)
		}
	}
	c.docker("start", containerProject+"-"+killed)
	eventually(t, killed+" serves again", func() error {
		code, out := c.through(killed, "ready")
		if code != 0 {
			return errors.New(out)
		}
		return nil
	})
	if n := c.instances(killed); n != 5 {
		t.Errorf("%s reads %d instances instead of 5 after its return", killed, n)
	}

	// A stop as Docker does it: SIGTERM, and the node ends well before it would be killed.
	c.docker("stop", "--time", "20", containerProject+"-paris")
	if code := c.docker("inspect", "--format", "{{.State.ExitCode}}", containerProject+"-paris"); code != "0" {
		t.Errorf("paris ended with exit code %s after docker stop", code)
	}
}

// health: Docker's own health check, which the binary in the image does.
func (c *containers) health(t *testing.T) {
	for _, site := range containerSites {
		eventually(t, site+" is healthy", func() error {
			if health := c.docker("inspect", "--format", "{{.State.Health.Status}}", containerProject+"-"+site); health != "healthy" {
				return errors.New(health)
			}
			return nil
		})
	}
}

// hardened: no root, no capabilities, nothing in the image but one file.
func (c *containers) hardened(t *testing.T) {
	about := c.docker("inspect", "--format", "{{.Config.User}} {{.HostConfig.CapDrop}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}}", containerProject+"-lyon")
	if strings.HasPrefix(about, "0:") || !strings.HasSuffix(about, "[ALL] true [no-new-privileges:true]") {
		t.Errorf("the container runs as %s", about)
	}
	if layers := c.docker("inspect", "--format", "{{len .RootFS.Layers}}", "licet:dev"); layers != "1" {
		t.Errorf("the image has %s layers", layers)
	}
}

// networks: the API is published on this machine alone, the node port nowhere.
func (c *containers) networks(t *testing.T) {
	ports := c.docker("port", containerProject+"-lyon")
	if lines := strings.Split(ports, "\n"); len(lines) != 1 || !strings.HasPrefix(lines[0], "7001/tcp -> 127.0.0.1:") {
		t.Errorf("published are:\n%s", ports)
	}
	if internal := c.docker("network", "inspect", "--format", "{{.Internal}}", containerProject+"_sites"); internal != "true" {
		t.Errorf("the network between the sites leads elsewhere: %s", internal)
	}
}
