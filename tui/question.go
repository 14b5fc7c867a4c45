package tui

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// question asks before something that can't be undone.
type question struct {
	env           page.Env
	title         string
	about         []string
	yes           key.Binding
	then          tea.Cmd
	width, height int
}

// newQuestion asks title; the key yes, called so, runs then, esc doesn't.
func newQuestion(env page.Env, title string, about []string, yes, called string, then tea.Cmd) *question {
	return &question{env: env, title: title, about: about, yes: theme.Bind(called, yes), then: then}
}

func (q *question) Init() tea.Cmd { return nil }

func (q *question) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	if k, ok := msg.(tea.KeyMsg); ok && key.Matches(k, q.yes) {
		return q, q.then
	}
	return q, nil
}

func (q *question) View() string {
	t := q.env.Theme
	lines := []string{t.Title.Render(q.title), ""}
	for _, a := range q.about {
		lines = append(lines, widget.Wrap(a, max(10, min(q.width-4, 70)))...)
	}
	lines = append(lines, "", renderKeys(t, []key.Binding{q.yes, theme.Bind("stay", "esc")}))
	return widget.Center(strings.Join(lines, "\n"), q.width, q.height)
}

func (q *question) SetSize(w, h int) { q.width, q.height = w, h }

func (q *question) Title() string { return "Question" }

func (q *question) Keys() []key.Binding { return []key.Binding{q.yes} }
