//go:build linux || darwin

package command

import (
	"os"
	"path/filepath"
	"testing"

	"tandem/session"
)

func TestPin(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("tool", []byte("#!/bin/sh\necho tool \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	service, guest := host(t, Config{Dir: "/", Pinned: map[string][]string{"fixed": {"echo", "a"}}})
	for _, c := range []struct {
		name string
		argv []string
		want session.Kind // of the error, if there is to be one
	}{
		{"two", []string{"printf", "[%s]", "a b", "$HOME"}, ""},
		{"two", []string{"printf", "[%s]", "a b", "$HOME"}, ""}, // another share pins the same
		{"two", []string{"printf", "[%s]", "a b"}, session.Exists},
		{"fixed", []string{"echo", "b"}, session.Exists},
		{"beside", []string{"./tool", "x"}, ""}, // it is looked for here, and starts elsewhere
		{"missing", []string{"no-such-program"}, session.NotFound},
		{"plain", []string{filepath.Join(dir, "file")}, session.NotFound},
		{"a:b", []string{"true"}, session.Invalid},
		{"", []string{"true"}, session.Invalid},
		{"-n", []string{"true"}, session.Invalid},
		{"x", nil, session.Invalid},
		{"x", []string{""}, session.Invalid},
		{"x", []string{"echo", "a\x00b"}, session.Invalid},
	} {
		err := service.Pin(c.name, "", c.argv)
		if kind := session.KindOf(err); err == nil && c.want != "" || err != nil && kind != c.want {
			t.Errorf("%q as %q: %v", c.argv, c.name, err)
		}
	}
	for name, want := range map[string]string{"two": "[a b][$HOME]", "fixed": "a\n", "beside": "tool x\n"} {
		if out, _, exit, err := run(t, guest, Request{Pinned: name}, ""); err != nil || exit.Code != 0 || out != want {
			t.Errorf("%s: %q, %+v, %v", name, out, exit, err)
		}
	}
}
