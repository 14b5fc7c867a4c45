//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem/internal/natlab"
)

// TestByHand draws a network for a person: a server and two computers behind NATs of the kinds in
// TANDEM_HANDS, such as "home,symmetric", 25 ms from each other, each with a tmux to type into. It
// ends when both tmuxes have.
func TestByHand(t *testing.T) {
	kinds := strings.Split(os.Getenv("TANDEM_HANDS"), ",")
	if len(kinds) != 2 {
		t.Skip("for people: make lab-hands")
	}
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 25 * time.Millisecond})
	server := l.server(t, wan.Host("server"), nil)
	// A file of its own, as ssh-config names the program.
	bin := t.TempDir()
	if out, err := exec.Command("cp", l.binary, filepath.Join(bin, "tandem")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var sockets []string
	for i, name := range []string{"alice", "bob"} {
		n := slices.IndexFunc(natlab.Kinds(), func(k natlab.Kind) bool { return k.String() == kinds[i] })
		if n < 0 {
			t.Fatalf("no network is %q: there are %v", kinds[i], natlab.Kinds())
		}
		d := l.device(t, wan.NAT(natlab.Kind(n)).Host(name), name,
			"PATH="+bin+":"+os.Getenv("PATH"), "TANDEM_SERVERS="+server.url, "TANDEM_INSECURE=1", "TERM=xterm-256color")
		socket := filepath.Join(d.home, "tmux")
		cmd := d.host.Command(t.Context(), tmux, "-f", "/dev/null", "-S", socket, "new-session", "-d", "-x", "120", "-y", "40", "bash --norc")
		cmd.Env, cmd.Dir = append(cmd.Env, d.env...), d.home
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("tmux: %v\n%s", err, out)
		}
		sockets = append(sockets, socket)
		fmt.Printf("%-6s behind %-10s tmux -S %s attach\n", name, kinds[i], socket)
	}
	fmt.Printf("Both know the server %s. It all ends with both shells.\n", server.url)
	for len(sockets) > 0 {
		time.Sleep(time.Second)
		sockets = slices.DeleteFunc(sockets, func(s string) bool { return exec.Command(tmux, "-S", s, "has-session").Run() != nil })
	}
}
