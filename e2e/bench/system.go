package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Names of systems in what is printed.
const (
	licetName = "licet"
	etcdName  = "etcd"
)

// nodes is how many nodes every system has.
const nodes = 3

// system is three nodes that are measured.
type system interface {
	// operation is what the system does for a load, or errNotComparable.
	operation(of loadName, callers int) (operation, error)
	// count is how many of the load's operations had an effect that is there.
	count(ctx context.Context, of loadName) (int, error)
	// pids are the processes whose processor time and writes count.
	pids() []int
	stop() error
}

// errNotComparable says that a system has nothing like a load.
var errNotComparable = errors.New("this system does nothing like it")

// kind is what operations do.
type kind string

const (
	// checkout takes a seat; of a store of keys and values: puts a key that must not be there.
	checkout kind = "checkout"
	// pair takes a seat and returns it.
	pair kind = "checkout and check-in"
	// bulk takes bulkItems seats with one request.
	bulk kind = "bulk of 100 checkouts"
	// renewals renews bulkItems leases with one request.
	renewals kind = "bulk of 100 renewals"
	// read is a linearizable read.
	read kind = "linearizable read"
	// propose hands a command, or an entry, to the leader within its process.
	propose kind = "propose"
)

// place is which node is asked.
type place string

const (
	leader   place = "leader"
	follower place = "follower"
	// inside is the leader's process.
	inside place = "process"
)

// loadName names a load of one run.
type loadName struct {
	what    kind
	at      place
	callers int
}

func (n loadName) String() string { return fmt.Sprintf("%s/%s/%d", n.what, n.at, n.callers) }

func pidsOf(processes []*process) []int {
	var pids []int
	for _, p := range processes {
		pids = append(pids, p.pid())
	}
	return pids
}

// childrenOf are the processes that a process started.
func childrenOf(pid int) ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	var children []int
	for _, e := range entries {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, e.Name()))
		if err != nil {
			return nil, err
		}
		for field := range strings.FieldsSeq(string(data)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			children = append(children, child)
		}
	}
	return children, nil
}
