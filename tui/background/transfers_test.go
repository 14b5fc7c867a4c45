package background

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
	"tandem/share/folder"
)

// begin runs transfers until the test ends.
func begin(t *testing.T, c Copier) *Transfers {
	transfers := NewTransfers(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		transfers.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return transfers
}

// slow copies 10 kB a second, which takes 5 kB, and goes on where it was stopped: after
// a moment it finds what is there.
func slow(size int64) Copier {
	var mu sync.Mutex
	have := make(map[string]int64)
	add := func(item string, n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		have[item] += n
		return have[item]
	}
	return func(ctx context.Context, _ Job, item string, c Copying) (folder.Summary, error) {
		c.Progress(folder.Progress{Files: 1, Bytes: size})
		wire := int64(0)
		for done := add(item, 0); done < size; wire += 500 {
			c.Progress(folder.Progress{Files: 1, Bytes: size, BytesDone: done, Wire: wire, Current: item})
			select {
			case <-time.After(100 * time.Millisecond):
				done = add(item, 1000)
			case <-ctx.Done():
				return folder.Summary{Failed: 1}, ctx.Err()
			}
		}
		c.Progress(folder.Progress{Files: 1, FilesDone: 1, Bytes: size, BytesDone: size, Wire: wire, Current: item})
		return folder.Summary{Files: 1, Bytes: size, Sent: size}, nil
	}
}

func only(t *testing.T, transfers *Transfers) Status {
	t.Helper()
	list := transfers.List()
	if len(list) != 1 {
		t.Fatalf("%d jobs", len(list))
	}
	return list[0]
}

// TestTransfers: a copy runs, pauses, goes on where it was, and ends; its rate
// and the time left are right meanwhile.
func TestTransfers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transfers := begin(t, slow(200_000))
		id := transfers.Add(Job{Items: []string{"a"}})
		time.Sleep(10*time.Second + 50*time.Millisecond)
		s := only(t, transfers)
		if s.Stage != Running || s.Progress.BytesDone != 100_000 || s.Rate < 9000 || s.Rate > 11000 {
			t.Fatalf("after 10 s: %+v", s)
		}
		if s.Left < 9*time.Second || s.Left > 12*time.Second || len(s.Rates) < 9 {
			t.Errorf("%v left, %d rates", s.Left, len(s.Rates))
		}
		if transfers.Keeping() == "" {
			t.Error("quitting would cut nothing off")
		}
		transfers.Pause(id)
		synctest.Wait()
		if s := only(t, transfers); s.Stage != Paused || s.Rate != 0 {
			t.Fatalf("paused: %+v", s)
		}
		time.Sleep(time.Hour)
		transfers.Resume(id)
		time.Sleep(5 * time.Second)
		if s := only(t, transfers); s.Stage != Running || s.Rate > 11000 || slices.Max(s.Rates) > 11000 {
			t.Fatalf("resumed: %+v", s)
		}
		time.Sleep(10 * time.Second)
		s = only(t, transfers)
		if s.Stage != Done || s.Progress.BytesDone != 200_000 || s.Total.Files != 1 || s.Progress.Wire != 100_000 || s.Elapsed > 21*time.Second {
			t.Fatalf("done: %+v", s)
		}
		transfers.Clear()
		if len(transfers.List()) != 0 || transfers.Keeping() != "" {
			t.Error("something is left")
		}
	})
}

// TestSeveral: two run at once, the others wait; one that fails can be tried
// again, and one that waits be stopped.
func TestSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Bool
		fails.Store(true)
		copier := slow(10_000)
		transfers := begin(t, func(ctx context.Context, j Job, item string, c Copying) (folder.Summary, error) {
			if item == "bad" && fails.Load() {
				return folder.Summary{Failed: 1}, session.Errorf("copy", session.Unavailable, "gone")
			}
			return copier(ctx, j, item, c)
		})
		transfers.Add(Job{Items: []string{"bad", "good"}})
		transfers.Add(Job{Items: []string{"b"}})
		last := transfers.Add(Job{Items: []string{"c"}})
		time.Sleep(time.Millisecond)
		if list := transfers.List(); list[0].Stage != Running || list[1].Stage != Running || list[2].Stage != Waiting {
			t.Fatalf("%+v", list)
		}
		transfers.Stop(last)
		time.Sleep(5 * time.Second)
		list := transfers.List()
		if list[0].Stage != Failed || list[0].Total.Files != 1 || list[1].Stage != Done || list[2].Stage != Stopped {
			t.Fatalf("%+v", list)
		}
		fails.Store(false)
		transfers.Resume(list[0].ID)
		time.Sleep(5 * time.Second)
		if s := transfers.List()[0]; s.Stage != Done || s.Err != nil || s.Total.Files != 2 {
			t.Fatalf("%+v", s)
		}
	})
}

// TestDecide: what is in the way waits for a person, and a decision for all is
// asked for once.
func TestDecide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Decision
		transfers := begin(t, func(ctx context.Context, _ Job, item string, c Copying) (folder.Summary, error) {
			d, err := c.Decide(ctx, Conflict{Path: item})
			got = append(got, d)
			return folder.Summary{}, err
		})
		id := transfers.Add(Job{Items: []string{"a", "b", "c"}})
		time.Sleep(time.Second)
		if s := only(t, transfers); s.Stage != Asking || s.Conflict.Path != "a" {
			t.Fatalf("%+v", s)
		}
		transfers.Answer(id, Keep)
		time.Sleep(time.Second)
		transfers.Answer(id, ReplaceAll)
		time.Sleep(time.Second)
		if s := only(t, transfers); s.Stage != Done || !slices.Equal(got, []Decision{Keep, Replace, Replace}) {
			t.Fatalf("%+v, %v", s, got)
		}
		id = transfers.Add(Job{Items: []string{"d"}})
		time.Sleep(time.Second)
		transfers.Stop(id)
		time.Sleep(time.Second)
		if s := transfers.List()[1]; s.Stage != Stopped {
			t.Fatalf("%+v", s)
		}
	})
}

// TestNext: changes are told, at most a few times a second.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transfers := begin(t, slow(100_000))
		transfers.Add(Job{Items: []string{"a"}})
		var version uint64
		for n := 0; ; n++ {
			var ok bool
			if version, ok = transfers.Next(t.Context(), version); !ok {
				t.Fatal("told of no end")
			}
			if only(t, transfers).Stage == Done {
				if n > 110 {
					t.Errorf("told %d times in 10 s", n)
				}
				break
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		if _, ok := transfers.Next(ctx, version); ok {
			t.Error("goes on")
		}
	})
}

// TestKeepingSays: one and several.
func TestKeepingSays(t *testing.T) {
	transfers := NewTransfers(nil)
	transfers.Add(Job{})
	if got := transfers.Keeping(); !strings.HasPrefix(got, "One copy") {
		t.Error(got)
	}
	transfers.Add(Job{})
	if got := transfers.Keeping(); !strings.HasPrefix(got, "2 copies") {
		t.Error(got)
	}
}
