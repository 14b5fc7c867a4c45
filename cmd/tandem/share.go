package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mdp/qrterminal/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
)

func newShare(io stdio, f *flags) *cobra.Command {
	var share node.Share
	var approve string
	var record recordFlags
	var folders folderFlags
	var run []string
	var oneProgram bool
	cmd := &cobra.Command{
		Use:   "share [DIR…] [-- PROGRAM [ARGUMENT…]]",
		Short: "Share folders, a terminal or both, and wait for a guest",
		Long: strings.TrimSpace(`
Share folders, a terminal or both: prints a code, a link and a QR code, and
waits. The guest runs "tandem join" with either. You are asked before anyone
gets in, and Ctrl-C ends the share and everything it granted.

Without --server (or servers in the configuration) it runs a signaling server
itself, which guests on the same network find by the code.`),
		Example: `  # a guest may type into a shell of yours
  tandem share --terminal
  # a guest may watch it
  tandem share --terminal --view-only
  # a guest may use this program, and start no other
  tandem share --command -- htop
  # a guest may read and change the folder
  tandem share ~/project --write
  # a guest may read most of it, and change what is in one place
  tandem share ~/project --hide '*.key' --dotfiles hide --writable /inbox
  # a guest may read two folders, one of them under another name
  tandem share ~/project/docs ~/Desktop/2026 --name docs --name photos
  # a guest may run exactly this, as tandem exec PEER:restart
  tandem share --run 'restart=systemctl restart nginx'`,
		Args: func(cmd *cobra.Command, args []string) error {
			var err error
			args, share.Command, err = splitCommand(args, cmd.ArgsLenAtDash(), oneProgram)
			if err != nil {
				return err
			}
			return takes(0, maxFolders)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dirs := args[:len(args)-len(share.Command)]
			share.Terminal = share.Terminal || len(share.Command) > 0
			var err error
			if share.Commands, err = parseCommands(run); err != nil {
				return err
			}
			if share.Folders, err = folders.folders(dirs); err != nil {
				return err
			}
			switch {
			case len(dirs) == 0 && !share.Terminal && len(share.Forward)+len(share.ForwardListen)+len(run) == 0:
				return usagef("nothing to share: give a folder, --terminal, --run or --forward")
			case !share.Terminal && share.ViewOnly:
				return usagef("--view-only needs --terminal")
			case !share.Terminal && record.given():
				return usagef("--record needs --terminal")
			case approve != "ask" && approve != "always":
				return usagef("--approve takes ask or always, not %q", approve)
			case share.Uses < 1 || share.Uses > 1000:
				return usagef("--uses takes 1 to 1000")
			case share.Expires < time.Second || share.Expires > 30*24*time.Hour:
				return usagef("--expires takes 1s to 720h")
			}
			recording, err := record.recording(io)
			if err != nil {
				return err
			}
			return runShare(cmd.Context(), io, f, share, recording, approve == "always", folders.askWrites)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&share.Terminal, "terminal", false, "share a terminal")
	fs.BoolVar(&oneProgram, "command", false, "share a terminal with this one program instead of a shell")
	fs.BoolVar(&share.ViewOnly, "view-only", false, "guests watch the terminal and can't type")
	record.addTo(fs)
	folders.addTo(fs)
	fs.StringArrayVar(&run, "run", nil, "guests may run this program under this name, with exactly these arguments: NAME='PROGRAM ARGUMENT…', or a JSON array of them; may be repeated")
	fs.StringArrayVar(&share.Forward, "forward", nil, "guests may connect to this from here: localhost:80, 10.0.0.0/8:*, any, unix:/path; may be repeated")
	fs.StringArrayVar(&share.ForwardListen, "forward-listen", nil, "guests may listen here: 9000 for localhost:9000, 0.0.0.0:9000, unix:/path; may be repeated")
	fs.StringVar(&approve, "approve", "ask", "ask before each guest gets in, or always let in who has the code: ask or always")
	fs.DurationVar(&share.Expires, "expires", 10*time.Minute, "how long the invite can be used")
	fs.IntVar(&share.Uses, "uses", 1, "how many guests may join with it")
	return cmd
}

func runShare(ctx context.Context, io stdio, f *flags, share node.Share, recording *terminal.Recording, always, askWrites bool) error {
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	prompt := newPrompt(io)
	if share.Always = always; !always && (f.json || !prompt.interactive()) {
		return usagef("nobody is at the keyboard to let guests in: add --approve always")
	}
	if askWrites {
		if f.json || !prompt.interactive() {
			return usagef("nobody is at the keyboard to ask about what guests would write: leave out --ask-writes")
		}
		share.AskWrites = true
	}
	for i := range share.Folders {
		dir := &share.Folders[i].Dir
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	out := newEvents(io, f, prompt)
	door := newDoor(prompt, share.Folders)
	ended := make(chan struct{}, 1) // has a token when a share has
	cfg.Events = func(e node.Event) {
		if !f.json && complain(io, e) {
			return
		}
		out.print(e)
		door.tell(e)
		if e.Event == node.EventEnded {
			select {
			case ended <- struct{}{}:
			default:
			}
		}
	}
	cfg.Term, cfg.Recording = io.env("TERM"), recording
	n, err := node.Serve(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }() // ends the share; what it served has been reported
	defer door.close()
	door.open(n)
	shared, err := n.StartShare(ctx, share)
	if err != nil {
		return err
	}
	if !f.json {
		printInvite(io, share, shared.Shared)
		if share.Terminal {
			warnOfLocale(io)
		}
	}
	awaitEnd(ctx, n, ended)
	unanswered := prompt.asking()
	if err := n.Close(); err != nil {
		return err
	}
	if unanswered {
		return exitError(exitInterrupted)
	}
	return nil
}

// awaitEnd waits until ctx ends, or all shares have: another window can end them,
// and have more of them here.
func awaitEnd(ctx context.Context, n node.Backend, ended <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			left, err := n.Shares(ctx)
			if err != nil || !slices.ContainsFunc(left, func(s node.ShareStatus) bool { return !s.Beside }) {
				return
			}
		}
	}
}

// splitCommand tells a share's folder from its program, which follows the dash
// or, with --command, is all there is.
func splitCommand(args []string, dash int, oneProgram bool) (rest, program []string, err error) {
	switch {
	case dash >= 0:
		rest, program = args[:dash], args[dash:]
	case oneProgram:
		program = args
	default:
		return args, nil, nil
	}
	if len(program) == 0 || program[0] == "" {
		return nil, nil, usagef("--command needs a program: tandem share --command -- htop")
	}
	return rest, program, nil
}

// parseCommands reads the commands that --run pins, by their names. They are
// split at white space and nothing more: an argument with a space needs the JSON.
func parseCommands(texts []string) (map[string][]string, error) {
	commands := make(map[string][]string)
	for _, text := range texts {
		name, program, _ := strings.Cut(text, "=")
		argv := strings.Fields(program)
		if strings.HasPrefix(program, "[") {
			if err := json.Unmarshal([]byte(program), &argv); err != nil {
				return nil, usagef("--run %s: this is no JSON array of texts", name)
			}
		}
		switch _, twice := commands[name]; {
		case len(argv) == 0:
			return nil, usagef("--run takes NAME=PROGRAM, not %q", text)
		case twice:
			return nil, usagef("--run gives two commands the name %s", name)
		}
		commands[name] = argv
	}
	return commands, nil
}

// printInvite shows the invite for people: the code to say, the link to send,
// the QR code to point a phone at.
func printInvite(io stdio, share node.Share, s node.Shared) {
	printQR(io, s.Link)
	expires := s.Expires.Local().Format("15:04")
	if time.Until(s.Expires) > 12*time.Hour {
		expires = s.Expires.Local().Format("Mon 2 Jan 15:04")
	}
	guests := "one guest"
	if share.Uses > 1 {
		guests = fmt.Sprintf("%d guests", share.Uses)
	}
	fmt.Fprintf(io.out, "\n  code         %s\n  link         %s\n", s.Code, s.Link)
	fmt.Fprintf(io.out, "  offers       %s\n", column(describeRights(s.Offers)))
	if len(share.Folders) > 0 && len(share.Folders[0].Rules) > 0 { // they are all the same
		fmt.Fprintf(io.out, "  but of that  %s\n", column(describeRules(share.Folders[0].Rules)))
	}
	fmt.Fprintf(io.out, "  to           %s, until %s\n", guests, expires)
	if s.Recording != "" {
		fmt.Fprintf(io.out, "  recording    %s\n", session.Printable(s.Recording))
	}
	fmt.Fprintln(io.out)
	if s.Server == "" {
		fmt.Fprintf(io.out, "A guest on this network runs   tandem join %s\n", s.Code)
	} else {
		fmt.Fprintf(io.out, "A guest runs   tandem join %s --server %s\n", s.Code, s.Server)
	}
	if share.Terminal && s.Here {
		fmt.Fprintln(io.out, "Your own window on the terminal   tandem shell .")
	}
	fmt.Fprintln(io.out, "Ctrl-C ends the share and everything it granted.")
}

// warnOfLocale says that programs in the terminal will not write UTF-8, which
// is what guests' terminals expect.
func warnOfLocale(io stdio) {
	locale := cmp.Or(io.env("LC_ALL"), io.env("LC_CTYPE"), io.env("LANG"), "C")
	if !terminal.UTF8(locale) {
		fmt.Fprintf(io.err, "Programs in the terminal run in the locale %s, which is not UTF-8: characters beyond ASCII may look wrong. LANG=C.UTF-8 helps.\n",
			session.Printable(locale))
	}
}

// printQR draws text, if standard output is a terminal that has the room.
func printQR(io stdio, text string) {
	file, ok := io.out.(*os.File)
	if !ok || !isTerminal(file) || io.env("TERM") == "dumb" {
		return
	}
	cols, _, err := term.GetSize(int(file.Fd()))
	var code strings.Builder
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.L, Writer: &code, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, BlackWhiteChar: qrterminal.BLACK_WHITE,
		WhiteChar: qrterminal.WHITE_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
	line, _, _ := strings.Cut(code.String(), "\n")
	if err == nil && utf8.RuneCountInString(line) <= cols {
		fmt.Fprint(io.out, code.String())
	}
}

// describeRights says in words what is offered, one right each.
func describeRights(rights []node.Right) []string {
	var parts []string
	anyProgram := false
	for _, r := range rights {
		service, _, _ := strings.Cut(r.Service, "/")
		switch {
		case service == "forward" && r.Resource == "":
			continue // its targets are rights of their own
		case service == "command" && r.Resource == "":
			service, anyProgram = "any program", true
		case service == "command" && anyProgram:
			continue // one of them
		case service == "facts":
			service = "facts about the machine"
		}
		may := strings.Join(r.Actions, " and ")
		switch may {
		case "view and control":
			may = "watch and type"
		case "view":
			may = "only watch"
		case "read":
			may = "only read"
		case "connect":
			may = "connect from here"
		case "listen":
			may = "listen here"
		case "read and write":
			may = "read and change"
		}
		if r.Resource != "" {
			service += " " + r.Resource
		}
		parts = append(parts, session.Printable(fmt.Sprintf("%s (%s)", service, may)))
	}
	if len(parts) == 0 {
		return []string{"nothing"}
	}
	return parts
}

// column puts lines below each other behind a label of 15 columns.
func column(lines []string) string { return strings.Join(lines, "\n"+strings.Repeat(" ", 15)) }

// quoteName shows a claimed name as a claim.
func quoteName(p session.Peer) string {
	if p.Name == "" {
		return "Somebody without a name"
	}
	return fmt.Sprintf("Somebody calling themselves %q", p.Name)
}

// wordGroups breaks a fingerprint where people breathe when they read aloud.
func wordGroups(words []string) string {
	var lines []string
	for six := range slices.Chunk(words, 6) {
		var groups []string
		for three := range slices.Chunk(six, 3) {
			groups = append(groups, strings.Join(three, " "))
		}
		lines = append(lines, strings.Join(groups, "   "))
	}
	return column(lines)
}
