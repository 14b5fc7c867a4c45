package page

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/facts"
	"tandem/share/node"
	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

const (
	// factsEvery is how often a machine is asked, factsAgain how often one that
	// did not answer, and factsTimeout how long it may take.
	factsEvery   = 5 * time.Second
	factsAgain   = 30 * time.Second
	factsTimeout = 20 * time.Second
	// factsAtOnce is how many are asked at the same time.
	factsAtOnce = 16
	// loadSamples is how far the graphs go back.
	loadSamples = 60
)

// Machine is how one peer's machine is doing, or several: facts, live; and a
// program to run on those that are marked.
type Machine struct {
	env      Env
	of       Subject
	machines []*machine
	list     widget.List
	asking   int
	now      time.Time
	prompt   widget.Field
	run      *background.Run // the last one
	results  []background.Result
	shown    bool // the results are
	output   int  // the result whose output is shown; -1 is none
	offset   int
	picked   widget.List // of the results
	keys     machineKeys

	width, height int
}

type machineKeys struct{ run, results, stop, back key.Binding }

// machine is one of them.
type machine struct {
	background.Target
	marked bool
	asking bool
	asked  time.Time
	facts  *facts.Facts
	err    error
	busy   []int64 // per mille of its cores
}

// surveyed is what a machine has answered.
type surveyed struct {
	page  *Machine
	of    *machine
	facts facts.Facts
	err   error
}

// ranOut says that a program has ended everywhere.
type ranOut struct {
	page *Machine
	run  *background.Run
}

// NewMachine makes the page of a peer's machine, or of this one and all that are
// connected.
func NewMachine(env Env, of Subject) Page {
	m := &Machine{
		env: env, of: of, now: env.Now, list: widget.NewList(env.Keys), picked: widget.NewList(env.Keys), output: -1,
		prompt: widget.NewField(env.Theme, "run"),
		keys: machineKeys{
			run: theme.Bind("run a program", "x"), results: theme.Bind("last results", "o"), stop: theme.Bind("stop it", "s"), back: theme.Bind("back", "esc"),
		},
	}
	m.prompt.Placeholder = `PROGRAM ARGUMENT` + env.Theme.Glyphs.Ellipsis + `, split at blanks; or ["PROGRAM", "AN ARGUMENT"]`
	m.take(env.State)
	return m
}

// Init asks the machines.
func (m *Machine) Init() tea.Cmd {
	verb := "tandem info --all --watch"
	if m.of.Ref() != node.Own {
		verb = "tandem info --watch " + quoteArgument(m.of.Alias())
	}
	return tea.Batch(Send(Verb{verb}), m.ask())
}

// take takes note of who is connected.
func (m *Machine) take(s State) {
	var want []background.Target
	if m.of.Ref() != node.Own {
		want = append(want, background.Target{Ref: m.of.Ref(), Alias: m.of.Alias()})
	} else {
		want = append(want, background.Target{Ref: node.Own, Alias: "this machine"})
		for _, p := range s.Peers {
			if p.Connected {
				want = append(want, background.Target{Ref: p.Peer.ID.String(), Alias: name(p)})
			}
		}
	}
	was := make(map[string]*machine, len(m.machines))
	for _, one := range m.machines {
		was[one.Ref] = one
	}
	var cursor string
	if i := m.list.Cursor(); i >= 0 {
		cursor = m.machines[i].Ref
	}
	m.machines = m.machines[:0:0]
	for i, t := range want {
		one := was[t.Ref]
		if one == nil {
			one = &machine{}
		}
		one.Target = t
		m.machines = append(m.machines, one)
		if t.Ref == cursor {
			m.list.Select(i)
		}
	}
	m.list.SetLength(len(m.machines))
}

// ask asks those whose turn it is.
func (m *Machine) ask() tea.Cmd {
	var cmds []tea.Cmd
	for _, one := range m.machines {
		every := factsEvery
		if one.err != nil {
			every = factsAgain
		}
		if one.asking || m.asking >= factsAtOnce || !one.asked.IsZero() && m.now.Sub(one.asked) < every {
			continue
		}
		one.asking, one.asked = true, m.now
		m.asking++
		peer := node.Bound{Backend: m.env.Backend, Peer: one.Ref}
		cmds = append(cmds, m.env.Run(func(ctx context.Context) tea.Msg {
			ctx, cancel := context.WithTimeout(ctx, factsTimeout)
			defer cancel()
			got, err := facts.Ask(ctx, peer)
			return surveyed{m, one, got, err}
		}))
	}
	return tea.Batch(cmds...)
}

// Captures takes the keys of text while a program is typed.
func (m *Machine) Captures() Capture {
	if m.prompt.Focused() {
		return CaptureText
	}
	return CaptureNone
}

// Close ends the program that still runs.
func (m *Machine) Close() tea.Cmd {
	if m.run != nil {
		m.run.Stop()
	}
	return nil
}

// Keeping says that a program still runs.
func (m *Machine) Keeping() string {
	if m.running() > 0 {
		return "a program that runs on " + widget.Count(m.running(), "machine")
	}
	return ""
}

func (m *Machine) running() int {
	n := 0
	for _, r := range m.results {
		if !r.Ended {
			n++
		}
	}
	return n
}

// Update follows the machines.
func (m *Machine) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case State:
		m.take(msg)
	case Tick:
		m.now = msg.Now
		m.look()
		return m, m.ask()
	case surveyed:
		if msg.page == m {
			m.asking--
			msg.of.answered(msg.facts, msg.err)
		}
	case ranOut:
		if msg.page == m && msg.run == m.run {
			m.look()
		}
	case tea.MouseMsg:
		m.mouse(msg)
	case tea.KeyMsg:
		if m.prompt.Focused() {
			return m, m.typed(msg)
		}
		return m, m.key(msg)
	}
	return m, nil
}

func (one *machine) answered(f facts.Facts, err error) {
	one.asking, one.err = false, err
	if err != nil {
		return
	}
	one.facts = &f
	if f.CPU.Cores > 0 {
		one.busy = append(one.busy, int64(1000*f.CPU.Busy/float64(f.CPU.Cores)))
		one.busy = one.busy[max(0, len(one.busy)-loadSamples):]
	}
}

// look takes note of what a program has done.
func (m *Machine) look() {
	if m.run != nil {
		m.results = m.run.Results()
		m.picked.SetLength(len(m.results))
	}
}

func (m *Machine) mouse(msg tea.MouseMsg) {
	switch {
	case m.output >= 0:
		switch msg.Button {
		case tea.MouseButtonWheelUp:
			m.offset = max(0, m.offset-3)
		case tea.MouseButtonWheelDown:
			m.offset += 3
		}
	case m.shown:
		msg.Y--
		if m.picked.Clicked(msg) {
			m.output, m.offset = m.picked.Cursor(), 0
			return
		}
		m.picked.Update(msg)
	default:
		msg.Y--
		m.list.Update(msg)
	}
}

func (m *Machine) typed(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, m.env.Keys.Back):
		m.prompt.Blur()
	case key.Matches(msg, m.env.Keys.Open):
		argv, err := program(m.prompt.Value())
		if err != nil {
			return Send(Toast{err.Error(), Warn})
		}
		m.prompt.Blur()
		return m.begin(argv)
	default:
		m.prompt.Update(msg)
	}
	return nil
}

// program splits what was typed at blanks, and nothing more: no shell reads it.
// An argument with a blank needs a JSON array.
func program(text string) (argv []string, err error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "[") {
		err = json.Unmarshal([]byte(text), &argv)
	} else {
		argv = strings.Fields(text)
	}
	switch {
	case err != nil:
		return nil, session.Errorf("", session.Invalid, "this is no JSON array of texts")
	case len(argv) == 0 || argv[0] == "":
		return nil, session.Errorf("", session.Invalid, "a program is missing")
	}
	return argv, nil
}

// chosen are the marked machines, or the one under the cursor.
func (m *Machine) chosen() []background.Target {
	var on []background.Target
	for _, one := range m.machines {
		if one.marked {
			on = append(on, one.Target)
		}
	}
	if i := m.list.Cursor(); len(on) == 0 && i >= 0 {
		on = append(on, m.machines[i].Target)
	}
	return on
}

// begin runs a program.
func (m *Machine) begin(argv []string) tea.Cmd {
	on := m.chosen()
	if m.run != nil {
		m.run.Stop()
	}
	run := background.NewRun(m.env.Backend, argv, on)
	m.run, m.shown, m.output = run, true, -1
	m.look()
	verb := "tandem exec"
	for _, t := range on {
		if t.Ref == node.Own {
			t.Alias = node.Own
		}
		verb += " " + quoteArgument(t.Alias)
	}
	verb += " --"
	for _, arg := range argv {
		verb += " " + quoteArgument(arg)
	}
	return tea.Batch(Send(Verb{verb}), m.env.Run(func(ctx context.Context) tea.Msg {
		run.Wait(ctx)
		return ranOut{m, run}
	}))
}

func (m *Machine) key(msg tea.KeyMsg) tea.Cmd {
	keys := m.env.Keys
	switch {
	case key.Matches(msg, m.keys.run):
		m.prompt.Focus()
	case key.Matches(msg, m.keys.results) && m.run != nil:
		m.shown, m.output = !m.shown, -1
	case key.Matches(msg, m.keys.stop) && m.running() > 0:
		m.run.Stop()
	case m.output >= 0:
		m.read(msg)
	case m.shown && key.Matches(msg, m.keys.back):
		m.shown = false
	case m.shown && key.Matches(msg, keys.Open):
		m.output, m.offset = m.picked.Cursor(), 0
	case m.shown:
		m.picked.Update(msg)
	case key.Matches(msg, keys.Mark) && m.list.Cursor() >= 0:
		one := m.machines[m.list.Cursor()]
		one.marked = !one.marked
		m.list.Update(tea.KeyMsg{Type: tea.KeyDown})
	default:
		m.list.Update(msg)
	}
	return nil
}

// read scrolls through a program's output.
func (m *Machine) read(msg tea.KeyMsg) {
	if key.Matches(msg, m.keys.back) {
		m.output = -1
	}
	m.offset = scrolled(m.offset, msg, m.env.Keys, max(1, m.height-2), maxOffset)
	m.offset = max(0, m.offset)
}

// maxOffset is behind the end of any output.
const maxOffset = 1 << 30

// SetSize sets the size of the page.
func (m *Machine) SetSize(w, h int) { m.width, m.height = w, h }

// Title is that of the page.
func (m *Machine) Title() string {
	if m.of.Ref() == node.Own {
		return "Machines"
	}
	return "Machine"
}

// Keys are those of the page.
func (m *Machine) Keys() []key.Binding {
	if m.prompt.Focused() {
		return []key.Binding{theme.Bind("run on "+widget.Count(len(m.chosen()), "machine"), "enter"), m.env.Keys.Back}
	}
	var keys []key.Binding
	switch {
	case m.output >= 0:
		keys = append(keys, m.keys.back)
	case m.shown:
		keys = append(keys, theme.Bind("output", "enter"), m.keys.back)
	case len(m.machines) > 1:
		keys = append(keys, m.env.Keys.Mark)
	}
	keys = append(keys, m.keys.run)
	if m.run != nil && !m.shown {
		keys = append(keys, m.keys.results)
	}
	if m.running() > 0 {
		keys = append(keys, m.keys.stop)
	}
	return keys
}

// system is what a machine runs.
func system(f *facts.Facts) string {
	s := strings.TrimSpace(f.OS.Platform + " " + f.OS.Version)
	return cmp.Or(s, f.OS.Name, "?")
}

// known is the text for a fact, unless the host couldn't find that out.
func known(f *facts.Facts, fact, text string) string {
	if slices.Contains(f.Unknown, fact) {
		return "?"
	}
	return text
}

// uptime writes seconds as days, or hours and minutes.
func uptime(seconds uint64) string {
	minutes := seconds / 60
	if days := minutes / 60 / 24; days > 0 {
		return fmt.Sprintf("%d d %d h", days, minutes/60%24)
	}
	return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
}

// percent is part of a whole in per cent.
func percent(part, whole uint64) string {
	if whole == 0 {
		return "?"
	}
	return strconv.Itoa(int(100*float64(part)/float64(whole)+0.5)) + " %"
}
