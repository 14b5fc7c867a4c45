package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"

	"tandem/session"
	"tandem/share/node"
)

// maxParallel is the most peers that --parallel takes at once.
const maxParallel = 256

// choosePeers are the peers named, or all that are connected.
func choosePeers(ctx context.Context, b node.Backend, named []string, all bool) ([]string, error) {
	if !all {
		return named, nil
	}
	known, err := b.Peers(ctx)
	if err != nil {
		return nil, err
	}
	var peers []string
	for _, p := range known {
		if p.Connected {
			peers = append(peers, p.Alias)
		}
	}
	if len(peers) == 0 {
		return nil, &session.Error{
			Kind: session.NotFound, Text: "no peer is connected",
			Hint: "`tandem peers` lists those you know; --all means the connected ones.",
		}
	}
	return peers, nil
}

// each calls do for every peer, for so many at once, and returns when all are
// done.
func each(peers []string, parallel int, do func(i int, peer string)) {
	var work sync.WaitGroup
	room := make(chan struct{}, parallel)
	for i, peer := range peers {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			do(i, peer)
		})
	}
	work.Wait()
}

// printableLine is a line of a peer's made fit to show, its tabs kept.
func printableLine(s string) string {
	fields := strings.Split(strings.TrimSuffix(s, "\r"), "\t")
	for i := range fields {
		fields[i] = session.Printable(fields[i])
	}
	return strings.Join(fields, "\t")
}

// maxLine is the longest line that is kept whole, in bytes.
const maxLine = 64 << 10

// lines is a Writer that passes text on line by line. Longer lines than
// maxLine are broken. Close passes on what is left.
type lines struct {
	emit func(line string) error
	held []byte
}

func (l *lines) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		if room := maxLine - len(l.held); len(line) > room {
			line, rest, whole = p[:room], p[room:], true
		}
		l.held, p = append(l.held, line...), rest
		if whole {
			if err := l.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (l *lines) flush() error {
	line := string(l.held)
	l.held = l.held[:0]
	return l.emit(line)
}

func (l *lines) Close() error {
	if len(l.held) == 0 {
		return nil
	}
	return l.flush()
}

// groupLimit is how much output of one peer waits for its turn, in bytes.
const groupLimit = 1 << 20

// group holds one peer's output back until Close prints it in one piece. When
// there is too much to hold, it takes its turn early and keeps it.
type group struct {
	turn  *sync.Mutex // of all groups
	begin func() error

	mu      sync.Mutex
	held    []piece
	size    int
	printed bool // it has the turn
}

type piece struct {
	to   io.Writer
	text []byte
}

func (g *group) writer(to io.Writer) io.Writer { return groupWriter{g, to} }

type groupWriter struct {
	group *group
	to    io.Writer
}

func (w groupWriter) Write(p []byte) (int, error) {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.printed {
		return w.to.Write(p)
	}
	g.held = append(g.held, piece{w.to, bytes.Clone(p)})
	if g.size += len(p); g.size < groupLimit {
		return len(p), nil
	}
	return len(p), g.print()
}

func (g *group) print() error {
	g.turn.Lock()
	g.printed = true
	err := g.begin()
	for _, p := range g.held {
		if err == nil {
			_, err = p.to.Write(p.text)
		}
	}
	g.held = nil
	return err
}

func (g *group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var err error
	if !g.printed {
		err = g.print()
	}
	g.turn.Unlock()
	return err
}

// locked is a Writer for several goroutines: a JSON encoder writes one object
// at a time.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (l *locked) encode(v any) error { return json.NewEncoder(l).Encode(v) }
