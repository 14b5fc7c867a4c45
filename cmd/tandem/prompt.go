package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"tandem/session"
)

// isTerminal reports whether f is a terminal a person looks at.
func isTerminal(f *os.File) bool { return f != nil && term.IsTerminal(int(f.Fd())) }

// prompt asks questions on standard input, one at a time. Its reader lives as
// long as the program: a read of a terminal can't be called back.
type prompt struct {
	in   *os.File
	out  io.Writer
	turn sync.Mutex // held while a question waits for its answer

	mu    sync.Mutex
	open  string        // the question that has been put
	line  chan string   // what was typed since; the newest line only
	ended chan struct{} // closed when no more lines will come
	begun bool
}

func newPrompt(s stdio) *prompt {
	p := &prompt{in: s.in, out: s.out, line: make(chan string, 1), ended: make(chan struct{})}
	out, ok := s.out.(*os.File)
	if shown, ok2 := s.err.(*os.File); ok && ok2 && !isTerminal(out) && isTerminal(shown) {
		p.out = s.err // a question belongs where somebody sees it
	}
	return p
}

func (p *prompt) interactive() bool { return isTerminal(p.in) }

// print shows text, above the question that waits for its answer.
func (p *prompt) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == "" {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprintf(p.out, "\n%s\n%s", text, p.open)
}

// read takes what is typed, at all times: what nobody asked for is dropped.
func (p *prompt) read() {
	defer close(p.ended)
	for in := bufio.NewScanner(p.in); in.Scan(); {
		p.mu.Lock()
		if p.open != "" {
			select {
			case <-p.line:
			default:
			}
			p.line <- strings.ToLower(strings.TrimSpace(in.Text()))
		}
		p.mu.Unlock()
	}
}

// ask puts question until one of answers is typed. What was typed before the
// question was put, even half a line, doesn't answer it.
func (p *prompt) ask(ctx context.Context, about, question string, answers ...string) (string, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err // it took too long to come to this
	}
	p.put(about, question)
	defer p.settle()
	for {
		select {
		case line := <-p.line:
			if slices.Contains(answers, line) {
				return line, nil
			}
			fmt.Fprint(p.out, question)
		case <-p.ended:
			fmt.Fprintln(p.out)
			return "", session.Errorf("ask", session.Denied, "nobody is at the keyboard to answer")
		case <-ctx.Done():
			fmt.Fprintln(p.out)
			return "", ctx.Err()
		}
	}
}

func (p *prompt) put(about, question string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	forgetTyped(p.in)
	fmt.Fprintf(p.out, "\n%s\n\a%s", about, question)
	p.open = question
	if !p.begun {
		p.begun = true
		go p.read()
	}
}

func (p *prompt) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = ""
	select {
	case <-p.line:
	default:
	}
}

// asking reports whether a question waits for its answer.
func (p *prompt) asking() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open != ""
}
