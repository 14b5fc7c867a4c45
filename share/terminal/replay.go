package terminal

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/term"

	"tandem/session"
	"tandem/share/terminal/internal/cast"
)

// ReplayOptions say how a recording is played.
type ReplayOptions struct {
	Speed float64 // 2 is twice as fast; 0 means 1
	// IdleLimit is the longest that a pause lasts; 0 leaves that to the recording.
	IdleLimit time.Duration
	// Start is where to begin.
	Start time.Duration
}

// seekStep is how far an arrow key goes.
const seekStep = 5 * time.Second

// Replay plays a recording on a person's terminal, filtered like any output
// from elsewhere, and restores the terminal whatever happens. The person's keys
// steer it: space pauses, "." shows the next output, left and right go 5 s back
// and forth, up and down change the speed, a digit goes to that many tenths,
// "m" to the next marker, and "q" or Ctrl-C leaves. If out is not a terminal it
// gets the bytes of the output as they were, at once.
func Replay(ctx context.Context, recording io.Reader, tty TTY, opts ReplayOptions) error {
	reader, err := cast.NewReader(recording)
	if err != nil {
		return err
	}
	if !term.IsTerminal(int(tty.Out.Fd())) {
		return dump(ctx, reader, tty.Out)
	}
	loaded, err := cast.Load(reader)
	if err != nil {
		return err
	}
	ctx, c, err := openConsole(ctx, tty, Options{NoEscape: true})
	if err != nil {
		return err
	}
	defer c.close()
	defer c.restoreOnPanic()

	if h, here := loaded.Header, tty.Size(); h.Cols > int(here.Cols) || h.Rows > int(here.Rows) {
		c.notice("recorded with %d by %d cells; here are %d by %d", h.Cols, h.Rows, here.Cols, here.Rows)
	}
	if opts.Speed == 0 {
		opts.Speed = 1
	}
	player := cast.NewPlayer(loaded, screen{c}, opts.Speed, opts.IdleLimit)
	playing, over := context.WithCancel(ctx)
	defer over()
	commands := make(chan cast.Command)
	c.work.Go(func() {
		defer c.restoreOnPanic()
		c.steer(playing, commands, opts.Start)
	})
	err = player.Play(ctx, commands)
	if err == nil && loaded.Torn {
		c.notice("the recording breaks off here")
	}
	return err
}

// dump writes what was printed as it was.
func dump(ctx context.Context, r *cast.Reader, out io.Writer) error {
	for ctx.Err() == nil {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if ev.Kind != cast.Output {
			continue
		}
		if _, err := out.Write(ev.Data); err != nil {
			return &session.Error{Op: "replay", Kind: session.FileKind(err), Err: err}
		}
	}
	return context.Cause(ctx)
}

// screen shows a recording on a console.
type screen struct{ console *console }

func (s screen) Show(p []byte) error { return s.console.show(p, false) }

// Clear undoes the modes that were set, and leaves an empty screen.
func (s screen) Clear() error {
	c := s.console
	c.skip()
	c.out.Lock()
	defer c.out.Unlock()
	_, err := c.tty.Out.Write(append(c.filter.Undo(), "\x1b[H\x1b[2J\x1b[3J"...))
	return err
}

// steer makes commands of keys until the recording is over.
func (c *console) steer(ctx context.Context, commands chan<- cast.Command, start time.Duration) {
	tell := func(command cast.Command) {
		select {
		case commands <- command:
		case <-ctx.Done():
		}
	}
	if start > 0 {
		tell(cast.Command{Kind: cast.SeekBy, By: start})
	}
	var held []byte // the beginning of an arrow key
	for {
		select {
		case k := <-c.keys:
			if k.kind == keyDetach {
				tell(cast.Command{Kind: cast.Quit})
				return
			}
			for _, b := range k.text {
				command, rest, ok := playerKey(held, b)
				held = rest
				if ok {
					tell(command)
				}
			}
		case <-ctx.Done():
			return
		case <-c.closed:
			return
		}
	}
}

// playerKey is what a byte typed after held means, and what is held now.
func playerKey(held []byte, b byte) (command cast.Command, _ []byte, ok bool) {
	if len(held) > 0 || b == esc {
		held = append(held, b)
		switch {
		case len(held) == 1, len(held) == 2 && (b == '[' || b == 'O'):
			return command, held, false
		case len(held) == 3:
			switch b {
			case 'A':
				return cast.Command{Kind: cast.Faster}, nil, true
			case 'B':
				return cast.Command{Kind: cast.Slower}, nil, true
			case 'C':
				return cast.Command{Kind: cast.SeekBy, By: seekStep}, nil, true
			case 'D':
				return cast.Command{Kind: cast.SeekBy, By: -seekStep}, nil, true
			}
		}
		return command, nil, false
	}
	const interrupt = 0x03
	switch {
	case b == ' ':
		command.Kind = cast.Pause
	case b == '.':
		command.Kind = cast.Step
	case b == 'm':
		command.Kind = cast.NextMarker
	case b >= '0' && b <= '9':
		command = cast.Command{Kind: cast.SeekTo, To: float64(b-'0') / 10}
	case b == 'q', b == interrupt:
		command.Kind = cast.Quit
	default:
		return command, nil, false
	}
	return command, nil, true
}

// Summary is what a recording is about.
type Summary struct {
	Version  int               `json:"version"`
	Cols     int               `json:"cols"`
	Rows     int               `json:"rows"`
	Began    time.Time         `json:"began,omitzero"`
	Title    string            `json:"title,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Seconds  float64           `json:"seconds"`
	Output   int64             `json:"output"` // bytes
	Input    int64             `json:"input"`  // bytes
	Events   int               `json:"events"`
	Markers  []Mark            `json:"markers,omitempty"`
	TornOff  bool              `json:"torn_off,omitempty"`
	Duration time.Duration     `json:"-"`
}

// Mark is a remark in a recording.
type Mark struct {
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
}

// maxMarks is how many remarks a Summary lists.
const maxMarks = 1000

// Summarize reads a recording to its end.
func Summarize(recording io.Reader) (Summary, error) {
	r, err := cast.NewReader(recording)
	if err != nil {
		return Summary{}, err
	}
	h := r.Header
	s := Summary{Version: h.Version, Cols: h.Cols, Rows: h.Rows, Began: h.Began, Title: h.Title, Env: h.Env}
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			s.TornOff, s.Seconds = r.Torn, s.Duration.Seconds()
			return s, nil
		}
		if err != nil {
			return Summary{}, err
		}
		s.Events++
		s.Duration = ev.At
		switch ev.Kind {
		case cast.Output:
			s.Output += int64(len(ev.Data))
		case cast.Input:
			s.Input += int64(len(ev.Data))
		case cast.Marker:
			if len(s.Markers) < maxMarks {
				s.Markers = append(s.Markers, Mark{ev.At.Seconds(), string(ev.Data)})
			}
		case cast.Resize: // the size it began with is the one to know
		}
	}
}
