package background

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
)

// Entry is something in a folder. Its name may be anything that a file system
// or a peer has: it is not fit to be shown as it is.
type Entry struct {
	Name string
	Dir  bool
	Size int64
	Time time.Time
	Exec bool
	// Other says what it is if that can't be copied: "link", "special"; else "".
	Other string
}

// Folder is a place with folders and files: this machine's, or what a peer
// shares. All of its methods but Join, Parent and Root wait.
type Folder interface {
	// List is what is in a folder, in no order, and how much there is besides
	// that can't be shown.
	List(ctx context.Context, dir string) ([]Entry, int, error)
	// Head is the beginning of a file, at most limit bytes.
	Head(ctx context.Context, file string, limit int) ([]byte, error)
	Mkdir(ctx context.Context, dir string) error
	// Move gives something another path; nothing may be there.
	Move(ctx context.Context, from, to string) error
	// Remove moves something to a trash, and says where that is.
	Remove(ctx context.Context, at string) (trash string, err error)
	Join(dir, name string) string
	// Parent is the folder above, and what dir is called in it; dir itself at
	// the top.
	Parent(dir string) (parent, name string)
}

// Remote is what a peer shares: at the top, "", its shares, and below each the
// share's files.
type Remote struct {
	Backend node.Backend
	Peer    string
}

// client is a client of the share that a path is in, and the path in it.
func (r Remote) client(at string) (*folder.Client, string, error) {
	share, inside, _ := strings.Cut(at, "/")
	if share == "" {
		return nil, "", session.Errorf("files", session.Invalid, "these are the folders they share; open one first")
	}
	return folder.NewClient(node.Bound{Backend: r.Backend, Peer: r.Peer}, share), inside, nil
}

// List lists a folder, or the shares.
func (r Remote) List(ctx context.Context, dir string) ([]Entry, int, error) {
	if dir == "" {
		return r.shares(ctx)
	}
	c, inside, err := r.client(dir)
	if err != nil {
		return nil, 0, err
	}
	found, skipped, err := c.List(ctx, inside)
	if err != nil {
		return nil, 0, err
	}
	entries := make([]Entry, len(found))
	for i, e := range found {
		entries[i] = entryOf(e)
	}
	return entries, skipped, nil
}

func (r Remote) shares(ctx context.Context) ([]Entry, int, error) {
	rights, err := node.Offers(ctx, r.Backend, r.Peer)
	if err != nil {
		return nil, 0, err
	}
	var entries []Entry
	for _, right := range rights {
		if right.Service == folder.Name && right.Resource != "" {
			entries = append(entries, Entry{Name: right.Resource, Dir: true})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return slices.Compact(entries), 0, nil
}

// Head reads the beginning of a file.
func (r Remote) Head(ctx context.Context, file string, limit int) ([]byte, error) {
	c, inside, err := r.client(file)
	if err != nil {
		return nil, err
	}
	p := make([]byte, limit)
	n, err := c.ReadAt(ctx, inside, p, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return p[:n], err
}

// Mkdir makes a folder.
func (r Remote) Mkdir(ctx context.Context, dir string) error {
	c, inside, err := r.client(dir)
	if err != nil {
		return err
	}
	return c.Mkdir(ctx, inside)
}

// Move moves within one share.
func (r Remote) Move(ctx context.Context, from, to string) error {
	c, inside, err := r.client(from)
	if err != nil {
		return err
	}
	share, _, _ := strings.Cut(from, "/")
	other, target, _ := strings.Cut(to, "/")
	if share != other || target == "" || inside == "" {
		return session.Errorf("move", session.Unsupported, "things can be moved within one shared folder only")
	}
	return c.Move(ctx, inside, target, false)
}

// Remove moves something to the share's trash.
func (r Remote) Remove(ctx context.Context, at string) (string, error) {
	c, inside, err := r.client(at)
	if err != nil {
		return "", err
	}
	if inside == "" {
		return "", session.Errorf("delete", session.Denied, "a shared folder itself can't be deleted from here")
	}
	return c.Remove(ctx, inside)
}

// Join is path.Join.
func (Remote) Join(dir, name string) string { return path.Join(dir, name) }

// Parent is the folder above.
func (Remote) Parent(dir string) (parent, name string) {
	if dir == "" {
		return "", ""
	}
	parent, name = path.Split(dir)
	return strings.TrimSuffix(parent, "/"), name
}
