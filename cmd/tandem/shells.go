package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
)

func newShells(io stdio, f *flags) *cobra.Command {
	var c changes
	cmd := &cobra.Command{
		Use:   "shells [PEER]",
		Short: "List terminals and who is at them; let viewers type, or make them leave",
		Long: `List the terminals that a peer shares with you, or without a peer those of your
own running share: what runs there, how long nothing has happened, and who is
there, with the first words of their fingerprint. The flags change your own; a
viewer is NAME/NUMBER as the list has it, or somebody's name.`,
		Example: `  tandem shells alice
  tandem shells --let-type bob
  tandem shells --pin 100x30`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			peer := node.Own
			if len(args) == 1 {
				peer = args[0]
			}
			if peer != node.Own && c.any() {
				return usagef("you can change your own terminals only; leave %s out", peer)
			}
			if err := c.check(); err != nil {
				return err
			}
			return withBackend(cmd.Context(), io, f, func(ctx context.Context, b node.Backend) error {
				if err := needsRunning(b, peer, "tandem shells"); err != nil {
					return err
				}
				at := node.Bound{Backend: b, Peer: peer}
				infos, err := terminal.List(ctx, at.Open, "")
				if err != nil {
					return err
				}
				if c.any() {
					return c.make(ctx, io, at, infos)
				}
				if f.json {
					return printLines(io.out, infos)
				}
				return printShells(io.out, infos)
			})
		},
	}
	c.flags(cmd)
	return cmd
}

// needsRunning explains that there are no terminals of one's own yet.
func needsRunning(b node.Backend, peer, verb string) error {
	if _, running := b.(*node.Client); peer != node.Own || running {
		return nil
	}
	return &session.Error{
		Op: "shell", Kind: session.NotFound, Text: "no tandem of yours is running here",
		Hint: fmt.Sprintf("`tandem share --terminal` shares a terminal; `%s` then shows it in another window.", verb),
	}
}

// changes are what the flags of shells ask for.
type changes struct {
	letType, onlyWatch, kick, letBack, end []string
	pin, unpin                             string
	pins                                   terminal.Do
	pinned                                 string // the name of the terminal that pins is for
}

func (c *changes) flags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&c.letType, "let-type", nil, "let this viewer type, until it leaves")
	fs.StringArrayVar(&c.onlyWatch, "only-watch", nil, "let this viewer only watch, or refuse its wish to type")
	fs.StringArrayVar(&c.kick, "kick", nil, "make this viewer leave the terminal, and keep it out")
	fs.StringArrayVar(&c.letBack, "let-back", nil, "let somebody in again who was made to leave")
	fs.StringArrayVar(&c.end, "end", nil, "end the terminal of this name, with all its programs")
	fs.StringVar(&c.pin, "pin", "", "fix the size of a terminal: COLSxROWS, or NAME=COLSxROWS")
	fs.StringVar(&c.unpin, "unpin", "", "let the terminal of this name follow the smallest window of those who type")
}

func (c *changes) any() bool {
	return len(c.letType)+len(c.onlyWatch)+len(c.kick)+len(c.letBack)+len(c.end) > 0 || c.pin != "" || c.unpin != ""
}

func (c *changes) check() error {
	if c.unpin != "" {
		c.pins, c.pinned = terminal.Do{What: terminal.DoPin}, c.unpin
	}
	if c.pin == "" {
		return nil
	}
	name, size, named := strings.Cut(c.pin, "=")
	if !named {
		name, size = terminal.DefaultName, c.pin
	}
	cols, rows, _ := strings.Cut(size, "x")
	w, errCols := strconv.ParseUint(cols, 10, 16)
	h, errRows := strconv.ParseUint(rows, 10, 16)
	if errCols != nil || errRows != nil || w < 1 || h < 1 || w > terminal.MaxSize || h > terminal.MaxSize {
		return usagef("--pin takes a size such as 100x30, of at most %d cells each way, not %q", terminal.MaxSize, size)
	}
	c.pins = terminal.Do{What: terminal.DoPin, Size: terminal.Size{Cols: uint16(w), Rows: uint16(h)}}
	c.pinned = name
	return nil
}

// seat is one viewer at one terminal, or somebody who is kept out of it.
type seat struct {
	terminal string
	viewer   uint64
	peer     session.PeerID
	name     string
}

func (s seat) String() string {
	return fmt.Sprintf("%s/%d", session.Printable(s.terminal), s.viewer)
}

// make does what was asked for, one after the other, and says so.
func (c *changes) make(ctx context.Context, io stdio, at node.Bound, infos []terminal.Info) error {
	var seats, out []seat
	for _, i := range infos {
		for _, v := range i.Viewers {
			seats = append(seats, seat{i.Name, v.Viewer, v.Peer, v.Name})
		}
		for _, p := range i.KeptOut {
			out = append(out, seat{i.Name, 0, p.ID, p.Name})
		}
	}
	change := func(name string, do terminal.Do, format string, args ...any) error {
		if _, err := terminal.Change(ctx, at.Open, name, do); err != nil {
			return err
		}
		_, err := fmt.Fprintf(io.out, format+"\n", args...)
		return err
	}
	each := func(whom []string, among []seat, one bool, do func(seat) error) error {
		for _, who := range whom {
			found, err := findSeats(who, among)
			if err == nil && one && len(found) > 1 {
				err = usagef("%s is there several times: say which of %v", who, found)
			}
			if err != nil {
				return err
			}
			for _, s := range found {
				if err := do(s); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := each(c.letType, seats, true, func(s seat) error {
		return change(s.terminal, terminal.Do{What: terminal.DoRight, Viewer: s.viewer, Right: terminal.Control},
			"%s may type at %s.", who(s.name, s.peer), s.terminal)
	}); err != nil {
		return err
	}
	if err := each(c.onlyWatch, seats, false, func(s seat) error {
		return change(s.terminal, terminal.Do{What: terminal.DoRight, Viewer: s.viewer, Right: terminal.View},
			"%s may only watch %s.", who(s.name, s.peer), s.terminal)
	}); err != nil {
		return err
	}
	if err := each(c.kick, seats, false, func(s seat) error {
		return change(s.terminal, terminal.Do{What: terminal.DoKick, Viewer: s.viewer},
			"%s has left %s, and is kept out.", who(s.name, s.peer), s.terminal)
	}); err != nil {
		return err
	}
	if err := each(c.letBack, out, false, func(s seat) error {
		return change(s.terminal, terminal.Do{What: terminal.DoLetBack, Peer: s.peer},
			"%s may come back to %s.", who(s.name, s.peer), s.terminal)
	}); err != nil {
		return err
	}
	if c.pinned != "" {
		format := "%[1]s stays at %[2]d by %[3]d cells."
		if c.pins.IsZero() {
			format = "%[1]s follows the smallest window of those who type."
		}
		if err := change(c.pinned, c.pins, format, session.Printable(c.pinned), c.pins.Cols, c.pins.Rows); err != nil {
			return err
		}
	}
	for _, name := range c.end {
		if err := change(name, terminal.Do{What: terminal.DoEnd}, "%s has ended.", session.Printable(name)); err != nil {
			return err
		}
	}
	return nil
}

// findSeats finds who is meant by NAME/NUMBER, by a number at the main
// terminal, or by a name or a peer's ID, of which there must be one peer. Of
// one peer at one terminal the first is enough: it stands for all.
func findSeats(whom string, among []seat) ([]seat, error) {
	var found []seat
	for _, s := range among {
		named := s.name == whom || s.peer.Short() == whom || s.peer.String() == whom
		if s.viewer != 0 && (s.String() == whom || s.terminal == terminal.DefaultName && strconv.FormatUint(s.viewer, 10) == whom) {
			return []seat{s}, nil
		}
		if named && !slices.ContainsFunc(found, func(o seat) bool { return o.peer == s.peer && o.terminal == s.terminal }) {
			found = append(found, s)
		}
	}
	for _, s := range found {
		if s.peer != found[0].peer {
			return nil, usagef("several peers call themselves %s: say NAME/NUMBER, as `tandem shells` has it", session.Printable(whom))
		}
	}
	if len(found) == 0 {
		return nil, &session.Error{
			Op: "find viewer", Kind: session.NotFound, Text: "nobody there is " + session.Printable(whom),
			Hint: "`tandem shells` lists who is there.",
		}
	}
	return found, nil
}

// who names somebody by what it calls itself and by what is proved.
func who(name string, peer session.PeerID) string {
	return terminal.Who(session.Peer{ID: peer, Name: name}, node.Words)
}

// printShells shows terminals, and who is at each, for people.
func printShells(w io.Writer, infos []terminal.Info) error {
	if len(infos) == 0 {
		_, err := fmt.Fprintln(w, "No terminals. `tandem shell PEER:NAME` makes one.")
		return err
	}
	for i, info := range infos {
		if i > 0 {
			fmt.Fprintln(w)
		}
		notes := ""
		if info.Pinned {
			notes = " (pinned)"
		}
		if !info.Shared {
			notes += ", not shared"
		}
		fmt.Fprintf(w, "%s: %s, %dx%d%s, idle for %s\n", info.Name, session.Printable(info.Program), info.Size.Cols, info.Size.Rows, notes, terminal.Ago(info.Idle))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, v := range info.Viewers {
			fmt.Fprintf(t, "  %s/%d\t%s\n", info.Name, v.Viewer, strings.Join(terminal.Describe(v, info.Typist, node.Words), "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, p := range info.KeptOut {
			fmt.Fprintf(w, "  kept out: %s\n", who(p.Name, p.ID))
		}
	}
	return nil
}
