package tuitest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/tui/page"
)

// Settle begins a page in a window of 80 by 24 and gives it what its own Cmds
// return until it shows all of texts: for goldens of pages that wait for something.
func Settle(t testing.TB, p page.Page, texts ...string) page.Page {
	t.Helper()
	p.SetSize(80, 21)
	return Pump(t, p, p.Init(), texts...)
}

// Pump gives a page what cmd and its own Cmds return until it shows all of texts.
func Pump(t testing.TB, p page.Page, first tea.Cmd, texts ...string) page.Page {
	t.Helper()
	messages := make(chan tea.Msg)
	run := func(cmd tea.Cmd) {
		if cmd == nil {
			return
		}
		go func() {
			select {
			case messages <- cmd():
			case <-t.Context().Done():
			}
		}()
	}
	run(first)
	deadline := time.After(patience)
	for {
		view, missing := ansi.Strip(p.View()), ""
		for _, text := range texts {
			if !strings.Contains(view, text) {
				missing = text
			}
		}
		if missing == "" {
			return p
		}
		select {
		case msg := <-messages:
			if cmds, several := Group(msg); several {
				for _, cmd := range cmds {
					run(cmd)
				}
				continue
			}
			var cmd tea.Cmd
			p, cmd = p.Update(msg)
			run(cmd)
		case <-deadline:
			t.Fatalf("waited for %q. The page is\n%s", missing, view)
		}
	}
}

// Group are the Cmds of a tea.BatchMsg, or of the message of a tea.Sequence,
// whose type has no name here.
func Group(msg tea.Msg) ([]tea.Cmd, bool) {
	v := reflect.ValueOf(msg)
	if v.Kind() != reflect.Slice || v.Type().Elem() != reflect.TypeFor[tea.Cmd]() {
		return nil, false
	}
	cmds := make([]tea.Cmd, v.Len())
	for i := range cmds {
		cmds[i], _ = v.Index(i).Interface().(tea.Cmd)
	}
	return cmds, true
}
