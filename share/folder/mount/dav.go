package mount

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"tandem/session"
	"tandem/share/folder"
)

// headerTimeout bounds the head of a request, idleTimeout the time between two.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// maxXML bounds the body of every request but PUT, in bytes: they say what
// properties or locks are meant.
const maxXML = 1 << 20

// DAV is a WebDAV server of a tree, on the loopback address.
type DAV struct {
	server   *http.Server
	listener net.Listener
	token    string
	done     chan struct{}
}

// ServeDAV begins to serve a tree on a port of the system's choice.
func ServeDAV(t *Tree) (*DAV, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, &session.Error{Op: "mount", Kind: session.Internal, Err: err}
	}
	d := &DAV{listener: l, token: strings.ToLower(rand.Text()), done: make(chan struct{})}
	d.server = &http.Server{
		Handler: guard(l.Addr().String(), d.token, &webdav.Handler{
			Prefix: "/" + d.token, FileSystem: davTree{t}, LockSystem: locks{webdav.NewMemLS()},
		}),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // what went wrong, the client hears
	}
	go func() {
		defer close(d.done)
		_ = d.server.Serve(l) // ends with Close
	}()
	return d, nil
}

// URL is what a file manager opens. Whoever has it has the folder.
func (d *DAV) URL() string { return "http://" + d.listener.Addr().String() + "/" + d.token + "/" }

// Close ends the server, with the requests it is at.
func (d *DAV) Close() error {
	err := d.server.Close()
	<-d.done
	return err
}

// guard refuses what does not come from a program of this machine that knows
// the token: a page in a browser may guess the port and have any name resolve
// to this machine, but it sends that name as Host, and its own Origin.
func guard(host, token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, port, _ := net.SplitHostPort(host)
		if r.Host != host && r.Host != "localhost:"+port {
			http.Error(w, "not a name of this server", http.StatusForbidden)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
			http.Error(w, "not for other pages", http.StatusForbidden)
			return
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if subtle.ConstantTimeCompare([]byte(first), []byte(token)) != 1 {
			http.NotFound(w, r)
			return
		}
		if why := unfit(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		if r.Method != http.MethodPut {
			r.Body = http.MaxBytesReader(w, r.Body, maxXML)
		}
		// Nothing that a peer's file says is run as a page of this server.
		w.Header().Set("Content-Security-Policy", "sandbox")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		told := &verdict{ResponseWriter: w, method: r.Method}
		if r.Method == "MOVE" {
			told.moving = within(strings.TrimPrefix(r.URL.Path, "/"+token))
		}
		next.ServeHTTP(told, r.WithContext(context.WithValue(r.Context(), verdictKey{}, told)))
	})
}

// unfit says what is wrong with the paths of a request that package webdav would
// take: names that lead up, and a folder that is to be copied or moved into itself,
// which would go on until the path is too long.
func unfit(r *http.Request) string {
	if leadsUp(r.URL.Path) {
		return "a path that leads up"
	}
	if r.Method != "COPY" && r.Method != "MOVE" {
		return ""
	}
	to, err := url.Parse(r.Header.Get("Destination"))
	if err != nil || leadsUp(to.Path) {
		return "not a destination"
	}
	source, into := path.Clean(r.URL.Path), path.Clean(to.Path)
	if r.Method == "COPY" && strings.EqualFold(source, into) {
		return "a file can't be copied to itself" // where case makes no difference, it would be removed first
	}
	if len(into) > len(source) && into[len(source)] == '/' && strings.EqualFold(into[:len(source)], source) {
		return "a folder can't be put into itself"
	}
	return ""
}

func leadsUp(p string) bool {
	return slices.ContainsFunc(strings.Split(p, "/"), func(name string) bool { return name == "." || name == ".." })
}

// davTree is a Tree as package webdav sees it.
type davTree struct{ tree *Tree }

func within(name string) string { return strings.Trim(path.Clean("/"+name), "/") }

func (d davTree) Mkdir(ctx context.Context, name string, _ os.FileMode) error {
	p := within(name)
	if _, err := d.tree.Stat(ctx, p); err == nil {
		return fs.ErrExist
	}
	if dir := path.Dir(p); dir != "." {
		if e, err := d.tree.Stat(ctx, dir); err != nil || !e.Dir {
			return fs.ErrNotExist
		}
	}
	return davError(ctx, d.tree.Mkdir(ctx, p))
}

// RemoveAll is also called for what a MOVE replaces, before anybody has looked
// whether there is something to move. A file is replaced by the move itself.
func (d davTree) RemoveAll(ctx context.Context, name string) error {
	p := within(name)
	if v, ok := ctx.Value(verdictKey{}).(*verdict); ok && v.moving != "" {
		from, err := d.tree.Stat(ctx, v.moving)
		if err != nil {
			return davError(ctx, err)
		}
		to, err := d.tree.Stat(ctx, p)
		if err != nil || !from.Dir && !to.Dir || strings.EqualFold(v.moving, p) {
			return davError(ctx, err)
		}
	}
	err := d.tree.Remove(ctx, p)
	if err != nil && session.KindOf(err) == session.NotFound {
		return nil
	}
	return davError(ctx, err)
}

func (d davTree) Rename(ctx context.Context, from, to string) error {
	return davError(ctx, d.tree.Move(ctx, within(from), within(to), true))
}

func (d davTree) Stat(ctx context.Context, name string) (os.FileInfo, error) {
	e, err := d.tree.Stat(ctx, within(name))
	if err != nil {
		return nil, davError(ctx, err)
	}
	return info{e}, nil
}

func (d davTree) OpenFile(ctx context.Context, name string, flag int, _ os.FileMode) (webdav.File, error) {
	p := within(name)
	f := &davFile{ctx: ctx, tree: d.tree, path: p}
	e, err := d.tree.Stat(ctx, p)
	switch missing := session.KindOf(err) == session.NotFound; {
	case err != nil && (!missing || flag&os.O_CREATE == 0):
		return nil, davError(ctx, err)
	case err == nil && e.Dir:
		if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
			return nil, fs.ErrPermission
		}
		f.dir = true
		return f, nil
	case flag&(os.O_WRONLY|os.O_RDWR) == 0:
		f.file, err = d.tree.Open(ctx, p)
	case err != nil:
		f.created = true
		f.file, err = d.tree.Create(ctx, p, false)
	default:
		f.file, err = d.tree.OpenWrite(ctx, p, flag&os.O_TRUNC != 0)
	}
	if err != nil {
		return nil, davError(ctx, err)
	}
	return f, nil
}

// davFile is an open file or directory. It lives as long as one request.
type davFile struct {
	ctx    context.Context //nolint:containedctx // the request's: package webdav's File has no other place for it
	tree   *Tree
	path   string
	dir    bool
	file   *File
	offset int64
	broken bool // what came is not all there was to come

	created bool // by this request
}

func (f *davFile) Read(p []byte) (int, error) {
	if f.dir {
		return 0, fs.ErrInvalid
	}
	n, err := f.file.ReadAt(f.ctx, p, f.offset)
	f.offset += int64(n)
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (f *davFile) Write(p []byte) (int, error) {
	if f.dir {
		return 0, fs.ErrInvalid
	}
	n, err := f.file.WriteAt(p, f.offset)
	f.offset += int64(n)
	return n, err
}

// ReadFrom is how package webdav writes what a client sends. Half of it must
// not replace what is there.
func (f *davFile) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(struct{ io.Writer }{f}, r)
	f.broken = f.broken || err != nil
	return n, err
}

func (f *davFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		if !f.dir {
			offset += f.file.Size()
		}
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	f.offset = offset
	return offset, nil
}

func (f *davFile) Readdir(count int) ([]os.FileInfo, error) {
	entries, err := f.tree.List(f.ctx, f.path)
	if err != nil {
		return nil, davError(f.ctx, err)
	}
	if count > 0 { // package webdav asks for all
		entries = entries[min(int(f.offset), len(entries)):]
		entries = entries[:min(count, len(entries))]
		f.offset += int64(len(entries))
		if len(entries) == 0 {
			return nil, io.EOF
		}
	}
	infos := make([]os.FileInfo, len(entries))
	for i, e := range entries {
		infos[i] = info{e}
	}
	return infos, nil
}

func (f *davFile) Stat() (os.FileInfo, error) { return davTree{f.tree}.Stat(f.ctx, f.path) }

func (f *davFile) Close() error {
	if f.dir {
		return nil
	}
	defer f.file.Close()
	if f.broken {
		f.file.Discard()
		if f.created {
			_ = f.tree.Remove(context.WithoutCancel(f.ctx), f.path) // else it stays, empty
		}
		return nil
	}
	return davError(f.ctx, f.file.Sync(f.ctx))
}

// info is an entry as package fs sees it.
type info struct{ entry folder.Entry }

func (i info) Name() string       { return i.entry.Name }
func (i info) Size() int64        { return i.entry.Size }
func (i info) ModTime() time.Time { return i.entry.ModTime() }
func (i info) IsDir() bool        { return i.entry.Dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.entry.Dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
