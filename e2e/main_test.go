package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is the binary under test.
var program string

// keep is where the directories of clusters go that shall outlive their tests.
var keep = flag.String("keep", "", "keep the clusters' directories (configuration, data, logs) in this directory")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "licet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "licet")
	if err := build(program); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if left := running.killAll(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "processes outlived their tests and were killed: %s\n", strings.Join(left, ", "))
		return 1
	}
	return code
}

func build(out string) error {
	// As the Makefile builds it, whatever tags these tests were built with: without it Raft's metrics stand still.
	args := []string{"build", "-tags", "hashicorpmetrics", "-o", out}
	if raceDetector {
		args = append(args, "-race")
	}
	text, err := exec.Command("go", append(args, "github.com/licet/licet/cmd/licet")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	return nil
}
