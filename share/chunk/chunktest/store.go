// Package chunktest says what every chunk.Store does, as a test.
package chunktest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

// Store tests a store. Open returns an empty one that holds a few MiB at least
// and is closed by the test's cleanup.
func Store(t *testing.T, open func(t *testing.T) chunk.Store) {
	for name, test := range map[string]func(*testing.T, chunk.Store){
		"what is put is there":          putGet,
		"what isn't there":              absent,
		"what has another name":         wrongName,
		"sizes":                         sizes,
		"the caller's bytes":            aliasing,
		"delete":                        deleting,
		"list":                          listing,
		"a list that is cut short":      listBreak,
		"a context that has ended":      canceled,
		"many at once":                  concurrent,
		"the same chunk, many at once":  same,
		"put, get and delete at random": random,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// bytesOf makes n bytes that differ for each seed.
func bytesOf(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() & 0x1f) // some of it can be compressed
	}
	return b
}

func put(t *testing.T, s chunk.Store, data []byte) chunk.Sum {
	t.Helper()
	name := chunk.SumOf(data)
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatal("put: ", err)
	}
	return name
}

func wantKind(t *testing.T, what string, err error, kind session.Kind) {
	t.Helper()
	if err == nil || session.KindOf(err) != kind {
		t.Errorf("%s: %v, not %s", what, err, kind)
	}
}

func has(t *testing.T, s chunk.Store, name chunk.Sum) bool {
	t.Helper()
	ok, err := s.Has(t.Context(), name)
	if err != nil {
		t.Fatal("has: ", err)
	}
	return ok
}

func putGet(t *testing.T, s chunk.Store) {
	for i, data := range [][]byte{{0}, bytesOf(1, 100), make([]byte, 300<<10), bytesOf(2, 256<<10)} {
		name := put(t, s, data)
		put(t, s, data) // again
		got, err := s.Get(t.Context(), name)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d: %d bytes of %d, %v", i, len(got), len(data), err)
		}
		if !has(t, s, name) {
			t.Errorf("%d isn't there", i)
		}
	}
}

func absent(t *testing.T, s chunk.Store) {
	name := chunk.SumOf([]byte("nobody has this"))
	if has(t, s, name) {
		t.Error("it is there")
	}
	_, err := s.Get(t.Context(), name)
	wantKind(t, "get", err, session.NotFound)
	if err := s.Delete(t.Context(), name); err != nil {
		t.Error("delete: ", err)
	}
}

func wrongName(t *testing.T, s chunk.Store) {
	data, other := bytesOf(1, 1000), chunk.SumOf(bytesOf(2, 1000))
	wantKind(t, "put", s.Put(t.Context(), other, data), session.Integrity)
	if has(t, s, other) || has(t, s, chunk.SumOf(data)) {
		t.Error("something was kept")
	}
}

func sizes(t *testing.T, s chunk.Store) {
	wantKind(t, "empty", s.Put(t.Context(), chunk.SumOf(nil), nil), session.Invalid)
	large := make([]byte, chunk.MaxSize+1)
	wantKind(t, "too large", s.Put(t.Context(), chunk.SumOf(large), large), session.TooLarge)
	name := put(t, s, large[1:])
	if got, err := s.Get(t.Context(), name); err != nil || len(got) != chunk.MaxSize {
		t.Errorf("the largest: %d bytes, %v", len(got), err)
	}
}

func aliasing(t *testing.T, s chunk.Store) {
	data := bytesOf(1, 5000)
	name := put(t, s, data)
	data[0]++
	got, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatal("the store kept the caller's bytes: ", err)
	}
	got[0]++
	if got, err = s.Get(t.Context(), name); err != nil || chunk.SumOf(got) != name {
		t.Error("the store gave away its bytes: ", err)
	}
}

func deleting(t *testing.T, s chunk.Store) {
	one, two := put(t, s, bytesOf(1, 1000)), put(t, s, bytesOf(2, 1000))
	if err := s.Delete(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if has(t, s, one) || !has(t, s, two) {
		t.Error("the wrong one is there")
	}
	put(t, s, bytesOf(1, 1000))
	if !has(t, s, one) {
		t.Error("what was deleted can't be put again")
	}
}

func listing(t *testing.T, s chunk.Store) {
	want := make(map[chunk.Sum]bool)
	for i := range uint64(600) {
		want[put(t, s, bytesOf(i, 50))] = true
	}
	for name, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[name] {
			t.Errorf("%v is listed and was not put, or comes twice", name)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("%d are not listed", len(want))
	}
}

func listBreak(t *testing.T, s chunk.Store) {
	for i := range uint64(20) {
		put(t, s, bytesOf(i, 50))
	}
	n := 0
	for _, err := range s.List(t.Context()) {
		if n++; n == 5 || err != nil {
			break
		}
	}
	if n != 5 {
		t.Errorf("%d of 20 were listed before the break", n)
	}
}

func canceled(t *testing.T, s chunk.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	data := bytesOf(1, 100)
	name := put(t, s, data)
	cancel()
	_, err := s.Get(ctx, name)
	for what, err := range map[string]error{"get": err, "put": s.Put(ctx, name, data), "delete": s.Delete(ctx, name)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, err := range s.List(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Error("list: ", err)
		}
	}
}

func concurrent(t *testing.T, s chunk.Store) {
	var work sync.WaitGroup
	for w := range uint64(8) {
		work.Go(func() {
			for i := range uint64(40) {
				data := bytesOf(w*1000+i, 2000)
				name := chunk.SumOf(data)
				if err := s.Put(t.Context(), name, data); err != nil {
					t.Error("put: ", err)
				}
				if got, err := s.Get(t.Context(), name); err != nil || !bytes.Equal(got, data) {
					t.Error("get: ", err)
				}
			}
		})
	}
	work.Wait()
}

func same(t *testing.T, s chunk.Store) {
	data := bytesOf(1, 100<<10)
	name := chunk.SumOf(data)
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			if err := s.Put(t.Context(), name, data); err != nil {
				t.Error("put: ", err)
			}
			if got, err := s.Get(t.Context(), name); err != nil || !bytes.Equal(got, data) {
				t.Error("get: ", err)
			}
		})
	}
	work.Wait()
	n := 0
	for _, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d chunks are listed", n)
	}
}

func random(t *testing.T, s chunk.Store) {
	r := rand.New(rand.NewPCG(7, 7))
	there := make(map[uint64]bool)
	for range 500 {
		i := r.Uint64N(12)
		data := bytesOf(i, 300)
		name := chunk.SumOf(data)
		switch r.Uint32N(3) {
		case 0:
			put(t, s, data)
			there[i] = true
		case 1:
			if err := s.Delete(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			delete(there, i)
		default:
			if got, err := s.Get(t.Context(), name); (err == nil) != there[i] || err == nil && !bytes.Equal(got, data) {
				t.Fatalf("get: %v; is it there? %v", err, there[i])
			}
		}
	}
}
