package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tandem/session"
	"tandem/share/folder"
)

func newOpen(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "open PEER:SHARE/PATH",
		Short: "Fetch one file from a peer and open it with this machine's program for it",
		Long: strings.TrimSpace(`
Fetch one file from a peer and open it with the program that this machine has for
files of its kind. It is a copy that only you can read, in a new folder for
temporary files; what you do with it changes nothing at the peer's. Programs and
scripts are not opened.`),
		Example: "  tandem open alice:project/report.pdf",
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withFolder(cmd.Context(), io, f, args[0], func(ctx context.Context, c *folder.Client, p place) error {
				return openFile(ctx, io, f, c, p)
			})
		},
	}
}

func openFile(ctx context.Context, io stdio, f *flags, c *folder.Client, p place) error {
	e, err := c.Stat(ctx, p.path)
	switch {
	case err != nil:
		return err
	case e.Dir:
		return &session.Error{
			Op: "open", Kind: session.Invalid, Text: session.Printable(path.Join(p.share, p.path)) + " is a folder",
			Hint: "`tandem mount` or `tandem mount --webdav` shows folders.",
		}
	case e.Exec, runs(p.path, nil):
		return refuseProgram(p.path)
	}
	copied, err := fetchCopy(ctx, io, f, c, p)
	if err != nil {
		return err
	}
	if f.json {
		if err := json.NewEncoder(io.out).Encode(map[string]string{"event": "fetched", "file": copied}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(io.err, "Opening a copy: %s\n", copied)
	}
	return launch(ctx, io, copied)
}

// fetchCopy puts a file where only this user finds it, and says where. It
// leaves nothing behind when it fails.
func fetchCopy(ctx context.Context, io stdio, f *flags, c *folder.Client, p place) (copied string, err error) {
	dir, err := os.MkdirTemp("", "tandem-open-")
	if err != nil {
		return "", &session.Error{Op: "open", Kind: session.FileKind(err), Err: err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	copied = filepath.Join(dir, path.Base(p.path))
	t := newTransfer(io, f)
	_, err = c.Get(ctx, p.path, copied, folder.Options{Progress: t.copy()})
	t.close()
	if err != nil {
		return "", err
	}
	begins, err := beginning(copied)
	if err != nil {
		return "", &session.Error{Op: "open", Kind: session.FileKind(err), Err: err}
	}
	if runs(copied, begins) {
		return "", refuseProgram(p.path)
	}
	// So that nobody writes a text into a copy and believes the peer has it.
	if err := os.Chmod(copied, 0o400); err != nil {
		return "", &session.Error{Op: "open", Kind: session.FileKind(err), Err: err}
	}
	return copied, nil
}

func beginning(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p := make([]byte, 4)
	n, _ := file.Read(p) // an empty file begins with nothing
	return p[:n], nil
}

func refuseProgram(name string) error {
	return &session.Error{
		Op: "open", Kind: session.Denied, Text: session.Printable(path.Base(name)) + " is a program or may start one, and is not opened",
		Hint: "`tandem get` copies it.",
	}
}

// programs are the endings that some system's opener runs, installs or obeys
// instead of showing.
var programs = []string{
	"action", "apk", "app", "appimage", "application", "appref-ms", "bash", "bat", "bin", "chm", "cmd", "com", "command", "cpl",
	"csh", "deb", "desktop", "dll", "dmg", "docm", "dotm", "elf", "exe", "fish", "flatpakref", "gadget", "hlp", "hta", "inf", "ins", "iso", "jar",
	"jnlp", "js", "jse", "jsp", "ksh", "library-ms", "lnk", "mjs", "mobileconfig", "msc", "msh", "msi", "msix", "msp", "mst", "osx",
	"out", "pif", "pkg", "pl", "pptm", "ps1", "ps1xml", "ps2", "psc1", "py", "pyc", "pyw", "pyz", "rb", "reg", "rpm", "rgs", "run",
	"scf", "scpt", "scptd", "scr", "sct", "search-ms", "service", "settingcontent-ms", "sh", "shb", "shs", "snap", "terminal", "tcl",
	"tool", "url", "vb", "vbe", "vbs", "vhd", "vhdx", "webloc", "wlua", "workflow", "ws", "wsc", "wsf", "wsh", "xbap", "xlam", "xll", "xlsm", "zsh",
}

// magic is how programs begin: ELF, PE, Mach-O of both sizes and byte orders
// and for several processors (Java classes begin so as well), and scripts.
var magic = []string{
	"\x7fELF", "MZ", "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe", "#!",
}

// runs reports whether a file of this name that begins so is one that openers
// may execute. A file whose name begins with a dot has no ending.
func runs(name string, begins []byte) bool {
	ending := strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
	return slices.Contains(programs, ending) ||
		slices.ContainsFunc(magic, func(m string) bool { return bytes.HasPrefix(begins, []byte(m)) })
}

// launch hands a file to the system's opener, which hands it on and returns.
func launch(ctx context.Context, io stdio, file string) error {
	argv := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		argv = []string{"open"}
	case "windows": // "start" is a word of its shell's, which would read the name
		argv = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return &session.Error{
			Op: "open", Kind: session.Unsupported, Text: "there is no " + argv[0] + " here to open files with", Err: err,
			Hint: "The copy is at " + file + ".",
		}
	}
	cmd := exec.CommandContext(ctx, program, append(argv[1:], file)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.in, io.err, io.err // it may be one for terminals
	if err := cmd.Run(); err != nil {
		return &session.Error{
			Op: "open", Kind: session.Unsupported, Text: argv[0] + " can't open it", Err: err,
			Hint: "The copy is at " + file + ".",
		}
	}
	return nil
}
