package background

import (
	"context"
	"path"
	"path/filepath"

	"tandem/share/folder"
	"tandem/share/node"
)

// FolderCopier copies by folder/1 over streams that b opens.
func FolderCopier(b node.Backend) Copier {
	return func(ctx context.Context, j Job, item string, c Copying) (folder.Summary, error) {
		client := folder.NewClient(node.Bound{Backend: b, Peer: j.Peer}, j.Share)
		o := folder.Options{Progress: c.Progress, Decide: func(ctx context.Context, f folder.Conflict) (folder.Decision, error) {
			d, err := c.Decide(ctx, Conflict{Path: f.Path, There: entryOf(f.There), New: entryOf(f.New)})
			if d == Replace {
				return folder.Replace, err
			}
			return folder.Keep, err
		}}
		if j.Put {
			return client.Put(ctx, filepath.Join(j.From, item), path.Join(j.To, item), o)
		}
		return client.Get(ctx, path.Join(j.From, item), filepath.Join(j.To, item), o)
	}
}

func entryOf(e folder.Entry) Entry {
	return Entry{Name: e.Name, Dir: e.Dir, Size: e.Size, Time: e.ModTime(), Exec: e.Exec}
}
