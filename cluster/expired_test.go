package cluster_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/transport"
)

// TestExpiredCertificateIsToldOnBothEnds: a node whose certificate expires while it runs is
// refused by the others, who say so, as does the node itself.
func TestExpiredCertificateIsToldOnBothEnds(t *testing.T) {
	authority, err := transport.NewAuthority("test", transport.Validity{For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	list, dir := sites(t, 2), t.TempDir()
	if err := authority.Pair().Write(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	validities := []transport.Validity{{For: time.Hour}, {From: time.Now().Add(-time.Hour), For: time.Hour + 3*time.Second}}
	var logs [2]lines
	for i, s := range list {
		s.files = transport.Files{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, s.options.ID+".pem"), Key: filepath.Join(dir, s.options.ID+"-key.pem")}
		pair, err := authority.IssueNode(s.options.ID, validities[i])
		if err == nil {
			err = pair.Write(s.files.Certificate, s.files.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.options.Log = hclog.New(&hclog.LoggerOptions{Name: s.options.ID, Output: &logs[i], IndependentLevels: true})
	}
	valid, expired := list[0], list[1]
	certificates, err := transport.LoadCertificates(expired.files)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the certificate has expired", func() error {
		if left := time.Until(certificates.NotAfter()); left >= -time.Second {
			return fmt.Errorf("in %s", left)
		}
		return nil
	})
	port, err := transport.Listen(t.Context(), expired.listen, transport.Options{Certificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	expired.options.Port, expired.options.Certificates = port, certificates
	valid.rejected = cluster.NewRefusals(valid.options.Log.Named("port")).Add
	valid.start()
	if expired.node, err = cluster.Start(expired.options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(expired.stop)
	for i, want := range [][]string{
		{"[WARN]", "bordeaux.port: connection refused", "certificate has expired", "licet:node:lyon"},
		{"[WARN]", "lyon.cluster: no connection to node", valid.listen, "the other end refuses this node's certificate", "certificate has expired"},
	} {
		eventually(t, list[i].options.ID+" says why", func() error {
			if n := len(logs[i].with(want...)); n != 1 {
				return fmt.Errorf("%d times; it warns %q", n, logs[i].with("[WARN]"))
			}
			return nil
		})
	}
	// The valid one dials, too.
	eventually(t, "the valid node refuses the other's certificate", func() error {
		if n := len(logs[0].with("[WARN]", "bordeaux.cluster: no connection to node", expired.listen, "certificate has expired")); n != 1 {
			return fmt.Errorf("%d times; it warns %q", n, logs[0].with("[WARN]"))
		}
		return nil
	})
}
