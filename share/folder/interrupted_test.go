package folder_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/folder"
)

// TestInterruptedTransfer copies one file, and breaks off ten times at random:
// it arrives whole, at most a fiftieth of it has travelled twice, and neither
// side's memory grows with it. TANDEM_TRANSFER is its size in MiB; see `make
// soak-transfer`.
func TestInterruptedTransfer(t *testing.T) {
	mib := 48
	if testing.Short() {
		mib = 24
	}
	if env := os.Getenv("TANDEM_TRANSFER"); env != "" {
		var err error
		if mib, err = strconv.Atoi(env); err != nil {
			t.Fatal(err)
		}
	}
	size := int64(mib) << 20
	for way, copy := range map[string]func(context.Context, *folder.Client, string, folder.Options) (folder.Summary, error){
		"get": func(ctx context.Context, c *folder.Client, here string, o folder.Options) (folder.Summary, error) {
			return c.Get(ctx, "big", filepath.Join(here, "big"), o)
		},
		"put": func(ctx context.Context, c *folder.Client, here string, o folder.Options) (folder.Summary, error) {
			return c.Put(ctx, filepath.Join(here, "big"), "big", o)
		},
	} {
		t.Run(way, func(t *testing.T) {
			here, there := t.TempDir(), t.TempDir()
			from, to := there, here
			if way == "put" {
				from, to = here, there
			}
			want := fill(t, filepath.Join(from, "big"), size)
			peak := watchMemory(t)
			var sent int64
			const cuts = 10
			for n := 0; ; n++ {
				next := rand.Int64N(2*size/(cuts+1) + 1)
				if n >= cuts {
					next = -1
				}
				sum, err := attempt(t, there, next, func(ctx context.Context, c *folder.Client, o folder.Options) (folder.Summary, error) {
					return copy(ctx, c, here, o)
				})
				sent += sum.Sent
				if err == nil {
					t.Logf("%s: %d attempts", way, n+1)
					break
				}
				if k := session.KindOf(err); k != session.Unavailable && k != session.Canceled {
					t.Fatalf("attempt %d: %v", n, err)
				}
				if _, err := os.Stat(filepath.Join(to, "big")); !errors.Is(err, os.ErrNotExist) {
					t.Fatal("a part of the file is visible")
				}
				if n > 3*cuts {
					t.Fatal("it does not end")
				}
			}
			if got := hashOf(t, filepath.Join(to, "big")); got != want {
				t.Error("it arrived as something else")
			}
			// What is under way when it breaks is not the share of a large file.
			if twice := sent - size; twice > size/50+cuts*(4<<20) {
				t.Errorf("%d of %d bytes travelled twice", twice, size)
			}
			most := peak()
			t.Logf("%s: %.2f %% twice, %d MiB of memory for %d MiB", way, 100*float64(sent-size)/float64(size), most>>20, mib)
			if most > 256<<20 {
				t.Errorf("it took %d MiB", most>>20)
			}
		})
	}
}

// attempt copies until it ends or, if cut is not negative, has copied that many
// bytes more: then the session breaks or the person does.
func attempt(t *testing.T, there string, cut int64, f func(context.Context, *folder.Client, folder.Options) (folder.Summary, error)) (folder.Summary, error) {
	t.Helper()
	service := folder.New()
	if err := service.Add(folder.Share{Name: "docs", Dir: there}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	start := int64(-1)
	var done atomic.Bool
	sum, err := f(ctx, folder.NewClient(s, "docs"), folder.Options{Progress: func(p folder.Progress) {
		if start < 0 && p.BytesDone > 0 {
			start = p.BytesDone
		}
		if cut >= 0 && p.BytesDone-start > cut && !done.Swap(true) {
			if cut%2 == 0 {
				s.Cut()
			} else {
				cancel()
			}
		}
	}})
	if closed := errors.Join(s.Close(), service.Close()); closed != nil {
		t.Fatal(closed)
	}
	return sum, err
}

// fill writes size bytes without holes and returns their hash.
func fill(t *testing.T, path string, size int64) [32]byte {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	h := blake3.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
	_, err = io.CopyN(w, rand.NewChaCha8([32]byte{9}), size)
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func hashOf(t *testing.T, path string) [32]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := blake3.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

// watchMemory returns what tells the most memory that was in use since.
func watchMemory(t *testing.T) func() uint64 {
	t.Helper()
	runtime.GC()
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return most.Load()
	}
}
