package folder

import (
	"context"
	"errors"
	"sync"
	"time"

	"tandem/session"
)

// Share is a directory offered to peers. Who may do what with it is the
// Authorizer's business, by Name and action.
type Share struct {
	// Name is the resource peers ask for.
	Name string
	// Dir is the directory.
	Dir string
	// ReadOnly refuses the action "write", whoever asks.
	ReadOnly bool
	// Executables lets peers put files that can be executed.
	Executables bool
	// Rules restrict what peers see and change. Files .tandemignore in the
	// directory and below hide more.
	Rules []Rule
	// Links shows symbolic links to files in the directory as those files. All
	// others are left out, as they all are without it.
	Links bool
	// Ask, if set, decides about everything that a peer would like to copy
	// into the share; nil accepts it. Other changes are refused then. ctx ends
	// when the peer has given up.
	Ask func(ctx context.Context, p Push) error
}

// Service offers directories. It is a session.Service.
type Service struct {
	mu     sync.Mutex
	shares map[string]*offered
}

type offered struct {
	Share
	tree *tree
	// users are the streams that use tree.
	users sync.WaitGroup
}

var _ session.Service = (*Service)(nil)

// New makes a service without shares. Close it.
func New() *Service { return &Service{shares: make(map[string]*offered)} }

// Name is "folder/1".
func (s *Service) Name() string { return Name }

// Add offers another directory. It fails with Exists if the name is taken, and
// with NotFound or Denied if the directory can't be opened.
func (s *Service) Add(sh Share) error {
	if sh.Name == "" {
		return session.Errorf("share", session.Invalid, "a share needs a name")
	}
	t, err := openTree(sh.Dir, sh.Executables)
	if err != nil {
		return err
	}
	t.links = sh.Links
	if t.rules, err = newRules(t.root, sh.Rules); err != nil {
		return errors.Join(err, t.close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.shares[sh.Name]; taken {
		return errors.Join(session.Errorf("share", session.Exists, "%s is shared already", session.Printable(sh.Name)), t.close())
	}
	s.shares[sh.Name] = &offered{Share: sh, tree: t}
	return nil
}

// Remove ends the offer of a directory and waits for the streams that use it,
// whose permission the caller has revoked.
func (s *Service) Remove(name string) error {
	s.mu.Lock()
	sh := s.shares[name]
	delete(s.shares, name)
	s.mu.Unlock()
	if sh == nil {
		return session.Errorf("share", session.NotFound, "%s is not shared", session.Printable(name))
	}
	sh.users.Wait()
	return sh.tree.close()
}

// Close removes all shares.
func (s *Service) Close() error {
	s.mu.Lock()
	shares := s.shares
	s.shares = make(map[string]*offered)
	s.mu.Unlock()
	var errs []error
	for _, sh := range shares {
		sh.users.Wait()
		errs = append(errs, sh.tree.close())
	}
	return errors.Join(errs...)
}

// use finds a share; its users must be told when done.
func (s *Service) use(name string) (*offered, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shares[name]
	if name == "" && len(s.shares) == 1 {
		for _, only := range s.shares {
			sh = only
		}
	}
	if sh == nil {
		return nil, session.Errorf("folder", session.NotFound, "no share %q", session.Printable(name))
	}
	sh.users.Add(1)
	return sh, nil
}

// Serve answers one stream.
func (s *Service) Serve(ctx context.Context, o session.Offer) error {
	h := o.Header()
	sh, err := s.use(h.Resource)
	if err != nil {
		return err
	}
	defer sh.users.Done()
	switch {
	case h.Action != Read && h.Action != Write:
		return session.Errorf("folder", session.Invalid, "no action %q", session.Printable(h.Action))
	case h.Action == Write && sh.ReadOnly:
		return session.Errorf("folder", session.Denied, "%s can't be written", session.Printable(sh.Name))
	}
	st, err := o.Accept()
	if err != nil {
		return err
	}
	if h.Action == Write {
		sh.tree.sweep(time.Now())
		sh.tree.sweepTrash(time.Now())
	}
	c := converseWith(st, o.Peer().ID, sh.tree, h.Action == Write)
	if sh.Ask != nil {
		c.gate = &gate{ask: sh.Ask, share: sh.Name, peer: o.Peer(), tree: sh.tree}
	}
	if err := c.serve(ctx); err != nil {
		return errors.Join(err, st.Reset(err))
	}
	return st.Close()
}
