package command

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"sync"

	"tandem/session"
	"tandem/share"
)

const (
	maxPrograms = 128
	maxOwned    = 32
)

// Config is what a host decides. The zero Config runs any program in the
// user's home folder.
type Config struct {
	// Pinned are commands by the names that grants give them: a peer with a
	// right to resource NAME runs exactly this argv, with nothing added. Pin
	// adds to them.
	Pinned map[string][]string
	// Dir is where programs start; empty means the user's home folder.
	Dir string
	// Env adds to the variables that programs get: "NAME" passes the host's
	// own on, "NAME=value" sets one. What steers the dynamic linker or the Go
	// run-time never passes.
	Env []string
	// AcceptEnv names variables that peers may set besides LANG, LC_*,
	// COLORTERM and NO_COLOR.
	AcceptEnv []string
	// Logger takes what the host's operator may want to know; nil means nobody.
	Logger *slog.Logger
}

// Service is the host's half of command/1: a session.Service.
type Service struct {
	config Config
	log    *slog.Logger

	mu      sync.Mutex
	pinned  map[string]pinned
	dir     string // where programs start instead of Config.Dir, if not empty
	closed  bool
	closing chan struct{}
	running map[session.PeerID]int
	total   int
	serving sync.WaitGroup
}

// New makes a service that runs nothing yet.
func New(config Config) *Service {
	log := config.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	commands := make(map[string]pinned, len(config.Pinned))
	for name, argv := range config.Pinned {
		commands[name] = pinned{argv: argv}
	}
	return &Service{
		config: config, log: log, pinned: commands, closing: make(chan struct{}), running: make(map[session.PeerID]int),
	}
}

// Name is ServiceName.
func (s *Service) Name() string { return ServiceName }

// Serve runs one program and returns when it and all of its session have ended.
func (s *Service) Serve(ctx context.Context, offer session.Offer) error {
	peer := offer.Peer().ID
	if err := s.enter(peer); err != nil {
		return err
	}
	defer s.leave(peer)
	request, err := parse(offer.Header())
	if err != nil {
		return err
	}
	l, err := s.launch(request)
	if err != nil {
		return err
	}
	program, err := startProcess(l)
	if errors.Is(err, errMissing) || errors.Is(err, errNotExecutable) {
		return fail(ctx, offer, l.argv[0], err)
	}
	if err != nil {
		s.log.Warn("run", "error", err)
		return err
	}
	s.log.Info("program started", "program", session.Printable(l.argv[0]), "peer", peer.Short())
	stream, err := offer.Accept()
	if err != nil {
		program.end()
		program.wait()
		program.close()
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	defer close(over)
	s.serving.Go(func() {
		select {
		case <-s.closing:
			cancel(session.Errorf("run", session.Canceled, "the host is closing"))
		case <-over:
		}
	})
	c := newConversation(program, stream)
	c.exited = func(code int) { session.Note(offer, session.Outcome{Exit: &code}) }
	return c.serve(ctx, request.Timeout)
}

// fail answers for a program that could not be started.
func fail(ctx context.Context, offer session.Offer, name string, why error) error {
	stream, err := offer.Accept()
	if err != nil {
		return err
	}
	exit := Exit{Code: 127}
	if errors.Is(why, errNotExecutable) {
		exit.Code = 126
	}
	session.Note(offer, session.Outcome{Exit: &exit.Code})
	name = session.Printable(name)
	frames := appendFrame(nil, stderr("tandem: "+name[:min(len(name), maxDir)]+": "+why.Error()+"\n"))
	if _, err = stream.Write(appendFrame(frames, exit)); err == nil {
		part(ctx, stream, func() { _, _ = io.Copy(io.Discard, stream) })
	}
	return err
}

// launch decides what to start for a request.
func (s *Service) launch(r Request) (launch, error) {
	s.mu.Lock()
	fixed, dir := s.pinned[r.Pinned], s.dir
	s.mu.Unlock()
	l := launch{argv: r.Argv, dir: cmp.Or(dir, s.config.Dir)}
	if r.Pinned != "" {
		if len(fixed.argv) == 0 {
			return l, session.Errorf("run", session.NotFound, "there is no command %s here", session.PrintableName(r.Pinned))
		}
		l.argv, l.dir = fixed.argv, cmp.Or(fixed.dir, l.dir)
	}
	for name, value := range r.Env {
		if !s.config.mayPass(name, value) {
			return l, session.Errorf("run", session.Denied, "the host lets nobody set the variable %s to that", session.PrintableName(name))
		}
	}
	if l.dir == "" {
		l.dir = homeFolder()
	}
	if filepath.IsAbs(r.Dir) {
		l.dir = r.Dir
	} else {
		l.dir = filepath.Join(l.dir, r.Dir)
	}
	given := map[string]string{"PWD": l.dir}
	for name, value := range r.Env {
		given[name] = value
	}
	l.env = share.Environment(os.Environ(), s.config.Env, given)
	return l, nil
}

func homeFolder() string {
	if u, err := user.Current(); err == nil {
		if info, err := os.Stat(u.HomeDir); err == nil && info.IsDir() {
			return u.HomeDir
		}
	}
	return string(os.PathSeparator)
}

// enter counts a program, unless there are too many or the service is closed.
func (s *Service) enter(peer session.PeerID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return session.Errorf("run", session.Unavailable, "the host is closing")
	case s.total >= maxPrograms:
		return session.Errorf("run", session.Busy, "the host runs %d programs for its peers already", s.total)
	case s.running[peer] >= maxOwned:
		return session.Errorf("run", session.Busy, "the host runs %d programs for this peer already", maxOwned)
	}
	s.total++
	s.running[peer]++
	s.serving.Add(1)
	return nil
}

func (s *Service) leave(peer session.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.running[peer]--; s.running[peer] == 0 {
		delete(s.running, peer)
	}
	s.serving.Done()
}

// Close ends all programs and returns when they are gone.
func (s *Service) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.serving.Wait()
	return nil
}
