package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/transport"
)

// Surveyed is what a node said of itself to somebody with a node's certificate, or why it said nothing.
type Surveyed struct {
	// Address is where it was asked.
	Address string
	// Err is nil if it answered; what follows is then as it said.
	Err                                error
	Node, Site, Version, HTTP, Cluster string
	// Formed is false as long as it belongs to no cluster; Expect is how many nodes it expects to form one.
	Formed bool
	Expect int
	// ClockDifference is how far its clock is ahead of this machine's.
	ClockDifference time.Duration
}

// Survey asks the nodes at addresses how they are, in the order of the addresses. It needs a node's certificate and no node: it is what
// one that is about to start could find out. It returns when all have answered, or ctx ends.
func Survey(ctx context.Context, certificates *transport.Certificates, addresses []string) ([]Surveyed, error) {
	p := newPeers(certificates, NewRefusals(hclog.NewNullLogger()), func(string) string { return "" }, time.Now)
	answers := make([]probed, len(addresses))
	var asked sync.WaitGroup
	for i, address := range addresses {
		asked.Go(func() {
			answers[i] = p.probeOne(ctx, address, &clusterpb.ProbeRequest{Node: certificates.Identity().Name})
		})
	}
	asked.Wait()
	list := make([]Surveyed, len(addresses))
	for i, a := range answers {
		list[i] = Surveyed{Address: a.address, Err: a.err}
		if r := a.reply; a.err == nil {
			list[i] = Surveyed{
				Address: a.address, Node: r.Node, Site: r.Site, Version: r.Version, HTTP: r.HttpAddress, Cluster: r.Cluster,
				Formed: r.Formed, Expect: int(r.Expect), ClockDifference: a.difference(systemClock{}),
			}
		}
	}
	return list, p.close()
}

// Directory is whose data a directory holds.
type Directory struct {
	Node, Cluster string
	// Left is true once the node left its cluster or was removed from it.
	Left bool
}

// DirectoryOf reads whose data a directory holds, without taking it into possession. The zero value and no error mean
// that it holds none yet.
func DirectoryOf(dir string) (Directory, error) {
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Directory{}, nil
	}
	var is identityDocument
	if err == nil {
		err = json.Unmarshal(text, &is)
	}
	return Directory{Node: is.Node, Cluster: is.Cluster, Left: is.Left}, err
}
