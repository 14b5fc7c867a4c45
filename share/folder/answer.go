package folder

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/zeebo/blake3"

	"tandem/session"
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
	err = c.tree.pages(ctx, req.Path, "", req.Recursive, func(p page) error {
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

// read answers with a range of a file.
func (c *conversation) read(ctx context.Context, req request) error {
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
	n := max(e.Size-offset, 0)
	if req.Length > 0 {
		n = min(n, req.Length)
	}
	why, err := c.sendFile(ctx, f, h, n)
	if err != nil {
		return err
	}
	if why == nil {
		why = c.tree.unchanged(f, req.Path, e)
	}
	if errors.Is(why, io.ErrUnexpectedEOF) {
		why = changed(req.Path)
	}
	if why != nil {
		return writeTrailer(c.w, trailer{Error: toWire(fileError("read", req.Path, why))})
	}
	return writeTrailer(c.w, trailer{Hash: new(sum(h))})
}

// resume decides where a read begins, and hashes what lies before.
func (c *conversation) resume(ctx context.Context, f *os.File, e Entry, req request) (*blake3.Hasher, int64, error) {
	h, offset := blake3.New(), req.Offset
	if req.Prefix != nil {
		err := io.ErrUnexpectedEOF
		if offset <= e.Size {
			err = hashFile(ctx, h, f, offset)
		}
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF), err == nil && sum(h) != *req.Prefix:
			h.Reset()
			offset = 0
		case err != nil:
			return nil, 0, fileError("read", req.Path, err)
		}
	}
	_, err := f.Seek(offset, io.SeekStart)
	return h, offset, fileError("read", req.Path, err)
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
func (c *conversation) check(ctx context.Context, req request) (reply, error) {
	rep := reply{State: absent, Have: c.tree.have(req.Hash.String())}
	if rep.Have > req.Size {
		rep.Have = 0
	}
	e, err := c.tree.stat(req.Path)
	switch {
	case session.KindOf(err) == session.NotFound:
		return rep, nil
	case err != nil:
		return reply{}, err
	case e.Dir:
		return reply{}, session.Errorf("check", session.Exists, "%s is a folder", session.Printable(req.Path))
	}
	rep.State = differs
	if e.Size == req.Size {
		h, _, err := c.tree.hashOf(ctx, req.Path)
		if err != nil && session.KindOf(err) != session.Changed {
			return reply{}, err
		}
		if err == nil && h == *req.Hash {
			rep.State = same
		}
	}
	return rep, nil
}

// put stages the body, and returns what commits it.
func (c *conversation) put(ctx context.Context, req request, b *body) (func() (reply, error), error) {
	if req.Path == "" {
		return nil, session.Errorf("put", session.Invalid, "a file needs a name")
	}
	key := ""
	if req.Hash != nil {
		key = req.Hash.String()
	}
	s, err := c.tree.begin(key)
	if err != nil {
		return nil, err
	}
	if err := s.receive(ctx, req, b); err != nil {
		if b.err != nil || ctx.Err() != nil {
			s.keep() // interrupted
		} else {
			s.discard()
		}
		return nil, fileError("put", req.Path, err)
	}
	return func() (reply, error) {
		same, err := s.commit(ctx, target{path: req.Path, mtime: req.MTime, exec: req.Exec, force: req.Force, exclusive: req.Exclusive})
		if err != nil {
			return reply{}, err
		}
		e, err := c.stat(req.Path)
		return reply{Entry: e, Same: same}, err
	}, nil
}

// receive stages the body of a put and verifies it.
func (s *stage) receive(ctx context.Context, req request, b *body) error {
	if req.Offset > 0 && s.key == "" {
		return session.Errorf("put", session.Busy, "another transfer of this content is under way")
	}
	if err := s.resume(ctx, req.Offset); err != nil {
		return err
	}
	var r io.Reader = struct{ io.Reader }{b}
	if req.Size >= 0 {
		r = io.LimitReader(r, req.Size-req.Offset+1) // one more shows excess
	}
	if _, err := copyContext(ctx, s, r); err != nil {
		return err
	}
	if req.Size >= 0 && s.size > req.Size {
		return forged("more bytes than announced")
	}
	t, err := b.finish()
	if err != nil {
		return err
	}
	if err := t.Error.err("put"); err != nil {
		return err
	}
	want := req.Hash
	if want == nil {
		want = t.Hash
	}
	if want == nil || *want != s.sum() || req.Size >= 0 && s.size != req.Size {
		return forged("the content does not match its hash")
	}
	return nil
}
