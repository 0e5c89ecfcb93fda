package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withFiles makes a configuration all of whose files are there, and returns their directory.
func withFiles(t *testing.T) (Config, string) {
	t.Helper()
	dir := t.TempDir()
	c, err := load(filepath.Join(dir, "licet.yaml"), []byte(valid+"http: {cert: web.pem, key: web-key.pem}\ngossip: {key_file: gossip.key}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{
		"ca.pem": 0o644, "node.pem": 0o644, "node-key.pem": 0o600, "vendor.pub": 0o644,
		"token": 0o400, "web.pem": 0o644, "web-key.pem": 0o600, "gossip.key": 0o600,
	} {
		write(t, filepath.Join(dir, name), mode)
	}
	return c, dir
}

func write(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The process's umask has no say in it.
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFiles(t *testing.T) {
	const notShown = " (the name is not shown, in case it is the secret itself; the key takes a file's name, relative to the configuration file)"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		spoil func(c *Config, dir string)
		want  []string // DIR stands for the directory
	}{
		{name: "all right", spoil: func(*Config, string) {}},
		{name: "optional files not given", spoil: func(c *Config, _ string) { c.HTTP.Cert, c.HTTP.Key, c.Gossip.KeyFile = "", "", "" }},
		{name: "data directory there", spoil: func(c *Config, _ string) { must(os.Mkdir(c.Node.DataDir, 0o700)) }},
		{
			name: "data directory a file", spoil: func(c *Config, _ string) { write(t, c.Node.DataDir, 0o600) },
			want: []string{"node.data_dir: DIR/data: found something else than a directory"},
		},
		{
			name: "absent", spoil: func(_ *Config, dir string) { must(os.Remove(filepath.Join(dir, "ca.pem"))) },
			want: []string{"tls.ca: DIR/ca.pem: no such file or directory"},
		},
		{name: "absent, among several", spoil: func(c *Config, dir string) {
			c.Cluster.VendorKeys = append(c.Cluster.VendorKeys, filepath.Join(dir, "second.pub"))
		}, want: []string{"cluster.vendor_keys: DIR/second.pub: no such file or directory"}},
		{
			name: "the secret in the name's place", spoil: func(c *Config, dir string) { c.Auth.OperatorTokenFile = filepath.Join(dir, "s3cret") },
			want: []string{"auth.operator_token_file: no such file or directory" + notShown},
		},
		{name: "the secret in the name's place, too long for a name", spoil: func(c *Config, dir string) {
			c.TLS.Key = filepath.Join(dir, strings.Repeat("s3cret", 100))
		}, want: []string{"tls.key: file name too long" + notShown}},
		{
			name: "a directory", spoil: func(c *Config, dir string) { c.TLS.Cert = dir },
			want: []string{"tls.cert: DIR: found something else than a regular file"},
		},
		{name: "empty by hand", spoil: func(c *Config, _ string) { c.TLS.CA = "" }, want: []string{"tls.ca: : no such file or directory"}},
		{name: "secrets open to others", spoil: func(_ *Config, dir string) {
			must(os.Chmod(filepath.Join(dir, "node-key.pem"), 0o640))
			must(os.Chmod(filepath.Join(dir, "token"), 0o604))
			must(os.Chmod(filepath.Join(dir, "web-key.pem"), 0o620))
			must(os.Chmod(filepath.Join(dir, "gossip.key"), 0o777))
		}, want: []string{
			"http.key: DIR/web-key.pem: found mode 0620, which lets others at the secret; allowed: 0600 or less (chmod 600)",
			"gossip.key_file: DIR/gossip.key: found mode 0777, which lets others at the secret; allowed: 0600 or less (chmod 600)",
			"tls.key: DIR/node-key.pem: found mode 0640, which lets others at the secret; allowed: 0600 or less (chmod 600)",
			"auth.operator_token_file: DIR/token: found mode 0604, which lets others at the secret; allowed: 0600 or less (chmod 600)",
		}},
		{name: "a link is what it leads to", spoil: func(c *Config, dir string) {
			must(os.Chmod(filepath.Join(dir, "token"), 0o644))
			must(os.Symlink("token", filepath.Join(dir, "link")))
			c.Auth.OperatorTokenFile = filepath.Join(dir, "link")
		}, want: []string{"auth.operator_token_file: DIR/link: found mode 0644, which lets others at the secret; allowed: 0600 or less (chmod 600)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, dir := withFiles(t)
			tt.spoil(&c, dir)
			got := ""
			if err := c.CheckFiles(); err != nil {
				got = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.Contains(got, "s3cret") {
				t.Error("the secret is in the error")
			}
		})
	}
}

func TestCheckFilesUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can read everything")
	}
	c, dir := withFiles(t)
	if err := os.Chmod(filepath.Join(dir, "ca.pem"), 0); err != nil {
		t.Fatal(err)
	}
	want := "tls.ca: " + filepath.Join(dir, "ca.pem") + ": permission denied"
	if err := c.CheckFiles(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
