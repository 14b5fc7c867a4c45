package share

import (
	"slices"
	"testing"
)

// TestEnvironment is trust rule 12: what steers a program never reaches it,
// from the host, its configuration or the peer.
func TestEnvironment(t *testing.T) {
	own := []string{"PATH=/bin", "HOME=/home/a", "LC_ALL=de_DE.UTF-8", "SECRET=x", "SSH_AUTH_SOCK=/s", "LD_PRELOAD=/evil.so", "GODEBUG=1", "EDITOR=vi"}
	configured := []string{"EDITOR", "MODE=test", "LD_LIBRARY_PATH=/x", "GOFLAGS=-x", "DYLD_INSERT_LIBRARIES", "ld_preload=/x", "MISSING", "LOCPATH=/x"}
	given := map[string]string{"JOB": "7", "PATH": "/usr/bin", "LD_AUDIT": "/evil.so", "GOTRACEBACK": "x", "A B": "x", "NUL": "a\x00b", "BASH_ENV": "/evil"}
	want := []string{"EDITOR=vi", "HOME=/home/a", "JOB=7", "LC_ALL=de_DE.UTF-8", "MODE=test", "PATH=/usr/bin"}
	if got := Environment(own, configured, given); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPeerMaySet(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        bool
	}{
		{"LANG", "C.UTF-8", true},
		{"LC_TIME", "en_DK", true},
		{"COLORTERM", "truecolor", true},
		{"LC_X", "../../evil", false},
		{"LC_A B", "x", false},
		{"LANG", "a\x00b", false},
		{"LANG", "", false},
		{"PATH", "bin", false},
		{"PROMPT_COMMAND", "evil", false},
		{"TERM", "xterm", false},
	} {
		if got := PeerMaySet(c.name, c.value); got != c.want {
			t.Errorf("PeerMaySet(%q, %q) = %v", c.name, c.value, got)
		}
	}
}
