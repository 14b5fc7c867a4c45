package terminal

import (
	"slices"
	"strings"
	"testing"
)

// TestEnvironment is trust rule 12 for terminals.
func TestEnvironment(t *testing.T) {
	own := []string{"PATH=/bin", "HOME=/home/a", "LC_ALL=de_DE.UTF-8", "SECRET=x", "SSH_AUTH_SOCK=/s", "LD_PRELOAD=/evil.so", "GODEBUG=1", "EDITOR=vi"}
	configured := []string{"EDITOR", "MODE=test", "LD_LIBRARY_PATH=/x", "GOFLAGS=-x", "DYLD_INSERT_LIBRARIES", "ld_preload=/x", "MISSING", "LOCPATH=/x"}
	viewer := map[string]string{
		"LANG": "C.UTF-8", "LC_TIME": "en_DK", "COLORTERM": "truecolor", "PATH": "/evil", "LD_PRELOAD": "/evil.so", "GOTRACEBACK": "x",
		"LC_X": "../../evil", "LC_A B": "x", "PROMPT_COMMAND": "evil", "LC_N": "a\x00b", "BASH_ENV": "/evil", "TERM": "evil",
	}
	want := []string{
		"COLORTERM=truecolor", "EDITOR=vi", "HOME=/home/a", "LANG=C.UTF-8", "LC_ALL=de_DE.UTF-8", "LC_TIME=en_DK", "MODE=test",
		"PATH=/bin", "TANDEM_TERMINAL=main", "TERM=tmux-256color",
	}
	if got := environment(own, configured, viewer, "tmux-256color", "main"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, term := range []string{"", "../../etc/x", "a b", "x\x00", strings.Repeat("x", 65), "-x"} {
		if got := environment(nil, nil, nil, term, "m"); !slices.Contains(got, "TERM="+defaultTerm) {
			t.Errorf("TERM %q gave %q", term, got)
		}
	}
}
