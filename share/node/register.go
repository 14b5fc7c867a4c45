package node

import (
	"slices"
	"sync"
)

// register is a list of things with names, in the order they came. Whoever takes
// one off it decides about it: of several callers only one gets it.
type register[T interface{ named() string }] struct {
	mu   sync.Mutex
	list []T
}

func (r *register[T]) add(t T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, t)
}

func (r *register[T]) all() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// find is the one of that name, if it is there.
func (r *register[T]) find(name string) (t T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(name); i >= 0 {
		return r.list[i], true
	}
	return t, false
}

// take is find, and removes it.
func (r *register[T]) take(name string) (t T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.index(name)
	if i < 0 {
		return t, false
	}
	t = r.list[i]
	r.list = slices.Delete(r.list, i, i+1)
	return t, true
}

func (r *register[T]) index(name string) int {
	return slices.IndexFunc(r.list, func(t T) bool { return t.named() == name })
}
