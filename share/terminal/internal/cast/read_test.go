package cast

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"tandem/session"
)

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

const v2 = `{"version": 2, "width": 80, "height": 24, "timestamp": 1700000000, "idle_time_limit": 1.5}` + "\n"

// TestVersions: the same session in all versions there are.
func TestVersions(t *testing.T) {
	events := `[0.5, "o", "a"]` + "\n" + `[1.5, "o", "b"]` + "\n"
	for name, recording := range map[string]string{
		"v1":                  `{"version": 1, "width": 80, "height": 24, "duration": 1.5, "stdout": [[0.5, "a"], [1.0, "b"]]}`,
		"v1 in several lines": "{\n\"version\": 1,\n\"width\": 80, \"height\": 24,\n \"stdout\": [\n[0.5, \"a\"],\n[1.0, \"b\"]\n]}\n",
		"v2":                  v2 + events,
		"v2 without the end":  v2 + strings.TrimSuffix(events, "\n"),
		"v3":                  `{"version": 3, "term": {"cols": 80, "rows": 24, "type": "xterm"}}` + "\n# a remark\n" + `[0.5, "o", "a"]` + "\n" + `[1.0, "o", "b"]` + "\n" + `[0.0, "x", "0"]` + "\n",
		"compressed":          zipped(v2 + events),
		"with news":           v2 + `[0.1, "tomorrow", "?"]` + "\n" + `[0.2, "s", {"a": 1}]` + "\n" + events,
	} {
		r := loaded(t, []byte(recording))
		if r.Header.Cols != 80 || r.Header.Rows != 24 || len(r.Events) != 2 || r.Bytes != 2 || r.Duration() != 1500*time.Millisecond || r.Torn {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestTorn(t *testing.T) {
	r := loaded(t, []byte(v2+`[0.5, "o", "a"]`+"\n"+`[0.7, "o", "b`))
	if !r.Torn || len(r.Events) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		recording string
		kind      session.Kind
	}{
		"nothing":            {"", session.Unsupported},
		"text":               {"hello\n", session.Unsupported},
		"other JSON":         {`{"a": 1}` + "\n", session.Unsupported},
		"a later version":    {`{"version": 4}` + "\n", session.Unsupported},
		"zstd":               {"\x28\xb5\x2f\xfd....", session.Unsupported},
		"half a gzip":        {zipped(v2 + strings.Repeat("[1, \"o\", \"x\"]\n", 1000))[:60], session.Invalid},
		"noise in the midst": {v2 + "noise\n" + `[1, "o", "x"]` + "\n", session.Invalid},
		"a long line":        {v2 + strings.Repeat("x", maxLine+1) + "\n", session.TooLarge},
		"a long header":      {strings.Repeat("{", maxLine+1), session.TooLarge},
		"a bomb":             {zipped(v2 + strings.Repeat(" ", 2*maxLine)), session.TooLarge},
		"a bad frame in v1":  {`{"version": 1, "stdout": [[1]]}`, session.Invalid},
	} {
		reader, err := NewReader(strings.NewReader(c.recording))
		if err == nil {
			_, err = Load(reader)
		}
		if session.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStrangeTimes: time does not fall, and does not overflow.
func TestStrangeTimes(t *testing.T) {
	r := loaded(t, []byte(v2+`[5, "o", "a"]`+"\n"+`[-3, "o", "b"]`+"\n"+`[2, "o", "c"]`+"\n"+`[1e300, "o", "d"]`+"\n"))
	want := []time.Duration{5 * time.Second, 5 * time.Second, 5 * time.Second, maxTime}
	for i, ev := range r.Events {
		if ev.At != want[i] {
			t.Errorf("event %d at %v", i, ev.At)
		}
	}
	third := loaded(t, []byte(`{"version": 3, "term": {"cols": 1, "rows": -5}}`+"\n"+strings.Repeat(`[1e300, "o", "d"]`+"\n", 50)))
	if third.Duration() != maxTime || third.Header.Rows != 0 {
		t.Errorf("%v, %+v", third.Duration(), third.Header)
	}
}

// TestBytesMustFit: nobody is shown one thing by other players and another by
// ours.
func TestBytesMustFit(t *testing.T) {
	raw := base64.StdEncoding.EncodeToString([]byte("rm -rf /\xff"))
	for event, want := range map[string]string{
		`[1, "o", "rm -rf /�"]`: "rm -rf /\xff",
		`[1, "o", "ls"]`:        "ls",
		`[1, "m", "x"]`:         "",
	} {
		recording := v2 + `[1, "bytes", "` + raw + `"]` + "\n" + event + "\n"
		if got := string(output(t, []byte(recording))); got != want {
			t.Errorf("%s is %q", event, got)
		}
	}
	for _, recording := range []string{
		v2 + `[1, "bytes", "` + raw + `"]` + "\n" + `[1, "r", "1x1"]` + "\n" + `[1, "o", "rm -rf /�"]` + "\n",
		v2 + `[1, "bytes", "not base64"]` + "\n" + `[1, "o", "rm -rf /�"]` + "\n",
	} {
		if got := string(output(t, []byte(recording))); got != "rm -rf /�" {
			t.Errorf("%q", got)
		}
	}
}

// TestTooMuch: an endless recording ends.
func TestTooMuch(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(v2), &repeated{line: `[1, "o", "x"]` + "\n"})
	reader, err := NewReader(endless)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(reader, 1<<20); session.KindOf(err) != session.TooLarge {
		t.Error(err)
	}
}

type repeated struct {
	line string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.line[r.at:])
	r.at = (r.at + n) % len(r.line)
	return n, nil
}

func TestReadFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	reader, err := NewReader(io.MultiReader(strings.NewReader(v2), failing{broken}))
	if err == nil {
		_, err = reader.Next()
	}
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// FuzzReader: whatever is read, what comes out is in order and within limits,
// and written again it reads the same.
func FuzzReader(f *testing.F) {
	f.Add([]byte(v2 + `[1, "bytes", "/w=="]` + "\n" + `[1, "o", "�"]` + "\n" + `[2, "r", "80x24"]` + "\n" + `[2, "m", "x"]` + "\n"))
	f.Add([]byte(`{"version": 1, "width": 80, "height": 24, "stdout": [[0.5, "a"], [1.0, "b"]]}`))
	f.Add([]byte(`{"version": 3, "term": {"cols": 80, "rows": 24}}` + "\n# x\n" + `[0.5, "i", "a"]` + "\n"))
	f.Add([]byte(zipped(v2 + `[1, "o", "x"]`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		reader, err := NewReader(io.LimitReader(bytes.NewReader(data), 1<<16))
		if err != nil {
			return
		}
		var e encoder
		again := appendHeader(nil, reader.Header)
		var want []byte
		var last time.Duration
		for range 10_000 {
			ev, err := reader.Next()
			if err != nil {
				break
			}
			if ev.At < last || ev.At > maxTime || len(ev.Data) > maxLine || ev.Cols > maxSide || ev.Rows > maxSide {
				t.Fatalf("%+v after %v", ev, last)
			}
			last = ev.At
			again = e.append(again, ev)
			if ev.Kind == Output {
				want = append(want, ev.Data...)
			}
		}
		again = e.flush(again)
		if got := output(t, again); !bytes.Equal(got, want) {
			t.Fatalf("%q was written again as %q", want, got)
		}
	})
}
