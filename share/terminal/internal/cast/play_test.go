package cast

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stage is a Screen that notes what is shown when.
type stage struct {
	began time.Time
	log   []string
	err   error
}

func (s *stage) Show(p []byte) error {
	s.log = append(s.log, fmt.Sprintf("%v %s", time.Since(s.began), p))
	return s.err
}

func (s *stage) Clear() error {
	s.log = append(s.log, fmt.Sprintf("%v clear", time.Since(s.began)))
	return nil
}

// told is something a person does some time after the beginning.
type told struct {
	at      time.Duration
	command Command
}

// tape has a letter at 1 s, 2 s, 10 s and 11 s, and a marker at 10 s.
func tape() *Recording {
	at := func(s int, kind Kind, data string) Event {
		return Event{At: time.Duration(s) * time.Second, Kind: kind, Data: []byte(data)}
	}
	return &Recording{Events: []Event{
		at(1, Output, "a"), at(2, Output, "b"), at(10, Marker, "here"), at(10, Output, "c"), at(10, Input, "x"), at(11, Output, "d"),
	}}
}

func TestPlayer(t *testing.T) {
	s := time.Second
	for name, c := range map[string]struct {
		speed float64
		idle  time.Duration
		said  []told
		want  string
	}{
		"as it was":     {speed: 1, want: "1s a, 2s b, 10s c, 11s d"},
		"twice as fast": {speed: 2, want: "500ms a, 1s b, 5s c, 5.5s d"},
		"short pauses":  {speed: 1, idle: 3 * s, want: "1s a, 2s b, 5s c, 6s d"},
		"both":          {speed: 2, idle: 3 * s, want: "500ms a, 1s b, 2.5s c, 3s d"},
		"pause": {
			speed: 1, said: []told{{1500 * time.Millisecond, Command{Kind: Pause}}, {100 * s, Command{Kind: Pause}}},
			want: "1s a, 1m40.5s b, 1m48.5s c, 1m49.5s d",
		},
		"step": {
			speed: 1, said: []told{{s / 2, Command{Kind: Step}}, {s * 3 / 2, Command{Kind: Step}}, {20 * s, Command{Kind: Step}}, {30 * s, Command{Kind: Pause}}},
			want: "500ms a, 1.5s b, 20s c, 31s d",
		},
		"step beyond the end, and leave": {
			speed: 1, said: []told{{5 * s / 2, Command{Kind: Pause}}, {3 * s, Command{Kind: SeekTo, To: 0.99}}, {s * 7 / 2, Command{Kind: Step}}, {4 * s, Command{Kind: Step}}, {5 * s, Command{Kind: Quit}}},
			want: "1s a, 2s b, 3s c, 3.5s d",
		},
		"forward": {
			speed: 1, said: []told{{s / 2, Command{Kind: SeekBy, By: 5 * s}}},
			want: "500ms a, 500ms b, 5s c, 6s d",
		},
		"back": {
			speed: 1, said: []told{{3 * s, Command{Kind: SeekBy, By: -5 * s}}},
			want: "1s a, 2s b, 3s clear, 4s a, 5s b, 13s c, 14s d",
		},
		"to the half": {
			speed: 1, said: []told{{10*s + s/2, Command{Kind: SeekTo, To: 0.5}}},
			want: "1s a, 2s b, 10s c, 10.5s clear, 10.5s a, 10.5s b, 15s c, 16s d",
		},
		"to the marker": {
			speed: 1, said: []told{{s / 2, Command{Kind: NextMarker}}},
			want: "500ms a, 500ms b, 500ms c, 1.5s d",
		},
		"to the end": {
			speed: 1, said: []told{{s / 2, Command{Kind: SeekTo, To: 1}}},
			want: "500ms a, 500ms b, 500ms c, 500ms d",
		},
		"faster, slower": {
			speed: 1, said: []told{{3 * s, Command{Kind: Faster}}, {4 * s, Command{Kind: Slower}}},
			want: "1s a, 2s b, 9s c, 10s d",
		},
		"leave": {speed: 1, said: []told{{3 * s, Command{Kind: Quit}}}, want: "1s a, 2s b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				screen := &stage{began: time.Now()}
				ctx, over := context.WithCancel(t.Context())
				commands := make(chan Command)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for _, c := range c.said {
						time.Sleep(time.Until(screen.began.Add(c.at)))
						select {
						case commands <- c.command:
						case <-ctx.Done():
						}
					}
				}()
				if err := NewPlayer(tape(), screen, c.speed, c.idle).Play(t.Context(), commands); err != nil {
					t.Fatal(err)
				}
				over()
				<-done
				if got := strings.Join(screen.log, ", "); got != c.want {
					t.Errorf("shown: %s\nwant:  %s", got, c.want)
				}
			})
		})
	}
}

func TestPlayerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		screen := &stage{began: time.Now()}
		if err := NewPlayer(tape(), screen, 1, 0).Play(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || len(screen.log) != 1 {
			t.Errorf("%v, shown %v", err, screen.log)
		}
		screen.err = errors.New("the terminal has gone")
		if err := NewPlayer(tape(), screen, 1, 0).Play(t.Context(), nil); !errors.Is(err, screen.err) {
			t.Error(err)
		}
		if err := NewPlayer(&Recording{}, screen, 1, 0).Play(t.Context(), nil); err != nil {
			t.Error("an empty recording:", err)
		}
	})
}
