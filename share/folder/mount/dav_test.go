package mount

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
