package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
)

// copyFlags say how files are copied.
type copyFlags struct {
	overwrite   string
	dryRun      bool
	compare     bool
	executables bool
}

func (c *copyFlags) addTo(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&c.overwrite, "overwrite", "",
		"what to do where a file with other content is: ask, newer (replace it by a newer one), always, never (leave it) or refuse (leave it and fail); by default ask on a terminal, and else refuse")
	fs.BoolVarP(&c.dryRun, "dry-run", "n", false, "only say what would be copied")
	fs.BoolVar(&c.compare, "compare", false, "compare the content of files that have the same size and time")
	fs.BoolVar(&c.executables, "executables", false, "let copied files be executable here")
}

// copying is one run of get or put.
type copying struct {
	flags  copyFlags
	show   *transfer
	prompt *prompt

	mu  sync.Mutex
	all map[string]folder.Decision // for a peer, once somebody has said so
}

func newCopying(io stdio, f *flags, c copyFlags) (*copying, error) {
	p := newPrompt(io)
	switch c.overwrite {
	case "":
		c.overwrite = "refuse"
		if p.interactive() && !f.json && !c.dryRun {
			c.overwrite = "ask"
		}
	case "ask":
		if !p.interactive() || f.json {
			return nil, usagef("nobody is at the keyboard to ask: --overwrite takes newer, always, never or refuse then")
		}
	case "newer", "always", "never", "refuse":
	default:
		return nil, usagef("--overwrite takes ask, newer, always, never or refuse, not %q", c.overwrite)
	}
	return &copying{flags: c, show: newTransfer(io, f), prompt: p, all: make(map[string]folder.Decision)}, nil
}

// options are those of one copy, with peer named where there are several.
func (c *copying) options(peer string) folder.Options {
	o := folder.Options{
		Force: c.flags.overwrite == "always", Executables: c.flags.executables, Compare: c.flags.compare,
	}
	o.Asking = func() { c.show.tell(peer, "They are asked whether to accept this.") }
	if c.flags.dryRun {
		o.Plan = func(s folder.Step) { c.show.plan(peer, s) }
	} else {
		o.Progress = c.show.copy()
	}
	switch c.flags.overwrite {
	case "never":
		o.Decide = func(context.Context, folder.Conflict) (folder.Decision, error) { return folder.Keep, nil }
	case "newer":
		o.Decide = func(_ context.Context, f folder.Conflict) (folder.Decision, error) {
			if f.New.MTime > f.There.MTime {
				return folder.Replace, nil
			}
			return folder.Keep, nil
		}
	case "ask":
		o.Decide = func(ctx context.Context, f folder.Conflict) (folder.Decision, error) { return c.ask(ctx, peer, f) }
	}
	return o
}

// ask asks the person at the keyboard about one file.
func (c *copying) ask(ctx context.Context, peer string, f folder.Conflict) (folder.Decision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.all[peer]; ok {
		return d, nil
	}
	c.show.pause(true)
	defer c.show.pause(false)
	where := "There is another version already"
	if peer != "" {
		where = peer + " has another version already"
	}
	about := fmt.Sprintf("%s\n  %s.\n  there  %s\n  new    %s", session.Printable(f.Path), where, describeVersion(f.There), describeVersion(f.New))
	answer, err := c.prompt.ask(ctx, about, "Replace it? Type yes, no, all or none: ", "yes", "no", "all", "none", "y", "n")
	if err != nil {
		return folder.Refuse, err
	}
	switch answer {
	case "all":
		c.all[peer] = folder.Replace
	case "none":
		c.all[peer] = folder.Keep
	}
	if strings.HasPrefix(answer, "y") || answer == "all" {
		return folder.Replace, nil
	}
	return folder.Keep, nil
}

func describeVersion(e folder.Entry) string {
	return fmt.Sprintf("%s of %s", byteCount(uint64(e.Size)), e.ModTime().Local().Format(time.DateTime))
}

func newGet(io stdio, f *flags) *cobra.Command {
	var c copyFlags
	cmd := &cobra.Command{
		Use:   "get PEER:SHARE/PATH… [DEST]",
		Short: "Copy files or folders from a peer",
		Long: strings.TrimSpace(`
Copy files or folders from a peer, verified to the last byte. Of a file of which an
older version is here, only what differs travels. What was interrupted goes on
where it stopped when you run it again.

DEST is a file, a folder to copy into, or - for standard output; without it, the
current folder. The content of a folder goes into DEST itself if its PATH ends in
/ or DEST has its name.`),
		Example: `  tandem get alice:project/report.pdf
  # makes or completes backup/project
  tandem get alice:project backup
  # the same in backup itself
  tandem get --overwrite newer alice:project/ backup`,
		Args: takes(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, dest := args, "."
			if last := len(args) - 1; last > 0 && !isPlace(args[last]) {
				sources, dest = args[:last], args[last]
			}
			copying, err := newCopying(io, f, c)
			if err != nil {
				return err
			}
			defer copying.show.close()
			if dest == "-" && (len(sources) > 1 || c.dryRun) {
				return usagef("one file at a time goes to standard output")
			}
			var errs []error
			for _, source := range sources {
				err := withFolder(cmd.Context(), io, f, source, func(ctx context.Context, fc *folder.Client, p place) error {
					if dest == "-" {
						_, err := fc.Read(ctx, p.path, io.out, folder.Options{})
						return err
					}
					into, err := getInto(p, source, dest, len(sources) > 1)
					if err != nil {
						return err
					}
					begun := time.Now()
					summary, err := fc.Get(ctx, p.path, into, copying.options(""))
					return copying.show.finish("", c.dryRun, begun, summary, err)
				})
				if errs = append(errs, err); session.KindOf(err) == session.Canceled && err != nil {
					break
				}
			}
			return errors.Join(errs...)
		},
	}
	c.addTo(cmd)
	return cmd
}

// getInto is where the content of a place goes.
func getInto(p place, typed, dest string, several bool) (string, error) {
	name := p.name()
	info, err := os.Stat(dest)
	isDir := err == nil && info.IsDir()
	switch {
	case strings.HasSuffix(typed, "/"):
		return dest, nil
	case several && !isDir:
		return "", &session.Error{Op: "get", Kind: session.NotFound, Text: fmt.Sprintf("%s is not a folder, and several files can't become one", dest)}
	case !isDir:
		return dest, nil
	case !several && filepath.Base(dest) == name && !strings.HasSuffix(filepath.ToSlash(dest), "/"):
		return dest, nil // as it was made the first time
	}
	return filepath.Join(dest, name), nil
}

// splitPlaces divides arguments into local paths and the places at the end.
func splitPlaces(args []string) (paths, places []string) {
	n := len(args)
	for n > 0 && isPlace(args[n-1]) {
		n--
	}
	return args[:n], args[n:]
}

// isPlace reports whether an argument is PEER:… rather than a path: a slash
// before the colon, as in ./a:b, makes it a path.
func isPlace(arg string) bool {
	peer, _, ok := strings.Cut(arg, ":")
	if len(peer) == 1 && runtime.GOOS == "windows" {
		return false // a drive
	}
	return ok && peer != "" && !strings.ContainsAny(peer, `/\`)
}

func newPut(io stdio, f *flags) *cobra.Command {
	var c copyFlags
	cmd := &cobra.Command{
		Use:   "put SRC… PEER:SHARE[/PATH]…",
		Short: "Copy files or folders to one peer or several",
		Long: strings.TrimSpace(`
Copy files or folders to a peer, or to several at once, verified to the last
byte. Of a file of which an older version is there, only what differs travels.
What was interrupted goes on where it stopped when you run it again.

A PATH that ends in / or is a folder takes SRC under its own name. The content of
a folder goes into PATH itself if SRC ends in / or PATH has its name. SRC may be -
for standard input.
The last arguments with a colon are the places; write ./a:b for a file of such a
name.`),
		Example: `  tandem put report.pdf alice:project
  # makes or completes project/photos
  tandem put photos alice:project
  # the same in project/pictures itself
  tandem put photos/ alice:project/pictures
  tandem put report.pdf alice:project bob:inbox`,
		Args: takes(2, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			sources, places := splitPlaces(args)
			switch {
			case len(places) == 0:
				_, err := parsePlace(args[len(args)-1])
				return err
			case len(sources) == 0:
				return usagef("name what to copy before %s", places[0])
			}
			copying, err := newCopying(io, f, c)
			if err != nil {
				return err
			}
			defer copying.show.close()
			return putAll(cmd.Context(), io, f, copying, sources, places)
		},
	}
	c.addTo(cmd)
	return cmd
}

// putAll copies all sources to all places, at once to as many as eight.
func putAll(ctx context.Context, io stdio, f *flags, c *copying, sources, typed []string) error {
	places := make([]place, len(typed))
	for i := range typed {
		var err error
		if places[i], err = parsePlace(typed[i]); err != nil {
			return err
		}
	}
	for _, source := range sources {
		switch {
		case source != "-":
		case len(sources)+len(places) > 2:
			return usagef("standard input goes to one place, by itself")
		case places[0].path == "":
			return usagef("name the file that standard input becomes: %s/NAME", typed[0])
		case c.flags.dryRun || c.flags.overwrite == "newer" || c.flags.overwrite == "never":
			return usagef("standard input has no time and no size; --overwrite takes always or refuse with it")
		}
	}
	errs := make([]error, len(places))
	err := withBackend(ctx, io, f, func(ctx context.Context, b node.Backend) error {
		each(typed, 8, func(i int, _ string) {
			p, label := places[i], ""
			if len(places) > 1 {
				label = p.peer
			}
			client := folder.NewClient(node.Bound{Backend: b, Peer: p.peer}, p.share)
			for _, source := range sources {
				err := c.put(ctx, io, client, source, p, typed[i], label)
				if err != nil && label != "" {
					err = &session.Error{Kind: session.KindOf(err), Text: label + ": " + describeError(err), Hint: session.Hint(err)}
				}
				if errs[i] = errors.Join(errs[i], err); ctx.Err() != nil {
					break
				}
			}
		})
		return errors.Join(errs...)
	})
	return adviseDenied(err, places[0].peer)
}

// put copies one source to one place.
func (c *copying) put(ctx context.Context, io stdio, client *folder.Client, source string, p place, typed, label string) error {
	o := c.options(label)
	if source == "-" {
		_, err := client.Write(ctx, p.path, io.in, time.Now().UnixNano(), folder.Options{Force: o.Force})
		return advise(err, session.Exists, "--overwrite always replaces it.")
	}
	abs, err := filepath.Abs(source)
	if err != nil {
		return &session.Error{Op: "put", Kind: session.Invalid, Err: err}
	}
	target := p.path
	info, err := os.Stat(abs)
	whole := err == nil && info.IsDir() && strings.HasSuffix(filepath.ToSlash(source), "/") // its content
	if !whole {
		into, err := isRemoteDir(ctx, client, p, typed)
		if err != nil {
			return err
		}
		again := info != nil && info.IsDir() && p.name() == filepath.Base(abs) && !strings.HasSuffix(typed, "/")
		if into && !again { // where it was made the first time, it is completed
			target = path.Join(p.path, filepath.Base(abs))
		}
	}
	begun := time.Now()
	summary, err := client.Put(ctx, abs, target, o)
	return c.show.finish(label, c.flags.dryRun, begun, summary, err)
}
