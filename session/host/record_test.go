package host

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"tandem/session"
	"tandem/session/audit"
	"tandem/session/grant"
)

// pages is an Audit in memory that can be full.
type pages struct {
	mu      sync.Mutex
	full    bool
	entries []audit.Entry
}

func (p *pages) Append(e audit.Entry) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return 0, &session.Error{Op: "audit", Kind: session.NoSpace, Text: "no space left on /home/alice"}
	}
	p.entries = append(p.entries, e)
	return uint64(len(p.entries)), nil
}

func (p *pages) all() []audit.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]audit.Entry(nil), p.entries...)
}

// asked is an offer that nobody made.
type asked struct {
	peer   session.Peer
	header session.Header
	stream session.Stream

	mu       sync.Mutex
	rejected []string
}

func (o *asked) Peer() session.Peer              { return o.peer }
func (o *asked) Header() session.Header          { return o.header }
func (o *asked) Accept() (session.Stream, error) { return o.stream, nil }
func (o *asked) Reject(kind session.Kind, why string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rejected = append(o.rejected, string(kind)+": "+why)
	return nil
}

// still is a stream that has 3 bytes to read and takes what is written.
type still struct {
	session.Stream
	read bool
}

func (s *still) Read(p []byte) (int, error) {
	if s.read {
		return 0, errors.New("over")
	}
	s.read = true
	return copy(p, "abc"), nil
}
func (s *still) Write(p []byte) (int, error) { return len(p), nil }

// serving is a service made of a function.
type serving func(ctx context.Context, o session.Offer) error

func (serving) Name() string                                       { return "test/1" }
func (s serving) Serve(ctx context.Context, o session.Offer) error { return s(ctx, o) }

// dispatched has an Audit, one peer who may do "this" and what is served.
func dispatched(t *testing.T, kept Audit, serve serving) (ask func(action string) *asked) {
	t.Helper()
	grants, peer := &grant.Table{}, session.Peer{ID: session.PeerID{1}, Name: "bob"}
	if _, err := grants.Give(peer.ID, []grant.Right{{Service: "test/1", Actions: []string{"this"}}}, 0); err != nil {
		t.Fatal(err)
	}
	d := NewDispatcher(DispatcherConfig{
		Authorizer: grants, Services: []session.Service{serve}, Audit: kept,
		Detail: func(h session.Header) string { return "in detail: " + h.Action },
		Log:    slog.New(slog.DiscardHandler),
	})
	return func(action string) *asked {
		o := &asked{peer: peer, header: session.Header{Service: "test/1", Action: action}, stream: &still{}}
		d.Handle(t.Context(), o)
		return o
	}
}

func TestRecordOfARequest(t *testing.T) {
	kept := &pages{}
	var fail error
	ask := dispatched(t, kept, func(_ context.Context, o session.Offer) error {
		if e := kept.all(); len(e) == 0 || e[len(e)-1].Outcome != audit.Allowed {
			t.Error("served before it was recorded")
		}
		s, err := o.Accept()
		if err != nil {
			return err
		}
		_, _ = s.Read(make([]byte, 10))
		_, _ = s.Write(make([]byte, 20))
		code := 7
		session.Note(o, session.Outcome{Exit: &code, Recording: "a.cast"})
		if fail != nil {
			session.Note(o, session.Outcome{})
		}
		return fail
	})
	ask("this")
	entries := kept.all()
	if len(entries) != 2 {
		t.Fatalf("%+v", entries)
	}
	if e := entries[0]; e.Outcome != audit.Allowed || e.Peer != (session.PeerID{1}) || e.Name != "bob" || e.Service != "test/1" ||
		e.Action != "this" || e.Detail != "in detail: this" {
		t.Errorf("%+v", e)
	}
	if e := entries[1]; e.Outcome != audit.Ended || e.Of != 1 || e.Received != 3 || e.Sent != 20 || *e.Exit != 7 || e.Recording != "a.cast" || e.Reason != "" {
		t.Errorf("%+v", e)
	}

	fail = session.Errorf("serve", session.Integrity, "it broke")
	ask("this")
	if e := kept.all()[3]; e.Outcome != audit.Failed || e.Of != 3 || e.Exit != nil || e.Reason != "it broke" {
		t.Errorf("%+v", e)
	}
	fail = session.Errorf("serve", session.Canceled, "it went away")
	ask("this")
	if e := kept.all()[5]; e.Outcome != audit.Ended || e.Reason != "it went away" {
		t.Errorf("%+v", e)
	}
}

// TestNothingIsDoneUnrecorded is trust rule 11.
func TestNothingIsDoneUnrecorded(t *testing.T) {
	served := 0
	kept := &pages{full: true}
	ask := dispatched(t, kept, func(context.Context, session.Offer) error { served++; return nil })
	for _, action := range []string{"this", "that"} {
		o := ask(action)
		want := "unavailable: the host can't keep its audit log, and does nothing without it"
		if action == "that" {
			want = `denied: you have not been granted "that" on test`
		}
		if len(o.rejected) != 1 || o.rejected[0] != want {
			t.Errorf("%s: rejected %q", action, o.rejected)
		}
	}
	if served > 0 {
		t.Error("served what could not be recorded")
	}
	kept.full = false
	if ask("this"); served != 1 {
		t.Error("not served when there is room again")
	}

	// The real log, in a folder that can't be made.
	l := audit.New(filepath.Join("/proc", "nowhere", "audit"))
	ask = dispatched(t, l, func(context.Context, session.Offer) error { served++; return nil })
	if o := ask("this"); len(o.rejected) != 1 || served != 1 {
		t.Errorf("rejected %q, served %d", o.rejected, served)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestRecordOfAFlood: what is denied a thousand times fills no disk, and none
// of it is forgotten.
func TestRecordOfAFlood(t *testing.T) {
	kept := &pages{}
	ask := dispatched(t, kept, func(context.Context, session.Offer) error { return nil })
	for range 1000 {
		ask("that")
	}
	entries := kept.all()
	counted := len(entries)
	for _, e := range entries {
		if e.Outcome != audit.Denied || e.Reason == "" {
			t.Fatalf("%+v", e)
		}
		counted += e.Count
	}
	if len(entries) > 500 || counted > 1000 {
		t.Errorf("%d entries that speak of %d", len(entries), counted)
	}
}
