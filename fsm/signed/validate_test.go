package signed

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// Each field of a contract: missing, malformed, out of bounds. What is refused is never signed, and the
// error begins with the field.
func TestContractValidate(t *testing.T) {
	long := strings.Repeat("x", 65)
	at := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	product := func(name string, p Product) func(*Contract) {
		return func(c *Contract) { c.Products = map[string]Product{name: p} }
	}
	for name, c := range map[string]struct {
		change func(*Contract)
		want   string
	}{
		"id missing":           {func(c *Contract) { c.ID = "" }, "id: it is missing"},
		"id too long":          {func(c *Contract) { c.ID = long }, "id: a name of 65 bytes"},
		"id with a slash":      {func(c *Contract) { c.ID = "a/b" }, `id: "a/b" is no name`},
		"id with a dot first":  {func(c *Contract) { c.ID = ".a" }, "id: "},
		"id not ASCII":         {func(c *Contract) { c.ID = "é" }, "id: "},
		"id with a NUL":        {func(c *Contract) { c.ID = "a\x00b" }, "id: "},
		"revision missing":     {func(c *Contract) { c.Revision = 0 }, "revision: "},
		"customer missing":     {func(c *Contract) { c.Customer = "" }, "customer: it is missing"},
		"customer blank":       {func(c *Contract) { c.Customer = " \t" }, "customer: it is missing"},
		"customer too long":    {func(c *Contract) { c.Customer = strings.Repeat("é", 201) }, "customer: 201 characters"},
		"customer not UTF-8":   {func(c *Contract) { c.Customer = "a\xff" }, "customer: "},
		"customer with escape": {func(c *Contract) { c.Customer = "a\x1b[31m" }, "customer: "},
		"customer two lines":   {func(c *Contract) { c.Customer = "a\nb" }, "customer: "},
		"email missing":        {func(c *Contract) { c.Email = "" }, "email: "},
		"start missing":        {func(c *Contract) { c.Start = time.Time{} }, "start: it is missing"},
		"start elsewhere":      {func(c *Contract) { c.Start = c.Start.In(time.FixedZone("", 3600)) }, "start: "},
		"start with a half":    {func(c *Contract) { c.Start = c.Start.Add(time.Second / 2) }, "start: "},
		"start too early":      {func(c *Contract) { c.Start = at(1969) }, "start: the year 1969"},
		"expiry missing":       {func(c *Contract) { c.Expiry = time.Time{} }, "expiry: it is missing"},
		"expiry at start":      {func(c *Contract) { c.Expiry = c.Start }, "expiry: "},
		"expiry before start":  {func(c *Contract) { c.Expiry = at(2025) }, "expiry: "},
		"expiry too late":      {func(c *Contract) { c.Expiry = at(9901) }, "expiry: the year 9901"},
		"grace too long":       {func(c *Contract) { c.GraceDays = 3651 }, "grace_days: 3651"},
		"grace far too long":   {func(c *Contract) { c.GraceDays = math.MaxUint32 }, "grace_days: "},
		"nothing granted":      {func(c *Contract) { c.Users, c.Products = nil, nil }, "users, products: "},
		"area missing":         {func(c *Contract) { c.Users = map[string]uint64{"": 1} }, "users: it is missing"},
		"area malformed":       {func(c *Contract) { c.Users = map[string]uint64{"a b": 1} }, "users: "},
		"area too large":       {func(c *Contract) { c.Users = map[string]uint64{"primary": 1_000_000_001} }, "users.primary: "},
		"too many areas":       {func(c *Contract) { c.Users = many[uint64](65) }, "number of areas in users: 65"},
		"too many products":    {func(c *Contract) { c.Products = many[Product](1001) }, "number of products: 1001"},
		"product missing":      {product("", Product{Model: Mono}), "products: it is missing"},
		"product malformed":    {product("a:b", Product{Model: Mono}), "products: "},
		"model missing":        {product("p", Product{Quantity: 1}), "products.p.model: "},
		"model unknown":        {product("p", Product{Model: "solo"}), `products.p.model: "solo"`},
		"model in capitals":    {product("p", Product{Model: "Mono"}), "products.p.model: "},
		"quantity too large":   {product("p", Product{Model: Team, Quantity: 1_000_000_001}), "products.p.quantity: "},
		"overdraft too large":  {product("p", Product{Model: Team, Overdraft: math.MaxUint64}), "products.p.overdraft: "},
	} {
		t.Run(name, func(t *testing.T) {
			contract := testContract()
			c.change(contract)
			wantFault(t, contract.Validate(), c.want)
			if document, err := contract.Sign(vendor); err == nil || document != "" {
				t.Error("signed all the same")
			}
		})
	}
}

// wantFault looks for a line that begins with the field.
func wantFault(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	for line := range strings.Lines(err.Error()) {
		if strings.HasPrefix(line, want) {
			return
		}
	}
	t.Errorf("error %q has no line that begins with %q", err, want)
}

func many[V any](n int) map[string]V {
	m := map[string]V{}
	for i := range n {
		var v V
		m[fmt.Sprint("a", i)] = v
	}
	return m
}

// What is missing is told once.
func TestContractWithoutDates(t *testing.T) {
	c := &Contract{ID: "c", Revision: 1, Customer: "c", Email: "a@example.org", Users: map[string]uint64{"primary": 1}}
	if got, want := fmt.Sprint(c.Validate()), "start: it is missing\nexpiry: it is missing"; got != want {
		t.Errorf("%q instead of %q", got, want)
	}
}

func TestContractBoundsAreAccepted(t *testing.T) {
	for name, change := range map[string]func(*Contract){
		"as it is":      func(*Contract) {},
		"longest names": func(c *Contract) { c.ID = strings.Repeat("9", 64) },
		"all of a name": func(c *Contract) { c.ID = "Az0._-" },
		"customer":      func(c *Contract) { c.Customer = strings.Repeat("é", 200) },
		"times": func(c *Contract) {
			c.Start, c.Expiry = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9900, 12, 31, 23, 59, 59, 0, time.UTC)
			c.GraceDays = 3650
		},
		"largest":       func(c *Contract) { c.Users = map[string]uint64{"primary": 1_000_000_000}; c.Revision = math.MaxUint64 },
		"nothing of it": func(c *Contract) { c.Users = map[string]uint64{"primary": 0} },
		"only users":    func(c *Contract) { c.Products = nil },
		"only products": func(c *Contract) { c.Users = nil },
		"most areas":    func(c *Contract) { c.Users = many[uint64](64) },
	} {
		t.Run(name, func(t *testing.T) {
			c := testContract()
			change(c)
			document, err := c.Sign(vendor)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := VerifyContract(document, publicKeys(vendor))
			if err != nil || fmt.Sprint(*got) != fmt.Sprint(*c) {
				t.Errorf("read back as %v, %v", got, err)
			}
		})
	}
}

// The most that Validate accepts stays below the longest document, or is refused when it is signed.
func TestLargestContract(t *testing.T) {
	c := testContract()
	c.Customer = strings.Repeat("<", 200)
	c.Users, c.Products = map[string]uint64{}, map[string]Product{}
	for i := range MaxProducts {
		name := fmt.Sprintf("p%063d", i)
		c.Products[name] = Product{Model: Floating, Quantity: MaxQuantity, Overdraft: MaxQuantity}
		if i < MaxAreas {
			c.Users[name] = MaxQuantity
		}
	}
	document, err := c.Sign(vendor)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := VerifyContract(document, publicKeys(vendor)); err != nil {
		t.Error(err)
	}
	t.Logf("%d of %d bytes", len(document), MaxDocument)
}

func TestLicenseKeyValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*LicenseKey)
		want   string
	}{
		"cluster missing":    {func(k *LicenseKey) { k.Cluster = "" }, "cluster: "},
		"contract missing":   {func(k *LicenseKey) { k.Contract = "" }, "contract: "},
		"serial missing":     {func(k *LicenseKey) { k.Serial = 0 }, "serial, revision: "},
		"revision missing":   {func(k *LicenseKey) { k.Revision = 0 }, "serial, revision: "},
		"expiry missing":     {func(k *LicenseKey) { k.Expiry = time.Time{} }, "expiry: "},
		"expiry elsewhere":   {func(k *LicenseKey) { k.Expiry = k.Expiry.In(time.FixedZone("x", 60)) }, "expiry: "},
		"grace too long":     {func(k *LicenseKey) { k.GraceDays = 3651 }, "grace_days: "},
		"allocation missing": {func(k *LicenseKey) { k.Allocation = nil }, "allocation: it is missing"},
		"too many areas":     {func(k *LicenseKey) { k.Allocation = many[uint64](65) }, "number of areas in allocation: "},
		"area malformed":     {func(k *LicenseKey) { k.Allocation = map[string]uint64{"-": 1} }, "allocation: "},
		"area too large":     {func(k *LicenseKey) { k.Allocation["primary"] = MaxQuantity + 1 }, "allocation.primary: "},
	} {
		t.Run(name, func(t *testing.T) {
			k := testLicenseKey()
			c.change(k)
			wantFault(t, k.Validate(), c.want)
			if _, err := k.Sign(cluster); err == nil {
				t.Error("signed all the same")
			}
		})
	}
}

func TestCheckEmail(t *testing.T) {
	for _, good := range []string{"a@b", "first.last+tag@mail.example.com", "o'neil@example.com", "é@example.com", "x@localhost"} {
		if err := CheckEmail("email", good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "a", "@", "a@", "@b", "a b@c", "a@b c", "a@b@c", "a@.b", "a@b.", "a@b..c", "a@b\r\nBcc: x@y", "a\x00@b", "<a@b>", `"a"@b`, "a@b,c@d",
		"a;b@c", "a@b\u00a0c", "a@\xff", strings.Repeat("a", 65) + "@b", "a@" + strings.Repeat("b", 253), "a(comment)@b", "a@[127.0.0.1]", `a\@b`,
	} {
		if err := CheckEmail("email", bad); err == nil || !strings.HasPrefix(err.Error(), "email: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
