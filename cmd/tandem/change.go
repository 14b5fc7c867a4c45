package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/folder"
)

func newMkdir(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:     "mkdir PEER:SHARE/PATH",
		Short:   "Make a folder in a shared folder",
		Example: "  tandem mkdir alice:project/docs/old",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				return c.Mkdir(ctx, p.path)
			})
		},
	}
}

func newMv(io stdio, f *flags) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "mv PEER:SHARE/PATH PATH",
		Short: "Move or rename something in a shared folder",
		Long: strings.TrimSpace(`
Move or rename a file or folder in a shared folder. The second PATH is in the
same share; if it ends in / or is a folder, what is moved keeps its name.`),
		Example: "  tandem mv alice:project/draft.md final.md\n  tandem mv alice:project/final.md docs/",
		Args:    takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				to := strings.Trim(args[1], "/")
				into, err := isRemoteDir(ctx, c, place{p.peer, p.share, to}, args[1])
				if err != nil {
					return err
				}
				if into {
					to = path.Join(to, path.Base(p.path))
				}
				return advise(c.Move(ctx, p.path, to, force), session.Exists, "--force replaces a file.")
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

func newRm(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "rm PEER:SHARE/PATH ...",
		Short: "Move things in a shared folder to its trash",
		Long: strings.TrimSpace(`
Move files and folders of a shared folder to its trash. Whoever shares it finds
them there for 30 days, in .tandem-trash at the top of the folder.`),
		Example: "  tandem rm alice:project/old.log",
		Args:    takes(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				err := withFolder(cmd.Context(), io, f, arg, func(ctx context.Context, c *folder.Client, p place) error {
					trash, err := c.Remove(ctx, p.path)
					if err != nil {
						return err
					}
					if f.json {
						return json.NewEncoder(io.out).Encode(map[string]string{"event": "removed", "path": p.path, "trash": trash})
					}
					fmt.Fprintf(io.err, "%s is in the trash of %s now, at %s\n", session.Printable(p.path), p.share, trash)
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newWatch(io stdio, f *flags) *cobra.Command {
	var flat bool
	cmd := &cobra.Command{
		Use:   "watch PEER:SHARE[/PATH]",
		Short: "Print changes in a shared folder as they happen",
		Long: strings.TrimSpace(`
Print changes to a file, or in a folder and below, as they happen: + what is
new, ~ what has changed, - what is gone. It goes on until Ctrl-C.`),
		Example: "  tandem watch alice:project\n  tandem watch --json alice:project/build.log",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				ready := func() { fmt.Fprintf(io.err, "Watching %s. Ctrl-C ends it.\n", args[0]) }
				return c.Watch(ctx, p.path, !flat, ready, func(changes []folder.Change) error {
					if f.json {
						return printLines(io.out, changes)
					}
					for _, ch := range changes {
						if _, err := fmt.Fprintln(io.out, describeChange(ch)); err != nil {
							return err
						}
					}
					return nil
				})
			})
		},
	}
	cmd.Flags().BoolVar(&flat, "flat", false, "leave out what is in the folders below")
	return cmd
}

// describeChange is one line about a change.
func describeChange(ch folder.Change) string {
	sign := map[folder.ChangeKind]string{folder.Created: "+", folder.Changed: "~", folder.Removed: "-"}[ch.Kind]
	line := sign + " " + session.Printable(ch.Path)
	switch {
	case ch.Entry.Dir:
		line += "/"
	case ch.Kind != folder.Removed:
		line += "  " + byteCount(uint64(ch.Entry.Size))
	}
	return line
}
