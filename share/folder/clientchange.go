package folder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"tandem/session"
)

// Remove moves what is at path to the share's trash, where it is kept for 30
// days, and says where in the share's directory it is. Guests do not see the
// trash.
func (c *Client) Remove(ctx context.Context, path string) (trash string, err error) {
	if err := checkPath(path); err != nil {
		return "", err
	}
	err = converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		rep, err := cn.do(request{Op: opRemove, Path: path}, nil)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(rep.Trash, trashDir+"/") || !strings.HasSuffix(rep.Trash, "/"+path) || len(rep.Trash) > len(trashDir)+maxPath+maxName {
			return forged("the peer has put it where no trash is")
		}
		trash = session.Printable(rep.Trash)
		return nil
	})
	return trash, err
}

// Purge removes the file or empty directory at path for good.
func (c *Client) Purge(ctx context.Context, path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		_, err := cn.do(request{Op: opRemove, Path: path, Purge: true}, nil)
		return err
	})
}

// Set gives what is at path the time mtime, in nanoseconds since 1970 UTC, and a
// file its executability, as far as the share allows, and returns what it is
// then.
func (c *Client) Set(ctx context.Context, path string, mtime int64, exec bool) (Entry, error) {
	var e Entry
	if err := checkPath(path); err != nil {
		return e, err
	}
	err := converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		rep, err := cn.do(request{Op: opSet, Path: path, MTime: mtime, Exec: exec}, nil)
		if err != nil {
			return err
		}
		e, err = rep.entryOf(path)
		return err
	})
	return e, err
}

// entryOf is the entry of a reply about path.
func (rep reply) entryOf(path string) (Entry, error) {
	if rep.Entry == nil || rep.Entry.Size < 0 {
		return Entry{}, violation("a reply without an entry")
	}
	e := *rep.Entry
	_, e.Name = split(path)
	return e, nil
}

// Move gives what is at path the path to. Its kind is Exists if something is
// there, unless it is a file, as path is, and force is set.
func (c *Client) Move(ctx context.Context, path, to string, force bool) error {
	if err := errors.Join(checkPath(path), checkPath(to)); err != nil {
		return err
	}
	return converse(ctx, c.opener, c.share, Write, func(cn *conn) error {
		_, err := cn.do(request{Op: opMove, Path: path, To: to, Force: force}, nil)
		return err
	})
}

// Watch tells each of the changes to what is at path, and below if recursive,
// as they come, until ctx ends or each fails. Ready, if not nil, is called once
// whatever happens from now on will be told.
func (c *Client) Watch(ctx context.Context, path string, recursive bool, ready func(), each func([]Change) error) error {
	if err := checkPath(path); err != nil {
		return err
	}
	return converse(ctx, c.opener, c.share, Read, func(cn *conn) error {
		_, err := cn.do(request{Op: opWatch, Path: path, Recursive: recursive}, func(rep reply, b *body) error {
			if b == nil {
				if rep.Error == nil {
					return violation("watch without a body")
				}
				return nil
			}
			if ready != nil {
				ready()
			}
			return readChanges(b, watchedBelow{path, recursive}, each)
		})
		return err
	})
}

// watchedBelow is what a watch asked for.
type watchedBelow struct {
	base      string
	recursive bool
}

func readChanges(b *body, asked watchedBelow, each func([]Change) error) error {
	for {
		raw, err := b.block()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var block changes
		if err := json.Unmarshal(raw, &block); err != nil {
			return violation("changes are not valid JSON")
		}
		for _, ch := range block.Changes {
			if err := ch.check(asked); err != nil {
				return err
			}
		}
		if err := each(block.Changes); err != nil {
			return err
		}
	}
}

// check refuses a change that is not one of those asked for.
func (ch Change) check(asked watchedBelow) error {
	if err := checkPath(ch.Path); err != nil || ch.Path == "" {
		return forged("the peer tells of a change where nothing can be")
	}
	if _, name := split(ch.Path); ch.Entry.Name != name || ch.Entry.Size < 0 {
		return forged("the peer tells of a change that makes no sense")
	}
	rest := ch.Path
	if asked.base != "" && ch.Path != asked.base {
		if !within(ch.Path, asked.base) {
			return forged("the peer tells of a change elsewhere")
		}
		rest = ch.Path[len(asked.base)+1:]
	}
	if !asked.recursive && ch.Path != asked.base && strings.Contains(rest, "/") {
		return forged("the peer tells of a change further down")
	}
	switch ch.Kind {
	case Created, Changed, Removed:
		return nil
	}
	return violation("a change of kind %q", session.Printable(string(ch.Kind)))
}
