package main

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/licet/licet/api"
	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm"
)

// exits are the exit codes of all problems that the interface has.
var exits = map[apiv1.Code]struct{ status, exit int }{
	apiv1.CodeAccountExists:         {409, exitRefused},
	apiv1.CodeAccountNotFound:       {404, exitNotFound},
	apiv1.CodeAccountTwice:          {409, exitRefused},
	apiv1.CodeAlreadyBootstrapped:   {409, exitRefused},
	apiv1.CodeForbidden:             {403, exitRefused},
	apiv1.CodeLastOperatorToken:     {409, exitRefused},
	apiv1.CodeTokenExpired:          {409, exitRefused},
	apiv1.CodeTokenLimitReached:     {409, exitRefused},
	apiv1.CodeTokenNotFound:         {404, exitNotFound},
	apiv1.CodeAlreadyInitialised:    {409, exitRefused},
	apiv1.CodeAreaNotFound:          {404, exitNotFound},
	apiv1.CodeAreaOverAllocation:    {409, exitRefused},
	apiv1.CodeAuditRowNotFound:      {404, exitNotFound},
	apiv1.CodeProfilingOff:          {404, exitNotFound},
	apiv1.CodeBadRequest:            {400, exitUsage},
	apiv1.CodeBodyTooLarge:          {413, exitUsage},
	apiv1.CodeBorrowLowWater:        {409, exitRefused},
	apiv1.CodeBorrowNotAllowed:      {409, exitRefused},
	apiv1.CodeBorrowNotRenewable:    {409, exitRefused},
	apiv1.CodeBorrowTokenInvalid:    {422, exitRefused},
	apiv1.CodeBorrowTokenNeeded:     {409, exitRefused},
	apiv1.CodeBorrowTooLong:         {409, exitRefused},
	apiv1.CodeCapReached:            {409, exitRefused},
	apiv1.CodeClockSkew:             {503, exitUnreachable},
	apiv1.CodeContractEnded:         {409, exitRefused},
	apiv1.CodeContractExhausted:     {409, exitRefused},
	apiv1.CodeContractNotFound:      {404, exitNotFound},
	apiv1.CodeContractNotStarted:    {409, exitRefused},
	apiv1.CodeCountAboveLimit:       {409, exitRefused},
	apiv1.CodeDocumentInvalid:       {422, exitRefused},
	apiv1.CodeGossipPlain:           {409, exitRefused},
	apiv1.CodeRotationIncomplete:    {409, exitRefused},
	apiv1.CodeIdempotencyMismatch:   {422, exitRefused},
	apiv1.CodeImportRefused:         {409, exitRefused},
	apiv1.CodeIndexTimeout:          {504, exitUnreachable},
	apiv1.CodeInstanceExists:        {409, exitRefused},
	apiv1.CodeInstanceKeepsAccounts: {409, exitRefused},
	apiv1.CodeInstanceNotFound:      {404, exitNotFound},
	apiv1.CodeInstanceRemoved:       {410, exitNotFound},
	apiv1.CodeInstanceReports:       {409, exitRefused},
	apiv1.CodeInternal:              {500, exitUnknown},
	apiv1.CodeInvalid:               {422, exitUsage},
	apiv1.CodeKeyInvalid:            {422, exitRefused},
	apiv1.CodeKeyStale:              {409, exitRefused},
	apiv1.CodeLeaseEnded:            {410, exitNotFound},
	apiv1.CodeLeaseNotFound:         {404, exitNotFound},
	apiv1.CodeMemberNotFound:        {404, exitNotFound},
	apiv1.CodeMemberRefused:         {409, exitRefused},
	apiv1.CodeMethodNotAllowed:      {405, exitInternal},
	apiv1.CodeNoLeader:              {503, exitUnreachable},
	apiv1.CodeNotHolder:             {403, exitRefused},
	apiv1.CodeNotInitialised:        {503, exitUnreachable},
	apiv1.CodeNotOffered:            {409, exitRefused},
	apiv1.CodeNotReady:              {503, exitUnreachable},
	apiv1.CodeNotTicketHolder:       {403, exitRefused},
	apiv1.CodeOutcomeUnknown:        {504, exitUnknown},
	apiv1.CodeOverloaded:            {503, exitUnreachable},
	apiv1.CodePoolChanged:           {412, exitRefused},
	apiv1.CodePoolEnded:             {409, exitRefused},
	apiv1.CodePoolExists:            {409, exitRefused},
	apiv1.CodePoolFull:              {409, exitRefused},
	apiv1.CodePoolInUse:             {409, exitRefused},
	apiv1.CodePoolInactive:          {409, exitRefused},
	apiv1.CodePoolNotFound:          {404, exitNotFound},
	apiv1.CodeProductNotGranted:     {409, exitRefused},
	apiv1.CodeProductNotInPool:      {404, exitNotFound},
	apiv1.CodeProjectBusy:           {409, exitRefused},
	apiv1.CodeProjectNotAllowed:     {409, exitRefused},
	apiv1.CodeProjectOpenAsMono:     {409, exitRefused},
	apiv1.CodeProjectOpenAsTeam:     {409, exitRefused},
	apiv1.CodeProjectRequired:       {409, exitRefused},
	apiv1.CodeProjectShared:         {409, exitRefused},
	apiv1.CodeQuantityReached:       {409, exitRefused},
	apiv1.CodeQueueAhead:            {409, exitRefused},
	apiv1.CodeQueueFull:             {409, exitRefused},
	apiv1.CodeRequestClosed:         {409, exitRefused},
	apiv1.CodeRequestLimitReached:   {409, exitRefused},
	apiv1.CodeRequestNotFound:       {404, exitNotFound},
	apiv1.CodeRequestTooLarge:       {409, exitRefused},
	apiv1.CodeRequestTooSmall:       {409, exitRefused},
	apiv1.CodeRevisionConflict:      {409, exitRefused},
	apiv1.CodeRevisionStale:         {409, exitRefused},
	apiv1.CodeRouteNotFound:         {404, exitInternal},
	apiv1.CodeSeatLimitReached:      {409, exitRefused},
	apiv1.CodeSeatsReserved:         {409, exitRefused},
	apiv1.CodeShuttingDown:          {503, exitUnreachable},
	apiv1.CodeStagingIncomplete:     {409, exitRefused},
	apiv1.CodeVendorKeyRevoked:      {409, exitRefused},
	apiv1.CodeVendorKeyNotFound:     {404, exitNotFound},
	apiv1.CodeVendorKeyOutranked:    {409, exitRefused},
	apiv1.CodeLastVendorKey:         {409, exitRefused},
	apiv1.CodeVendorKeyLimitReached: {409, exitRefused},

	apiv1.CodeSigningKeyNotFound:     {404, exitNotFound},
	apiv1.CodeSigningKeyInUse:        {409, exitRefused},
	apiv1.CodeSigningKeyLimitReached: {409, exitRefused},

	apiv1.CodeStagingLimitReached:  {409, exitRefused},
	apiv1.CodeStagingMismatch:      {409, exitRefused},
	apiv1.CodeStagingNotFound:      {404, exitNotFound},
	apiv1.CodeSuperseded:           {503, exitUnreachable},
	apiv1.CodeTTLOutOfBounds:       {409, exitRefused},
	apiv1.CodeTicketGone:           {410, exitNotFound},
	apiv1.CodeTicketNotFound:       {404, exitNotFound},
	apiv1.CodeTimeout:              {504, exitUnreachable},
	apiv1.CodeTokenIsOne:           {409, exitRefused},
	apiv1.CodeUnauthorized:         {401, exitUsage},
	apiv1.CodeUnsupported:          {501, exitInternal},
	apiv1.CodeUnsupportedMediaType: {415, exitUsage},
	apiv1.CodeUserBarred:           {403, exitRefused},
	apiv1.CodeLeaderOnly:           {409, exitRefused},
	apiv1.CodeWrongCluster:         {409, exitRefused},
	apiv1.CodeBackupInvalid:        {422, exitRefused},
	apiv1.CodeStorageFailed:        {503, exitUnreachable},
	apiv1.CodeRateLimited:          {429, exitUnreachable},
	apiv1.CodeClientLimitReached:   {409, exitRefused},
	"a_newer_rule":                 {409, exitRefused},
	"a_newer_absence":              {404, exitNotFound},
}

func TestExitCodes(t *testing.T) {
	for code, want := range exits {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			body := `{"type":"t","title":"T","status":1,"detail":"Because of it.","code":"` + string(code) + `","request_id":"X","next":"Do."}`
			f := newFake(t, want.status, body)
			f.header = map[string]string{"Retry-After": "60"}
			environ := append(at(f.Server), "LICET_TIMEOUT=300ms")
			got := run(t, environ, "instance", "remove", "7", "--request-id", "one")
			if got.code != want.exit || got.out != "" || !strings.HasPrefix(got.err, "licet: ") || !strings.Contains(got.err, "Because of it") {
				t.Errorf("exit %d, %q, want %d", got.code, got.err, want.exit)
			}
			if hint := "Run the same command again with --request-id one"; strings.Contains(got.err, hint) != (want.exit == exitUnknown) {
				t.Errorf("E2: %q", got.err)
			}
			if asJSON := run(t, environ, "instance", "remove", "7", "-o", "json"); want.exit != exitUnknown && asJSON.err != body+"\n" || asJSON.code != want.exit {
				t.Errorf("as JSON: exit %d, %q", asJSON.code, asJSON.err)
			}
		})
	}
}

// Nothing is left to the default: a new code is a decision. The codes are those of the document, which has every
// refusal of the state machine.
func TestExitCodesAreComplete(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var codes []apiv1.Code
	for _, code := range doc.Components.Schemas["Code"].Value.Enum {
		codes = append(codes, apiv1.Code(code.(string)))
	}
	for code := range fsm.Codes() {
		codes = append(codes, apiv1.Code(code))
	}
	for _, code := range codes {
		if _, ok := exits[code]; !ok {
			t.Errorf("%s has no exit code", code)
		}
	}
	for code := range exits {
		if !slices.Contains(codes, code) && !strings.HasPrefix(string(code), "a_newer_") {
			t.Errorf("%s is no code", code)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			problems, _ := operation.Extensions["x-problems"].(map[string]any)
			for status, list := range problems {
				for _, code := range list.([]any) {
					if want := exits[apiv1.Code(code.(string))].status; status != strconv.Itoa(want) {
						t.Errorf("%s %s: %s has status %s instead of %d", method, path, code, status, want)
					}
				}
			}
		}
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"LICET_ENDPOINTS=http://" + l.Addr().String(), "LICET_TIMEOUT=200ms"}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"contract list", "instance remove 7", "cluster members", "status", "keys"} {
		got := run(t, environ, strings.Fields(args)...)
		if got.code != exitUnreachable || !strings.Contains(got.err+got.out, "connection refused") || !strings.Contains(got.err, "\nnext: ") {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// E2: a write whose connection breaks is neither a failure nor a success.
func TestOutcomeUnknown(t *testing.T) {
	f := newFake(t, 200, "")
	f.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	environ := append(at(f.Server), "LICET_TIMEOUT=300ms")
	got := run(t, environ, "instance", "remove", "7")
	if got.code != exitUnknown || !strings.Contains(got.err, "It is not known whether the request was carried out") || !strings.Contains(got.err, "with --request-id 01") {
		t.Errorf("%+v", got)
	}
	if got := run(t, environ, "cluster", "leave"); got.code != exitUnknown || strings.Contains(got.err, "--request-id") {
		t.Errorf("%+v", got)
	}
	if got := run(t, environ, "instance", "remove", "7", "--dry-run"); got.code != exitUnreachable {
		t.Errorf("%+v", got)
	}
}

// What others wrote does not steer the terminal.
func TestControlCharacters(t *testing.T) {
	const evil = "\\u001b[2Jx\\u202ey\\u0000"
	f := newFake(t, 409, `{"detail":"a`+evil+`b","code":"key_stale","next":"`+evil+`"}`)
	if got := run(t, at(f.Server), "instance", "remove", "7"); got.code != exitRefused || got.err != "licet: a?[2Jx?y?b\nnext: ?[2Jx?y?\n" {
		t.Errorf("%+v", got)
	}
	f = newFake(t, 200, `{"contracts":[{"id":"a`+evil+`","customer":"`+evil+`"}]}`)
	if got := run(t, at(f.Server), "contract", "list"); got.code != exitOK || strings.ContainsAny(got.out, "\x1b\x00") || strings.Contains(got.out, "\u202e") {
		t.Errorf("%+v", got)
	}
}
