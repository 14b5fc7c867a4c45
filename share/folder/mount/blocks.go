package mount

import (
	"container/list"
	"context"
	"errors"
	"io"
	"sync"

	"tandem/session"
	"tandem/share/folder"
)

const (
	blockSize = 1 << 20
	maxBlocks = 64
)

// state is one state of a file at a path.
type state struct {
	path  string // in the share
	size  int64
	mtime int64
}

// blockKey names a block of a file in one state.
type blockKey struct {
	state
	index int64
}

// block is a part of a file, there or on its way.
type block struct {
	key   blockKey
	ready chan struct{}
	data  []byte // valid once ready is closed
	err   error
}

// blocks fetches and keeps parts of files: the ones used last.
type blocks struct {
	folder Folder
	vigil  *vigil
	life   context.Context //nolint:containedctx // bounds what is read ahead, for no caller
	end    context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	byKey map[blockKey]*list.Element // of *block
	order *list.List                 // the one used last in front
}

func newBlocks(f Folder, v *vigil) *blocks {
	life, end := context.WithCancel(context.Background())
	return &blocks{folder: f, vigil: v, life: life, end: end, byKey: make(map[blockKey]*list.Element), order: list.New()}
}

func (b *blocks) close() {
	b.end()
	b.work.Wait()
}

// read reads into p from offset on, and fetches the block after it ahead if so
// asked.
func (b *blocks) read(ctx context.Context, s state, p []byte, offset int64, ahead bool) (n int, err error) {
	for n < len(p) && offset < s.size {
		index := offset / blockSize
		bl := b.get(blockKey{s, index})
		if ahead && (index+1)*blockSize < s.size {
			b.get(blockKey{s, index + 1})
		}
		select {
		case <-bl.ready:
		case <-ctx.Done():
			return n, ctx.Err()
		}
		if bl.err != nil {
			return n, bl.err
		}
		from := offset - index*blockSize
		if from >= int64(len(bl.data)) {
			break
		}
		c := copy(p[n:], bl.data[from:])
		n += c
		offset += int64(c)
	}
	return n, nil
}

// get finds a block or begins to fetch it.
func (b *blocks) get(key blockKey) *block {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.byKey[key]; e != nil {
		b.order.MoveToFront(e)
		return e.Value.(*block)
	}
	bl := &block{key: key, ready: make(chan struct{})}
	b.byKey[key] = b.order.PushFront(bl)
	for b.order.Len() > maxBlocks {
		b.removeLocked(b.order.Back())
	}
	b.work.Go(func() {
		b.fetch(bl)
		if bl.err != nil { // the next one to want it tries again
			b.mu.Lock()
			if e := b.byKey[key]; e != nil && e.Value == bl {
				b.removeLocked(e)
			}
			b.mu.Unlock()
		}
		close(bl.ready)
	})
	return bl
}

func (b *blocks) removeLocked(e *list.Element) {
	delete(b.byKey, b.order.Remove(e).(*block).key)
}

func (b *blocks) fetch(bl *block) {
	ctx, done := b.vigil.call(b.life)
	offset := bl.key.index * blockSize
	p := make([]byte, min(blockSize, bl.key.size-offset))
	n, e, err := b.folder.ReadRange(ctx, bl.key.path, p, offset)
	err = done(err)
	if err != nil && !errors.Is(err, io.EOF) {
		bl.err = err
		return
	}
	if n < len(p) || stateOf(bl.key.path, e) != bl.key.state {
		bl.err = session.Errorf("read", session.Changed, "the file was replaced while it was read")
		return
	}
	bl.data = p
}

func stateOf(path string, e folder.Entry) state { return state{path, e.Size, e.MTime} }
