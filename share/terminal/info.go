package terminal

import (
	"encoding/hex"
	"path/filepath"
	"time"

	"tandem/session"
)

// Info describes one terminal. Durations are as of when it was told.
type Info struct {
	ID    string         `json:"id"`
	Name  string         `json:"name"`
	Owner session.PeerID `json:"owner"` // who made it; zero: the host
	Size  Size           `json:"size"`
	Made  time.Time      `json:"made"`
	Used  time.Time      `json:"used"` // when something was last typed or printed
	// Idle is how long nothing has been typed or printed.
	Idle    time.Duration `json:"idle"`
	Output  uint64        `json:"output"`
	Viewers []Viewer      `json:"viewers"`
	// Program is what runs in front, or what was started where that can't be told.
	Program string `json:"program,omitempty"`
	// Shared says that guests find it among the share's terminals.
	Shared bool `json:"shared,omitempty"`
	// Typist is the viewer that typed last; 0 for nobody yet.
	Typist uint64 `json:"typist,omitempty"`
	// Pinned says that the host has fixed the size.
	Pinned bool `json:"pinned,omitempty"`
	// Recorded says that the host records it; Recording is the file it is or was
	// recorded in, which stays at home.
	Recorded  bool   `json:"recorded,omitempty"`
	Recording string `json:"-"`
	// KeptOut are those whom the host has made leave.
	KeptOut []session.Peer `json:"kept_out,omitempty"`
	Exit    *Exit          `json:"exit,omitempty"` // nil while the program runs
}

// info is a snapshot.
func (t *terminal) info() Info {
	program := t.program
	if front := t.foreground(); front != "" {
		program = front
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.roster()
	i := Info{
		ID: t.id, Name: t.name, Owner: t.owner, Size: t.size, Made: t.made, Used: t.used,
		Idle: max(time.Since(t.used), 0), Output: t.ring.end, Viewers: r.Viewers,
		Program: session.PrintableName(program), Shared: t.shared, Typist: r.Typist, Pinned: r.Pinned,
		Recorded: r.Recorded, Recording: t.recording,
	}
	for _, l := range t.limits {
		if l.right == "" {
			i.KeptOut = append(i.KeptOut, session.Peer{ID: l.peer.ID, Name: session.PrintableName(l.peer.Name)})
		}
	}
	if t.exit != nil {
		exit := *t.exit
		i.Exit = &exit
	}
	return i
}

// foreground is the name of the program in front, or "".
func (t *terminal) foreground() string {
	if t.process == nil || t.ended() {
		return ""
	}
	return t.process.foreground()
}

// decodeInfo reads what appendBody of an Info wrote.
func decodeInfo(body []byte) (message, error) {
	var m Info
	if err := decodeJSON(body, &m); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(m.ID)
	if err != nil || len(id) != 16 || !m.Size.valid() || m.Idle < 0 || !checkViewers(m.Viewers) {
		return nil, errBody
	}
	m.Name, m.Program = session.PrintableName(m.Name), session.PrintableName(m.Program)
	for i := range m.KeptOut {
		m.KeptOut[i].Name = session.PrintableName(m.KeptOut[i].Name)
	}
	if m.Exit != nil {
		if m.Exit.Code < 0 || m.Exit.Code > 255 {
			return nil, errBody
		}
		m.Exit.Signal, m.Exit.Reason = session.PrintableName(m.Exit.Signal), session.Printable(m.Exit.Reason)
	}
	return m, nil
}

// programName is how a program is shown that was started as argv.
func programName(argv []string) string { return filepath.Base(argv[0]) }
