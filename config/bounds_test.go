package config

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// checkValue loads valid with one key set, and reports how the key's own check ended.
func checkValue(t *testing.T, key, value string, allowed bool) {
	t.Helper()
	_, err := load("licet.yaml", []byte(valid), nil, []string{key + "=" + value})
	refused := err != nil && strings.Contains(err.Error(), "--set "+key+": found ")
	if refused == allowed {
		t.Errorf("%s=%q: allowed %v, got error: %v", key, value, !refused, err)
	}
}

// Each bounded key: just below, at and just above its bounds, which also stand in the text of the error.
func TestBounds(t *testing.T) {
	type row struct {
		key         string
		least, most int64
		unit        string
		text        string
	}
	ms := int64(time.Millisecond)
	rows := []row{
		{"raft.heartbeat_timeout", 20 * ms, 60_000 * ms, "ns", "from 20ms to 1m"},
		{"raft.election_timeout", 20 * ms, 60_000 * ms, "ns", "from 20ms to 1m"},
		{"raft.snapshot_threshold", 1, 10_000_000, "", "from 1 to 10000000 (entries)"},
		{"raft.snapshot_interval", 50 * ms, 86_400_000 * ms, "ns", "from 50ms to 24h"},
		{"raft.trailing_logs", 1, 10_000_000, "", "from 1 to 10000000 (entries)"},
		{"limits.queue", 1, 1_000_000, "", "from 1 to 1000000 (proposals)"},
		{"limits.batch_commands", 1, 4096, "", "from 1 to 4096 (commands)"},
		{"limits.batch_bytes", 4096, 4 << 20, "", "from 4 KiB to 4 MiB"},
		{"limits.body_bytes", 1024, 4 << 20, "", "from 1 KiB to 4 MiB"},
		{"limits.max_clock_skew", 10 * ms, 600_000 * ms, "ns", "from 10ms to 10m"},
		{"limits.request_timeout", 100 * ms, 600_000 * ms, "ns", "from 100ms to 10m"},
		{"limits.rate_principal", 0, 10_000_000, "", "from 0 to 10000000 (requests a second)"},
		{"limits.rate_principal_burst", 1, 10_000_000, "", "from 1 to 10000000 (requests)"},
		{"limits.rate_address", 0, 10_000_000, "", "from 0 to 10000000 (requests a second)"},
		{"limits.rate_address_burst", 1, 10_000_000, "", "from 1 to 10000000 (requests)"},
		{"limits.rate_unknown", 0, 10_000_000, "", "from 0 to 10000000 (requests a second)"},
		{"limits.rate_unknown_burst", 1, 10_000_000, "", "from 1 to 10000000 (requests)"},
		{"limits.connections", 16, 1_000_000, "", "from 16 to 1000000 (connections)"},
		{"limits.connections_each", 1, 1_000_000, "", "from 1 to 1000000 (connections)"},
		{"limits.waits", 1, 1_000_000, "", "from 1 to 1000000 (requests)"},
		{"limits.waits_each", 1, 1_000_000, "", "from 1 to 1000000 (requests)"},
		{"autopilot.stabilisation", 100 * ms, 3_600_000 * ms, "ns", "from 100ms to 1h"},
		{"autopilot.preferred_after", 1000 * ms, 86_400_000 * ms, "ns", "from 1s to 24h"},
		{"autopilot.remove_dead_after", 60_000 * ms, 30 * 86_400_000 * ms, "ns", "from 1m to 720h"},
		{"autopilot.min_voters", 1, 9, "", "from 1 to 9 (voters)"},
		{"audit.file_bytes", 64 << 10, 1 << 30, "", "from 64 KiB to 1 GiB"},
		{"audit.total_bytes", 128 << 10, 1 << 40, "", "from 128 KiB to 1024 GiB"},
	}
	tested := map[string]bool{"tracing.ratio": true} // in TestGrammar, as it is no whole number
	for _, r := range rows {
		tested[r.key] = true
		for value, allowed := range map[int64]bool{r.least - 1: false, r.least: true, r.least + 1: true, r.most - 1: true, r.most: true, r.most + 1: false} {
			checkValue(t, r.key, strconv.FormatInt(value, 10)+r.unit, allowed)
		}
		if k := keyNamed(r.key); !strings.HasSuffix(k.allowed, r.text) {
			t.Errorf("%s says %q, not %q", r.key, k.allowed, r.text)
		}
	}
	for i := range keys {
		if k := &keys[i]; strings.Contains(k.allowed, " from ") && strings.Contains(k.allowed, " to ") &&
			!strings.Contains(k.allowed, "port") && !tested[k.name] {
			t.Errorf("%s has bounds and no row", k.name)
		}
	}
}

func TestListBounds(t *testing.T) {
	hosts := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("h%d:1", i))
		}
		return strings.Join(all, ",")
	}
	for key, most := range map[string]int{"cluster.peers": 64, "cluster.gossip_seeds": 64, "cluster.vendor_keys": 16} {
		checkValue(t, key, hosts(most), true)
		checkValue(t, key, hosts(most+1), false)
	}
	checkValue(t, "cluster.preferred_sites", strings.ReplaceAll(hosts(16), ":", "-"), true)
	checkValue(t, "cluster.preferred_sites", strings.ReplaceAll(hosts(17), ":", "-"), false)
}

// What the kinds take and refuse, beyond bounds.
func TestGrammar(t *testing.T) {
	long := strings.Repeat("a", 63)
	tests := []struct {
		keys string
		good []string
		bad  []string
	}{
		{keys: "node.id", good: []string{"a", "0", "a-", long, "true", "1"}, bad: []string{"", "-a", "A", "a_b", "a.b", "é", long + "a", " a"}},
		{keys: "node.site", good: []string{"", "a", long}, bad: []string{"-a", "A", long + "a"}},
		{keys: "cluster.expect", good: []string{"1", "3", "5", "7", "9"}, bad: []string{"", "0", "2", "4", "6", "8", "10", "11", "-1", "+3", "03", "1_3", "3.0", "three"}},
		{keys: "limits.queue", good: []string{"7"}, bad: []string{"", "-7", "+7", "07", "0x7", "7.0", "1e2", "1_0", " 7", "7 ", "99999999999999999999"}},
		{keys: "raft.snapshot_interval", good: []string{"1s", "1.5s", "1m30s", "1000ms"}, bad: []string{"", "1", "1 s", "-1s", "1d", "s", "9999999999h"}},
		{
			keys: "limits.batch_bytes", good: []string{"65536", "65536B", "65536 B", "64KiB", "64 KiB", "1 MiB"},
			bad: []string{"", "64KB", "64k", "0.5 MiB", "64  KiB", "064 KiB", "-1", "MiB", "KiB", " KiB", "8589934592 GiB", "1 GiB", "0 B", "0"},
		},
		{
			keys: "audit.file_bytes audit.total_bytes", good: []string{"131072", "128KiB", "64 MiB", "1 GiB", "1073741824"},
			bad: []string{"", "1", "64KB", "8589934592 GiB", "9223372036854775807", "9223372036854775808", "0"},
		},
		{keys: "node.voter cluster.require_join_token", good: []string{"true", "false"}, bad: []string{"", "yes", "True", "1", "0"}},
		{keys: "cluster.preferred_sites", good: []string{"", "paris", "paris, lyon"}, bad: []string{"Paris", "paris,", "paris,paris", "a.b"}},
		{keys: "autopilot.remove_dead_after", good: []string{"0s", "0", "1m", "24h"}, bad: []string{"", "59s", "1ns", "-1m", "never", "721h"}},
		{keys: "autopilot.stabilisation autopilot.preferred_after", good: []string{"1s", "1m30s"}, bad: []string{"", "0s", "1d"}},
		{keys: "autopilot.min_voters", good: []string{"1", "3", "9"}, bad: []string{"", "0", "10", "03"}},
		{keys: "log.level", good: []string{"trace", "debug", "info", "warn", "error"}, bad: []string{"", "INFO", "warning", "off"}},
		{keys: "log.format", good: []string{"text", "json"}, bad: []string{"", "xml"}},
		{
			keys: "node.listen http.listen", good: []string{":1", "0.0.0.0:80", "[::]:65535", "h:1", "a-b.c_d:1", "LYON:1", "[fe80::1%eth0]:1", "10.0.0.1:1"},
			bad: []string{
				"", "h", "h:", "h:0", "h:65536", "h:01", "h:+1", "h:http", "::1:80", "[::1]", "[h:1", "a b:1", "a..b:1", ".a:1", "a.:1", "-a:1",
				"10.0.0.256:1", "127.1:1", "0:1", "0x7f000001:1", "h/p:1", "u@h:1", long + "a:1", strings.Repeat("a.", 127) + "aa:1",
			},
		},
		{
			keys: "node.advertise", good: []string{"", "h:1", "[::1]:1", "10.0.0.1:1"},
			bad: []string{":1", "0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1", "[fe80::1%eth0]:1", "224.0.0.1:1", "h"},
		},
		{keys: "gossip.listen", good: []string{"0.0.0.0:1", "[::1]:1", "10.0.0.1:1"}, bad: []string{"", "h:1", ":1", "localhost:1"}},
		{keys: "gossip.advertise", good: []string{"", "[::1]:1", "10.0.0.1:1"}, bad: []string{"h:1", "0.0.0.0:1", ":1"}},
		{keys: "cluster.peers cluster.gossip_seeds", good: []string{"", " ", "h:1", "h:1, i:1"}, bad: []string{"h", "h:1,", ",", "0.0.0.0:1", ":1", "h:1,h:1", "10.0.0.1:1,[::ffff:10.0.0.1]:1"}},
		{
			keys: "http.advertise", good: []string{"", "http://h", "http://h/", "https://h:1", "https://[::1]:1", "https://[::1]", "HTTP://h"},
			bad: []string{
				"h:1", "//h", "ftp://h", "http://", "http:///", "http://:80", "http://h:0", "http://h:", "http://0.0.0.0:1", "http://[::]", "http://h/p", "http://h?", "http://h?q",
				"http://h#f", "http://h#", "http://u@h", "http://h h", "http:h", "http://%zz",
			},
		},
		{
			keys: "tracing.endpoint", good: []string{"", "http://h", "https://h:4318/", "http://[::1]:4318/otlp/v1/traces", "HTTP://h"},
			bad: []string{"h:4318", "grpc://h", "http://", "http://h:", "http://0.0.0.0:1", "http://u:p@h", "http://h?token=x", "http://h#f", "http://h h", "http://h/\n", "http://h/" + strings.Repeat("a", 2048)},
		},
		{
			keys: "audit.copy_syslog", good: []string{"", "tls://h:6514", "tcp://10.0.0.1:601", "udp://[::1]:514", "unix:///dev/log"},
			bad: []string{"h:514", "tls://h", "tls://", "http://h:1", "tcp://0.0.0.0:1", "tcp://u@h:1", "tcp://h:1/x", "tcp://h:1?x", "unix://dev/log", "unix://", "unix:///a?b", "TLS://h:1", "unix:///a\n"},
		},
		{keys: "tracing.ratio", good: []string{"0", "1", "0.5", "0.001", "1.0", "0.0"}, bad: []string{"", "1.1", "2", "-1", "-0", "+1", ".5", "1e-3", "0x1p-2", "NaN", "Inf", "0.0000000000001", "0.5.1", "1_0", "50%"}},
		{
			keys: "node.data_dir tls.ca tls.cert tls.key auth.operator_token_file cluster.vendor_keys",
			good: []string{"a", "/a b", "../a", "ü", strings.Repeat("a", 4096)},
			bad:  []string{"~/a", "~", "a\nb", "a\x00", "\xff", "-----BEGIN X-----", strings.Repeat("a", 4097)},
		},
		{keys: "http.insecure http.profiling gossip.insecure", good: []string{"true", "false"}, bad: []string{"", "yes", "True", "1", "on"}},
		{keys: "http.cert http.key http.client_ca gossip.key_file cluster.join_token_file auth.metrics_token_file oidc.ca audit.copy_file audit.copy_syslog_ca", good: []string{"", "a"}, bad: []string{" a", "~a", "a\n"}},
		{
			keys: "oidc.issuer", good: []string{"", "https://h", "https://h/", "https://H:8443/realms/acme", "https://[::1]:1/a", "https://h/" + strings.Repeat("a", 246)},
			bad: []string{"h", "http://h", "HTTPS://h", "https://", "https://h:", "https://0.0.0.0", "https://u:p@h", "https://h?x=1", "https://h#f", "https://h h", "https://h/\n", "https://h/" + strings.Repeat("a", 247)},
		},
		{keys: "oidc.audience", good: []string{"", "licet", "api://licet", strings.Repeat("a", 256)}, bad: []string{" a", "a ", "a\nb", "\xff", strings.Repeat("a", 257)}},
		{keys: "oidc.group_claim", good: []string{"groups", "realm_access.roles", "https://acme.example/roles"}, bad: []string{"", " a", "a\x00", strings.Repeat("a", 257)}},
		{
			keys: "oidc.roles", good: []string{"", "operator ops", "site-operator?site=paris Paris operators", "client?pool=a&pool=b&user_claim=email cn=x; ou=y", "a b, c d", "x " + strings.Repeat("a", 256)},
			bad: []string{"operator", "operator ", " ops", "operator  ops", "operator ops ,", "op/erator ops", "op;r ops", "operator a\x00", "operator ops, operator ops", strings.Repeat("a", 4097) + " x", "x " + strings.Repeat("a", 257)},
		},
	}
	tested := map[string]bool{}
	for _, tt := range tests {
		for _, key := range strings.Fields(tt.keys) {
			tested[key] = true
			for _, value := range tt.good {
				checkValue(t, key, value, true)
			}
			for _, value := range tt.bad {
				checkValue(t, key, value, false)
			}
		}
	}
	for _, key := range fields() {
		// Keys of one kind share its grammar, so the numeric ones have one row for each kind.
		if !tested[key] && !strings.HasPrefix(key, "raft.") && !strings.HasPrefix(key, "limits.") {
			t.Errorf("%s has no row", key)
		}
	}
}

func TestByteSizeString(t *testing.T) {
	for size, want := range map[ByteSize]string{0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1536 B", 3 << 20: "3 MiB", 1 << 30: "1 GiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d: got %q, want %q", int64(size), got, want)
		}
	}
}
