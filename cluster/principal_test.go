package cluster_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/licet/licet/cluster"
	"github.com/licet/licet/cluster/clusterpb"
	"github.com/licet/licet/fsm"
	"github.com/licet/licet/fsm/fsmpb"
)

// byOperator is who has the token of a node's configuration.
var byOperator = fsm.Principal{Kind: fsm.ByFile, ID: "operator", Role: fsm.Root}

func createToken(name string, role fsm.Role, scope fsm.Scope) *fsmpb.Body {
	return &fsmpb.Body{Kind: &fsmpb.Body_CreateToken{CreateToken: &fsmpb.CreateToken{
		Name: name, Role: string(role), Scope: scope.Proto(), Hash: bytes.Repeat([]byte{7}, 32),
	}}}
}

// The leader judges again, whatever the node that sends a command says of who asks: a follower may be behind, or may lie.
func TestLeaderJudgesAgain(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	ours := createInstance("ours", 1)
	ours.GetCreateInstance().Site = "lyon"
	list[0].propose(ours)
	list[0].propose(createInstance("other", 1))
	for _, body := range []*fsmpb.Body{
		createToken("op", fsm.Operator, fsm.Scope{}), createToken("reader", fsm.Auditor, fsm.Scope{}),
		createToken("site", fsm.SiteOperator, fsm.Scope{Site: "lyon"}), createToken("gone", fsm.Operator, fsm.Scope{}),
		{Kind: &fsmpb.Body_RevokeToken{RevokeToken: &fsmpb.RevokeToken{Token: 4}}},
	} {
		if o := list[0].propose(body); o.Refusal != nil {
			t.Fatal(o.Refusal)
		}
	}
	leader := leaderOf(t, list)
	follower := list[0]
	if follower == leader {
		follower = list[1]
	}
	resize := func(serial uint64) *fsmpb.Body {
		return &fsmpb.Body{Kind: &fsmpb.Body_ResizeInstance{ResizeInstance: &fsmpb.ResizeInstance{Serial: serial, Allocation: []*fsmpb.Quantity{{Name: "primary", N: 2}}}}}
	}
	token := func(id string, role fsm.Role) fsm.Principal {
		return fsm.Principal{Kind: fsm.ByToken, ID: id, Role: role}
	}
	for _, c := range []struct {
		what string
		who  fsm.Principal
		body *fsmpb.Body
		may  bool
	}{
		{"an operator", token("1", fsm.Operator), resize(1), true},
		{"an auditor who is said to be an operator", token("2", fsm.Operator), resize(1), false},
		{"an operator who is said to be an auditor", token("1", fsm.Auditor), resize(1), true},
		{"a token that was revoked", token("4", fsm.Operator), resize(1), false},
		{"a token that never was", token("99", fsm.Operator), resize(1), false},
		{"a token that is none", token("x", fsm.Operator), resize(1), false},
		{"a token with a role that none has", token("1", fsm.Root), resize(1), false},
		{"a certificate with it", fsm.Principal{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Root}, resize(1), false},
		{"an operator's certificate", fsm.Principal{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Operator}, resize(1), true},
		{"an auditor's certificate", fsm.Principal{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Auditor}, resize(1), false},
		{"an unknown proof", fsm.Principal{Kind: "whatever", ID: "a", Role: fsm.Root}, resize(1), false},
		{"an unknown proof of less", fsm.Principal{Kind: "whatever", ID: "a", Role: fsm.Operator}, resize(1), false},
		{"an operator of an issuer", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.Operator}, resize(1), true},
		{"an auditor of an issuer", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.Auditor}, resize(1), false},
		{"an issuer's root", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.Root}, resize(1), false},
		{"an issuer's site", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.SiteOperator, Scope: fsm.Scope{Site: "lyon"}}, resize(1), true},
		{"another site of an issuer", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.SiteOperator, Scope: fsm.Scope{Site: "lyon"}}, resize(2), false},
		{"a scope that is not the role's", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example#ann", Role: fsm.Operator, Scope: fsm.Scope{User: "ann"}}, resize(1), false},
		{"an issuer's without a subject", fsm.Principal{Kind: fsm.ByIssuer, ID: "https://id.example", Role: fsm.Operator}, resize(1), false},
		{"nobody", fsm.Principal{}, resize(1), false},
		{"its own site", token("3", fsm.SiteOperator), resize(1), true},
		{"a site that it says is its own", fsm.Principal{Kind: fsm.ByToken, ID: "3", Role: fsm.SiteOperator, Scope: fsm.Scope{Site: "paris"}}, resize(2), false},
		{"what is not there", token("3", fsm.SiteOperator), resize(9), false},
		{"an operator with a contract", token("1", fsm.Operator), putContract(t, 31), false},
		{"an operator who notes uses", token("1", fsm.Operator), &fsmpb.Body{Kind: &fsmpb.Body_NoteTokenUses{NoteTokenUses: &fsmpb.NoteTokenUses{Tokens: []uint64{1}}}}, false},
	} {
		for _, s := range []*site{leader, follower} {
			command, err := fsm.NewCommand(c.who.Actor(), ulid.Make().String(), c.body)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.node.ProposeFor(t.Context(), c.who, command)
			if c.may && err != nil || !c.may && codeOf(err) != cluster.Forbidden {
				t.Errorf("%s, through %s: %v", c.what, s.options.ID, err)
			}
		}
	}
	// A command goes under its principal's name.
	command, err := fsm.NewCommand("operator", ulid.Make().String(), resize(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*site{leader, follower} {
		if _, err := s.node.ProposeFor(t.Context(), token("1", fsm.Operator), command); codeOf(err) != cluster.Forbidden {
			t.Errorf("under another's name: %v", err)
		}
		if err := s.node.Note(t.Context(), &fsmpb.Body{Kind: &fsmpb.Body_NoteTokenUses{NoteTokenUses: &fsmpb.NoteTokenUses{Tokens: []uint64{1}}}}); err != nil {
			t.Errorf("a node itself: %v", err)
		}
	}
}

// What changes members, leadership or gossip keys is no command, and is judged by the leader all the same: whatever the node that was
// asked let pass, and whatever it says of who asks.
func TestLeaderJudgesWhoAdministers(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	for _, body := range []*fsmpb.Body{
		createToken("op", fsm.Operator, fsm.Scope{}), createToken("reader", fsm.Auditor, fsm.Scope{}),
		createToken("site", fsm.SiteOperator, fsm.Scope{Site: "lyon"}), createToken("gone", fsm.Operator, fsm.Scope{}),
		{Kind: &fsmpb.Body_RevokeToken{RevokeToken: &fsmpb.RevokeToken{Token: 4}}},
	} {
		if o := list[0].propose(body); o.Refusal != nil {
			t.Fatal(o.Refusal)
		}
	}
	leader := leaderOf(t, list)
	follower := another(list, leader)
	rpc := impersonate(t, follower, leader).rpc
	name, err := fsm.IssuedID("https://id.example", "ann")
	if err != nil {
		t.Fatal(err)
	}
	token := func(id string, role fsm.Role) fsm.Principal {
		return fsm.Principal{Kind: fsm.ByToken, ID: id, Role: role}
	}
	issued := func(role fsm.Role) fsm.Principal { return fsm.Principal{Kind: fsm.ByIssuer, ID: name, Role: role} }
	for _, c := range []struct {
		what string
		who  fsm.Principal
		may  bool
	}{
		{"the configuration's operator", byOperator, true},
		{"an operator", token("1", fsm.Operator), true},
		{"an operator who is said to be an auditor", token("1", fsm.Auditor), true},
		{"an operator of an issuer", issued(fsm.Operator), true},
		{"an operator's certificate", fsm.Principal{Kind: fsm.ByCertificate, ID: "a", Role: fsm.Operator}, true},
		{"an auditor who is said to be an operator", token("2", fsm.Operator), false},
		{"a site-operator", token("3", fsm.SiteOperator), false},
		{"a client", fsm.Principal{Kind: fsm.ByCertificate, ID: "a", Role: fsm.OfClient, Scope: fsm.Scope{Pools: []string{"a"}}}, false},
		{"a token that was revoked", token("4", fsm.Operator), false},
		{"an auditor of an issuer", issued(fsm.Auditor), false},
		{"an issuer's root", issued(fsm.Root), false},
		{"an issuer's nobody", fsm.Principal{Kind: fsm.ByIssuer, ID: "#", Role: fsm.Operator}, false},
		{"the configuration's scraper", fsm.Principal{Kind: fsm.ByFile, ID: "metrics", Role: fsm.Scraper}, false},
		{"an unknown proof", fsm.Principal{Kind: "whatever", ID: "a", Role: fsm.Operator}, false},
		{"nobody", fsm.Principal{}, false},
	} {
		for _, s := range []*site{leader, follower} {
			for what, got := range map[string]error{
				"remove":   s.node.Remove(t.Context(), "nobody", c.who),
				"transfer": s.node.Transfer(t.Context(), leader.options.ID, c.who),
				"rotate":   second(s.node.RotateGossipKey(t.Context(), c.who)),
			} {
				if refused := codeOf(got) == cluster.Forbidden; refused == c.may {
					t.Errorf("%s, %s through %s: %v", c.what, what, s.options.ID, got)
				}
			}
			if !c.may && codeOf(s.node.Leave(t.Context(), c.who)) != cluster.Forbidden {
				t.Errorf("%s has %s leave", c.what, s.options.ID)
			}
		}
	}
	// Builds without principals know one operator alone.
	for actor, may := range map[string]bool{"operator": true, "token-1": false, "": false} {
		transferred, err1 := rpc.Transfer(t.Context(), &clusterpb.TransferRequest{Node: leader.options.ID, Actor: actor})
		removed, err2 := rpc.Remove(t.Context(), &clusterpb.RemoveRequest{Node: "nobody", Actor: actor})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		for what, fault := range map[string]*clusterpb.Fault{"transfer": transferred.Fault, "remove": removed.Fault} {
			if refused := fault.GetCode() == string(cluster.Forbidden); refused == may {
				t.Errorf("%s for %q without a principal: %v", what, actor, fault)
			}
		}
	}
	rotated, err := rpc.RotateKeyring(t.Context(), &clusterpb.RotateKeyringRequest{})
	if err != nil || rotated.GetFault().GetCode() != string(cluster.Forbidden) {
		t.Errorf("rotate without a principal: %v, %v", rotated, err)
	}
	if leaderOf(t, list) != leader {
		t.Error("leadership moved")
	}
}

// Builds without principals know one operator alone: what they send under another name is nobody's.
func TestFramesWithoutAPrincipal(t *testing.T) {
	for actor, want := range map[string]fsm.Principal{
		"operator": {Kind: fsm.ByFile, ID: "operator", Role: fsm.Root}, "token-1": {}, "cert-ops": {}, "metrics": {}, "": {},
	} {
		got := cluster.SentBy(actor, nil)
		if got.Kind != want.Kind || got.ID != want.ID || got.Role != want.Role {
			t.Errorf("%q: %+v", actor, got)
		}
	}
	sent := fsm.Principal{Kind: fsm.ByToken, ID: "3", Role: fsm.OfClient, Scope: fsm.Scope{Pools: []string{"a"}, User: "ann"}}
	got := cluster.SentBy("operator", cluster.PrincipalProto(sent))
	if got.Actor() != sent.Actor() || got.Role != sent.Role || got.Scope.User != "ann" || got.Scope.Pools[0] != "a" {
		t.Errorf("%+v", got)
	}
}

// The secret of a token is the same on all nodes, and that of no other request, nor a handle's.
func TestTokenSecrets(t *testing.T) {
	list := startAll(t, 3)
	list[0].propose(putContract(t, 30))
	var first []byte
	for _, s := range list {
		secret, err := s.node.TokenSecret("operator", "one")
		if err != nil || len(secret) != fsm.TokenSecret {
			t.Fatalf("%d bytes, %v", len(secret), err)
		}
		if first == nil {
			first = secret
		}
		other, _ := s.node.TokenSecret("operator", "two")
		stranger, _ := s.node.TokenSecret("token-1", "one")
		if !bytes.Equal(secret, first) || bytes.Equal(secret, other) || bytes.Equal(secret, stranger) {
			t.Errorf("%s: the secrets are not each request's own", s.options.ID)
		}
	}
}
