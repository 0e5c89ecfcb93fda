package cluster

import (
	"runtime"
	"sync"
)

// batcher collects what arrives while earlier batches are under way, and hands
// it on in one piece as soon as one of them is done. Nothing waits on a timer:
// what arrives at an idle batcher is handed on at once, alone.
//
// Safe for concurrent use.
type batcher[T any] struct {
	// queue bounds what waits; offer refuses what is beyond it.
	queue chan T
	// slots bounds the batches under way.
	slots chan struct{}
	// most and bytes bound one batch; a single larger item still goes, alone.
	most, bytes int
	size        func(T) int
	// flush deals with a batch and returns when the next may take its slot.
	flush func([]T)

	stop    chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

func newBatcher[T any](waiting, underway, most, bytes int, size func(T) int, flush func([]T)) *batcher[T] {
	b := &batcher[T]{
		queue: make(chan T, waiting), slots: make(chan struct{}, underway),
		most: most, bytes: bytes, size: size, flush: flush, stop: make(chan struct{}),
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
		select {
		case b.slots <- struct{}{}:
		case <-b.stop:
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
			b.flush(batch)
			<-b.slots
		}()
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
