package chunk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"tandem/session"
	"tandem/share"
)

const (
	tmpDir = "tmp"
	// maxPack is the largest file of a Dir: a pack is never longer than its
	// chunk and the byte before it.
	maxPack = MaxSize + 1
	// abandoned is the age at which a temporary file belongs to nobody.
	abandoned = 24 * time.Hour
	// useGrain is how exactly the last use of a chunk is kept.
	useGrain = time.Minute
)

// DirOptions say how much a Dir holds and how.
type DirOptions struct {
	// Limit is how many bytes the packs may take; 0 is no limit.
	Limit int64
	// Cache makes a full Dir drop what was used longest ago, down to seven
	// eighths of the limit. Otherwise it refuses more.
	Cache bool
	// Durable makes Put return after the chunk has reached the disk.
	Durable bool
}

// Dir is a Store in a directory. Several processes may use one at once; each
// knows of what the others add when it makes room or is opened again.
type Dir struct {
	options DirOptions
	root    *os.Root
	packer  *Packer
	now     func() time.Time

	mu      sync.Mutex
	bytes   int64           // of the packs that are there
	pending int64           // of those being written
	names   [256]sync.Mutex // by a chunk's first byte: one change at a time
}

var _ Store = (*Dir)(nil)

// OpenDir opens the store at path, which is made, for its user alone, if need be.
// It looks at every chunk's size.
func OpenDir(path string, o DirOptions) (*Dir, error) {
	if err := os.MkdirAll(filepath.Join(path, tmpDir), 0o700); err != nil {
		return nil, storeError("open", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, storeError("open", err)
	}
	packer, err := NewPacker()
	if err != nil {
		_ = root.Close() // the error matters more
		return nil, err
	}
	d := &Dir{options: o, root: root, packer: packer, now: time.Now}
	d.sweep()
	kept, err := d.survey(context.Background())
	if err != nil {
		_ = d.Close() // the error matters more
		return nil, err
	}
	for _, k := range kept {
		d.bytes += k.size
	}
	return d, nil
}

// Close ends the use of the store.
func (d *Dir) Close() error {
	d.packer.Close()
	return d.root.Close()
}

// Size is how many bytes the packs take.
func (d *Dir) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}

func shard(s Sum) string { return s.String()[:2] }
func file(s Sum) string  { return filepath.Join(shard(s), s.String()[2:]) }

// Has implements Store.
func (d *Dir) Has(ctx context.Context, name Sum) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	_, err := d.root.Lstat(file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, storeError("look up", err)
	}
	return true, nil
}

// Get implements Store.
func (d *Dir) Get(ctx context.Context, name Sum) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pack, used, err := d.read(name)
	if err != nil {
		return nil, err
	}
	data, err := d.packer.Unpack(name, pack)
	if err != nil {
		_ = d.remove(name) // whoever reads it next finds out the same
		return nil, err
	}
	d.use(name, used)
	return data, nil
}

// read returns a pack and when it was used last.
func (d *Dir) read(name Sum) (pack []byte, used time.Time, err error) {
	f, err := d.root.OpenFile(file(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, used, session.Errorf("chunk", session.NotFound, "chunk %s isn't here", name.String()[:12])
	}
	if err != nil {
		return nil, used, storeError("read", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, used, storeError("read", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPack {
		_ = d.remove(name) // nothing of ours
		return nil, used, damaged(name)
	}
	pack = make([]byte, info.Size())
	if _, err := io.ReadFull(f, pack); err != nil {
		return nil, used, storeError("read", err)
	}
	return pack, info.ModTime(), nil
}

// use notes that a chunk is of use, for a cache that needs room later.
func (d *Dir) use(name Sum, used time.Time) {
	if now := d.now(); d.options.Cache && now.Sub(used) >= useGrain {
		_ = d.root.Chtimes(file(name), now, now) // it may be dropped a little early
	}
}

// Put implements Store.
func (d *Dir) Put(ctx context.Context, name Sum, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := check(name, data); err != nil {
		return err
	}
	info, err := d.root.Lstat(file(name))
	if err == nil {
		d.use(name, info.ModTime())
		return nil
	}
	pack := d.packer.Pack(nil, data)
	if err := d.reserve(ctx, int64(len(pack))); err != nil {
		return err
	}
	added, err := d.write(name, pack)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending -= int64(len(pack))
	if added {
		d.bytes += int64(len(pack))
	}
	return err
}

// check is what every Put checks.
func check(name Sum, data []byte) error {
	switch {
	case len(data) == 0:
		return session.Errorf("chunk", session.Invalid, "an empty chunk")
	case len(data) > MaxSize:
		return session.Errorf("chunk", session.TooLarge, "a chunk of %d bytes, over %d", len(data), MaxSize)
	case SumOf(data) != name:
		return damaged(name)
	}
	return nil
}

// write makes a pack visible, and reports whether it was not there before.
func (d *Dir) write(name Sum, pack []byte) (added bool, err error) {
	tmp := filepath.Join(tmpDir, rand.Text())
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false, storeError("write", err)
	}
	_, err = f.Write(pack)
	if err == nil && d.options.Durable {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		added, err = d.place(name, tmp)
	}
	if err != nil || !added {
		_ = d.root.Remove(tmp) // it is swept later
	}
	if err != nil {
		return false, storeError("write", err)
	}
	return added, nil
}

// place renames a written pack to its name, unless somebody was quicker.
func (d *Dir) place(name Sum, tmp string) (added bool, err error) {
	d.names[name[0]].Lock()
	defer d.names[name[0]].Unlock()
	if _, err := d.root.Lstat(file(name)); err == nil {
		return false, nil
	}
	if err := d.root.Mkdir(shard(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	if err := d.root.Rename(tmp, file(name)); err != nil {
		return false, err
	}
	if d.options.Durable {
		return true, share.SyncDir(d.root, shard(name))
	}
	return true, nil
}

// Delete implements Store.
func (d *Dir) Delete(ctx context.Context, name Sum) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.remove(name)
}

func (d *Dir) remove(name Sum) error {
	d.names[name[0]].Lock()
	defer d.names[name[0]].Unlock()
	info, err := d.root.Lstat(file(name))
	if err == nil {
		err = d.root.Remove(file(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storeError("delete", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes -= info.Size()
	return nil
}

// List implements Store.
func (d *Dir) List(ctx context.Context) iter.Seq2[Sum, error] {
	return func(yield func(Sum, error) bool) {
		for s, err := range d.each(ctx) {
			if !yield(s.name, err) || err != nil {
				return
			}
		}
	}
}

// kept is a chunk as a Dir's files tell of it.
type kept struct {
	name Sum
	size int64
	used time.Time
}

// each yields all chunks. It ends after an error.
func (d *Dir) each(ctx context.Context) iter.Seq2[kept, error] {
	return func(yield func(kept, error) bool) {
		for first := range 256 {
			dir := Sum{byte(first)}
			if !d.eachIn(ctx, shard(dir), yield) {
				return
			}
		}
	}
}

// eachIn yields the chunks of one shard and reports whether to go on.
func (d *Dir) eachIn(ctx context.Context, dir string, yield func(kept, error) bool) bool {
	f, err := d.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		yield(kept{}, storeError("list", err))
		return false
	}
	defer func() { _ = f.Close() }() // it was only read
	for {
		if err := ctx.Err(); err != nil {
			yield(kept{}, err)
			return false
		}
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			name, nameErr := ParseSum(dir + e.Name())
			info, infoErr := e.Info()
			if nameErr != nil || infoErr != nil || !info.Mode().IsRegular() {
				continue // nothing of ours, or gone meanwhile
			}
			if !yield(kept{name, info.Size(), info.ModTime()}, nil) {
				return false
			}
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			yield(kept{}, storeError("list", err))
			return false
		}
	}
}

func (d *Dir) survey(ctx context.Context) (all []kept, err error) {
	for k, err := range d.each(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// reserve finds room for n bytes and takes it.
func (d *Dir) reserve(ctx context.Context, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	limit := d.options.Limit
	if taken := d.pending + n; limit > 0 && d.bytes+taken > limit {
		if !d.options.Cache || taken > limit {
			return session.Errorf("chunk", session.NoSpace, "the store of %d bytes is full", limit)
		}
		if err := d.makeRoomLocked(ctx, min(limit-taken, limit-limit/8)); err != nil {
			return err
		}
	}
	d.pending += n
	return nil
}

// makeRoomLocked counts anew and drops what was used longest ago until the
// rest takes no more than target bytes. It needs 64 bytes of memory a chunk.
func (d *Dir) makeRoomLocked(ctx context.Context, target int64) error {
	all, err := d.survey(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	d.bytes = 0
	for _, k := range all {
		d.bytes += k.size
	}
	for _, k := range all {
		if d.bytes <= target {
			break
		}
		if err := d.root.Remove(file(k.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storeError("make room", err)
		}
		d.bytes -= k.size
	}
	return nil
}

// sweep removes what writers that have died left behind.
func (d *Dir) sweep() {
	entries, err := fs.ReadDir(d.root.FS(), tmpDir)
	if err != nil {
		return // it is no worse than before
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && d.now().Sub(info.ModTime()) > abandoned {
			_ = d.root.Remove(filepath.Join(tmpDir, e.Name())) // the next sweep tries again
		}
	}
}

func storeError(op string, err error) error {
	kind := session.Internal
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		kind = session.NoSpace
	}
	return &session.Error{Op: "chunk store: " + op, Kind: kind, Err: err}
}
