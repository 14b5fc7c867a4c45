package tui

import (
	"testing"

	"tandem/tui/theme"
	"tandem/tui/tuitest"

	"go.uber.org/goleak"

	"github.com/muesli/termenv"

	"tandem/share/node"
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
