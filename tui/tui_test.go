package tui

import (
	"context"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"
	"go.uber.org/goleak"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the root over a backend.
func start(t *testing.T, b *tuitest.Backend, width, height int) *tuitest.Flow {
	t.Helper()
	w := newWork(t.Context())
	t.Cleanup(w.Close)
	c := Config{Backend: b, Theme: theme.Options{Profile: termenv.ANSI256}, Keys: theme.DefaultKeys(), Ends: func() bool { return true }}
	return tuitest.Start(t, newRoot(c, w.run, tuitest.Now()), width, height)
}

func TestApprovalInterruptsAnyPage(t *testing.T) {
	b := tuitest.Busy()
	f := start(t, b, 80, 24)
	f.Wait("laptop", "anna", "build-server", "Sessions (1)").Keys(":", "fil").Wait("Commands")
	b.Script(func(a *tuitest.Answers) { a.Requests = []node.Request{tuitest.Request("r1", 9, "Eve", "s1")} })
	f.Until("events are listened to", func() bool { return b.Listeners() > 0 })
	b.Emit(node.Event{Event: node.EventRequest})
	f.Wait("Somebody calling themselves \"Eve\" asks to join \"project\"")
	f.Wait("A allow for this session").Keys("O").Gone("Eve").Wait("Commands")
	f.Until("the answer is given", func() bool {
		calls := b.Calls()
		return len(calls) == 1 && calls[0] == "answer r1 allow=true once=true"
	})
}

func TestQuitAsksWhenGuestsWouldBeCutOff(t *testing.T) {
	f := start(t, tuitest.Busy(), 80, 24)
	f.Wait("anna").Keys("q").Wait("Quit?", "1 guest with it")
	f.Keys("esc").Gone("Quit?").Keys("q").Wait("Quit?").Keys("Y").Finished()
}

func TestPaletteAndHelpComeFromTheKeys(t *testing.T) {
	f := start(t, tuitest.Busy(), 80, 24)
	f.Wait("anna").Keys("?").Wait("Everywhere", "new session").Keys("esc").Wait("anna")
	f.Keys(":", "filt").Wait("filter").Gone("new session").Keys("enter").Gone("Commands")
	f.Keys("dora").Wait("dora").Gone("anna")
}

// A node that hangs, or ends and comes back, leaves the window usable.
func TestNodeThatFails(t *testing.T) {
	b := tuitest.Busy()
	f := start(t, b, 80, 24)
	f.Wait("anna", "2 live").Until("events are listened to", func() bool { return b.Listeners() > 0 })
	b.Script(func(a *tuitest.Answers) { a.Err = session.Errorf("", session.Unavailable, "no node") })
	b.Drop()
	f.Send(page.Refresh{}).Wait("the node can't be reached", "anna")
	f.Keys("?").Wait("Everywhere").Keys("esc").Wait("dora")
	b.Script(func(a *tuitest.Answers) { a.Err = nil })
	f.Wait("2 live").Until("events are listened to again", func() bool { return b.Listeners() > 0 })
	b.Emit(node.Event{Event: node.EventDenied, Peer: &session.Peer{Name: "eve"}, What: "terminal", Action: "view"})
	f.Wait("eve was refused: terminal, view.")
}

// What is asked of the node costs at most a hundredth of the time, and a node that
// does not answer is asked again at once.
func TestFeedPace(t *testing.T) {
	b := tuitest.New()
	run := func(func(context.Context) tea.Msg) tea.Cmd { return func() tea.Msg { return nil } }
	f := &feed{run: run, backend: b}
	at := func(s float64) time.Time { return tuitest.Now().Add(time.Duration(s * float64(time.Second))) }
	asked := func(cmd tea.Cmd) bool { return cmd != nil }
	if !asked(f.ask()) || asked(f.due(at(100))) {
		t.Fatal("asked twice at once, or not at all")
	}
	f.answered(answered{state: page.State{At: at(0)}, cost: 50 * time.Millisecond})
	for s, want := range map[float64]bool{1: false, 4.9: false, 5.1: true} {
		idle := *f
		if got := asked(idle.due(at(s))); got != want {
			t.Errorf("idle: asked after %v s: %v", s, got)
		}
	}
	storm := *f
	if asked(storm.happened(page.Happened{At: at(0.3)})) || !asked(storm.happened(page.Happened{At: at(0.6)})) {
		t.Error("a storm of events is not taken at its pace")
	}
	urgent := *f
	if !asked(urgent.happened(page.Happened{At: at(0.01), Events: []node.Event{{Event: node.EventRequest}}})) {
		t.Error("somebody waits, and nobody is told")
	}
	f.asking = true
	f.answered(answered{state: page.State{At: at(10), Err: session.Errorf("", session.Timeout, "")}, cost: answerTime})
	if asked(f.due(at(10.5))) || !asked(f.due(at(11.1))) {
		t.Error("a node that does not answer is not asked again")
	}
}

func TestSessionFromTheTUI(t *testing.T) {
	b := tuitest.New()
	b.Has.Invite = tuitest.Share("s1", "mine")
	f := start(t, b, 80, 24)
	f.Wait("Nobody is here yet.").Keys("n").Wait("What do you share?").Keys("enter").Wait("4821 - wolf - paper - lunar", "E end session")
	f.Keys("esc").Wait("Home", "Sessions (1)", "mine").Keys("enter").Wait("4821 - wolf").Keys("E").Wait("This session has ended.")
	f.Keys("q").Wait("Nobody is here yet.").Keys("q").Finished()
}
