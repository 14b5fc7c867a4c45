package terminal

import (
	"sync"
	"time"

	"tandem/share/terminal/internal/predict"
)

// Prediction says when to show what a person types before the host has echoed
// it. The zero Prediction is PredictNever.
type Prediction = predict.Mode

// The predictions.
const (
	PredictNever  = predict.Never
	PredictAuto   = predict.Auto // on links above 30 ms
	PredictAlways = predict.Always
)

// guess is a predictor that hears of keys from one goroutine while another may
// be waiting for the terminal to take its output. What it gives to write must be
// written in the same order: the console's out is held meanwhile.
type guess struct {
	mu        sync.Mutex
	predictor *predict.Predictor
	buf       []byte
	ended     bool
	wake      chan struct{} // holds one request to paint
}

func newGuess(mode Prediction, size Size) *guess {
	return &guess{predictor: predict.New(mode, int(size.Cols), int(size.Rows)), wake: make(chan struct{}, 1)}
}

// tell lets f tell the predictor something.
func (g *guess) tell(f func(p *predict.Predictor, now time.Time)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g.predictor, time.Now())
}

// repaint has the terminal show what is predicted now, soon.
func (g *guess) repaint() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// around is p with what undoes a drawing before it and draws anew behind it, on a
// terminal of this size. The result is valid until the next call.
func (g *guess) around(p []byte, size Size) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return p
	}
	now := time.Now()
	g.buf = g.predictor.Resize(g.buf[:0], int(size.Cols), int(size.Rows))
	if len(p) > 0 {
		g.buf = g.predictor.Output(g.buf, p, now)
	} else {
		g.buf = g.predictor.Paint(g.buf, now)
	}
	return g.buf
}

// end is what undoes a drawing, the last one.
func (g *guess) end() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.predictor.Reset()
	return g.predictor.Paint(nil, time.Now())
}

func (g *guess) wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.predictor.Wait(time.Now())
}

// predicting lets f tell the predictor something, if there is one, and shows
// what comes of it.
func (c *console) predicting(f func(p *predict.Predictor, now time.Time)) {
	if c.guess != nil {
		c.guess.tell(f)
		c.guess.repaint()
	}
}

// paint draws predictions when somebody asks for it or time has passed.
func (c *console) paint() {
	defer c.restoreOnPanic()
	for {
		var later <-chan time.Time
		if wait := c.guess.wait(); wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-c.guess.wake:
		case <-later:
		case <-c.closed:
			return
		}
		c.out.Lock()
		if !c.covered {
			_ = c.write(nil) // if the terminal is gone, the next output tells
		}
		c.out.Unlock()
	}
}

// write writes to the terminal, or to what stands in for it, with predictions
// drawn over it. It is called with out held.
func (c *console) write(p []byte) error {
	if c.guess != nil {
		p = c.guess.around(p, c.tty.Size())
	}
	if len(p) == 0 {
		return nil
	}
	_, err := c.tty.Out.Write(p)
	return err
}
