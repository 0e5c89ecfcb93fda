package issuer

import (
	"context"
	"time"
)

const (
	// askTime bounds one attempt to ask the issuer for all that is to be known of it.
	askTime = 5 * time.Second
	// maxWaiting is how many tokens wait at a time for the issuer to answer.
	maxWaiting = 64
	// newKeysEvery is how often the issuer is asked at most, whatever tokens come.
	newKeysEvery = 10 * time.Second
	// refreshAfter is how old what is known may be before it is asked for anew, by a token that does not wait for it. So long a key
	// is believed that the issuer has taken back.
	refreshAfter = 10 * time.Minute
	// maxAge is when it is not believed any more, if the issuer has not answered since.
	maxAge = 24 * time.Hour
	// firstPause is how long nobody asks after a failure; after each further one twice as long, up to maxPause.
	firstPause = time.Second
	maxPause   = time.Minute
)

// current is what is known of the issuer. It waits only if that is nothing, or too old.
func (i *Issuer) current(ctx context.Context) (*trust, *Error) {
	t := i.trust.Load()
	if t == nil || i.age(t) > maxAge {
		return i.ask(ctx)
	}
	if i.age(t) > refreshAfter {
		i.begin()
	}
	return t, nil
}

func (i *Issuer) age(t *trust) time.Duration { return i.options.Now().Sub(t.since) }

// ask waits until the issuer has been asked, if it may be now, and returns what is known of it then.
func (i *Issuer) ask(ctx context.Context) (*trust, *Error) {
	if i.waiting.Add(1) > maxWaiting {
		i.waiting.Add(-1)
		return nil, i.unavailable(firstPause)
	}
	defer i.waiting.Add(-1)
	if asking := i.begin(); asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
			return nil, i.unavailable(firstPause)
		}
	}
	i.mu.Lock()
	failed, again := i.failed, i.next.Sub(i.options.Now())
	i.mu.Unlock()
	if failed {
		return nil, i.unavailable(max(again, firstPause))
	}
	return i.trust.Load(), nil
}

func (i *Issuer) unavailable(retry time.Duration) *Error {
	return &Error{
		code: "not_ready", text: "The issuer " + i.options.Name + " does not answer this node, so that nothing is known of the token.",
		next: "Try again, or through another node; the node's log says why. Other tokens, and certificates, are not concerned.", retry: retry,
	}
}

// begin has the issuer asked, unless it is being asked or a pause goes on. What it returns is closed when that has come to an
// end; it is nil in a pause.
func (i *Issuer) begin() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.asking == nil && !i.options.Now().Before(i.next) {
		i.asking = make(chan struct{})
		go i.refresh(i.asking)
	}
	return i.asking
}

// refresh asks the issuer. It belongs to no request, as many may wait for it.
func (i *Issuer) refresh(done chan<- struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	fresh, err := i.fetch(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	failed := i.failed
	i.failed = err != nil
	switch {
	case err == nil:
		i.trust.Store(fresh)
		i.pause = newKeysEvery
	case failed:
		i.pause = min(2*i.pause, maxPause)
	default:
		i.pause = firstPause
	}
	i.next = i.options.Now().Add(i.pause)
	switch {
	case err != nil && !failed:
		i.options.Log.Warn("the issuer of OpenID Connect can't be asked", "issuer", i.options.Name, "reason", clip(err))
	case err == nil && failed:
		i.options.Log.Info("the issuer of OpenID Connect answers again", "issuer", i.options.Name, "keys", len(fresh.keys))
	}
	i.asking = nil
	close(done)
}

// clip bounds an error, which may have an answer of the issuer in it.
func clip(err error) string {
	const most = 300
	text := err.Error()
	return text[:min(len(text), most)]
}
