package cluster_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"google.golang.org/grpc"

	"github.com/licet/licet/backup"
	"github.com/licet/licet/cluster"
	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/signed"
	"github.com/licet/licet/transport"
)

func (s *site) rotate() (cluster.SigningKeyRotation, error) {
	s.t.Helper()
	return s.node.RotateSigningKey(s.t.Context(), byOperator, ulid.Make().String())
}

// rotated rotates, once the leader has heard what the members can read.
func (s *site) rotated() (r cluster.SigningKeyRotation) {
	s.t.Helper()
	eventually(s.t, "a rotation", func() (err error) {
		r, err = s.rotate()
		return err
	})
	return r
}

// license is instance 1's key as this node signs it, and the id of the key that it signed it with.
func (s *site) license() (document, keyID string, err error) {
	s.t.Helper()
	v, _, err := s.node.Read(s.t.Context(), cluster.Read{})
	if err != nil {
		return "", "", err
	}
	i, refusal := v.Instance(1)
	if refusal != nil {
		return "", "", errors.New(fsm.Detail(refusal))
	}
	document, err = s.node.SignLicenseKey(i.LicenseKey(v.ClusterID()))
	if err != nil {
		return "", "", err
	}
	return document, strings.Split(document, ".")[1], nil
}

// signWith waits until all nodes sign with one key, and have no other one's private half, on disk either.
func signWith(t *testing.T, list []*site, id string) {
	t.Helper()
	for _, s := range list {
		eventually(t, s.options.ID+" signs with "+id, func() error {
			_, by, err := s.license()
			if err != nil {
				return err
			}
			if have := s.node.SigningKeys(); by != id || !slices.Equal(have, []string{id}) {
				return fmt.Errorf("it signs with %s and has %q", by, have)
			}
			return nil
		})
		path := filepath.Join(s.options.DataDir, "signing.key")
		text, err := os.ReadFile(path)
		if n := bytes.Count(text, []byte("BEGIN PRIVATE KEY")); err != nil || n != 1 {
			t.Errorf("%s has %d private keys: %v", path, n, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

// verifies sees that the public keys of every node verify a document.
func verifies(t *testing.T, list []*site, document string) {
	t.Helper()
	for _, s := range list {
		v, _, err := s.node.Read(t.Context(), cluster.Read{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signed.VerifyLicenseKey(document, v.SigningKeys()); err != nil {
			t.Errorf("%s: %v", s.options.ID, err)
		}
	}
}

// derived are the handle and the token of a request, as a node derives them.
func (s *site) derived() string {
	s.t.Helper()
	handle, err := s.node.Handle("operator", "a-request", 0)
	if err != nil {
		s.t.Fatal(err)
	}
	secret, err := s.node.TokenSecret("operator", "a-request")
	if err != nil {
		s.t.Fatal(err)
	}
	return fmt.Sprintf("%s %x", handle, secret)
}

// TestSigningKeyRotates: through any node, with one down, which gets the key when it is back, before another joins, and over restarts; what was
// signed verifies, and a request that is repeated has the same handle and token (rule E1).
func TestSigningKeyRotates(t *testing.T) {
	all := sites(t, 4)
	list := all[:3]
	for _, s := range all {
		s.options.Expect, s.options.Peers = 3, s.options.Peers[:3]
	}
	for _, s := range list {
		s.start()
	}
	oneCluster(t, list)
	list[0].propose(putContract(t, 1000))
	list[0].propose(createInstance("first", 1))
	leader := leaderOf(t, list)
	before, first, err := leader.license()
	if err != nil {
		t.Fatal(err)
	}
	secrets := leader.derived()

	rotated := otherThan(list, leader).rotated()
	if rotated.ID == first || len(rotated.Reached) != 3 || len(rotated.Missed) != 0 {
		t.Fatalf("%+v", rotated)
	}
	signWith(t, list, rotated.ID)
	verifies(t, list, before)

	away := otherThan(list, leader)
	away.stop()
	second, err := leader.rotate()
	if err != nil || len(second.Missed) != 1 || second.Missed[away.options.ID] == "" {
		t.Fatalf("%+v, %v", second, err)
	}
	away.start()
	away.ready()
	signWith(t, list, second.ID)
	holders, err := away.node.SigningKeyHolders(t.Context())
	if err != nil || len(holders) != 3 {
		t.Fatal(holders, err)
	}
	for _, h := range holders {
		if !h.Answered || !slices.Contains(h.Keys, second.ID) {
			t.Errorf("%+v", h)
		}
	}

	all[3].start()
	oneCluster(t, all)
	signWith(t, all, second.ID)
	for _, s := range all {
		s.stop()
	}
	for _, s := range all {
		s.start()
	}
	oneCluster(t, all)
	signWith(t, all, second.ID)
	verifies(t, all, before)
	for _, s := range all {
		if got := s.derived(); got != secrets {
			t.Errorf("%s derives %s instead of %s", s.options.ID, got, secrets)
		}
	}
	// A leader that was away while the key changed gets it from the others.
	late := otherThan(all, leaderOf(t, all), all[3])
	late.stop()
	third := leaderOf(t, all).rotated()
	late.start()
	late.ready()
	eventually(t, late.options.ID+" leads", func() error {
		if err := late.node.Transfer(t.Context(), late.options.ID, byOperator); err != nil {
			return err
		}
		if late.node.Status().Role != cluster.Leader {
			return errors.New("it does not")
		}
		return nil
	})
	signWith(t, all, third.ID)
	sameDigests(t, all)
}

// A leader that ends in the middle of a rotation, and members that keep a key with which nothing was signed, do no harm: the next
// rotation comes to its end.
func TestLeaderEndsWithinARotation(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 1000))
	list[0].propose(createInstance("first", 1))
	leader := leaderOf(t, list)
	for _, s := range list {
		eventually(t, s.options.ID+" has heard of all", func() error {
			if !s.node.KnowsAll() {
				return errors.New("not yet")
			}
			return nil
		})
	}
	before, first, err := leader.license()
	if err != nil {
		t.Fatal(err)
	}
	_, orphan, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.node.ShareSigningKey(t.Context(), orphan); err != nil {
		t.Fatal(err)
	}
	leader.stop()
	rest := followersOf(list, leader)
	for _, s := range rest {
		if _, by, err := s.license(); err != nil || by != first {
			t.Errorf("%s signs with %s: %v", s.options.ID, by, err)
		}
	}
	rotated := rest[0].rotated()
	if rotated.ID == signed.KeyID(orphan.Public().(ed25519.PublicKey)) {
		t.Fatalf("%+v", rotated)
	}
	leader.start()
	leader.ready()
	signWith(t, list, rotated.ID)
	verifies(t, list, before)

	// Rotations go on while one leader after the other ends, wherever they are.
	stop, done := make(chan struct{}), make(chan int)
	through := list[0]
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			if _, err := through.node.RotateSigningKey(t.Context(), byOperator, fmt.Sprint("under-load-", n)); err == nil {
				n++
			}
		}
	}()
	for range 3 {
		killed := leaderOf(t, list)
		if killed == through {
			if err := through.node.Transfer(t.Context(), "", byOperator); err != nil {
				t.Log(err)
			}
			continue
		}
		killed.stop()
		killed.start()
		killed.ready()
	}
	close(stop)
	if n := <-done; n == 0 {
		t.Error("no rotation came to its end")
	}
	v, _, err := through.node.Read(t.Context(), cluster.Read{})
	if err != nil {
		t.Fatal(err)
	}
	signWith(t, list, signed.KeyID(v.SigningKeys()[0]))
	verifies(t, list, before)
	sameDigests(t, list)
}

// Who may not administer does not rotate, whatever the node that is asked says of him; a minority does not, and neither does a cluster with
// a member that would not understand it.
func TestRotationsThatAreRefused(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	list[0].propose(createToken("reader", fsm.Auditor, fsm.Scope{}))
	list[0].propose(createToken("op", fsm.Operator, fsm.Scope{}))
	leader := leaderOf(t, list)
	follower := followersOf(list, leader)[0]
	for name, who := range map[string]fsm.Principal{
		"an auditor who is said to be an operator": {Kind: fsm.ByToken, ID: "1", Role: fsm.Operator},
		"a token that never was":                   {Kind: fsm.ByToken, ID: "99", Role: fsm.Operator},
		"a vendor's certificate":                   {Kind: fsm.ByCertificate, ID: "v", Role: fsm.Vendor},
		"a certificate with every right":           {Kind: fsm.ByCertificate, ID: "v", Role: fsm.Root},
		"nobody":                                   {},
	} {
		for _, s := range []*site{leader, follower} {
			if _, err := s.node.RotateSigningKey(t.Context(), who, "id"); codeOf(err) != cluster.Forbidden {
				t.Errorf("%s, through %s: %v", name, s.options.ID, err)
			}
		}
	}
	eventually(t, "an operator's token rotates", func() error {
		_, err := follower.node.RotateSigningKey(t.Context(), fsm.Principal{Kind: fsm.ByToken, ID: "2", Role: fsm.Operator}, "by-token")
		return err
	})
	rows := leader.node.View().WritesAfter(0, 100)
	if last := rows[len(rows)-1]; last.KindName() != "add_signing_key" || last.Actor() != "token-2" || last.RequestID() != "by-token" {
		t.Errorf("the trail tells of %s by %s", last.KindName(), last.Actor())
	}
	old := followersOf(list, leader)[1]
	old.node.Announce([]int32{64}, nil, fsm.SnapshotVersion)
	eventually(t, "the leader heard of it", func() error {
		if _, err := leader.rotate(); codeOf(err) != cluster.Unsupported {
			return fmt.Errorf("a rotation that %s would not understand: %w", old.options.ID, err)
		}
		return nil
	})
	old.stop()
	follower.stop()
	if _, err := leader.rotate(); err == nil {
		t.Error("one of three rotates")
	}
}

// A backup holds no private key but the one that was asked for; with that, another cluster signs as the first one did.
func TestBackupWithTheSigningKey(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	list[0].propose(createInstance("first", 1))
	leader := leaderOf(t, list)
	signWith(t, list, leader.rotated().ID)
	before, id, err := leader.license()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(leader.options.DataDir, "signing.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signed.ParsePrivateKey(text[:bytes.Index(text, []byte("-----BEGIN LICET"))])
	if err != nil {
		t.Fatal(err)
	}
	plain := leader.backup()
	for _, secret := range [][]byte{key.Seed(), []byte("PRIVATE KEY"), bytes.Split(text, []byte("\n"))[1]} {
		if bytes.Contains(plain, secret) {
			t.Errorf("a backup holds %.12q", secret)
		}
	}
	v, _, err := leader.node.Read(t.Context(), cluster.Read{})
	if err != nil {
		t.Fatal(err)
	}
	var with bytes.Buffer
	if err := leader.node.Backup(&with, v, true); err != nil {
		t.Fatal(err)
	}
	if b, err := backup.Read(bytes.NewReader(with.Bytes())); err != nil || !b.SigningKey.Equal(key) {
		t.Fatalf("with the key: %v", err)
	}
	// Restored into its own cluster, it takes no key back.
	newer, err := leader.rotate()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.restore(with.Bytes(), ""); err != nil {
		t.Fatal(err)
	}
	signWith(t, list, newer.ID)

	others := startAll(t, 3)
	head := leaderOf(t, others)
	if _, err := head.restore(with.Bytes(), v.ClusterID()); err != nil {
		t.Fatal(err)
	}
	signWith(t, others, id)
	verifies(t, others, before)
	sameDigests(t, others)
}

// A node that is no member gets no key, and gives none.
func TestSigningKeysStayAmongMembers(t *testing.T) {
	list := sites(t, 2)
	one, stranger := list[0], list[1]
	one.options.Expect, one.options.Peers = 1, nil
	one.start()
	one.ready()
	certificates, err := transport.LoadCertificates(stranger.files)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(one.listen, grpc.WithTransportCredentials(certificates.ClientCredentials("", nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	node := clusterpb.NewNodeClient(conn)
	have := one.node.SigningKeys()
	got, err := node.GetSigningKey(t.Context(), &clusterpb.GetSigningKeyRequest{Key: have[0]})
	if err != nil || len(got.SigningKey) > 0 || got.Fault.GetCode() != string(cluster.MemberRefused) {
		t.Errorf("get: %v, %v", got.GetFault(), err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.EncodePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put, err := node.PutSigningKey(t.Context(), &clusterpb.PutSigningKeyRequest{SigningKey: text})
	if err != nil || put.Fault.GetCode() != string(cluster.MemberRefused) || !slices.Equal(one.node.SigningKeys(), have) {
		t.Errorf("put: %v, %v", put.GetFault(), err)
	}
}
