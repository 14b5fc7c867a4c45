package tuitest

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/tui/page"
	"tandem/tui/widget"
)

// patience is how long a flow waits for what it expects, on any machine.
const patience = 30 * time.Second

// Flow is a model in a running program, driven by keys.
type Flow struct {
	t       testing.TB
	program *tea.Program
	seen    *seen
	ended   chan struct{}
	model   tea.Model
}

// seen is the newest view of a model.
type seen struct {
	mu      sync.Mutex
	view    string
	crashed string
	changed chan struct{}
}

func (s *seen) set(view, crashed string) {
	s.mu.Lock()
	s.view, s.crashed = view, crashed
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *seen) get() (view, crashed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.crashed
}

// recorder keeps what a model shows. A panic ends the program and fails the test.
type recorder struct {
	tea.Model
	seen *seen
}

func (r recorder) Update(msg tea.Msg) (next tea.Model, cmd tea.Cmd) {
	defer func() {
		if p := recover(); p != nil {
			r.seen.set("", fmt.Sprintf("%v\n%s", p, debug.Stack()))
			next, cmd = r, tea.Quit
		}
	}()
	r.Model, cmd = r.Model.Update(msg)
	r.seen.set(ansi.Strip(r.Model.View()), "")
	return r, cmd
}

func (r recorder) View() string {
	view, _ := r.seen.get()
	return view
}

// Start runs a model in a window of that size until the test ends.
func Start(t testing.TB, m tea.Model, width, height int) *Flow {
	t.Helper()
	s := &seen{changed: make(chan struct{}, 1)}
	f := &Flow{t: t, seen: s, model: m, ended: make(chan struct{}), program: tea.NewProgram(recorder{m, s},
		tea.WithInput(nil), tea.WithOutput(io.Discard), tea.WithoutSignalHandler())}
	go func() {
		defer close(f.ended)
		if _, err := f.program.Run(); err != nil {
			s.set("", err.Error())
		}
	}()
	f.program.Send(tea.WindowSizeMsg{Width: width, Height: height})
	t.Cleanup(func() {
		f.program.Quit()
		f.Finished()
	})
	return f
}

// Keys presses keys by their names in bindings; a longer word that names no key
// is typed letter by letter.
func (f *Flow) Keys(names ...string) *Flow {
	for _, name := range names {
		if k, ok := widget.ParseKey(name); ok {
			f.program.Send(k)
			continue
		}
		for _, r := range name {
			k, _ := widget.ParseKey(string(r))
			f.program.Send(k)
		}
	}
	return f
}

// Send gives the program any message.
func (f *Flow) Send(msg tea.Msg) *Flow {
	f.program.Send(msg)
	return f
}

// Model is the model that runs.
func (f *Flow) Model() tea.Model { return f.model }

// View is the window without its styles.
func (f *Flow) View() string {
	f.t.Helper()
	view, crashed := f.seen.get()
	if crashed != "" {
		f.t.Fatal(crashed)
	}
	return view
}

// Wait waits until the window shows all of texts at once.
func (f *Flow) Wait(texts ...string) *Flow {
	f.t.Helper()
	return f.Until("shows "+strings.Join(texts, ", "), func() bool {
		view := f.View()
		for _, text := range texts {
			if !strings.Contains(view, text) {
				return false
			}
		}
		return true
	})
}

// Gone waits until the window doesn't show text.
func (f *Flow) Gone(text string) *Flow {
	f.t.Helper()
	return f.Until("doesn't show "+text, func() bool { return !strings.Contains(f.View(), text) })
}

// Until waits for anything.
func (f *Flow) Until(what string, ok func() bool) *Flow {
	f.t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-f.seen.changed:
		case <-poll.C:
		case <-deadline:
			f.t.Fatalf("waited for: %s. The window is\n%s", what, f.View())
		}
	}
	return f
}

// Finished waits until the program has ended.
func (f *Flow) Finished() {
	f.t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		f.t.Fatal("the program does not end")
	}
}

// Window runs one page as a model of its own and plays the root's part: Open and
// Back work, and other messages for the root are noted. Package tui's tests have
// the real root.
type Window struct {
	// Begin is run beside the page; Again is what follows a message that goes to
	// every page.
	Begin tea.Cmd
	Again func(tea.Msg) tea.Cmd

	stack []page.Page
	size  tea.WindowSizeMsg
	mu    sync.Mutex
	said  []tea.Msg
}

// NewWindow wraps a page.
func NewWindow(p page.Page) *Window { return &Window{stack: []page.Page{p}} }

// Said are the messages for the root so far.
func (w *Window) Said() []tea.Msg {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]tea.Msg(nil), w.said...)
}

// Init begins the page.
func (w *Window) Init() tea.Cmd { return tea.Batch(w.stack[0].Init(), w.Begin) }

// Update plays the root.
func (w *Window) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	top := len(w.stack) - 1
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		w.size = msg
		for _, p := range w.stack {
			p.SetSize(msg.Width, msg.Height)
		}
	case page.Open:
		msg.Page.SetSize(w.size.Width, w.size.Height)
		w.stack = append(w.stack, msg.Page)
		return w, msg.Page.Init()
	case page.Replace:
		msg.Page.SetSize(w.size.Width, w.size.Height)
		w.stack[top] = msg.Page
		return w, msg.Page.Init()
	case page.Back:
		w.stack = w.stack[:max(1, top)]
	case page.Toast, page.Fail, page.Verb, page.Exec, page.Refresh, page.Home, page.Quit:
		w.mu.Lock()
		w.said = append(w.said, msg)
		w.mu.Unlock()
	case tea.KeyMsg, tea.MouseMsg:
		var cmd tea.Cmd
		w.stack[top], cmd = w.stack[top].Update(msg)
		return w, cmd
	default:
		var cmds []tea.Cmd
		if w.Again != nil {
			cmds = append(cmds, w.Again(msg))
		}
		for i := range w.stack {
			var cmd tea.Cmd
			w.stack[i], cmd = w.stack[i].Update(msg)
			cmds = append(cmds, cmd)
		}
		return w, tea.Batch(cmds...)
	}
	return w, nil
}

// View is the top page's.
func (w *Window) View() string { return w.stack[len(w.stack)-1].View() }
