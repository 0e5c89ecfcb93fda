package client_test

import (
	"context"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/licet/licet/client"
)

// After its seats and then the client were closed, nothing of them runs, whatever had become of the seats.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	o := newOffice(time.Minute)
	server := httptest.NewServer(http.HandlerFunc(o.serve))
	c, err := client.New(client.Options{Endpoints: []string{server.URL}, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	closed, err := c.Hold(t.Context(), askAnn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := c.Hold(ctx, askAnn)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	queued := askAnn
	queued.Queue = true
	o.set(func() { o.full = true })
	waits, giveUp := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer giveUp()
	if _, err := c.Hold(waits, queued); err == nil {
		t.Error("a seat where there is none")
	}
	for _, s := range []*client.Seat{closed, ended} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	c.Close()
	server.Close()
	goleak.VerifyNone(t, before)
}

// The example of the package takes ten lines, and the page for developers shows it as it stands.
func TestExampleTakesTenLines(t *testing.T) {
	files := gotoken.NewFileSet()
	file, err := parser.ParseFile(files, "example_test.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "ExampleClient_Hold" {
			continue
		}
		body := string(source[files.Position(f.Body.Lbrace).Offset+2 : files.Position(f.Body.Rbrace).Offset])
		body, _, _ = strings.Cut(body, "\t// Output:")
		if n := strings.Count(body, "\n"); n > 10 {
			t.Errorf("%d lines:\n%s", n, body)
		}
		page, err := os.ReadFile("../docs/developers.md")
		if err != nil || !strings.Contains(string(page), strings.ReplaceAll(body, "\n\t", "\n")[1:]) {
			t.Errorf("docs/developers.md shows another one: %v\n%s", err, body)
		}
		return
	}
	t.Error("there is no ExampleClient_Hold")
}
