package terminal

import (
	"time"

	"tandem/share/terminal/internal/predict"
)

const (
	// maxRecent is how many steps of what was taken are kept apart.
	maxRecent = 64
	// untold is how much a viewer may have typed without being told that it was
	// taken; it would have to wait soon.
	untold = InputWindow / 4
)

// takenNews is what a viewer is to be told of its input: that it was taken, and
// that what the program answered came before. The terminal's mu guards it.
type takenNews struct {
	noted  uint64 // taken, as we know
	recent []takenAt
	due    uint64 // to be told when
	behind uint64 // output up to here has been sent
	told   uint64
	armed  bool // a timer will wake the viewer's writer
}

type takenAt struct {
	taken uint64
	at    time.Time
}

// takenDue reports whether the viewer is to be told of news.told now. It is
// called with the terminal's mu held, after anything has changed.
func (v *viewer) takenDue(now time.Time) bool {
	n, t := &v.news, v.terminal
	if v.input.taken != n.noted {
		n.noted = v.input.taken
		if len(n.recent) == maxRecent {
			n.recent = n.recent[:maxRecent-1] // the newer step includes it
		}
		n.recent = append(n.recent, takenAt{n.noted, now})
	}
	for len(n.recent) > 0 && now.Sub(n.recent[0].at) >= predict.Hold {
		n.due, n.behind = n.recent[0].taken, t.ring.end
		n.recent = n.recent[1:]
	}
	if n.noted-n.told >= untold {
		n.due, n.behind, n.recent = n.noted, v.next, nil
	}
	if len(n.recent) > 0 && !n.armed {
		n.armed = true
		time.AfterFunc(n.recent[0].at.Add(predict.Hold).Sub(now), func() {
			t.mu.Lock()
			n.armed = false
			t.mu.Unlock()
			t.changed.Broadcast()
		})
	}
	if n.due == n.told || v.next < n.behind {
		return false
	}
	n.told = n.due
	return true
}
