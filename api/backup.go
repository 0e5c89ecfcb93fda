package api

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/signed"
)

const (
	// backupType is the media type of a backup.
	backupType = "application/vnd.licet.backup"
	// maxBackups is how many backups a node writes at a time.
	maxBackups = 2
	// maxStream bounds a request that streams.
	maxStream = time.Hour
	// maxSilence is how long nothing may move of a body that streams.
	maxSilence = 30 * time.Second
)

func (s *service) getBackup(c *call) (*answer, error) {
	withKey := c.query.choice("signing_key", "false", "true") == "true"
	if err := c.query.done(); err != nil {
		return nil, err
	}
	if withKey {
		if err := s.exportSigningKey(c); err != nil {
			return nil, err
		}
	}
	v, err := s.view(c)
	if err != nil {
		return nil, err
	}
	select {
	case s.backups <- struct{}{}:
	default:
		p := problemf(apiv1.CodeOverloaded, "%d backups of this node are being written, as many as may.", maxBackups)
		p.next, p.retryAfter = "Try again when they are done, or through another node.", 10*time.Second
		return nil, p
	}
	return ok(stream{backupType, func(w io.Writer) error {
		defer func() { <-s.backups }()
		return s.Node.Backup(&paced{w: w, connection: http.NewResponseController(c.writer)}, v, withKey)
	}}), nil
}

func (s *service) restoreBackup(c *call) (*answer, error) {
	into, from := c.query.name("into", signed.CheckName), c.query.name("from", signed.CheckName)
	if !c.query.values.Has("into") {
		c.query.fault("into", "into: it is missing")
	}
	if err := c.query.done(); err != nil {
		return nil, err
	}
	body := &paced{r: http.MaxBytesReader(c.writer, c.Body, s.MaxBackup), connection: http.NewResponseController(c.writer)}
	restored, err := s.Node.Restore(c.ctx, body, into, from, c.actor, exchangeOf(c.Context()).id)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, problemf(apiv1.CodeBodyTooLarge, "The backup is longer than %d bytes.", s.MaxBackup).with("limit", apiv1.Number(s.MaxBackup))
	case err != nil && body.broken:
		p := problemf(apiv1.CodeBadRequest, "The backup ended early, after %d bytes.", body.bytes)
		p.cause = err
		return nil, p
	case err != nil:
		return nil, unknown(err, "Look with `licet status` and `licet audit list` whether the backup was restored.")
	}
	return ok(restored), nil
}

// paced gives a body that moves more time: the server's limits are for requests that are over at once.
type paced struct {
	w          io.Writer
	r          io.Reader
	connection *http.ResponseController
	bytes      int64
	// broken: the connection was, while the body came.
	broken bool
}

func (p *paced) Write(b []byte) (int, error) {
	if err := p.connection.SetWriteDeadline(time.Now().Add(maxSilence)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.w.Write(b)
}

func (p *paced) Read(b []byte) (int, error) {
	now := time.Now()
	err := errors.Join(p.connection.SetReadDeadline(now.Add(maxSilence)), p.connection.SetWriteDeadline(now.Add(maxStream)))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := p.r.Read(b)
	p.bytes += int64(n)
	p.broken = p.broken || err != nil && !errors.Is(err, io.EOF)
	return n, err
}
