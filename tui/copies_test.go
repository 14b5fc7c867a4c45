package tui

import (
	"testing"

	"tandem/session"
	jobs "tandem/tui/background"
	"tandem/tui/page"
	"tandem/tui/tuitest"
)

// TestCopiesGoOnAnywhere: a copy is done whatever page is open, its end is told, and
// quitting asks while it is under way.
func TestCopiesGoOnAnywhere(t *testing.T) {
	b := tuitest.New()
	b.Has.Fail = map[string]error{"Open": session.Errorf("open", session.Unavailable, "nobody is there")}
	f := start(t, b, 80, 24)
	f.Wait("laptop")
	m, _ := f.Model().(*root)
	id := m.env.Transfers.Add(jobs.Job{Peer: "anna", Alias: "anna", Share: "project", To: t.TempDir(), Items: []string{"report.pdf"}})
	f.Wait("Copying report.pdf has failed", "nobody is there")
	f.Keys("T").Wait("report.pdf", "failed", "try again")

	b.Script(func(a *tuitest.Answers) { a.Fail, a.Hang = nil, true })
	m.env.Transfers.Resume(id)
	f.Wait("running").Keys("esc").Gone("Transfers").Keys("q").Wait("Quit?", "One copy is under way")
	f.Send(page.Back{}).Gone("Quit?")
}
