package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// valid is the shortest file that is right. It has nine lines.
const valid = `node:
  id: bordeaux
  data_dir: data
tls: {ca: ca.pem, cert: node.pem, key: node-key.pem}
cluster:
  expect: 1
  vendor_keys: [vendor.pub]
auth:
  operator_token_file: token
`

// validConfig is what valid means, apart from the defaults.
func validConfig() Config {
	c := Defaults()
	c.Node.ID, c.Node.Site, c.Node.DataDir = "bordeaux", "bordeaux", "/etc/licet/data"
	c.Node.Advertise = "127.0.0.1:7101"
	c.HTTP.Advertise = "http://127.0.0.1:7001"
	c.Gossip.Advertise = "127.0.0.1:7201"
	c.TLS = TLS{CA: "/etc/licet/ca.pem", Cert: "/etc/licet/node.pem", Key: "/etc/licet/node-key.pem"}
	c.Cluster = Cluster{Expect: 1, VendorKeys: []string{"/etc/licet/vendor.pub"}}
	c.Auth.OperatorTokenFile = "/etc/licet/token"
	return c
}

func TestLoadValues(t *testing.T) {
	tests := []struct {
		name      string
		file      string
		environ   []string
		overrides []string
		change    func(*Config)
	}{
		{name: "shortest", file: valid},
		{name: "empty section", file: valid + "http:\n"},
		{name: "byte order mark and CRLF", file: "\ufeff" + strings.ReplaceAll(valid, "\n", "\r\n")},
		{
			name: "quoted number", file: valid + "limits: {queue: \"7\"}\n",
			change: func(c *Config) { c.Limits.Queue = 7 },
		},
		{
			name: "file", file: valid + "raft:\n  trailing_logs: 20\n  election_timeout: 1500ms\n",
			change: func(c *Config) { c.Raft.TrailingLogs, c.Raft.ElectionTimeout = 20, 1500*time.Millisecond },
		},
		{
			name: "environment over file", file: valid + "raft:\n  trailing_logs: 20\n",
			environ: []string{"HOME=/root", "LICET_RAFT_TRAILING_LOGS=30"},
			change:  func(c *Config) { c.Raft.TrailingLogs = 30 },
		},
		{
			name: "override over environment", file: valid + "raft:\n  trailing_logs: 20\n",
			environ: []string{"LICET_RAFT_TRAILING_LOGS=30"}, overrides: []string{"raft.trailing_logs=40"},
			change: func(c *Config) { c.Raft.TrailingLogs = 40 },
		},
		{
			name: "lists", file: valid,
			environ:   []string{"LICET_CLUSTER_PEERS=lyon:7101, Paris:7101", "LICET_CLUSTER_EXPECT=3"},
			overrides: []string{"cluster.gossip_seeds=[2001:DB8::1]:7201,10.0.0.1:7201", "gossip.advertise=10.0.0.1:7201"},
			change: func(c *Config) {
				c.Cluster.Expect = 3
				c.Cluster.Peers = []HostPort{"lyon:7101", "paris:7101"}
				c.Cluster.GossipSeeds = []HostPort{"[2001:db8::1]:7201", "10.0.0.1:7201"}
				c.Gossip.Advertise = "10.0.0.1:7201"
			},
		},
		{
			name: "empty list overrides", file: strings.Replace(valid, "  expect: 1\n", "  expect: 1\n  peers: [lyon:7101]\n", 1),
			overrides: []string{"cluster.peers="},
		},
		{
			name: "own address among the peers", file: valid, overrides: []string{"cluster.peers=127.0.0.1:7101"},
			change: func(c *Config) { c.Cluster.Peers = []HostPort{"127.0.0.1:7101"} },
		},
		{
			name: "names resolve against the file's directory from every source", file: valid,
			environ:   []string{"LICET_TLS_CA=../ca.pem", "LICET_TLS_CERT=/abs/node.pem"},
			overrides: []string{"node.data_dir=x//y"},
			change: func(c *Config) {
				c.TLS.CA, c.TLS.Cert, c.Node.DataDir = "/etc/ca.pem", "/abs/node.pem", "/etc/licet/x/y"
			},
		},
		{
			name: "https derived", file: valid + "http: {cert: web.pem, key: web-key.pem, listen: 'Lyon:8443'}\n",
			change: func(c *Config) {
				c.HTTP = HTTP{
					Listen: "lyon:8443", Advertise: "https://lyon:8443",
					Cert: "/etc/licet/web.pem", Key: "/etc/licet/web-key.pem",
				}
			},
		},
		{
			name: "https by a proxy", file: valid + "http: {listen: ':8080', advertise: 'https://Licet.example/', insecure: true}\n",
			change: func(c *Config) {
				c.HTTP.Listen, c.HTTP.Advertise, c.HTTP.Insecure = ":8080", "https://licet.example", true
			},
		},
		{
			name: "gossip in the clear", file: valid + "gossip: {listen: '10.0.0.1:7201', insecure: true}\n",
			change: func(c *Config) {
				c.Gossip.Listen, c.Gossip.Advertise, c.Gossip.Insecure = "10.0.0.1:7201", "10.0.0.1:7201", true
			},
		},
		{
			name: "encrypted gossip for other machines", file: valid + "gossip: {listen: '10.0.0.1:7201', key_file: gossip.key}\n",
			change: func(c *Config) {
				c.Gossip.Listen, c.Gossip.Advertise, c.Gossip.KeyFile = "10.0.0.1:7201", "10.0.0.1:7201", "/etc/licet/gossip.key"
			},
		},
		{
			name: "sizes", file: valid + "limits: {batch_bytes: 2MiB, body_bytes: 524288}\n",
			change: func(c *Config) { c.Limits.BatchBytes, c.Limits.BodyBytes = 2<<20, 512<<10 },
		},
		{
			name: "not contradictory", file: valid + "limits: {queue: 1}\nraft: {trailing_logs: 1}\n",
			change: func(c *Config) { c.Limits.Queue, c.Raft.TrailingLogs = 1, 1 },
		},
		{name: "client's variables", file: valid, environ: append(ClientEnvironment(), "LICET_TOKEN=s3cret")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := validConfig()
			if tt.change != nil {
				tt.change(&want)
			}
			got, err := load("/etc/licet/licet.yaml", []byte(tt.file), tt.environ, tt.overrides)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadReadsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "licet.yaml")
	if err := os.WriteFile(file, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, nil, []string{"node.id=lyon"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Node.ID != "lyon" || c.TLS.CA != filepath.Join(filepath.Dir(file), "ca.pem") {
		t.Errorf("got %q and %q", c.Node.ID, c.TLS.CA)
	}
}

func TestLoadWithoutFile(t *testing.T) {
	environ := []string{
		"LICET_NODE_ID=bordeaux", "LICET_NODE_DATA_DIR=/data", "LICET_TLS_CA=ca.pem", "LICET_TLS_CERT=/c", "LICET_TLS_KEY=/k",
		"LICET_CLUSTER_EXPECT=1", "LICET_CLUSTER_VENDOR_KEYS=v.pub,w.pub", "LICET_AUTH_OPERATOR_TOKEN_FILE=/t",
	}
	c, err := Load("", environ, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"v.pub", "w.pub"}
	if c.TLS.CA != "ca.pem" || !cmp.Equal(c.Cluster.VendorKeys, want) {
		t.Errorf("got %q, %q", c.TLS.CA, c.Cluster.VendorKeys)
	}
	_, err = Load("", environ[1:], nil)
	want1 := "configuration: node.id: missing; set it in the file, as LICET_NODE_ID or with --set node.id=...; " +
		"allowed: 1 to 63 of a-z, 0-9 and -, not beginning with -"
	if err == nil || err.Error() != want1 {
		t.Errorf("got  %v\nwant %s", err, want1)
	}
}

func TestLoadUnreadableFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: got %v", err)
	}
	if _, err := Load(t.TempDir(), nil, nil); err == nil || !strings.HasPrefix(err.Error(), "configuration ") {
		t.Errorf("directory: got %v", err)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, make([]byte, maxFileBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big, nil, nil); err == nil || err.Error() != big+": the file has more than 65536 bytes" {
		t.Errorf("big file: got %v", err)
	}
}

// The lease must fit Raft's own checks for every heartbeat timeout that is allowed: at least 5 ms.
func TestLeaderLeaseTimeout(t *testing.T) {
	for _, heartbeat := range []time.Duration{20 * time.Millisecond, time.Minute} {
		lease := Raft{HeartbeatTimeout: heartbeat}.LeaderLeaseTimeout()
		if lease < 5*time.Millisecond || lease > heartbeat {
			t.Errorf("heartbeat %s: lease %s", heartbeat, lease)
		}
	}
}

func TestHostPort(t *testing.T) {
	h := HostPort("[2001:db8::1]:7101")
	if h.Host() != "2001:db8::1" || h.Port() != 7101 || h.String() != "[2001:db8::1]:7101" {
		t.Errorf("got %q, %d, %q", h.Host(), h.Port(), h)
	}
	if none := HostPort(""); none.Host() != "" || none.Port() != 0 {
		t.Errorf("zero value: got %q, %d", none.Host(), none.Port())
	}
}
