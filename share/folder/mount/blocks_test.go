package mount

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"tandem/session"
	"tandem/share/folder"
)

// huge is a folder with one file, each of whose blocks is filled with its number.
type huge struct {
	Folder

	size int64

	mu      sync.Mutex
	fetched map[int64]int
	now     int64 // mtime
}

func (h *huge) Stat(context.Context, string) (folder.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return folder.Entry{Size: h.size, MTime: h.now}, nil
}

func (h *huge) ReadRange(_ context.Context, _ string, p []byte, offset int64) (int, folder.Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fetched[offset/blockSize]++
	return copy(p, bytes.Repeat([]byte{byte(offset / blockSize)}, len(p))), folder.Entry{Size: h.size, MTime: h.now}, nil
}

func newHuge(t *testing.T, blocks int64) (*huge, *Tree, *File) {
	t.Helper()
	h := &huge{size: blocks * blockSize, fetched: make(map[int64]int), now: 1}
	tree := New(h, "", true)
	t.Cleanup(tree.Close)
	f, err := tree.Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return h, tree, f
}

// A file that is read in order is fetched once, one block ahead; no more of it
// is kept than is allowed.
func TestReadAhead(t *testing.T) {
	const all = 3 * maxBlocks
	h, tree, f := newHuge(t, all)
	p := make([]byte, 128<<10)
	for offset := int64(0); offset < h.size; offset += int64(len(p)) {
		n, err := f.ReadAt(t.Context(), p, offset)
		if want := bytes.Repeat([]byte{byte(offset / blockSize)}, len(p)); n != len(p) || err != nil || !bytes.Equal(p, want) {
			t.Fatalf("at %d: %d, %v, %d", offset, n, err, p[0])
		}
		tree.blocks.mu.Lock()
		kept, next := tree.blocks.order.Len(), tree.blocks.byKey[blockKey{f.state, offset/blockSize + 1}]
		tree.blocks.mu.Unlock()
		if kept > maxBlocks {
			t.Fatalf("%d blocks are kept", kept)
		}
		if next == nil && offset/blockSize+1 < all {
			t.Fatalf("nothing is fetched ahead of %d", offset)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for index, times := range h.fetched {
		if times != 1 {
			t.Errorf("block %d was fetched %d times", index, times)
		}
	}
	if len(h.fetched) != all {
		t.Errorf("%d blocks of %d", len(h.fetched), all)
	}
}

// Reading here and there fetches nothing ahead, and keeps what was used last.
func TestRandomReads(t *testing.T) {
	h, tree, f := newHuge(t, 10*maxBlocks)
	r := rand.New(rand.NewPCG(7, 8))
	p := make([]byte, 10)
	for range 2000 {
		index := r.Int64N(10 * maxBlocks)
		if r.IntN(2) == 0 {
			index %= maxBlocks / 4 // the popular ones
		}
		if n, err := f.ReadAt(t.Context(), p, index*blockSize+5); n != 10 || err != nil || p[9] != byte(index) {
			t.Fatal(index, n, err, p)
		}
	}
	tree.blocks.work.Wait()
	if kept := tree.blocks.order.Len(); kept > maxBlocks {
		t.Errorf("%d blocks are kept", kept)
	}
	for index := range int64(maxBlocks / 4) {
		if h.fetched[index] > 20 { // of sixty
			t.Errorf("block %d, which is popular, was fetched %d times", index, h.fetched[index])
		}
	}
	// Of a file that was replaced nothing is given out.
	h.mu.Lock()
	h.now = 2
	h.mu.Unlock()
	for index := range int64(10 * maxBlocks) {
		n, err := f.ReadAt(t.Context(), p, index*blockSize)
		if n != 0 && p[0] != byte(index) || err != nil && session.KindOf(err) != session.Changed {
			t.Fatal(index, n, err)
		}
	}
	if _, err := io.ReadAll(io.NewSectionReader(readerAt{t.Context(), f}, 0, h.size)); session.KindOf(err) != session.Changed {
		t.Error(err)
	}
}
