package config

import "testing"

func TestContradictions(t *testing.T) {
	runErrorTests(t, []errorTest{
		{
			name: "http.cert without key", add: "http:\n  cert: web.pem\n",
			want: []string{"licet.yaml:11: http.cert: http.cert (given, licet.yaml:11) and http.key (empty, the default): both or neither must be given"},
		},
		{
			name: "http.key without cert", environ: []string{"LICET_HTTP_KEY=web-key.pem"},
			want: []string{"environment LICET_HTTP_KEY: http.cert (empty, the default) and http.key (given, environment LICET_HTTP_KEY): both or neither must be given"},
		},
		{
			name: "http with a certificate", add: "http: {cert: c, key: k, advertise: 'http://lyon:7001'}\n",
			want: []string{"licet.yaml:10: http.advertise: http.advertise (http://lyon:7001, licet.yaml:10) and http.cert (given, licet.yaml:10): with a certificate the API speaks https, so clients must not be sent to http"},
		},
		{
			name: "an issuer without an audience and roles", add: "oidc:\n  issuer: https://id.example\n",
			want: []string{
				"licet.yaml:11: oidc.issuer: oidc.issuer (https://id.example, licet.yaml:11) and oidc.audience (empty, the default): an issuer's tokens are believed for an audience only",
				"licet.yaml:11: oidc.issuer: oidc.issuer (https://id.example, licet.yaml:11) and oidc.roles (empty, the default): without roles nobody whom the issuer names could do anything",
			},
		},
		{
			name: "roles of no issuer", environ: []string{"LICET_OIDC_ROLES=operator ops"},
			want: []string{"environment LICET_OIDC_ROLES: oidc.audience (empty, the default) and oidc.roles (operator ops, environment LICET_OIDC_ROLES) and oidc.ca (empty, the default) and oidc.issuer (empty, the default): they say how far an issuer is believed, and there is none"},
		},
		{
			name: "election below heartbeat", add: "raft:\n  heartbeat_timeout: 1s\n",
			want: []string{"licet.yaml:11: raft.heartbeat_timeout: raft.election_timeout (500ms, the default) and raft.heartbeat_timeout (1s, licet.yaml:11): the first must not be shorter than the second"},
		},
		{
			name: "request within an election", overrides: []string{"limits.request_timeout=500ms"},
			want: []string{"--set limits.request_timeout: limits.request_timeout (500ms, --set) and raft.election_timeout (500ms, the default): the first must be longer than the second, or no request could outlive an election"},
		},
		{
			name: "body above batch", overrides: []string{"limits.body_bytes=1048577"},
			want: []string{"--set limits.body_bytes: limits.body_bytes (1048577 B, --set) and limits.batch_bytes (1 MiB, the default): the first must not be larger than the second, or a request's command could not fit into a Raft entry"},
		},
		{
			name: "audit files above half of all", overrides: []string{"audit.file_bytes=513MiB"},
			want: []string{"--set audit.file_bytes: audit.total_bytes (1 GiB, the default) and audit.file_bytes (513 MiB, --set): the first must be at least twice the second, or each new file would be the only one"},
		},
		{
			name: "unspecified addresses", add: "http: {listen: '0.0.0.0:7001', insecure: true}\ngossip: {listen: '[::]:7201', insecure: true}\n", overrides: []string{"node.listen=:7101"},
			want: []string{
				"--set node.listen: listens on every address (:7101), so node.advertise must say at which one others reach it",
				"licet.yaml:11: gossip.listen: listens on every address ([::]:7201), so gossip.advertise must say at which one others reach it",
				"licet.yaml:10: http.listen: listens on every address (0.0.0.0:7001), so http.advertise must say at which one others reach it",
			},
		},
		{
			name: "advertise unspecified", overrides: []string{"node.advertise=0.0.0.0:7101", "http.advertise=http://[::]:7001"},
			want: []string{`--set node.advertise: found "0.0.0.0:7101"; ` + reachText, `--set http.advertise: found "http://[::]:7001"; ` + urlText},
		},
		{
			name: "one address for two listeners", add: "http:\n  listen: 127.0.0.1:7101\n",
			want: []string{"licet.yaml:11: http.listen: http.listen (127.0.0.1:7101, licet.yaml:11) and node.listen (127.0.0.1:7101, the default): two listeners cannot share an address"},
		},
		{
			name: "every address and one of them", add: "http: {listen: ':7201', advertise: 'http://lyon:7001', insecure: true}\n",
			want: []string{"licet.yaml:10: http.listen: gossip.listen (127.0.0.1:7201, the default) and http.listen (:7201, licet.yaml:10): two listeners cannot share an address"},
		},
		{
			name: "localhost", overrides: []string{"http.listen=localhost:7101"},
			want: []string{"--set http.listen: http.listen (localhost:7101, --set) and node.listen (127.0.0.1:7101, the default): two listeners cannot share an address"},
		},
		{
			name: "one advertised address for two listeners", overrides: []string{"gossip.advertise=10.0.0.1:7101", "node.advertise=10.0.0.1:7101"},
			want: []string{"--set gossip.advertise: gossip.advertise (10.0.0.1:7101, --set) and node.advertise (10.0.0.1:7101, --set): one address cannot lead to two listeners"},
		},
		{
			name: "expects others, knows none", replace: []string{"expect: 1", "expect: 3"},
			want: []string{"licet.yaml:6: cluster.expect: cluster.expect (3, licet.yaml:6) and cluster.peers (empty, the default) and cluster.gossip_seeds (empty, the default): a node that expects others needs the address of at least one"},
		},
		{
			name: "expects others, knows itself", replace: []string{"expect: 1", "expect: 3"}, overrides: []string{"cluster.peers=127.0.0.1:7101", "cluster.gossip_seeds=127.0.0.1:7201"},
			want: []string{"licet.yaml:6: cluster.expect: cluster.expect (3, licet.yaml:6) and cluster.peers (127.0.0.1:7101, --set) and cluster.gossip_seeds (127.0.0.1:7201, --set): a node that expects others needs the address of at least one"},
		},
		{
			name: "expects none, knows others", overrides: []string{"cluster.peers=lyon:7101"},
			want: []string{"licet.yaml:6: cluster.expect: cluster.expect (1, licet.yaml:6) and cluster.peers (lyon:7101, --set) and cluster.gossip_seeds (empty, the default): a node that expects no others forms a cluster by itself, apart from the ones named; to join them, expect 3 or more"},
		},
		{name: "even", overrides: []string{"cluster.expect=2"}, want: []string{`--set cluster.expect: found "2"; ` + expectText}},
		{
			name: "an address in both lists", replace: []string{"expect: 1", "expect: 3"}, overrides: []string{"cluster.peers=lyon:7101", "cluster.gossip_seeds=lyon:7101"},
			want: []string{"--set cluster.gossip_seeds: cluster.gossip_seeds (lyon:7101, --set) and cluster.peers (lyon:7101, --set): no address can be in both, as the first are for gossip and the second for Raft"},
		},
		{
			name: "gossip address as peer", replace: []string{"expect: 1", "expect: 3"}, overrides: []string{"cluster.peers=127.0.0.1:7201"},
			want: []string{"--set cluster.peers: cluster.peers (127.0.0.1:7201, --set) and gossip.advertise (127.0.0.1:7201, derived): peers are node addresses, not gossip addresses"},
		},
		{
			name: "node address as seed", replace: []string{"expect: 1", "expect: 3"}, overrides: []string{"cluster.gossip_seeds=127.0.0.1:7101"},
			want: []string{"--set cluster.gossip_seeds: cluster.gossip_seeds (127.0.0.1:7101, --set) and node.advertise (127.0.0.1:7101, derived): gossip seeds are gossip addresses, not node addresses"},
		},
		{
			name: "loopback among other machines", replace: []string{"expect: 1", "expect: 3"}, overrides: []string{"cluster.peers=10.0.0.2:7101", "cluster.gossip_seeds=10.0.0.2:7201"},
			want: []string{
				"--set cluster.peers: node.advertise (127.0.0.1:7101, derived) and cluster.peers (10.0.0.2:7101, --set): peers on other machines cannot reach a loopback address",
				"--set cluster.gossip_seeds: gossip.advertise (127.0.0.1:7201, derived) and cluster.gossip_seeds (10.0.0.2:7201, --set): seeds on other machines cannot reach a loopback address",
			},
		},
		{
			name: "duplicate peers", replace: []string{"expect: 1", "expect: 3"}, overrides: []string{"cluster.peers=lyon:7101,Lyon:7101"},
			want: []string{`--set cluster.peers: found "Lyon:7101" twice`},
		},
		{
			name: "what is wrong by itself contradicts nothing", overrides: []string{"raft.election_timeout=1ms", "node.listen=nowhere", "cluster.peers=127.0.0.1:7101"},
			want: []string{`--set raft.election_timeout: found "1ms"; allowed: a duration with its unit (ms, s, m, h), from 20ms to 1m`, `--set node.listen: found "nowhere"; ` + listenText},
		},
		{
			name: "what derives from a wrong value contradicts nothing", replace: []string{"expect: 1", "expect: 3"},
			overrides: []string{"node.listen=nowhere", "cluster.peers=10.0.0.2:7101"},
			want:      []string{`--set node.listen: found "nowhere"; ` + listenText},
		},
		{
			name: "one key in two contradictions", overrides: []string{"raft.election_timeout=400ms", "limits.request_timeout=300ms"},
			want: []string{
				"--set raft.election_timeout: raft.election_timeout (400ms, --set) and raft.heartbeat_timeout (500ms, the default): the first must not be shorter than the second",
				"--set limits.request_timeout: limits.request_timeout (300ms, --set) and raft.election_timeout (400ms, --set): the first must be longer than the second, or no request could outlive an election",
			},
		},
		{
			name: "one cause, one error", overrides: []string{"gossip.listen=127.0.0.1:7101"},
			want: []string{"--set gossip.listen: gossip.listen (127.0.0.1:7101, --set) and node.listen (127.0.0.1:7101, the default): two listeners cannot share an address"},
		},
		{
			name: "the API in the clear", overrides: []string{"http.listen=10.0.0.1:7001"},
			want: []string{"--set http.listen: http.listen (10.0.0.1:7001, --set) and http.cert (empty, the default) and http.insecure (false, the default): on an address that other machines reach tokens must not be sent in the clear; give http.cert and http.key, or set http.insecure to true"},
		},
		{
			name: "the API in the clear, by name", overrides: []string{"http.listen=lyon:7001"},
			want: []string{"--set http.listen: http.listen (lyon:7001, --set) and http.cert (empty, the default) and http.insecure (false, the default): on an address that other machines reach tokens must not be sent in the clear; give http.cert and http.key, or set http.insecure to true"},
		},
		{
			name: "gossip in the clear", overrides: []string{"gossip.listen=0.0.0.0:7201", "gossip.advertise=10.0.0.1:7201"},
			want: []string{"--set gossip.listen: gossip.listen (0.0.0.0:7201, --set) and gossip.key_file (empty, the default) and gossip.insecure (false, the default): on an address that other machines reach gossip must be encrypted; give gossip.key_file, or set gossip.insecure to true"},
		},
		{
			name: "certificates of clients in the clear", overrides: []string{"http.client_ca=ca.pem"},
			want: []string{"--set http.client_ca: http.client_ca (given, --set) and http.cert (empty, the default): clients show certificates in TLS only"},
		},
		{
			name: "insecure and a certificate", overrides: []string{"http.cert=c", "http.key=k", "http.insecure=true"},
			want: []string{"--set http.cert: http.cert (given, --set) and http.insecure (true, --set): with a certificate the API is not insecure; leave one of the two out"},
		},
		{
			name: "insecure and a key", overrides: []string{"gossip.key_file=g", "gossip.insecure=true"},
			want: []string{"--set gossip.key_file: gossip.key_file (given, --set) and gossip.insecure (true, --set): with a key gossip is not insecure; leave one of the two out"},
		},
		{
			name: "a secret's name is not cited", overrides: []string{"http.key=s3cret"},
			want: []string{"--set http.key: http.cert (empty, the default) and http.key (given, --set): both or neither must be given"},
		},
	})
}
