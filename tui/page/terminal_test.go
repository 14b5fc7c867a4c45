//go:build linux || darwin

package page_test

import (
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// scripted is a host that sends these frames to each viewer, and nothing more.
func scripted(t *testing.T, frames ...string) *tuitest.Backend {
	_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
		stream, err := o.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(stream, strings.Join(frames, ""))
		_, _ = io.Copy(io.Discard, stream)
	}, nil)
	b := tuitest.Busy()
	b.Has.Open = func(ctx context.Context, _ string, h session.Header) (session.Stream, error) {
		return guest.Open(ctx, h)
	}
	return b
}

// frame is a frame of terminal/1; see share/terminal.
func frame(kind byte, body string) string {
	n := len(body)
	return string([]byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + body
}

func welcome(right string) string {
	return frame(0x01, `{"terminal":"`+strings.Repeat("0a", 16)+`","name":"main","right":"`+right+`","viewer":1,"offset":0,"live":0,"cols":60,"rows":12}`)
}

// roster is ada, who hosts, and bob, with a hostile name.
func roster(self, others, more string) string {
	return frame(0x05, `{"viewers":[{"viewer":1,"peer":"`+tuitest.ID(1).String()+`","name":"ada","right":"`+self+`","cols":80,"rows":20},{"viewer":2,"peer":"`+
		tuitest.ID(2).String()+`","name":"bob\u001b[2J\u202e","right":"`+others+`","rtt":12000000`+more+`}],"answers":1,"typist":2,"pinned":true}`)
}

func output(text string) string { return frame(0x02, strings.Repeat("\x00", 8)+text) }

const printed = "$ ls\r\n\x1b[1;34mdocs\x1b[m  \x1b[32mrun.sh\x1b[m  \u4e16\u754c  \u202eevil\r\n\x1b]2;vim \x1b\\\x1b[7mstatus line\x1b[m\r\n$ "

var prefix = tea.KeyMsg{Type: tea.KeyCtrlCloseBracket}

func TestTerminalGolden(t *testing.T) {
	b := scripted(t, welcome("control"), roster("control", "view", `,"asks":1`), output(printed))
	fresh := func(keys ...tea.KeyMsg) func(theme.Theme) page.Page {
		return func(look theme.Theme) page.Page {
			return press(tuitest.Settle(t, page.NewTerminal(tuitest.Env(t, b, look), anna()), "status line", "other here"), keys...)
		}
	}
	tuitest.Page(t, "terminal", fresh())
	tuitest.Page(t, "terminal-people", fresh(prefix, runes("w")))
	tuitest.Page(t, "terminal-search", fresh(prefix, runes("/"), runes("run"), tea.KeyMsg{Type: tea.KeyEnter}))
	refusing := tuitest.Busy()
	tuitest.Page(t, "terminal-refused", func(look theme.Theme) page.Page {
		return tuitest.Settle(t, page.NewTerminal(tuitest.Env(t, refusing, look), anna()), "No terminal")
	})
}

// shared is a backend whose peers all share one shell.
func shared(t *testing.T, config terminal.Config) *tuitest.Backend {
	config.Argv, config.Dir = []string{"/bin/sh"}, t.TempDir()
	config.Env = append(config.Env, "PS1=$ ", "HISTFILE=/dev/null")
	s := terminal.New(config)
	_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b := tuitest.Busy()
	b.Has.Open = func(ctx context.Context, _ string, h session.Header) (session.Stream, error) {
		return guest.Open(ctx, h)
	}
	return b
}

// notes keeps what is written to the person's terminal.
type notes struct {
	mu   sync.Mutex
	text string
}

func (n *notes) write(p []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text += string(p)
	return nil
}

func (n *notes) get() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text
}

// TestTerminalFlow: type, scroll back, search, copy, paste, leave and come back.
func TestTerminalFlow(t *testing.T) {
	b := shared(t, terminal.Config{})
	env := tuitest.Env(t, b, tuitest.Dark())
	clipboard := new(notes)
	env.Seat.Write = clipboard.write
	w := tuitest.NewWindow(page.NewTerminal(env, anna()))
	f := tuitest.Start(t, w, 80, 20)
	f.Wait("$ ", "you type", "ctrl+] for commands")
	f.Keys("i=0; while test $i -lt 60; do echo row-$i-; i=$((i+1)); done", "enter").Wait("row-59-")
	prompt := regexp.MustCompile(`row-59-\s*\n\$ `)
	f.Until("the shell reads again", func() bool { return prompt.MatchString(f.View()) })
	f.Keys("ctrl+]").Wait("a command?").Keys("/", "row-7-", "enter").Wait("lines back", "row-7-")
	f.Keys("v", "right", "right", "right", "right", "right").Wait("selecting").Keys("y").Gone("lines back")
	f.Until("the clipboard has it", func() bool { return strings.Contains(clipboard.get(), "]52;c;cm93LTct") }) // "row-7-"
	f.Keys("echo pasted:").Keys("ctrl+]", "p", "enter").Wait("\npasted:row-7-")
	f.Keys("ctrl+]", "s").Wait("lines back").Keys("esc").Gone("lines back")
	f.Send(tea.MouseMsg{X: 3, Y: 3, Button: tea.MouseButtonWheelUp}).Wait("lines back")
	f.Send(tea.MouseMsg{X: 3, Y: 3, Button: tea.MouseButtonWheelDown}).Gone("lines back")
	f.Keys("ctrl+]", "l").Wait("Terminals", "main (this one)", "a new one").Keys("down", "enter").Wait("shell-2", "$ ").Gone("pasted")
	f.Keys("exit 5", "enter").Wait("ended with 5").Keys("enter").Wait("you type", "$ ")
	f.Keys("ctrl+]", "q")
}

// TestTerminalPrefix: every key but the prefix goes to the program, and twice the
// prefix does.
func TestTerminalPrefix(t *testing.T) {
	b := shared(t, terminal.Config{})
	f := tuitest.Start(t, tuitest.NewWindow(page.NewTerminal(tuitest.Env(t, b, tuitest.Dark()), anna())), 80, 20)
	f.Wait("$ ").Keys("cat -v", "enter").Keys("q:?", "esc", "ctrl+]", "ctrl+]", "tab", "f1", "enter")
	f.Wait("q:?^[^]")
	f.Keys("ctrl+c", "ctrl+]", "f")
	f.Until("the window is handed over", func() bool {
		w, _ := f.Model().(*tuitest.Window)
		for _, m := range w.Said() {
			if _, ok := m.(page.Exec); ok {
				return true
			}
		}
		return false
	})
}

// TestWatchOnly: who is granted only to watch gets to see the terminal, types
// nothing, and can ask.
func TestWatchOnly(t *testing.T) {
	b := scripted(t, welcome("view"), roster("view", "control", ""), output(printed))
	s := anna()
	s.Offers = tuitest.Rights()[:1]
	s.Offers[0].Actions = []string{"view"}
	w := tuitest.NewWindow(page.NewTerminal(tuitest.Env(t, b, tuitest.None()), s))
	f := tuitest.Start(t, w, 100, 20)
	f.Wait("you only watch", "status line", "ctrl+] for commands")
	f.Keys("w", "q", "l", "?", "esc").Wait("not sent: you watch only", "status line").Gone("Who is here")
	f.Keys("ctrl+]", "w").Wait("Who is here").Keys("esc").Keys("ctrl+]", "a")
	f.Until("it asks", func() bool {
		for _, m := range w.Said() {
			if toast, ok := m.(page.Toast); ok && strings.Contains(toast.Text, "Asked") {
				return true
			}
		}
		return false
	})
	for _, m := range w.Said() {
		if v, ok := m.(page.Verb); ok && v.Text != "tandem shell anna --view" {
			t.Errorf("verb %q", v.Text)
		}
	}
}

// TestSilentHost: a host of which nothing comes any more is told from a program
// that prints nothing.
func TestSilentHost(t *testing.T) {
	b := scripted(t, welcome("control"), roster("control", "view", ""), output(printed))
	s := anna()
	f := tuitest.Start(t, tuitest.NewWindow(page.NewTerminal(tuitest.Env(t, b, tuitest.None()), s)), 100, 20)
	f.Wait("you type", "ctrl+] for commands")
	peer := s.Peer
	peer.Connected = true
	after := func(seconds int) {
		f.Send(page.Tick{Now: tuitest.Now().Add(time.Duration(seconds) * time.Second)})
	}
	peer.Path.Heard = tuitest.Now()
	f.Send(page.State{At: tuitest.Now(), Peers: []node.PeerStatus{peer}})
	after(12)
	f.Wait("no answer for 12s")
	peer.Path.Heard = tuitest.Now().Add(13 * time.Second)
	f.Send(page.State{At: tuitest.Now(), Peers: []node.PeerStatus{peer}})
	after(14)
	f.Gone("no answer").Wait("ctrl+] for commands")
}

// TestLostTerminalKeepsKeys: what is typed while the connection is lost, or not there
// yet, is no command of the page.
func TestLostTerminalKeepsKeys(t *testing.T) {
	b := tuitest.Busy()
	b.Has.Open = func(ctx context.Context, _ string, _ session.Header) (session.Stream, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	env := tuitest.Env(t, b, tuitest.None())
	w := tuitest.NewWindow(page.NewTransfers(env, page.Subject{}))
	f := tuitest.Start(t, w, 100, 20)
	f.Wait("Nothing is being copied").Send(page.Open{Page: page.NewTerminal(env, anna())})
	f.Wait("Opening the terminal").Keys("l", "s", "q", "f", "ctrl+]").Wait("a command?", "Opening the terminal")
	f.Keys("esc").Gone("a command?").Keys("esc").Wait("Nothing is being copied")
	for _, m := range w.Said() {
		if _, ok := m.(page.Exec); ok {
			t.Error("a letter has handed the window over")
		}
	}
}

// TestOlderLines: all that the host keeps can be searched and scrolled through, though
// little of it comes at first.
func TestOlderLines(t *testing.T) {
	b := shared(t, terminal.Config{})
	env := tuitest.Env(t, b, tuitest.None())
	first := tuitest.Start(t, tuitest.NewWindow(page.NewTerminal(env, anna())), 80, 20)
	first.Wait("$ ").Keys("i=0; while test $i -lt 3000; do echo row-$i-; i=$((i+1)); done", "enter").Wait("row-2999-")
	f := tuitest.Start(t, tuitest.NewWindow(page.NewTerminal(env, anna())), 80, 20)
	f.Wait("row-2999-").Keys("ctrl+]").Wait("a command?").Keys("/", "row-7-", "enter").Wait("row-7-", "row-8-", "lines back")
	f.Keys("g").Wait("$ i=0; while", "row-0-")
}

// TestOwnTerminal: the host changes rights live, makes somebody leave, and lets
// them back.
func TestOwnTerminal(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
		h := o.Header()
		stream, err := o.Accept()
		if err != nil {
			return
		}
		if h.Action == terminal.Manage {
			mu.Lock()
			asked = append(asked, string(h.Params))
			mu.Unlock()
		}
		if h.Action == terminal.Manage || strings.Contains(string(h.Params), `"list":true`) {
			_, _ = io.WriteString(stream, frame(0x0c, `{"id":"`+strings.Repeat("0a", 16)+`","name":"main","owner":"`+tuitest.ID(1).String()+
				`","size":{"cols":60,"rows":12},"made":"2026-03-14T15:09:26Z","used":"2026-03-14T15:09:26Z","idle":0,"output":1,"viewers":[],"kept_out":[{"id":"`+tuitest.ID(3).String()+`","name":"carl"}]}`))
			_ = stream.Close()
			return
		}
		_, _ = io.WriteString(stream, welcome("control")+roster("control", "view", `,"asks":1`)+output(printed))
		_, _ = io.Copy(io.Discard, stream)
	}, nil)
	b := tuitest.Busy()
	b.Has.Open = func(ctx context.Context, _ string, h session.Header) (session.Stream, error) {
		return guest.Open(ctx, h)
	}
	f := tuitest.Start(t, tuitest.NewWindow(page.NewTerminal(tuitest.Env(t, b, tuitest.Dark()), page.Subject{})), 120, 20)
	changed := func(want string) {
		f.Until(want, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Contains(strings.Join(asked, "\n"), want)
		})
	}
	f.Wait("asks to type", "status line").Keys("ctrl+]", "w").Wait("Who is here", "kept out: carl").Keys("down", "t")
	changed(`{"what":"right","viewer":2,"right":"control"`)
	f.Keys("o")
	changed(`{"what":"right","viewer":2,"right":"view"`)
	f.Keys("K", "K")
	changed(`{"what":"kick","viewer":2`)
	f.Keys("b")
	changed(`{"what":"let-back"`)
	f.Keys("z")
	changed(`{"what":"pin"`)
	f.Keys("esc").Gone("Who is here")
}
