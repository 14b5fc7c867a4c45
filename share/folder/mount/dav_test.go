package mount

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/session/sessiontest"
	"tandem/share/folder"
)

// served serves dir to a peer who serves it by WebDAV, and returns the URL.
func served(t *testing.T, dir string, readOnly bool) string {
	t.Helper()
	service := folder.New()
	if err := service.Add(folder.Share{Name: "docs", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Close() })
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	tree := New(folder.NewClient(s, "docs"), "", readOnly)
	d, err := ServeDAV(tree)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		tree.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return d.URL()
}

func request(t *testing.T, method, url string, body io.Reader, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(b)
}

func wants(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, not %d", what, got, want)
	}
}

func TestDAV(t *testing.T) {
	dir := t.TempDir()
	big := make([]byte, 3<<20+5)
	_, _ = rand.NewChaCha8([32]byte{}).Read(big) // never fails
	if err := os.WriteFile(filepath.Join(dir, "big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	url := served(t, dir, false)
	code, body := request(t, "GET", url+"big", nil)
	wants(t, "get", code, http.StatusOK)
	if body != string(big) {
		t.Errorf("%d bytes came, of %d", len(body), len(big))
	}
	if _, body = request(t, "GET", url+"big", nil, "Range", "bytes=2097150-2097159"); body != string(big[2097150:2097160]) {
		t.Errorf("a range is %q", body)
	}
	code, _ = request(t, "MKCOL", url+"d", nil)
	wants(t, "mkcol", code, http.StatusCreated)
	code, _ = request(t, "MKCOL", url+"d", nil)
	wants(t, "mkcol again", code, http.StatusMethodNotAllowed)
	code, _ = request(t, "MKCOL", url+"x/y", nil)
	wants(t, "mkcol without a parent", code, http.StatusConflict)
	code, _ = request(t, "PUT", url+"d/new", strings.NewReader("content"))
	wants(t, "put", code, http.StatusCreated)
	code, _ = request(t, "PUT", url+"d/new", strings.NewReader("other"))
	wants(t, "put again", code, http.StatusCreated)
	if b, err := os.ReadFile(filepath.Join(dir, "d", "new")); err != nil || string(b) != "other" {
		t.Errorf("%q, %v", b, err)
	}
	code, body = request(t, "PROPFIND", url, nil, "Depth", "1")
	wants(t, "propfind", code, http.StatusMultiStatus)
	if !strings.Contains(body, "/big</") || !strings.Contains(body, "/d/</") || strings.Contains(body, ".tandem") {
		t.Error(body)
	}
	code, _ = request(t, "MOVE", url+"d/new", nil, "Destination", url+"moved")
	wants(t, "move", code, http.StatusCreated)
	code, _ = request(t, "COPY", url+"moved", nil, "Destination", url+"d/copy")
	wants(t, "copy", code, http.StatusCreated)
	code, _ = request(t, "DELETE", url+"moved", nil)
	wants(t, "delete", code, http.StatusNoContent)
	if b, err := os.ReadFile(filepath.Join(dir, "d", "copy")); err != nil || string(b) != "other" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "moved")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, path := range []string{"../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..%2fetc%2fpasswd", ".tandem-trash/", "d/%00"} {
		if code, body = request(t, "GET", url+path, nil); code < 300 {
			t.Errorf("%s: %d, %q", path, code, body)
		}
	}
}

// What a client began to send and did not finish replaces nothing.
func TestHalfAPut(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := served(t, dir, false)
	for _, name := range []string{"file", "new"} {
		half := io.MultiReader(bytes.NewReader(make([]byte, 100<<10)), &failing{})
		if code, _ := request(t, "PUT", url+name, half); code < 300 && code != 0 {
			t.Errorf("%s: %d", name, code)
		}
	}
	// The server may hear of the end after the client.
	request(t, "PROPFIND", url, nil, "Depth", "1")
	if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "whole" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "new")); err == nil && info.Size() > 0 {
		t.Errorf("%d bytes of the new one are there", info.Size())
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("the client went away") }

func TestDAVReadOnly(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := served(t, dir, true)
	for _, method := range []string{"PUT", "DELETE", "MKCOL", "MOVE"} {
		if code, _ := request(t, method, url+"file", strings.NewReader(""), "Destination", url+"other"); code < 400 {
			t.Errorf("%s: %d", method, code)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

// A page in a browser gets nothing, whatever it knows.
func TestDAVForPagesOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := served(t, dir, false)
	host := strings.Split(strings.TrimPrefix(url, "http://"), "/")[0]
	_, port, _ := strings.Cut(host, ":")
	for what, try := range map[string]struct {
		url     string
		headers []string
	}{
		"a name that resolves here": {url + "file", []string{"Host", "evil.example:" + port}},
		"no port":                   {url + "file", []string{"Host", "127.0.0.1"}},
		"another page":              {url + "file", []string{"Origin", "http://evil.example"}},
		"a page without a name":     {url + "file", []string{"Origin", "null"}},
		"another port's page":       {url + "file", []string{"Origin", "http://127.0.0.1:1"}},
		"no token":                  {"http://" + host + "/file", nil},
		"half a token":              {url[:len(url)-5] + "/file", nil},
		"an empty token":            {"http://" + host + "//file", nil},
	} {
		if code, body := request(t, "GET", try.url, nil, try.headers...); code < 400 || strings.Contains(body, "secret") {
			t.Errorf("%s: %d, %q", what, code, body)
		}
	}
	if code, _ := request(t, "GET", url+"file", nil, "Host", "localhost:"+port, "Origin", "http://localhost:"+port); code != http.StatusOK {
		t.Errorf("its own page: %d", code)
	}
}

// What goes wrong has the status that says so.
func TestDAVStatus(t *testing.T) {
	s := newSurface(t)
	lock := func(name string) string {
		w := s.send("LOCK", name, "Depth: 0", davSeeds[18][3])
		if w.Code >= 300 {
			t.Fatalf("lock %s: %d", name, w.Code)
		}
		return w.Header().Get("Lock-Token")
	}
	for _, c := range []struct {
		method, path, header string
		want                 int
	}{
		{"PUT", "/hidden9", "", http.StatusForbidden},
		{"MKCOL", "/hidden9", "", http.StatusForbidden},
		{"MOVE", "/file", "Destination: TOKENhidden9", http.StatusForbidden},
		{"PUT", "/a:b", "", http.StatusForbidden},
		{"GET", "/a:b", "", http.StatusNotFound},
		{"GET", "/hidden", "", http.StatusNotFound},
		{"PUT", "/nothing/x", "", http.StatusConflict},
		{"GET", "/d/../file", "", http.StatusForbidden},
		{"MOVE", "/file", "Destination: TOKENd/../new", http.StatusForbidden},
		{"MOVE", "/d", "Destination: TOKENd/inner", http.StatusForbidden},
		{"COPY", "/d", "Destination: TOKEND", http.StatusForbidden},
		{"COPY", "/file", "Destination: TOKENfile", http.StatusForbidden},
		// Nothing is removed for a move that can't be.
		{"MOVE", "/nothing", "Destination: TOKENfile\r\nOverwrite: T", http.StatusNotFound},
		{"MOVE", "/nothing", "Destination: TOKENd\r\nOverwrite: T", http.StatusNotFound},
		{"GET", "/file", "", http.StatusOK},
		{"GET", "/d/x", "", http.StatusOK},
		{"MOVE", "/file", "Destination: TOKENFile\r\nOverwrite: T", http.StatusCreated},
		{"MOVE", "/File", "Destination: TOKENfile\r\nOverwrite: T", http.StatusCreated},
		{"MOVE", "/d/x", "Destination: TOKENfile\r\nOverwrite: T", http.StatusNoContent},
	} {
		if w := s.send(c.method, c.path, c.header, ""); w.Code != c.want {
			t.Errorf("%s %s %q: %d, not %d", c.method, c.path, c.header, w.Code, c.want)
		}
	}
	if p, err := os.ReadFile(filepath.Join(s.around, "share", "file")); err != nil || string(p) != "x" {
		t.Errorf("%q, %v", p, err)
	}
	if trash, err := filepath.Glob(filepath.Join(s.around, "share", ".tandem-trash", "*")); err != nil || len(trash) > 0 {
		t.Errorf("in the trash are %q, %v", trash, err)
	}

	// A client that has locked what it moves may move it, and nobody else.
	token := lock("/file")
	if w := s.send("MOVE", "/file", "Destination: TOKENmoved", ""); w.Code != http.StatusLocked {
		t.Errorf("moved what another has locked: %d", w.Code)
	}
	if w := s.send("MOVE", "/file", "Destination: TOKENmoved\r\nIf: <TOKENfile> (<not it>)", ""); w.Code != http.StatusPreconditionFailed {
		t.Errorf("moved with another token: %d", w.Code)
	}
	others := lock("/moved")
	if w := s.send("MOVE", "/file", "Destination: TOKENmoved\r\nOverwrite: T\r\nIf: <TOKENfile> ("+token+")", ""); w.Code != http.StatusPreconditionFailed {
		t.Errorf("moved over what another has locked: %d", w.Code)
	}
	if w := s.send("UNLOCK", "/moved", "Lock-Token: "+others, ""); w.Code != http.StatusNoContent {
		t.Errorf("unlock: %d", w.Code)
	}
	if w := s.send("MOVE", "/file", "Destination: TOKENmoved\r\nOverwrite: T\r\nIf: <TOKENfile> ("+token+")", ""); w.Code != http.StatusNoContent {
		t.Errorf("its own: %d, %q", w.Code, w.Body)
	}
}

// cadaver is a client that people use.
func TestCadaver(t *testing.T) {
	program, err := exec.LookPath("cadaver")
	if err != nil {
		t.Skip(err)
	}
	s := newSurface(t)
	home := t.TempDir()
	mine := filepath.Join(home, "mine")
	if err := os.WriteFile(mine, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, s.url)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TERM=dumb"}
	cmd.Stdin = strings.NewReader(strings.Join([]string{
		"ls", "mkcol made", "put " + mine + " made/put", "copy made/put made/copied", "move made/copied moved", "lock moved", "move moved again", "delete made/put",
		"rmcol made", "get again " + filepath.Join(home, "got"), "put " + mine + " hidden2", "copy d d/inner", "quit", "",
	}, "\n"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if failed := strings.Count(string(out), "failed"); failed != 2 || strings.Count(string(out), "403 Forbidden") != 2 || strings.Contains(string(out), "hidden ") {
		t.Errorf("%d failed, and the last two should have: %s", failed, out)
	}
	for _, path := range []string{filepath.Join(home, "got"), filepath.Join(s.around, "share", "again")} {
		if p, err := os.ReadFile(path); err != nil || string(p) != "content" {
			t.Errorf("%s: %q, %v: %s", path, p, err, out)
		}
	}
}
