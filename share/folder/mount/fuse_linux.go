package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tandem/session"
	"tandem/share/folder"
)

// Mounted is a tree that is mounted.
type Mounted struct {
	server *fuse.Server
	dir    string
}

// Mount mounts a tree on dir, an empty directory, by FUSE. Name is what `mount`
// and `df` show. The error's kind is Unsupported where FUSE isn't there or not
// allowed.
func Mount(t *Tree, dir, name string) (*Mounted, error) {
	ttl := remembered
	server, err := fs.Mount(dir, &node{tree: t}, &fs.Options{
		EntryTimeout: &ttl, AttrTimeout: &ttl,
		UID: uint32(os.Getuid()), GID: uint32(os.Getgid()),
		MountOptions: fuse.MountOptions{
			FsName: name, Name: "tandem", MaxReadAhead: blockSize, MaxWrite: blockSize,
			DisableXAttrs: true, DirectMount: true, Options: options(t),
		},
	})
	if err != nil {
		return nil, &session.Error{
			Op: "mount", Kind: session.Unsupported, Text: "this machine does not let you mount folders by FUSE", Err: err,
			Hint: "Is fuse3 installed, and /dev/fuse there? --webdav works without it.",
		}
	}
	return &Mounted{server, dir}, nil
}

func options(t *Tree) []string {
	if t.readOnly {
		return []string{"ro"}
	}
	return nil
}

// Wait returns when the tree is not mounted any more.
func (m *Mounted) Wait() { m.server.Wait() }

// Unmount ends the mount. While a program uses it the error's kind is Busy.
func (m *Mounted) Unmount() error {
	if err := m.server.Unmount(); err != nil {
		return &session.Error{
			Op: "unmount", Kind: session.Busy, Text: "a program still uses " + m.dir, Err: err,
			Hint: fmt.Sprintf("`fuser -vm %s` names it; `fusermount3 -uz %s` unmounts all the same.", m.dir, m.dir),
		}
	}
	return nil
}

// maxName is the longest name there is, in bytes.
const maxName = 255

// node is a file or directory that the kernel knows.
type node struct {
	fs.Inode
	tree *Tree
}

// handle is an open file.
type handle struct{ file *File }

var (
	_ fs.NodeLookuper  = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeReaddirer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
	_ fs.FileReader    = (*handle)(nil)
	_ fs.FileWriter    = (*handle)(nil)
	_ fs.FileFlusher   = (*handle)(nil)
	_ fs.FileFsyncer   = (*handle)(nil)
	_ fs.FileReleaser  = (*handle)(nil)
)

func (n *node) path() string { return n.Path(n.Root()) }

// grace is how long a call goes on after a signal has come for its caller.
const grace = 2 * time.Second

// unhurried is ctx that ends only a while after an interrupt. A program that
// gets a harmless signal, such as Go's runtime sends itself all the time, does
// not expect a file system to give up for it; one that is to be killed should
// not have to wait for a peer that has gone.
func unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	slow, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-slow.Done():
		}
	})
	return slow, func() {
		stop()
		cancel()
	}
}

// attributes fills in what a program sees of e.
func attributes(e folder.Entry, out *fuse.Attr) {
	out.Mode = mode(e)
	out.Size = uint64(e.Size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = 64 << 10
	out.Nlink = 1
	when := e.ModTime()
	out.SetTimes(&when, &when, &when)
}

func mode(e folder.Entry) uint32 {
	switch {
	case e.Dir:
		return syscall.S_IFDIR | 0o700
	case e.Exec:
		return syscall.S_IFREG | 0o700
	}
	return syscall.S_IFREG | 0o600
}

// child is the node of an entry: the one there is, or a new one with a number
// of its own. A number made of the path would be wrong after a rename.
func (n *node) child(ctx context.Context, e folder.Entry) *fs.Inode {
	kind := mode(e) & syscall.S_IFMT
	if there := n.GetChild(e.Name); there != nil && there.Mode() == kind {
		return there
	}
	return n.NewInode(ctx, &node{tree: n.tree}, fs.StableAttr{Mode: kind})
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if len(name) > maxName {
		return nil, syscall.ENAMETOOLONG
	}
	ctx, done := unhurried(ctx)
	defer done()
	path := join(n.path(), name)
	e, err := n.tree.Stat(ctx, path)
	if session.KindOf(err) == session.Invalid { // a name that nothing there can have
		return nil, syscall.ENOENT
	}
	if err != nil {
		return nil, errno(err)
	}
	attributes(e, &out.Attr)
	return n.child(ctx, e), 0
}

func (n *node) Getattr(ctx context.Context, h fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	ctx, done := unhurried(ctx)
	defer done()
	e, err := n.tree.Stat(ctx, n.path())
	if open, ok := h.(*handle); ok && err != nil && session.KindOf(err) == session.NotFound {
		e, err = folder.Entry{Size: open.file.Size(), MTime: time.Now().UnixNano()}, nil // removed, and still open
	}
	if err != nil {
		return errno(err)
	}
	attributes(e, &out.Attr)
	return 0
}

func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	ctx, done := unhurried(ctx)
	defer done()
	path := n.path()
	if size, ok := in.GetSize(); ok {
		if err := n.truncate(ctx, path, h, int64(size)); err != nil {
			return errno(err)
		}
	}
	mtime, timed := in.GetMTime()
	mode, moded := in.GetMode()
	if timed || moded {
		e, err := n.tree.Stat(ctx, path)
		if err != nil {
			return errno(err)
		}
		if timed {
			e.MTime = mtime.UnixNano()
		}
		if moded {
			e.Exec = mode&0o100 != 0
		}
		if err := n.tree.Set(ctx, path, e.MTime, e.Exec); err != nil {
			return errno(err)
		}
	}
	return n.Getattr(ctx, h, out)
}

func (n *node) truncate(ctx context.Context, path string, h fs.FileHandle, size int64) error {
	if open, ok := h.(*handle); ok && open.file.spool != nil {
		return open.file.Truncate(size)
	}
	f, err := n.tree.OpenWrite(ctx, path, size == 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync(ctx)
}

func (n *node) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	ctx, done := unhurried(ctx)
	defer done()
	entries, err := n.tree.List(ctx, n.path())
	if err != nil {
		return nil, errno(err)
	}
	list := make([]fuse.DirEntry, len(entries))
	for i, e := range entries {
		list[i] = fuse.DirEntry{Name: e.Name, Mode: mode(e) & syscall.S_IFMT}
	}
	return fs.NewListDirStream(list), 0
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	ctx, done := unhurried(ctx)
	defer done()
	var f *File
	var err error
	if flags&syscall.O_ACCMODE == syscall.O_RDONLY {
		f, err = n.tree.Open(ctx, n.path())
	} else {
		f, err = n.tree.OpenWrite(ctx, n.path(), flags&syscall.O_TRUNC != 0)
	}
	if err != nil {
		return nil, 0, errno(err)
	}
	return &handle{f}, 0, 0
}

func (n *node) Create(ctx context.Context, name string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	ctx, done := unhurried(ctx)
	defer done()
	path := join(n.path(), name)
	f, err := n.tree.Create(ctx, path, mode&0o100 != 0)
	if err != nil {
		return nil, nil, 0, errno(err)
	}
	e := folder.Entry{Name: name, MTime: time.Now().UnixNano(), Exec: mode&0o100 != 0}
	attributes(e, &out.Attr)
	return n.child(ctx, e), &handle{f}, 0, 0
}

func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	ctx, done := unhurried(ctx)
	defer done()
	path := join(n.path(), name)
	if err := n.tree.Mkdir(ctx, path); err != nil {
		return nil, errno(err)
	}
	e := folder.Entry{Name: name, Dir: true, MTime: time.Now().UnixNano()}
	attributes(e, &out.Attr)
	return n.child(ctx, e), 0
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	ctx, done := unhurried(ctx)
	defer done()
	return errno(n.tree.Remove(ctx, join(n.path(), name)))
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	ctx, done := unhurried(ctx)
	defer done()
	path := join(n.path(), name)
	entries, err := n.tree.List(ctx, path)
	if err != nil {
		return errno(err)
	}
	if len(entries) > 0 {
		return syscall.ENOTEMPTY
	}
	return errno(n.tree.Remove(ctx, path))
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	ctx, done := unhurried(ctx)
	defer done()
	if flags&^uint32(unix.RENAME_NOREPLACE) != 0 {
		return syscall.EINVAL
	}
	to := join(parent.EmbeddedInode().Path(n.Root()), newName)
	return errno(n.tree.Move(ctx, join(n.path(), name), to, flags == 0))
}

// Statfs says little: how full the peer's disk is, is theirs to know.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	*out = fuse.StatfsOut{Bsize: 64 << 10, Frsize: 64 << 10, NameLen: maxName, Blocks: 1 << 24, Bfree: 1 << 23, Bavail: 1 << 23, Files: 1 << 24, Ffree: 1 << 23}
	return 0
}

func (h *handle) Read(ctx context.Context, p []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	ctx, done := unhurried(ctx)
	defer done()
	n, err := h.file.ReadAt(ctx, p, offset)
	if err != nil {
		return nil, errno(err)
	}
	return fuse.ReadResultData(p[:n]), 0
}

func (h *handle) Write(_ context.Context, p []byte, offset int64) (uint32, syscall.Errno) {
	n, err := h.file.WriteAt(p, offset)
	return uint32(n), errno(err)
}

// Flush is called by close(2), which can still say that something went wrong.
// Signals don't interrupt it: what was written would be lost.
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	return errno(h.file.Sync(context.WithoutCancel(ctx)))
}

func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	return errno(h.file.Sync(context.WithoutCancel(ctx)))
}

func (h *handle) Release(context.Context) syscall.Errno {
	h.file.Close()
	return 0
}

// errno is err as a program sees it.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var number syscall.Errno
	switch session.KindOf(err) {
	case session.NotFound:
		return syscall.ENOENT
	case session.Denied, session.Revoked:
		return syscall.EACCES
	case session.Exists:
		return syscall.EEXIST
	case session.Invalid:
		return syscall.EINVAL
	case session.TooLarge:
		return syscall.EFBIG
	case session.NoSpace:
		return syscall.ENOSPC
	case session.Unsupported:
		return syscall.ENOTSUP
	case session.Changed:
		return syscall.ESTALE
	case session.Canceled:
		// Only for who was interrupted: a program that is told so tries again, and
		// would do that for ever with a session that has ended.
		var ended *session.Error
		if !errors.As(err, &ended) {
			return syscall.EINTR
		}
	case session.Internal:
		if errors.As(err, &number) {
			return number
		}
	}
	return syscall.EIO
}
