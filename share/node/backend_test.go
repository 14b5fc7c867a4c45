package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/command"
	"tandem/share/folder"
	"tandem/share/terminal"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// sharer is one who shares, and the Backend that she uses for it.
type sharer struct {
	*person
	Backend
	url string
}

func (h sharer) Close() error { return h.person.Close() }

// onBackends runs a test with a node itself, and with one over its socket: they
// behave alike.
func onBackends(t *testing.T, test func(t *testing.T, alice sharer)) {
	for _, over := range []string{"node", "socket"} {
		t.Run(over, func(t *testing.T) {
			url := signalingtest.Start(t, server.Config{}).URL
			alice := sharer{person: begin(t, "alice", url), url: url}
			alice.Backend = alice.Node
			if over == "socket" {
				alice.Backend = connectTo(t, alice.cfg)
				if _, ok := alice.Backend.(*Client); !ok {
					t.Fatalf("beside a node there is %T", alice.Backend)
				}
			}
			test(t, alice)
		})
	}
}

// waitsFor is the one request that alice has to answer.
func (h sharer) waitsFor(t *testing.T, kind string) Request {
	t.Helper()
	var request Request
	signalingtest.Eventually(t, "somebody waits for an answer", func() bool {
		requests, err := h.Requests(within(t))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(requests, func(r Request) bool { return r.Kind == kind })
		if i >= 0 {
			request = requests[i]
		}
		return i >= 0
	})
	return request
}

// asking joins in the background.
func (p *person) asking(t *testing.T, code string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		joined, err := p.Join(within(t), code, nil)
		done <- outcome{joined, err}
	}()
	return done
}

type outcome struct {
	Joined
	err error
}

// refused waits until a peer may do something no more.
func refused(t *testing.T, p *person, peer string, h session.Header) {
	t.Helper()
	signalingtest.Eventually(t, "the right to "+h.Service+" has ended", func() bool {
		s, err := p.Open(within(t), peer, h)
		if err != nil {
			return true
		}
		defer func() { _ = s.Close() }()
		_, err = s.Read(make([]byte, 1))
		return session.KindOf(err) == session.Denied || session.KindOf(err) == session.Revoked
	})
}

// allowed checks that a peer may do something.
func allowed(t *testing.T, p *person, peer string, h session.Header) {
	t.Helper()
	s, err := p.Open(within(t), peer, h)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_ = s.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // a refusal is told; who may read says first what
	if _, err := s.Read(make([]byte, 1)); session.KindOf(err) == session.Denied {
		t.Errorf("%s %s: %v", h.Service, h.Resource, err)
	}
}

var readProject = session.Header{Service: folder.Name, Resource: "project", Action: "read"}

func TestBackendSelf(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		self, err := alice.Self(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if self.Peer.Name != "alice" || self.Peer.ID != alice.device.ID() || len(self.Words) != 12 || self.Home != alice.cfg.Home.State {
			t.Errorf("%+v", self)
		}
		signalingtest.Eventually(t, "the server is connected", func() bool {
			self, err := alice.Self(within(t))
			return err == nil && len(self.Servers) == 1 && self.Servers[0].Connected && self.Servers[0].Reason == ""
		})
	})
}

func TestBackendShares(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		if _, err := alice.StartShare(within(t), Share{}); session.KindOf(err) != session.Invalid {
			t.Errorf("a share of nothing: %v", err)
		}
		if shares, err := alice.Shares(within(t)); err != nil || len(shares) != 0 {
			t.Errorf("%+v, %v", shares, err)
		}
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project"), Write: true}}, Expires: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if s.ID == "" || s.Name != "project" || s.Code == "" || s.Link == "" || s.Server == "" || s.Spent != "" || len(s.Offers) != 1 || s.Started.IsZero() || time.Until(s.Expires) < 30*time.Minute {
			t.Errorf("%+v", s)
		}
		bob := begin(t, "bob", alice.url)
		joining := bob.asking(t, s.Code)
		request := alice.waitsFor(t, RequestJoin)
		if request.Share != s.ID || request.Guest.Peer.Name != "bob" || len(request.Guest.Words) != 12 || !reflect.DeepEqual(request.Guest.Offers, s.Offers) {
			t.Errorf("%+v", request)
		}
		if err := alice.Answer(within(t), request.ID, Answer{Allow: true}); err != nil {
			t.Fatal(err)
		}
		if err := alice.Answer(within(t), request.ID, Answer{}); session.KindOf(err) != session.NotFound || session.Hint(err) == "" {
			t.Errorf("a second answer: %v", err)
		}
		joined := <-joining
		if joined.err != nil || len(joined.Offers) != 1 {
			t.Fatalf("%+v", joined)
		}
		allowed(t, bob, "alice", readProject)
		shares, err := alice.Shares(within(t))
		if err != nil || len(shares) != 1 || len(shares[0].Guests) != 1 {
			t.Fatalf("%+v, %v", shares, err)
		}
		if g := shares[0].Guests[0]; !g.Connected || g.Path.Kind != session.Direct || g.Peer.ID != bob.device.ID() || len(g.Rights) != 1 || g.Since.IsZero() {
			t.Errorf("%+v", g)
		}
		if shares[0].Spent == "" {
			t.Error("its one use has been used, and it is not spent")
		}
		if err := alice.EndShare(within(t), s.ID); err != nil {
			t.Fatal(err)
		}
		refused(t, bob, "alice", readProject)
		if e := alice.await(t, EventEnded, 1); e.Share != s.ID {
			t.Errorf("%+v", e)
		}
		if shares, err := alice.Shares(within(t)); err != nil || len(shares) != 0 {
			t.Errorf("%+v, %v", shares, err)
		}
		if err := alice.EndShare(within(t), s.ID); session.KindOf(err) != session.NotFound {
			t.Errorf("ended twice: %v", err)
		}
		// Its name is free again.
		again, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
		if err != nil || again.Offers[0].Resource != "project" || again.ID == s.ID {
			t.Errorf("%+v, %v", again, err)
		}
	})
}

// The terminal of a share that asks for it is recorded. Both sides are told before
// anything is typed; and a terminal that isn't recorded like that is not shared by a
// share that wants more.
func TestRecordedShare(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		if _, err := alice.StartShare(within(t), Share{Record: RecordedMaybe, Forward: []string{"any"}}); session.KindOf(err) != session.Invalid {
			t.Errorf("a recording of no terminal: %v", err)
		}
		if _, err := alice.StartShare(within(t), Share{Record: "always", Terminal: true}); session.KindOf(err) != session.Invalid {
			t.Errorf("an unknown way to record: %v", err)
		}
		s, err := alice.StartShare(within(t), Share{Terminal: true, Command: []string{"cat"}, Record: RecordedMaybe})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(s.Recording); err != nil || s.Recorded != RecordedMaybe || !strings.HasPrefix(s.Recording, alice.cfg.Home.Recordings()) {
			t.Errorf("%q, %q, %v", s.Recorded, s.Recording, err)
		}
		if _, err := alice.StartShare(within(t), Share{Terminal: true, Command: []string{"cat"}, Record: RecordedOrNothing}); session.KindOf(err) != session.Exists {
			t.Errorf("a share that wants more: %v", err)
		}
		same, err := alice.StartShare(within(t), Share{Terminal: true, Command: []string{"cat"}})
		if err != nil || same.Recorded != RecordedMaybe || same.Recording != s.Recording {
			t.Errorf("a share that has the terminal in common: %+v, %v", same, err)
		}
		bob := begin(t, "bob", alice.url)
		joining := bob.asking(t, same.Code)
		request := alice.waitsFor(t, RequestJoin)
		if request.Recorded != RecordedMaybe {
			t.Errorf("alice is asked about %q", request.Recorded)
		}
		if err := alice.Answer(within(t), request.ID, Answer{Allow: true}); err != nil {
			t.Fatal(err)
		}
		if joined := <-joining; joined.err != nil || joined.Recorded != RecordedMaybe {
			t.Errorf("bob is told %q, %v", joined.Recorded, joined.err)
		}
		for _, id := range []string{s.ID, same.ID} {
			if err := alice.EndShare(within(t), id); err != nil {
				t.Fatal(err)
			}
		}

		// What must be recorded gives nothing besides.
		s, err = alice.StartShare(within(t), Share{Terminal: true, Record: RecordedOrNothing})
		if err != nil || s.Recorded != RecordedOrNothing || s.Recording == "" {
			t.Fatalf("%+v, %v", s, err)
		}
		if slices.ContainsFunc(s.Offers, func(r Right) bool { return r.Service == command.ServiceName }) {
			t.Errorf("guests may run what no recording has: %+v", s.Offers)
		}
		if err := alice.EndShare(within(t), s.ID); err != nil {
			t.Fatal(err)
		}
		// It was of that share.
		s, err = alice.StartShare(within(t), Share{Terminal: true})
		if err != nil || s.Recorded != NotRecorded || s.Recording != "" {
			t.Fatalf("%+v, %v", s, err)
		}
		if _, err := alice.StartShare(within(t), Share{Terminal: true, Record: RecordedMaybe}); session.KindOf(err) != session.Exists {
			t.Errorf("a recording of what has begun without: %v", err)
		}
	})
}

// A recording that can't be written is not promised; one that is required refuses.
func TestRecordingCannotBeWritten(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice := begin(t, "alice", url)
	if err := os.WriteFile(filepath.Clean(alice.cfg.Home.Recordings()), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := alice.StartShare(within(t), Share{Terminal: true, Record: RecordedOrNothing}); err == nil {
		t.Errorf("shared without its recording: %+v", s)
	}
	s, err := alice.StartShare(within(t), Share{Terminal: true, Record: RecordedMaybe})
	if err != nil || s.Recorded != NotRecorded || s.Recording != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// What a share restricts is restricted over the socket as well: nothing of a
// Share is lost on its way.
func TestShareAsJSON(t *testing.T) {
	share := Share{
		Name:     "a",
		Folders:  []Folder{{Dir: "/b", Name: "c", Write: true, Executables: true, Rules: []folder.Rule{{Pattern: "d", Access: folder.Hidden}}, Links: true}},
		Terminal: true, ViewOnly: true, Command: []string{"e"}, Commands: map[string][]string{"f": {"g"}},
		Forward: []string{"h"}, ForwardListen: []string{"i"}, Uses: 1, Expires: 2, Always: true, AskWrites: true, Record: RecordedMaybe,
	}
	for i := range reflect.TypeFor[Share]().NumField() {
		if f := reflect.TypeFor[Share]().Field(i); f.Type.Kind() != reflect.Func && reflect.ValueOf(share).Field(i).IsZero() {
			t.Errorf("%s is not part of this test", reflect.TypeFor[Share]().Field(i).Name)
		}
	}
	for i := range reflect.TypeFor[Folder]().NumField() {
		if reflect.ValueOf(share.Folders[0]).Field(i).IsZero() {
			t.Errorf("%s is not part of this test", reflect.TypeFor[Folder]().Field(i).Name)
		}
	}
	text, err := json.Marshal(share)
	if err != nil {
		t.Fatal(err)
	}
	var got Share
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, share) {
		t.Errorf("%+v, %v", got, err)
	}
}

// The code of a share that has ended is dead, and who waits at its door is told.
func TestBackendEndShareAtTheDoor(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Uses: 5})
		if err != nil {
			t.Fatal(err)
		}
		bob := begin(t, "bob", alice.url)
		joining := bob.asking(t, s.Code)
		request := alice.waitsFor(t, RequestJoin)
		if err := alice.EndShare(within(t), s.ID); err != nil {
			t.Fatal(err)
		}
		if joined := <-joining; joined.err == nil {
			t.Error("let in by a share that has ended")
		}
		if requests, err := alice.Requests(within(t)); err != nil || len(requests) != 0 {
			t.Errorf("still waiting: %+v, %v", requests, err)
		}
		if err := alice.Answer(within(t), request.ID, Answer{Allow: true}); session.KindOf(err) != session.NotFound {
			t.Errorf("answered: %v", err)
		}
		if _, err := bob.Join(within(t), s.Code, nil); err == nil {
			t.Error("joined with a dead code")
		}
		if rights := alice.grants.Rights(bob.device.ID()); len(rights) != 0 {
			t.Errorf("granted %v", rights)
		}
	})
}

func TestBackendAnswers(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		share := Share{Folders: []Folder{{Dir: folderOf(t, "project"), Write: true}}, Commands: map[string][]string{"hello": {"echo", "hello"}}}
		s, err := alice.StartShare(within(t), share)
		if err != nil {
			t.Fatal(err)
		}
		bob := begin(t, "bob", alice.url)
		joining := bob.asking(t, s.Code)
		request := alice.waitsFor(t, RequestJoin)
		for name, rights := range map[string][]Right{
			"none":    {},
			"others":  {{Service: terminal.ServiceName, Actions: []string{"view"}}},
			"more":    {{Service: folder.Name, Resource: "project", Actions: []string{"read", "admin"}}},
			"another": {{Service: folder.Name, Resource: "other", Actions: []string{"read"}}},
			"nothing": {{Service: folder.Name, Resource: "project"}},
		} {
			if err := alice.Answer(within(t), request.ID, Answer{Allow: true, Rights: rights}); session.KindOf(err) != session.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		less := []Right{{Service: folder.Name, Resource: "project", Actions: []string{"read"}}}
		if err := alice.Answer(within(t), request.ID, Answer{Allow: true, Rights: less}); err != nil {
			t.Fatal(err)
		}
		if joined := <-joining; joined.err != nil || !reflect.DeepEqual(joined.Offers, less) {
			t.Errorf("bob got %+v, %v", joined.Offers, joined.err)
		}
		allowed(t, bob, "alice", readProject)
		refused(t, bob, "alice", session.Header{Service: folder.Name, Resource: "project", Action: "write"})
		refused(t, bob, "alice", session.Header{Service: command.ServiceName, Resource: "hello", Action: command.Run})

		// A no has a reason.
		s, err = alice.StartShare(within(t), share)
		if err != nil {
			t.Fatal(err)
		}
		carol := begin(t, "carol", alice.url)
		joining = carol.asking(t, s.Code)
		request = alice.waitsFor(t, RequestJoin)
		if err := alice.Answer(within(t), request.ID, Answer{Reason: "not \x1b[31mtoday"}); err != nil {
			t.Fatal(err)
		}
		if joined := <-joining; session.KindOf(joined.err) != session.Denied || !strings.Contains(joined.err.Error(), "today") || strings.Contains(joined.err.Error(), "\x1b") {
			t.Errorf("carol hears %v", joined.err)
		}
	})
}

// Once is for as long as the connection lasts.
func TestBackendOnce(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Uses: 2})
		if err != nil {
			t.Fatal(err)
		}
		bob, carol := begin(t, "bob", alice.url), begin(t, "carol", alice.url)
		for _, guest := range []*person{bob, carol} {
			joining := guest.asking(t, s.Code)
			request := alice.waitsFor(t, RequestJoin)
			if err := alice.Answer(within(t), request.ID, Answer{Allow: true, Once: guest == bob}); err != nil {
				t.Fatal(err)
			}
			if joined := <-joining; joined.err != nil {
				t.Fatal(joined.err)
			}
			allowed(t, guest, "alice", readProject)
		}
		for _, guest := range []*person{bob, carol} {
			if err := guest.host.Leave(alice.device.ID()); err != nil {
				t.Fatal(err)
			}
		}
		alice.await(t, EventLeft, 2)
		refused(t, bob, "alice", readProject)
		allowed(t, carol, "alice", readProject)
		if rights := alice.grants.Rights(bob.device.ID()); len(rights) != 0 {
			t.Errorf("bob may still %v", rights)
		}
	})
}

// Two shares have one terminal, which ends with the last of them; what one
// granted doesn't outlive it.
func TestBackendSharedTerminal(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		dir := folderOf(t, "project")
		typing, err := alice.StartShare(within(t), Share{Terminal: true, Folders: []Folder{{Dir: dir}}, Always: true})
		if err != nil {
			t.Fatal(err)
		}
		watching, err := alice.StartShare(within(t), Share{Terminal: true, ViewOnly: true, Always: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.StartShare(within(t), Share{Terminal: true, Command: []string{"cat"}}); session.KindOf(err) != session.Exists || session.Hint(err) == "" {
			t.Errorf("another program: %v", err)
		}
		bob, carol := begin(t, "bob", alice.url), begin(t, "carol", alice.url)
		bob.meet(t, typing.Code)
		carol.meet(t, watching.Code)
		view := session.Header{Service: terminal.ServiceName, Action: "view"}
		refused(t, carol, "alice", session.Header{Service: terminal.ServiceName, Action: "control"})
		stream, err := bob.Open(within(t), "alice", session.Header{Service: terminal.ServiceName, Action: "control"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		c := terminal.NewClient(stream)
		if _, err := c.Next(); err != nil {
			t.Fatal(err)
		}
		if err := alice.EndShare(within(t), typing.ID); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = c.Next()
		}
		refused(t, bob, "alice", view)
		if left := alice.services.terminal.Terminals(); len(left) != 1 || left[0].Exit != nil {
			t.Errorf("the other share's terminal: %+v", left)
		}
		if err := alice.EndShare(within(t), watching.ID); err != nil {
			t.Fatal(err)
		}
		for _, info := range alice.services.terminal.Terminals() {
			if info.Exit == nil {
				t.Errorf("%s outlives its shares", info.Name)
			}
		}
		// Now another program can have it.
		if _, err := alice.StartShare(within(t), Share{Terminal: true, Command: []string{"cat"}}); err != nil {
			t.Error(err)
		}
	})
}

func TestBackendWishToType(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		s, err := alice.StartShare(within(t), Share{Terminal: true, ViewOnly: true, Always: true})
		if err != nil {
			t.Fatal(err)
		}
		bob := begin(t, "bob", alice.url)
		bob.meet(t, s.Code)
		at := session.Header{Service: terminal.ServiceName, Action: "view"}
		stream, err := bob.Open(within(t), "alice", at)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		c := terminal.NewClient(stream)
		events := make(chan terminal.Event, 100)
		go func() {
			defer close(events)
			for {
				e, err := c.Next()
				if err != nil {
					return
				}
				if r, ok := e.(terminal.Roster); ok {
					events <- r
				}
			}
		}()
		if err := c.Ask(); err != nil {
			t.Fatal(err)
		}
		request := alice.waitsFor(t, RequestType)
		if request.Terminal != terminal.DefaultName || request.Viewer == 0 || request.Guest.Peer.ID != bob.device.ID() || request.Path.Kind != session.Direct {
			t.Errorf("%+v", request)
		}
		if e := alice.await(t, EventAsks, 1); e.Request != request.ID {
			t.Errorf("%+v", e)
		}
		if err := alice.Answer(within(t), request.ID, Answer{Allow: true}); err != nil {
			t.Fatal(err)
		}
		timeout := time.After(soon)
		for may := false; !may; {
			select {
			case e := <-events:
				may = slices.ContainsFunc(e.(terminal.Roster).Viewers, func(v terminal.Viewer) bool { return v.Right == terminal.Control })
			case <-timeout:
				t.Fatal("bob was never let type")
			}
		}
		if requests, err := alice.Requests(within(t)); err != nil || len(requests) != 0 {
			t.Errorf("%+v, %v", requests, err)
		}

		// Who has left asks for nothing.
		again, err := bob.Open(within(t), "alice", at)
		if err != nil {
			t.Fatal(err)
		}
		second := terminal.NewClient(again)
		if _, err := second.Next(); err != nil {
			t.Fatal(err)
		}
		if err := second.Ask(); err != nil {
			t.Fatal(err)
		}
		alice.await(t, EventAsks, 2)
		_ = again.Close()
		signalingtest.Eventually(t, "the wish is dropped", func() bool {
			requests, err := alice.Requests(within(t))
			return err == nil && len(requests) == 0
		})
	})
}
