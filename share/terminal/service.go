package terminal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tandem/session"
)

// ServiceName is the service's name and version.
const ServiceName = "terminal/1"

// DefaultName is the terminal that an empty resource means.
const DefaultName = "main"

const (
	defaultRing  = 1 << 20
	minRing      = 64 << 10
	maxTerminals = 32
	maxOwned     = 16
	maxViewers   = 64
	maxOfOnePeer = 16
	maxArgs      = 256
	maxArgBytes  = 32 << 10
	// closeGrace is how long viewers may take to get the last words when the
	// service closes.
	closeGrace = time.Second
)

// Config is what a host decides. The zero Config shares the user's login shell
// in the home folder.
type Config struct {
	// Argv pins the program that terminals run; nil means the user's login
	// shell, and viewers with control may name another program.
	Argv []string
	// Dir is where programs start; empty means the user's home folder.
	Dir string
	// Env adds to the variables that programs get: "NAME" passes the host's
	// own on, "NAME=value" sets one. What steers the dynamic linker or the Go
	// run-time never passes.
	Env []string
	// RingSize is how many bytes of output a terminal keeps, at least 64 KiB;
	// 0 means 1 MiB.
	RingSize int
	// Asked, if not nil, hears of viewers that would like to type.
	Asked func(terminal string, viewer uint64, peer session.Peer)
	// Recording records every terminal; nil records none.
	Recording *Recording
	// Logger takes what the host's operator may want to know; nil means nobody.
	Logger *slog.Logger
}

// Params are the parameters of a request, as the package comment has them.
type Params struct {
	Size
	Term   string            `json:"term,omitempty"`
	Env    map[string]string `json:"env,omitempty"`
	Argv   []string          `json:"argv,omitempty"`
	Resume *Resume           `json:"resume,omitempty"`
	Hangup bool              `json:"hangup,omitempty"`
	Record bool              `json:"record,omitempty"`
	// Named picks one of the terminals that an empty resource stands for.
	Named string `json:"name,omitempty"`
	// Screen asks for snapshots: of the screen when coming late, and after a gap.
	Screen bool `json:"screen,omitempty"`
	// History is how many lines of history are to come before the first of them.
	History int `json:"history,omitempty"`
	// List asks for the terminals that the resource stands for, and for nothing
	// else.
	List bool `json:"list,omitempty"`
}

// Resume names where to go on.
type Resume struct {
	Terminal string `json:"terminal"`
	Offset   uint64 `json:"offset"`
}

// Service is the host's half of terminal/1: a session.Service.
type Service struct {
	config Config
	log    *slog.Logger

	mu        sync.Mutex
	closed    bool
	terminals []*terminal // oldest first; names of living ones differ
	unnamed   int         // terminals named by us so far
	pinned    []string    // what the share's terminals run; nil: what their makers choose
	dir       string      // where programs start instead of Config.Dir, if not empty
	recording *Recording  // of terminals to come
	serving   sync.WaitGroup
	hurry     chan struct{} // closed when viewers must leave at once
}

// New makes a service without terminals.
func New(config Config) *Service {
	if config.RingSize == 0 {
		config.RingSize = defaultRing
	}
	config.RingSize = max(config.RingSize, minRing)
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Service{config: config, log: log, recording: config.Recording, hurry: make(chan struct{})}
}

// Name is ServiceName.
func (s *Service) Name() string { return ServiceName }

// Desk is the service as the host's own person uses it, in its own windows:
// there Manage requests are answered, terminals can be made and reached that
// are not shared, and the roster says who it is.
func (s *Service) Desk() session.Service { return atDesk{s} }

type atDesk struct{ *Service }

func (d atDesk) Serve(ctx context.Context, offer session.Offer) error {
	return d.answer(ctx, offer, true)
}

// Serve answers one viewer and returns when it has left. If ctx ends because
// the permission was revoked (its cause is of kind Revoked), the terminals that
// this peer made are ended as well; otherwise terminals stay.
func (s *Service) Serve(ctx context.Context, offer session.Offer) error {
	return s.answer(ctx, offer, false)
}

func (s *Service) answer(ctx context.Context, offer session.Offer, host bool) error {
	if !s.enter() {
		return session.Errorf("terminal", session.Unavailable, "the host is closing its terminals")
	}
	defer s.serving.Done()
	err := s.serve(ctx, offer, host)
	if ctx.Err() != nil && session.KindOf(context.Cause(ctx)) == session.Revoked {
		s.EndOwned(offer.Peer().ID)
	}
	return err
}

func (s *Service) serve(ctx context.Context, offer session.Offer, host bool) error {
	header := offer.Header()
	if header.Action == Manage {
		if !host {
			s.log.Warn("refused: only the host's person manages terminals", "peer", offer.Peer().ID.Short())
			return session.Errorf("terminal", session.Denied, "only the host's own person may do this")
		}
		info, err := s.manage(header)
		return tell(offer, err, info)
	}
	right, params, err := parse(header)
	if err != nil {
		return err
	}
	if params.List {
		return tell(offer, nil, s.listed(header.Resource, host)...)
	}
	t, made, err := s.find(wish{offer.Peer().ID, host, header.Resource, right, params})
	if err != nil {
		return err
	}
	v := &viewer{
		terminal: t, peer: offer.Peer(), host: host, granted: right, records: params.Record, size: params.Size,
		screen: params.Screen, history: params.History, redrawing: rate.NewLimiter(rate.Every(redrawEvery), redrawBurst),
	}
	if made && t.locale != "" {
		s.log.Warn("the program's locale is not UTF-8", "terminal", t.name, "locale", t.locale)
	}
	if err := t.attach(v, made, params.Resume); err != nil {
		return err
	}
	stream, err := offer.Accept()
	if err != nil {
		t.detach(v, true)
		return err
	}
	v.stream = stream

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	defer close(over)
	s.serving.Go(func() {
		select {
		case <-s.hurry:
			cancel(session.Errorf("terminal", session.Canceled, "the host closed its terminals"))
		case <-over:
		}
	})
	session.Note(offer, session.Outcome{Recording: t.recording})
	err = v.serve(ctx, made)
	session.Note(offer, session.Outcome{Exit: t.code(), Recording: t.recording})
	if made && params.Hangup {
		t.kill("the viewer that it was for has left")
	}
	return err
}

// enter counts a call of Serve, unless the service has been closed.
func (s *Service) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving.Add(1)
	return true
}

// parse reads a request. Everything that can be wrong with it is found here.
func parse(h session.Header) (Right, Params, error) {
	var p Params
	invalid := func(format string, args ...any) (Right, Params, error) {
		return "", p, session.Errorf("terminal", session.Invalid, format, args...)
	}
	right := Right(h.Action)
	if right != View && right != Control {
		return invalid("the action is %q, not view or control", session.PrintableName(h.Action))
	}
	if !validName(h.Resource) {
		return invalid("%q can't name a terminal", session.PrintableName(h.Resource))
	}
	if len(h.Params) > 0 {
		if err := json.Unmarshal(h.Params, &p); err != nil {
			return invalid("the parameters can't be read")
		}
	}
	if !validName(p.Named) || p.Named != "" && h.Resource != "" && p.Named != h.Resource {
		return invalid("%q can't name a terminal of %q", session.PrintableName(p.Named), h.Resource)
	}
	if !p.IsZero() && !p.valid() {
		return invalid("a terminal of %d by %d cells", p.Cols, p.Rows)
	}
	if p.History < 0 || p.History > MaxHistory {
		return invalid("%d lines of history", p.History)
	}
	if p.Argv != nil {
		total := 0
		for _, arg := range p.Argv {
			total += len(arg)
			if strings.ContainsRune(arg, 0) {
				return invalid("an argument holds a NUL")
			}
		}
		if len(p.Argv) == 0 || p.Argv[0] == "" || len(p.Argv) > maxArgs || total > maxArgBytes {
			return invalid("%d arguments of %d bytes in all", len(p.Argv), total)
		}
	}
	return right, p, nil
}

func validName(name string) bool {
	return name == session.PrintableName(name) && !strings.ContainsAny(name, "/:")
}

// wish is a request for a terminal.
type wish struct {
	peer     session.PeerID
	host     bool
	resource string
	right    Right
	Params
}

// may reports whether the wish's resource leads to t. The host's person goes
// anywhere.
func (w wish) may(t *terminal) bool {
	switch {
	case w.host:
		return true
	case w.resource == "":
		return t.shared
	}
	return t.name == w.resource
}

// find is the terminal that a request means: made if need be and allowed.
func (s *Service) find(w wish) (_ *terminal, made bool, err error) {
	name := cmp.Or(w.Named, w.resource, DefaultName)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Resume != nil {
		for _, t := range s.terminals {
			// The grant was for the resource; the ID leads nowhere else.
			if t.id == w.Resume.Terminal && w.may(t) {
				return t, false, nil
			}
		}
		return nil, false, session.Errorf("terminal", session.NotFound, "that terminal is gone")
	}
	if w.Argv != nil && w.resource == "" && w.Named == "" {
		name = ""
	}
	for _, t := range s.terminals {
		if t.name != name || t.ended() {
			continue
		}
		switch {
		case !w.may(t):
			s.log.Warn("refused: this terminal is not shared", "terminal", name, "peer", w.peer.Short())
			return nil, false, session.Errorf("terminal", session.Denied, "terminal %s is not shared with you", name)
		case w.Argv != nil:
			return nil, false, session.Errorf("terminal", session.Exists, "terminal %s runs something already", name)
		}
		return t, false, nil
	}
	if w.right != Control {
		return nil, false, session.Errorf("terminal", session.NotFound, "there is no terminal %s to watch", name)
	}
	if w.Argv != nil && s.config.Argv != nil || !w.host && s.pinned != nil && (w.Argv != nil || name != DefaultName) {
		s.log.Warn("refused: the host has chosen the program", "peer", w.peer.Short())
		return nil, false, session.Errorf("terminal", session.Denied, "the host has chosen the program to run")
	}
	t, err := s.make(name, w.resource == "" || w.resource == DefaultName, w.peer, w.Params)
	return t, true, err
}

// make is called with mu held. A program that is missing or can't be executed
// makes a terminal that has ended, with the status a shell would give.
func (s *Service) make(name string, shared bool, owner session.PeerID, p Params) (*terminal, error) {
	if s.closed {
		return nil, session.Errorf("terminal", session.Unavailable, "the host is closing its terminals")
	}
	if err := s.makeRoom(name, owner); err != nil {
		return nil, err
	}
	l := launch{argv: p.Argv, dir: cmp.Or(s.dir, s.config.Dir), size: p.Size}
	if l.argv == nil && shared {
		l.argv = s.pinned
	}
	if l.argv == nil {
		l.argv = s.config.Argv
	}
	if l.argv == nil {
		l.argv, l.login = []string{loginShell()}, true
	}
	if l.dir == "" {
		l.dir = homeFolder()
	}
	if l.size.IsZero() {
		l.size = Size{Cols: 80, Rows: 24}
	}
	if name == "" {
		s.unnamed++
		name = fmt.Sprintf("run-%d", s.unnamed)
	}
	l.env = environment(os.Environ(), s.config.Env, p.Env, p.Term, name)

	t := newTerminal(name, programName(l.argv), owner, l.size, s.config.RingSize, s.log)
	t.shared, t.locale = shared, foreignLocale(l.env)
	t.tellAsked = func(viewer uint64, peer session.Peer) {
		if s.config.Asked != nil {
			s.config.Asked(name, viewer, peer)
		}
	}
	if err := t.beginRecording(s.recording, l.env); err != nil {
		return nil, err
	}
	program, err := startProcess(l)
	switch kind := session.KindOf(err); {
	case err == nil:
		t.run(program)
		t.log.Info("terminal started", "program", session.Printable(l.argv[0]), "owner", owner.Short())
	case kind == session.NotFound, kind == session.Denied:
		_, text := session.Public(err)
		t.printed([]byte("tandem: " + text + "\r\n"))
		code := 126
		if kind == session.NotFound {
			code = 127
		}
		t.finish(Exit{Code: code})
		t.endRecording()
	default:
		t.endRecording()
		s.log.Warn("start terminal", "error", err)
		return nil, err
	}
	s.terminals = append(s.terminals, t)
	return t, nil
}

// makeRoom drops the ended terminal of the same name, and the oldest ended one
// if there are too many.
func (s *Service) makeRoom(name string, owner session.PeerID) error {
	owned := 0
	for _, t := range s.terminals {
		if t.owner == owner && !t.ended() {
			owned++
		}
	}
	if owned >= maxOwned && !owner.IsZero() {
		return session.Errorf("terminal", session.Busy, "this peer has made %d terminals already", maxOwned)
	}
	s.terminals = slices.DeleteFunc(s.terminals, func(t *terminal) bool { return name != "" && t.name == name && t.ended() })
	if len(s.terminals) < maxTerminals {
		return nil
	}
	oldest := slices.IndexFunc(s.terminals, (*terminal).ended)
	if oldest < 0 {
		return session.Errorf("terminal", session.Busy, "the host has %d terminals already", maxTerminals)
	}
	s.terminals = slices.Delete(s.terminals, oldest, oldest+1)
	return nil
}

func homeFolder() string {
	if u, err := user.Current(); err == nil {
		if info, err := os.Stat(u.HomeDir); err == nil && info.IsDir() {
			return u.HomeDir
		}
	}
	return string(os.PathSeparator)
}

// Pin makes the share's terminal run one program instead of a shell; guests can
// then start no other. It fails with NotFound if there is no such program, and
// with Exists if the terminal runs already.
func (s *Service) Pin(argv []string) error {
	if _, err := exec.LookPath(argv[0]); err != nil && !strings.ContainsRune(argv[0], os.PathSeparator) {
		return session.Errorf("pin program", session.NotFound, "there is no program %s here", session.Printable(argv[0]))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.terminals, func(t *terminal) bool { return t.shared && !t.ended() }) {
		return session.Errorf("pin program", session.Exists, "a terminal is shared already")
	}
	s.pinned = slices.Clone(argv)
	return nil
}

// Unpin lets terminals run what their makers choose again.
func (s *Service) Unpin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = nil
}

// BeginIn has programs that are started from now on start in dir; empty means in
// Config.Dir.
func (s *Service) BeginIn(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir = dir
}

// Record has terminals that are started from now on recorded as r says; nil records
// none.
func (s *Service) Record(r *Recording) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recording = r
}

// Start makes a terminal before anybody attaches. It fails with Exists if one
// of that name lives, and with Unsupported where there are no terminals.
func (s *Service) Start(name string, p Params) error {
	encoded, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, _, err := parse(session.Header{Resource: name, Action: string(Control), Params: encoded}); err != nil {
		return err
	}
	name = cmp.Or(name, DefaultName)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.terminals, func(t *terminal) bool { return t.name == name && !t.ended() }) {
		return session.Errorf("start terminal", session.Exists, "terminal %s runs already", name)
	}
	_, err = s.make(name, name == DefaultName, session.PeerID{}, p)
	return err
}

// Terminals lists the terminals, oldest first, those included that have ended
// and can still be resumed.
func (s *Service) Terminals() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Info, 0, len(s.terminals))
	for _, t := range s.terminals {
		list = append(list, t.info())
	}
	return list
}

// listed are the terminals that a resource stands for and that have not ended.
func (s *Service) listed(resource string, host bool) []Info {
	w := wish{host: host && resource == "", resource: resource}
	s.mu.Lock()
	terminals := slices.DeleteFunc(slices.Clone(s.terminals), func(t *terminal) bool { return t.ended() || !w.may(t) })
	s.mu.Unlock()
	list := make([]Info, 0, len(terminals))
	for _, t := range terminals {
		list = append(list, t.info())
	}
	return list
}

// tell answers a request that is over with its answer.
func tell(offer session.Offer, err error, infos ...Info) error {
	if err != nil {
		return err
	}
	stream, err := offer.Accept()
	if err != nil {
		return err
	}
	for _, info := range infos {
		if _, err := stream.Write(appendFrame(nil, info)); err != nil {
			return err
		}
	}
	return stream.Close()
}

// End ends the terminal of that name, with all its processes, and returns when
// they are gone. It fails with NotFound if none of that name lives.
func (s *Service) End(name string) error {
	name = cmp.Or(name, DefaultName)
	n := s.end("the host closed this terminal", func(t *terminal) bool { return t.name == name && !t.ended() })
	if n == 0 {
		return session.Errorf("end terminal", session.NotFound, "there is no terminal %s", session.PrintableName(name))
	}
	return nil
}

// EndOwned ends the terminals that a peer made, with all their processes, and
// returns when they are gone, about a second later at most. It is for
// permissions that are taken back while their holder is away; while it is
// connected, Serve does it.
func (s *Service) EndOwned(peer session.PeerID) {
	s.end("the permission for this terminal was taken back", func(t *terminal) bool { return t.owner == peer })
}

func (s *Service) end(reason string, which func(*terminal) bool) int {
	s.mu.Lock()
	chosen := slices.DeleteFunc(slices.Clone(s.terminals), func(t *terminal) bool { return !which(t) })
	s.mu.Unlock()
	var killing sync.WaitGroup
	for _, t := range chosen {
		killing.Go(func() { t.kill(reason) })
	}
	killing.Wait()
	return len(chosen)
}

// Close ends all terminals and their processes, tells the viewers, and returns
// when everything has ended.
func (s *Service) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.serving.Wait()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.end("the host closed its terminals", func(*terminal) bool { return true })
	timer := time.AfterFunc(closeGrace, func() { close(s.hurry) })
	defer timer.Stop()
	s.serving.Wait()
	return nil
}
