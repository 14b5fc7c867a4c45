package node

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tandem/share/folder"

	"tandem/session"
	"tandem/session/audit"
	"tandem/share/command"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

func TestBackendPeople(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Always: true, Uses: 2})
		if err != nil {
			t.Fatal(err)
		}
		bob := begin(t, "bob", alice.url)
		bob.meet(t, s.Code)
		if err := alice.Rename(within(t), "bob", "bobby"); err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"", "-x", "a b", strings.Repeat("x", 100)} {
			if err := alice.Rename(within(t), "bobby", bad); session.KindOf(err) != session.Invalid {
				t.Errorf("renamed to %q: %v", bad, err)
			}
		}
		if peers, err := alice.Peers(within(t)); err != nil || len(peers) != 1 || peers[0].Alias != "bobby" {
			t.Errorf("%+v, %v", peers, err)
		}
		if err := alice.Dismiss(within(t), "bobby"); err != nil {
			t.Fatal(err)
		}
		bob.await(t, EventLeft, 1)
		refused(t, bob, "alice", readProject)
		if shares, err := alice.Shares(within(t)); err != nil || len(shares[0].Guests) != 1 || len(shares[0].Guests[0].Rights) != 0 {
			t.Errorf("%+v, %v", shares, err)
		}
		if err := alice.Forget(within(t), "bobby"); err != nil {
			t.Fatal(err)
		}
		if peers, err := alice.Peers(within(t)); err != nil || len(peers) != 0 {
			t.Errorf("%+v, %v", peers, err)
		}
		for name, err := range map[string]error{
			"dismiss": alice.Dismiss(within(t), "bobby"), "forget": alice.Forget(within(t), "bobby"), "rename": alice.Rename(within(t), "bobby", "b"),
		} {
			if session.KindOf(err) != session.NotFound {
				t.Errorf("%s a stranger: %v", name, err)
			}
		}
		// Another invite is another beginning.
		bob.meet(t, s.Code)
		allowed(t, bob, "alice", readProject)
	})
}

// What a guest would copy is shown before anything of it is written.
func TestBackendPush(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		dir := folderOf(t, "project")
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: dir, Write: true, Executables: true}}, Always: true, AskWrites: true})
		if err != nil {
			t.Fatal(err)
		}
		bob := begin(t, "bob", alice.url)
		bob.meet(t, s.Code)
		from := filepath.Join(t.TempDir(), "tree")
		if err := os.MkdirAll(filepath.Join(from, ".hidden"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, mode := range map[string]os.FileMode{"plain": 0o600, "run.sh": 0o700, ".hidden/secret": 0o600} {
			if err := os.WriteFile(filepath.Join(from, name), []byte("12345"), mode); err != nil {
				t.Fatal(err)
			}
		}
		for _, allow := range []bool{false, true} {
			put := make(chan error, 1)
			go func() {
				_, err := folder.NewClient(Bound{bob.Node, "alice"}, "project").Put(within(t), from, "tree", folder.Options{})
				put <- err
			}()
			r := alice.waitsFor(t, RequestPush)
			if r.Share != s.ID || r.Guest.Peer.Name != "bob" || r.Path.Kind != session.Direct || r.Push == nil {
				t.Fatalf("%+v", r)
			}
			if p := r.Push; p.Folder != "project" || p.Files != 3 || p.Bytes != 15 || p.Executable != 1 || p.Hidden == 0 || p.Items[0].Path != "tree/run.sh" {
				t.Errorf("%+v", p)
			}
			if e := alice.await(t, EventPush, 1); e.What != "project" || e.Share != s.ID {
				t.Errorf("%+v", e)
			}
			if _, err := os.Stat(filepath.Join(dir, "tree", "plain")); err == nil {
				t.Error("it is there before anybody was asked")
			}
			if err := alice.Answer(within(t), r.ID, Answer{Allow: allow, Reason: "not now"}); err != nil {
				t.Fatal(err)
			}
			switch err := <-put; {
			case allow && err != nil:
				t.Error(err)
			case !allow && (session.KindOf(err) != session.Denied || !strings.Contains(err.Error(), "not now")):
				t.Errorf("bob hears %v", err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "tree", "plain")); err != nil {
			t.Error(err)
		}
	})
}

func TestBackendActivity(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		entries, err := alice.Activity(within(t), ActivityQuery{})
		if err != nil || len(entries) != 0 {
			t.Errorf("before anything happened: %+v, %v", entries, err)
		}
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Always: true})
		if err != nil {
			t.Fatal(err)
		}
		bob := begin(t, "bob", alice.url)
		bob.meet(t, s.Code)
		if err := alice.EndShare(within(t), s.ID); err != nil {
			t.Fatal(err)
		}
		entries, err = alice.Activity(within(t), ActivityQuery{})
		if err != nil || len(entries) < 3 || entries[0].Outcome != audit.Revoked || entries[len(entries)-1].Outcome != audit.Invited {
			t.Fatalf("%+v, %v", entries, err)
		}
		page, err := alice.Activity(within(t), ActivityQuery{Before: entries[0].Seq, Limit: 1})
		if err != nil || len(page) != 1 || !reflect.DeepEqual(page[0], entries[1]) {
			t.Errorf("%+v, %v", page, err)
		}
		page, err = alice.Activity(within(t), ActivityQuery{Peer: "bob"})
		if err != nil || len(page) == 0 || page[0].Peer != bob.device.ID() {
			t.Errorf("%+v, %v", page, err)
		}
		if page, err = alice.Activity(within(t), ActivityQuery{Before: 1}); err != nil || len(page) != 0 {
			t.Errorf("%+v, %v", page, err)
		}
		if _, err = alice.Activity(within(t), ActivityQuery{Limit: -1}); session.KindOf(err) != session.Invalid {
			t.Error(err)
		}
	})
}

func TestBackendEvents(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		events, err := alice.Events(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
		if err != nil {
			t.Fatal(err)
		}
		e := <-events
		if e.Event != EventInvite || e.Share != s.ID || e.Code != s.Code || e.Time.IsZero() {
			t.Errorf("%+v", e)
		}
		cancel()
		for range events {
			continue // it has to end
		}

		// It ends with the node as well.
		if events, err = alice.Events(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := alice.person.Close(); err != nil {
			t.Fatal(err)
		}
		for range events {
			continue // it has to end
		}
	})
}

// A reader that is slow costs nobody else anything, and is told what it missed.
func TestBackendSlowReader(t *testing.T) {
	onBackends(t, func(t *testing.T, alice sharer) {
		slow, err := alice.Events(within(t))
		if err != nil {
			t.Fatal(err)
		}
		const all = 5_000
		big := strings.Repeat("x", 1000)
		for i := range all {
			alice.emit(Event{Event: EventWaiting, Link: big, Left: i})
		}
		got, lost, last := 0, 0, -1
		for got+lost < all {
			e := <-slow
			if e.Event == EventLost {
				lost += e.Unreported
				last += e.Unreported
				continue
			}
			if last++; e.Left != last {
				t.Fatalf("event %d where %d should be", e.Left, last)
			}
			got++
		}
		if lost == 0 {
			t.Error("everything was kept")
		}
		alice.emit(Event{Event: EventWaiting, Left: all})
		if e := <-slow; e.Left != all {
			t.Errorf("then %+v", e)
		}
	})
}

// What a caller sends is not to be trusted to be small or to make sense.
func TestBackendHostileCallers(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice := begin(t, "alice", url)
	c, err := connect(within(t), alice.cfg.Home)
	if err != nil {
		t.Fatal(err)
	}
	for action, params := range map[string]string{
		actionShare: `{"terminal":"yes"}`, actionAnswer: `{"request":7}`, actionActivity: `[]`, actionEndShare: `""`,
		actionRename: `{"peer":{}}`, actionEvents + "x": `{}`,
	} {
		err := c.ask(within(t), action, json.RawMessage(params), new(nothing))
		if k := session.KindOf(err); k != session.Invalid && k != session.Unsupported {
			t.Errorf("%s %s: %v", action, params, err)
		}
	}
	for name, s := range map[string]Share{
		"uses":     {Folders: []Folder{{Dir: "/tmp"}}, Uses: 1 << 30},
		"expires":  {Folders: []Folder{{Dir: "/tmp"}}, Expires: -time.Hour},
		"relative": {Folders: []Folder{{Dir: "tmp"}}},
		"missing":  {Folders: []Folder{{Dir: "/nonexistent/folder"}}},
		"file":     {Folders: []Folder{{Dir: os.Args[0]}}},
		"program":  {Terminal: true, Command: []string{""}},
		"none":     {Terminal: true, Command: []string{"tandem-no-such-command"}},
		"forward":  {Forward: []string{"nonsense"}},
		"command":  {Commands: map[string][]string{"a b": {"true"}}},
	} {
		if _, err := c.StartShare(within(t), s); session.KindOf(err) != session.Invalid && session.KindOf(err) != session.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	big := strings.Repeat("x", 1<<20)
	if err := c.Answer(within(t), big, Answer{}); err == nil {
		t.Error("a request named by a megabyte")
	}
	// Nothing of what failed is left behind.
	if s, err := c.StartShare(within(t), Share{Name: "a\x1b[2Jb\u202e", Terminal: true, Command: []string{"cat"}}); err != nil || strings.ContainsAny(s.Name, "\x1b\u202e") {
		t.Errorf("%q, %v", s.Name, err)
	}
	if shares, err := c.Shares(within(t)); err != nil || len(shares) != 1 {
		t.Errorf("%+v, %v", shares, err)
	}
}

// TestTrustEndOfShareEndsEverything is what EndShare promises: what guests have
// started is gone when it returns.
func TestTrustEndOfShareEndsEverything(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	dir := folderOf(t, "project")
	s := alice.share(t, Share{Terminal: true, Folders: []Folder{{Dir: dir}}})
	bob.meet(t, s.Code)
	h, err := command.Request{Argv: []string{"sh", "-c", "pwd; exec sleep 1000"}}.Header()
	if err != nil {
		t.Fatal(err)
	}
	run, err := bob.Open(within(t), "alice", h)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = run.Close() }()
	var out bytes.Buffer
	buf := make([]byte, 512)
	for !strings.Contains(out.String(), filepath.Base(dir)) { // programs of a share begin in its folder
		n, err := run.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(buf[:n])
	}
	if err := alice.EndShare(within(t), s.ID); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = run.Read(buf)
	}
	alice.await(t, EventClosed, 1)
	for _, info := range alice.services.terminal.Terminals() {
		if info.Exit == nil {
			t.Errorf("%s is still there", info.Name)
		}
	}
	if rights := alice.grants.Rights(bob.device.ID()); len(rights) != 0 {
		t.Errorf("bob may still %v", rights)
	}
}
