package tui

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/tuitest"
	"tandem/tui/widget"
)

// asked is a window in which somebody is asked for answers.
type asked struct{ *driven }

// approvals runs a test in a bubble, where a second takes none.
func approvals(t *testing.T, test func(asked)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDriven(t, "", false)
		defer d.end()
		test(asked{d})
	})
}

// wait makes those requests the ones that wait.
func (a asked) wait(requests ...node.Request) {
	a.b.Script(func(has *tuitest.Answers) { has.Requests = requests })
	a.send(page.Refresh{})
	a.settle()
}

func (a asked) press(keys ...string) {
	a.t.Helper()
	for _, k := range keys {
		msg, ok := widget.ParseKey(k)
		if !ok {
			msg = tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		}
		a.send(msg)
		a.draw()
	}
}

func (a asked) pass(d time.Duration) {
	time.Sleep(d)
	a.draw()
}

// draw shows what has come of it all.
func (a asked) draw() {
	a.settle()
	_ = a.root.View()
}

// answers fails unless these, of all answers, have been given.
func (a asked) answers(want ...string) {
	a.t.Helper()
	var got []string
	for _, call := range a.b.Calls() {
		if answer, ok := strings.CutPrefix(call, "answer "); ok {
			got = append(got, answer)
		}
	}
	if !slices.Equal(got, want) {
		a.t.Fatalf("answers %q, want %q; the window is\n%s", got, want, a.view())
	}
}

func (a asked) view() string { return ansi.Strip(a.root.View()) }

func eve() node.Request { return tuitest.Request("r1", 9, "Eve", "s1") }
func mal() node.Request { return tuitest.Request("r2", 8, "Mal", "s1") }

// Only a capital letter by itself, after half a second without a key and with none
// right after it, is an answer.
func TestApprovalTakesDeliberateKeysOnly(t *testing.T) {
	approvals(t, func(a asked) {
		a.wait(eve())
		a.press("A")
		a.pass(499 * time.Millisecond)
		a.press("A", "enter")
		a.pass(time.Second)
		for _, k := range []string{"enter", "a", "y", " ", "AA", "A plan", "tab", "ctrl+a"} {
			a.press(k)
			a.pass(time.Second)
		}
		a.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("A"), Alt: true})
		a.pass(time.Second)
		a.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("A"), Paste: true})
		a.pass(time.Second)
		a.answers()
		a.press("A") // the first letter of a word that is being typed
		a.pass(100 * time.Millisecond)
		a.press("l")
		a.pass(time.Minute)
		a.press("A", "A")
		a.pass(time.Minute)
		a.answers()
		a.press("O")
		a.pass(299 * time.Millisecond)
		a.answers()
		a.pass(time.Millisecond)
		a.answers("r1 allow=true once=true")
	})
}

// Whatever else happens, a key answers the request that was there for half a second.
func TestApprovalAnswersWhatIsShown(t *testing.T) {
	approvals(t, func(a asked) { // another one comes just before the key
		a.wait(eve())
		a.pass(time.Second)
		a.wait(mal(), eve())
		a.press("A")
		a.pass(time.Second)
		a.answers("r1 allow=true once=false")
	})
	approvals(t, func(a asked) { // it is replaced just before the key
		a.wait(eve())
		a.pass(time.Second)
		a.wait(mal())
		a.press("A")
		a.pass(time.Second)
		a.answers()
		a.press("R")
		a.pass(time.Second)
		a.answers("r2 allow=false once=false")
	})
	approvals(t, func(a asked) { // it is replaced just after the key
		a.wait(eve())
		a.pass(time.Second)
		a.press("A")
		a.wait(mal())
		a.pass(time.Minute)
		a.answers()
	})
	approvals(t, func(a asked) { // the next one comes while the key is still down
		a.wait(eve(), mal())
		a.pass(time.Second)
		a.press("A")
		a.pass(second)
		a.press("A", "A", "A")
		a.pass(second)
		a.answers("r1 allow=true once=false")
	})
}

const second = 300 * time.Millisecond

// What a window can't show is not answered there.
func TestApprovalIsSeen(t *testing.T) {
	approvals(t, func(a asked) {
		a.wait(eve())
		a.pass(time.Second)
		a.send(tea.WindowSizeMsg{Width: 30, Height: 9})
		a.pass(time.Second)
		a.press("A")
		a.pass(time.Second)
		a.send(tea.WindowSizeMsg{Width: 80, Height: 24})
		a.press("A") // before anybody can have looked
		a.pass(time.Second)
		a.answers()
	})
	approvals(t, func(a asked) {
		a.send(tea.WindowSizeMsg{Width: 40, Height: 10})
		a.wait(eve())
		a.pass(time.Second)
		a.press("A")
		a.pass(time.Second)
		a.answers()
		for range 10 {
			a.press("down")
		}
		a.press("A")
		a.pass(time.Second)
		a.answers("r1 allow=true once=false")
	})
}

// A name can't pass for the window's own lines, nor push them out of it.
func TestApprovalNamesAreNoMoreThanNames(t *testing.T) {
	forged := `Ada" asks to join "project".` + strings.Repeat(" ", 60) + "words       " + strings.Join(node.Words(tuitest.ID(1)), " ")
	for _, name := range []string{forged, strings.Repeat("long name ", 400), "\x1b[2J\x1b[1;1HAda\r\n\nwords", strings.Repeat("\u4e16", 500), "\u202eadA"} {
		approvals(t, func(a asked) {
			r := eve()
			r.Guest.Peer.Name = name
			for _, size := range [][2]int{{60, 15}, {80, 24}, {160, 48}} {
				a.send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				a.wait(r)
				view := a.view()
				for _, word := range r.Guest.Words {
					if !strings.Contains(view, word) {
						t.Fatalf("%v: the word %q is not there:\n%s", size, word, view)
					}
				}
				labels := 0
				for line := range strings.SplitSeq(view, "\n") {
					if strings.HasPrefix(strings.TrimSpace(line), "words") {
						labels++
					}
				}
				if labels != 1 || strings.Contains(view, node.Words(tuitest.ID(1))[3]) {
					t.Fatalf("%v: %d lines of words:\n%s", size, labels, view)
				}
			}
		})
	}
}
