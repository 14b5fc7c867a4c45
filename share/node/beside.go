package node

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"tandem/session/identity"
)

const (
	// besideTimeout is how long a second node may take to say what it shares, and
	// besideStale how old a socket without a node is when it is removed.
	besideTimeout = 2 * time.Second
	besideStale   = 10 * time.Second
	besidePattern = "beside-*"
)

// besidePath is a new name for the control socket of a second node, about as long as
// the first one's.
func besidePath(home Home) string {
	return filepath.Join(runDir(home), strings.Replace(besidePattern, "*", strings.ToLower(rand.Text()[:5]), 1))
}

// beside are the second nodes that run beside the node of the home; a second node
// itself knows of none.
func (n *Node) beside() (all []*caller) {
	if n.lock == nil {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(runDir(n.cfg.Home), besidePattern))
	if err != nil {
		return nil // the home's name is a bad pattern
	}
	for _, path := range paths {
		all = append(all, &caller{path: path})
	}
	return all
}

// askBeside asks all second nodes at the same time, and returns the answers of those
// that have one.
func askBeside[T any](ctx context.Context, n *Node, ask func(context.Context, *caller) ([]T, error)) (all []T) {
	beside := n.beside()
	answers := make([][]T, len(beside))
	ctx, cancel := context.WithTimeout(ctx, besideTimeout)
	defer cancel()
	var asking sync.WaitGroup
	for i, c := range beside {
		asking.Go(func() {
			var err error
			if answers[i], err = ask(ctx, c); err != nil {
				n.cfg.Log.Debug("second node", "socket", c.path, "error", err)
				removeStale(c.path, err)
			}
		})
	}
	asking.Wait()
	for _, a := range answers {
		all = append(all, a...)
	}
	return all
}

// removeStale removes the socket of a node that was killed.
func removeStale(path string, err error) {
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > besideStale {
		_ = os.Remove(path) // or another time
	}
}

// findBeside is the second node that has something, or nil.
func (n *Node) findBeside(ctx context.Context, has func(context.Context, *caller) (bool, error)) *caller {
	found := askBeside(ctx, n, func(ctx context.Context, c *caller) ([]*caller, error) {
		if ok, err := has(ctx, c); err != nil || !ok {
			return nil, err
		}
		return []*caller{c}, nil
	})
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

// shareBeside is the second node that has a share.
func (n *Node) shareBeside(ctx context.Context, id string) *caller {
	return n.findBeside(ctx, func(ctx context.Context, c *caller) (bool, error) {
		shares, err := c.Shares(ctx)
		return slices.ContainsFunc(shares, func(s ShareStatus) bool { return s.ID == id }), err
	})
}

// requestBeside is the second node that a request waits at.
func (n *Node) requestBeside(ctx context.Context, id string) *caller {
	return n.findBeside(ctx, func(ctx context.Context, c *caller) (bool, error) {
		requests, err := c.Requests(ctx)
		return slices.ContainsFunc(requests, func(r Request) bool { return r.ID == id }), err
	})
}

// dismissBeside dismisses a peer at all second nodes.
func (n *Node) dismissBeside(ctx context.Context, entry identity.Entry) error {
	failed := askBeside(ctx, n, func(ctx context.Context, c *caller) ([]error, error) {
		err := c.Dismiss(ctx, entry.ID.String())
		if err == nil || errors.Is(err, errNoNode) {
			return nil, err // a node that is not there has granted nothing
		}
		return []error{err}, nil
	})
	return errors.Join(failed...)
}
