package folder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

// list answers with pages.
func (c *conversation) list(ctx context.Context, req request) error {
	e, err := c.tree.stat(req.Path)
	if err == nil && !e.Dir {
		err = session.Errorf("list", session.Invalid, "%s is not a folder", session.Printable(req.Path))
	}
	if err != nil {
		return c.send(req, reply{}, err)
	}
	if err := c.send(req, reply{Body: true}, nil); err != nil {
		return err
	}
	err = c.tree.pages(ctx, req.Path, "", req.Recursive, func(_ *directory, p page) error {
		raw, err := json.Marshal(p)
		if err != nil {
			return err
		}
		return writeUnit(c.w, raw)
	})
	if err != nil {
		return err // only the stream's or the context's
	}
	return writeTrailer(c.w, trailer{})
}

// whole answers with a directory, all below it, and what its small files hold.
func (c *conversation) whole(ctx context.Context, req request) error {
	e, err := c.tree.stat(req.Path)
	if err == nil && !e.Dir {
		err = session.Errorf("tree", session.Invalid, "%s is not a folder", session.Printable(req.Path))
	}
	if err != nil {
		return c.send(req, reply{}, err)
	}
	if err := c.send(req, reply{Entry: &e, Body: true}, nil); err != nil {
		return err
	}
	c.sender.begin(blake3.New(), nil, ctx.Err)
	err = c.tree.pages(ctx, req.Path, "", true, func(d *directory, p page) error {
		raw, err := json.Marshal(p)
		if err == nil {
			err = writeUnit(c.w, raw)
		}
		for _, e := range p.Entries {
			if err == nil && e.carried() {
				err = c.sender.small(d, e)
			}
		}
		return err
	})
	if err != nil {
		return err // only the stream's or the context's
	}
	return writeTrailer(c.w, trailer{})
}

// read answers with a range of a file, as it is.
func (c *conversation) read(ctx context.Context, req request) error {
	f, e, err := c.tree.open(req.Path)
	if err != nil {
		return c.send(req, reply{}, err)
	}
	defer f.Close()
	if _, err := f.Seek(req.Offset, io.SeekStart); err != nil {
		return c.send(req, reply{}, fileError("read", req.Path, err))
	}
	if err := c.send(req, reply{Entry: &e, Offset: req.Offset, Body: true}, nil); err != nil {
		return err
	}
	n := max(e.Size-req.Offset, 0)
	if req.Length > 0 {
		n = min(n, req.Length)
	}
	h := blake3.New()
	why, err := c.sendFile(ctx, f, h, n)
	if err != nil {
		return err
	}
	if why == nil {
		why = c.tree.unchanged(f, req.Path, e)
	}
	return c.endFile(req, h, why)
}

// endFile ends the body that a file's content is, unless why says that it
// isn't.
func (c *conversation) endFile(req request, h *blake3.Hasher, why error) error {
	if errors.Is(why, io.ErrUnexpectedEOF) {
		why = changed(req.Path)
	}
	if why != nil {
		return writeTrailer(c.w, trailer{Error: toWire(fileError("read", req.Path, why))})
	}
	return writeTrailer(c.w, trailer{Hash: new(sum(h))})
}

// fetch answers with what the client lacks of a file.
func (c *conversation) fetch(ctx context.Context, req request, list chunk.List) error {
	f, e, err := c.tree.open(req.Path)
	if err != nil {
		return c.send(req, reply{}, err)
	}
	defer f.Close()
	if req.Unless != nil {
		h, _, err := c.tree.hashOf(ctx, req.Path)
		if err == nil && h == *req.Unless {
			return c.send(req, reply{Entry: &e, Same: true}, nil)
		}
	}
	h, offset, err := c.resume(ctx, f, e, req)
	if err != nil {
		return c.send(req, reply{}, err)
	}
	if err := c.send(req, reply{Entry: &e, Offset: offset, Body: true}, nil); err != nil {
		return err
	}
	had := req.offer()
	had.list = list
	c.sender.begin(h, nil, ctx.Err)
	c.sender.plain = req.Plain
	why := c.sender.file(f, offset, e.Size, had)
	if err := ctx.Err(); err != nil {
		return err
	}
	if why == nil {
		why = c.tree.unchanged(f, req.Path, e)
	}
	return c.endFile(req, h, why)
}

// resume decides where a fetch begins, and hashes what lies before.
func (c *conversation) resume(ctx context.Context, f *os.File, e Entry, req request) (*blake3.Hasher, int64, error) {
	h := blake3.New()
	if req.Offset == 0 || req.Offset > e.Size {
		return h, 0, nil
	}
	err := hashFile(ctx, h, f, req.Offset)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && sum(h) != *req.Prefix:
		return blake3.New(), 0, nil
	case err != nil:
		return nil, 0, fileError("read", req.Path, err)
	}
	return h, req.Offset, nil
}

// sendFile writes n bytes of f as blocks. The first error is the file's, the
// second the stream's.
func (c *conversation) sendFile(ctx context.Context, f io.Reader, h io.Writer, n int64) (why, err error) {
	buf := make([]byte, min(n, blockSize))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		got, why := io.ReadFull(f, buf[:min(n, blockSize)])
		if got > 0 {
			_, _ = h.Write(buf[:got]) // a hash takes everything
			if err := writeUnit(c.w, buf[:got]); err != nil {
				return nil, err
			}
			n -= int64(got)
		}
		if why != nil {
			return cutShort(why), nil
		}
	}
	return nil, nil
}

// hash answers with the hash of the beginning of a file.
func (c *conversation) hash(ctx context.Context, req request) (reply, error) {
	f, e, err := c.tree.open(req.Path)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	n := e.Size
	if req.Length > 0 {
		n = min(n, req.Length)
	}
	h := blake3.New()
	if err := hashFile(ctx, h, f, n); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = changed(req.Path)
		}
		return reply{}, fileError("hash", req.Path, err)
	}
	return reply{Entry: &e, Hash: new(sum(h))}, c.tree.unchanged(f, req.Path, e)
}

// check answers what a put would meet.
func (c *conversation) check(ctx context.Context, req request) error {
	var rep reply
	had := req.offer()
	err := c.look(ctx, req, &rep, &had)
	if rep.Body = err == nil && len(had.list) > 0; !rep.Body {
		return c.send(req, rep, err)
	}
	if err := c.send(req, rep, nil); err != nil {
		return err
	}
	if err := writeList(c.w, had.list); err != nil {
		return err
	}
	return writeTrailer(c.w, trailer{})
}

func (c *conversation) look(ctx context.Context, req request, rep *reply, had *offer) error {
	if err := c.tree.changeable("put", req.Path, false); err != nil {
		return err // before anybody asks whether to replace it
	}
	key := partialKey(req.Path, Entry{Size: req.Size, MTime: req.MTime})
	if n := c.tree.have(ctx, key, req.Size, c.peer); n > 0 && n <= req.Size {
		// What can't be read is not resumed.
		if h, err := c.tree.stagedPrefix(ctx, key, n); err == nil {
			rep.Have, rep.Prefix = n, &h
		}
	}
	e, err := c.tree.stat(req.Path)
	switch {
	case session.KindOf(err) == session.NotFound:
		return nil
	case session.KindOf(err) == session.Unsupported:
		return session.Errorf("check", session.Exists, "%s is there already and is not a file", session.Printable(req.Path))
	case err != nil:
		return err
	}
	rep.Entry = &e
	var h chunk.Sum
	switch {
	case e.Dir:
		return nil
	case req.List:
		h, *rep.Entry, err = c.tree.survey(ctx, req.Path, had)
	case e.Size == req.Size:
		h, *rep.Entry, err = c.tree.hashOf(ctx, req.Path)
	default:
		return nil
	}
	if err == nil {
		rep.Hash = &h
	}
	return err
}

// put stages the body, and returns what commits it.
func (c *conversation) put(ctx context.Context, req request, b *body) (func() (reply, error), error) {
	if req.Path == "" {
		return nil, session.Errorf("put", session.Invalid, "a file needs a name")
	}
	if err := c.tree.changeable("put", req.Path, false); err != nil {
		return nil, err // before it travels
	}
	to := target{path: req.Path, mtime: req.MTime, exec: req.Exec, force: req.Force, exclusive: req.Exclusive}
	if req.Offset == 0 && req.Size >= 0 && req.Size < maxHeld {
		return c.putSmall(ctx, req, b, to)
	}
	key := ""
	if req.Size >= worthKeeping || req.Offset > 0 {
		key = partialKey(req.Path, Entry{Size: req.Size, MTime: req.MTime})
	}
	s, err := c.tree.beginFor(key, req.Path, use{by: c.peer, end: func() { _ = c.stream.Reset(errOvertaken()) }}) // returns nil
	if err != nil {
		return nil, err
	}
	if err := s.receive(ctx, req, b, &c.recent); err != nil {
		if b.err != nil || ctx.Err() != nil || session.KindOf(err) == session.Canceled {
			s.keep() // interrupted
		} else {
			s.discard()
		}
		return nil, fileError("put", req.Path, err)
	}
	return func() (reply, error) {
		same, err := s.commit(ctx, to)
		return c.stored(to, same, err)
	}, nil
}

// errOvertaken is what becomes of a put that has come to a stop when the same peer goes on with it.
func errOvertaken() error {
	return session.Errorf("put", session.Canceled, "the same device has begun to put it again")
}

// putSmall is put by way of memory.
func (c *conversation) putSmall(ctx context.Context, req request, b *body, to target) (func() (reply, error), error) {
	h := newHeld(req.Path, req.Size)
	err := receiver{
		to: h, hash: h.hash, packer: c.tree.packer, old: c.tree.opener(req.Path), want: req.Size,
		recent: &c.recent, tree: c.tree, held: h,
	}.receive(ctx, b)
	if err != nil {
		close(h.written)
		return nil, fileError("put", req.Path, err)
	}
	return func() (reply, error) {
		defer close(h.written)
		same, err := c.tree.place(ctx, nil, h.data, sum(h.hash), to)
		return c.stored(to, same, err)
	}, nil
}

// stored is the reply to a put.
func (c *conversation) stored(to target, same bool, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	e, err := c.stat(to.path)
	return reply{Entry: e, Same: same}, err
}

// receive stages the body of a put and verifies it.
func (s *stage) receive(ctx context.Context, req request, b *body, before *recent) error {
	if req.Offset > 0 && s.key == "" {
		return session.Errorf("put", session.Busy, "another transfer of this file is under way")
	}
	if err := s.resume(ctx, req.Offset); err != nil {
		return err
	}
	want := int64(-1)
	if req.Size >= 0 {
		want = req.Size - req.Offset
	}
	return receiver{
		to: s, hash: s.hash, packer: s.tree.packer, old: s.tree.opener(req.Path), want: want,
		recent: before, tree: s.tree,
	}.receive(ctx, b)
}

// opener opens the file at path as what copies are made of.
func (t *tree) opener(path string) func() (*os.File, error) {
	return func() (*os.File, error) {
		f, _, err := t.open(path)
		return f, err
	}
}
