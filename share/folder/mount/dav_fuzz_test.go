package mount

import (
	"bufio"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/session/sessiontest"
	"tandem/share/folder"
)

// surface is a WebDAV server of a share, and what lies around the share.
type surface struct {
	around  string
	handler http.Handler
	url     string
	host    string
}

const secret = "not for guests"

func newSurface(t testing.TB) *surface {
	t.Helper()
	s := &surface{around: t.TempDir()}
	s.plant(t)
	service := folder.New()
	share := folder.Share{Name: "docs", Dir: filepath.Join(s.around, "share"), Rules: []folder.Rule{{Pattern: "hidden*", Access: folder.Hidden}}}
	if err := service.Add(share); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	peer, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	tree := New(folder.NewClient(peer, "docs"), "", false)
	t.Cleanup(tree.Close)
	d, err := ServeDAV(tree)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s.handler, s.url, s.host = d.server.Handler, d.URL(), d.listener.Addr().String()
	return s
}

// plant puts into the share what requests are about.
func (s *surface) plant(t testing.TB) {
	t.Helper()
	for path, content := range map[string]string{
		"outside": secret, "share/hidden": secret, "share/d/hidden/x": secret, "share/file": "file", "share/d/x": "x", "share/a b": "",
	} {
		at := filepath.Join(s.around, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// clear empties the share.
func (s *surface) clear(t testing.TB) {
	t.Helper()
	names, err := os.ReadDir(filepath.Join(s.around, "share"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		if err := os.RemoveAll(filepath.Join(s.around, "share", e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// send makes a request of lines a client might send; nil is one that Go's server
// would refuse itself.
func (s *surface) send(method, path, header, body string) *httptest.ResponseRecorder {
	text := fmt.Sprintf("%s /%s%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s",
		method, s.token(), path, s.host, len(body), strings.ReplaceAll(header, "TOKEN", s.url), body)
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return nil
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *surface) token() string {
	_, token, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), "/")
	return strings.TrimSuffix(token, "/")
}

// intact fails the test if anything outside the share or hidden in it has
// changed, or is in what was answered.
func (s *surface) intact(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w != nil && (strings.Contains(w.Body.String(), secret) || strings.Contains(w.Body.String(), "hidden/")) {
		t.Errorf("answered %d: %q", w.Code, w.Body)
	}
	outside, err := os.ReadDir(s.around)
	if err != nil || len(outside) != 2 {
		t.Errorf("around the share are %v, %v", outside, err)
	}
	for _, path := range []string{"outside", "share/hidden", "share/d/hidden/x"} {
		if p, err := os.ReadFile(filepath.Join(s.around, path)); err != nil || string(p) != secret {
			t.Errorf("%s: %q, %v", path, p, err)
		}
	}
}

var davSeeds = [][4]string{
	{"GET", "/file", "Range: bytes=1-2", ""},
	{"GET", "/../outside", "", ""},
	{"GET", "/%2e%2e/outside", "", ""},
	{"GET", "/hidden", "", ""},
	{"PUT", "/d/hidden/x", "", "mine"},
	{"PUT", "/new", "If: (<opaquelocktoken:x>)", "content"},
	{"DELETE", "/d", "", ""},
	{"DELETE", "/", "", ""},
	{"MKCOL", "/d/new", "", ""},
	{"MKCOL", "/HIDDEN2", "", ""},
	{"MOVE", "/file", "Destination: TOKENhidden\r\nOverwrite: T", ""},
	{"MOVE", "/d", "Destination: TOKEN../outside", ""},
	{"MOVE", "/d", "Destination: TOKENd/below", ""},
	{"COPY", "/d", "Destination: TOKENd/below\r\nDepth: infinity", ""},
	{"COPY", "/d", "Destination: TOKENcopy", ""},
	{"PROPFIND", "/", "Depth: infinity", ""},
	{"PROPFIND", "/d", "Depth: 1", `<?xml version="1.0"?><propfind xmlns="DAV:"><allprop/></propfind>`},
	{"PROPPATCH", "/file", "", `<propertyupdate xmlns="DAV:"><set><prop><x>y</x></prop></set></propertyupdate>`},
	{"LOCK", "/file", "Timeout: Second-10", `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`},
	{"UNLOCK", "/file", "Lock-Token: <x>", ""},
	{"OPTIONS", "*", "", ""},
	{"GET", "/file\x00", "", ""},
}

// No request panics, leaves the share, or sees or changes what is hidden in it.
func FuzzDAV(f *testing.F) {
	for _, seed := range davSeeds {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	s := newSurface(f)
	n := 0
	f.Fuzz(func(t *testing.T, method, path, header, body string) {
		if len(method)+len(path)+len(header)+len(body) > 4<<10 {
			return
		}
		if n++; n%256 == 0 { // or it grows
			s.clear(t)
			s.plant(t)
		}
		s.intact(t, s.send(method, path, header, body))
	})
}

// Names that mean something else somewhere are refused by every method.
func TestDAVHostileNames(t *testing.T) {
	s := newSurface(t)
	files := func() (all []string) {
		err := filepath.WalkDir(s.around, func(path string, _ fs.DirEntry, err error) error {
			all = append(all, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := files()
	for _, name := range []string{
		"..%2foutside", "%2e%2e%5coutside", "a%5cb", "C%3a", "file%3astream", "NUL", "nul.txt", "con", "COM1.x", "dot.", "space%20", "a%00b", "a%0ab", "a%1b%5b2J",
		"%ff%fe", strings.Repeat("x", 256), ".tandem-partial", ".tandem-trash", ".TANDEM-Trash/x", ".tandemignore", "D/new", "hidden2", "d/hidden",
	} {
		for _, try := range [][3]string{
			{"GET", name, ""},
			{"PUT", name, ""},
			{"MKCOL", name, ""},
			{"DELETE", name, ""},
			{"PROPFIND", name, "Depth: 1"},
			{"LOCK", name, "Depth: 0"},
			{"COPY", "file", "Destination: TOKEN" + name},
			{"MOVE", "file", "Destination: TOKEN" + name + "\r\nOverwrite: T"},
			{"MOVE", name, "Destination: TOKENother"},
		} {
			body := ""
			if try[0] == "LOCK" {
				body = davSeeds[18][3]
			}
			w := s.send(try[0], "/"+try[1], try[2], body)
			if w != nil && w.Code < 300 && try[0] != "DELETE" { // what isn't there is gone
				t.Errorf("%s %q %q: %d, %q", try[0], try[1], try[2], w.Code, w.Body)
			}
			s.intact(t, w)
		}
	}
	if after := files(); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("there was %q, and now %q", before, after)
	}
}
