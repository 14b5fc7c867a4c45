package folder

import (
	"sync"

	"tandem/share"
)

// dirSyncs makes the names in directories durable, with one call for all who
// wait for the same directory.
type dirSyncs struct {
	turn chan struct{} // filled while a call runs

	mu     sync.Mutex
	rounds map[string]*syncRound // that have not begun
}

func newDirSyncs() *dirSyncs {
	return &dirSyncs{turn: make(chan struct{}, 1), rounds: make(map[string]*syncRound)}
}

type syncRound struct {
	done chan struct{}
	err  error // valid after done
}

// sync returns when what was done in dir before it was called is durable.
func (d *dirSyncs) sync(dir string, call func(string) error) error {
	d.mu.Lock()
	r, others := d.rounds[dir]
	if !others {
		r = &syncRound{done: make(chan struct{})}
		d.rounds[dir] = r
	}
	d.mu.Unlock()
	if others {
		<-r.done
		return r.err
	}
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	d.mu.Lock()
	delete(d.rounds, dir) // who comes now is not sure to be in time
	d.mu.Unlock()
	r.err = call(dir)
	close(r.done)
	return r.err
}

// syncDir makes the names in the directory dir durable.
func (t *tree) syncDir(dir string) error {
	return t.syncs.sync(dir, func(dir string) error { return share.SyncDir(t.root, local(dir)) })
}
