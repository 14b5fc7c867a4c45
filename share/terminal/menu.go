package terminal

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"tandem/session"
)

// changeTimeout is how long the host's person waits for what it asked for.
const changeTimeout = 10 * time.Second

// menu is the list of who is here, shown instead of the program's screen. The
// host's person gives and takes rights in it.
type menu struct {
	*attachment
	number string // typed so far
	said   string // what came of the last thing done
}

// showPeople shows the list until the person closes it. It reports whether they
// leave the terminal altogether. Output waits meanwhile.
func (a *attachment) showPeople(ctx context.Context) (detached bool) {
	if !a.console.shows {
		return false
	}
	m := &menu{attachment: a}
	restored := a.console.cover()
	defer func() {
		if !restored() {
			_ = a.client.Redraw()
		}
	}()
	for {
		a.console.draw(m.lines())
		select {
		case k := <-a.console.keys:
			if k.kind == keyDetach {
				return true
			}
			for i, b := range k.text {
				if m.pressed(ctx, b) {
					continue
				}
				if rest := k.text[i+1:]; len(rest) > 0 { // typed ahead, for the program
					return a.pressed(ctx, key{text: rest})
				}
				return false
			}
		case s := <-a.console.sizes:
			if a.people.mine() == Control {
				_ = a.client.Resize(s)
			}
		case <-a.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// pressed acts on a key; false closes the list.
func (m *menu) pressed(ctx context.Context, b byte) bool {
	const interrupt, escape = 0x03, 0x1b
	host := m.people.hosts() && m.console.opener != nil
	switch {
	case b == '\r', b == '\n', b == escape, b == interrupt, b == 'q':
		return false
	case b >= '0' && b <= '9' && host && len(m.number) < 18:
		m.number += string(b)
		m.said = ""
		return true
	case b == 't' && host:
		m.change(ctx, Do{What: DoRight, Right: Control})
	case b == 'v' && host:
		m.change(ctx, Do{What: DoRight, Right: View})
	case b == 'k' && host:
		m.change(ctx, Do{What: DoKick})
	case b == 'p' && host:
		_, _, r := m.people.now()
		do := Do{What: DoPin}
		if !r.Pinned {
			do.Size = m.console.tty.Size()
		}
		m.number = "0"
		m.change(ctx, do)
	case b == 't' && m.people.mine() == View:
		m.said = "The host is asked."
		_ = m.client.Ask()
	}
	m.number = ""
	return true
}

// change does something to the viewer whose number was typed.
func (m *menu) change(ctx context.Context, do Do) {
	n, err := strconv.ParseUint(m.number, 10, 64)
	if err != nil {
		m.said = "Type the viewer's number first."
		return
	}
	do.Viewer = n
	m.said = "Done."
	info, err := m.attachment.change(ctx, do)
	if err != nil {
		_, text := session.Public(err)
		m.said = "Not done: " + text
		return
	}
	m.people.refresh(info)
}

// change asks the host for something that only its own person may do.
func (a *attachment) change(ctx context.Context, do Do) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	name, _, _ := a.people.now()
	return Change(ctx, a.console.opener, name, do)
}

// refresh takes over what the host says of the viewers, while rosters wait
// behind the output.
func (p *people) refresh(i Info) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.Viewers, p.roster.Typist, p.roster.Pinned, p.at = i.Viewers, i.Typist, i.Pinned, time.Now()
}

// lines are what the list says.
func (m *menu) lines() []string {
	name, self, r := m.people.now()
	title := "Who is at " + name
	if r.Pinned {
		title += "; its size is pinned"
	}
	lines := []string{title, ""}
	var rows [][]string
	width := make([]int, 5)
	for _, v := range r.Viewers {
		row := Describe(v, r.Typist, m.people.words)
		if v.Viewer == self {
			row[0] += ", you"
		}
		rows = append(rows, row)
		for i, cell := range row {
			width[i] = max(width[i], ansi.StringWidth(cell))
		}
	}
	for i, row := range rows {
		var b strings.Builder
		fmt.Fprintf(&b, "%4d", r.Viewers[i].Viewer)
		for c, cell := range row {
			b.WriteString("  " + cell + strings.Repeat(" ", width[c]-ansi.StringWidth(cell)))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	lines = append(lines, "")
	switch {
	case m.people.hosts() && m.console.opener != nil:
		pin := "p pins the size to this window"
		if r.Pinned {
			pin = "p lets the size follow the smallest window"
		}
		lines = append(lines, "A number, then: t lets type, v lets only watch, k makes leave for good.", pin+"; Enter goes back.")
	case m.people.mine() == View:
		lines = append(lines, "t asks the host to let you type; Enter goes back.")
	default:
		lines = append(lines, "Enter goes back.")
	}
	return append(lines, "", "> "+m.number+m.said)
}

// answerAsker lets who asks to type do so, or not.
func (a *attachment) answerAsker(ctx context.Context, right Right) {
	v, ok := a.people.asker()
	switch {
	case !a.people.hosts() || a.console.opener == nil:
		a.console.notice("only the host decides who types")
	case !ok:
		a.console.notice("nobody asks to type")
	default:
		if _, err := a.change(ctx, Do{What: DoRight, Viewer: v.Viewer, Right: right}); err != nil {
			_, text := session.Public(err)
			a.console.notice("%s", text)
			return
		}
		a.people.answered(v)
		if right == Control {
			a.console.notice("%s may type", a.people.who(v))
		}
	}
}

// askToType asks the host's person, who may take a while.
func (a *attachment) askToType() {
	if a.people.mine() == Control {
		a.console.notice("you may type already")
		return
	}
	_ = a.client.Ask()
	a.console.notice("the host is asked to let you type")
}
