package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"tandem/session"
)

// List names the terminals at a host that resource stands for: empty is for
// those of the share, which a guest may watch by its grant.
func List(ctx context.Context, open Opener, resource string) ([]Info, error) {
	h, err := Request{Name: resource, Right: View, Params: Params{List: true}}.Header()
	if err != nil {
		return nil, err
	}
	return inquire(ctx, open, h)
}

// Change does something to one of our own terminals, and returns what it is
// like then.
func Change(ctx context.Context, open Opener, name string, do Do) (Info, error) {
	params, err := json.Marshal(do)
	if err != nil {
		return Info{}, err
	}
	infos, err := inquire(ctx, open, session.Header{Service: ServiceName, Resource: name, Action: Manage, Params: params})
	switch {
	case err != nil:
		return Info{}, err
	case len(infos) != 1:
		return Info{}, session.Errorf("manage", session.Invalid, "the host told of %d terminals", len(infos))
	}
	return infos[0], nil
}

// inquire sends a request that is answered by INFO frames and the stream's end.
func inquire(ctx context.Context, open Opener, h session.Header) ([]Info, error) {
	stream, err := open(ctx, h)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }() // everything has been read
	stop := context.AfterFunc(ctx, func() { _ = stream.Reset(context.Cause(ctx)) })
	defer stop()
	frames := newFrameReader(stream)
	infos := []Info{}
	for {
		m, err := frames.Next()
		switch {
		case errors.Is(err, io.EOF):
			return infos, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		}
		info, ok := m.(Info)
		if !ok || len(infos) >= maxTerminals {
			return nil, session.Errorf("terminal", session.Invalid, "frame %#02x does not answer this", m.frameType())
		}
		infos = append(infos, info)
	}
}
