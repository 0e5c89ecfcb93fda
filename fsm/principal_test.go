package fsm

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// letters name roles in the table below.
var letters = map[string]Role{"o": Operator, "s": SiteOperator, "a": Auditor, "i": OfInstance, "c": OfClient, "v": Vendor, "m": Scraper}

// mayPropose says which roles may have a command decided about what is theirs. It is written by hand, beside the table of rights.
var mayPropose = map[string]string{
	"initialise": "", "expire": "", "note_token_uses": "",
	"put_settings": "o", "put_contract": "v", "set_responsible": "o", "create_token": "o", "revoke_token": "o",
	"change_vendor_keys": "v", "add_signing_key": "o", "retire_signing_key": "o", "export_signing_key": "o",
	"open_license_request": "o", "close_license_request": "ov",
	"create_instance": "os", "resize_instance": "os", "remove_instance": "os",
	"create_account": "osi", "block_account": "osi", "unblock_account": "osi", "move_account": "osi", "delete_account": "osi",
	"import_accounts": "osi", "stage_accounts": "osi", "sync_accounts": "osi",
	"put_pool": "os", "activate_pool": "os", "delete_pool": "os", "revoke": "os",
	"checkout": "osc", "renew": "osc", "check_in": "osc", "convert_project": "osc", "keep_ticket": "osc", "claim_offer": "osc", "leave_queue": "osc", "bulk": "osc",
	// What is no key, or no token of a borrow, is refused by the state, not here.
	"activate_instance": "osaicv", "return_borrow": "osaicv",
}

// judged is a state with an instance and a pool of a site, and others of none.
func judged(t *testing.T) *tokenRun {
	r := newTokenRun(t)
	contract := testContract("acme", 1, map[string]uint64{"primary": 30})
	contract.Products = map[string]signed.Product{"cad": {Model: signed.Floating, Quantity: 10}}
	ours, other := createBody("acme", "ours", primary(5)), createBody("acme", "other", primary(5))
	ours.GetCreateInstance().Site = "lyon"
	bodies := []*fsmpb.Body{contractBody(mustSign(t, contract, vendorKey)), ours, other}
	for _, name := range []string{"ours", "other"} {
		site := map[string]string{"ours": "lyon"}[name]
		bodies = append(bodies,
			poolBody(&fsmpb.Pool{Name: name, Contract: "acme", Size: 2, Site: site, Products: []*fsmpb.PoolProduct{{Name: "cad"}}}, true), activatePoolBody(name, true),
			checkoutBody(&fsmpb.Checkout{Pool: name, Product: "cad", User: "ann@acme.example", Client: "ws", Holder: holder(1)}))
	}
	for _, body := range bodies {
		if o := r.do(body); o.Refusal != nil {
			t.Fatalf("%v", o.Refusal)
		}
	}
	return r
}

func scopeOf(role Role) Scope {
	return map[Role]Scope{
		SiteOperator: {Site: "lyon"}, OfInstance: {Instance: 1}, OfClient: {Pools: []string{"ours"}, User: "ann@acme.example"},
	}[role]
}

// about sets the fields by which a command names what it reaches, at any depth: number 1 and the names "ours" are of the site.
func about(m protoreflect.Message, number uint64, name string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch f.Name() {
		case "serial", "lease", "ticket":
			m.Set(f, protoreflect.ValueOfUint64(number))
		case "user":
			m.Set(f, protoreflect.ValueOfString("ann@acme.example"))
		case "site":
			if f.HasOptionalKeyword() {
				continue
			}
			m.Set(f, protoreflect.ValueOfString(map[bool]string{true: "lyon"}[name == "ours"]))
		case "pool":
			if f.Message() != nil {
				about(m.Mutable(f).Message(), number, name)
			} else {
				m.Set(f, protoreflect.ValueOfString(name))
			}
		case "name":
			m.Set(f, protoreflect.ValueOfString(name))
		}
	}
}

// Every kind with every role, about what is the role's own, and about what is another's.
func TestJudge(t *testing.T) {
	v := judged(t).s.View()
	fields := (&fsmpb.Body{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		want, listed := mayPropose[string(f.Name())]
		if !listed {
			t.Errorf("%s: no row says who may propose it", f.Name())
		}
		body := func(number uint64, name string) *fsmpb.Body {
			b := new(fsmpb.Body)
			m := b.ProtoReflect().Mutable(f).Message()
			about(m, number, name)
			if bulk := b.GetBulk(); bulk != nil {
				item := checkoutBody(new(fsmpb.Checkout))
				about(item.GetCheckout().ProtoReflect(), number, name)
				bulk.Items = []*fsmpb.Body{item}
			}
			return b
		}
		for letter, role := range letters {
			p := Principal{Kind: ByToken, ID: "1", Role: role, Scope: scopeOf(role)}
			verdict, reason := v.Judge(p, body(1, "ours"))
			if may := verdict == Granted; may != strings.Contains(want, letter) && !(role == Scraper && want == "osaicv") {
				t.Errorf("%s, %s: %d (%s), want %q", f.Name(), role, verdict, reason, want)
			}
			// Tickets are none here: what is gone comes to nothing.
			if !p.Scoped() || !strings.Contains(want, letter) || want == "osaicv" || strings.Contains(string(f.Name()), "ticket") ||
				f.Name() == "claim_offer" || f.Name() == "leave_queue" {
				continue
			}
			if verdict, _ := v.Judge(p, body(2, "other")); verdict != Denied {
				t.Errorf("%s, %s: about what is another's: %d", f.Name(), role, verdict)
			}
		}
		if verdict, _ := v.Judge(Principal{Kind: ByProcess, Role: Root}, body(1, "ours")); verdict != Granted {
			t.Errorf("%s: root may not", f.Name())
		}
		if verdict, _ := v.Judge(Principal{}, body(1, "ours")); verdict != Denied {
			t.Errorf("%s: nobody may", f.Name())
		}
	}
}

// What scopes say, case by case.
func TestJudgeScopes(t *testing.T) {
	v := judged(t).s.View()
	site := func(name string) *fsmpb.Body {
		return poolBody(&fsmpb.Pool{Name: name, Contract: "acme", Size: 1, Site: "lyon", Products: []*fsmpb.PoolProduct{{Name: "cad"}}}, true)
	}
	lyon := "lyon"
	resize := resizeBody(1, primary(2))
	resize.GetResizeInstance().Site = &lyon
	other := checkoutBody(&fsmpb.Checkout{Pool: "ours", Product: "cad", User: "bob@acme.example", Client: "ws", Holder: holder(1)})
	mixed := &fsmpb.Body{Kind: &fsmpb.Body_Bulk{Bulk: &fsmpb.Bulk{Items: []*fsmpb.Body{
		{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: 1}}}, {Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: 2}}},
	}}}}
	for _, c := range []struct {
		what string
		role Role
		body *fsmpb.Body
		want Verdict
	}{
		{"a new pool of the site", SiteOperator, site("new"), Granted},
		{"taking another's pool over", SiteOperator, site("other"), Denied},
		{"a pool that is not there yet", SiteOperator, activatePoolBody("later", true), Unseen},
		{"an instance that is not there yet", SiteOperator, removeBody(9), Unseen},
		{"giving a site", SiteOperator, resize, Denied},
		{"the operator giving a site", Operator, resize, Granted},
		{"for another user", OfClient, other, Denied},
		{"a bulk with another's lease", OfClient, mixed, Denied},
		{"a lease that has ended", OfClient, &fsmpb.Body{Kind: &fsmpb.Body_CheckIn{CheckIn: &fsmpb.CheckIn{Lease: 99}}}, Granted},
	} {
		if got, reason := v.Judge(Principal{Kind: ByToken, ID: "1", Role: c.role, Scope: scopeOf(c.role)}, c.body); got != c.want {
			t.Errorf("%s: %d (%s) instead of %d", c.what, got, reason, c.want)
		}
	}
}

// No two principals share an actor: requests are remembered by it (rule E1), and handles come from it (rule K6).
func TestActorsDiffer(t *testing.T) {
	seen := map[string]Principal{}
	for _, p := range []Principal{
		{Kind: ByFile, ID: "operator"},
		{Kind: ByFile, ID: "metrics"},
		{Kind: ByToken, ID: "1"},
		{Kind: ByToken, ID: "11"},
		{Kind: ByCertificate, ID: "1"},
		{Kind: ByCertificate, ID: "operator"},
		{Kind: ByCertificate, ID: "token-1"},
	} {
		if twice, ok := seen[p.Actor()]; ok || signed.CheckName("actor", p.Actor()) != nil {
			t.Errorf("%v and %v are both %q, or it is no name", p, twice, p.Actor())
		}
		seen[p.Actor()] = p
	}
}

// Whoever an issuer names has an actor that is a name, shows what can be shown of him, and is nobody else's.
func TestIssuedActors(t *testing.T) {
	const issuer = "https://id.example"
	seen := map[string]string{}
	for _, x := range []struct{ issuer, subject, shown string }{
		{issuer, "ann", "ann"},
		{issuer, "ann ", "ann_"},
		{issuer, "ann_", "ann_"},
		{issuer, "Ölaf/1", "__laf_1"},
		{issuer + "/", "ann", "ann"},
		{issuer, "#ann", "_ann"},
		{issuer, "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
		{issuer, strings.Repeat("a", 255), strings.Repeat("a", 38)},
		{issuer, strings.Repeat("a", 254), strings.Repeat("a", 38)},
		{strings.Repeat("i", MaxIssuer), "-", "-"},
	} {
		id, err := IssuedID(x.issuer, x.subject)
		if err != nil {
			t.Errorf("%q: %v", x.subject, err)
			continue
		}
		p := Principal{Kind: ByIssuer, ID: id, Role: Operator}
		actor := p.Actor()
		if err := errors.Join(p.Check(), signed.CheckName("actor", actor)); err != nil {
			t.Errorf("%q: %v", x.subject, err)
		}
		if !strings.HasPrefix(actor, "oidc-"+x.shown+"-") || len(actor) != len("oidc--")+len(x.shown)+20 || seen[actor] != "" {
			t.Errorf("%q of %s is %s, as %q is", x.subject, x.issuer, actor, seen[actor])
		}
		seen[actor] = x.subject
	}
	for _, x := range [][2]string{{"", "a"}, {issuer, ""}, {issuer, " "}, {issuer + "#", "a"}, {issuer, "a\nb"}, {issuer, "\xff"}, {issuer, strings.Repeat("a", 256)}, {strings.Repeat("i", 257), "a"}} {
		if id, err := IssuedID(x[0], x[1]); err == nil {
			t.Errorf("%.40q of %.40q is %.80q", x[1], x[0], id)
		}
	}
	for what, p := range map[string]Principal{
		"root":             {Kind: ByIssuer, ID: issuer + "#ann", Role: Root},
		"no role":          {Kind: ByIssuer, ID: issuer + "#ann"},
		"no subject":       {Kind: ByIssuer, ID: issuer, Role: Operator},
		"no issuer":        {Kind: ByIssuer, ID: "#ann", Role: Operator},
		"another's scope":  {Kind: ByIssuer, ID: issuer + "#ann", Role: Operator, Scope: Scope{Site: "paris"}},
		"no scope":         {Kind: ByIssuer, ID: issuer + "#ann", Role: OfClient},
		"an odd name":      {Kind: ByCertificate, ID: "a/b", Role: Operator},
		"a long name":      {Kind: ByCertificate, ID: strings.Repeat("a", 60), Role: Operator},
		"a certified root": {Kind: ByCertificate, ID: "a", Role: Root},
	} {
		if p.Check() == nil {
			t.Errorf("%s: %+v", what, p)
		}
	}
}
