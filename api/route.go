package api

import (
	"context"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// kind is what a route works on; it decides the parameters that the route has.
type kind int

const (
	// local routes ask the node and have no parameters of their own.
	local kind = iota
	// read routes read a view: they take consistency and min_index.
	read
	// write routes propose a command: they take dry_run and Idempotency-Key.
	write
)

var kindParams = map[kind][]string{local: nil, read: {"consistency", "min_index"}, write: {"dry_run"}}

// content says whether a route takes a body.
type content int

const (
	noBody content = iota
	optionalBody
	requiredBody
	// csvBody is a file, not JSON.
	csvBody
	// backupBody is read by the handler, as it comes.
	backupBody
)

// route is one operation of the document.
type route struct {
	method, path string
	// name is method and path; routed fills it in.
	name string
	kind kind
	body content
	// params are the query parameters besides those of the kind.
	params []string
	// open routes need no token; all others say which right they need. Who has it stands in package fsm.
	open  bool
	right fsm.Right
	// names is the parameter of the path by which the reach of a role's scope is judged.
	names string
	// matches: the route takes If-Match (rule E4).
	matches bool
	// waits: the route can take maxWait longer than others.
	waits bool
	// streams: the request takes as long as its body does, as long as something of it comes.
	streams bool
	// stays: the route is answered although the node is about to stop.
	stays  bool
	handle func(*service, *call) (*answer, error)
}

// metricsPath is what a token for metrics opens.
const metricsPath = "/metrics"

// routes are all operations, in the order of the document.
var routes = []route{
	{method: "GET", path: "/healthz", open: true, stays: true, handle: (*service).getHealth},
	{method: "GET", path: "/readyz", open: true, handle: (*service).getReadiness},
	{method: "GET", path: "/v1/openapi.yaml", open: true, stays: true, handle: (*service).getDocument},
	{method: "GET", path: metricsPath, stays: true, right: fsm.MayMeasure, handle: (*service).getMetrics},
	{method: "GET", path: "/debug/pprof/{profile}", params: []string{"seconds"}, waits: true, right: fsm.MayAdminister, handle: (*service).getProfile},
	{method: "GET", path: "/v1/status", stays: true, right: fsm.MaySelf, handle: (*service).getStatus},
	{method: "GET", path: "/v1/cluster/members", right: fsm.MayRead, handle: (*service).listMembers},
	{method: "DELETE", path: "/v1/cluster/members/{id}", right: fsm.MayAdminister, handle: (*service).removeMember},
	{method: "POST", path: "/v1/cluster/transfer", body: optionalBody, right: fsm.MayAdminister, handle: (*service).transferLeadership},
	{method: "GET", path: "/v1/cluster/gossip-key", right: fsm.MayRead, handle: (*service).listGossipKeys},
	{method: "POST", path: "/v1/cluster/gossip-key/rotate", right: fsm.MayAdminister, handle: (*service).rotateGossipKey},
	{method: "GET", path: "/v1/cluster/signing-key", right: fsm.MayRead, handle: (*service).listSigningKeys},
	{method: "POST", path: "/v1/cluster/signing-key/rotate", right: fsm.MayAdminister, handle: (*service).rotateSigningKey},
	{method: "DELETE", path: "/v1/cluster/signing-key/{key}", kind: write, right: fsm.MayAdminister, handle: (*service).retireSigningKey},
	{method: "POST", path: "/v1/cluster/join-tokens", body: requiredBody, right: fsm.MayAdminister, handle: (*service).createJoinToken},
	{method: "POST", path: "/v1/cluster/leave", right: fsm.MayAdminister, handle: (*service).leaveCluster},
	{method: "GET", path: "/v1/backup", kind: read, params: []string{"signing_key"}, right: fsm.MayRead, handle: (*service).getBackup},
	{method: "POST", path: "/v1/restore", body: backupBody, params: []string{"into", "from"}, streams: true, right: fsm.MayAdminister, handle: (*service).restoreBackup},
	{method: "GET", path: "/v1/settings", kind: read, right: fsm.MayRead, handle: (*service).getSettings},
	{method: "PATCH", path: "/v1/settings", kind: write, body: requiredBody, right: fsm.MayAdminister, handle: (*service).updateSettings},
	{method: "GET", path: "/v1/keys", kind: read, right: fsm.MaySelf, handle: (*service).getKeys},
	{method: "GET", path: "/v1/vendor-keys", kind: read, right: fsm.MayReadContracts, handle: (*service).listVendorKeys},
	{method: "POST", path: "/v1/vendor-keys", kind: write, body: requiredBody, right: fsm.MayLoadContracts, handle: (*service).changeVendorKeys},
	{method: "GET", path: "/v1/audit", kind: read, params: []string{"after", "before", "limit", "actor", "kind", "outcome", "request_id", "row"}, right: fsm.MayRead, handle: (*service).listAudit},
	{method: "GET", path: "/v1/audit/{seq}", kind: read, right: fsm.MayRead, handle: (*service).getAuditRow},
	{method: "GET", path: "/v1/contracts", kind: read, params: []string{"after", "limit"}, right: fsm.MayReadContracts, handle: (*service).listContracts},
	{method: "POST", path: "/v1/contracts", kind: write, body: requiredBody, right: fsm.MayLoadContracts, handle: (*service).putContract},
	{method: "GET", path: "/v1/contracts/{id}", kind: read, right: fsm.MayReadContracts, handle: (*service).getContract},
	{method: "GET", path: "/v1/instances", kind: read, params: []string{"contract", "after", "limit"}, right: fsm.MayList, handle: (*service).listInstances},
	{method: "POST", path: "/v1/instances", kind: write, body: requiredBody, right: fsm.MayManageInstances, handle: (*service).createInstance},
	{method: "GET", path: "/v1/instances/{serial}", kind: read, right: fsm.MayReadInstance, names: "serial", handle: (*service).getInstance},
	{method: "PATCH", path: "/v1/instances/{serial}", kind: write, body: requiredBody, right: fsm.MayManageInstances, names: "serial", handle: (*service).resizeInstance},
	{method: "DELETE", path: "/v1/instances/{serial}", kind: write, right: fsm.MayManageInstances, names: "serial", handle: (*service).removeInstance},
	{method: "GET", path: "/v1/instances/{serial}/key", kind: read, right: fsm.MayReadInstance, names: "serial", handle: (*service).getInstanceKey},
	{method: "GET", path: "/v1/pools", kind: read, params: []string{"contract", "after", "limit"}, right: fsm.MayList, handle: (*service).listPools},
	{method: "POST", path: "/v1/pools", kind: write, body: requiredBody, right: fsm.MayManagePools, handle: (*service).createPool},
	{method: "GET", path: "/v1/pools/{pool}", kind: read, right: fsm.MayReadPool, names: "pool", handle: (*service).getPool},
	{method: "PUT", path: "/v1/pools/{pool}", kind: write, body: requiredBody, matches: true, right: fsm.MayManagePools, names: "pool", handle: (*service).replacePool},
	{method: "DELETE", path: "/v1/pools/{pool}", kind: write, params: []string{"force"}, right: fsm.MayManagePools, names: "pool", handle: (*service).deletePool},
	{method: "POST", path: "/v1/pools/{pool}/activate", kind: write, right: fsm.MayManagePools, names: "pool", handle: (*service).activatePool},
	{method: "POST", path: "/v1/pools/{pool}/deactivate", kind: write, right: fsm.MayManagePools, names: "pool", handle: (*service).deactivatePool},
	{method: "GET", path: "/v1/pools/{pool}/usage", kind: read, params: []string{"product", "from", "to"}, right: fsm.MayReadUse, names: "pool", handle: (*service).getUsage},
	{method: "GET", path: "/v1/pools/{pool}/projects", kind: read, params: []string{"after", "limit"}, right: fsm.MayReadUse, names: "pool", handle: (*service).listProjects},
	{method: "POST", path: "/v1/pools/{pool}/projects/convert", kind: write, body: requiredBody, right: fsm.MayHaveSeats, names: "pool", handle: (*service).convertProject},
	{method: "GET", path: "/v1/pools/{pool}/tickets", kind: read, params: []string{"after", "limit"}, right: fsm.MayReadUse, names: "pool", handle: (*service).listTickets},
	{method: "POST", path: "/v1/checkouts", kind: write, body: requiredBody, right: fsm.MayHaveSeats, handle: (*service).checkout},
	{method: "POST", path: "/v1/checkouts/explain", kind: read, body: requiredBody, right: fsm.MayReadSeats, handle: (*service).explainCheckout},
	{method: "GET", path: "/v1/leases", kind: read, params: []string{"pool", "user", "project", "after", "limit"}, right: fsm.MayList, handle: (*service).listLeases},
	{method: "GET", path: "/v1/leases/{lease}", kind: read, right: fsm.MayReadSeats, names: "lease", handle: (*service).getLease},
	{method: "DELETE", path: "/v1/leases/{lease}", kind: write, params: []string{"reason"}, right: fsm.MayManagePools, names: "lease", handle: (*service).revokeLease},
	{method: "POST", path: "/v1/leases/{lease}/renew", kind: write, body: requiredBody, right: fsm.MayHaveSeats, names: "lease", handle: (*service).renewLease},
	{method: "POST", path: "/v1/leases/{lease}/return", kind: write, body: requiredBody, right: fsm.MayHaveSeats, names: "lease", handle: (*service).returnLease},
	{method: "POST", path: "/v1/borrows/return", kind: write, body: requiredBody, right: fsm.MayHaveSeats, handle: (*service).returnBorrow},
	{method: "POST", path: "/v1/bulk", kind: write, body: requiredBody, right: fsm.MayHaveSeats, handle: (*service).bulk},
	{method: "GET", path: "/v1/tickets/{ticket}", kind: read, params: []string{"wait"}, waits: true, right: fsm.MayReadSeats, names: "ticket", handle: (*service).getTicket},
	{method: "POST", path: "/v1/tickets/{ticket}/keep", kind: write, body: requiredBody, right: fsm.MayHaveSeats, names: "ticket", handle: (*service).keepTicket},
	{method: "POST", path: "/v1/tickets/{ticket}/claim", kind: write, body: requiredBody, right: fsm.MayHaveSeats, names: "ticket", handle: (*service).claimOffer},
	{method: "POST", path: "/v1/tickets/{ticket}/leave", kind: write, body: requiredBody, right: fsm.MayHaveSeats, names: "ticket", handle: (*service).leaveQueue},
	{method: "GET", path: "/v1/instances/{serial}/accounts", kind: read, params: []string{"after", "limit"}, right: fsm.MayReadInstance, names: "serial", handle: (*service).listAccounts},
	{method: "POST", path: "/v1/instances/{serial}/accounts", kind: write, body: requiredBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).createAccount},
	{method: "GET", path: "/v1/instances/{serial}/accounts/{account}", kind: read, right: fsm.MayReadInstance, names: "serial", handle: (*service).getAccount},
	{method: "PATCH", path: "/v1/instances/{serial}/accounts/{account}", kind: write, body: requiredBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).changeAccount},
	{method: "DELETE", path: "/v1/instances/{serial}/accounts/{account}", kind: write, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).deleteAccount},
	{method: "GET", path: "/v1/instances/{serial}/totals", kind: read, right: fsm.MayReadInstance, names: "serial", handle: (*service).getInstanceTotals},
	{method: "GET", path: "/v1/instances/{serial}/export", kind: read, right: fsm.MayReadInstance, names: "serial", handle: (*service).exportAccounts},
	{method: "POST", path: "/v1/instances/{serial}/imports", kind: write, body: csvBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).importAccounts},
	{method: "POST", path: "/v1/instances/{serial}/imports/staged", kind: write, body: requiredBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).importStaged},
	{method: "PUT", path: "/v1/instances/{serial}/stagings/{staging}/{part}", kind: write, body: requiredBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).stageAccounts},
	{method: "POST", path: "/v1/instances/{serial}/syncs", kind: write, body: requiredBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).syncAccounts},
	{method: "POST", path: "/v1/instances/{serial}/syncs/staged", kind: write, body: requiredBody, right: fsm.MayKeepAccounts, names: "serial", handle: (*service).syncStaged},
	{method: "GET", path: "/v1/contracts/{id}/totals", kind: read, right: fsm.MayReadContracts, handle: (*service).getContractTotals},
	{method: "GET", path: "/v1/contracts/{id}/responsible", kind: read, right: fsm.MayReadContracts, handle: (*service).getResponsible},
	{method: "PUT", path: "/v1/contracts/{id}/responsible", kind: write, body: requiredBody, right: fsm.MayAdminister, handle: (*service).setResponsible},
	{method: "DELETE", path: "/v1/contracts/{id}/responsible", kind: write, right: fsm.MayAdminister, handle: (*service).resetResponsible},
	{method: "GET", path: "/v1/notices", kind: read, params: []string{"after", "limit"}, right: fsm.MayRead, handle: (*service).listNotices},
	{method: "GET", path: "/v1/requests", kind: read, params: []string{"contract", "after", "limit"}, right: fsm.MayReadRequests, handle: (*service).listRequests},
	{method: "POST", path: "/v1/requests", kind: write, body: requiredBody, right: fsm.MayOpenRequests, handle: (*service).openRequest},
	{method: "GET", path: "/v1/requests/{request}", kind: read, right: fsm.MayReadRequests, handle: (*service).getRequest},
	{method: "POST", path: "/v1/requests/{request}/close", kind: write, body: requiredBody, right: fsm.MayCloseRequests, handle: (*service).closeRequest},
	{method: "GET", path: "/v1/tokens", kind: read, params: []string{"after", "limit"}, right: fsm.MayRead, handle: (*service).listTokens},
	{method: "POST", path: "/v1/tokens", kind: write, body: requiredBody, right: fsm.MayMakeTokens, handle: (*service).createToken},
	{method: "POST", path: "/v1/tokens/bootstrap", kind: write, body: requiredBody, right: fsm.MayMakeTokens, handle: (*service).bootstrapTokens},
	{method: "GET", path: "/v1/tokens/self", kind: read, right: fsm.MaySelf, handle: (*service).getPrincipal},
	{method: "GET", path: "/v1/tokens/{token}", kind: read, right: fsm.MayRead, handle: (*service).getToken},
	{method: "DELETE", path: "/v1/tokens/{token}", kind: write, right: fsm.MayMakeTokens, handle: (*service).revokeToken},
	{method: "POST", path: "/v1/activations", kind: write, body: requiredBody, right: fsm.MayActivate, handle: (*service).activate},
}

// routed serves a table of routes. Paths and methods that it does not have are
// answered here, not by ServeMux, whose answers are no problems.
func (s *service) routed(table []route) http.Handler {
	table = slices.Clone(table)
	methods := make(map[string]map[string]*route)
	for i := range table {
		rt := &table[i]
		rt.name = rt.method + " " + rt.path
		if methods[rt.path] == nil {
			methods[rt.path] = make(map[string]*route)
		}
		methods[rt.path][rt.method] = rt
	}
	mux := http.NewServeMux()
	for pattern, byMethod := range methods {
		allow := strings.Join(slices.Sorted(maps.Keys(byMethod)), ", ")
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if rt := byMethod[r.Method]; rt != nil {
				s.serve(w, r, rt)
				return
			}
			w.Header().Set("Allow", allow)
			s.fail(w, r, problemf(apiv1.CodeMethodNotAllowed, "%.200q has no method %.20q; it has %s.", r.URL.Path, r.Method, allow))
		})
	}
	mux.HandleFunc("/", s.notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ServeMux would redirect to the clean path.
		if !strings.HasPrefix(r.URL.Path, "/") || r.URL.Path != path.Clean(r.URL.Path) || r.Method == http.MethodConnect {
			s.notFound(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *service) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, problemf(apiv1.CodeRouteNotFound, "There is no path %.200q.", r.URL.Path))
}

// call is one request on its way through a handler, checked as far as its route says.
type call struct {
	*http.Request
	ctx context.Context
	// principal is who asks, actor the name under which the audit trail has him.
	principal fsm.Principal
	actor     string
	// hurried: whoever asks has no time spent on a token that the node has not seen yet.
	hurried bool
	// reach is what the path names, if whoever asks reaches a part of things only.
	reach *fsm.Reach
	query *query
	form  *form
	// text is a body that is not JSON.
	text []byte
	// requestKey is the request id of a write.
	requestKey string
	// expected is the revision that If-Match names, 0 for any.
	expected uint64
	dryRun   bool
	read     Read
	// header is the answer's, writer for what concerns its connection.
	header http.Header
	writer http.ResponseWriter
}

// answer is a handler's success. No body means 204.
type answer struct {
	status int
	body   any
}

func ok(body any) *answer { return &answer{http.StatusOK, body} }

// serve checks a request, has it handled and answers.
func (s *service) serve(w http.ResponseWriter, r *http.Request, rt *route) {
	exchangeOf(r.Context()).route = rt.name
	if s.draining() && !rt.stays {
		w.Header().Set("Connection", "close")
		p := problemf(apiv1.CodeShuttingDown, "Node %s is about to stop.", s.Node.ID())
		p.next, p.retryAfter = "Try again through another node.", time.Second
		s.fail(w, r, p)
		return
	}
	most := s.RequestTimeout
	if rt.waits {
		most += maxWait
	}
	if rt.streams {
		most = maxStream
	}
	limit, err := timeout(r.Header, most)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	c := &call{Request: r, ctx: ctx, header: w.Header(), writer: w}
	if err := s.check(w, c, rt); err != nil {
		s.fail(w, r, err)
		return
	}
	a, err := rt.handle(s, c)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.reply(w, r, a)
}

// check fills a call with what its route has, cheapest first.
func (s *service) check(w http.ResponseWriter, c *call, rt *route) (err error) {
	if !rt.open {
		if c.principal, err = s.rateUnknown(c); err != nil {
			return err
		}
		c.actor = c.principal.Actor()
		exchangeOf(c.Context()).actor = c.actor
		s.beginSpan(c, rt)
		if err := s.spend(c, 1); err != nil {
			return err
		}
		if err := s.authorise(c, rt); err != nil {
			return err
		}
	}
	if c.query, err = parseQuery(c.URL.RawQuery, append(slices.Clone(rt.params), kindParams[rt.kind]...)); err != nil {
		return err
	}
	if c.expected, err = ifMatch(c.Header, rt.matches); err != nil {
		return err
	}
	switch rt.kind {
	case read:
		c.read = c.query.read()
	case write:
		c.dryRun = c.query.dryRun()
		if c.requestKey, err = requestKey(c.Header); err != nil {
			return err
		}
	}
	if err := c.query.done(); err != nil {
		return err
	}
	return s.checkBody(w, c, rt.body)
}

func (s *service) checkBody(w http.ResponseWriter, c *call, want content) error {
	// A length of -1 is one that is not announced.
	present := c.ContentLength != 0
	switch {
	case want == noBody && present:
		return problemf(apiv1.CodeBadRequest, "%s %s takes no body.", c.Method, c.Pattern)
	case want == noBody, want == optionalBody && !present:
		c.form = newForm(nil)
		return nil
	}
	if want == backupBody {
		c.form = newForm(nil)
		return checkType(c.Request, backupType)
	}
	kind := "application/json"
	if want == csvBody {
		kind = "text/csv"
	}
	body, err := readBody(w, c.Request, s.maxBody.Load(), kind)
	if err != nil {
		return err
	}
	if want == csvBody {
		c.form, c.text = newForm(nil), body
		return nil
	}
	o, err := decodeBody(body)
	if err != nil {
		return malformed([]fault{{"body", err.Error()}})
	}
	c.form = newForm(o)
	return nil
}
