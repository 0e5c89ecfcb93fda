package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/licet/licet/api/apiv1"
)

const (
	backupType = "application/vnd.licet.backup"
	// maxSilence is how long nothing may move of a body that streams.
	maxSilence = 30 * time.Second
	// maxRestore is how long a node may take for a backup that it has got.
	maxRestore = 10 * time.Minute
)

// Backup writes a backup of the cluster to w, from the first endpoint that answers. It takes as long as it takes: only the
// wait for the answer's beginning is bounded. After an error w has a part of a backup, or nothing; what it
// has is not checked, see package backup.
func (c *Client) Backup(ctx context.Context, w io.Writer, options ...ReadOption) (*Answer[struct{}], error) {
	r := get("/v1/backup", options)
	r.accept, r.sink = backupType, w
	return call[struct{}](ctx, c, r, nil)
}

// RestoreOf names a backup and where it goes.
type RestoreOf struct {
	// Into is the id of the cluster whose contents are to be replaced.
	Into string
	// From is the id of the cluster that wrote the backup; empty if it is the same.
	From string
	// Backup has Bytes bytes.
	Backup io.Reader
	Bytes  int64
}

// Restore replaces the contents of a cluster by those of a backup. The client must have the leader's endpoint only,
// see At. It is asked once.
func (c *Client) Restore(ctx context.Context, o RestoreOf) (*Answer[apiv1.Restored], error) {
	if len(c.endpoints) != 1 {
		return nil, refused(fmt.Errorf("of %d endpoints it is not clear which one is the leader's", len(c.endpoints)))
	}
	r, err := change(ctx, "POST", "/v1/restore", nil)
	if err == nil {
		r.once, r.here = true, true
		r.query = url.Values{"into": {o.Into}}
		if o.From != "" {
			r.query.Set("from", o.From)
		}
		r.kind, r.source, r.length = backupType, o.Backup, o.Bytes
	}
	return call[apiv1.Restored](ctx, c, r, err)
}

// streams reports that a body is not in memory.
func (r *request) streams() bool { return r.sink != nil || r.source != nil }

// stall ends an attempt when nothing moves any more.
type stall struct {
	timer *time.Timer
	// bytes is how much came.
	bytes int64
}

// tryStream is try for what streams: its time is bounded by silence, not by length.
func (c *Client) tryStream(parent context.Context, endpoint string, r *request) (*reply, *fault) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	s := &stall{timer: time.AfterFunc(c.timeout, cancel)}
	defer s.timer.Stop()
	var reached reach
	hr, err := c.build(reached.trace(ctx), endpoint, r)
	if err != nil {
		return nil, &fault{Error: refused(err)}
	}
	if r.source != nil {
		hr.Body, hr.ContentLength = io.NopCloser(&moving{s, r.source, maxRestore}), r.length
	}
	answer, err := c.http.Do(hr)
	if err != nil {
		return nil, broken(endpoint, r, silenced(parent, ctx, err), reached.nothingSent())
	}
	defer func() { _ = answer.Body.Close() }() // what is left of it is of no use
	if r.sink == nil || answer.StatusCode != http.StatusOK {
		s.timer.Reset(maxSilence)
		return read(endpoint, r, answer)
	}
	meta := metaOf(answer.Header)
	meta.Endpoint = endpoint
	if kind := mediaType(answer.Header); kind != r.accept {
		return nil, strange(r, answer, meta, fmt.Sprintf("%.60q instead of %s", kind, r.accept))
	}
	if _, err := io.Copy(r.sink, &moving{s, answer.Body, maxSilence}); err != nil {
		f := broken(endpoint, r, silenced(parent, ctx, err), false)
		// The sink has a part; another attempt would add to it.
		f.again = s.bytes == 0
		f.Detail = fmt.Sprintf("The backup from %s broke off after %d bytes (%s).", endpoint, s.bytes, f.Detail)
		return nil, f
	}
	return &reply{meta: meta}, nil
}

// silenced says that it was silence which ended an attempt.
func silenced(parent, ctx context.Context, err error) error {
	if ctx.Err() != nil && parent.Err() == nil {
		return errors.Join(context.DeadlineExceeded, err)
	}
	return err
}

// moving tells the stall of each part that comes, and that after the last one it may take longer.
type moving struct {
	stall *stall
	r     io.Reader
	last  time.Duration
}

func (m *moving) Read(b []byte) (int, error) {
	m.stall.timer.Reset(maxSilence)
	n, err := m.r.Read(b)
	m.stall.bytes += int64(n)
	if err != nil {
		m.stall.timer.Reset(m.last)
	}
	return n, err
}
