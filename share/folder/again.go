package folder

import (
	"os"

	"tandem/session"
	"tandem/share/chunk"
)

const (
	// maxRecent is how many chunks either side remembers of a stream.
	maxRecent = 1 << 14
	// minRecent is the least that a chunk must have to be remembered, in bytes.
	minRecent = 1024
)

// recent remembers the chunks that have travelled on a stream lately, so that
// they need not again: of a sender their names, of a receiver where they are.
type recent struct {
	at   map[chunk.Sum]spot
	ring []chunk.Sum // in the order in which they came
	next int         // in ring, once it is full
}

// spot is where a chunk lies: in the file at path, or still in the stage.
type spot struct {
	path, stage string
	offset      int64
	size        int
	written     chan struct{} // if set, closed when it lies there
}

func (r *recent) add(sum chunk.Sum, s spot) {
	if s.size < minRecent {
		return
	}
	if r.at == nil {
		r.at = make(map[chunk.Sum]spot)
	}
	if _, known := r.at[sum]; known {
		r.at[sum] = s
		return
	}
	r.at[sum] = s
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, sum)
		return
	}
	delete(r.at, r.ring[r.next])
	r.ring[r.next] = sum
	r.next = (r.next + 1) % maxRecent
}

func (r *recent) has(sum chunk.Sum) bool {
	_, ok := r.at[sum]
	return ok
}

// size is how long a chunk is that came before.
func (r *recent) size(sum chunk.Sum) (n int, known bool) {
	s, known := r.at[sum]
	return s.size, known
}

// errMissed says that a chunk is not where it was. The file can be had without
// such references.
var errMissed = session.Errorf("copy", session.Changed, "a file that came before has changed")

// read is a chunk that came before, maybe as a part of h, which is under way.
func (r *recent) read(t *tree, sum chunk.Sum, h *held) ([]byte, error) {
	s, ok := r.at[sum]
	if !ok {
		return nil, errMissed
	}
	if h != nil && h.written == s.written {
		return h.data[s.offset:][:s.size], nil
	}
	if s.written != nil {
		<-s.written
	}
	p := make([]byte, s.size)
	// It may be renamed while we look.
	for _, open := range []func() (*os.File, error){t.opener(s.path), t.stageOpener(s.stage), t.opener(s.path)} {
		f, err := open()
		if err != nil {
			continue
		}
		_, err = f.ReadAt(p, s.offset)
		_ = f.Close() // only read
		if err == nil && chunk.SumOf(p) == sum {
			return p, nil
		}
	}
	return nil, errMissed
}

// stageOpener opens what is staged under name.
func (t *tree) stageOpener(name string) func() (*os.File, error) {
	return func() (*os.File, error) {
		f, err := t.root.OpenFile(local(join(partialDir, name)), os.O_RDONLY|openNonblock, 0)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			_ = f.Close() // only opened
			return nil, unsupported(partialDir)
		}
		return f, nil
	}
}
