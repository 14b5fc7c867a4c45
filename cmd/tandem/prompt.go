package main

import (
	"bufio"
	"context"
	"fmt"
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
	io    stdio
	begin sync.Once
	turn  sync.Mutex // held while a question waits for its answer
	lines chan string
}

func newPrompt(io stdio) *prompt { return &prompt{io: io, lines: make(chan string)} }

func (p *prompt) interactive() bool { return isTerminal(p.io.in) }

func (p *prompt) read() {
	defer close(p.lines)
	in := bufio.NewScanner(p.io.in)
	for in.Scan() {
		p.lines <- strings.ToLower(strings.TrimSpace(in.Text()))
	}
}

// ask puts question until one of answers is typed. Lines typed before the
// question was put don't answer it.
func (p *prompt) ask(ctx context.Context, question string, answers ...string) (string, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.begin.Do(func() { go p.read() })
	for {
		select { // a line typed before the question
		case _, ok := <-p.lines:
			if ok {
				continue
			}
		default:
		}
		break
	}
	for {
		fmt.Fprint(p.io.out, question)
		select {
		case line, ok := <-p.lines:
			if !ok {
				return "", session.Errorf("ask", session.Canceled, "nobody answered")
			}
			if slices.Contains(answers, line) {
				return line, nil
			}
		case <-ctx.Done():
			fmt.Fprintln(p.io.out)
			return "", ctx.Err()
		}
	}
}
