package cluster

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batchesUnderway bounds the batches of one batcher that are not done.
	batchesUnderway = 16
	// farAfter is after how many slow batches it is the way that is long. One that was quick shows the contrary: a busy
	// machine has some.
	farAfter = 16
)

// batcher collects what arrives while earlier batches are under way, and hands
// it on in one piece as soon as one of them is done; where the way is long, also when one
// has been under way for patience. What arrives at an idle batcher is handed on at once, alone.
//
// Safe for concurrent use.
type batcher[T any] struct {
	// queue bounds what waits; offer refuses what is beyond it.
	queue chan T
	// slots bounds the batches under way that hold up the next one, underway all of them.
	slots, underway chan struct{}
	// patience is for how long a batch holds up the next one where the way is long, which is where all take longer.
	patience time.Duration
	// slow counts the batches since one took less than patience, up to farAfter.
	slow atomic.Int32
	// most and bytes bound one batch; a single larger item still goes, alone.
	most, bytes int
	size        func(T) int
	// flush deals with a batch and returns when the next may take its slot.
	flush func([]T)

	stop    chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// newBatcher returns one whose queue has room for waiting, and which has up to slots batches under way at a time
// that are quick. See the fields for the rest.
func newBatcher[T any](waiting, slots int, patience time.Duration, most, bytes int, size func(T) int, flush func([]T)) *batcher[T] {
	b := &batcher[T]{
		queue: make(chan T, waiting), slots: make(chan struct{}, slots), underway: make(chan struct{}, batchesUnderway),
		patience: patience, most: most, bytes: bytes, size: size, flush: flush, stop: make(chan struct{}),
	}
	b.running.Add(1)
	go b.run()
	return b
}

// offer queues x; false means that the queue is full.
func (b *batcher[T]) offer(x T) bool {
	select {
	case b.queue <- x:
		return true
	default:
		return false
	}
}

// close stops the batcher and waits for the batches under way. Items still
// queued are dropped; their owners watch the node's end themselves.
func (b *batcher[T]) close() {
	b.once.Do(func() { close(b.stop) })
	b.running.Wait()
}

func (b *batcher[T]) run() {
	defer b.running.Done()
	var left []T
	for {
		if !b.acquire(b.underway) || !b.acquire(b.slots) {
			return
		}
		if len(left) == 0 {
			select {
			case x := <-b.queue:
				left = append(left, x)
			case <-b.stop:
				return
			}
		}
		var batch []T
		batch, left = b.gather(left)
		b.running.Add(1)
		go func() {
			defer b.running.Done()
			b.deliver(batch)
		}()
	}
}

func (b *batcher[T]) deliver(batch []T) {
	began, release := time.Now(), sync.OnceFunc(func() { <-b.slots })
	slow := b.slow.Load()
	if slow == farAfter {
		defer time.AfterFunc(b.patience, release).Stop()
	}
	b.flush(batch)
	if time.Since(began) < b.patience {
		b.slow.Store(0)
	} else if slow < farAfter {
		b.slow.Store(slow + 1)
	}
	release()
	<-b.underway
}

// acquire is false when the batcher stops.
func (b *batcher[T]) acquire(room chan struct{}) bool {
	select {
	case room <- struct{}{}:
		return true
	case <-b.stop:
		return false
	}
}

// gather fills a batch with what is there. An item that would pass the bound of
// bytes is left for the next batch.
func (b *batcher[T]) gather(batch []T) (full, left []T) {
	bytes := 0
	for _, x := range batch {
		bytes += b.size(x)
	}
	for len(batch) < b.most {
		select {
		case x := <-b.queue:
			if bytes += b.size(x); bytes > b.bytes {
				return batch, []T{x}
			}
			batch = append(batch, x)
		default:
			// Those whom the batch before has just answered come again as soon as they are let:
			// without it they come by halves, in two batches.
			runtime.Gosched()
			if len(b.queue) == 0 {
				return batch, nil
			}
		}
	}
	return batch, nil
}
