package api_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/licet/licet/api/apiv1"
)

func TestBackupIsOfTheViewThatWasRead(t *testing.T) {
	f := newFixture(t)
	a := f.get("/v1/backup").want(200)
	if want := "backup of " + f.node.view().Digest().String(); string(a.body) != want || a.header.Get("Licet-Index") != "1" {
		t.Errorf("%q, %v", a.body, a.header)
	}
}

// Half a backup must not look whole, and leaves its place to the next.
func TestBackupThatFails(t *testing.T) {
	f := newFixture(t)
	for range 3 {
		f.node.backupFail = errors.New("the disk is gone")
		func() {
			defer func() {
				if fault, _ := recover().(error); !errors.Is(fault, http.ErrAbortHandler) {
					t.Errorf("the connection was not cut: %v", fault)
				}
			}()
			f.get("/v1/backup")
		}()
	}
	f.node.backupFail = nil
	f.get("/v1/backup").want(200)
}

func TestRestoreSaysWhoAndWhere(t *testing.T) {
	f := newFixture(t)
	into[apiv1.Restored](f.do(request{method: "POST", path: "/v1/restore?into=new&from=old", body: "a backup"}).want(200))
	if want := "a backup into new from old by operator"; f.node.restored != want {
		t.Errorf("restored %q instead of %q", f.node.restored, want)
	}
	f.do(request{method: "POST", path: "/v1/restore?from=old", body: "a backup"}.bad()).refused(apiv1.CodeBadRequest)
	f.do(request{method: "POST", path: "/v1/restore?into=new", body: strings.Repeat("x", 1<<20+1)}).refused(apiv1.CodeBodyTooLarge)
}

// A node writes two backups at a time.
func TestBackupsAreBounded(t *testing.T) {
	f := newFixture(t)
	f.node.backupHeld, f.node.backupGoesOn = make(chan struct{}), make(chan struct{})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { f.get("/v1/backup") })
		<-f.node.backupHeld
	}
	f.get("/v1/backup").refused(apiv1.CodeOverloaded)
	for range 2 {
		f.node.backupGoesOn <- struct{}{}
	}
	both.Wait()
	f.node.backupHeld = nil
	f.get("/v1/backup").want(200)
}
