package cluster

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/transport"
)

// claims answers every probe with what it likes.
type claims struct {
	clusterpb.UnimplementedNodeServer
	reply *clusterpb.ProbeReply
}

func (c *claims) Probe(context.Context, *clusterpb.ProbeRequest) (*clusterpb.ProbeReply, error) {
	return c.reply, nil
}

// TestProbesBelieveCertificatesOnly: who claims to be another node, or to stand at
// another site, than its certificate says has not answered, and the log says why.
func TestProbesBelieveCertificatesOnly(t *testing.T) {
	dir := t.TempDir()
	authority, err := transport.NewAuthority("test", transport.Validity{For: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := authority.Pair().Write(ca, filepath.Join(dir, "ca-key.pem")); err != nil {
		t.Fatal(err)
	}
	load := func(name, site string) *transport.Certificates {
		pair, err := authority.Issue(transport.Identity{Role: transport.RoleNode, Name: name, Site: site}, transport.Validity{For: time.Hour})
		files := transport.Files{CA: ca, Certificate: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+"-key.pem")}
		if err == nil {
			err = pair.Write(files.Certificate, files.Key)
		}
		if err != nil {
			t.Fatal(err)
		}
		certificates, err := transport.LoadCertificates(files)
		if err != nil {
			t.Fatal(err)
		}
		return certificates
	}
	port, err := transport.Listen(t.Context(), "127.0.0.1:0", transport.Options{Certificates: load("lyon", "east")})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	liar := &claims{}
	server := grpc.NewServer(grpc.Creds(transport.ServerCredentials()))
	clusterpb.RegisterNodeServer(server, liar)
	go func() { _ = server.Serve(port.RPC()) }()
	defer server.Stop()
	var log bytes.Buffer
	p := newPeers(load("paris", ""), NewRefusals(hclog.New(&hclog.LoggerOptions{Output: &log, DisableTime: true})), func(string) string { return "" }, time.Now)
	defer func() { _ = p.close() }()
	address := port.Addr().String()
	for _, test := range []struct{ node, site, want string }{
		{"lyon", "east", ""},
		{"paris", "east", `certificate is another node's (wanted node paris)`},
		{"lyon", "west", `certificate is for another site (wanted site west)`},
	} {
		liar.reply = &clusterpb.ProbeReply{Node: test.node, Site: test.site}
		log.Reset()
		_, answered := p.probe(t.Context(), []string{address}, &clusterpb.ProbeRequest{})[address]
		if answered != (test.want == "") {
			t.Errorf("%+v: answered is %v", test, answered)
		}
		if line := log.String(); test.want == "" && line != "" || !strings.Contains(line, test.want) || test.want != "" && !strings.Contains(line, address) {
			t.Errorf("%+v: it logs %q", test, line)
		}
	}
}
