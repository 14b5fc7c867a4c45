package cast

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"time"

	"tandem/session"
)

// maxLoaded is how much of a recording is kept in memory, in bytes.
const maxLoaded = 256 << 20

// Recording is a whole recording in memory.
type Recording struct {
	Header Header
	Events []Event
	// Bytes of output.
	Bytes int64
	// Torn says that the end was cut off in the middle of a line.
	Torn bool
}

// Duration is the time of the last event.
func (r *Recording) Duration() time.Duration {
	if len(r.Events) == 0 {
		return 0
	}
	return r.Events[len(r.Events)-1].At
}

// Load reads a recording to its end. It fails with TooLarge if that takes too
// much memory.
func Load(r *Reader) (*Recording, error) { return load(r, maxLoaded) }

func load(r *Reader, limit int) (*Recording, error) {
	loaded := &Recording{Header: r.Header}
	size := 0
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			loaded.Torn = r.Torn
			return loaded, nil
		}
		if err != nil {
			return nil, err
		}
		if size += len(ev.Data) + eventCost; size > limit {
			return nil, &session.Error{
				Op: "read recording", Kind: session.TooLarge, Text: "the recording is too long to be played here",
				Hint: "`tandem replay FILE >output` writes what it holds to a file.",
			}
		}
		if ev.Kind == Output {
			loaded.Bytes += int64(len(ev.Data))
		}
		loaded.Events = append(loaded.Events, ev)
	}
}

// Command is what a person tells a Player.
type Command struct {
	Kind CommandKind
	By   time.Duration // of SeekBy
	To   float64       // of SeekTo: 0 is the beginning and 1 the end
}

// CommandKind is a sort of Command.
type CommandKind byte

// The commands.
const (
	Quit CommandKind = iota
	Pause
	Step // show one more piece of output, and pause
	SeekBy
	SeekTo
	NextMarker
	Faster
	Slower
)

// Screen is where a Player shows things.
type Screen interface {
	Show(output []byte) error
	// Clear makes it as it was in the beginning.
	Clear() error
}

// The speeds there are.
const (
	MinSpeed = 1.0 / 64
	MaxSpeed = 64
)

// Player shows a recording at the pace it was made, or another.
type Player struct {
	screen Screen
	events []Event // their times as they are played
	next   int     // the first not shown
	speed  float64
	paused bool
	at     time.Duration // the position at the moment since
	since  time.Time
}

// NewPlayer prepares to show a recording at some speed, with no pause longer
// than idle; 0 is what its maker wants.
func NewPlayer(r *Recording, screen Screen, speed float64, idle time.Duration) *Player {
	if idle == 0 {
		idle = r.Header.IdleLimit
	}
	return &Player{screen: screen, events: squeeze(r.Events, idle), speed: min(max(speed, MinSpeed), MaxSpeed)}
}

// squeeze shortens the pauses to limit.
func squeeze(events []Event, limit time.Duration) []Event {
	if limit <= 0 {
		return events
	}
	squeezed := slices.Clone(events)
	var cut time.Duration
	for i := range squeezed {
		var before time.Duration
		if i > 0 {
			before = events[i-1].At
		}
		cut += max(0, events[i].At-before-limit)
		squeezed[i].At -= cut
	}
	return squeezed
}

// Play shows everything, doing what commands say, until the end, Quit or the
// end of ctx.
func (p *Player) Play(ctx context.Context, commands <-chan Command) error {
	p.since = time.Now()
	for p.paused || p.next < len(p.events) {
		timer := time.NewTimer(p.untilNext())
		var due <-chan time.Time
		if !p.paused {
			due = timer.C
		}
		var err error
		quit := false
		select {
		case <-due:
			err = p.goOn(ctx)
		case c := <-commands:
			quit, err = p.obey(ctx, c)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		timer.Stop()
		if quit || err != nil {
			return err
		}
	}
	return nil
}

// goOn shows the next event, which is due. Pauses are counted from when it
// was due, so that delays don't add up, unless they are long.
func (p *Player) goOn(ctx context.Context) error {
	to := p.events[p.next].At
	due := p.since.Add(time.Duration(float64(to-p.at) / p.speed))
	err := p.showUntil(ctx, to)
	if time.Since(due) < time.Second {
		p.since = due
	}
	return err
}

// untilNext is how long to wait for the next event.
func (p *Player) untilNext() time.Duration {
	if p.next == len(p.events) {
		return 0
	}
	wait := time.Duration(float64(p.events[p.next].At-p.at) / p.speed)
	return max(0, wait-time.Since(p.since))
}

// position is where the recording is now.
func (p *Player) position() time.Duration {
	if p.paused || p.next == len(p.events) {
		return p.at
	}
	passed := time.Duration(float64(time.Since(p.since)) * p.speed)
	return min(p.at+passed, p.events[p.next].At)
}

func (p *Player) obey(ctx context.Context, c Command) (quit bool, err error) {
	p.at = p.position()
	p.since = time.Now()
	switch c.Kind {
	case Quit:
		return true, nil
	case Pause:
		p.paused = !p.paused
	case Step:
		p.paused = true
		return false, p.step()
	case SeekBy:
		return false, p.seek(ctx, p.at+c.By)
	case SeekTo:
		return false, p.seek(ctx, time.Duration(c.To*float64(p.end())))
	case NextMarker:
		for _, ev := range p.events[p.next:] {
			if ev.Kind == Marker {
				return false, p.seek(ctx, ev.At)
			}
		}
	case Faster:
		p.speed = min(2*p.speed, MaxSpeed)
	case Slower:
		p.speed = max(p.speed/2, MinSpeed)
	}
	return false, nil
}

func (p *Player) end() time.Duration {
	if len(p.events) == 0 {
		return 0
	}
	return p.events[len(p.events)-1].At
}

// step shows the next output.
func (p *Player) step() error {
	for p.next < len(p.events) {
		ev := p.events[p.next]
		p.next++
		p.at = ev.At
		if ev.Kind == Output {
			return p.screen.Show(ev.Data)
		}
	}
	return nil
}

// seek goes to a time: backwards by beginning anew.
func (p *Player) seek(ctx context.Context, to time.Duration) error {
	to = min(max(to, 0), p.end())
	if to < p.at {
		if err := p.screen.Clear(); err != nil {
			return err
		}
		p.next = 0
	}
	return p.showUntil(ctx, to)
}

// showUntil shows what has happened up to a time, that included.
func (p *Player) showUntil(ctx context.Context, to time.Duration) error {
	until := p.next + sort.Search(len(p.events)-p.next, func(i int) bool { return p.events[p.next+i].At > to })
	for ; p.next < until; p.next++ {
		if ev := p.events[p.next]; ev.Kind == Output {
			if err := p.screen.Show(ev.Data); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	p.at, p.since = to, time.Now()
	return nil
}
