package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
)

// place is PEER:SHARE/PATH.
type place struct{ peer, share, path string }

func parsePlace(s string) (place, error) {
	peer, rest, ok := strings.Cut(s, ":")
	if !ok || peer == "" {
		return place{}, usagef("%q should be PEER:SHARE/PATH", s)
	}
	rest = strings.Trim(rest, "/")
	share, inside, _ := strings.Cut(rest, "/")
	if share == "" {
		return place{}, usagef("name one of the folders they share, as joining has shown it: %s:SHARE/PATH", peer)
	}
	return place{peer, share, inside}, nil
}

// withFolder runs use with the share at a place.
func withFolder(ctx context.Context, io stdio, f *flags, at string, use func(context.Context, *folder.Client, place) error) error {
	p, err := parsePlace(at)
	if err != nil {
		return err
	}
	err = withBackend(ctx, io, f, func(ctx context.Context, b node.Backend) error {
		return use(ctx, folder.NewClient(node.Bound{Backend: b, Peer: p.peer}, p.share), p)
	})
	return advise(err, session.Denied, "They decide what you may do; joining has shown it. Is the name of the folder right?")
}

func newLs(io stdio, f *flags) *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:     "ls PEER:SHARE[/PATH]",
		Short:   "List a shared folder",
		Example: "  tandem ls alice:project\n  tandem ls -l alice:project/docs",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				entries, skipped, err := c.List(ctx, p.path)
				if err != nil {
					return err
				}
				if f.json {
					return printLines(io.out, entries)
				}
				if err := printEntries(io, entries, long); err != nil {
					return err
				}
				if skipped > 0 {
					fmt.Fprintf(io.err, "%d entries are not shown: links, special files or names that don't travel\n", skipped)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show sizes and times")
	return cmd
}

func printEntries(io stdio, entries []folder.Entry, long bool) error {
	w := tabwriter.NewWriter(io.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, e := range entries {
		name := session.Printable(e.Name)
		if e.Dir {
			name += "/"
		}
		switch {
		case !long:
			fmt.Fprintln(io.out, name)
		case e.Dir:
			fmt.Fprintf(w, "\t%s\t  %s\n", e.ModTime().Local().Format(time.DateTime), name)
		default:
			fmt.Fprintf(w, "%d\t%s\t  %s\n", e.Size, e.ModTime().Local().Format(time.DateTime), name)
		}
	}
	return w.Flush()
}

func newGet(io stdio, f *flags) *cobra.Command {
	var o folder.Options
	cmd := &cobra.Command{
		Use:   "get PEER:SHARE/PATH [DEST]",
		Short: "Copy a file or folder from a peer",
		Long: strings.TrimSpace(`
Copy a file or folder from a peer, verified to the last byte. What was
interrupted goes on where it stopped when you run it again. DEST is a file, a
folder to copy into, or - for standard output; without it, the current folder.`),
		Example: "  tandem get alice:project/report.pdf\n  tandem get alice:project backup/",
		Args:    takes(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				dest := "."
				if len(args) == 2 {
					dest = args[1]
				}
				name := p.share
				if p.path != "" {
					name = path.Base(p.path)
				}
				if dest == "-" {
					_, err := c.Read(ctx, p.path, io.out, o)
					return err
				}
				if info, err := os.Stat(dest); err == nil && info.IsDir() && name != "" {
					dest = filepath.Join(dest, name)
				}
				t := newTransfer(io, f)
				o.Progress = t.progress
				summary, err := c.Get(ctx, p.path, dest, o)
				return t.finish(summary, err)
			})
		},
	}
	transferFlags(cmd, &o)
	return cmd
}

func newPut(io stdio, f *flags) *cobra.Command {
	var o folder.Options
	cmd := &cobra.Command{
		Use:   "put SRC PEER:SHARE[/PATH]",
		Short: "Copy a file or folder to a peer",
		Long: strings.TrimSpace(`
Copy a file or folder to a peer, verified to the last byte. What was
interrupted goes on where it stopped when you run it again. A PATH that ends
in / or is a folder takes SRC under its own name; SRC may be - for standard
input.`),
		Example: "  tandem put report.pdf alice:project\n  tandem put photos/ alice:project/photos",
		Args:    takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[1], func(ctx context.Context, c *folder.Client, p place) error {
				src := args[0]
				if src == "-" {
					if p.path == "" {
						return usagef("name the file that standard input becomes: %s/NAME", args[1])
					}
					_, err := c.Write(ctx, p.path, io.in, time.Now().UnixNano(), o)
					return err
				}
				abs, err := filepath.Abs(src)
				if err != nil {
					return &session.Error{Op: "put", Kind: session.Invalid, Err: err}
				}
				target := p.path
				if into, err := isRemoteDir(ctx, c, p, args[1]); err != nil {
					return err
				} else if into {
					target = path.Join(p.path, filepath.Base(abs))
				}
				t := newTransfer(io, f)
				o.Progress = t.progress
				summary, err := c.Put(ctx, abs, target, o)
				return t.finish(summary, err)
			})
		},
	}
	transferFlags(cmd, &o)
	return cmd
}

// isRemoteDir reports whether a put goes into the place rather than to it.
func isRemoteDir(ctx context.Context, c *folder.Client, p place, typed string) (bool, error) {
	if p.path == "" || strings.HasSuffix(typed, "/") {
		return true, nil
	}
	e, err := c.Stat(ctx, p.path)
	if session.KindOf(err) == session.NotFound {
		return false, nil
	}
	return e.Dir, err
}

func transferFlags(cmd *cobra.Command, o *folder.Options) {
	cmd.Flags().BoolVar(&o.Force, "force", false, "replace files that are there with other content")
	cmd.Flags().BoolVar(&o.Executables, "executables", false, "let copied files be executable here")
}

// transfer shows a copy's progress to a person, or its result to a script.
type transfer struct {
	io    stdio
	json  bool
	shown bool // a progress line is on the screen
	begun time.Time
	last  time.Time

	// Where the first report found the copy: what had arrived before says
	// nothing about the rate.
	first      time.Time
	firstBytes int64
}

func newTransfer(io stdio, f *flags) *transfer {
	return &transfer{io: io, json: f.json, begun: time.Now()}
}

// progress redraws one line, on terminals only.
func (t *transfer) progress(p folder.Progress) {
	file, ok := t.io.err.(*os.File)
	if t.json || !ok || !isTerminal(file) {
		return
	}
	now := time.Now()
	if t.first.IsZero() {
		t.first, t.firstBytes = now, p.BytesDone
	}
	if now.Sub(t.last) < 100*time.Millisecond {
		return
	}
	t.last, t.shown = now, true
	line := fmt.Sprintf("%s of %s", byteCount(uint64(p.BytesDone)), byteCount(uint64(p.Bytes)))
	if p.Files > 1 {
		line = fmt.Sprintf("%d/%d files  ", p.FilesDone, p.Files) + line
	}
	if rate := float64(p.BytesDone-t.firstBytes) / now.Sub(t.first).Seconds(); now.Sub(t.first) > time.Second/2 && rate > 0 {
		left := time.Duration(float64(max(p.Bytes-p.BytesDone, 0)) / rate * float64(time.Second))
		line += fmt.Sprintf("  %s/s  %s left", byteCount(uint64(rate)), left.Round(time.Second))
	}
	line += "  " + session.Printable(path.Base(p.Current))
	if cols, _, err := term.GetSize(int(file.Fd())); err == nil {
		line = ansi.Truncate(line, cols-1, "…") // a line that wraps can't be redrawn
	}
	fmt.Fprintf(t.io.err, "\r\x1b[K%s", line)
}

// clear removes the progress line.
func (t *transfer) clear() {
	if t.shown {
		fmt.Fprint(t.io.err, "\r\x1b[K")
		t.shown = false
	}
}

// finish reports what was copied and passes err on.
func (t *transfer) finish(s folder.Summary, err error) error {
	t.clear()
	if t.json {
		line := struct {
			Event string `json:"event"`
			folder.Summary
			Error string `json:"error,omitempty"`
		}{"done", s, ""}
		if err != nil {
			line.Error = err.Error()
		}
		if jsonErr := json.NewEncoder(t.io.out).Encode(line); jsonErr != nil {
			return jsonErr
		}
		return err
	}
	for i, failure := range s.Failures {
		if i == 10 {
			fmt.Fprintf(t.io.err, "… and %d more\n", s.Failed-i)
			break
		}
		if len(s.Failures) > 1 {
			fmt.Fprintf(t.io.err, "%s: %s\n", session.Printable(failure.Path), session.Printable(failure.Err.Error()))
		}
	}
	if s.Files+s.Same+s.Dirs > 0 {
		elapsed := time.Since(t.begun)
		fmt.Fprintf(t.io.err, "%s copied, %s in %s", counted(s.Files, "file"), byteCount(uint64(s.Bytes)), elapsed.Round(10*time.Millisecond))
		if s.Same > 0 {
			fmt.Fprintf(t.io.err, "; %d were there already", s.Same)
		}
		if s.Resumed > 0 {
			fmt.Fprintf(t.io.err, "; %s had arrived before", byteCount(uint64(s.Resumed)))
		}
		if s.Skipped > 0 {
			fmt.Fprintf(t.io.err, "; %s skipped", counted(s.Skipped, "link or special file"))
		}
		fmt.Fprintln(t.io.err)
	}
	err = advise(err, session.Canceled, "Run it again, and it goes on where it stopped.")
	return advise(err, session.Exists, "--force replaces it.")
}

// counted is n of something.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
