package main

import (
	"strings"
	"testing"

	"tandem/share/facts"
)

// TestUnknownFacts: what a host couldn't find out is not shown as nothing.
func TestUnknownFacts(t *testing.T) {
	f := &facts.Facts{Unknown: []string{"processes", "os", "load", "memory", "users", "reboot", "cpu"}}
	var one, many strings.Builder
	printFacts(&one, "alice", f)
	printFactTable(&many, []told{{Peer: "alice", Facts: f}})
	for _, want := range []string{"up         ?\n", "load       ?; ?\n", "memory     ?\n", "processes  ?\n", "reboot     ?\n"} {
		if !strings.Contains(one.String(), want) {
			t.Errorf("%q is not in\n%s", want, one.String())
		}
	}
	_, line, _ := strings.Cut(many.String(), "\n")
	if strings.ContainsAny(line, "0123456789") {
		t.Errorf("a number that nobody knows: %s", line)
	}
}
