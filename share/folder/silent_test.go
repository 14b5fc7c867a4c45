package folder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
)

// Of a host that says nothing any more, at once or in the midst of a file, one can go away at any time, and
// what has come of a file is kept.
func TestSilentHosts(t *testing.T) {
	half := strings.Repeat("x", 100_000)
	hosts := map[string]peer{
		"from the beginning": func(request, *bufio.Writer) error { return nil },
		"in the midst of a reply": func(_ request, w *bufio.Writer) error {
			_, err := w.WriteString("\x00\x00\x00\x10{")
			return err
		},
		"in the midst of a file": func(req request, w *bufio.Writer) error {
			switch req.Op {
			case opStat:
				return writeMessage(w, reply{ID: req.ID, Entry: &Entry{Name: "x", Size: 200_000}})
			case opFetch, opRead:
				return errors.Join(writeMessage(w, reply{ID: req.ID, Body: true, Entry: &Entry{Name: "x", Size: 200_000}}), writeUnit(w, []byte(data(half))))
			}
			return nil
		},
	}
	for name, host := range hosts {
		dir := t.TempDir()
		grow(t, dir, "mine")
		acts := maps.Clone(verbs)
		acts["get"] = func(ctx context.Context, c *Client) error {
			_, err := c.Get(ctx, "x", filepath.Join(dir, "x"), Options{})
			return err
		}
		acts["put"] = func(ctx context.Context, c *Client) error {
			_, err := c.Put(ctx, filepath.Join(dir, "mine"), "x", Options{})
			return err
		}
		acts["read"] = func(ctx context.Context, c *Client) error {
			var out bytes.Buffer
			_, err := c.Read(ctx, "x", &out, Options{})
			return err
		}
		if name == "in the midst of a file" {
			delete(acts, "stat")  // it is answered
			delete(acts, "range") // too much for it
		}
		for act, do := range acts {
			t.Run(name+", "+act, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, session.Errorf("test", session.Canceled, "enough"))
					defer cancel()
					begun := time.Now()
					if err := do(ctx, host.client(t)); err == nil {
						t.Error("it is satisfied")
					} else if k := session.KindOf(err); k != session.Canceled && k != session.Timeout {
						t.Error(err)
					}
					if took := time.Since(begun); took != time.Hour {
						t.Errorf("it ended after %v", took)
					}
				})
			})
		}
		if name == "in the midst of a file" {
			if info, err := os.Stat(filepath.Join(dir, partialDir, partialKey("x", Entry{Size: 200_000}))); err != nil || info.Size() != 100_000 {
				t.Errorf("%v, %v", info, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "x")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: half a file is there: %v", name, err)
		}
	}
}
