package terminal

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"tandem/session"
)

// people is who is at the terminal, as its viewer was told last.
type people struct {
	words func(session.PeerID) []string

	mu     sync.Mutex
	name   string // the terminal's
	self   uint64
	right  Right
	roster Roster
	at     time.Time // when the roster came
	done   request   // the last that was answered here
}

func (p *people) welcome(w Welcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.self, p.right, p.roster = w.Name, w.Viewer, w.Right, Roster{}
}

// mine is what this viewer may do at this moment.
func (p *people) mine() Right {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.right
}

// update takes a newer roster. It returns what its person should hear of, and
// whether it has just been allowed to type.
func (p *people) update(r Roster) (news []string, mayType bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.roster
	p.roster, p.at = r, time.Now()
	self, old := find(r.Viewers, p.self), find(before.Viewers, p.self)
	if self.Viewer == 0 {
		return nil, false
	}
	if self.Right != p.right {
		p.right = self.Right
		if mayType = p.right == Control; mayType {
			news = append(news, "the host lets you type")
		} else {
			news = append(news, "the host lets you watch only")
		}
	} else if old.Asks != 0 && self.Asks == 0 {
		news = append(news, "the host does not let you type")
	}
	for _, v := range r.Viewers {
		if self.Host && v.Asks != 0 && v.Asks != find(before.Viewers, v.Viewer).Asks {
			news = append(news, p.who(v)+" asks to type: Enter ~Y allows it, Enter ~N does not")
		}
	}
	return news, mayType
}

// typing keeps who typed last.
func (p *people) typing(viewer uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster.Typist = viewer
	for i := range p.roster.Viewers {
		if v := &p.roster.Viewers[i]; v.Viewer == viewer {
			v.Typed = -time.Since(p.at) // after the roster came
		}
	}
}

// answered takes note of an answer before the roster says so.
func (p *people) answered(v Viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = request{v.Viewer, v.Asks}
}

// request is a viewer's wish to type, by its number.
type request struct {
	viewer uint64
	number int
}

// asker is who has asked to type and is not answered, the longest here.
func (p *people) asker() (Viewer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.roster.Viewers {
		if v.Asks != 0 && p.done != (request{v.Viewer, v.Asks}) {
			return v, true
		}
	}
	return Viewer{}, false
}

// hosts reports whether this is a window of the host's own person.
func (p *people) hosts() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return find(p.roster.Viewers, p.self).Host
}

// now is the roster as of this moment.
func (p *people) now() (name string, self uint64, r Roster) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r = p.roster
	r.Viewers = append([]Viewer(nil), r.Viewers...)
	for i := range r.Viewers {
		if v := &r.Viewers[i]; v.Typed != 0 || v.Viewer == r.Typist {
			v.Typed = max(v.Typed+time.Since(p.at), 1)
		}
	}
	return p.name, p.self, r
}

func find(viewers []Viewer, number uint64) Viewer {
	for _, v := range viewers {
		if v.Viewer == number {
			return v
		}
	}
	return Viewer{}
}

func (p *people) who(v Viewer) string { return Who(session.Peer{ID: v.Peer, Name: v.Name}, p.words) }

// Who names a peer by what it calls itself, which proves nothing, and by the
// beginning of its fingerprint, which does.
func Who(p session.Peer, words func(session.PeerID) []string) string {
	name := session.PrintableName(p.Name)
	if name == "" {
		name = p.ID.Short()
	}
	if words == nil {
		return name
	}
	w := words(p.ID)
	return fmt.Sprintf("%s (%s)", name, strings.Join(w[:min(3, len(w))], " "))
}

// Describe is a row of a list of viewers: who, what they may do, size, round
// trip, and what they did last.
func Describe(v Viewer, typist uint64, words func(session.PeerID) []string) []string {
	row := make([]string, 5)
	row[0] = Who(session.Peer{ID: v.Peer, Name: v.Name}, words)
	if v.Host {
		row[0] += ", the host"
	}
	row[1] = "types"
	if v.Right == View {
		row[1] = "watches"
	}
	if !v.IsZero() {
		row[2] = fmt.Sprintf("%dx%d", v.Cols, v.Rows)
	}
	if v.RTT > 0 {
		row[3] = fmt.Sprintf("%.1f ms", float64(v.RTT)/float64(time.Millisecond))
		if v.RTT >= 10*time.Millisecond {
			row[3] = fmt.Sprintf("%d ms", v.RTT.Milliseconds())
		}
	}
	switch {
	case v.Asks != 0:
		row[4] = "asks to type"
	case v.Typed > 0 && v.Viewer == typist:
		row[4] = "typed last, " + Ago(v.Typed) + " ago"
	case v.Typed > 0:
		row[4] = "typed " + Ago(v.Typed) + " ago"
	}
	return row
}

// Ago is a time that has passed, as people say it.
func Ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
