package page

import (
	"context"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui/background"
	"tandem/tui/theme"
)

// Backend is what the terminal UI needs of a node.
type Backend interface{ node.Backend }

// Page is what fills the window between the header and the footer.
type Page interface {
	Init() tea.Cmd
	// Update is pure: I/O only inside the returned Cmds, time only by messages.
	Update(msg tea.Msg) (Page, tea.Cmd)
	// View is exactly as large as the size last set.
	View() string
	SetSize(width, height int)
	// Title is one word or two, for the header.
	Title() string
	// Keys are what the page does, for the footer, the help and the palette; a
	// disabled one is left out. The palette runs one by sending its first key. What
	// is listed here goes to the page, even esc, q, ? and :, which are the root's
	// otherwise: esc and q close the page.
	Keys() []key.Binding
}

// Whole is a page that takes the whole window at times, the header and the footer
// with it: then ok is true, and view is exactly that large.
type Whole interface {
	Whole(width, height int) (view string, ok bool)
}

// Capture is which keys go to a page before the root looks at them.
type Capture int

// The captures.
const (
	CaptureNone Capture = iota
	// CaptureText: text is being typed. The root keeps ctrl+c, ctrl+p, ctrl+z and f1.
	CaptureText
	// CaptureAll: every key is the page's, as for an embedded terminal. The page
	// has a way out of its own and says so.
	CaptureAll
)

// A Capturer is a page that takes the root's keys at times.
type Capturer interface{ Captures() Capture }

// A Closer is a page with something to end when it leaves the window for good.
type Closer interface{ Close() tea.Cmd }

// A Verber is a page whose Verb changes with each key: two messages of the same
// page may overtake each other.
type Verber interface{ Verb() string }

// A Keeper is a page, or other work, that would be cut off by quitting: Keeping
// says what in a few words, or nothing.
type Keeper interface{ Keeping() string }

// Env is what pages are made from.
type Env struct {
	Backend Backend
	Theme   theme.Theme
	Keys    theme.Keys
	// Entries are the pages that people open by a key.
	Entries []Entry
	// State is the newest there was when the page was made, Now the time.
	State State
	Now   time.Time
	// Seat is the terminal that the person sits at.
	Seat Seat
	// Doctor looks at this network and tells each what it finds; nil: nobody can.
	Doctor Doctor
	// Transfers are the copies that were asked for on any page.
	Transfers *background.Transfers
	// Demo starts a second device for the tour; nil: there is no tour.
	Demo func(ctx context.Context) (Demo, error)
	// Forwards are the forwards that were asked for.
	Forwards *background.Forwards
	// Run makes a Cmd of work that waits: its context ends with the program, which
	// waits for it.
	Run func(work func(ctx context.Context) tea.Msg) tea.Cmd
}

// After makes a Cmd of a message that comes after a while.
func (e Env) After(d time.Duration, message func(now time.Time) tea.Msg) tea.Cmd {
	return e.Run(func(ctx context.Context) tea.Msg {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case now := <-timer.C:
			return message(now)
		case <-ctx.Done():
			return nil
		}
	})
}

// Doctor looks at what this network allows, and tells each what it finds, until
// ctx ends.
type Doctor func(ctx context.Context, each func(Finding)) error

// Finding is one thing that a Doctor has looked at.
type Finding struct {
	Check, Subject string
	OK             bool
	Took           time.Duration // 0 if nothing was timed
	Found, Advice  string
}

// Seat is the terminal that a person sits at, for what takes all of it or writes
// to it beside the window.
type Seat struct {
	// Getenv reads the environment; nil is an empty one.
	Getenv func(string) string
	// Dir is the folder that the person is in.
	Dir string
	// Attach is how a terminal of a peer's is shown full screen.
	Attach terminal.Options
	// Write writes a sequence between two frames; nil: there is nowhere to.
	Write func([]byte) error
}

// Entry is a page that people open by a key: from home, or from a peer.
type Entry struct {
	Title string
	// About says in a few words what it is for; it is shown in the help and the palette.
	About string
	Key   key.Binding
	// Service is what a peer must offer for it, such as "folder/1"; empty is nothing.
	Service string
	// Peer says that it is about one peer; otherwise it is about this device.
	Peer bool
	// New makes the page; the peer is zero unless the entry is about one.
	New func(env Env, of Subject) Page
}

// Subject is what a page is about.
type Subject struct {
	Peer node.PeerStatus
	// Offers are what the peer offers, if that is known; nil if not.
	Offers []node.Right
	// Recorded is whether the peer said, when we joined, that it records its terminal.
	Recorded node.Recorded
}

// Ref names the subject for the Backend's methods: an ID, which no change of
// alias affects, or node.Own.
func (s Subject) Ref() string {
	if s.Peer.Peer.ID.IsZero() {
		return node.Own
	}
	return s.Peer.Peer.ID.String()
}

// Alias names the subject for people, and in the verbs that are shown to them.
func (s Subject) Alias() string {
	if s.Peer.Peer.ID.IsZero() {
		return node.Own
	}
	if s.Peer.Alias != "" {
		return s.Peer.Alias
	}
	return s.Peer.Peer.ID.Short()
}

// State is the node as it was when it was last asked. It is a message.
type State struct {
	// At is when; zero before the first answer.
	At       time.Time
	Self     node.Self
	Peers    []node.PeerStatus // connected ones first, then by alias
	Shares   []node.ShareStatus
	Requests []node.Request
	// Err is why the node doesn't answer at the moment; the rest is then what it
	// was before.
	Err error
}

// Happened is what the node has reported: the newest events of a short time, and
// how many more there were.
type Happened struct {
	Events []node.Event
	Missed int
	At     time.Time
}

// Tick comes about once a second.
type Tick struct{ Now time.Time }

// Open opens a page above the present one.
type Open struct{ Page Page }

// Replace puts a page in the place of the top one.
type Replace struct{ Page Page }

// Back closes the top page.
type Back struct{}

// Home closes every page but the first.
type Home struct{}

// Toast shows a line for a few seconds.
type Toast struct {
	Text  string
	Level Level
}

// Level is how much a Toast matters.
type Level int

// The levels.
const (
	Info Level = iota
	Good
	Warn
)

// Fail shows an error and what to do about it until a key is pressed.
type Fail struct{ Err error }

// Verb shows the command that does the same as the page does now. It is
// remembered for the page that is on top.
type Verb struct{ Text string }

// Exec hands the whole terminal over until the command ends. Done makes the
// message of how it ended; it may be nil.
type Exec struct {
	Command tea.ExecCommand
	Done    func(error) tea.Msg
}

// Ask shows a request that waits, once more.
type Ask struct{ Request string }

// Refresh asks for a new State.
type Refresh struct{}

// Quit asks to end the program; the root asks back if that would cut anybody off.
type Quit struct{}

// Send makes a Cmd of a message.
func Send(msg tea.Msg) tea.Cmd { return func() tea.Msg { return msg } }
