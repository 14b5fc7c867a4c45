package page

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tandem/share/facts"
	"tandem/tui/background"
	"tandem/tui/widget"
)

// View shows the machines, the results of a program, or one's output.
func (m *Machine) View() string {
	height := m.height
	prompt := ""
	if m.prompt.Focused() {
		height = max(0, height-1)
		prompt = "\n" + widget.Pad(" "+m.prompt.View(max(0, m.width-2)), m.width)
	}
	var body string
	switch {
	case m.output >= 0 && m.output < len(m.results):
		body = m.outputView(height)
	case m.shown:
		body = m.resultsView(height)
	default:
		body = m.machinesView(height)
	}
	return widget.Fit(widget.Fit(body, m.width, height)+prompt, m.width, m.height)
}

// machinesView is a table, if there are several, and all about the one under the
// cursor.
func (m *Machine) machinesView(height int) string {
	t := m.env.Theme
	if len(m.machines) == 1 {
		return strings.Join(m.details(m.machines[0], height), "\n")
	}
	rows := min(len(m.machines), max(3, height/3))
	if height < 12 {
		rows = max(0, height-1)
	}
	widths := m.columns()
	cells := []string{"", "", "", "machine", "system", "load", "cores busy", "memory free", "disk free", "reboot"}
	lines := []string{t.Dim.Render(widget.Columns(widths, t.Glyphs.Ellipsis, cells[:len(widths)]...))}
	m.list.SetSize(m.width, rows)
	lines = append(lines, m.list.View(func(i int, selected bool) string { return m.row(m.machines[i], selected) }))
	if room := height - rows - 2; room > 0 && m.list.Cursor() >= 0 {
		lines = append(lines, " "+t.Dim.Render(strings.Repeat(t.Glyphs.Rule, max(0, m.width-2))))
		lines = append(lines, m.details(m.machines[m.list.Cursor()], room)...)
	}
	return strings.Join(lines, "\n")
}

// columns are the widths of the table: cursor, mark, state, name, and as many facts as fit.
func (m *Machine) columns() []int {
	widths := []int{1, 1, 1, min(20, max(8, m.width/5))}
	left := m.width - widths[3] - 6
	for _, w := range []int{14, 6, 10, 11, 14, 7} {
		if left -= w + 1; left < 0 {
			break
		}
		widths = append(widths, w)
	}
	return widths
}

// row is a machine in a line.
func (m *Machine) row(one *machine, selected bool) string {
	t := m.env.Theme
	mark, state, look := " ", t.Glyphs.Idle, t.Dim
	if one.marked {
		mark = t.Glyphs.Check
	}
	switch {
	case one.err != nil:
		state, look = t.Glyphs.Cross, t.Bad
	case one.facts != nil:
		state, look = t.Glyphs.Live, t.Good
	}
	widths := m.columns()
	cells := []string{t.Glyphs.Cursor, mark, state, widget.Clean(one.Alias)}
	if !selected {
		cells[0], cells[2] = " ", look.Render(state)
	}
	switch f := one.facts; {
	case one.err != nil:
		line := widget.Columns(widths[:4], t.Glyphs.Ellipsis, cells...) + " "
		line += widget.Cut(widget.Clean(describe(one.err)), max(0, m.width-widget.Width(line)), t.Glyphs.Ellipsis)
		if selected {
			return t.Selected.Render(widget.Pad(line, m.width))
		}
		return line
	case f != nil:
		reboot := known(f, "reboot", "no")
		if f.Reboot.Pending {
			reboot = "pending"
		}
		cells = append(cells, system(f), known(f, "load", fmt.Sprintf("%.2f", f.Load[0])),
			known(f, "cpu", fmt.Sprintf("%.1f of %d", f.CPU.Busy, f.CPU.Cores)), percent(f.Memory.Available, f.Memory.Total), fullest(f.Disks), reboot)
	}
	for len(cells) < len(widths) {
		cells = append(cells, "")
	}
	line := widget.Columns(widths, t.Glyphs.Ellipsis, cells[:len(widths)]...)
	if selected {
		return t.Selected.Render(widget.Pad(line, m.width))
	}
	return line
}

// fullest is the disk with the smallest share free.
func fullest(disks []facts.Disk) string {
	least, shown := 2.0, "?"
	for _, d := range disks {
		if d.Total == 0 {
			continue
		}
		if free := float64(d.Free) / float64(d.Total); free < least {
			least, shown = free, percent(d.Free, d.Total)+" of "+widget.Clean(d.Mount)
		}
	}
	return shown
}

// details are all about one machine, in so many lines.
func (m *Machine) details(one *machine, height int) []string {
	t := m.env.Theme
	const label = 11
	title := " " + t.Title.Render(widget.Clean(one.Alias))
	f := one.facts
	switch {
	case f == nil && one.err != nil:
		return []string{title, " " + t.Bad.Render(widget.Clean(describe(one.err)))}
	case f == nil:
		return []string{title, " " + t.Dim.Render("asking"+t.Glyphs.Ellipsis)}
	case one.err != nil:
		title += "  " + t.Bad.Render(widget.Clean(describe(one.err)))
	case f.Hostname != "":
		title += t.Dim.Render("  " + widget.Clean(f.Hostname))
	}
	lines := []string{title}
	add := func(name, text string) {
		lines = append(lines, " "+widget.Pad(t.Dim.Render(name), label)+widget.Cut(widget.Clean(text), max(0, m.width-label-2), t.Glyphs.Ellipsis))
	}
	bar := func(name string, part, whole uint64, text string) {
		lines = append(lines, " "+widget.Pad(t.Dim.Render(name), label)+widget.Cut(m.bar(part, whole)+" "+widget.Clean(text), max(0, m.width-label-2), t.Glyphs.Ellipsis))
	}
	add("system", system(f)+", "+f.OS.Kernel+", "+f.OS.Arch+", up "+known(f, "os", uptime(f.Uptime)))
	if f.Reboot.Pending {
		add("reboot", strings.TrimSuffix("pending: "+strings.Join(f.Reboot.Why, "; "), ": "))
	}
	load := known(f, "load", fmt.Sprintf("%.2f %.2f %.2f", f.Load[0], f.Load[1], f.Load[2]))
	cpu := known(f, "cpu", fmt.Sprintf("%.1f of %d cores busy", f.CPU.Busy, f.CPU.Cores))
	add("load", load+"; "+cpu)
	lines[len(lines)-1] += "  " + sparkline(t, one.busy, max(0, min(loadSamples, m.width-label-2-widget.Width(load+cpu)-4)))
	if f.Memory.Total > 0 {
		used := f.Memory.Total - min(f.Memory.Available, f.Memory.Total)
		bar("memory", used, f.Memory.Total, widget.Bytes(f.Memory.Available)+" of "+widget.Bytes(f.Memory.Total)+" free")
	}
	if f.Memory.SwapTotal > 0 {
		bar("swap", f.Memory.SwapUsed, f.Memory.SwapTotal, widget.Bytes(f.Memory.SwapUsed)+" of "+widget.Bytes(f.Memory.SwapTotal)+" used")
	}
	first := func(i int, text string) string {
		if i > 0 {
			return ""
		}
		return text
	}
	for i, d := range f.Disks {
		bar(first(i, "disks"), d.Total-min(d.Free, d.Total), d.Total, d.Mount+"  "+widget.Bytes(d.Free)+" of "+widget.Bytes(d.Total)+" free")
	}
	for i, u := range f.Users {
		add(first(i, "users"), strings.TrimSpace(u.Name+" on "+u.Terminal+" "+u.From))
	}
	for i, p := range f.Processes.Top[:min(len(f.Processes.Top), 8)] {
		add(first(i, "busiest"), fmt.Sprintf("%4.0f %%  %8s  %s (%s)", 100*p.CPU, widget.Bytes(p.Memory), p.Name, p.User))
	}
	for i, a := range f.Addresses {
		add(first(i, "addresses"), a.Address+" on "+a.Interface)
	}
	return lines[:min(len(lines), max(0, height))]
}

// bar is how much of a whole is used.
func (m *Machine) bar(part, whole uint64) string {
	t := m.env.Theme
	const width = 12
	full := 0
	if whole > 0 {
		full = min(width, int(float64(part)/float64(whole)*width+0.5))
	}
	look := t.Good
	switch {
	case full >= width-1:
		look = t.Bad
	case full >= width*3/4:
		look = t.Warn
	}
	return look.Render(strings.Repeat(t.Glyphs.Full, full)) + t.Dim.Render(strings.Repeat(t.Glyphs.Empty, width-full))
}

// resultsView is a table of what a program did where.
func (m *Machine) resultsView(height int) string {
	t := m.env.Theme
	argv := make([]string, len(m.run.Argv))
	for i, arg := range m.run.Argv {
		argv[i] = quoteArgument(widget.Clean(arg))
	}
	title := " " + t.Title.Render(strings.Join(argv, " "))
	if n := m.running(); n > 0 {
		title += t.Dim.Render("  runs on " + widget.Count(n, "machine") + " still")
	}
	name := min(20, max(8, m.width/5))
	m.picked.SetSize(m.width, max(0, height-1))
	return widget.Cut(title, m.width, t.Glyphs.Ellipsis) + "\n" + m.picked.View(func(i int, selected bool) string {
		r := m.results[i]
		how, look := ended(r)
		cursor := " "
		if selected {
			cursor = t.Glyphs.Cursor
		}
		left := cursor + " " + widget.Pad(widget.Cut(widget.Clean(r.Alias), name, t.Glyphs.Ellipsis), name) + " "
		right := " " + widget.Cut(lastLine(r), max(0, m.width-name-14), t.Glyphs.Ellipsis)
		if selected {
			return t.Selected.Render(widget.Pad(left+widget.Pad(how, 10)+right, m.width))
		}
		switch look {
		case Good:
			how = t.Good.Render(how)
		case Warn:
			how = t.Bad.Render(how)
		default:
			how = t.Dim.Render(how)
		}
		return left + widget.Pad(how, 10) + right
	})
}

// ended is how a program did on one machine, in a word or two.
func ended(r background.Result) (string, Level) {
	switch {
	case !r.Begun && !r.Ended:
		return "waits", Info
	case !r.Ended:
		return "runs", Info
	case r.Err != nil:
		return "failed", Warn
	case r.Exit.Code == 0:
		return "done", Good
	}
	return "exit " + strconv.Itoa(r.Exit.Code), Warn
}

// lastLine is what a result says in a line: why it failed, or the last that was printed.
func lastLine(r background.Result) string {
	if r.Err != nil {
		return widget.Clean(describe(r.Err))
	}
	lines := outputLines(r)
	for _, l := range slices.Backward(lines) {
		if strings.TrimSpace(l) != "" {
			return l
		}
	}
	return ""
}

// outputLines is the output as lines that can be shown.
func outputLines(r background.Result) []string {
	lines := strings.Split(strings.TrimSuffix(string(r.Output), "\n"), "\n")
	for i, l := range lines {
		lines[i] = widget.Clean(strings.ReplaceAll(strings.TrimSuffix(l, "\r"), "\t", "        "))
	}
	return lines
}

// outputView is all that a program printed on one machine.
func (m *Machine) outputView(height int) string {
	t := m.env.Theme
	r := m.results[m.output]
	how, _ := ended(r)
	lines := outputLines(r)
	if r.Cut {
		lines = append([]string{t.Dim.Render("the beginning is missing")}, lines...)
	}
	if r.Err != nil {
		lines = append(lines, t.Bad.Render(widget.Clean(describe(r.Err))))
	}
	room := max(0, height-1)
	m.offset = max(0, min(m.offset, len(lines)-room))
	title := " " + t.Title.Render(widget.Clean(r.Alias)) + t.Dim.Render("  "+how)
	shown := []string{widget.Cut(title, m.width, t.Glyphs.Ellipsis)}
	for _, l := range lines[m.offset:min(len(lines), m.offset+room)] {
		shown = append(shown, widget.Cut(" "+l, m.width, t.Glyphs.Ellipsis))
	}
	return strings.Join(shown, "\n")
}
