package terminal

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
)

// TestHostileHost: a viewer believes a host nothing that doesn't fit.
func TestHostileHost(t *testing.T) {
	welcome := Welcome{Terminal: strings.Repeat("0a", 16), Name: "main", Right: Control, Viewer: 1, Offset: 10, Live: 10, Size: Size{80, 24}}
	for name, c := range map[string]struct {
		frames []message
		want   session.Kind
	}{
		"output before the welcome": {[]message{Output{10, []byte("x")}}, session.Invalid},
		"two welcomes":              {[]message{welcome, welcome}, session.Invalid},
		"output repeated":           {[]message{welcome, Output{10, []byte("abc")}, Output{12, []byte("c")}}, session.Integrity},
		"output missing":            {[]message{welcome, Output{10, []byte("abc")}, Output{14, []byte("e")}}, session.Integrity},
		"gap elsewhere":             {[]message{welcome, Gap{11, 12}}, session.Integrity},
		"input taken too much":      {[]message{welcome, Taken(1)}, session.Integrity},
		"the viewer's frame":        {[]message{welcome, input("x")}, session.Invalid},
	} {
		_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
			stream, err := o.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			var frames []byte
			for _, m := range c.frames {
				frames = appendFrame(frames, m)
			}
			_, _ = stream.Write(frames)
			_, _ = io.Copy(io.Discard, stream)
		}, nil)
		stream, err := guest.Open(t.Context(), session.Header{Service: ServiceName})
		if err != nil {
			t.Fatal(err)
		}
		client := NewClient(stream)
		for err == nil {
			_, err = client.Next()
		}
		if session.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err := client.Input([]byte("x")); err == nil {
			t.Errorf("%s: input goes on", name)
		}
		_ = client.Close()
	}
}

// TestInputWaitsForCredit: a viewer sends no more than the host has room for.
func TestInputWaitsForCredit(t *testing.T) {
	got := make(chan int, 1)
	_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
		stream, err := o.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = stream.Write(appendFrame(nil, Welcome{Terminal: strings.Repeat("0a", 16), Right: Control, Viewer: 1, Size: Size{80, 24}}))
		frames := newFrameReader(stream)
		total := 0
		for total < InputWindow {
			m, err := frames.Next()
			if err != nil {
				t.Error(err)
				return
			}
			total += len(m.(input))
		}
		_, _ = stream.Write(appendFrame(nil, Taken(1000)))
		for total < InputWindow+1000 {
			m, err := frames.Next()
			if err != nil {
				t.Error(err)
				return
			}
			total += len(m.(input))
		}
		got <- total
		_ = stream.Reset(session.Errorf("test", session.Canceled, "enough"))
	}, nil)
	stream, err := guest.Open(t.Context(), session.Header{Service: ServiceName})
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(stream)
	sent := make(chan error, 1)
	go func() { sent <- client.Input(make([]byte, 2*InputWindow)) }()
	for err == nil {
		_, err = client.Next()
	}
	if total := <-got; total != InputWindow+1000 {
		t.Errorf("%d bytes were sent", total)
	}
	var refused *session.Error
	if err := <-sent; !errors.As(err, &refused) || refused.Kind != session.Canceled {
		t.Errorf("Input returned %v", err)
	}
}
