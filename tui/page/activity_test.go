package page_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// logEntries are entries of the log, the newest first.
func logEntries() []node.AuditEntry {
	code := 3
	entries := []node.AuditEntry{
		{Outcome: "invited", Resource: "4821", Reason: "terminal/1 (view, control)"},
		{Outcome: "approved", Peer: tuitest.ID(1), Name: "anna", Reason: "terminal/1 (view, control); folder/1 project (read)"},
		{Outcome: "allowed", Peer: tuitest.ID(1), Name: "anna", Service: "terminal/1", Action: "control"},
		{Outcome: "denied", Peer: tuitest.ID(2), Name: "evil\x1b[31m\u202e name that is long", Service: "folder/1", Resource: "secret", Action: "write", Reason: "nothing grants it", Count: 12},
		{Outcome: "allowed", Peer: tuitest.ID(1), Name: "anna", Service: "command/1", Action: "run", Detail: `["make", "test"]`},
		{Outcome: "ended", Peer: tuitest.ID(1), Name: "anna", Service: "command/1", Action: "run", Detail: `["make", "test"]`, Of: 5, Sent: 1200, Received: 30, Exit: &code},
		{Outcome: "ended", Peer: tuitest.ID(1), Name: "anna", Service: "terminal/1", Action: "control", Of: 3, Sent: 123456, Received: 789, Recording: "/home/ada/.local/state/tandem/recordings/2026-03-14-150000-main.cast"},
		{Outcome: "revoked", Resource: "4821", Reason: "the share has been ended"},
	}
	for i := range entries {
		entries[i].Seq, entries[i].Time = uint64(i+1), tuitest.Now().Add(time.Duration(i-20)*time.Minute)
	}
	slices.Reverse(entries)
	return entries
}

// initialised is a page that has read what its first command brings.
func initialised(p page.Page) page.Page {
	for _, msg := range results(p.Init()) {
		p, _ = p.Update(msg)
	}
	return p
}

// results are the messages of a command.
func results(cmd tea.Cmd) []tea.Msg {
	if cmd == nil {
		return nil
	}
	msg := cmd()
	batch, ok := msg.(tea.BatchMsg)
	if !ok {
		return []tea.Msg{msg}
	}
	var all []tea.Msg
	for _, c := range batch {
		all = append(all, results(c)...)
	}
	return all
}

// says waits until a page has told the root something.
func says(f *tuitest.Flow, w *tuitest.Window, msg tea.Msg) {
	f.Until(fmt.Sprintf("says %+v", msg), func() bool { return slices.Contains(w.Said(), msg) })
}

func TestActivityGolden(t *testing.T) {
	b := tuitest.Busy()
	b.Has.Activity = logEntries()
	tuitest.Page(t, "activity", func(look theme.Theme) page.Page {
		return initialised(page.NewActivity(tuitest.Env(t, b, look), page.Subject{}))
	})
	tuitest.Page(t, "activity-empty", func(look theme.Theme) page.Page {
		return initialised(page.NewActivity(tuitest.Env(t, tuitest.New(), look), page.Subject{}))
	})
}

func TestActivityFilter(t *testing.T) {
	b := tuitest.Busy()
	b.Has.Activity = logEntries()
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewActivity(env, page.Subject{}) })
	f.Wait("invited", "revoked").Keys("/", "denied").Gone("revoked").Wait("secret", "(and 12 more)")
	f.Keys("enter", "esc").Wait("revoked")
	f.Keys("down", "p").Gone("secret").Wait("make") // only anna
	says(f, w, page.Verb{Text: "tandem log"})
	f.Keys("esc", "/", "nothing like it").Wait("Nothing like that.").Keys("esc").Wait("revoked")
}

// What happens shows up, and the cursor stays where it was.
func TestActivityFollows(t *testing.T) {
	b := tuitest.Busy()
	b.Has.Activity = logEntries()
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewActivity(env, page.Subject{}) })
	f.Wait("revoked").Keys("down").Wait("recording")
	b.Script(func(a *tuitest.Answers) {
		newest := node.AuditEntry{Seq: 9, Outcome: "denied", Name: "carol", Time: tuitest.Now(), Service: "folder/1", Resource: "other"}
		a.Activity = append([]node.AuditEntry{newest}, a.Activity...)
	})
	state := tuitest.State(t, b)
	f.Send(page.Happened{}).Until("carol is there", func() bool {
		f.Send(state) // one that comes while the log is read has no effect; the root sends others
		return strings.Contains(f.View(), "carol")
	})
	f.Wait("recordings/")
	b.Script(func(a *tuitest.Answers) { a.Fail = map[string]error{"Activity": fmt.Errorf("no node")} })
	f.Send(page.Happened{}).Send(tuitest.State(t, b)).Wait("carol") // what was read stays
}

// The same again and again is one line.
func TestActivityFolds(t *testing.T) {
	b := tuitest.New()
	for i := range 50 {
		seq := uint64(100 - 2*i)
		entry := node.AuditEntry{Name: "anna", Service: "facts/1", Action: "read", Time: tuitest.Now()}
		begun, over := entry, entry
		begun.Seq, begun.Outcome, over.Seq, over.Outcome, over.Of = seq-1, "allowed", seq, "ended", seq-1
		b.Has.Activity = append(b.Has.Activity, over, begun)
	}
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewActivity(env, page.Subject{}) })
	f.Wait("50 times facts read").Gone("allowed")
	f.Keys("/", "allowed").Wait("50 times") // they were
}

// A long log is read as far as somebody looks.
func TestActivityReadsOn(t *testing.T) {
	b := tuitest.New()
	for i := range 1000 {
		b.Has.Activity = append(b.Has.Activity, node.AuditEntry{
			Seq: uint64(1000 - i), Outcome: "allowed", Name: "anna", Service: "folder/1", Resource: fmt.Sprintf("file-%04d", 1000-i), Time: tuitest.Now(),
		})
	}
	f, _ := run(t, b, func(env page.Env) page.Page { return page.NewActivity(env, page.Subject{}) })
	f.Wait("file-1000").Gone("of 1000").Keys("end").Wait("of 400").Keys("end").Wait("of 600")
	f.Keys("/", "file-0007").Wait("file-0007") // it is looked for until it is found
}

func TestActivityReplay(t *testing.T) {
	b := tuitest.New()
	file := filepath.Join(t.TempDir(), "main.cast")
	if err := os.WriteFile(file, []byte(`{"version":2,"width":80,"height":24}`+"\n"+`[0.1,"o","hello"]`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Has.Activity = []node.AuditEntry{
		{Seq: 2, Outcome: "ended", Of: 1, Service: "terminal/1", Recording: file, Time: tuitest.Now()},
		{Seq: 1, Outcome: "allowed", Service: "terminal/1", Time: tuitest.Now()},
	}
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewActivity(env, page.Subject{}) })
	f.Wait("ended").Gone("allowed").Keys("enter")
	var exec page.Exec
	f.Until("the terminal is asked for", func() bool {
		for _, m := range w.Said() {
			if e, ok := m.(page.Exec); ok {
				exec = e
			}
		}
		return exec.Command != nil
	})
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	exec.Command.SetStdin(in)
	exec.Command.SetStdout(out)
	if err := exec.Command.Run(); err != nil {
		t.Fatal(err)
	}
	if shown, err := os.ReadFile(out.Name()); err != nil || !strings.Contains(string(shown), "hello") {
		t.Errorf("played %q, %v", shown, err)
	}
	if exec.Done(nil) != nil {
		t.Error("a good end is news")
	}
	if _, failed := exec.Done(session.Errorf("replay", session.NotFound, "gone")).(page.Fail); !failed {
		t.Error("a failure is none")
	}
	// One that is gone is said to be.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command.Run(); session.KindOf(err) != session.NotFound {
		t.Error(err)
	}
}

func TestActivityNothingRecorded(t *testing.T) {
	b := tuitest.New()
	b.Has.Activity = logEntries()[5:]
	f, w := run(t, b, func(env page.Env) page.Page { return page.NewActivity(env, page.Subject{}) })
	f.Wait("invited").Keys("end", "enter")
	says(f, w, page.Toast{Text: "Nothing was recorded there.", Level: page.Info})
}
