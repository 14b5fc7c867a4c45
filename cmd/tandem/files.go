package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	goio "io"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

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
		return place{}, usagef("name one of the folders they share, as in %[1]s:SHARE/PATH; `tandem shares %[1]s` lists them", peer)
	}
	return place{peer, share, inside}, nil
}

// name is what the place itself is called: a folder that is shared has the share's name.
func (p place) name() string {
	if p.path == "" {
		return p.share
	}
	return path.Base(p.path)
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
	return adviseDenied(err, p.peer)
}

// adviseDenied adds where to look to what a peer does not allow.
func adviseDenied(err error, peer string) error {
	return advise(err, session.Denied, fmt.Sprintf("They decide what you may do: `tandem shares %s` lists it.", peer))
}

func newLs(io stdio, f *flags) *cobra.Command {
	var long, recursive bool
	cmd := &cobra.Command{
		Use:     "ls PEER:SHARE[/PATH]",
		Short:   "List a shared folder",
		Example: "  tandem ls alice:project\n  tandem ls -l alice:project/docs",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				return list(ctx, io, f, c, p.path, long, recursive)
			})
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show sizes and times")
	cmd.Flags().BoolVarP(&recursive, "recursive", "R", false, "list the folders below, too")
	return cmd
}

// list prints a folder as it comes.
func list(ctx context.Context, io stdio, f *flags, c *folder.Client, at string, long, recursive bool) error {
	skipped := 0
	out := bufio.NewWriter(io.out)
	err := c.Pages(ctx, at, recursive, func(p folder.Page) error {
		switch {
		case p.Err != nil && p.Dir == "":
			return p.Err
		case p.Err != nil:
			fmt.Fprintf(io.err, "tandem: %s\n", session.Printable(describeError(p.Err)))
		}
		skipped += p.Skipped
		for i := range p.Entries {
			p.Entries[i].Name = path.Join(p.Dir, p.Entries[i].Name)
		}
		if f.json {
			return errors.Join(printLines(out, p.Entries), out.Flush())
		}
		return errors.Join(printEntries(out, p.Entries, long), out.Flush())
	})
	if err == nil && skipped > 0 && !f.json {
		fmt.Fprintf(io.err, "%d entries are not shown: links, special files or names that don't travel\n", skipped)
	}
	return err
}

func printEntries(out goio.Writer, entries []folder.Entry, long bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, e := range entries {
		name := session.Printable(e.Name)
		if e.Dir {
			name += "/"
		}
		switch {
		case !long:
			fmt.Fprintln(w, name)
		case e.Dir:
			fmt.Fprintf(w, "\t%s\t  %s\n", e.ModTime().Local().Format(time.DateTime), name)
		default:
			fmt.Fprintf(w, "%d\t%s\t  %s\n", e.Size, e.ModTime().Local().Format(time.DateTime), name)
		}
	}
	return w.Flush()
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

// counted is n of something.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
