package api_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// Each setting can be changed on its own, within bounds that are the state machine's.
func TestEverySetting(t *testing.T) {
	f := newFixture(t)
	bounds := map[string][2]uint64{
		"request_ttl_seconds": {fsm.MinRequestTTL, fsm.MaxRequestTTL},
		"request_limit":       {fsm.MinRequestLimit, fsm.MaxRequestLimit},
		"request_bytes":       {fsm.MinRequestBytes, fsm.MaxRequestBytes},
		"usage_hours":         {fsm.MinUsageHours, fsm.MaxUsageHours},
		"usage_limit":         {fsm.MinUsageLimit, fsm.MaxUsageLimit},
	}
	set := func(name string, n uint64) request {
		return request{method: "PATCH", path: "/v1/settings", body: fmt.Sprintf(`{"%s":%d}`, name, n)}
	}
	want := into[map[string]uint64](f.get("/v1/settings").want(200))
	if described := slices.Sorted(maps.Keys(want)); !slices.Equal(described, slices.Sorted(maps.Keys(bounds))) {
		t.Fatalf("the settings are %v", described)
	}
	for name, bound := range bounds {
		f.do(set(name, bound[0]-1).bad()).refused(apiv1.CodeBadRequest)
		f.do(set(name, bound[1]+1).bad()).refused(apiv1.CodeBadRequest)
		for _, n := range bound {
			want[name] = n
			answered := into[map[string]uint64](f.do(set(name, n)).want(200))
			read := into[map[string]uint64](f.get("/v1/settings").want(200))
			if !maps.Equal(answered, want) || !maps.Equal(read, want) {
				t.Errorf("%s=%d: answered %v, then read %v; want %v", name, n, answered, read, want)
			}
		}
	}
}
