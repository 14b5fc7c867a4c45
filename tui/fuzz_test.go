package tui

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
	jobs "tandem/tui/background"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
	"tandem/tui/widget"
)

// FuzzTUI gives the root, with every page within reach, random keys, sizes, clicks,
// news of the node, errors and silence of the node, and what hostile peers send:
// there is no panic, and nothing is drawn outside the window, or that a terminal
// would act on.
func FuzzTUI(f *testing.F) {
	f.Add([]byte("n\t\t/srv\r"), "name")
	f.Add([]byte{0x80, 20, 5, 'n', 0x80, 60, 15, 0x81, 3, 4, 'j'}, "\x1b]0;evil\a\u202e")
	f.Add([]byte{0x82, 0x83, 'A', 0x84, 'q', 'Y', ':', 'x', '\r'}, "宽宽e\u0301")
	f.Add([]byte("/zz\x1b?\x1b:\r"), "")
	for i := range byte(len(entries())) {
		f.Add([]byte{0x8e, i, 0, 0x89, 1, 0, '\r', 0x80, 0, 0, 0x80, 160, 48, 'x', 0x8d, 9, 0, 0x8e, i, 1, 0x89, 30, 0, 'v'}, "\x1b[2J\u202e世界")
	}
	f.Fuzz(func(t *testing.T, input []byte, text string) {
		text = text[:min(len(text), 4000)] // a name, not the time it takes
		synctest.Test(t, func(t *testing.T) {
			d := newDriven(t, text, len(text)%2 == 0)
			defer d.end()
			for i := 0; i < min(len(input), 200) && !d.quit; i++ {
				d.act(input[i], append(input[i+1:min(i+3, len(input)):min(i+3, len(input))], 0, 0), text)
				d.settle()
				d.check()
			}
		})
	})
}

// driven is a root whose Cmds run in a bubble of package synctest. Nobody's files,
// processes or network are within its reach.
type driven struct {
	t    *testing.T
	root *root
	b    *tuitest.Backend
	w, h int
	quit bool
	end  context.CancelFunc

	mu       sync.Mutex
	messages []tea.Msg
}

func newDriven(t *testing.T, text string, ascii bool) *driven {
	d := &driven{t: t, b: tuitest.Busy(), w: 80, h: 24}
	d.b.Has.Invite = tuitest.Share("s9", "new")
	d.b.Has.Open = hostile(t, text)
	ctx, end := context.WithCancel(t.Context())
	d.end = end
	run := func(work func(context.Context) tea.Msg) tea.Cmd {
		return func() tea.Msg { return work(ctx) }
	}
	d.root = newRoot(Config{
		Backend: d.b, Theme: theme.Options{Profile: termenv.ANSI256, ASCII: ascii}, Keys: theme.DefaultKeys(), Ends: func() bool { return true },
		Seat: page.Seat{Dir: "/home/ada", Write: func([]byte) error { return nil }},
		Doctor: func(_ context.Context, each func(page.Finding)) error {
			each(page.Finding{Check: text, Subject: text, Found: text, Advice: text})
			return session.Errorf("doctor", session.Unavailable, "%s", text)
		},
	}, run, tuitest.Now())
	env := &d.root.env
	env.Demo = func(context.Context) (page.Demo, error) {
		return nil, session.Errorf("demo", session.Unavailable, "%s", text)
	}
	env.Transfers = jobs.NewTransfers(func(ctx context.Context, _ jobs.Job, item string, c jobs.Copying) (folder.Summary, error) {
		if _, err := c.Decide(ctx, jobs.Conflict{Path: text}); err != nil {
			return folder.Summary{}, err
		}
		c.Progress(folder.Progress{})
		return folder.Summary{}, session.Errorf(item, session.Denied, "%s", text)
	})
	for i := range env.Entries {
		if env.Entries[i].Title == "Files" {
			env.Entries[i].New = func(env page.Env, of page.Subject) page.Page {
				return page.NewFilesOf(env, of, oddFolder(text), "/home/ada", oddFolder(text))
			}
		}
	}
	d.root.pages = []layer{{page: page.NewHome(*env)}}
	d.root.resize()
	// What Init begins, but for forwards: those listen.
	d.start(tea.Batch(d.root.pages[0].page.Init(), d.root.feed.subscribe(), d.root.feed.ask(), d.root.tick(), page.RunTransfers(*env), page.WatchTransfers(*env, 0)))
	d.settle()
	return d
}

// start runs a Cmd, and those of which it consists.
func (d *driven) start(cmds ...tea.Cmd) {
	for _, cmd := range cmds {
		if cmd == nil {
			continue
		}
		go func() {
			msg := cmd()
			if several, ok := tuitest.Group(msg); ok {
				d.start(several...)
				return
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if msg != nil {
				d.messages = append(d.messages, msg)
			}
		}()
	}
}

func (d *driven) send(msg tea.Msg) {
	_, cmd := d.root.Update(msg)
	d.start(cmd)
}

// settle gives the root what its Cmds return, until all of them wait.
func (d *driven) settle() {
	for range 50 {
		synctest.Wait()
		d.mu.Lock()
		messages := d.messages
		d.messages = nil
		d.mu.Unlock()
		if len(messages) == 0 {
			return
		}
		for _, msg := range messages {
			if _, ok := msg.(tea.QuitMsg); ok {
				d.quit = true
				return
			}
			d.send(msg)
		}
	}
}

func (d *driven) act(b byte, arguments []byte, text string) {
	x, y := int(arguments[0]), int(arguments[1])
	peer := session.Peer{ID: tuitest.ID(3), Name: text}
	path := session.Path{Kind: session.Direct, Local: session.Endpoint{Type: text}, Remote: session.Endpoint{Protocol: text}, WhyNotDirect: text}
	switch b {
	case 0x80:
		if d.w, d.h = x, y; x == 0 || y == 0 {
			d.w, d.h = usualWidth, usualHeight
		}
		d.send(tea.WindowSizeMsg{Width: x, Height: y})
	case 0x81:
		d.send(tea.MouseMsg{X: x, Y: y, Button: tea.MouseButton(x % 8), Action: tea.MouseAction(y % 3)})
	case 0x82:
		d.b.Script(func(a *tuitest.Answers) {
			if a.Peers = slices.Clone(a.Peers); len(a.Peers) == 0 {
				a.Peers = tuitest.Peers(2, 1)
			}
			a.Peers = tuitest.Busy().Has.Peers
			a.Self.Peer.Name, a.Peers[0].Alias, a.Peers[0].Peer.Name, a.Peers[0].Path = text, text, text, path
			a.Peers[0].Candidates = &session.Candidates{
				Local: []session.Endpoint{path.Local}, Remote: []session.Endpoint{path.Remote},
				Pairs: []session.Pair{{Local: path.Local, Remote: path.Remote, State: session.PairState(text), Checks: 1 << 60}},
			}
			a.Peers[0].Lanes = []session.Lane{{Kind: session.LaneKind(text), Remote: path.Remote, Sent: uint64(x) << 50}}
			a.Requests = []node.Request{tuitest.Request(text, 7, text, "s1"), {
				ID: "push", Kind: node.RequestPush, Share: "s1", Guest: node.Guest{Peer: peer, Words: []string{text}},
				Push: &node.Push{Folder: text, Files: x, Bytes: 1 << 50, Items: []folder.Pushed{{Path: text, Replaces: true, Executable: true}}},
			}}
			a.Shares = append(slices.Clone(a.Shares[:min(1, len(a.Shares))]), tuitest.Share("s2", text, tuitest.Guest(5, text)))
			a.Shares[0].Spent, a.Shares[0].Recording, a.Shares[0].Recorded, a.Shares[0].Beside = text, text, node.Recorded(text), y%2 == 0
			a.Activity = []node.AuditEntry{{Seq: 1, Peer: peer.ID, Name: text}}
		})
		d.send(page.Refresh{})
	case 0x83:
		for _, e := range []string{node.EventJoined, node.EventMet, node.EventDenied, node.EventSpent, node.EventPath} {
			d.b.Emit(node.Event{Event: e, Peer: &peer, Path: &path, Reason: text, What: text, Words: []string{text}})
		}
		time.Sleep(gather)
	case 0x84:
		d.b.Script(func(a *tuitest.Answers) { a.Requests, a.Shares, a.Peers = nil, nil, nil })
		d.send(page.Refresh{})
	case 0x85:
		d.b.Script(func(a *tuitest.Answers) {
			if a.Err == nil {
				a.Err = session.Errorf("", session.Kind(text), "%s", text)
			} else {
				a.Err = nil
			}
		})
		d.send(page.Refresh{})
	case 0x86:
		d.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(text), Paste: true})
	case 0x87:
		d.send(page.Tick{Now: tuitest.Now().Add(11 * time.Minute)}) // invites expire
	case 0x88:
		d.send(page.Fail{Err: session.Errorf(text, session.Denied, "%s", text)})
	case 0x89:
		time.Sleep(time.Duration(x%32) * 50 * time.Millisecond)
	case 0x8a:
		d.b.Script(func(a *tuitest.Answers) { a.Hang = !a.Hang })
	case 0x8b:
		d.b.Drop()
	case 0x8c:
		d.send(page.Verb{Text: text})
	case 0x8d:
		for range 10 * x {
			d.b.Emit(node.Event{Event: node.EventRequest, Peer: &peer, Reason: text})
		}
	case 0x8e:
		d.open(x, y, peer)
	default:
		k := tea.KeyMsg{Type: tea.KeyType(b)}
		if b >= ' ' && b < 0x7f {
			k, _ = widget.ParseKey(string(rune(b)))
		}
		if b > 0x90 {
			k.Type = -tea.KeyType(b - 0x90)
		}
		d.send(k)
	}
}

// open opens the nth page there is, about this device or about a peer.
func (d *driven) open(n, of int, peer session.Peer) {
	env := d.root.env
	env.State = d.root.state
	subject := page.Subject{}
	if of%2 == 1 {
		subject.Peer = node.PeerStatus{Peer: peer, Alias: peer.Name, Connected: of%4 == 1}
	}
	pages := []func() page.Page{
		func() page.Page { return page.NewStart(env) }, func() page.Page { return page.NewJoin(env) }, func() page.Page { return page.NewTour(env) },
		func() page.Page { return page.NewPeer(env, subject) }, func() page.Page { return page.NewHelp(env, d.root.top().page) },
		func() page.Page {
			return page.NewInvite(env, tuitest.Share("s3", peer.Name, tuitest.Guest(5, peer.Name)))
		},
	}
	for _, e := range env.Entries {
		pages = append(pages, func() page.Page { return e.New(env, subject) })
	}
	d.send(page.Open{Page: pages[n%len(pages)]()})
}

// check fails if the view isn't exactly the window, or has what a terminal would
// act on besides styles.
func (d *driven) check() {
	d.t.Helper()
	view := d.root.View()
	tuitest.Fits(d.t, view, d.w, d.h)
	if d.t.Failed() {
		d.t.Fatalf("%dx%d, %s", d.w, d.h, d.root.top().page.Title())
	}
	shown := strings.ReplaceAll(style.ReplaceAllString(view, ""), "\n", "")
	acts := func(r rune) bool { // in private use there are signs of fonts, which programs in terminals show
		return session.Printable(string(r)) != string(r) && r != '\ufffd' && !unicode.Is(unicode.Co, r)
	}
	if i := strings.IndexFunc(shown, acts); i >= 0 {
		d.t.Fatalf("something unprintable is shown on %s: %q", d.root.top().page.Title(), shown[i:min(i+20, len(shown))])
	}
}
