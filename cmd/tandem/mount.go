package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/folder/mount"
)

func newMount(io stdio, f *flags) *cobra.Command {
	var readOnly, dav bool
	cmd := &cobra.Command{
		Use:   "mount PEER:SHARE[/PATH] [DIR]",
		Short: "Show a shared folder as a folder of this machine",
		Long: strings.TrimSpace(`
Show a shared folder as a folder of this machine, until Ctrl-C. DIR is an empty
folder; without it, one named like the share is made in the current folder.
What you write travels when a file is closed, and replaces the old file at
once. That needs FUSE, and so Linux; --webdav serves the folder to file managers
on any system, at an address that only you are told.`),
		Example: "  tandem mount alice:project\n  tandem mount --read-only alice:project /mnt/alice",
		Args:    takes(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				if dav {
					return serveFolder(ctx, io, f, c, p, readOnly)
				}
				dir := p.share
				if len(args) == 2 {
					dir = args[1]
				}
				return mountFolder(ctx, io, f, c, p, dir, readOnly)
			})
		},
	}
	cmd.Flags().BoolVar(&dav, "webdav", false, "serve the folder by WebDAV on this machine instead")
	cmd.Flags().BoolVar(&readOnly, "read-only", false, "change nothing there")
	return cmd
}

// mountFolder mounts until ctx ends or somebody unmounts.
func mountFolder(ctx context.Context, io stdio, f *flags, c *folder.Client, p place, dir string, readOnly bool) (err error) {
	if e, err := c.Stat(ctx, p.path); err != nil {
		return err
	} else if !e.Dir {
		return session.Errorf("mount", session.Invalid, "%s is a file, and only folders can be mounted", session.Printable(p.path))
	}
	made, err := mountPoint(dir)
	if err != nil {
		return err
	}
	if made {
		defer func() { err = errors.Join(err, os.Remove(dir)) }()
	}
	tree := mount.New(c, p.path, readOnly)
	defer tree.Close()
	m, err := mount.Mount(tree, dir, "tandem:"+p.peer+":"+p.share)
	if err != nil {
		return err
	}
	if f.json {
		fmt.Fprintf(io.out, "{\"event\":\"mounted\",\"dir\":%q}\n", dir)
	} else {
		fmt.Fprintf(io.err, "%s:%s is mounted on %s. Ctrl-C unmounts it.\n", p.peer, p.share, dir)
	}
	over := make(chan struct{})
	go func() {
		m.Wait()
		close(over)
	}()
	select {
	case <-over: // by somebody else
		return nil
	case <-ctx.Done():
	}
	if err := m.Unmount(); err != nil {
		return err
	}
	<-over
	return nil
}

// serveFolder serves a folder by WebDAV until ctx ends.
func serveFolder(ctx context.Context, io stdio, f *flags, c *folder.Client, p place, readOnly bool) error {
	if _, err := c.Stat(ctx, p.path); err != nil {
		return err
	}
	tree := mount.New(c, p.path, readOnly)
	defer tree.Close()
	d, err := mount.ServeDAV(tree)
	if err != nil {
		return err
	}
	if f.json {
		fmt.Fprintf(io.out, "{\"event\":\"serving\",\"url\":%q}\n", d.URL())
	} else {
		fmt.Fprintf(io.out, "%s\n", d.URL())
		fmt.Fprintf(io.err, "A file manager of this machine opens that address. Ctrl-C ends it.\n")
	}
	<-ctx.Done()
	return d.Close()
}

// mountPoint makes dir if it isn't there, and refuses one that would be hidden.
func mountPoint(dir string) (made bool, err error) {
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		return true, nil
	case !errors.Is(err, fs.ErrExist):
		return false, &session.Error{Op: "mount", Kind: session.Invalid, Err: err}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, &session.Error{Op: "mount", Kind: session.Invalid, Err: err}
	}
	if len(entries) > 0 {
		return false, &session.Error{
			Op: "mount", Kind: session.Exists, Text: dir + " is not empty, and what is in it would be hidden",
			Hint: "Name another folder: `tandem mount PEER:SHARE DIR`.",
		}
	}
	return false, nil
}
