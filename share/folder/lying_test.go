package folder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/session"
)

// verbs are what a client does besides copying.
var verbs = map[string]func(ctx context.Context, c *Client) error{
	"stat":   func(ctx context.Context, c *Client) error { _, err := c.Stat(ctx, "d/x"); return err },
	"list":   func(ctx context.Context, c *Client) error { _, _, err := c.List(ctx, "d"); return err },
	"mkdir":  func(ctx context.Context, c *Client) error { return c.Mkdir(ctx, "d/x") },
	"remove": func(ctx context.Context, c *Client) error { _, err := c.Remove(ctx, "d/x"); return err },
	"purge":  func(ctx context.Context, c *Client) error { return c.Purge(ctx, "d/x") },
	"move":   func(ctx context.Context, c *Client) error { return c.Move(ctx, "d/x", "d/y", false) },
	"set":    func(ctx context.Context, c *Client) error { _, err := c.Set(ctx, "d/x", 1, false); return err },
	"range": func(ctx context.Context, c *Client) error {
		_, err := c.ReadAt(ctx, "d/x", make([]byte, 8), 0)
		return err
	},
	"watch": func(ctx context.Context, c *Client) error {
		return c.Watch(ctx, "d", false, nil, func(ch []Change) error {
			if len(ch) > 0 {
				return fmt.Errorf("told of %+v", ch)
			}
			return nil
		})
	},
}

// Whatever a host answers instead of what it was asked, a client says that it
// makes no sense, or that the peer has gone, and is not misled.
func TestLyingHosts(t *testing.T) {
	entry := &Entry{Name: "x", Size: 3}
	block := func(ch ...Change) string {
		raw, err := json.Marshal(changes{ch})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	told := func(blocks ...string) func(req request, w *bufio.Writer) error {
		return func(req request, w *bufio.Writer) error {
			err := writeMessage(w, reply{ID: req.ID, Body: true})
			for _, b := range blocks {
				err = errors.Join(err, writeUnit(w, []byte(b)))
			}
			return errors.Join(err, writeTrailer(w, trailer{}))
		}
	}
	for name, lie := range map[string]struct {
		verbs  []string // that are misled by it, if anything is; nil is all
		answer func(req request, w *bufio.Writer) error
	}{
		"another id":    {nil, func(req request, w *bufio.Writer) error { return writeMessage(w, reply{ID: req.ID + 1, Entry: entry}) }},
		"no id":         {nil, func(_ request, w *bufio.Writer) error { return writeMessage(w, reply{Entry: entry}) }},
		"not JSON":      {nil, func(_ request, w *bufio.Writer) error { return writeUnit(w, []byte("[")) }},
		"nothing":       {nil, func(_ request, w *bufio.Writer) error { return writeUnit(w, nil) }},
		"a long answer": {nil, func(_ request, w *bufio.Writer) error { return writeUnit(w, make([]byte, MaxMessage+1)) }},
		"an end":        {nil, func(request, *bufio.Writer) error { return errors.New("over") }},
		"half a length": {nil, func(_ request, w *bufio.Writer) error {
			_, err := w.WriteString("\x00\x00")
			return errors.Join(err, w.Flush(), errors.New("over"))
		}},
		"an error without a kind": {nil, func(req request, w *bufio.Writer) error {
			return writeMessage(w, reply{ID: req.ID, Error: &wireError{}})
		}},
		"a body": {[]string{"stat", "mkdir", "remove", "purge", "move", "set"}, told("x")},
		"no entry": {[]string{"stat", "set", "range", "list", "watch", "remove"}, func(req request, w *bufio.Writer) error {
			return writeMessage(w, reply{ID: req.ID})
		}},
		"a negative size": {[]string{"stat", "set", "range"}, func(req request, w *bufio.Writer) error {
			return writeMessage(w, reply{ID: req.ID, Entry: &Entry{Size: -1}})
		}},
		"trash elsewhere": {[]string{"remove"}, func(req request, w *bufio.Writer) error {
			return writeMessage(w, reply{ID: req.ID, Trash: "../../etc/d/x"})
		}},
		"trash of another": {[]string{"remove"}, func(req request, w *bufio.Writer) error {
			return writeMessage(w, reply{ID: req.ID, Trash: ".tandem-trash/20261122T130000Z-k3jv52xq/y"})
		}},
		"long trash": {[]string{"remove"}, func(req request, w *bufio.Writer) error {
			return writeMessage(w, reply{ID: req.ID, Trash: ".tandem-trash/" + strings.Repeat("x/", 10000) + "d/x"})
		}},
		"a block that is no page": {[]string{"list", "watch"}, told("[")},
		"another folder's page":   {[]string{"list"}, told(`{"dir":"e"}`)},
		"a change elsewhere":      {[]string{"watch"}, told(block(Change{"e/x", Created, *entry}))},
		"a change further down":   {[]string{"watch"}, told(block(Change{"d/e/x", Created, *entry}))},
		"a change of another":     {[]string{"watch"}, told(block(Change{"d/x", Created, Entry{Name: "y"}}))},
		"a change of no kind":     {[]string{"watch"}, told(block(Change{"d/x", "exploded", *entry}))},
		"a change behind others":  {[]string{"watch"}, told(block(), block(), block(Change{"../x", Removed, *entry}))},
		"a block too long":        {[]string{"list", "watch"}, told(strings.Repeat(" ", MaxBlock+1))},
		"a block within another": {[]string{"list", "watch"}, func(req request, w *bufio.Writer) error {
			return errors.Join(writeMessage(w, reply{ID: req.ID, Body: true}), writeUnit(w, []byte(`{"changes":[`)), w.Flush(), errors.New("over"))
		}},
	} {
		for verb, do := range verbs {
			if lie.verbs != nil && !slices.Contains(lie.verbs, verb) {
				continue
			}
			t.Run(name+" to "+verb, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := do(ctx, peer(lie.answer).client(t))
				switch kind := session.KindOf(err); {
				case err == nil:
					t.Error("believed")
				case kind == session.Integrity, kind == session.Invalid, kind == session.Unavailable:
				case name == "an error without a kind" && kind == session.Internal:
				default:
					t.Error(err)
				}
			})
		}
	}
}

// A client that lies about bodies and lengths, or asks without waiting, is
// refused or answered, and another one is served all the while.
func TestLyingClients(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, "x", "d/y")
	message := func(req request) string {
		raw, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		return unit(string(raw))
	}
	for name, say := range map[string]string{
		"a body to what has none, without an end": unit(`{"id":1,"op":"stat","path":"x","body":true}`) + strings.Repeat(unit("x"), 1000),
		"a second watch":                    message(request{ID: 1, Op: opWatch}) + message(request{ID: 2, Op: opWatch}),
		"a body too long":                   unit(`{"id":1,"op":"put","path":"z","size":3,"body":true}`) + "\x00\x04\x00\x01",
		"a deep message":                    unit(strings.Repeat("[", 30000)),
		"a deep path":                       strings.Repeat(message(request{ID: 1, Op: opStat, Path: strings.Repeat("d/", 2000) + "y"}), 100),
		"ten thousand questions and no ear": strings.Repeat(message(request{ID: 1, Op: opList, Recursive: true}), 10000),
		"the same id again":                 strings.Repeat(message(request{ID: 7, Op: opStat, Path: "x"}), 100),
		"numbers out of range":              unit(`{"id":1,"op":"read","path":"x","offset":9223372036854775807,"length":9223372036854775807}`),
		"a time out of range":               unit(`{"id":1,"op":"set","path":"x","mtime":-9223372036854775808}`),
		"a number too large":                unit(`{"id":1,"op":"read","path":"x","offset":1e30}`),
	} {
		t.Run(name, func(t *testing.T) {
			liar := attack(t, dir, Write, false)
			honest := liar.beside(Read)
			said := make(chan struct{})
			go func() { // nobody may read it all
				defer close(said)
				_, _ = liar.st.Write([]byte(say))
			}()
			if got := honest.listed(""); !slices.Equal(got, []string{"d", "d/y", "x"}) {
				t.Errorf("others see %q", got)
			}
			_ = liar.st.Reset(errors.New("enough"))
			<-said
			if got := honest.listed(""); !slices.Equal(got, []string{"d", "d/y", "x"}) {
				t.Errorf("others see %q afterwards", got)
			}
		})
	}
}
