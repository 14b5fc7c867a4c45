package page_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/forward"
	"tandem/tui/background"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// everywhere lets peers connect to and listen on anything.
type everywhere struct{}

func (everywhere) Targets(session.PeerID, string) []string { return []string{"localhost:*", "any"} }

func (everywhere) Allow(context.Context, session.Request) (session.Permit, error) {
	return session.Permit{}, nil
}

// forwardable is a backend whose peers let connect.
func forwardable(t *testing.T) *tuitest.Backend {
	s := forward.New(forward.Config{Grants: everywhere{}})
	t.Cleanup(func() { _ = s.Close() })
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
	b := tuitest.Busy()
	b.Has.Open = func(ctx context.Context, _ string, h session.Header) (session.Stream, error) {
		return guest.Open(ctx, h)
	}
	return b
}

// echo listens and sends back what it gets.
func echo(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// forwarding is a window with the page of anna's forwards, or everybody's, which run.
func forwarding(t *testing.T, b *tuitest.Backend, of page.Subject) (*tuitest.Flow, *tuitest.Window, *background.Forwards) {
	env := tuitest.Env(t, b, tuitest.Dark())
	w := tuitest.NewWindow(page.NewForwards(env, of))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		env.Forwards.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return tuitest.Start(t, w, 80, 21), w, env.Forwards
}

func TestForwardsGolden(t *testing.T) {
	b := tuitest.Busy()
	tuitest.Page(t, "forwards-empty", func(look theme.Theme) page.Page {
		return page.NewForwards(tuitest.Env(t, b, look), page.Subject{})
	})
	tuitest.Page(t, "forwards", func(look theme.Theme) page.Page {
		env := tuitest.Env(t, b, look)
		for kind, text := range map[forward.Kind]string{forward.Local: "8080:localhost:80"} {
			f, err := forward.Parse(kind, text)
			if err != nil {
				t.Fatal(err)
			}
			env.Forwards.Add(background.Target{Ref: tuitest.ID(1).String(), Alias: "anna"}, f)
		}
		f, err := forward.Parse(forward.Remote, "9000:localhost:3000")
		if err != nil {
			t.Fatal(err)
		}
		env.Forwards.Add(background.Target{Ref: tuitest.ID(2).String(), Alias: "build-server"}, f)
		return page.NewForwards(env, page.Subject{})
	})
	tuitest.Page(t, "forwards-form", func(look theme.Theme) page.Page {
		return press(page.NewForwards(tuitest.Env(t, b, look), page.Subject{}), runes("a"))
	})
}

func TestForwardsCarry(t *testing.T) {
	b := forwardable(t)
	target := echo(t)
	f, w, forwards := forwarding(t, b, page.Subject{Peer: b.Has.Peers[0]})
	f.Wait("No ports are forwarded").Keys("a").Wait("Another forward", "from here to there")
	f.Keys("enter").Wait("where shall it listen?").Keys("0", "enter").Wait("where does it go?")
	f.Keys(target, "enter").Wait("anna › " + target)
	f.Until("it listens", func() bool { return !forwards.List()[0].At.IsZero() })
	verb := page.Verb{Text: "tandem forward anna -L localhost:0:" + target}
	says(f, w, verb)
	conn, err := net.Dial("tcp", forwards.List()[0].At.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	ticking(f, "1 open")
	if forwards.Keeping() != "1 forward" {
		t.Errorf("quitting would cut %q", forwards.Keeping())
	}
	_ = conn.Close()
	ticking(f, "0 open", "5 B")
	f.Keys("x").Wait("No ports are forwarded")
	if forwards.Keeping() != "" {
		t.Errorf("quitting would cut %q", forwards.Keeping())
	}
}

// What doesn't work says why, and can be tried again.
func TestForwardsFail(t *testing.T) {
	b := forwardable(t)
	open := b.Has.Open
	b.Script(func(a *tuitest.Answers) {
		a.Open = func(context.Context, string, session.Header) (session.Stream, error) {
			return nil, &session.Error{Kind: session.Unavailable, Text: "anna can't be reached", Hint: "Is tandem running there?"}
		}
	})
	target := echo(t)
	f, _, forwards := forwarding(t, b, page.Subject{})
	f.Keys("a", "0", "tab", target, "enter")
	ticking(f, "anna can't be reached", "Is tandem running there?")
	b.Script(func(a *tuitest.Answers) { a.Open = open })
	f.Keys("r").Gone("can't be reached")
	f.Until("it listens", func() bool { return !forwards.List()[0].At.IsZero() })

	// A connection through it is not cut by one key.
	conn, err := net.Dial("tcp", forwards.List()[0].At.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	ticking(f, "1 open")
	f.Keys("x", "down").Wait("1 open").Keys("x", "x").Wait("No ports are forwarded")
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}
